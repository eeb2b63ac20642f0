//! Which windows show that a key had nothing in them.

use std::collections::BTreeSet;

use crate::window::Window;
use crate::window::grids::Grid;

/// What is known of a definition whose windows are filled.
#[derive(Clone, Debug)]
pub(super) struct Fill {
    horizon: i64,
    /// The keys, and the ends of the windows in which they were seen.
    seen: BTreeSet<(u32, i64)>,
    /// What gave an empty pane.
    filled: BTreeSet<(Window, u32)>,
}

impl Fill {
    pub(super) fn new(horizon: i64) -> Self {
        Self { horizon, seen: BTreeSet::new(), filled: BTreeSet::new() }
    }

    /// A key is seen in all windows that its event lies in, whether they accepted
    /// it or not.
    pub(super) fn see(&mut self, key: u32, windows: Vec<Window>) {
        self.seen.extend(windows.into_iter().map(|window| (key, window.end)));
    }

    /// The windows whose ends the watermark passes, each with all the keys that
    /// were seen so short a time before.
    pub(super) fn due(&self, grid: &Grid, from: i64, to: i64) -> BTreeSet<(Window, u32)> {
        let mut due = BTreeSet::new();
        for &(key, end) in &self.seen {
            let windows = grid.ending_in(from.max(end), to.min(end.saturating_add(self.horizon)));
            due.extend(windows.into_iter().map(|window| (window, key)));
        }
        due
    }

    /// An empty pane fires.
    pub(super) fn fires(&mut self, window: Window, key: u32) {
        assert!(self.filled.insert((window, key)), "{window:?} is filled twice");
    }

    /// Whether there was an empty pane.
    pub(super) fn has_filled(&self, window: Window, key: u32) -> bool {
        self.filled.contains(&(window, key))
    }
}
