//! The model of all windows: which there are, what is in them and when it fires.
//!
//! Every event is kept in every window it belongs to, and what is due is looked
//! for in all of them.

mod definition;
mod fill;
mod grids;
mod panes;
mod sessions;
mod triggers;

use std::collections::BTreeSet;

use crate::case::Config;
use definition::Definition;

pub use grids::Grid;
pub use panes::{Contribution, Pane, Retracted, Timing};

/// A window. The order of the fields is the order of firing (F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first time after it.
    pub end: i64,
    /// The first time in it.
    pub start: i64,
}

/// A window and its definition.
pub type Placed = (Window, usize);

/// What an event finds when it comes.
#[derive(Clone, Copy, Debug)]
struct Clock {
    watermark: i64,
    /// The highest processing time seen.
    now: Option<i64>,
}

/// All definitions, each with every admitted event in every window it belongs to.
#[derive(Clone, Debug)]
pub struct WindowModel {
    definitions: Vec<Definition>,
    clock: Clock,
    /// Fired, not handed out yet; in order.
    pending: Vec<Pane>,
    /// Definition and window of each that gave a pane on time.
    fired_on_time: BTreeSet<(usize, Window)>,
    panes_fired: u64,
    /// The latest time of an event that a plain definition let in.
    latest: Option<i64>,
}

impl Window {
    /// Whether a time lies in it (A1).
    #[must_use]
    pub fn contains(self, time: i64) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether it accepts nothing any more at a watermark (L1).
    #[must_use]
    pub fn is_closed(self, lateness: i64, watermark: i64) -> bool {
        watermark >= self.end.saturating_add(lateness)
    }
}

impl WindowModel {
    /// Nothing stored, nothing known.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let windows = config.windows.iter().enumerate();
        Self {
            definitions: windows.map(|(number, windows)| Definition::new(number, windows)).collect(),
            clock: Clock { watermark: i64::MIN, now: None },
            pending: Vec::new(),
            fired_on_time: BTreeSet::new(),
            panes_fired: 0,
            latest: None,
        }
    }

    /// The watermark is now `to`: what became due fires, in order (F1, F2, F4). At
    /// the end of input no windows are filled that begin after all that was seen and
    /// that the watermark had reached, nor any that no event fits into.
    ///
    /// # Panics
    /// When the watermark goes back.
    pub fn advance(&mut self, to: i64) {
        let from = self.clock.watermark;
        assert!(from <= to, "the watermark went from {from} back to {to}");
        if from == to {
            return;
        }
        self.clock.watermark = to;
        // By the watermark at which it fires, window, definition and key.
        let mut due: BTreeSet<(i64, Window, usize, u32)> = BTreeSet::new();
        for (number, definition) in self.definitions.iter().enumerate() {
            for (window, key) in definition.cells() {
                due.extend(definition.next_due(window, key, to).map(|at| (at, window, number, key)));
            }
            let filled = definition.fills_due(from, to).into_iter();
            let had_begun = |start: i64| start < from && definition.fits(start, None);
            let is_reached = |window: Window| Some(window.start) <= self.latest || had_begun(window.start);
            let filled = filled.filter(|&(window, _)| to < i64::MAX || is_reached(window));
            due.extend(filled.map(|(window, key)| (window.end, window, number, key)));
        }
        while let Some((_, window, number, key)) = due.pop_first() {
            let definition = &mut self.definitions[number];
            let pane = definition.fire_next(window, key);
            due.extend(definition.next_due(window, key, to).map(|at| (at, window, number, key)));
            self.fired(pane);
        }
        self.expire();
    }

    /// The host's processing time is now `now`, if that is not going back: windows
    /// fire early by it (F4). The watermark must have been advanced before.
    pub fn tick(&mut self, now: i64) {
        let now = self.clock.now.map_or(now, |before| before.max(now));
        self.clock.now = Some(now);
        for number in 0..self.definitions.len() {
            let panes = self.definitions[number].tick(now, self.clock.watermark);
            self.fired(panes);
        }
    }

    /// Whether all windows of an event fit, in all definitions (T2).
    #[must_use]
    pub fn fits(&self, time: i64, gap: Option<i64>) -> bool {
        self.definitions.iter().all(|definition| definition.fits(time, gap))
    }

    /// Whether events' gaps matter to some definition.
    #[must_use]
    pub fn has_sessions(&self) -> bool {
        self.definitions.iter().any(Definition::is_session)
    }

    /// The windows of an event, in firing order: those that had closed, and those
    /// that are open (L1).
    ///
    /// # Panics
    /// When it doesn't fit.
    #[must_use]
    pub fn closed_and_open(&self, key: u32, time: i64, gap: Option<i64>) -> (Vec<Placed>, Vec<Placed>) {
        let watermark = self.clock.watermark;
        let mut all: Vec<Placed> = Vec::new();
        for (number, definition) in self.definitions.iter().enumerate() {
            let windows = definition.windows_of(key, time, gap, watermark);
            all.extend(windows.into_iter().map(|window| (window, number)));
        }
        all.sort();
        all.into_iter().partition(|&(window, number)| self.definitions[number].is_closed(window, watermark))
    }

    /// Puts an event into those of its windows that are open.
    ///
    /// # Panics
    /// When it doesn't fit.
    pub fn admit(&mut self, key: u32, event: Contribution, gap: Option<i64>) {
        let (_, open) = self.closed_and_open(key, event.time, gap);
        if open.iter().any(|&(_, number)| self.definitions[number].is_plain()) {
            self.see(key, event.time);
        }
        for number in 0..self.definitions.len() {
            let panes = self.definitions[number].admit(key, event, gap, self.clock);
            self.fired(panes);
        }
    }

    fn see(&mut self, key: u32, time: i64) {
        self.latest = self.latest.max(Some(time));
        for definition in &mut self.definitions {
            definition.see(key, time);
        }
    }

    /// Hands out everything: what fired, in order, then the marked (F3).
    pub fn drain(&mut self) -> Vec<Pane> {
        let mut marked = BTreeSet::new();
        for (number, definition) in self.definitions.iter().enumerate() {
            marked.extend(definition.marked().into_iter().map(|(window, key)| (window, number, key)));
        }
        for (window, number, key) in marked {
            let pane = self.definitions[number].fire_marked(window, key);
            self.fired(pane);
        }
        self.expire();
        std::mem::take(&mut self.pending)
    }

    /// How far a kernel fed with the panes may be told time has come (F7), if
    /// `drained` says that all panes there are now have been handed out.
    #[must_use]
    pub fn output_watermark(&self, drained: bool) -> i64 {
        let watermark = self.clock.watermark;
        let to_come = self.definitions.iter().filter_map(|d| d.first_time_to_come(watermark)).min();
        let owed = if drained { None } else { self.first_owed_time() };
        let times = [to_come, owed.map(i128::from), Some(watermark.into())];
        let limit = times.into_iter().flatten().min().expect("the watermark");
        i64::try_from(limit.max(i64::MIN.into())).expect("not above the watermark")
    }

    /// The latest end of a window that is open, holds something and has started by
    /// `latest`, but for the global one; what ends with time itself stays open.
    #[must_use]
    pub fn last_open_end(&self, latest: i64) -> Option<i64> {
        let ends = self.definitions.iter().filter_map(|d| d.last_open_end(latest, self.clock.watermark));
        Some(ends.max()?.min(i64::MAX - 1))
    }

    /// How many windows hold something.
    #[must_use]
    pub fn live_windows(&self) -> usize {
        self.definitions.iter().map(|definition| definition.live_windows().len()).sum()
    }

    /// How many distinct windows gave at least one on-time pane.
    #[must_use]
    pub fn windows_fired(&self) -> u64 {
        self.fired_on_time.len() as u64
    }

    /// How many panes there were, handed out or pending.
    #[must_use]
    pub fn panes_fired(&self) -> u64 {
        self.panes_fired
    }

    /// # Panics
    /// When the state is one that no sequence of calls should reach.
    pub fn assert_invariants(&self) {
        for definition in &self.definitions {
            definition.assert_invariants(self.clock.watermark);
        }
        for pane in &self.pending {
            let filled = self.definitions[pane.definition].is_filled() && pane.timing == Timing::OnTime;
            assert!(filled || !pane.events.is_empty(), "empty windows don't fire");
            let reached = pane.end <= self.clock.watermark;
            assert!(reached || pane.timing == Timing::Early, "{pane:?} fired too early");
        }
    }

    fn fired(&mut self, panes: impl IntoIterator<Item = Pane>) {
        for pane in panes {
            if pane.timing == Timing::OnTime {
                self.fired_on_time.insert((pane.definition, Window { end: pane.end, start: pane.start }));
            }
            self.panes_fired += 1;
            self.pending.push(pane);
        }
    }

    fn first_owed_time(&self) -> Option<i64> {
        let marked = self.definitions.iter().flat_map(Definition::marked);
        let marked = marked.map(|(window, _)| window.end - 1);
        marked.chain(self.pending.iter().map(|pane| pane.end - 1)).min()
    }

    fn expire(&mut self) {
        for definition in &mut self.definitions {
            definition.expire(self.clock.watermark);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::case::Windows;

    #[test]
    fn l1_closing_saturates() {
        let window = |end| Window { end, start: end - 10 };
        assert!(!window(10).is_closed(5, 14));
        assert!(window(10).is_closed(5, 15));
        assert!(!window(10).is_closed(i64::MAX, i64::MAX - 1));
        assert!(window(10).is_closed(i64::MAX, i64::MAX));
    }

    #[test]
    fn f7_output_watermark_by_hand() {
        let at = |windows: &[Windows], watermark| {
            let config = Config { windows: windows.to_vec(), ..Config::tumbling(1) };
            let mut model = WindowModel::new(&config);
            model.advance(watermark);
            model.output_watermark(true)
        };
        let sliding = |lateness| Windows { lateness, ..Windows::sliding(10, 5) };
        // [0, 10) is open until 10: its panes have the time 9.
        assert_eq!(at(&[sliding(0)], 9), 9);
        assert_eq!(at(&[sliding(0)], 10), 10);
        assert_eq!(at(&[sliding(3)], 12), 9, "[0, 10) may fire until 13");
        assert_eq!(at(&[sliding(3)], 13), 13);
        assert_eq!(at(&[sliding(3)], 14), 14);
        assert_eq!(at(&[sliding(3)], 16), 14, "[5, 15) may fire again");
        assert_eq!(at(&[sliding(i64::MAX)], -100), i64::MIN, "anything may fire again");
        // Ends are multiples of 5, MIN is 2 modulo 5: open is from MIN + 103 on.
        assert_eq!(at(&[sliding(i64::MAX)], 100), i64::MIN + 102);
        assert_eq!(at(&[sliding(i64::MAX)], i64::MAX), i64::MAX, "nothing will");
        let session = |lateness| Windows { lateness, ..Windows::session(10) };
        assert_eq!(at(&[session(0)], 12), 12);
        assert_eq!(at(&[session(3)], 12), 9, "one may end at 10, still open until 13");
        assert_eq!(at(&[session(i64::MAX)], -100), i64::MIN);
        assert_eq!(at(&[session(3)], i64::MAX), i64::MAX);
        assert_eq!(at(&[Windows::global()], 12), 12);
        assert_eq!(at(&[Windows::global()], i64::MAX), i64::MAX);
        let edges = Windows { lateness: 3, ..Windows::edges(&[0, 10, 30]) };
        assert_eq!(at(slice::from_ref(&edges), 12), 9);
        assert_eq!(at(slice::from_ref(&edges), 31), 29);
        assert_eq!(at(slice::from_ref(&edges), 33), 33, "no window is left");
        assert_eq!(at(&[sliding(3), session(6), edges], 31), 25, "the lowest of all");
    }
}
