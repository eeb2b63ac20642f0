//! Handing out what is due: one sequence from all definitions and from what events have caused.
//!
//! The panes form a log: first what each rise of the watermark made due, in the order of (end, start), then
//! what each event caused, in the order of their arrival; and so on. The log does not depend on when the
//! host polls. It is not stored: what the watermark made due follows from the state, what events caused
//! waits in a queue.

use core::hash::Hash;

use chrono::TimeDelta;

use crate::aggregate::Aggregate;
use crate::explain::{Explanation, WindowProgress};
use crate::fire::{Plan, Ready};
use crate::keyed::{Emission, Rank};
use crate::lateness::Lateness;
use crate::operator::Windowing;
use crate::output::{Pane, Retracted, Timing};
use crate::queue::{Queued, What};
use crate::time::{Timestamp, Watermark, Window};

/// Who has the next pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Slices,
    /// The definition at this place in the list of those with windows of each key's own.
    Keyed(usize),
}

/// Where the next pane is.
enum Next {
    Slices(Ready),
    /// In [`Windowing::emitted`], of this definition.
    Keyed(u32),
}

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>> Windowing<K, V, A> {
    /// The next pane that is due, if any: windows in the order of (end, start), then what late events
    /// changed. Call it until it gives `None`, or stop anywhere and go on later: what the panes are and
    /// in which order they come does not depend on when they are polled.
    ///
    /// With [`LateFiring::OncePerDrain`](crate::LateFiring::OncePerDrain) a drain ends where this gives
    /// `None`.
    #[inline]
    pub fn poll(&mut self) -> Option<Pane<'_, K, A::Output>> {
        if self.progress.is_unsettled() {
            self.settle();
        }
        if !self.busy {
            return None;
        }
        self.poll_busy()
    }

    #[inline(never)]
    fn poll_busy(&mut self) -> Option<Pane<'_, K, A::Output>> {
        // What almost every poll comes to.
        let next = match self.firing.next_drained(&self.store, &self.algebra.hashing) {
            Some(ready) => Some(Next::Slices(ready)),
            None => self.advance(),
        };
        if next.is_none() {
            self.busy = false;
            self.note_peak();
            self.open_store();
        }
        self.counters.panes_fired += u64::from(next.is_some());
        match next? {
            Next::Slices(ready) => self.sliced_pane(ready),
            Next::Keyed(definition) => self.keyed_pane(definition),
        }
    }

    /// Moves on to the next pane, if one is due.
    #[inline(never)]
    fn advance(&mut self) -> Option<Next> {
        let watermark = self.progress.settled();
        loop {
            let reached = self.queue.front_at().unwrap_or(watermark);
            if let Some(ready) = self.go_on(reached) {
                return Some(Next::Slices(ready));
            }
            if let Some((rank, source)) = self.next_source(reached) {
                match self.advance_source(rank, source) {
                    Some(next) => return Some(next),
                    None => continue,
                }
            }
            if let Some(ready) = self.pass(reached) {
                return Some(Next::Slices(ready));
            }
            match self.pop_queue() {
                Some(Some(next)) => return Some(next),
                Some(None) => continue,
                None => {}
            }
            if let Some(next) = self.next_marked(watermark) {
                return Some(next);
            }
            self.expire(watermark);
            return None;
        }
    }

    fn go_on(&mut self, reached: i64) -> Option<Ready> {
        let algebra = &self.algebra;
        self.firing.go_on(self.plan.as_ref()?, &mut self.store, algebra, reached)
    }

    /// Who has what is due first at `reached`: by firing time, end, start and definition (F2).
    fn next_source(&mut self, reached: i64) -> Option<(Rank, Source)> {
        let sliced = self.plan.as_ref().and_then(|plan| {
            let window = self.firing.next_due(plan, &self.store, reached)?;
            let Window { start, end } = plan.grid.window(window);
            Some(((end.as_micros(), end.as_micros(), start.as_micros()), plan.definition, Source::Slices))
        });
        let order = self.order;
        let keyed = self.keyed.iter_mut().enumerate().filter_map(|(place, (number, keyed))| {
            Some((keyed.next_rank(reached, order)?, *number, Source::Keyed(place)))
        });
        let first = keyed.chain(sliced).min_by_key(|&(rank, number, _)| (rank, number))?;
        Some((first.0, first.2))
    }

    /// Begins a window of slices, or does what is next for a definition of keys' own windows.
    fn advance_source(&mut self, rank: Rank, source: Source) -> Option<Next> {
        let algebra = &self.algebra;
        let windows = &mut self.counters.windows_fired;
        match source {
            Source::Slices => {
                let plan = self.plan.as_ref()?;
                let window = self.firing.next_due(plan, &self.store, rank.0)?;
                *windows += 1;
                self.firing.begin(window, plan, &mut self.store, algebra);
                None
            }
            Source::Keyed(place) => {
                let (number, keyed) = self.keyed.get_mut(place)?;
                self.emitted = Some(keyed.advance(rank, algebra, self.order, windows)?);
                Some(Next::Keyed(*number))
            }
        }
    }

    /// Nothing is due at `reached` any more: a marked window that closed before the late event that is next must
    /// not see it.
    fn pass(&mut self, reached: i64) -> Option<Ready> {
        let plan = self.plan.as_ref()?;
        self.firing.pass(plan, reached);
        let before = match self.queue.iter().next()? {
            Queued { at, what: What::Event { .. }, .. } => plan.lateness.first_open(&plan.grid, *at),
            Queued { what: What::Pane { .. }, .. } => return None,
        };
        let algebra = &self.algebra;
        self.firing.next_marked(plan, &self.store, algebra, before)
    }

    /// What an event has caused, if there is anything: its pane, or that its slice has changed.
    fn pop_queue(&mut self) -> Option<Option<Next>> {
        let algebra = &self.algebra;
        let heap = |what: &What<A::Acc>| match what {
            What::Event { partial, .. } => self.algebra.aggregate.heap_bytes(partial),
            What::Pane { pane, .. } => pane.heap_bytes(algebra),
        };
        let Queued { at, key, what } = self.queue.pop(heap)?;
        Some(match what {
            What::Pane { definition, pane } => {
                self.emitted = Some((key, pane));
                Some(Next::Keyed(definition))
            }
            What::Event { slice, partial } => {
                if let Some(plan) = &self.plan {
                    self.firing.apply(at, key, (slice, partial), plan, &mut self.store, algebra);
                }
                None
            }
        })
    }

    /// The next of the late panes that are owed once per drain, by (end, start) and definition.
    fn next_marked(&mut self, watermark: i64) -> Option<Next> {
        let algebra = &self.algebra;
        loop {
            let sliced = self.plan.as_ref().and_then(|plan| {
                let Window { start, end } = plan.grid.window(self.firing.first_marked()?);
                Some(((end.as_micros(), start.as_micros()), plan.definition, Source::Slices))
            });
            let keyed = self.keyed.iter().enumerate().filter_map(|(place, (number, keyed))| {
                Some((keyed.next_marked()?, *number, Source::Keyed(place)))
            });
            match keyed.chain(sliced).min_by_key(|&(window, number, _)| (window, number))?.2 {
                Source::Slices => {
                    let ready = self.firing.next_marked(self.plan.as_ref()?, &self.store, algebra, None);
                    if let Some(ready) = ready {
                        return Some(Next::Slices(ready));
                    }
                }
                Source::Keyed(place) => {
                    let (number, keyed) = self.keyed.get_mut(place)?;
                    if let Some(pane) = keyed.fire_marked(watermark, algebra, self.order) {
                        self.emitted = Some(pane);
                        return Some(Next::Keyed(*number));
                    }
                }
            }
        }
    }

    /// Everything has been handed out: what nobody needs any more goes.
    fn expire(&mut self, watermark: i64) {
        let algebra = &self.algebra;
        self.emitted = None;
        if let Some(plan) = &self.plan {
            self.firing.forget();
            self.firing.expire(plan, &mut self.store, algebra, watermark);
        }
        for (_, keyed) in &mut self.keyed {
            keyed.shrink(watermark == i64::MAX, algebra);
        }
        if self.store.live() == 0 && self.live_windows() == 0 {
            self.queue.shrink();
        }
    }

    // Panes.

    fn sliced_pane(&mut self, ready: Ready) -> Option<Pane<'_, K, A::Output>> {
        let plan = self.plan.as_ref()?;
        let (ordinal, window, timing, index) = match ready {
            Ready::OnTime { window, bounds, .. } => (window, bounds, Timing::OnTime, 0),
            Ready::Late { window, index } => (window, plan.grid.window(window), Timing::Late, index),
        };
        let is_last = self.is_last_of_slices(plan, ordinal);
        let (key, value) = match ready {
            Ready::OnTime { spot, .. } => {
                let content = self.firing.combine.content(&self.store);
                let (key, partial) = content.at(spot)?;
                let value = match content.rest(spot, || self.algebra.hashing.hash(key), key) {
                    None => self.algebra.aggregate.lower(partial),
                    Some(rest) => {
                        let mut whole = partial.clone();
                        self.algebra.aggregate.combine(&mut whole, rest);
                        self.algebra.aggregate.lower(&whole)
                    }
                };
                (key, value)
            }
            Ready::Late { .. } => {
                let (key, partial) = self.firing.late()?;
                (key, self.algebra.aggregate.lower(partial))
            }
        };
        let definition = plan.definition;
        Some(Pane { key, window, definition, value, retracts: &[], timing, index, is_last })
    }

    /// Whether a window that has fired takes nothing more.
    fn is_last_of_slices(&self, plan: &Plan<K>, window: i64) -> bool {
        let Plan { grid, lateness, .. } = plan;
        if lateness.allowed == 0 {
            return true;
        }
        let open = lateness.first_open(grid, self.progress.settled());
        open.is_none_or(|open| window < open) && self.firing.is_quiet() && self.queue.is_empty()
    }

    #[inline(never)]
    fn keyed_pane(&mut self, definition: u32) -> Option<Pane<'_, K, A::Output>> {
        let (key, Emission { start, end, partial, timing, index, replaced }) = self.emitted.as_ref()?;
        let lateness = self.settings.definitions.get(definition as usize)?.lateness;
        let closed = self.progress.settled() >= lateness.closes(*end);
        let quiet = self.queue.is_empty() && self.keyed.iter().all(|(_, keyed)| keyed.is_quiet());
        let is_last = match timing {
            Timing::Early => false,
            Timing::OnTime => lateness.allowed == 0 || (closed && quiet),
            Timing::Late => closed && quiet,
        };
        let window = |start: i64, end: i64| Window {
            start: Timestamp::from_micros(start),
            end: Timestamp::from_micros(end),
        };
        let retracts = replaced.iter().map(|pane| Retracted {
            window: window(pane.start, pane.end),
            value: self.algebra.aggregate.lower(&pane.partial),
        });
        self.retracted.clear();
        self.retracted.extend(retracts);
        Some(Pane {
            key,
            window: window(*start, *end),
            definition,
            value: self.algebra.aggregate.lower(partial),
            retracts: &self.retracted,
            timing: *timing,
            index: *index,
            is_last,
        })
    }

    // Looking.

    /// The watermark of what comes out: no pane whose own time ([`Pane::time`]) is before it will be handed
    /// out any more, be it on time or late (F7). Give it to a kernel downstream after draining this one,
    /// and nothing is late there.
    pub fn output_watermark(&self) -> Watermark {
        let watermark = self.progress.watermark();
        let sliced = self.plan.as_ref().map(|plan| {
            let open = plan.lateness.first_open_end(&plan.grid, watermark);
            let event = self.queue.first_event_at();
            [open, self.firing.waiting(plan, &self.store, watermark, event)]
        });
        let keyed =
            self.keyed.iter().map(|(_, keyed)| [keyed.first_open_end(watermark), keyed.waiting(watermark)]);
        let queued = self.queue.iter().map(|entry| match &entry.what {
            What::Pane { pane, .. } => [Some(pane.end), None],
            What::Event { .. } => [None, None],
        });
        let ends = sliced.into_iter().chain(keyed).chain(queued).flatten().flatten();
        Watermark::from_micros(ends.map(|end| end.saturating_sub(1)).fold(watermark, i64::min))
    }

    /// Why a window of a key has not fired, or what else has become of it (X1).
    ///
    /// Of several definitions with a window of these bounds, the first that has something for the key
    /// answers, or else the first.
    pub fn explain(&self, key: &K, window: Window) -> Explanation {
        let watermark = self.progress.watermark();
        let (progress, present) = self.find_window(key, window, watermark);
        Explanation {
            window,
            progress,
            present,
            fires_at: Watermark::at(window.end),
            watermark: Watermark::from_micros(watermark),
            held_by: self.progress.held_by().and_then(|partition| self.progress.get(partition)),
            now: self.progress.now().map(Timestamp::from_micros),
            idle_timeout: self.settings.rules.idle_timeout.map(TimeDelta::microseconds),
        }
    }

    fn find_window(&self, key: &K, window: Window, watermark: i64) -> (WindowProgress, bool) {
        let hash = self.algebra.hashing.hash(key);
        let sliced = self.plan.as_ref().and_then(|plan| {
            let ordinal = plan.grid.find(window)?;
            let slices = plan.grid.slices_of(ordinal);
            let present = self.queue.has_event(slices, key)
                || self.algebra.fold(&self.store, slices, hash, key).is_some();
            let due = present && ordinal >= self.firing.next;
            Some((progress_of(window, plan.lateness, watermark, due), present))
        });
        let bounds = (window.start.as_micros(), window.end.as_micros());
        let keyed = self.keyed.iter().filter_map(|(_, keyed)| {
            let cell = keyed.window(hash, key, bounds, &self.algebra.hashing);
            if cell.is_none() && !keyed.rules.assigner.has(bounds) {
                return None;
            }
            let due = cell.is_some_and(|cell| !cell.state.ended);
            Some((progress_of(window, keyed.rules.lateness, watermark, due), cell.is_some()))
        });
        let mut all = sliced.into_iter().chain(keyed);
        let Some(first) = all.next() else { return (WindowProgress::NotAWindow, false) };
        if first.1 { first } else { all.find(|other| other.1).unwrap_or(first) }
    }
}

fn progress_of(window: Window, lateness: Lateness, watermark: i64, due: bool) -> WindowProgress {
    let end = window.end.as_micros();
    if end > watermark {
        return WindowProgress::Waiting;
    }
    if due {
        return WindowProgress::Due;
    }
    let until = lateness.closes(end);
    match until > watermark {
        true => WindowProgress::Fired { until: Watermark::from_micros(until) },
        false => WindowProgress::Closed,
    }
}
