//! What events have caused and the host has not polled yet, in the order in which it was caused.
//!
//! What the *watermark* causes is not here: that follows from the state. An entry comes after everything that
//! was due at the watermark it was made under.

use alloc::collections::VecDeque;

use alloc::vec::Vec;

use crate::keyed::Emission;
use crate::slice::Run;

#[derive(Clone, Debug)]
pub(crate) struct Queued<K, T> {
    /// The watermark under which it was caused.
    pub(crate) at: i64,
    pub(crate) key: K,
    pub(crate) what: What<T>,
}

#[derive(Clone, Debug)]
pub(crate) enum What<T> {
    /// A late event that was admitted into a slice, and changes it when its turn comes. Then come its panes of
    /// definitions before `until`.
    Event { slice: i64, partial: T, until: u32 },
    /// Then its panes of the definitions before this one.
    Until(u32),
    /// A pane of a key's own window, of this definition.
    Pane { definition: u32, pane: Emission<T> },
}

#[derive(Debug)]
pub(crate) struct Queue<K, T> {
    entries: VecDeque<Queued<K, T>>,
    /// Heap owned by their partials.
    heap: usize,
    /// The snapshot that is being taken.
    cut: Option<Cut<K, T>>,
}

/// Appends an entry.
type Put<K, T> = fn(&Queued<K, T>, &mut Vec<u8>);

/// What a snapshot that is being taken still has to hold: of the entries that were there some at the end. What is popped
/// was the first of them, and is held before.
#[derive(Debug)]
struct Cut<K, T> {
    put: Put<K, T>,
    /// The first that is not held, and the first that has come too late.
    next: usize,
    beyond: usize,
    run: Run,
}

impl<K, T> Cut<K, T> {
    fn hold(&mut self, most: usize, entries: &VecDeque<Queued<K, T>>) {
        let until = self.beyond.min(self.next.saturating_add(most));
        for entry in entries.range(self.next..until) {
            self.run.put(|records| (self.put)(entry, records));
        }
        self.next = until;
    }
}

impl<K, T> Queue<K, T> {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), heap: 0, cut: None }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Queued<K, T>>() + self.heap
    }

    /// Bytes by which so many entries more make this grow.
    pub(crate) fn growth(&self, more: usize) -> usize {
        growth::<Queued<K, T>>(self.entries.len(), self.entries.capacity(), more)
    }

    pub(crate) fn push(&mut self, entry: Queued<K, T>, heap: usize) {
        self.heap += heap;
        self.entries.push_back(entry);
    }

    pub(crate) fn pop(&mut self, heap: impl Fn(&What<T>) -> usize) -> Option<Queued<K, T>> {
        if let Some(cut) = &mut self.cut {
            if cut.next == 0 {
                cut.hold(1, &self.entries);
            }
            (cut.next, cut.beyond) = (cut.next.saturating_sub(1), cut.beyond.saturating_sub(1));
        }
        let entry = self.entries.pop_front()?;
        self.heap = self.heap.saturating_sub(heap(&entry.what));
        Some(entry)
    }

    /// The watermark under which the next entry was made.
    pub(crate) fn front_at(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.at)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Queued<K, T>> + DoubleEndedIterator {
        self.entries.iter()
    }

    /// The watermark of the first late event for a slice.
    pub(crate) fn first_event_at(&self) -> Option<i64> {
        self.entries.iter().find(|entry| matches!(entry.what, What::Event { .. })).map(|entry| entry.at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    // A snapshot that is being taken.

    pub(crate) fn begin_cut(&mut self, put: Put<K, T>) {
        self.cut = Some(Cut { put, next: 0, beyond: self.entries.len(), run: Run::new() });
    }

    pub(crate) fn end_cut(&mut self) {
        self.cut = None;
    }

    /// Holds some entries, and gives out what has been held; none if all are held.
    pub(crate) fn hold_some(&mut self, most: usize) -> Option<Run> {
        let cut = self.cut.as_mut()?;
        cut.hold(most, &self.entries);
        let run = cut.run.take();
        if cut.next == cut.beyond && run.is_empty() {
            self.cut = None;
            return None;
        }
        Some(run)
    }
}

impl<K: Eq, T> Queue<K, T> {
    /// Whether a late event of a key waits for one of these slices. O(entries).
    pub(crate) fn has_event(&self, (first, beyond): (i64, i64), key: &K) -> bool {
        self.entries.iter().any(|entry| {
            matches!(entry.what, What::Event { slice, .. } if first <= slice && slice < beyond)
                && entry.key == *key
        })
    }
}

/// Bytes by which a vector grows for so many entries more, one by one: each time to twice its size.
pub(crate) fn growth<E>(len: usize, capacity: usize, more: usize) -> usize {
    let mut grown = capacity;
    while grown < len + more {
        grown = (2 * grown).max(4);
    }
    (grown - capacity) * size_of::<E>()
}
