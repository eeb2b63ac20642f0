//! What a snapshot that is being taken still has to hold of a table.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

/// Appends an entry.
pub(crate) type PutEntry<K, T> = fn(&K, &T, &mut Vec<u8>);

/// Records of a snapshot, encoded, in pieces: so that none of them has to move as others come, and they can be given out a
/// few at a time.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pieces: VecDeque<Piece>,
}

/// Some records.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) count: u64,
    pub(crate) records: Vec<u8>,
}

impl Piece {
    /// Bytes from which on records go into another.
    const FULL: usize = 4096;
}

impl Run {
    pub(crate) const fn new() -> Self {
        Self { pieces: VecDeque::new() }
    }

    /// Puts the records of another behind these.
    pub(crate) fn append(&mut self, mut other: Self) {
        if self.pieces.is_empty() {
            *self = other;
            return;
        }
        if let (Some(last), Some(first)) = (self.pieces.back_mut(), other.pieces.front())
            && last.records.len() + first.records.len() <= Piece::FULL
        {
            last.records.extend_from_slice(&first.records);
            last.count += first.count;
            other.pieces.pop_front();
        }
        self.pieces.append(&mut other.pieces);
    }

    /// Puts a record behind the others.
    #[inline]
    pub(crate) fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        match self.pieces.back_mut() {
            Some(piece) if piece.records.len() < Piece::FULL => {
                put(&mut piece.records);
                piece.count += 1;
            }
            _ => self.put_first(put),
        }
    }

    #[inline(never)]
    fn put_first(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut piece = Piece { count: 1, records: Vec::new() };
        if !self.pieces.is_empty() {
            // (There are many: it will be full, too.)
            piece.records.reserve_exact(Piece::FULL + Piece::FULL / 16);
        }
        put(&mut piece.records);
        self.pieces.push_back(piece);
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::take(self)
    }

    /// Takes the first piece out.
    pub(crate) fn pop(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Records in it. O(pieces).
    pub(crate) fn count(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.count).sum()
    }

    #[cfg(test)]
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }
}

/// Spots that are held together: those next to one that changes are near, and while a table is held it has to be
/// asked less often whether something is to be done.
const GROUP: usize = 8;

/// One bit for each group of spots: whether its entries are in the snapshot already, or have come too late for it.
#[derive(Debug)]
struct Held {
    words: Vec<u64>,
    /// All groups before this are.
    next: usize,
    /// Groups that are not.
    left: usize,
}

impl Held {
    const WORD: usize = u64::BITS as usize;

    fn none_of(spots: usize) -> Self {
        let left = spots.div_ceil(GROUP);
        let mut words = vec![0; left.div_ceil(Self::WORD)];
        if let Some(last) = words.last_mut().filter(|_| !left.is_multiple_of(Self::WORD)) {
            // What is beyond comes too late.
            *last = u64::MAX << (left % Self::WORD);
        }
        Self { words, next: 0, left }
    }

    /// From here on the group of a spot is; whether it was not.
    #[inline]
    fn hold(&mut self, spot: usize) -> bool {
        let group = spot / GROUP;
        let Some(word) = self.words.get_mut(group / Self::WORD) else { return false };
        let bit = 1 << (group % Self::WORD);
        let is_new = *word & bit == 0;
        *word |= bit;
        self.left -= usize::from(is_new);
        is_new
    }

    /// The first spot of the next group that is not; from then on it is.
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        while let Some(word) = self.words.get_mut(self.next / Self::WORD) {
            let left = !*word >> (self.next % Self::WORD);
            if left == 0 {
                self.next = (self.next / Self::WORD + 1) * Self::WORD;
                continue;
            }
            let group = self.next + left.trailing_zeros() as usize;
            *word |= 1 << (group % Self::WORD);
            self.left -= 1;
            self.next = group + 1;
            return Some(group * GROUP);
        }
        None
    }
}

/// Some entries that a snapshot is taken of while they go on changing: what an entry was is encoded before the entry
/// changes for the first time. So nothing is copied, and everything is encoded once.
#[derive(Debug)]
pub(crate) struct Marks<K, T> {
    put: PutEntry<K, T>,
    /// None where all are held.
    held: Option<Held>,
    run: Run,
}

impl<K, T> Marks<K, T> {
    pub(crate) fn new(put: PutEntry<K, T>, spots: usize) -> Self {
        Self { put, held: Some(Held::none_of(spots)), run: Run::new() }
    }

    /// For entries that all come too late.
    pub(crate) fn too_late(put: PutEntry<K, T>) -> Self {
        Self { put, held: None, run: Run::new() }
    }

    /// The same for those that come too late, when others take their place.
    pub(crate) fn replaced(&mut self) -> Self {
        core::mem::replace(self, Self::too_late(self.put))
    }

    /// Groups that are still to be held.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.left)
    }

    /// Holds what is at a spot and those next to it, if anything is: it is about to change.
    #[inline]
    pub(crate) fn hold<'a>(&mut self, spot: usize, at: impl Fn(usize) -> Option<(&'a K, &'a T)>)
    where
        K: 'a,
        T: 'a,
    {
        if self.note(spot) {
            self.put(spot, at);
        }
    }

    /// The same in two steps: whether what is at a spot and those next to it is still to be [put](Self::put).
    #[inline]
    pub(crate) fn note(&mut self, spot: usize) -> bool {
        self.held.as_mut().is_some_and(|held| held.hold(spot))
    }

    #[inline(never)]
    pub(crate) fn put<'a>(&mut self, spot: usize, at: impl Fn(usize) -> Option<(&'a K, &'a T)>)
    where
        K: 'a,
        T: 'a,
    {
        let first = spot / GROUP * GROUP;
        for (key, partial) in (first..first + GROUP).filter_map(at) {
            self.run.put(|records| (self.put)(key, partial, records));
        }
    }

    /// Holds some entries; at how many spots it has looked.
    pub(crate) fn hold_some<'a>(&mut self, most: usize, at: impl Fn(usize) -> Option<(&'a K, &'a T)>) -> usize
    where
        K: 'a,
        T: 'a,
    {
        let mut looked = 0;
        while looked < most
            && let Some(held) = &mut self.held
        {
            looked += GROUP;
            match held.next() {
                None => self.held = None,
                Some(first) => self.put(first, &at),
            }
        }
        looked
    }

    pub(crate) fn append(&mut self, run: Run) {
        self.run.append(run);
    }

    /// What has been held since this was asked for last.
    pub(crate) fn take(&mut self) -> Run {
        self.run.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_beyond_the_spots_that_were_there_comes_too_late() {
        for spots in [0, 1, 8, 9, 256, 512, 520] {
            let mut held = Held::none_of(spots);
            assert!((spots.next_multiple_of(GROUP)..2000).all(|spot| !held.hold(spot)), "of {spots} spots");
            let is_held: Vec<usize> = core::iter::from_fn(|| held.next()).collect();
            assert_eq!(is_held, (0..spots).step_by(GROUP).collect::<Vec<_>>());
            assert_eq!(held.left, 0);
        }
    }
}
