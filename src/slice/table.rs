//! The partials of one slice, by key.

use alloc::boxed::Box;
use core::hash::Hash;
use core::mem::needs_drop;

use super::growing::{
    Growing, HashTable, Old, empty_table, is_settled, margin, room_in, spots_for, table_bytes,
};
use super::{Exit, Hashing, Marks, PutEntry, Run};
use crate::key::ToKey;

/// Entries from which on a table grows, and entries go, step by step.
pub(super) const MANY: usize = 4096;
/// Entries that move with each one that is added: all have moved before the new spots are used up.
const STEP: usize = 64;
/// Spots that are cleared at a time.
pub(super) const CLEARED: usize = 64;

/// A hash table from keys to partials, which also knows what heap the partials own.
///
/// Hashes are computed by the caller, once per event. A *spot* is an entry's position, stable until the
/// next insertion. A table of many entries that is full does not move them all at once, which at a million takes tens of
/// milliseconds: they move a few at a time as others are added.
#[derive(Debug)]
pub(crate) struct Table<K, T> {
    entries: HashTable<(K, T)>,
    growing: Option<Box<Growing<(K, T)>>>,
    /// Heap owned by the partials, as the aggregate tells it.
    heap: usize,
    /// What a snapshot still has to hold of it.
    marks: Option<Box<TableMarks<K, T>>>,
}

/// What a snapshot still has to hold of the entries, and of those that have not moved yet.
#[derive(Debug)]
struct TableMarks<K, T> {
    entries: Marks<K, T>,
    old: Marks<K, T>,
}

impl<K, T> TableMarks<K, T> {
    /// Holds what is beside an entry that has come too late for the snapshot.
    #[inline]
    fn hold_beside(&mut self, late: usize, entries: &HashTable<(K, T)>) {
        self.entries.hold(late, |spot| at(entries)(spot).filter(|_| spot != late));
    }
}

impl<K, T> Old<(K, T)> {
    /// The last entry, once it is held.
    fn pop(&mut self, mut marks: Option<&mut Marks<K, T>>) -> Option<(K, T)> {
        while let Some(spot) = self.beyond.checked_sub(1) {
            self.beyond = spot;
            if let Some(marks) = &mut marks {
                marks.hold(spot, at(&self.entries));
            }
            if let Ok(entry) = self.entries.get_bucket_entry(spot) {
                return Some(entry.remove().0);
            }
        }
        None
    }
}

/// What is at a spot of a table.
fn at<'a, K, T>(table: &'a HashTable<(K, T)>) -> impl Fn(usize) -> Option<(&'a K, &'a T)> {
    |spot| table.get_bucket(spot).map(|(key, partial)| (key, partial))
}

impl<K, T> Table<K, T> {
    pub(crate) const fn new() -> Self {
        Self { entries: empty_table(), growing: None, heap: 0, marks: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.old().is_none_or(HashTable::is_empty)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.old().map_or(0, HashTable::len)
    }

    /// The entries that have not moved yet.
    #[inline]
    fn old(&self) -> Option<&HashTable<(K, T)>> {
        self.growing.as_ref()?.old().map(|old| &old.entries)
    }

    #[inline]
    fn old_mut(&mut self) -> Option<&mut HashTable<(K, T)>> {
        self.growing.as_mut()?.old_mut().map(|old| &mut old.entries)
    }

    /// Heap that the partials own.
    pub(crate) fn heap(&self) -> usize {
        self.heap
    }

    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Bytes allocated, entries' heap included.
    pub(crate) fn bytes(&self) -> usize {
        let growing = self.growing.as_ref().map_or(0, |growing| growing.bytes());
        self.entries.allocation_size() + growing + self.heap
    }

    /// Whether one more entry makes the table begin to grow.
    #[inline]
    fn is_full(&self) -> bool {
        let is_stepwise = self.entries.len() >= MANY && is_settled(self.growing.as_deref());
        room_in(&self.entries) <= if is_stepwise { margin(&self.entries) } else { 0 }
    }

    /// Whether one more entry neither makes the table grow nor frees what it has outgrown.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        !self.is_full() && self.growing.as_ref().is_none_or(|growing| growing.is_steady())
    }

    /// By how many bytes, and by room for how many entries, one more entry makes the table grow, where `expected`
    /// entries may come.
    pub(crate) fn growth(&self, expected: usize) -> (usize, usize) {
        if let Some(Growing::Coming(coming)) = self.growing.as_deref() {
            return (0, coming.capacity().saturating_sub(self.capacity()));
        }
        if !self.is_full() {
            return (0, 0);
        }
        // While the entries move both tables are there.
        let entries = self.len() + self.additional(expected);
        let room = spots_for(entries).saturating_sub(self.capacity());
        (Self::bytes_for(entries) + size_of::<Growing<(K, T)>>(), room)
    }

    /// Bytes that a table of so many keys takes.
    pub(crate) fn bytes_for(keys: usize) -> usize {
        table_bytes::<(K, T)>(spots_for(keys))
    }

    /// The same while it grows.
    pub(crate) fn most_bytes_for(keys: usize) -> usize {
        match keys < MANY {
            true => Self::bytes_for(keys),
            // (It begins to when there is still a little room.)
            false => 2 * Self::bytes_for(keys + keys / 128) + size_of::<Growing<(K, T)>>(),
        }
    }

    /// By how many entries to grow: twofold, or eightfold on the way to what is expected, which saves most
    /// of the moving and never takes more memory than the slices before took.
    fn additional(&self, expected: usize) -> usize {
        let len = self.len().max(1);
        len.max(expected.min(8 * len).saturating_sub(len))
    }

    pub(crate) fn add_heap(&mut self, before: usize, after: usize) {
        self.heap = self.heap + after - before;
    }

    /// Whether it takes long to clear.
    pub(crate) fn is_laborious(&self) -> bool {
        needs_drop::<(K, T)>() && self.len() >= MANY
    }

    /// Drops the entries of some spots, from `spot` on, which moves on; whether there are no entries any more.
    pub(crate) fn clear_some(&mut self, spot: &mut usize) -> bool {
        let spots = self.entries.num_buckets();
        for at in *spot..*spot + CLEARED {
            // (What has had all its entries removed one by one would not be as good as new.)
            if self.len() <= 1 {
                self.clear();
                return true;
            }
            let entry = match self.old_mut() {
                Some(old) if at >= spots => old.get_bucket_entry(at - spots),
                _ => self.entries.get_bucket_entry(at),
            };
            if let Ok(entry) = entry {
                entry.remove();
            }
        }
        *spot += CLEARED;
        false
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.growing = None;
        self.heap = 0;
        self.marks = None;
    }

    /// Nobody needs it any more.
    pub(super) fn leave(self, exit: &mut Exit) {
        exit.table(self.entries);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.entries.iter().chain(self.old().into_iter().flatten()).map(|(key, partial)| (key, partial))
    }

    pub(crate) fn spots(&self) -> usize {
        self.entries.num_buckets() + self.old().map_or(0, HashTable::num_buckets)
    }

    /// The table that has a spot, and which of its spots it is.
    #[inline]
    fn place(&self, spot: usize) -> (&HashTable<(K, T)>, usize) {
        match self.old() {
            Some(old) if spot >= self.entries.num_buckets() => (old, spot - self.entries.num_buckets()),
            _ => (&self.entries, spot),
        }
    }

    /// Which of the 32 spots from `from` on, a multiple of that, have an entry, as bits.
    #[inline]
    pub(crate) fn occupied(&self, from: usize) -> u32 {
        let (table, from) = self.place(from);
        (0..u32::BITS).fold(0, |mask, i| mask | u32::from(table.get_bucket(from + i as usize).is_some()) << i)
    }

    #[inline]
    pub(crate) fn at(&self, spot: usize) -> Option<(&K, &T)> {
        let (table, spot) = self.place(spot);
        table.get_bucket(spot).map(|(key, partial)| (key, partial))
    }
}

// A snapshot that is being taken.
impl<K, T> Table<K, T> {
    /// Begins to hold what is here now.
    pub(crate) fn begin_cut(&mut self, put: PutEntry<K, T>) {
        let entries = Marks::new(put, self.entries.num_buckets());
        let old = self.old().map_or(Marks::too_late(put), |old| Marks::new(put, old.num_buckets()));
        self.marks = Some(Box::new(TableMarks { entries, old }));
    }

    /// Whether a snapshot still has to hold something of it.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.marks.is_some()
    }

    /// No snapshot has to hold anything of it any more.
    pub(crate) fn end_cut(&mut self) {
        self.marks = None;
    }

    /// Holds some entries; at how many spots it has looked.
    pub(crate) fn hold_some(&mut self, most: usize) -> usize {
        let Some(marks) = &mut self.marks else { return 0 };
        let none = empty_table();
        let old = self.growing.as_ref().and_then(|growing| growing.old());
        let looked = marks.old.hold_some(most, at(old.map_or(&none, |old| &old.entries)));
        looked + marks.entries.hold_some(most.saturating_sub(looked), at(&self.entries))
    }

    /// Holds all entries, because their spots are about to change. (Few: those of large tables do not all at once.)
    fn hold_all(&mut self) {
        self.hold_some(usize::MAX);
    }

    /// How much is still to be held, in groups of entries.
    #[inline]
    pub(crate) fn left_to_hold(&self) -> usize {
        self.marks.as_ref().map_or(0, |marks| marks.entries.left() + marks.old.left())
    }

    /// What has been held since this was asked for last.
    pub(crate) fn take_held(&mut self) -> Run {
        let Some(marks) = &mut self.marks else { return Run::new() };
        let mut run = marks.old.take();
        run.append(marks.entries.take());
        run
    }
}

impl<K: Hash + Eq + Clone, T> Table<K, T> {
    /// The spot of a key's entry that is about to change, and whether that is still to be [put](Self::put_held): in a step of
    /// its own, so that many are found before the first is. One that is seldom where others are is held at once.
    #[inline(always)]
    pub(crate) fn note<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> (usize, bool) {
        match (self.entries.find_bucket_index(hash, |(k, _)| key.is(k)), &mut self.marks) {
            (Some(spot), Some(marks)) => (spot, marks.entries.note(spot)),
            (Some(spot), None) => (spot, false),
            (None, _) => {
                self.hold(hash, key);
                (0, false)
            }
        }
    }

    pub(crate) fn put_held(&mut self, spot: usize) {
        if let Some(marks) = &mut self.marks {
            marks.entries.put(spot, at(&self.entries));
        }
    }

    /// The partial of a key, held for the snapshot that is being taken, if it is among those that have moved.
    #[inline]
    pub(crate) fn get_held<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        let spot = self.entries.find_bucket_index(hash, |(k, _)| key.is(k))?;
        if let Some(marks) = &mut self.marks {
            marks.entries.hold(spot, at(&self.entries));
        }
        self.entries.get_bucket_mut(spot).map(|(_, partial)| partial)
    }

    /// Holds an entry that is about to change for a snapshot that is being taken; whether it is there.
    pub(crate) fn hold<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> bool {
        if let Some(spot) = self.entries.find_bucket_index(hash, |(k, _)| key.is(k)) {
            if let Some(marks) = &mut self.marks {
                marks.entries.hold(spot, at(&self.entries));
            }
            return true;
        }
        let Some(old) = self.growing.as_ref().and_then(|growing| growing.old()) else { return false };
        let old = &old.entries;
        let Some(spot) = old.find_bucket_index(hash, |(k, _)| key.is(k)) else { return false };
        if let Some(marks) = &mut self.marks {
            marks.old.hold(spot, at(old));
        }
        true
    }

    /// Makes room for one more entry.
    pub(crate) fn grow(&mut self, expected: usize, hashing: &Hashing<K>) {
        if !self.is_full() {
            return;
        }
        let additional = self.additional(expected);
        match self.growing.as_deref() {
            growing if self.len() >= MANY && is_settled(growing) => {
                let coming = Growing::coming(&self.entries, self.len() + additional);
                self.growing = Some(Box::new(coming));
                if room_in(&self.entries) == 0 {
                    self.replace();
                }
            }
            // (It takes the place of this one before the room is used up.)
            Some(Growing::Coming(_)) => {}
            _ => {
                self.hold_all();
                self.entries.reserve(additional, |(key, _)| hashing.hash(key));
            }
        }
    }

    /// Goes on growing, if it does.
    #[inline(never)]
    fn grow_on(&mut self, hashing: &Hashing<K>) {
        self.replace();
        self.move_some(hashing);
        if self.growing.as_mut().is_some_and(|growing| growing.leave()) {
            self.growing = None;
        }
    }

    /// Lets the larger table take the place of this one if its memory is ready.
    fn replace(&mut self) {
        if let Some(growing) = &mut self.growing
            && growing.replace(&mut self.entries)
            && let Some(marks) = &mut self.marks
        {
            // (All that had not moved before has moved, and been held with that.)
            let run = marks.old.take();
            marks.old = marks.entries.replaced();
            marks.old.append(run);
        }
    }

    /// Moves some entries to where there is more room.
    fn move_some(&mut self, hashing: &Hashing<K>) {
        let Some(old) = self.growing.as_mut().and_then(|growing| growing.old_mut()) else { return };
        for _ in 0..STEP {
            let Some(entry) = old.pop(self.marks.as_deref_mut().map(|marks| &mut marks.old)) else { return };
            let hash = hashing.hash(&entry.0);
            let to = self.entries.insert_unique(hash, entry, |(key, _)| hashing.hash(key)).bucket_index();
            if let Some(marks) = &mut self.marks {
                marks.hold_beside(to, &self.entries);
            }
        }
    }

    /// The partial of a key, if it is not among those that have not moved yet: what is there nearly always.
    #[inline(always)]
    pub(crate) fn get_moved<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        self.entries.find_mut(hash, |(k, _)| key.is(k)).map(|(_, partial)| partial)
    }

    /// The partial of a key, if it is among those that have not moved yet.
    #[inline]
    pub(crate) fn get_unmoved<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        self.old_mut()?.find_mut(hash, |(k, _)| key.is(k)).map(|(_, partial)| partial)
    }

    #[inline]
    pub(crate) fn get_mut<Q: ToKey<K>>(&mut self, hash: u64, key: &Q) -> Option<&mut T> {
        let mut entry = self.entries.find_mut(hash, |(k, _)| key.is(k));
        if entry.is_none()
            && let Some(growing) = &mut self.growing
        {
            entry = growing.old_mut().and_then(|old| old.entries.find_mut(hash, |(k, _)| key.is(k)));
        }
        entry.map(|(_, partial)| partial)
    }

    #[inline]
    pub(crate) fn get<Q: ToKey<K>>(&self, hash: u64, key: &Q) -> Option<&T> {
        let entry = self.entries.find(hash, |(k, _)| key.is(k));
        let entry = entry.or_else(|| self.old()?.find(hash, |(k, _)| key.is(k)));
        entry.map(|(_, partial)| partial)
    }

    pub(crate) fn spot_of(&self, hash: u64, key: &K) -> Option<usize> {
        let find = |table: &HashTable<(K, T)>| table.find_bucket_index(hash, |(k, _)| k == key);
        let in_old = || Some(self.entries.num_buckets() + find(self.old()?)?);
        find(&self.entries).or_else(in_old)
    }

    /// Adds an entry whose key is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: K, partial: T, heap: usize, hashing: &Hashing<K>) {
        self.heap += heap;
        if self.growing.is_some() {
            self.grow_on(hashing);
        }
        // (A small table grows by itself, or is put in order in place where entries that were removed have filled it.)
        if self.is_full() {
            match self.len() >= MANY {
                true => self.grow(0, hashing),
                false => self.hold_all(),
            }
        }
        let at =
            self.entries.insert_unique(hash, (key, partial), |(key, _)| hashing.hash(key)).bucket_index();
        if let Some(marks) = &mut self.marks {
            marks.hold_beside(at, &self.entries);
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, key: &K) {
        let old = self.growing.as_mut().and_then(|growing| growing.old_mut()).map(|old| &mut old.entries);
        for table in [Some(&mut self.entries), old] {
            if let Some(Ok(entry)) = table.map(|table| table.find_entry(hash, |(k, _)| k == key)) {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// What a table does, and a map that says what it should come to.
    #[derive(Default)]
    struct Both {
        table: Option<Table<u32, u32>>,
        map: BTreeMap<u32, u32>,
    }

    impl Both {
        fn insert(&mut self, key: u32, hashing: &Hashing<u32>) {
            let hash = hashing.hash(&key);
            let table = self.table.get_or_insert(Table::new());
            *self.map.entry(key).or_insert(0) += 1;
            if let Some(count) = table.get_mut(hash, &key) {
                *count += 1;
                return;
            }
            let (before, spots, has_room) = (table.bytes(), table.entries.num_buckets(), table.has_room());
            let (bytes, room) = table.growth(0);
            let foreseen = spots.max(spots_for(table.capacity() + room));
            table.grow(0, hashing);
            table.insert(hash, key, 1, 0, hashing);
            assert!(table.bytes() <= before + bytes && table.entries.num_buckets() <= foreseen);
            assert!(!has_room || table.bytes() == before, "nothing grew, and nothing was freed");
        }

        fn check(&self, hashing: &Hashing<u32>) {
            let Some(table) = &self.table else { return };
            assert_eq!(table.len(), self.map.len());
            assert_eq!(table.iter().map(|(&k, &n)| (k, n)).collect::<BTreeMap<_, _>>(), self.map);
            let runs = (0..table.spots()).step_by(32);
            let spots = runs.flat_map(|from| {
                (0..32).filter(move |i| table.occupied(from) >> i & 1 == 1).map(move |i| from + i)
            });
            let spots: Vec<usize> = spots.collect();
            assert_eq!(spots.len(), self.map.len());
            for spot in spots {
                let (key, count) = table.at(spot).unwrap();
                let hash = hashing.hash(key);
                assert_eq!((table.spot_of(hash, key), table.get(hash, key)), (Some(spot), Some(count)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_table_that_grows_step_by_step_is_a_map(
            counts in prop::collection::vec(1..9000u32, 1..5),
            seed: u64,
        ) {
            let (hashing, mut both) = (Hashing::new(Some(seed)), Both::default());
            for (round, &count) in (0..).zip(&counts) {
                // Half of the keys are there already.
                (0..count).for_each(|n| both.insert((n * 7 + round * count / 2) % 30_000, &hashing));
                both.check(&hashing);
                let table = both.table.as_mut().unwrap();
                for key in (0..count).step_by(5) {
                    table.remove(hashing.hash(&key), &key);
                    both.map.remove(&key);
                }
                both.check(&hashing);
            }
            both.table.as_mut().unwrap().clear();
            both.map.clear();
            both.check(&hashing);
            (0..5000).for_each(|key| both.insert(key, &hashing));
            let mut spot = 0;
            while !both.table.as_mut().unwrap().clear_some(&mut spot) {}
            both.map.clear();
            both.check(&hashing);
        }
    }

    /// The memory of a larger table is touched page by page, that of a smaller one goes in parts.
    #[test]
    fn memory_comes_and_goes_step_by_step() {
        let (hashing, mut both) = (Hashing::new(Some(1)), Both::default());
        let (mut steps, mut parts, mut grown) = (0, 0, 0);
        for key in 0..500_000 {
            let before = both.table.as_ref().map_or(0, |table| table.entries.num_buckets());
            both.insert(key, &hashing);
            let table = both.table.as_ref().unwrap();
            match table.growing.as_deref() {
                Some(Growing::Coming(_)) => steps += 1,
                Some(Growing::Moving(old)) if table.entries.num_buckets() > before => {
                    // (The last page with the entry that is there now.)
                    assert!((steps + 1) * 4096 >= table.entries.num_buckets(), "{steps} steps");
                    assert!(room_in(&old.entries) > 0, "its room was used up");
                    (steps, grown) = (0, grown + 1);
                }
                Some(Growing::Leaving(_)) => parts += 1,
                _ => assert!(table.entries.num_buckets() == before || before < 2 * MANY),
            }
        }
        assert_eq!(grown, 7);
        // The last one that was outgrown is the only one of so many bytes.
        let bytes = Table::<u32, u32>::bytes_for(1 << 18);
        assert!(!cfg!(target_os = "linux") || parts >= bytes / (1 << 16), "{parts} parts of {bytes} bytes");
    }

    #[test]
    fn no_insertion_moves_many_entries() {
        let (hashing, mut both) = (Hashing::new(Some(1)), Both::default());
        let mut moving = 0;
        for key in 0..200_000 {
            let old = |both: &Both| both.table.as_ref().and_then(Table::old).map_or(0, HashTable::len);
            let (len, before) = (both.map.len(), old(&both));
            both.insert(key, &hashing);
            let after = old(&both);
            assert!(before.saturating_sub(after) <= STEP, "{before} entries were left to move, then {after}");
            assert!(after == 0 || after <= len, "all entries of {len} may begin to move");
            moving += u32::from(after > 0);
        }
        // Each growth takes so many insertions as move all entries.
        assert!(moving as usize > 100_000 / STEP, "entries moved in {moving} insertions");
    }

    /// A snapshot that begins at any point of a table's growth holds what was there, each entry once.
    #[test]
    fn a_cut_holds_every_entry_once_as_it_was() {
        fn put(key: &u32, count: &u32, bytes: &mut Vec<u8>) {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        let hashing = Hashing::new(Some(1));
        for begun in [10, 3000, 7168, 7170, 7200, 7280, 14_336, 14_340, 14_400] {
            for (step, more) in [(1, 100), (7, 9000), (300, 20_000), (1, 30_000)] {
                let mut both = Both::default();
                (0..begun).for_each(|key| both.insert(key, &hashing));
                let expected = both.map.clone();
                let mut runs = Vec::new();
                both.table.as_mut().unwrap().begin_cut(put);
                for key in 0..more {
                    // One that may be there already, and one that is not.
                    let table = both.table.as_mut().unwrap();
                    let old = key * 31 % (begun + 1);
                    table.hold(hashing.hash(&old), &old);
                    both.insert(old, &hashing);
                    both.insert(begun + 1 + key, &hashing);
                    let table = both.table.as_mut().unwrap();
                    if key % 3 == 0 {
                        table.hold_some(step);
                        runs.push(table.take_held());
                    }
                }
                let table = both.table.as_mut().unwrap();
                while table.left_to_hold() > 0 {
                    table.hold_some(100);
                }
                runs.push(table.take_held());
                let counted: u64 = runs.iter().flat_map(Run::pieces).map(|piece| piece.count).sum();
                assert_eq!(counted, u64::from(begun), "begun at {begun}, {more} more");
                let records =
                    runs.iter().flat_map(Run::pieces).flat_map(|piece| piece.records.chunks_exact(8));
                let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
                let held: BTreeMap<u32, u32> =
                    records.map(|record| (number(&record[..4]), number(&record[4..]))).collect();
                assert_eq!(held, expected, "begun at {begun}, {more} more");
            }
        }
    }

    #[test]
    fn what_is_outgrown_is_freed() {
        let (hashing, mut both) = (Hashing::new(Some(1)), Both::default());
        (0..100_000).for_each(|key| both.insert(key, &hashing));
        let table = both.table.unwrap();
        assert!(table.growing.is_none());
        assert_eq!(table.bytes(), Table::<u32, u32>::bytes_for(100_000));
    }
}
