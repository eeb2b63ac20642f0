//! When a window stops accepting: the only place that decides on time, partly late or late (L1, L2).

use crate::grid::Grid;
use crate::output::Missed;

/// Allowed lateness: how long after its end a window still accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lateness {
    pub(crate) allowed: i64,
}

/// What becomes of an event in a slice.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The slice lies in a gap between windows.
    Unassigned,
    /// Every window of the slice has closed.
    Late(Missed),
    /// Some have closed, if any, and at least one accepts.
    Open { missed: Option<Missed> },
}

impl Lateness {
    /// The first window that still accepts at this watermark; `None` at the end of input.
    ///
    /// A window accepts until `watermark >= end + allowed`, saturating, so that at the end of input every
    /// window is closed and with the longest lateness none is before.
    pub(crate) fn first_open(self, grid: &Grid, watermark: i64) -> Option<i64> {
        self.closed_up_to(watermark).map(|time| grid.first_ending_after(time))
    }

    /// Where that window ends.
    pub(crate) fn first_open_end(self, grid: &Grid, watermark: i64) -> Option<i64> {
        self.closed_up_to(watermark).map(|time| grid.first_end_after(time))
    }

    /// The next watermark at which a window closes.
    pub(crate) fn next_close(self, grid: &Grid, watermark: i64) -> i64 {
        self.first_open_end(grid, watermark).map_or(i64::MAX, |end| end.saturating_add(self.allowed))
    }

    /// The watermark at which a window that ends at `end` closes.
    pub(crate) fn closes(self, end: i64) -> i64 {
        end.saturating_add(self.allowed)
    }

    pub(crate) fn closed_up_to(self, watermark: i64) -> Option<i128> {
        (watermark < i64::MAX).then(|| i128::from(watermark) - i128::from(self.allowed))
    }

    pub(crate) fn judge(self, grid: &Grid, slice: i64, watermark: i64) -> Verdict {
        if grid.is_gap(slice) {
            return Verdict::Unassigned;
        }
        let (first, last) = (grid.first_window(slice), grid.last_window(slice));
        match self.first_open(grid, watermark) {
            Some(open) if open <= first => Verdict::Open { missed: None },
            Some(open) if open <= last => Verdict::Open { missed: Some(missed(grid, first, open - 1)) },
            _ => Verdict::Late(missed(grid, first, last)),
        }
    }
}

fn missed(grid: &Grid, first: i64, last: i64) -> Missed {
    Missed { first: grid.window(first), last: grid.window(last), count: last.abs_diff(first) + 1 }
}
