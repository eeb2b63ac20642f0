//! The kernel: the only file that sequences watermark → lateness → slices → firing → output.

use core::fmt;
use core::hash::Hash;
use core::marker::PhantomData;

use chrono::TimeDelta;

use crate::aggregate::{Aggregate, Invertible};
use crate::config::{Settings, Suspect};
use crate::error::{Reason, Rejected, UnknownPartition};
use crate::explain::{Explanation, WindowProgress};
use crate::fire::{Deferred, Firing, Plan, Ready};
use crate::lateness::Verdict;
use crate::output::{Admission, Event, Late, LateReason, Missed, Pane, Timing};
use crate::slice::{Algebra, Combine, Hashing, Inverse, Store, Strategy};
use crate::stats::Counters;
use crate::time::{Timestamp, Watermark, Window};
use crate::watermark::{Partition, PartitionStatus, Progress};

/// Groups events of type `V` by key `K` into windows and aggregates each with `A`.
///
/// Made by [`Config::build`](crate::Config::build). How it is used stands in the
/// [crate's documentation](crate). For a stream without keys, let the key be `()`.
///
/// Cost, with `n` slices in a window: a push is O(1), one hash probe; a push behind a fired window adds
/// O(n) when its panes are polled. Polling a pane is O(1) amortised, whatever `n` is.
pub struct Windowing<K, V, A: Aggregate<V>> {
    /// The slices before this belong to a window that is due.
    sealed: i64,
    pub(crate) store: Store<K, A::Acc>,
    pub(crate) hashing: Hashing,
    pub(crate) progress: Progress,
    pub(crate) aggregate: A,
    pub(crate) counters: Counters,
    /// There may be something to poll.
    busy: bool,
    pub(crate) firing: Firing<K, A::Acc>,
    pub(crate) plan: Plan<K>,
    pub(crate) settings: Settings,
    pub(crate) inverse: Option<Inverse<A, A::Acc>>,
    peak_bytes: usize,
    value: PhantomData<fn(V)>,
}

impl<K, V, A: Aggregate<V>> Windowing<K, V, A> {
    pub(crate) fn new(settings: Settings, aggregate: A) -> Self {
        let Settings { grid, lateness, late_firing, rules, seed, .. } = settings;
        let strategy = if grid.slices_per_window() == 1 { Strategy::Single } else { Strategy::TwoStacks };
        Self {
            sealed: i64::MIN,
            store: Store::new(grid),
            hashing: Hashing::new(seed),
            progress: Progress::new(rules),
            aggregate,
            counters: Counters::default(),
            busy: false,
            firing: Firing::new(strategy),
            plan: Plan { grid, lateness, late_firing, order: None },
            settings,
            inverse: None,
            peak_bytes: 0,
            value: PhantomData,
        }
    }

    /// Hands out the panes of each window in the order of their keys (F2), and makes equal states encode
    /// to equal snapshots. Costs a sort per window.
    #[must_use]
    pub fn ordered(mut self) -> Self
    where
        K: Ord,
    {
        self.plan.order = Some(K::cmp);
        self
    }

    /// Combines sliding windows by subtracting what leaves, which takes less memory than keeping
    /// partials of what stays. Only for aggregates that have an inverse. For a kernel that has just been
    /// built: later it has no effect, nor has it on tumbling windows, which have nothing to combine.
    #[must_use]
    pub fn subtract_on_evict(mut self) -> Self
    where
        A: Invertible<V>,
    {
        if self.settings.grid.slices_per_window() > 1 && self.inverse.is_none() && self.is_fresh() {
            self.inverse = Some(A::uncombine);
            self.firing.combine = Combine::new(Strategy::SubtractOnEvict);
        }
        self
    }

    /// Whether nothing has happened yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.counters == Counters::default() && self.progress.is_new()
    }

    // Declaring.

    /// Adds a partition. It holds the watermark where it is until it reports or idles (W5); it reports
    /// with its first event, or where the host sets watermarks with the first of those.
    pub fn add_partition(&mut self) -> Partition {
        self.store.close();
        self.progress.add()
    }

    /// Takes a partition out, because somebody else has it now (W5).
    ///
    /// # Errors
    ///
    /// When the partition is not there. So it is for all methods that take one.
    pub fn remove_partition(&mut self, partition: Partition) -> Result<(), UnknownPartition> {
        let known = self.progress.remove(partition);
        self.declared(partition, known)
    }

    /// Ends a partition: its input is exhausted. When all have ended, the input has: everything fires
    /// (W5).
    ///
    /// # Errors
    ///
    /// When the partition is not there.
    pub fn end_partition(&mut self, partition: Partition) -> Result<(), UnknownPartition> {
        let known = self.progress.end(partition);
        self.declared(partition, known)
    }

    /// Ends the input, idle partitions and all: every window fires and closes (W5).
    pub fn finish(&mut self) {
        self.store.close();
        self.progress.finish();
    }

    /// Declares a partition idle: it does not hold the watermark until it is active again, which it is
    /// when an event or a report of the host's raises its own watermark (W4).
    ///
    /// # Errors
    ///
    /// When the partition is not there.
    pub fn mark_idle(&mut self, partition: Partition) -> Result<(), UnknownPartition> {
        let known = self.progress.mark_idle(partition);
        self.declared(partition, known)
    }

    /// Declares a partition active (W4).
    ///
    /// # Errors
    ///
    /// When the partition is not there.
    pub fn mark_active(&mut self, partition: Partition) -> Result<(), UnknownPartition> {
        let known = self.progress.mark_active(partition);
        self.declared(partition, known)
    }

    /// Sets a partition's watermark, or raises it above what its generator says. A lower one than before
    /// is ignored (W2).
    ///
    /// # Errors
    ///
    /// When the partition is not there.
    pub fn set_watermark(
        &mut self,
        partition: Partition,
        watermark: Watermark,
    ) -> Result<(), UnknownPartition> {
        let known = self.progress.set_watermark(partition, watermark.as_micros());
        self.declared(partition, known)
    }

    /// Tells the time of the host's clock: for idle timeouts and the guard against the future. The
    /// kernel never reads a clock itself. O(partitions).
    pub fn tick(&mut self, now: impl Into<Timestamp>) {
        self.store.close();
        self.progress.tick(now.into().as_micros());
    }

    fn declared(&mut self, partition: Partition, known: bool) -> Result<(), UnknownPartition> {
        if !known {
            return Err(UnknownPartition { partition });
        }
        // The next push is to look at the watermark first.
        self.store.close();
        Ok(())
    }

    // Looking.

    /// The watermark: the minimum over the active partitions (W3). O(log partitions) after pushes,
    /// O(partitions) after declarations.
    pub fn watermark(&self) -> Watermark {
        Watermark::from_micros(self.progress.watermark())
    }

    /// The partition that holds the watermark back, if one does.
    pub fn held_by(&self) -> Option<Partition> {
        self.progress.held_by()
    }

    /// The partitions that are there.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionStatus> + '_ {
        self.progress.statuses()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// When the partition is not there.
    pub fn partition(&self, partition: Partition) -> Result<PartitionStatus, UnknownPartition> {
        self.progress.get(partition).ok_or(UnknownPartition { partition })
    }

    /// What became of all events and windows so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes that the state takes, pooled memory included (E2). O(1). Heap owned by accumulators counts
    /// as far as [`Aggregate::heap_bytes`] tells; heap owned by keys does not.
    pub fn state_bytes(&self) -> usize {
        self.store.bytes() + self.firing.bytes() + self.progress.bytes()
    }

    /// The most it has taken at the end of any drain or new window.
    pub fn peak_state_bytes(&self) -> usize {
        self.peak_bytes.max(self.state_bytes())
    }

    /// Slices that hold something.
    pub fn live_slices(&self) -> usize {
        self.store.live()
    }

    /// The watermark of what comes out: no pane whose own time ([`Pane::time`]) is before it will be handed
    /// out any more, be it on time or late (F7). Give it to a kernel downstream after draining this one,
    /// and nothing is late there.
    pub fn output_watermark(&self) -> Watermark {
        let watermark = self.progress.watermark();
        let open = self.plan.lateness.first_open_end(&self.plan.grid, watermark);
        let waiting = self.firing.waiting(&self.plan, &self.store, watermark);
        let results = [open, waiting].into_iter().flatten().map(|end| end.saturating_sub(1));
        Watermark::from_micros(results.fold(watermark, i64::min))
    }

    fn algebra(&self) -> Algebra<'_, V, A> {
        Algebra {
            aggregate: &self.aggregate,
            hashing: &self.hashing,
            inverse: self.inverse,
            value: PhantomData,
        }
    }

    /// Evaluates the watermark and what follows from it.
    fn settle(&mut self) {
        let Settings { grid, lateness, .. } = self.settings;
        let boundary = self.progress.boundary();
        let watermark = self.progress.settle(|watermark| {
            // What matters next is the window that becomes due, or the one that closes.
            grid.first_end_after(watermark).min(lateness.next_close(&grid, watermark))
        });
        if boundary != self.progress.boundary() || watermark == i64::MAX {
            self.sealed = grid.last_end(watermark);
            self.busy = true;
        }
        self.open_store();
    }

    fn open_store(&mut self) {
        let over_budget = self.state_bytes() > self.settings.state_budget;
        if over_budget {
            self.store.close();
        } else {
            self.store.open(self.sealed);
        }
    }

    /// After everything has been read: what follows from it.
    pub(crate) fn resume_from_snapshot(&mut self) {
        self.sealed = self.settings.grid.last_end(self.progress.settled());
        self.busy = true;
        self.store.close();
        self.note_peak();
    }

    fn note_peak(&mut self) {
        self.peak_bytes = self.peak_bytes.max(self.state_bytes());
    }
}

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>> Windowing<K, V, A> {
    // Offering.

    /// Offers an event.
    ///
    /// It is judged by the watermark before it moves its own partition's (W8). What it makes due waits to
    /// be [polled](Self::poll).
    ///
    /// # Errors
    ///
    /// When the event cannot be taken: its partition is not there, its windows do not fit the range of
    /// time (T2), it is suspect and those are rejected (W7), or the state is at its budget (E2). The event is
    /// in the error, and nothing but the counters has changed.
    #[inline]
    pub fn push(
        &mut self,
        partition: Partition,
        time: impl Into<Timestamp>,
        key: K,
        value: V,
    ) -> Result<Admission<K, V>, Rejected<K, V>> {
        let time = time.into();
        let micros = time.as_micros();
        if let Some(table) = self.store.open_at(micros) {
            let hash = self.hashing.hash(&key);
            let Some(partial) = table.get_mut(hash, &key) else {
                return self.push_new(Event { partition, time, key, value }, hash);
            };
            if self.progress.note(partition, micros) {
                let before = self.aggregate.heap_bytes(partial);
                self.aggregate.add(partial, time, &value);
                let after = self.aggregate.heap_bytes(partial);
                self.counters.accepted += 1;
                if before != after {
                    self.note_heap(micros, before, after);
                }
                return Ok(Admission::Accepted);
            }
        }
        self.push_slow(Event { partition, time, key, value })
    }

    /// The same for a key that its slice does not have yet.
    #[inline(never)]
    fn push_new(&mut self, event: Event<K, V>, hash: u64) -> Result<Admission<K, V>, Rejected<K, V>> {
        let micros = event.time.as_micros();
        if let Some(table) = self.store.open_at(micros)
            && !table.is_full()
            && self.progress.note(event.partition, micros)
        {
            let partial = self.aggregate.lift(event.time, &event.value);
            let heap = self.aggregate.heap_bytes(&partial);
            table.insert(hash, event.key, partial, 0, &self.hashing);
            self.counters.accepted += 1;
            if heap > 0 {
                self.note_heap(micros, 0, heap);
            }
            return Ok(Admission::Accepted);
        }
        self.push_slow(event)
    }

    #[cold]
    fn note_heap(&mut self, time: i64, before: usize, after: usize) {
        let slice = self.settings.grid.slice_of(time);
        self.store.add_heap(slice, before, after);
        self.open_store();
    }

    /// The long way: the same decisions in full, in the order that `push` documents.
    #[inline(never)]
    fn push_slow(&mut self, event: Event<K, V>) -> Result<Admission<K, V>, Rejected<K, V>> {
        let time = event.time.as_micros();
        let (lane, suspect) = match self.vet(&event) {
            Ok(vetted) => vetted,
            Err(reason) => return Err(self.reject(event, reason)),
        };
        self.settle();
        let watermark = self.progress.settled();
        let slice = self.settings.grid.slice_of(time);
        let admission = match self.settings.lateness.judge(&self.settings.grid, slice, watermark) {
            Verdict::Unassigned => {
                self.counters.unassigned += 1;
                Admission::Unassigned(event)
            }
            Verdict::Late(missed) => {
                self.counters.late += 1;
                Admission::Late(self.late(event, missed))
            }
            Verdict::Open { missed } => {
                let hash = self.hashing.hash(&event.key);
                if let Some(reason) = self.over_budget(slice, hash, &event) {
                    return Err(self.reject(event, reason));
                }
                self.take(slice, hash, watermark, event);
                self.admit(missed)
            }
        };
        if !suspect {
            self.progress.observe(lane, time);
        }
        if self.progress.is_unsettled() {
            self.settle();
        } else {
            self.open_store();
        }
        Ok(admission)
    }

    /// The partition's slot and whether the event is suspect, or why it cannot be taken.
    fn vet(&mut self, event: &Event<K, V>) -> Result<(u32, bool), Reason> {
        let (time, partition) = (event.time.as_micros(), event.partition);
        let unknown = Reason::UnknownPartition(UnknownPartition { partition });
        let lane = self.progress.find(partition).ok_or(unknown)?;
        let (first, beyond) = self.settings.grid.admits();
        if time < first || time >= beyond {
            let (first, beyond) = (Timestamp::from_micros(first), Timestamp::from_micros(beyond));
            return Err(Reason::OutOfRange { first, beyond });
        }
        match (self.progress.horizon(lane), self.settings.rules.skew) {
            (Some(horizon), Some((_, suspect))) if time > horizon => {
                self.counters.suspect += 1;
                match suspect {
                    Suspect::Admit => Ok((lane, true)),
                    Suspect::Reject => Err(Reason::FutureSkew { horizon: Timestamp::from_micros(horizon) }),
                }
            }
            _ => Ok((lane, false)),
        }
    }

    fn reject(&mut self, event: Event<K, V>, reason: Reason) -> Rejected<K, V> {
        self.counters.rejected += 1;
        Rejected::new(event, reason)
    }

    fn admit(&mut self, missed: Option<Missed>) -> Admission<K, V> {
        match missed {
            None => {
                self.counters.accepted += 1;
                Admission::Accepted
            }
            Some(missed) => {
                self.counters.partly_late += 1;
                Admission::PartlyLate(missed)
            }
        }
    }

    fn late(&self, event: Event<K, V>, missed: Missed) -> Late<K, V> {
        let watermark = Watermark::from_micros(self.progress.settled());
        let behind = watermark.as_micros().saturating_sub(event.time.as_micros());
        let own = self.progress.get(event.partition).map_or(Watermark::MIN, |status| status.watermark);
        let reason = match own.timestamp() > event.time {
            true => LateReason::Disorder { partition_watermark: own },
            false => {
                LateReason::PartitionBehind { partition_watermark: own, held_by: self.progress.held_by() }
            }
        };
        Late { event, watermark, late_by: TimeDelta::microseconds(behind), reason, missed }
    }

    /// Why the event would take the state over its budget, if it would.
    fn over_budget(&self, slice: i64, hash: u64, event: &Event<K, V>) -> Option<Reason> {
        let budget = self.settings.state_budget;
        if budget == usize::MAX {
            return None;
        }
        let known = self.store.get(slice).is_some_and(|table| table.get(hash, &event.key).is_some());
        let growth = match event.time.as_micros() < self.sealed {
            true => self.firing.growth(),
            false if known => 0,
            false => self.store.growth(slice),
        };
        // Firing sliding windows takes memory too, and cannot be refused any more.
        let room = self.store.room() + growth / size_of::<(K, A::Acc)>().max(1);
        let firing = self.firing.combine.bytes_for(room) - self.firing.combine.bytes();
        let used = self.state_bytes() + firing;
        (used.saturating_add(growth) > budget).then_some(Reason::OverBudget { used, growth, budget })
    }

    /// Takes an event that some window accepts.
    fn take(&mut self, slice: i64, hash: u64, watermark: i64, event: Event<K, V>) {
        let Event { time, key, value, .. } = event;
        if time.as_micros() < self.sealed {
            // A window that has this slice is due: the event waits until the drain has come by.
            let partial = self.aggregate.lift(time, &value);
            let heap = self.aggregate.heap_bytes(&partial);
            self.firing.defer(Deferred { at: watermark, slice, key, partial }, heap);
            self.busy = true;
        } else if let Some(partial) = self.store.get_mut(slice, hash, &key) {
            let before = self.aggregate.heap_bytes(partial);
            self.aggregate.add(partial, time, &value);
            let after = self.aggregate.heap_bytes(partial);
            self.store.add_heap(slice, before, after);
        } else {
            let partial = self.aggregate.lift(time, &value);
            let heap = self.aggregate.heap_bytes(&partial);
            self.store.insert(slice, hash, key, partial, heap, &self.hashing);
            self.note_peak();
        }
    }

    // Draining.

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

    fn poll_busy(&mut self) -> Option<Pane<'_, K, A::Output>> {
        let watermark = self.progress.settled();
        let algebra = Algebra {
            aggregate: &self.aggregate,
            hashing: &self.hashing,
            inverse: self.inverse,
            value: PhantomData,
        };
        let windows = &mut self.counters.windows_fired;
        let ready = self
            .firing
            .next_drained(&self.store, &self.hashing)
            .or_else(|| self.firing.advance(&self.plan, &mut self.store, &algebra, watermark, windows));
        if ready.is_none() {
            self.busy = false;
            self.note_peak();
            self.open_store();
        }
        let pane = self.pane(ready?)?;
        Some(pane)
    }

    fn pane(&mut self, ready: Ready) -> Option<Pane<'_, K, A::Output>> {
        self.counters.panes_fired += 1;
        let (ordinal, window, timing, index) = match ready {
            Ready::OnTime { window, bounds, .. } => (window, bounds, Timing::OnTime, 0),
            Ready::Late { window, index } => (window, self.settings.grid.window(window), Timing::Late, index),
        };
        let is_last = self.is_last(ordinal);
        let (key, value) = match ready {
            Ready::OnTime { spot, .. } => {
                let content = self.firing.combine.content(&self.store);
                let (key, partial) = content.at(spot)?;
                let value = match content.rest(spot, || self.hashing.hash(key), key) {
                    None => self.aggregate.lower(partial),
                    Some(rest) => {
                        let mut whole = partial.clone();
                        self.aggregate.combine(&mut whole, rest);
                        self.aggregate.lower(&whole)
                    }
                };
                (key, value)
            }
            Ready::Late { .. } => {
                let (key, partial) = self.firing.late()?;
                (key, self.aggregate.lower(partial))
            }
        };
        Some(Pane { key, window, value, timing, index, is_last })
    }

    /// Whether a window that has fired takes nothing more.
    fn is_last(&self, window: i64) -> bool {
        let lateness = self.settings.lateness;
        if lateness.allowed == 0 {
            return true;
        }
        let open = lateness.first_open(&self.settings.grid, self.progress.settled());
        open.is_none_or(|open| window < open) && self.firing.is_quiet()
    }

    /// Why a window of a key has not fired, or what else has become of it (X1).
    pub fn explain(&self, key: &K, window: Window) -> Explanation {
        let watermark = self.progress.watermark();
        let ordinal = self.settings.grid.find(window);
        let present = ordinal.is_some_and(|ordinal| {
            let slices = self.settings.grid.slices_of(ordinal);
            self.firing.is_deferred(slices, key)
                || self.algebra().fold(&self.store, slices, self.hashing.hash(key), key).is_some()
        });
        Explanation {
            window,
            progress: ordinal
                .map_or(WindowProgress::NotAWindow, |o| self.window_progress(o, watermark, present)),
            present,
            fires_at: Watermark::at(window.end),
            watermark: Watermark::from_micros(watermark),
            held_by: self.progress.held_by().and_then(|partition| self.progress.get(partition)),
            now: self.progress.now().map(Timestamp::from_micros),
            idle_timeout: self.settings.rules.idle_timeout.map(TimeDelta::microseconds),
        }
    }

    fn window_progress(&self, window: i64, watermark: i64, present: bool) -> WindowProgress {
        let Settings { grid, lateness, .. } = &self.settings;
        let end = grid.end_of(window);
        if end > watermark {
            return WindowProgress::Waiting;
        }
        let drained = window < self.firing.next;
        if present && !drained {
            return WindowProgress::Due;
        }
        match lateness.first_open(grid, watermark) {
            Some(open) if open <= window => {
                WindowProgress::Fired { until: Watermark::from_micros(end.saturating_add(lateness.allowed)) }
            }
            _ => WindowProgress::Closed,
        }
    }
}

impl<K, V, A: Aggregate<V>> fmt::Debug for Windowing<K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windowing")
            .field("watermark", &self.watermark())
            .field("live_slices", &self.live_slices())
            .field("state_bytes", &self.state_bytes())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
