//! What a snapshot that is being taken still has to hold of a table.

use alloc::vec;
use alloc::vec::Vec;

/// Appends an entry.
pub(crate) type PutEntry<K, T> = fn(&K, &T, Vec<u8>) -> Vec<u8>;

/// Records of a snapshot, encoded.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) count: u64,
    pub(crate) records: Vec<u8>,
}

impl Run {
    pub(crate) const fn new() -> Self {
        Self { count: 0, records: Vec::new() }
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.count += other.count;
        match self.records.is_empty() {
            true => self.records = other.records,
            false => self.records.append(&mut other.records),
        }
    }

    /// Puts a record behind the others.
    pub(crate) fn put(&mut self, put: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        self.records = put(core::mem::take(&mut self.records));
        self.count += 1;
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }
}

/// One bit for each spot: whether its entry is in the snapshot already, or has come too late for it.
#[derive(Debug)]
pub(crate) struct Held {
    words: Vec<u64>,
    /// All spots before this are.
    next: usize,
}

impl Held {
    const WORD: usize = u64::BITS as usize;

    pub(crate) fn none_of(spots: usize) -> Self {
        Self { words: vec![0; spots.div_ceil(Self::WORD)], next: 0 }
    }

    /// From here on it is; whether it was not. What is beyond has come too late.
    #[inline]
    pub(crate) fn hold(&mut self, spot: usize) -> bool {
        if spot < self.next {
            return false;
        }
        let Some(word) = self.words.get_mut(spot / Self::WORD) else { return false };
        let bit = 1 << (spot % Self::WORD);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// The next spot that is not; from then on it is.
    pub(crate) fn next(&mut self) -> Option<usize> {
        while let Some(word) = self.words.get(self.next / Self::WORD) {
            let left = !word >> (self.next % Self::WORD);
            if left == 0 {
                self.next = (self.next / Self::WORD + 1) * Self::WORD;
                continue;
            }
            let spot = self.next + left.trailing_zeros() as usize;
            self.next = spot + 1;
            return Some(spot);
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

    pub(crate) fn is_done(&self) -> bool {
        self.held.is_none()
    }

    /// Holds what is at a spot, if anything is: it is about to change.
    #[inline]
    pub(crate) fn hold(&mut self, spot: usize, entry: Option<(&K, &T)>) {
        if self.held.as_mut().is_some_and(|held| held.hold(spot))
            && let Some(entry) = entry
        {
            self.put(entry);
        }
    }

    #[inline(never)]
    fn put(&mut self, (key, partial): (&K, &T)) {
        self.run.put(|records| (self.put)(key, partial, records));
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
            looked += 1;
            match held.next() {
                None => self.held = None,
                Some(spot) => {
                    if let Some(entry) = at(spot) {
                        self.put(entry);
                    }
                }
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
