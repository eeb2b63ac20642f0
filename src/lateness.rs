//! When a window stops accepting: the only place that decides on time, partly late or late (L1, L2).

use crate::grid::Bounds;
use crate::output::Missed;
use crate::time::Window;
use crate::windows::Assigner;

/// Allowed lateness: how long after its end a window still accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lateness {
    pub(crate) allowed: i64,
    /// Windows that end by this have closed whatever is allowed, because it was less when they did. None have at the
    /// beginning of time.
    pub(crate) closed: i64,
}

/// What becomes of an event in the windows of one definition.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// No window contains it.
    Unassigned,
    /// Every one that does has closed.
    Late(Missed),
    /// Some have closed, if any, and at least one accepts.
    Open { missed: Option<Missed> },
}

/// What late events of some slices have missed: all windows of those slices have closed, so it is the same for others.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    slices: [Option<(Bounds, Missed)>; 4],
    next: usize,
}

impl Memo {
    #[inline]
    pub(crate) fn find(&self, time: i64) -> Option<Missed> {
        let within = |&&((start, end), _): &&(Bounds, Missed)| start <= time && time < end;
        self.slices.iter().flatten().find(within).map(|&(_, missed)| missed)
    }

    pub(crate) fn note(&mut self, slice: Bounds, missed: Missed) {
        self.slices[self.next] = Some((slice, missed));
        self.next = (self.next + 1) % self.slices.len();
    }
}

impl Lateness {
    pub(crate) const fn new(allowed: i64) -> Self {
        Self { allowed, closed: i64::MIN }
    }

    /// The same where less was allowed up to now, at this watermark.
    pub(crate) fn grown_from(self, before: Self, watermark: i64) -> Self {
        let closed = match self.allowed > before.allowed {
            true => before.closed_up_to(watermark).unwrap_or(i64::MAX),
            false => before.closed,
        };
        Self { allowed: self.allowed, closed }
    }

    /// The watermark at which a window that ends at `end` closes. Saturating: with the longest lateness that is
    /// at the end of input, when every window closes.
    pub(crate) fn closes(self, end: i64) -> i64 {
        // (An end may lie before time begins, and stand at its beginning.)
        let had_closed = self.closed > i64::MIN && end <= self.closed;
        if had_closed { i64::MIN } else { end.saturating_add(self.allowed) }
    }

    /// The windows that end by this have closed; `None`: all have, at the end of input.
    pub(crate) fn closed_up_to(self, watermark: i64) -> Option<i64> {
        (watermark < i64::MAX).then(|| watermark.saturating_sub(self.allowed).max(self.closed))
    }

    /// The end of the first window that still accepts at this watermark.
    pub(crate) fn first_open_end(self, assigner: &Assigner, watermark: i64) -> Option<i64> {
        let closed = self.closed_up_to(watermark)?;
        // Exact also where what has closed lies before time begins.
        let exact = i128::from(watermark) - i128::from(self.allowed);
        let exact = if self.closed > i64::MIN { exact.max(self.closed.into()) } else { exact };
        match assigner {
            Assigner::Periodic(grid) => Some(grid.first_ending_after(exact).1),
            Assigner::Cumulative(grid) => Some(grid.first_ending_after(exact).1),
            _ => assigner.first_ending_after(closed).map(|(_, end)| end),
        }
    }

    /// The next watermark at which a window closes.
    pub(crate) fn next_close(self, assigner: &Assigner, watermark: i64) -> i64 {
        self.first_open_end(assigner, watermark).map_or(i64::MAX, |end| self.closes(end))
    }

    /// What becomes of an event at `time`. O(1), but O(windows missed) on a grid of somebody's own.
    pub(crate) fn judge(self, assigner: &Assigner, time: i64, watermark: i64) -> Verdict {
        let Some(first) = assigner.first_ending_after(time).filter(|&(start, _)| start <= time) else {
            return Verdict::Unassigned;
        };
        let closed = self.closed_up_to(watermark);
        if closed.is_some_and(|closed| closed < first.1) {
            return Verdict::Open { missed: None };
        }
        let Some((last, count)) = assigner.ended_of(time, closed.unwrap_or(i64::MAX)) else {
            return Verdict::Unassigned;
        };
        let missed = Missed { first: Window::between(first), last: Window::between(last), count };
        match closed.and_then(|_| assigner.first_ending_after(last.1)) {
            Some((start, _)) if start <= time => Verdict::Open { missed: Some(missed) },
            _ => Verdict::Late(missed),
        }
    }
}
