//! The kernel: the only file that sequences watermark → lateness → slices → firing → output.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::hash::Hash;
use core::mem::needs_drop;
use core::ops::Range;

use chrono::TimeDelta;

use crate::aggregate::{Aggregate, Invertible};
use crate::batch::Outcomes;
use crate::config::{Settings, Suspect};
use crate::error::{Reason, Rejected, UnknownPartition};
use crate::fire::{Firing, Order, Sliced};
use crate::grid::Bounds;
use crate::key::{IndexedKey, ToKey};
use crate::keyed::{Emission, Findings, Keyed, Offer};
use crate::lateness::Memo;
use crate::lattice::Lattice;
use crate::output::{Admission, Event, Late, LateReason, Missed, Retracted};
use crate::queue::{Queue, Queued, What};
use crate::slice::{Algebra, Combine, Dense, Hashing, Store, Strategy};
use crate::snapshot::Cut;
use crate::stats::Counters;
use crate::time::{Timestamp, Watermark, whole_micros};
use crate::watermark::{Partition, PartitionState, PartitionStatus, Progress};
use crate::windows::{Assigner, Definition};

/// What a push answers.
type Answer<E> = Result<Admission<E>, Rejected<E>>;

/// An event on its way in, its key perhaps only borrowed.
pub(crate) struct Offered<'a, Q, V> {
    pub(crate) partition: Partition,
    pub(crate) time: Timestamp,
    pub(crate) key: &'a Q,
    pub(crate) value: &'a V,
}

impl<Q, V> Clone for Offered<'_, Q, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, V> Copy for Offered<'_, Q, V> {}

/// How a session's gap follows from an event.
type GapOf<V> = Box<dyn Fn(&V) -> Option<TimeDelta> + Send + Sync>;

/// Groups events of type `V` by key `K` into windows and aggregates each with `A`.
///
/// Made by [`Config::build`](crate::Config::build). How it is used stands in the
/// [crate's documentation](crate). For a stream without keys, let the key be `()`.
///
/// Cost, with `n` slices in a window: a push is O(1), one hash probe, however many definitions there are; a push
/// behind a fired window adds O(n) for each definition when its panes are polled. Polling a pane is O(1) amortised,
/// whatever `n` is. That is for windows on a grid (all but sessions and global ones) with the default trigger and
/// accumulation. Of others a push costs a probe for each window that it goes into, a polled pane O(log windows).
pub struct Windowing<K, V, A: Aggregate<V>> {
    /// Of the slices before this some may belong to a window that is due.
    sealed: i64,
    /// Whatever is before this is late for all windows.
    pub(crate) late_before: i64,
    /// What late events have missed lately.
    missed_before: Memo,
    pub(crate) store: Store<K, A::Acc>,
    pub(crate) progress: Progress,
    pub(crate) algebra: Algebra<K, V, A>,
    pub(crate) counters: Counters,
    /// There may be something to poll.
    pub(crate) busy: bool,
    /// Memory is on its way back to the system: polls give a little of it back.
    pub(crate) returning: bool,
    /// The definitions whose windows are made of slices.
    pub(crate) firing: Firing<K, A::Acc>,
    /// All others, whose windows each key has of its own.
    pub(crate) keyed: Vec<(u32, Keyed<K, A::Acc>)>,
    pub(crate) queue: Queue<K, A::Acc>,
    /// The last pane that came from neither slices nor a late event for them.
    pub(crate) emitted: Option<(K, Emission<A::Acc>)>,
    /// The panes that it replaces.
    pub(crate) retracted: Vec<Retracted<A::Output>>,
    pub(crate) order: Option<Order<K>>,
    pub(crate) settings: Settings,
    gap_by: Option<GapOf<V>>,
    /// How many events had been taken when what was open was closed last, after quiet, and the latest event then.
    closed_at: Option<(u64, i64)>,
    peak_bytes: usize,
    /// What became of events of the last batch that were not just accepted.
    pub(crate) outcomes: Outcomes,
    /// There were late events in the last block of a batch.
    pub(crate) late_lately: bool,
    /// A snapshot had to hold something for many of them.
    pub(crate) holds_lately: bool,
    /// A buffer for the keys of a block that have an index.
    pub(crate) numbered: Vec<K>,
    /// The snapshot that is being taken, and the last one that was.
    pub(crate) cut: Option<Cut>,
    pub(crate) last_cut: Option<u64>,
}

impl<K, V, A: Aggregate<V>> Windowing<K, V, A> {
    pub(crate) fn new(settings: Settings, aggregate: A) -> Self {
        let numbered = || (0..).zip(&settings.definitions);
        let lattice = Lattice::of(settings.definitions.iter().filter(|definition| definition.is_sliced()));
        let sliced = numbered()
            .filter(|(_, definition)| definition.is_sliced())
            .map(|(number, definition)| Sliced::new(number, definition, &lattice));
        let keyed = numbered()
            .filter(|(_, definition)| !definition.is_sliced())
            .map(|(number, definition)| (number, Keyed::new(definition.clone())));
        let (firing, keyed) = (Firing::new(sliced.collect()), keyed.collect());
        Self {
            sealed: i64::MIN,
            late_before: i64::MIN,
            missed_before: Memo::default(),
            store: Store::new(lattice),
            progress: Progress::new(settings.rules),
            algebra: Algebra::new(aggregate, Hashing::new(settings.seed)),
            counters: Counters::default(),
            busy: false,
            returning: false,
            firing,
            keyed,
            queue: Queue::new(),
            emitted: None,
            retracted: Vec::new(),
            order: None,
            settings,
            gap_by: None,
            closed_at: None,
            peak_bytes: 0,
            outcomes: Outcomes::default(),
            late_lately: false,
            holds_lately: false,
            numbered: Vec::new(),
            cut: None,
            last_cut: None,
        }
    }

    /// Hands out the panes of each window in the order of their keys (F2), and makes equal states encode
    /// to equal snapshots. Costs a sort per window.
    #[must_use]
    pub fn ordered(mut self) -> Self
    where
        K: Ord,
    {
        self.order = Some(K::cmp);
        self
    }

    /// Lets events choose the gap of their sessions: how long after it a session ends if no other event
    /// comes. `None` is the gap of [`Windows::session`](crate::Windows::session); an event whose own gap is not
    /// a positive number of microseconds is rejected. Without sessions it has no effect.
    #[must_use]
    pub fn gap_by(mut self, gap: impl Fn(&V) -> Option<TimeDelta> + Send + Sync + 'static) -> Self {
        let sessions = |definition: &Definition| matches!(definition.assigner, Assigner::Session { .. });
        if self.settings.definitions.iter().any(sessions) {
            self.gap_by = Some(Box::new(gap));
        }
        self
    }

    /// Combines sliding windows by subtracting what leaves, which takes less memory than keeping
    /// partials of what stays. Only for aggregates that have an inverse. Once an event has been offered it has no
    /// effect any more. Tumbling windows have nothing to combine.
    #[must_use]
    pub fn subtract_on_evict(mut self) -> Self
    where
        A: Invertible<V>,
    {
        if self.algebra.inverse.is_none() && self.is_unused() {
            self.algebra.inverse = Some(A::uncombine);
            for sliced in &mut self.firing.sliced {
                sliced.combine = Combine::new(Strategy::SubtractOnEvict);
            }
        }
        self
    }

    /// Finds what is known of a key by the index that the key is or tells, without hashing it: for keys that are small
    /// numbers already ([`IndexedKey`]). Once an event has been offered it has no effect any more.
    ///
    /// A slice then takes memory for each 256 indices next to each other that some key of it is among. What
    /// keys have of their own (sessions, windows with triggers) stays in hash tables, whose hash then is a product of the
    /// index. Where accumulators own memory it has no effect: hashing is the least of what those cost.
    #[must_use]
    pub fn indexed(mut self) -> Self
    where
        K: IndexedKey,
    {
        if self.is_unused() && const { Dense::<K, A::Acc>::suits() } {
            self.algebra.hashing.number();
        }
        self
    }

    /// Whether events choose the gaps of their sessions.
    pub(crate) fn has_own_gaps(&self) -> bool {
        self.gap_by.is_some()
    }

    /// Whether no event has been offered yet, so that there is no state.
    fn is_unused(&self) -> bool {
        let is_empty = self.store.live() == 0 && self.live_windows() == 0 && self.queue.is_empty();
        is_empty && self.counters == Counters::default()
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
    /// when an event or a report of the host's raises its own watermark or, where the host sets the
    /// watermarks, with any event (W4).
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

    /// The active partitions whose own watermark is ahead of the watermark by more than `by`: those to pause if
    /// what they have brought in advance takes too much state. It is advice: they are taken from as before.
    ///
    /// Nobody is ahead before every partition has reported.
    pub fn ahead_by(&self, by: TimeDelta) -> impl Iterator<Item = PartitionStatus> + '_ {
        let watermark = self.progress.watermark();
        // Saturating: a bound that is finer than a microsecond or does not fit is as good as the next one.
        let by = by.num_microseconds().unwrap_or(if by < TimeDelta::zero() { i64::MIN } else { i64::MAX });
        self.progress.statuses().filter(move |status| {
            status.state == PartitionState::Active
                && watermark > i64::MIN
                && status.watermark.as_micros().saturating_sub(watermark) > by
        })
    }

    /// What became of all events and windows so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes that the state takes, pooled memory included (E2). O(1). Heap owned by accumulators counts
    /// as far as [`Aggregate::heap_bytes`] tells; heap owned by keys does not.
    pub fn state_bytes(&self) -> usize {
        let keyed: usize = self.keyed.iter().map(|(_, keyed)| keyed.bytes()).sum();
        self.store.bytes() + self.firing.bytes() + self.queue.bytes() + self.progress.bytes() + keyed
    }

    /// The most it has taken at the end of any drain or new window.
    pub fn peak_state_bytes(&self) -> usize {
        self.peak_bytes.max(self.state_bytes())
    }

    /// Slices that hold something.
    pub fn live_slices(&self) -> usize {
        self.store.live()
    }

    /// Windows that single keys have of their own: sessions, and windows with triggers.
    pub fn live_windows(&self) -> usize {
        self.keyed.iter().map(|(_, keyed)| keyed.live()).sum()
    }

    /// Evaluates the watermark and what follows from it.
    pub(crate) fn settle(&mut self) {
        let boundary = self.progress.boundary();
        let (firing, keyed) = (&self.firing, &self.keyed);
        let watermark = self.progress.settle(|watermark| {
            let keyed = keyed.iter().map(|(_, keyed)| keyed.next_change(watermark)).min();
            firing.next_change(watermark).min(keyed.unwrap_or(i64::MAX))
        });
        if boundary != self.progress.boundary() || watermark == i64::MAX {
            self.seal(watermark);
            self.busy = true;
        }
        self.open_store();
    }

    fn seal(&mut self, watermark: i64) {
        self.sealed = self.store.lattice().sealed_at(watermark);
        self.late_before = match self.keyed.is_empty() {
            true => self.firing.late_before(watermark),
            // Windows of each key's own may take anything.
            false => i64::MIN,
        };
    }

    pub(crate) fn open_store(&mut self) {
        match self.store.is_cut() || !self.may_open() {
            true => self.store.close(),
            false => self.store.open(self.sealed),
        }
    }

    /// Whether it can be that from an event nothing follows but that a slice changes.
    fn may_open(&self) -> bool {
        self.keyed.is_empty() && self.state_bytes() <= self.settings.state_budget
    }

    /// After everything has been read: what follows from it.
    pub(crate) fn resume_from_snapshot(&mut self) {
        self.seal(self.progress.settled());
        self.busy = true;
        self.store.close();
        self.note_peak();
    }

    pub(crate) fn note_peak(&mut self) {
        self.peak_bytes = self.peak_bytes.max(self.state_bytes());
    }
}

impl<K: Hash + Eq + Clone, V, A: Aggregate<V>> Windowing<K, V, A> {
    /// Opens the slices while a snapshot is being taken, for events that hold what they change; whether that can be.
    pub(crate) fn open_to_hold(&mut self) -> bool {
        if self.progress.is_unsettled() || !self.may_open() {
            return false;
        }
        if !self.store.is_open() {
            self.store.open(self.sealed);
        }
        true
    }

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
    #[expect(clippy::type_complexity, reason = "a reader should see what comes back")]
    pub fn push(
        &mut self,
        partition: Partition,
        time: impl Into<Timestamp>,
        key: K,
        value: V,
    ) -> Result<Admission<Event<K, V>>, Rejected<Event<K, V>>> {
        let time = time.into();
        let micros = time.as_micros();
        if let Some(table) = self.store.open_at(micros) {
            let hash = self.algebra.hashing.hash(&key);
            let Some(partial) = table.get_near(hash, &key) else {
                return self.push_new(Event { partition, time, key, value }, hash);
            };
            if self.progress.note(partition, micros) {
                let before = self.algebra.aggregate.heap_bytes(partial);
                self.algebra.aggregate.add(partial, time, &value);
                let after = self.algebra.aggregate.heap_bytes(partial);
                self.counters.accepted += 1;
                if before != after {
                    self.note_heap(micros, before, after);
                }
                return Ok(Admission::Accepted);
            }
        }
        self.push_slow(Event { partition, time, key, value })
    }

    /// The same for a key that its slice does not have yet, or whose entry has still to move.
    #[inline(never)]
    fn push_new(&mut self, event: Event<K, V>, hash: u64) -> Answer<Event<K, V>> {
        let (micros, aggregate) = (event.time.as_micros(), &self.algebra.aggregate);
        let Some(table) = self.store.open_at(micros) else { return self.push_slow(event) };
        if let Some(partial) = table.get_far(hash, &event.key) {
            // (What needs to be dropped may own heap, which is for the long way to count.)
            if !needs_drop::<A::Acc>() && self.progress.note(event.partition, micros) {
                aggregate.add(partial, event.time, &event.value);
                self.counters.accepted += 1;
                return Ok(Admission::Accepted);
            }
        } else if table.has_room(hash) {
            let partial = aggregate.lift(event.time, &event.value);
            if aggregate.heap_bytes(&partial) == 0 && self.progress.note(event.partition, micros) {
                table.insert(hash, event.key, partial, (0, 0), &self.algebra.hashing);
                self.counters.accepted += 1;
                return Ok(Admission::Accepted);
            }
        }
        self.push_slow(event)
    }

    #[inline(never)]
    fn push_slow(&mut self, event: Event<K, V>) -> Answer<Event<K, V>> {
        let Event { partition, time, ref key, ref value } = event;
        match self.admit(Offered { partition, time, key, value }) {
            Ok(admission) => Ok(admission.map(|()| event)),
            Err(reason) => Err(Rejected::new(event, reason)),
        }
    }

    #[cold]
    pub(crate) fn note_heap(&mut self, time: i64, before: usize, after: usize) {
        self.store.add_heap(self.store.lattice().slice_of(time), before, after);
        self.open_store();
    }

    /// The long way: the same decisions in full, in the order that `push` documents.
    pub(crate) fn admit<Q: ToKey<K>>(&mut self, event: Offered<'_, Q, V>) -> Result<Admission<()>, Reason> {
        let time = event.time.as_micros();
        if self.admit_into_session(event) {
            return Ok(Admission::Accepted);
        }
        if time < self.late_before
            && let Some(late) = self.admit_late(event)
        {
            return Ok(Admission::Late(late));
        }
        let (lane, suspect, gap) = self.vet(event).inspect_err(|_| self.counters.rejected += 1)?;
        self.settle();
        let hash = self.algebra.hashing.hash(event.key);
        let (findings, slice) = self.judge(event, hash, gap);
        let admission = match findings {
            Findings { is_open: false, missed: None } => {
                self.counters.unassigned += 1;
                Admission::Unassigned(())
            }
            Findings { is_open: false, missed: Some(missed) } => {
                self.counters.late += 1;
                Admission::Late(self.late(event, self.progress.settled(), missed))
            }
            Findings { missed, .. } => {
                if let Some(reason) = self.over_budget(slice, hash, event) {
                    self.counters.rejected += 1;
                    return Err(reason);
                }
                self.take(slice, hash, gap, event);
                self.count_taken(missed)
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

    /// The short way for an event that begins a session or goes into one, if nothing else follows from it.
    fn admit_into_session<Q: ToKey<K>>(&mut self, event: Offered<'_, Q, V>) -> bool {
        let Offered { partition, time, key, value } = event;
        let micros = time.as_micros();
        let (first, beyond) = self.settings.admits;
        let is_in_range = first <= micros && micros < beyond;
        if !is_in_range || !self.progress.passes(partition, micros) || !self.has_only_sessions() {
            return false;
        }
        let [(_, keyed)] = &mut self.keyed[..] else { return false };
        let (hash, live) = (self.algebra.hashing.hash(key), keyed.live());
        if !keyed.take_quickly((key, hash, None), (time, value), self.progress.boundary(), &self.algebra) {
            return false;
        }
        let has_begun = keyed.live() > live;
        self.progress.note(partition, micros);
        self.counters.accepted += 1;
        if has_begun {
            self.note_peak();
        }
        true
    }

    /// Whether nothing follows from almost any event but that a session begins or grows.
    pub(crate) fn has_only_sessions(&self) -> bool {
        let is_plain = matches!(&self.keyed[..], [(_, keyed)] if keyed.is_plain());
        let is_alone = self.firing.sliced.is_empty() && self.gap_by.is_none();
        let has_ended = self.progress.settled() == i64::MAX;
        let is_free = self.settings.state_budget == usize::MAX && !self.progress.is_unsettled() && !has_ended;
        is_plain && is_alone && is_free
    }

    /// The short way for an event that is late for all windows, if nothing else follows from it.
    fn admit_late<Q: ToKey<K>>(&mut self, event: Offered<'_, Q, V>) -> Option<Late<()>> {
        let time = event.time.as_micros();
        let in_range = time >= self.settings.admits.0;
        if !in_range || self.progress.is_unsettled() || !self.progress.passes(event.partition, time) {
            return None;
        }
        self.progress.refresh();
        let watermark = self.progress.present();
        let missed = self.missed_before.find(time).or_else(|| self.judge_late(time, watermark))?;
        let late = self.late(event, watermark, missed);
        self.progress.note(event.partition, time);
        self.counters.late += 1;
        Some(late)
    }

    /// What an event misses that is late for all windows. So it stays for all others in its slice.
    pub(crate) fn judge_late(&mut self, time: i64, watermark: i64) -> Option<Missed> {
        let mut findings = Findings::default();
        for sliced in &self.firing.sliced {
            findings.note(sliced.lateness.judge(&sliced.assigner, time, watermark));
        }
        let missed = findings.missed?;
        if let Some(slice) = self.slice_bounds(time) {
            self.missed_before.note(slice, missed);
        }
        Some(missed)
    }

    /// The bounds of an instant's slice, where slices are even.
    pub(crate) fn slice_bounds(&self, time: i64) -> Option<Bounds> {
        let grid = self.store.lattice().grid()?;
        let slice = grid.slice_of(time);
        Some((grid.slice_start(slice), grid.slice_start(slice.saturating_add(1))))
    }

    /// The partition's slot, whether the event is suspect and its own gap, or why it cannot be taken.
    fn vet<Q>(&mut self, event: Offered<'_, Q, V>) -> Result<(u32, bool, Option<i64>), Reason> {
        let (time, partition) = (event.time.as_micros(), event.partition);
        let unknown = Reason::UnknownPartition(UnknownPartition { partition });
        let lane = self.progress.find(partition).ok_or(unknown)?;
        let gap = self.check_range(event)?;
        match (self.progress.horizon(lane), self.settings.rules.skew) {
            (Some(horizon), Some((_, suspect))) if time > horizon => {
                self.counters.suspect += 1;
                match suspect {
                    Suspect::Admit => Ok((lane, true, gap)),
                    Suspect::Reject => {
                        let horizon = Timestamp::from_micros(horizon);
                        Err(Reason::FutureSkew { time: event.time, horizon })
                    }
                }
            }
            _ => Ok((lane, false, gap)),
        }
    }

    /// Whether an event's windows fit the range of time (T2), and its gap makes sense; the gap, where events
    /// choose one. It is asked for once: what an event is judged by is what it is taken by.
    fn check_range<Q>(&self, event: Offered<'_, Q, V>) -> Result<Option<i64>, Reason> {
        let given = self.gap_by.as_ref().and_then(|gap_by| gap_by(event.value));
        let gap = given.map(|given| whole_micros(given).unwrap_or(0));
        let (first, beyond) = match gap {
            Some(gap) => self.settings.admits_with(Some(gap.max(1))),
            None => self.settings.admits,
        };
        let time = event.time.as_micros();
        if time < first || time >= beyond {
            let (first, beyond) = (Timestamp::from_micros(first), Timestamp::from_micros(beyond));
            return Err(Reason::OutOfRange { time: event.time, first, beyond });
        }
        match (given, gap) {
            (Some(given), Some(..=0)) => Err(Reason::Gap { given }),
            _ => Ok(gap),
        }
    }

    /// Why an event cannot be taken whose time, nearest to which is this, does not fit 64 bits of microseconds.
    pub(crate) fn reject_unfit(&mut self, partition: Partition, time: Timestamp) -> Reason {
        self.counters.rejected += 1;
        if self.progress.find(partition).is_none() {
            return Reason::UnknownPartition(UnknownPartition { partition });
        }
        let (first, beyond) = self.settings.admits;
        Reason::OutOfRange {
            time,
            first: Timestamp::from_micros(first),
            beyond: Timestamp::from_micros(beyond),
        }
    }

    fn count_taken(&mut self, missed: Option<Missed>) -> Admission<()> {
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

    fn late<Q>(&self, event: Offered<'_, Q, V>, watermark: i64, missed: Missed) -> Late<()> {
        let own = self.progress.own(event.partition).unwrap_or(i64::MIN);
        late_of(event.time, (watermark, own), || self.progress.held_by(), missed)
    }

    /// What an event finds over all definitions, and its slice if it goes into one.
    fn judge<Q: ToKey<K>>(
        &self,
        event: Offered<'_, Q, V>,
        hash: u64,
        gap: Option<i64>,
    ) -> (Findings, Option<i64>) {
        let mut findings = Findings::default();
        let mut into = None;
        let watermark = self.progress.settled();
        let time = event.time.as_micros();
        for sliced in &self.firing.sliced {
            let verdict = sliced.lateness.judge(&sliced.assigner, time, watermark);
            if findings.note(verdict) && into.is_none() {
                into = Some(self.store.lattice().slice_of(time));
            }
        }
        let offer = self.offer_of(event, hash, gap);
        self.keyed.iter().for_each(|(_, keyed)| keyed.judge(&offer, &mut findings));
        (findings, into)
    }

    fn offer_of<'a, Q>(&self, event: Offered<'a, Q, V>, hash: u64, gap: Option<i64>) -> Offer<'a, Q, V> {
        Offer {
            key: event.key,
            hash,
            time: event.time.as_micros(),
            value: event.value,
            gap,
            watermark: self.progress.settled(),
            now: self.progress.now(),
        }
    }

    /// Why the event would take the state over its budget, if it would.
    fn over_budget<Q: ToKey<K>>(
        &self,
        slice: Option<i64>,
        hash: u64,
        event: Offered<'_, Q, V>,
    ) -> Option<Reason> {
        let budget = self.settings.state_budget;
        if budget == usize::MAX {
            return None;
        }
        let (sliced, entries) = slice.map_or((0, 0), |slice| {
            let known = self.store.get(slice).is_some_and(|slice| slice.get(hash, event.key).is_some());
            match event.time.as_micros() < self.sealed {
                // (When it gets there its slice may have to grow.)
                true => (self.queue.growth(1), self.store.growth(slice, hash, &self.algebra.hashing).1 + 1),
                false if known => (0, 0),
                false => self.store.growth(slice, hash, &self.algebra.hashing),
            }
        });
        let windows = self.keyed.iter().map(|(_, keyed)| keyed.windows_of(event.time.as_micros()));
        let keyed = self.keyed.iter().zip(windows.clone()).map(|((_, keyed), windows)| keyed.growth(windows));
        let queued = if self.keyed.is_empty() { 0 } else { self.queue.growth(windows.map(|n| n + 2).sum()) };
        let growth = sliced + keyed.sum::<usize>() + queued;
        // Firing sliding windows takes memory too, and cannot be refused any more.
        let room = self.store.room() + entries;
        let sealing = match self.firing.slices_per_slide() {
            0 => 0,
            coming => self.store.sealing_growth(coming, room),
        };
        let used = self.state_bytes()
            + self.firing.growth(room.max(self.store.sealed.ids.beyond()), self.order.is_some())
            + sealing;
        (used.saturating_add(growth) > budget).then_some(Reason::OverBudget { used, growth, budget })
    }

    /// Takes an event that some window accepts, into the definitions' windows one after the other.
    fn take<Q: ToKey<K>>(
        &mut self,
        slice: Option<i64>,
        hash: u64,
        gap: Option<i64>,
        event: Offered<'_, Q, V>,
    ) {
        let all = 0..self.keyed.len();
        let Some(slice) = slice else { return self.take_keyed(all, hash, gap, event) };
        if self.keyed.is_empty() {
            return self.take_into_slice(slice, hash, u32::MAX, event);
        }
        if event.time.as_micros() >= self.sealed {
            // It causes no panes of slices, so nothing needs to come before or after those of others.
            self.take_into_slice(slice, hash, u32::MAX, event);
            return self.take_keyed(all, hash, gap, event);
        }
        for place in 0..=all.end {
            // First what definitions of slices before this one have to say.
            let until = self.keyed.get(place).map_or(u32::MAX, |(number, _)| *number);
            if place == 0 {
                self.take_into_slice(slice, hash, until, event);
            } else {
                let (at, key) = (self.progress.settled(), event.key.to_key());
                self.queue.push(Queued { at, key, what: What::Until(until) }, 0);
            }
            self.take_keyed(place..(place + 1).min(all.end), hash, gap, event);
        }
    }

    fn take_keyed<Q: ToKey<K>>(
        &mut self,
        which: Range<usize>,
        hash: u64,
        gap: Option<i64>,
        event: Offered<'_, Q, V>,
    ) {
        if which.is_empty() {
            return;
        }
        let offer = self.offer_of(event, hash, gap);
        let algebra = &self.algebra;
        let (queue, at) = (&mut self.queue, offer.watermark);
        for (number, keyed) in &mut self.keyed[which] {
            keyed.take(&offer, algebra, self.order, &mut |key, pane| {
                let heap = pane.heap_bytes(algebra);
                queue.push(Queued { at, key, what: What::Pane { definition: *number, pane } }, heap);
            });
        }
        self.busy |= !queue.is_empty() || self.keyed.iter().any(|(_, keyed)| !keyed.is_quiet());
        self.await_keyed();
        self.note_peak();
    }

    /// After something has come into windows of each key's own: they may be due earlier than anything was.
    fn await_keyed(&mut self) {
        let watermark = self.progress.settled();
        let next = self.keyed.iter().map(|(_, keyed)| keyed.next_change(watermark)).min();
        self.progress.lower_boundary(next.unwrap_or(i64::MAX));
    }

    pub(crate) fn take_into_slice<Q: ToKey<K>>(
        &mut self,
        slice: i64,
        hash: u64,
        until: u32,
        event: Offered<'_, Q, V>,
    ) {
        let Offered { time, key, value, .. } = event;
        if time.as_micros() < self.sealed {
            // A window that has this slice is due: the event waits until the drain has come by.
            let partial = self.algebra.aggregate.lift(time, value);
            let heap = self.algebra.aggregate.heap_bytes(&partial);
            let (at, key) = (self.progress.settled(), key.to_key());
            self.queue.push(Queued { at, key, what: What::Event { slice, partial, until } }, heap);
            self.busy = true;
        } else if let Some(partial) = self.store.get_mut(slice, hash, key) {
            let before = self.algebra.aggregate.heap_bytes(partial);
            self.algebra.aggregate.add(partial, time, value);
            let after = self.algebra.aggregate.heap_bytes(partial);
            self.store.add_heap(slice, before, after);
        } else {
            let partial = self.algebra.aggregate.lift(time, value);
            let heap = self.algebra.aggregate.heap_bytes(&partial);
            self.store.insert(slice, hash, key.to_key(), partial, heap, &self.algebra.hashing);
            self.note_peak();
        }
    }

    /// Tells the time of the host's clock: for idle timeouts, for the guard against the future and for early
    /// panes by the clock. The kernel never reads a clock itself. O(partitions and panes due).
    pub fn tick(&mut self, now: impl Into<Timestamp>) {
        self.store.close();
        let now = now.into().as_micros();
        self.progress.tick(now);
        let by_clock = |(_, keyed): &(u32, Keyed<K, A::Acc>)| keyed.rules.trigger.early_ticks.is_some();
        if self.settings.rules.close_after_quiet.is_none() && !self.keyed.iter().any(by_clock) {
            return;
        }
        // What the watermark makes due comes first, so this tick looks at it.
        self.settle();
        if self.progress.is_quiet() {
            self.close_what_is_open();
        }
        let (now, at) = (self.progress.now().unwrap_or(now), self.progress.settled());
        let algebra = &self.algebra;
        let queue = &mut self.queue;
        for (number, keyed) in &mut self.keyed {
            keyed.tick(now, at, algebra, self.order, &mut |key, pane| {
                let heap = pane.heap_bytes(algebra);
                queue.push(Queued { at, key, what: What::Pane { definition: *number, pane } }, heap);
            });
        }
        self.busy |= !queue.is_empty();
        self.await_keyed();
    }

    /// Raises the watermark to the end of the last window that holds something, but for those that only events that
    /// are suspect have opened (W7). O(state), once for each quiet.
    fn close_what_is_open(&mut self) {
        let Some(latest) = self.progress.latest() else { return };
        let known = (self.counters.accepted + self.counters.partly_late, latest);
        if self.closed_at.replace(known) == Some(known) {
            return;
        }
        let queued = self.queue.iter().filter_map(|entry| match entry.what {
            What::Event { slice, .. } => Some(slice),
            _ => None,
        });
        let last = |slice| self.firing.last_end(&self.store, slice, latest);
        let sliced = self.store.live_in(i64::MIN, i64::MAX).chain(queued).filter_map(last);
        let keyed = self.keyed.iter().filter_map(|(_, keyed)| keyed.last_end(latest));
        if let Some(end) = sliced.chain(keyed).max() {
            // Not the end of input.
            self.progress.raise(end.min(i64::MAX - 1));
            self.settle();
        }
    }
}

/// An event that is late by these watermarks: the one that counts, and that of its partition.
#[inline]
pub(crate) fn late_of(
    time: Timestamp,
    (watermark, own): (i64, i64),
    held_by: impl FnOnce() -> Option<Partition>,
    missed: Missed,
) -> Late<()> {
    let behind = TimeDelta::microseconds(watermark.saturating_sub(time.as_micros()));
    let partition_watermark = Watermark::from_micros(own);
    let reason = match own > time.as_micros() {
        true => LateReason::Disorder { partition_watermark },
        false => LateReason::PartitionBehind { partition_watermark, held_by: held_by() },
    };
    Late { event: (), watermark: Watermark::from_micros(watermark), late_by: behind, reason, missed }
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
