//! What became of a batch's events that were not simply accepted.
//!
//! Half of a batch may be late, and what is told of a late event takes more room than the event. So what is the same for
//! many of them is kept once, and the rest is put together when it is read.

use alloc::vec::Vec;
use core::fmt;

use crate::error::Rejected;
use crate::grid::Bounds;
use crate::operator::late_of;
use crate::output::{Admission, Late, Missed};
use crate::time::Timestamp;
use crate::watermark::Partition;

/// An event of a batch that was not just accepted: its index, and what became of it.
pub type Exception = (usize, Result<Admission<usize>, Rejected<usize>>);

/// What late events are judged by: the watermark, that of their partition, and who holds it where that is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) watermark: i64,
    pub(crate) own: i64,
    pub(crate) held_by: Option<Partition>,
}

/// By index.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    notes: Vec<Note>,
    judged: Vec<Judged>,
    missed: Vec<Missed>,
    others: Vec<Exception>,
    recent: Recent,
}

#[derive(Clone, Copy, Debug)]
struct Note {
    index: usize,
    time: i64,
    /// In `Outcomes::judged`, or `OTHER`.
    judged: u32,
    /// In `Outcomes::missed`, or in `Outcomes::others`.
    place: u32,
}

const OTHER: u32 = u32::MAX;

/// The slices that late events were in lately, and where what they have missed is.
#[derive(Debug, Default)]
struct Recent {
    from: [i64; 4],
    span: [u64; 4],
    place: [u32; 4],
    next: usize,
}

impl Recent {
    /// (No branch for each: which it is may well be random.)
    #[inline(always)]
    fn find(&self, time: i64) -> Option<u32> {
        let (mut place, mut is_here) = (0, false);
        for slice in 0..self.from.len() {
            let within = (time.wrapping_sub(self.from[slice]) as u64) < self.span[slice];
            place |= if within { self.place[slice] } else { 0 };
            is_here |= within;
        }
        is_here.then_some(place)
    }

    fn note(&mut self, (from, until): Bounds, place: u32) {
        let slice = self.next;
        (self.from[slice], self.span[slice], self.place[slice]) = (from, until.abs_diff(from), place);
        self.next = (slice + 1) % self.from.len();
    }
}

impl Outcomes {
    pub(crate) fn clear(&mut self) {
        self.notes.clear();
        self.judged.clear();
        self.missed.clear();
        self.others.clear();
        self.recent = Recent::default();
    }

    pub(crate) fn push(&mut self, index: usize, outcome: Result<Admission<usize>, Rejected<usize>>) {
        self.notes.push(Note { index, time: 0, judged: OTHER, place: self.others.len() as u32 });
        self.others.push((index, outcome));
    }

    /// Late events to come are judged by this.
    pub(crate) fn judge_by(&mut self, watermark: i64, own: i64) {
        self.judged.push(Judged { watermark, own, held_by: None });
    }

    /// An event to come is told who holds the watermark, which is asked for only then.
    #[inline(never)]
    pub(crate) fn tell_holder(&mut self, held_by: impl FnOnce() -> Option<Partition>) {
        if let Some(judged) = self.judged.last_mut()
            && judged.held_by.is_none()
        {
            judged.held_by = held_by();
        }
    }

    /// How many late events there are in short.
    pub(crate) fn late(&self) -> u64 {
        (self.notes.len() - self.others.len()) as u64
    }

    /// Adds an event that is late, if it is known what it has missed.
    #[inline(always)]
    pub(crate) fn push_late(&mut self, index: usize, time: i64) -> bool {
        let Some(place) = self.recent.find(time) else { return false };
        self.notes.push(Note { index, time, judged: (self.judged.len() - 1) as u32, place });
        true
    }

    /// What all late events of a slice have missed.
    pub(crate) fn note_missed(&mut self, slice: Bounds, missed: Missed) {
        self.recent.note(slice, self.missed.len() as u32);
        self.missed.push(missed);
    }

    fn get(&self, note: &Note) -> Exception {
        let Note { index, time, judged, place } = *note;
        if judged == OTHER {
            return self.others[place as usize].clone();
        }
        let Judged { watermark, own, held_by } = self.judged[judged as usize];
        let late =
            late_of(Timestamp::from_micros(time), (watermark, own), || held_by, self.missed[place as usize]);
        let Late { watermark, late_by, reason, missed, .. } = late;
        (index, Ok(Admission::Late(Late { event: index, watermark, late_by, reason, missed })))
    }
}

/// The events of a batch that were not just accepted, in their order: partly late, late, unassigned or rejected.
#[derive(Clone)]
pub struct Exceptions<'a> {
    outcomes: &'a Outcomes,
    notes: core::slice::Iter<'a, Note>,
}

impl<'a> Exceptions<'a> {
    pub(super) fn of(outcomes: &'a Outcomes) -> Self {
        Self { outcomes, notes: outcomes.notes.iter() }
    }
}

impl Iterator for Exceptions<'_> {
    type Item = Exception;

    fn next(&mut self) -> Option<Exception> {
        self.notes.next().map(|note| self.outcomes.get(note))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.notes.size_hint()
    }
}

impl ExactSizeIterator for Exceptions<'_> {}

impl fmt::Debug for Exceptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
