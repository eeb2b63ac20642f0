//! What has been counted. `offered = accepted + partly_late + late + unassigned + rejected` at all times.

use serde::{Deserialize, Serialize};

/// Counts since the kernel was built; they survive snapshot and restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// In all windows they belong to.
    pub accepted: u64,
    /// In some of their windows; the others had closed (L2).
    pub partly_late: u64,
    /// Given back because every window had closed (L3).
    pub late: u64,
    /// Given back because no window covers their time.
    pub unassigned: u64,
    /// Given back with a reason why they cannot be taken.
    pub rejected: u64,
    /// Further ahead than the guard allows (W7). Each is also counted as what became of it.
    pub suspect: u64,
    /// Windows that fired on time.
    pub windows_fired: u64,
    /// Panes handed out.
    pub panes_fired: u64,
}

impl Counters {
    /// All events ever offered: the sum of what became of them.
    pub fn offered(&self) -> u64 {
        self.accepted + self.partly_late + self.late + self.unassigned + self.rejected
    }

    /// Counts what another kernel has counted, too.
    pub(crate) fn absorb(&mut self, other: &Self) {
        let Self { accepted, partly_late, late, unassigned, rejected, suspect, windows_fired, panes_fired } =
            self;
        for (count, more) in [
            (accepted, other.accepted),
            (partly_late, other.partly_late),
            (late, other.late),
            (unassigned, other.unassigned),
            (rejected, other.rejected),
            (suspect, other.suspect),
            (windows_fired, other.windows_fired),
            (panes_fired, other.panes_fired),
        ] {
            *count = count.saturating_add(more);
        }
    }

    /// Whether a count is so large that no stream can have led to it, nor can be counted on from there.
    pub(crate) fn has_absurd(&self) -> bool {
        let Self { accepted, partly_late, late, unassigned, rejected, suspect, windows_fired, panes_fired } =
            *self;
        [accepted, partly_late, late, unassigned, rejected, suspect, windows_fired, panes_fired]
            .into_iter()
            .any(|count| count > 1 << 56)
    }
}
