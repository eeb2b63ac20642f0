//! One definition of windows: every admitted event in every window it belongs to.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Accumulation, Base, Kind, LateFiring, Windows};
use crate::window::fill::Fill;
use crate::window::grids::Grid;
use crate::window::panes::{Contribution, Pane, Retracted, Timing};
use crate::window::sessions::{Session, join};
use crate::window::triggers::{Due, TriggerState};
use crate::window::{Clock, Window};

/// The windows of one definition, with what is in them.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    /// Its place in the configuration.
    number: usize,
    windows: Windows,
    /// None for sessions.
    grid: Option<Grid>,
    /// By window and key: the order of firing (F2).
    cells: BTreeMap<(Window, u32), Cell>,
    /// Where windows without contents fire too.
    fill: Option<Fill>,
}

/// One key of one window.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// All there is.
    events: Vec<Contribution>,
    /// What came since the last pane.
    fresh: Vec<Contribution>,
    /// The panes that the next one replaces.
    shown: Vec<Retracted>,
    panes: u32,
    /// Owes a late pane at the next drain.
    marked: bool,
    /// How far the events keep a session open.
    reach: i64,
    trigger: TriggerState,
}

impl Definition {
    pub(super) fn new(number: usize, windows: &Windows) -> Self {
        Self {
            number,
            windows: windows.clone(),
            grid: Grid::of(&windows.kind),
            cells: BTreeMap::new(),
            fill: windows.fill.map(Fill::new),
        }
    }

    pub(super) fn is_session(&self) -> bool {
        self.grid.is_none()
    }

    /// Whether what it lets in is seen by those that are filled.
    pub(super) fn is_plain(&self) -> bool {
        self.windows.is_plain()
    }

    /// Whether it may have empty panes.
    pub(super) fn is_filled(&self) -> bool {
        self.fill.is_some()
    }

    /// Whether all windows of an event fit (T2).
    pub(super) fn fits(&self, time: i64, gap: Option<i64>) -> bool {
        match &self.grid {
            Some(grid) => grid.windows_of(time).is_some(),
            None => time < i64::MAX && time.checked_add(self.gap(gap).max(1)).is_some(),
        }
    }

    /// The windows that an event belongs to, in firing order. A session is the
    /// one that it makes together with those there are, if that is still open
    /// (L1), and otherwise its own.
    ///
    /// # Panics
    /// When it doesn't fit.
    pub(super) fn windows_of(&self, key: u32, time: i64, gap: Option<i64>, watermark: i64) -> Vec<Window> {
        if let Some(grid) = &self.grid {
            return grid.windows_of(time).expect("the caller has checked that it fits");
        }
        let own = Session::of_event(time, self.gap(gap));
        let (merged, _) = join(own, &self.live_sessions(key, watermark), self.max_length());
        let merged = merged.window(self.max_length());
        vec![if self.is_closed(merged, watermark) { own.window(self.max_length()) } else { merged }]
    }

    /// Whether a window accepts nothing any more (L1).
    pub(super) fn is_closed(&self, window: Window, watermark: i64) -> bool {
        window.is_closed(self.windows.lateness, watermark)
    }

    /// Puts an event into those of its windows that are open. Returns the panes
    /// that this causes at once.
    pub(super) fn admit(
        &mut self,
        key: u32,
        event: Contribution,
        gap: Option<i64>,
        clock: Clock,
    ) -> Vec<Pane> {
        let mut windows = self.windows_of(key, event.time, gap, clock.watermark);
        windows.retain(|&window| !self.is_closed(window, clock.watermark));
        let mut panes = Vec::new();
        for window in windows {
            if self.is_session() {
                self.join_session(window, key, event, gap, clock.watermark);
            } else {
                let filled = self.fill.as_ref().is_some_and(|fill| fill.has_filled(window, key));
                let cell = self.cells.entry((window, key)).or_insert_with(|| Cell::after(filled));
                cell.events.push(event);
                cell.fresh.push(event);
            }
            panes.extend(self.entered(window, key, event.time, clock));
        }
        panes
    }

    /// A plain definition has let an event in, be it another one.
    ///
    /// # Panics
    /// When it doesn't fit.
    pub(super) fn see(&mut self, key: u32, time: i64) {
        if let (Some(fill), Some(grid)) = (&mut self.fill, &self.grid) {
            fill.see(key, grid.windows_of(time).expect("the caller has checked that it fits"));
        }
    }

    /// The windows to be filled when the watermark rises, and for which keys.
    pub(super) fn fills_due(&self, from: i64, to: i64) -> BTreeSet<(Window, u32)> {
        let (Some(fill), Some(grid)) = (&self.fill, &self.grid) else {
            return BTreeSet::new();
        };
        let mut due = fill.due(grid, from, to);
        due.retain(|at| !self.cells.contains_key(at));
        due
    }

    /// The watermark at which a cell fires next, if it is reached at `watermark`.
    pub(super) fn next_due(&self, window: Window, key: u32, watermark: i64) -> Option<i64> {
        let (at, _) = self.cells.get(&(window, key))?.trigger.next(window)?;
        (at <= watermark).then_some(at)
    }

    /// All cells, in firing order.
    pub(super) fn cells(&self) -> Vec<(Window, u32)> {
        self.cells.keys().copied().collect()
    }

    /// What a cell fires next fires now, if there is something to show or it is
    /// filled.
    ///
    /// # Panics
    /// When there is nothing that it waits for.
    pub(super) fn fire_next(&mut self, window: Window, key: u32) -> Option<Pane> {
        if !self.cells.contains_key(&(window, key)) {
            return Some(self.fire_empty(window, key));
        }
        let base = self.windows.trigger.base;
        let cell = self.cell(window, key);
        let (_, due) = cell.trigger.next(window).expect("it is due");
        let timing = match due {
            Due::EarlyTime => {
                cell.trigger.early_time_fires();
                return self.fire_early(window, key);
            }
            Due::End => {
                cell.trigger.end_fires();
                Timing::OnTime
            }
            Due::Continuous => {
                let Base::Continuous { every } = base else { unreachable!("{base:?} is not continuous") };
                cell.trigger.continuous_fires(every, window)
            }
        };
        self.fire(window, key, timing)
    }

    /// The host's processing time is now `now` (F4).
    pub(super) fn tick(&mut self, now: i64, watermark: i64) -> Vec<Pane> {
        let Some(every) = self.windows.trigger.early_ticks else {
            return Vec::new();
        };
        let mut panes = Vec::new();
        for (window, key) in self.cells() {
            let goes_off = self.cell(window, key).trigger.tick(now, every);
            if goes_off && watermark < window.end {
                panes.extend(self.fire_early(window, key));
            }
        }
        panes
    }

    /// The cells that owe a late pane, in firing order.
    pub(super) fn marked(&self) -> Vec<(Window, u32)> {
        let marked = self.cells.iter().filter(|(_, cell)| cell.marked);
        marked.map(|(&at, _)| at).collect()
    }

    /// A marked cell gives the late pane that it owes.
    pub(super) fn fire_marked(&mut self, window: Window, key: u32) -> Option<Pane> {
        self.cell(window, key).marked = false;
        self.fire(window, key, Timing::Late)
    }

    /// Forgets what is closed, unless a marked pane is still to come from it.
    pub(super) fn expire(&mut self, watermark: i64) {
        let lateness = self.windows.lateness;
        self.cells.retain(|(window, _), cell| cell.marked || !window.is_closed(lateness, watermark));
    }

    /// The earliest time that a pane still to come may have (F7).
    pub(super) fn first_time_to_come(&self, watermark: i64) -> Option<i128> {
        let lateness = self.windows.lateness;
        match &self.grid {
            Some(grid) => Some(grid.first_open_end(lateness, watermark)? - 1),
            // A session may begin anywhere, but not end where it would be closed.
            None if watermark == i64::MAX => None,
            None => Some(i128::from(watermark) - i128::from(lateness)),
        }
    }

    /// The latest end of a window that is open, holds something and has started by
    /// `latest`; none if that is the global one.
    pub(super) fn last_open_end(&self, latest: i64, watermark: i64) -> Option<i64> {
        let started = |window: &Window| window.start <= latest && !self.is_closed(*window, watermark);
        let open = self.live_windows().into_iter().filter(started);
        if self.windows.kind == Kind::Global { None } else { open.map(|window| window.end).max() }
    }

    /// The windows that hold something.
    pub(super) fn live_windows(&self) -> BTreeSet<Window> {
        self.cells.keys().map(|&(window, _)| window).collect()
    }

    fn gap(&self, of_event: Option<i64>) -> i64 {
        match self.windows.kind {
            Kind::Session { gap, .. } => of_event.unwrap_or(gap),
            _ => panic!("only sessions have gaps"),
        }
    }

    fn max_length(&self) -> Option<i64> {
        match self.windows.kind {
            Kind::Session { max_length, .. } => max_length,
            _ => None,
        }
    }

    fn cell(&mut self, window: Window, key: u32) -> &mut Cell {
        self.cells.get_mut(&(window, key)).expect("the cell is there")
    }

    /// The sessions of a key that are not closed, drained or not.
    fn live_sessions(&self, key: u32, watermark: i64) -> Vec<Session> {
        let of_key = self.cells.iter().filter(|((_, k), _)| *k == key);
        let live = of_key.filter(|((window, _), _)| !self.is_closed(*window, watermark));
        live.map(|((window, _), cell)| cell.session(*window)).collect()
    }

    /// Makes one session of an event and those it joins.
    fn join_session(
        &mut self,
        window: Window,
        key: u32,
        event: Contribution,
        gap: Option<i64>,
        watermark: i64,
    ) {
        let own = Session::of_event(event.time, self.gap(gap));
        let (live, max_length) = (self.live_sessions(key, watermark), self.max_length());
        let (_, places) = join(own, &live, max_length);
        let mut parts: Vec<(Window, Cell)> = Vec::new();
        for part in places.into_iter().map(|place| live[place].window(max_length)) {
            parts.push((part, self.cells.remove(&(part, key)).expect("a live session")));
        }
        // If one of the sessions had these bounds already, it is the same one still.
        let same = parts.iter().find(|(part, _)| *part == window);
        let same = same.map(|(_, cell)| (cell.panes, cell.trigger));
        // The event goes where its time is among the starts, behind its equals.
        let place = parts.partition_point(|(part, _)| part.start <= event.time);
        parts.insert(place, (own.window(max_length), Cell::of_event(event, own.reach)));
        let mut merged = Cell::merge(parts);
        merged.panes = same.map_or(0, |(panes, _)| panes);
        merged.trigger.fit_into(window, same.map(|(_, trigger)| trigger), watermark);
        assert!(self.cells.insert((window, key), merged).is_none(), "two sessions at {window:?}");
    }

    /// An event has entered a window: the pane that this causes at once.
    fn entered(&mut self, window: Window, key: u32, time: i64, clock: Clock) -> Option<Pane> {
        let ended = window.end <= clock.watermark;
        let timing = if ended { Timing::Late } else { Timing::Early };
        let (trigger, late_firing) = (self.windows.trigger, self.windows.late_firing);
        let is_global = self.windows.kind == Kind::Global;
        let cell = self.cell(window, key);
        let fires = match (trigger.base, late_firing) {
            (Base::Count { n }, _) => cell.trigger.count(n),
            (_, LateFiring::EachEvent) if ended => true,
            (_, LateFiring::OncePerDrain) if ended => {
                cell.marked = true;
                false
            }
            (Base::OnTime, _) => cell.trigger.await_end(&trigger, window, is_global, time, clock),
            (Base::Continuous { every }, _) => {
                cell.trigger.continue_from(every, window, time, clock.watermark);
                false
            }
        };
        if fires { self.fire(window, key, timing) } else { None }
    }

    /// An early pane, if there is something new.
    fn fire_early(&mut self, window: Window, key: u32) -> Option<Pane> {
        if self.cell(window, key).fresh.is_empty() { None } else { self.fire(window, key, Timing::Early) }
    }

    /// A pane that shows that there was nothing.
    fn fire_empty(&mut self, window: Window, key: u32) -> Pane {
        self.fill.as_mut().expect("only what is filled is due without contents").fires(window, key);
        Pane {
            definition: self.number,
            key,
            start: window.start,
            end: window.end,
            events: Vec::new(),
            timing: Timing::OnTime,
            index: 0,
            retracts: Vec::new(),
        }
    }

    /// A pane, unless it would be empty (F1, F5).
    fn fire(&mut self, window: Window, key: u32, timing: Timing) -> Option<Pane> {
        let (definition, accumulation) = (self.number, self.windows.accumulation);
        let cell = self.cell(window, key);
        let fresh = std::mem::take(&mut cell.fresh);
        let events = match accumulation {
            Accumulation::Discarding if fresh.is_empty() => return None,
            Accumulation::Discarding => fresh,
            Accumulation::Accumulating | Accumulation::Retracting => cell.events.clone(),
        };
        let retracts = if accumulation == Accumulation::Retracting {
            std::mem::replace(&mut cell.shown, vec![(window.start, window.end, events.clone())])
        } else {
            Vec::new()
        };
        cell.panes += 1;
        let (Window { start, end }, index) = (window, cell.panes - 1);
        Some(Pane { definition, key, start, end, events, timing, index, retracts })
    }

    /// # Panics
    /// When the state is one that no sequence of calls should reach.
    pub(super) fn assert_invariants(&self, watermark: i64) {
        for (&(window, key), cell) in &self.cells {
            let open = !self.is_closed(window, watermark);
            assert!(open || cell.marked, "{window:?} is closed and owes nothing");
            cell.assert_invariants(window);
            let filled = self.fill.as_ref().is_some_and(|fill| fill.has_filled(window, key));
            assert!(!filled || window.end <= watermark && cell.panes > 0, "{window:?} was filled too early");
            if let Some(grid) = &self.grid {
                assert!(cell.events.is_sorted_by(|a, b| a.seq < b.seq));
                assert!(grid.has(window), "{window:?} is off the grid");
            } else {
                assert_eq!(cell.session(window).window(self.max_length()), window);
                self.assert_apart(window, key, watermark);
            }
            if open {
                cell.trigger.assert_invariants(window, watermark);
            }
            if window.end <= watermark && !matches!(self.windows.trigger.base, Base::Count { .. }) {
                assert!(cell.panes > 0 || cell.marked, "due is fired or owed");
                assert!(cell.fresh.is_empty() || cell.marked, "all of it, or owed");
            }
        }
    }

    /// Sessions of a key have nothing in common; only where they can be too long
    /// for it to become one may they overlap, and then they start apart.
    fn assert_apart(&self, window: Window, key: u32, watermark: i64) {
        let others = self.live_sessions(key, watermark).into_iter().map(|s| s.window(self.max_length()));
        let others = others.filter(|&other| other != window && !self.is_closed(window, watermark));
        for other in others {
            assert_ne!(window.start, other.start);
            let apart = window.end < other.start || other.end < window.start;
            assert!(apart || self.max_length().is_some(), "{window:?} and {other:?} touch");
        }
    }
}

impl Cell {
    /// The first contents of a window; if that was filled, its pane counts.
    fn after(filled: bool) -> Self {
        Self { panes: filled.into(), ..Self::default() }
    }

    fn of_event(event: Contribution, reach: i64) -> Self {
        Self { events: vec![event], fresh: vec![event], reach, ..Self::default() }
    }

    /// One of several, which are in order of their starts.
    fn merge(parts: Vec<(Window, Self)>) -> Self {
        let mut merged = Self { reach: i64::MIN, ..Self::default() };
        for (_, part) in parts {
            merged.events.extend(part.events);
            merged.fresh.extend(part.fresh);
            merged.shown.extend(part.shown);
            merged.reach = merged.reach.max(part.reach);
            merged.trigger = merged.trigger.and(part.trigger);
        }
        merged
    }

    /// What it is as a session.
    fn session(&self, window: Window) -> Session {
        let last = self.events.iter().map(|event| event.time).max();
        Session { start: window.start, last: last.expect("nothing is empty"), reach: self.reach }
    }

    fn has_in_order(&self, some: &[Contribution]) -> bool {
        let mut all = self.events.iter();
        some.iter().all(|event| all.any(|other| other == event))
    }

    fn assert_invariants(&self, window: Window) {
        assert!(!self.events.is_empty(), "{window:?} is empty");
        assert!(self.events.iter().all(|event| window.contains(event.time)));
        assert!(self.has_in_order(&self.fresh));
        assert!(self.shown.iter().all(|(_, _, events)| self.has_in_order(events)));
    }
}
