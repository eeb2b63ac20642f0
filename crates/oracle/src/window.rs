//! The grid, lateness, and a store that keeps every event in every window.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::case::{Config, Kind, LateFiring, Windows};

/// A window. The order of the fields is the order of firing (F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first time after it.
    pub end: i64,
    /// The first time in it.
    pub start: i64,
}

/// The windows `[offset + k * slide, + size)` for all integers `k`.
///
/// All arithmetic is in `i128`, where nothing here can overflow (T2).
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    size: i128,
    slide: i128,
    offset: i128,
    lateness: i64,
}

/// One event as it is kept in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// How many events were offered before it, whatever became of them.
    pub seq: u64,
    /// When it happened.
    pub time: i64,
    /// What it says.
    pub value: i64,
}

/// Whether a pane is the one the watermark caused, or a late event (F6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// The watermark reached the end of the window.
    OnTime,
    /// An event came after that.
    Late,
}

/// One firing of one window for one key, with everything in it so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pane {
    /// The key.
    pub key: u32,
    /// The window's first time.
    pub start: i64,
    /// The first time after the window.
    pub end: i64,
    /// What is in it, in order of arrival; never empty (F1).
    pub events: Vec<Contribution>,
    /// Why it fired.
    pub timing: Timing,
    /// How many panes of this key and window came before.
    pub index: u32,
}

/// Every admitted event in every window it belongs to.
#[derive(Clone, Debug)]
pub struct WindowModel {
    grid: Grid,
    late_firing: LateFiring,
    windows: BTreeMap<Window, BTreeMap<u32, Cell>>,
    /// Fired, not handed out yet; in order.
    pending: Vec<Pane>,
    watermark: i64,
    windows_fired: u64,
    panes_fired: u64,
}

/// One key of one window.
#[derive(Clone, Debug, Default)]
struct Cell {
    events: Vec<Contribution>,
    panes: u32,
    /// Owes a late pane at the next drain.
    marked: bool,
}

impl Grid {
    /// The grid of a configuration.
    #[must_use]
    ///
    /// # Panics
    /// When it has other windows than sliding ones.
    pub fn new(config: &Config) -> Self {
        let Windows { kind: Kind::Sliding { size, slide, offset }, lateness, .. } = config.windows[0] else {
            panic!("not modelled yet: {config:?}");
        };
        Self { size: size.into(), slide: slide.into(), offset: offset.into(), lateness }
    }

    /// The windows that contain `time`, in firing order, or `None` when the
    /// event has to be rejected because one of them does not fit (T2). The last
    /// instant is always rejected: an ascending watermark there would be the end
    /// of input.
    #[must_use]
    pub fn windows_of(&self, time: i64) -> Option<Vec<Window>> {
        if time == i64::MAX {
            return None;
        }
        let time = i128::from(time);
        if time < self.lowest_time() || time >= self.highest_time() {
            return None;
        }
        let mut windows = Vec::new();
        let mut start = self.last_start_at_or_before(time);
        while start + self.size > time {
            windows.push(Window {
                end: i64::try_from(start + self.size).expect("within the limits of T2"),
                start: i64::try_from(start).expect("within the limits of T2"),
            });
            start -= self.slide;
        }
        windows.reverse();
        Some(windows)
    }

    /// Whether a window accepts nothing any more at a watermark (L1).
    #[must_use]
    pub fn is_closed(&self, window: Window, watermark: i64) -> bool {
        watermark >= window.end.saturating_add(self.lateness)
    }

    /// The smallest end of any window that is not closed at a watermark, fitting
    /// or not; `None` at the end of input, where all are.
    #[must_use]
    pub fn first_open_end(&self, watermark: i64) -> Option<i128> {
        if watermark == i64::MAX {
            return None;
        }
        // Open is end + lateness > watermark, so start > watermark - lateness - size.
        let bound = i128::from(watermark) - i128::from(self.lateness) - self.size;
        Some(self.last_start_at_or_before(bound) + self.slide + self.size)
    }

    /// The end of the last window that starts below `i64::MIN`.
    fn lowest_time(&self) -> i128 {
        self.last_start_at_or_before(i128::from(i64::MIN) - 1) + self.size
    }

    /// The start of the first window that ends above `i64::MAX`.
    fn highest_time(&self) -> i128 {
        self.last_start_at_or_before(i128::from(i64::MAX) - self.size) + self.slide
    }

    /// Floor division, so that it is right below zero too (T3).
    fn last_start_at_or_before(&self, time: i128) -> i128 {
        self.offset + (time - self.offset).div_euclid(self.slide) * self.slide
    }
}

impl Pane {
    /// How many events.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.events.len() as u64
    }

    /// The sum of the values, wrapping.
    #[must_use]
    pub fn sum(&self) -> i64 {
        let values = self.events.iter().map(|event| event.value);
        values.fold(0, i64::wrapping_add)
    }

    /// The smallest value.
    #[must_use]
    pub fn min(&self) -> Option<i64> {
        self.events.iter().map(|event| event.value).min()
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> Option<i64> {
        self.events.iter().map(|event| event.value).max()
    }

    /// By event time; equal times stay in order of arrival.
    #[must_use]
    pub fn in_event_time_order(&self) -> Vec<Contribution> {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.time);
        events
    }

    /// The first to arrive among those with the earliest time.
    #[must_use]
    pub fn first(&self) -> Option<Contribution> {
        self.in_event_time_order().first().copied()
    }

    /// The last to arrive among those with the latest time.
    #[must_use]
    pub fn last(&self) -> Option<Contribution> {
        self.in_event_time_order().last().copied()
    }

    /// The `k` largest values, largest first.
    #[must_use]
    pub fn top_k(&self, k: usize) -> Vec<i64> {
        let mut values: Vec<i64> = self.events.iter().map(|event| event.value).collect();
        values.sort_by(|a, b| b.cmp(a));
        values.truncate(k);
        values
    }
}

impl WindowModel {
    /// Nothing stored, nothing known.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            grid: Grid::new(config),
            late_firing: config.windows[0].late_firing,
            windows: BTreeMap::new(),
            pending: Vec::new(),
            watermark: i64::MIN,
            windows_fired: 0,
            panes_fired: 0,
        }
    }

    /// The watermark is now `to`: what became due fires, as it is now (F1, F2).
    ///
    /// # Panics
    /// When the watermark goes back.
    pub fn advance(&mut self, to: i64) {
        let from = self.watermark;
        assert!(from <= to, "the watermark went from {from} back to {to}");
        if from == to {
            return;
        }
        self.watermark = to;
        for (&window, keys) in &mut self.windows {
            // Ends up to `from` had their turn; what came to them since is late.
            if from < window.end && window.end <= to {
                self.windows_fired += 1;
                for (&key, cell) in keys {
                    self.pending.push(cell.fire(key, window, Timing::OnTime));
                    self.panes_fired += 1;
                }
            }
        }
        self.expire();
    }

    /// Puts an event into windows that are open.
    ///
    /// # Panics
    /// When one of them is closed or does not contain the event.
    pub fn admit(&mut self, key: u32, event: Contribution, windows: &[Window]) {
        for &window in windows {
            assert!(!self.grid.is_closed(window, self.watermark));
            assert!(window.start <= event.time && event.time < window.end);
            let keys = self.windows.entry(window).or_default();
            let cell = keys.entry(key).or_default();
            cell.events.push(event);
            if window.end <= self.watermark {
                match self.late_firing {
                    LateFiring::OncePerDrain => cell.marked = true,
                    LateFiring::EachEvent => {
                        self.pending.push(cell.fire(key, window, Timing::Late));
                        self.panes_fired += 1;
                    }
                }
            }
        }
    }

    /// Hands out everything: what fired, in order, then the marked (F3).
    pub fn drain(&mut self) -> Vec<Pane> {
        let mut panes = std::mem::take(&mut self.pending);
        for (&window, keys) in &mut self.windows {
            for (&key, cell) in keys.iter_mut().filter(|(_, cell)| cell.marked) {
                cell.marked = false;
                panes.push(cell.fire(key, window, Timing::Late));
                self.panes_fired += 1;
            }
        }
        self.expire();
        panes
    }

    /// How far a kernel fed with the panes may be told time has come (F7), if
    /// `drained` says that all panes there are now have been handed out.
    #[must_use]
    pub fn output_watermark(&self, drained: bool) -> i64 {
        let open = self.grid.first_open_end(self.watermark);
        let owed = if drained { None } else { self.first_owed_end() };
        let end = [open, owed.map(i128::from)].into_iter().flatten().min();
        let limit = end.map_or(i128::from(i64::MAX), |end| end - 1);
        let limit = limit.clamp(i64::MIN.into(), self.watermark.into());
        i64::try_from(limit).expect("clamped")
    }

    /// How many windows hold something.
    #[must_use]
    pub fn live_windows(&self) -> usize {
        self.windows.len()
    }

    /// How many distinct windows gave at least one on-time pane.
    #[must_use]
    pub fn windows_fired(&self) -> u64 {
        self.windows_fired
    }

    /// How many panes there were, handed out or pending.
    #[must_use]
    pub fn panes_fired(&self) -> u64 {
        self.panes_fired
    }

    /// # Panics
    /// When the state is one that no sequence of calls should reach.
    pub fn assert_invariants(&self) {
        for (&window, keys) in &self.windows {
            assert!(!keys.is_empty(), "{window:?} is stored for nobody");
            let start = i128::from(window.start);
            assert_eq!(start, self.grid.last_start_at_or_before(start), "off the grid");
            assert_eq!(i128::from(window.end), start + self.grid.size);
            for (key, cell) in keys {
                assert!(!cell.events.is_empty(), "{window:?} {key} is empty");
                assert!(cell.events.is_sorted_by(|a, b| a.seq < b.seq));
                for event in &cell.events {
                    assert!(window.start <= event.time && event.time < window.end);
                }
                let due = window.end <= self.watermark;
                assert_eq!(due, cell.panes > 0 || cell.marked, "due is fired or owed");
            }
            let kept = owes(keys) || !self.grid.is_closed(window, self.watermark);
            assert!(kept, "{window:?} is closed and owes nothing");
        }
        for pane in &self.pending {
            assert!(!pane.events.is_empty(), "empty windows don't fire");
            assert!(pane.end <= self.watermark, "{pane:?} fired too early");
        }
    }

    fn first_owed_end(&self) -> Option<i64> {
        let marked = self.windows.iter().filter(|(_, keys)| owes(keys));
        let marked = marked.map(|(window, _)| window.end);
        marked.chain(self.pending.iter().map(|pane| pane.end)).min()
    }

    /// Forgets what is closed, unless a marked pane is still to come from it.
    fn expire(&mut self) {
        let (grid, watermark) = (self.grid, self.watermark);
        self.windows.retain(|&window, keys| owes(keys) || !grid.is_closed(window, watermark));
    }
}

fn owes(keys: &BTreeMap<u32, Cell>) -> bool {
    keys.values().any(|cell| cell.marked)
}

impl Cell {
    fn fire(&mut self, key: u32, window: Window, timing: Timing) -> Pane {
        self.panes += 1;
        Pane {
            key,
            start: window.start,
            end: window.end,
            events: self.events.clone(),
            timing,
            index: self.panes - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(size: i64, slide: i64, offset: i64) -> Grid {
        Grid::new(&Config::of(Windows::of(Kind::Sliding { size, slide, offset })))
    }

    fn starts(size: i64, slide: i64, offset: i64, time: i64) -> Vec<i64> {
        let windows = grid(size, slide, offset).windows_of(time).unwrap();
        windows.iter().map(|window| window.start).collect()
    }

    #[test]
    fn t3_windows_by_hand() {
        assert_eq!(starts(10, 10, 0, -1), [-10]);
        assert_eq!(starts(10, 10, 0, 10), [10]);
        assert_eq!(starts(10, 10, -3, -4), [-13]);
        assert_eq!(starts(10, 10, -3, 7), [7]);
        assert_eq!(starts(10, 3, 0, 0), [-9, -6, -3, 0]);
        assert_eq!(starts(10, 3, 0, 1), [-6, -3, 0]);
        assert_eq!(starts(4, 10, 0, 3), [0]);
        assert_eq!(starts(4, 10, 0, 4), [0; 0], "a gap");
    }

    #[test]
    fn t3_windows_are_those_of_the_definition() {
        for (size, slide) in (1..7).flat_map(|size| (1..9).map(move |slide| (size, slide))) {
            for (offset, time) in (-20..20).flat_map(|o| (-20..20).map(move |t| (o, t))) {
                let all = (-50..50).map(|k| offset + k * slide);
                let expected: Vec<i64> = all.filter(|s| (*s..s + size).contains(&time)).collect();
                assert_eq!(starts(size, slide, offset, time), expected);
            }
        }
    }

    #[test]
    fn t2_limits_by_hand() {
        // Starts near MIN are MIN-2, MIN+8; ends near MAX are MAX-5, MAX+5.
        let tens = grid(10, 10, 0);
        let fits = |time| tens.windows_of(time).is_some();
        assert_eq!(i64::MIN % 10, -8);
        assert!(!fits(i64::MIN + 7) && fits(i64::MIN + 8));
        assert!(fits(i64::MAX - 8) && !fits(i64::MAX - 7));
        let exact = grid(10, 10, i64::MIN);
        assert!(exact.windows_of(i64::MIN).is_some(), "a window starts at MIN");
        assert!(grid(1, 1, 0).windows_of(i64::MIN).is_some());
        assert!(grid(1, 1, 0).windows_of(i64::MAX).is_none(), "its end is MAX + 1");
        assert!(grid(1, 1, 0).windows_of(i64::MAX - 1).is_some());
    }

    /// A time is admitted if all windows that contain it fit, or, in a gap, if
    /// no window between it and the middle of time fails to.
    #[test]
    fn t2_limits_are_those_of_the_definition() {
        let (min, max) = (i128::from(i64::MIN), i128::from(i64::MAX));
        let shapes = (1..6).flat_map(|size| (1..8).map(move |slide| (size, slide)));
        for ((size, slide), offset) in shapes.flat_map(|shape| (0..9).map(move |o| (shape, o))) {
            let grid = grid(size, slide, offset);
            let misfits = |edge: i128| {
                (edge - 30..edge + 30)
                    .filter(move |start| (start - i128::from(offset)) % i128::from(slide) == 0)
                    .map(move |start| (start, start + i128::from(size)))
                    .filter(move |&(start, end)| start < min || end > max)
            };
            for time in (0..30).flat_map(|by| [i64::MIN + by, i64::MAX - by]) {
                let at = i128::from(time);
                let refused = if time == i64::MAX {
                    true
                } else if time < 0 {
                    misfits(min).any(|(_, end)| at < end)
                } else {
                    misfits(max).any(|(start, _)| at >= start)
                };
                assert_eq!(grid.windows_of(time).is_none(), refused, "{grid:?} {time}");
            }
        }
    }

    #[test]
    fn l1_closing_saturates() {
        let mut config = Config::tumbling(10);
        config.windows[0].lateness = 5;
        let window = |end| Window { end, start: end - 10 };
        assert!(!Grid::new(&config).is_closed(window(10), 14));
        assert!(Grid::new(&config).is_closed(window(10), 15));
        config.windows[0].lateness = i64::MAX;
        assert!(!Grid::new(&config).is_closed(window(10), i64::MAX - 1));
        assert!(Grid::new(&config).is_closed(window(10), i64::MAX));
    }

    #[test]
    fn f7_output_watermark_by_hand() {
        let mut config = Config::sliding(10, 5);
        let at = |config: &Config, watermark| {
            let mut model = WindowModel::new(config);
            model.advance(watermark);
            model.output_watermark(true)
        };
        // [0, 10) is open until 10: its panes have the time 9.
        assert_eq!(at(&config, 9), 9);
        assert_eq!(at(&config, 10), 10);
        config.windows[0].lateness = 3;
        assert_eq!(at(&config, 12), 9, "[0, 10) may fire until 13");
        assert_eq!(at(&config, 13), 13);
        assert_eq!(at(&config, 14), 14);
        assert_eq!(at(&config, 16), 14, "[5, 15) may fire again");
        config.windows[0].lateness = i64::MAX;
        assert_eq!(at(&config, -100), i64::MIN, "anything may fire again");
        // Ends are multiples of 5, MIN is 2 modulo 5: open is from MIN + 103 on.
        assert_eq!(at(&config, 100), i64::MIN + 102);
        assert_eq!(at(&config, i64::MAX), i64::MAX, "nothing will");
    }

    #[test]
    fn pane_helpers() {
        let event = |seq, time, value| Contribution { seq, time, value };
        let pane = Pane {
            key: 0,
            start: 0,
            end: 10,
            events: vec![event(0, 5, 7), event(1, 2, i64::MAX), event(2, 5, 1), event(3, 2, 7)],
            timing: Timing::OnTime,
            index: 0,
        };
        assert_eq!(pane.count(), 4);
        assert_eq!(pane.sum(), i64::MIN + 14, "wraps");
        assert_eq!((pane.min(), pane.max()), (Some(1), Some(i64::MAX)));
        let order = pane.in_event_time_order();
        let order: Vec<u64> = order.iter().map(|event| event.seq).collect();
        assert_eq!(order, [1, 3, 0, 2], "stable");
        assert_eq!(pane.first().unwrap().seq, 1, "earliest arrival of the earliest");
        assert_eq!(pane.last().unwrap().seq, 2, "latest arrival of the latest");
        assert_eq!(pane.top_k(2), [i64::MAX, 7]);
        assert_eq!(pane.top_k(9), [i64::MAX, 7, 7, 1]);
    }
}
