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
use crate::fire::Ready;
use crate::keyed::{Emission, Rank};
use crate::lateness::Lateness;
use crate::operator::Windowing;
use crate::output::{Pane, Retracted, Timing};
use crate::queue::{Queued, What};
use crate::time::{Timestamp, Watermark, Window};

/// Who has the next pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The definition at this place in the list of those made of slices.
    Sliced(usize),
    /// The definition at this place in the list of those with windows of each key's own.
    Keyed(usize),
}

/// Where the next pane is.
enum Next {
    Sliced(Ready),
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
            if self.returning {
                self.returning = self.store.return_some();
            }
            return None;
        }
        self.poll_busy()
    }

    /// Hands the next panes that are due to `each`, up to `most` of them; how many there were. It means what
    /// [polling](Self::poll) so many times means, and costs less for each.
    ///
    /// ```
    /// use chrono::TimeDelta;
    /// use floodmark::{Config, Count, Timestamp};
    ///
    /// let mut words = Config::tumbling(TimeDelta::seconds(1)).build(Count)?;
    /// let text = words.add_partition();
    /// for word in ["to", "be", "or", "not"] {
    ///     words.push(text, Timestamp::from_micros(7), word, ())?;
    /// }
    /// words.finish();
    /// let mut counted = Vec::new();
    /// while words.drain(3, |pane| counted.push((*pane.key, pane.value))) > 0 {
    ///     // Something else may be done here.
    /// }
    /// assert_eq!(counted.len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self, most: usize, mut each: impl FnMut(Pane<'_, K, A::Output>)) -> usize {
        let mut count = 0;
        while count < most {
            count += self.drain_window(most - count, &mut each);
            if count == most {
                break;
            }
            let Some(pane) = self.poll() else { break };
            each(pane);
            count += 1;
        }
        count
    }

    /// Hands out panes of the window that is being drained, as far as those are just its keys.
    fn drain_window(&mut self, most: usize, each: &mut impl FnMut(Pane<'_, K, A::Output>)) -> usize {
        let Some(drain) = &self.firing.drain else { return 0 };
        let (window, sliced) = (drain.window, &self.firing.sliced[drain.place]);
        let (definition, is_last) = (sliced.number, self.is_last_of_slices(sliced.lateness, window.1));
        let (window, timing) = (Window::between(window), Timing::OnTime);
        let Some((content, scan)) = self.firing.scanned(&self.store) else { return 0 };
        let mut count = 0;
        while count < most
            && let Some(spot) = content.next(scan)
            && let Some((key, partial, rest)) = content.at(spot)
        {
            let value = lower_both(&self.algebra.aggregate, partial, rest);
            self.counters.panes_fired += 1;
            count += 1;
            each(Pane { key, window, definition, value, retracts: &[], timing, index: 0, is_last });
        }
        (0..count).for_each(|_| self.store.tidy());
        self.firing.prepare_ahead(count, &mut self.store, &self.algebra);
        count
    }

    #[inline(never)]
    fn poll_busy(&mut self) -> Option<Pane<'_, K, A::Output>> {
        self.store.tidy();
        // What almost every poll comes to.
        let next = match self.firing.next_drained(&mut self.store, &self.algebra, self.order) {
            Some(ready) => Some(Next::Sliced(ready)),
            None => self.advance(),
        };
        if next.is_none() {
            self.busy = false;
            self.returning = self.store.is_returning();
            self.note_peak();
            self.open_store();
        }
        self.counters.panes_fired += u64::from(next.is_some());
        match next? {
            Next::Sliced(ready) => self.sliced_pane(ready),
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
                return Some(Next::Sliced(ready));
            }
            if let Some((rank, source)) = self.next_source(reached) {
                match self.advance_source(rank, source) {
                    Some(next) => return Some(next),
                    None => continue,
                }
            }
            if let Some(ready) = self.pass(reached) {
                return Some(Next::Sliced(ready));
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
        self.firing.go_on(&mut self.store, &self.algebra, self.order, reached)
    }

    /// Who has what is due first at `reached`: by firing time, end, start and definition (F2).
    fn next_source(&mut self, reached: i64) -> Option<(Rank, Source)> {
        let before_end = self.progress.before_end();
        let sliced = self.firing.next_due(&self.store, (reached, before_end)).map(|((end, start), place)| {
            ((end, end, start), self.firing.sliced[place].number, Source::Sliced(place))
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
            Source::Sliced(place) => {
                *windows += 1;
                self.firing.begin((rank.1, rank.2), place, &mut self.store, algebra, self.order);
                None
            }
            Source::Keyed(place) => {
                let (number, keyed) = self.keyed.get_mut(place)?;
                self.emitted = Some(keyed.advance(rank, algebra, self.order, windows)?);
                Some(Next::Keyed(*number))
            }
        }
    }

    /// Nothing is due at `reached` any more: marked windows that closed before the late event that is next must
    /// not see it.
    fn pass(&mut self, reached: i64) -> Option<Ready> {
        self.firing.pass(reached);
        let at = match self.queue.iter().next()? {
            Queued { at, what: What::Event { .. }, .. } => *at,
            _ => return None,
        };
        loop {
            let (_, place) = self.firing.first_marked(Some(at))?;
            if let Some(ready) = self.firing.fire_marked(place, &self.store, &self.algebra) {
                return Some(ready);
            }
        }
    }

    /// What an event has caused, if there is anything: its pane, or that its slice has changed.
    fn pop_queue(&mut self) -> Option<Option<Next>> {
        let algebra = &self.algebra;
        let heap = |what: &What<A::Acc>| match what {
            What::Event { partial, .. } => self.algebra.aggregate.heap_bytes(partial),
            What::Until(_) => 0,
            What::Pane { pane, .. } => pane.heap_bytes(algebra),
        };
        let Queued { at, key, what } = self.queue.pop(heap)?;
        Some(match what {
            What::Pane { definition, pane } => {
                self.emitted = Some((key, pane));
                Some(Next::Keyed(definition))
            }
            What::Event { slice, partial, until } => {
                self.firing.apply((at, until), key, (slice, partial), &mut self.store, algebra);
                None
            }
            What::Until(until) => {
                self.firing.go_on_until(until);
                None
            }
        })
    }

    /// The next of the late panes that are owed once per drain, by (end, start) and definition.
    fn next_marked(&mut self, watermark: i64) -> Option<Next> {
        let algebra = &self.algebra;
        loop {
            let sliced = self
                .firing
                .first_marked(None)
                .map(|(window, place)| (window, self.firing.sliced[place].number, Source::Sliced(place)));
            let keyed = self.keyed.iter().enumerate().filter_map(|(place, (number, keyed))| {
                Some((keyed.next_marked()?, *number, Source::Keyed(place)))
            });
            match keyed.chain(sliced).min_by_key(|&(window, number, _)| (window, number))?.2 {
                Source::Sliced(place) => {
                    if let Some(ready) = self.firing.fire_marked(place, &self.store, algebra) {
                        return Some(Next::Sliced(ready));
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
    pub(crate) fn expire(&mut self, watermark: i64) {
        let algebra = &self.algebra;
        self.emitted = None;
        self.firing.forget();
        self.firing.expire(&mut self.store, algebra, watermark);
        for (_, keyed) in &mut self.keyed {
            keyed.shrink(watermark == i64::MAX, algebra);
        }
        if self.store.live() == 0 && self.live_windows() == 0 {
            self.queue.shrink();
        }
    }

    // Panes.

    fn sliced_pane(&mut self, ready: Ready) -> Option<Pane<'_, K, A::Output>> {
        let algebra = &self.algebra;
        let (place, window, timing, index) = match ready {
            Ready::OnTime { .. } | Ready::Empty => {
                let drain = self.firing.drain.as_ref()?;
                (drain.place, drain.window, Timing::OnTime, 0)
            }
            Ready::Late { place, window, index } => (place, window, Timing::Late, index),
        };
        let sliced = self.firing.sliced.get(place)?;
        let (definition, is_last) = (sliced.number, self.is_last_of_slices(sliced.lateness, window.1));
        let (key, value) = match ready {
            Ready::OnTime { spot } => {
                let content = self.firing.content(self.firing.drain.as_ref()?, &self.store);
                let (key, partial, rest) = content.at(spot)?;
                (key, lower_both(&algebra.aggregate, partial, rest))
            }
            Ready::Empty => (self.firing.emitted_key()?, algebra.aggregate.empty()?),
            Ready::Late { .. } => {
                let (key, partial) = self.firing.late()?;
                (key, algebra.aggregate.lower(partial))
            }
        };
        let window = Window::between(window);
        Some(Pane { key, window, definition, value, retracts: &[], timing, index, is_last })
    }

    /// Whether a window that has fired takes nothing more.
    fn is_last_of_slices(&self, lateness: Lateness, end: i64) -> bool {
        if lateness.allowed == 0 {
            return true;
        }
        let closed = self.progress.settled() >= lateness.closes(end);
        closed && self.firing.is_quiet() && self.queue.is_empty()
    }

    #[inline(never)]
    fn keyed_pane(&mut self, definition: u32) -> Option<Pane<'_, K, A::Output>> {
        let (key, Emission { start, end, partial, timing, index, replaced }) = self.emitted.as_ref()?;
        let lateness = self.settings.definitions.get(definition as usize)?.lateness;
        // (What was settled last may be behind: the next boundary is that of windows that are there.)
        let closed = lateness.allowed > 0 && self.progress.present() >= lateness.closes(*end);
        let quiet = self.queue.is_empty() && self.keyed.iter().all(|(_, keyed)| keyed.is_quiet());
        let is_last = match timing {
            Timing::Early => false,
            Timing::OnTime => lateness.allowed == 0 || (closed && quiet),
            Timing::Late => closed && quiet,
        };
        let retracts = replaced.iter().map(|pane| Retracted {
            window: Window::between((pane.start, pane.end)),
            value: self.algebra.aggregate.lower(&pane.partial),
        });
        self.retracted.clear();
        self.retracted.extend(retracts);
        Some(Pane {
            key,
            window: Window::between((*start, *end)),
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
        let sliced = (self.firing.sliced.iter())
            .map(|sliced| [sliced.lateness.first_open_end(&sliced.assigner, watermark), None]);
        let event = self.queue.first_event_at();
        let reached = (watermark, self.progress.before_end());
        let waiting = [self.firing.waiting(&self.store, reached, event), None];
        let keyed =
            self.keyed.iter().map(|(_, keyed)| [keyed.first_open_end(watermark), keyed.waiting(watermark)]);
        let queued = self.queue.iter().map(|entry| match &entry.what {
            What::Pane { pane, .. } => [Some(pane.end), None],
            What::Event { .. } | What::Until(_) => [None, None],
        });
        let ends = sliced.chain([waiting]).chain(keyed).chain(queued).flatten().flatten();
        Watermark::from_micros(ends.map(|end| end.saturating_sub(1)).fold(watermark, i64::min))
    }

    /// Why a window of a key has not fired, or what else has become of it (X1).
    ///
    /// Of several definitions with a window of these bounds, the first that has something for the key
    /// answers, or else the first.
    pub fn explain(&self, key: &K, window: Window) -> Explanation {
        let watermark = self.progress.watermark();
        let (progress, present, fill) = self.find_window(key, window, watermark);
        Explanation {
            window,
            progress,
            present,
            fires_at: Watermark::at(window.end),
            watermark: Watermark::from_micros(watermark),
            held_by: self.progress.held_by().and_then(|partition| self.progress.get(partition)),
            now: self.progress.now().map(Timestamp::from_micros),
            idle_timeout: self.settings.rules.idle_timeout.map(TimeDelta::microseconds),
            fill: fill.map(TimeDelta::microseconds),
            closes_in: self.progress.closes_in().map(TimeDelta::microseconds),
        }
    }

    /// What has become of a window of a key's, whether there is something in it, and for how long it is filled.
    fn find_window(&self, key: &K, window: Window, watermark: i64) -> (WindowProgress, bool, Option<i64>) {
        let hash = self.algebra.hashing.hash(key);
        let bounds = (window.start.as_micros(), window.end.as_micros());
        let sliced = self.firing.sliced.iter().filter(|sliced| sliced.assigner.has(bounds)).map(|sliced| {
            let slices = self.store.lattice().slices(bounds);
            let present = self.queue.has_event(slices, key)
                || self.algebra.fold(&self.store, slices, hash, key).is_some();
            let due = (present || sliced.fill.is_some()) && bounds.1 > sliced.fired;
            (progress_of(window, sliced.lateness, watermark, due), present, sliced.fill)
        });
        let keyed = self.keyed.iter().filter_map(|(_, keyed)| {
            let cell = keyed.window(hash, key, bounds, &self.algebra.hashing);
            if cell.is_none() && !keyed.rules.assigner.has(bounds) {
                return None;
            }
            let due = cell.is_some_and(|cell| !cell.state.ended);
            Some((progress_of(window, keyed.rules.lateness, watermark, due), cell.is_some(), None))
        });
        let mut all = sliced.chain(keyed);
        let Some(first) = all.next() else { return (WindowProgress::NotAWindow, false, None) };
        if first.1 { first } else { all.find(|other| other.1).unwrap_or(first) }
    }
}

/// The value of a partial, or of two of them.
#[inline(always)]
fn lower_both<V, A: Aggregate<V>>(aggregate: &A, partial: &A::Acc, rest: Option<&A::Acc>) -> A::Output {
    let Some(rest) = rest else { return aggregate.lower(partial) };
    let mut whole = partial.clone();
    aggregate.combine(&mut whole, rest);
    aggregate.lower(&whole)
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
