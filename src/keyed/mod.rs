//! Windows that each key has of its own: sessions, and every window whose trigger or accumulation needs to
//! know more of a key's window than the sum of its slices.
//!
//! A *cell* is one window of one key. Cells are changed as events come, at once. What the watermark has
//! brought a cell to without the host having polled it must be handed out as it was then; so before a cell is
//! changed its due panes are set aside ([`Keyed::set_aside`]). Nobody else pays for it: polling goes from
//! timer to timer, and nothing is scanned.

mod asides;
mod cell;
mod cells;
mod cut;
mod index;
mod session;
mod timers;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::hash::Hash;
use core::mem::size_of;

pub(crate) use asides::{Asides, PutAside};
pub(crate) use cell::{Cell, Emission, Replaced, State};
use cell::{Due, Tick, Triggers};
use cells::{Cells, Slot};
use cut::Cut;
use index::Index;
use timers::{Timer, Timers};

use crate::aggregate::Aggregate;
use crate::config::LateFiring;
use crate::fire::Order;
use crate::key::ToKey;
use crate::lateness::Verdict;
use crate::output::{Missed, Timing};
use crate::queue::growth;
use crate::slice::{Algebra, Hashing, Run};
use crate::time::{Timestamp, Window};
use crate::windows::{Assigner, Base, Definition, TriggerRules};

/// Where a pane stands in the sequence: when it fires, and its window's end and start (F2).
pub(crate) type Rank = (i64, i64, i64);

/// An event on its way into its windows.
pub(crate) struct Offer<'a, Q, V> {
    pub(crate) key: &'a Q,
    pub(crate) hash: u64,
    pub(crate) time: i64,
    pub(crate) value: &'a V,
    /// The gap after it, where it is an event's own.
    pub(crate) gap: Option<i64>,
    /// The watermark that it is judged by, and the host's clock.
    pub(crate) watermark: i64,
    pub(crate) now: Option<i64>,
}

/// What an event finds: whether one of its windows takes it, and which do not.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) is_open: bool,
    pub(crate) missed: Option<Missed>,
}

impl Findings {
    /// Adds what becomes of the event in the windows of one definition; whether some window takes it.
    pub(crate) fn note(&mut self, verdict: Verdict) -> bool {
        let (open, missed) = match verdict {
            Verdict::Unassigned => (false, None),
            Verdict::Late(missed) => (false, Some(missed)),
            Verdict::Open { missed } => (true, missed),
        };
        missed.into_iter().for_each(|missed| self.miss(missed));
        self.is_open |= open;
        open
    }

    fn miss(&mut self, missed: Missed) {
        let by_end = |window: &Window| (window.end, window.start);
        self.missed = Some(match self.missed {
            None => missed,
            Some(before) => Missed {
                first: core::cmp::min_by_key(before.first, missed.first, by_end),
                last: core::cmp::max_by_key(before.last, missed.last, by_end),
                count: before.count.saturating_add(missed.count),
            },
        });
    }

    fn miss_one(&mut self, window: (i64, i64)) {
        let window = Window::between(window);
        self.miss(Missed { first: window, last: window, count: 1 });
    }
}

/// All cells of one definition.
#[derive(Debug)]
pub(crate) struct Keyed<K, T> {
    pub(crate) rules: Definition,
    cells: Cells<K, T>,
    /// Of sessions by key, of others by key and window.
    index: Index,
    /// One for each cell, at or before the watermark that the cell is due at.
    timers: Timers,
    /// Cells that are due at one rank, in ordered output; last first.
    batch: Vec<u32>,
    batch_rank: Rank,
    /// The same on the host's clock.
    ticks: BinaryHeap<Reverse<(i64, u32)>>,
    /// Cells to be looked at when the clock ticks for the first time.
    unknown_ticks: Vec<u32>,
    /// Due panes of cells that have changed since.
    pub(crate) asides: Asides<K, T>,
    /// Late panes owed at the end of the drain, by (end, start).
    marked: BTreeMap<(i64, i64), VecDeque<u32>>,
    marks: usize,
    /// The window that fired on time last, as (end, start): its keys come one after the other.
    last_fired: Option<(i64, i64)>,
    /// Heap owned by partials.
    heap: usize,
    /// Hardly any cell was in use when that was looked at last.
    sparse: bool,
    /// Which have changed since the last snapshot began, a bit for each; none before the first.
    changed: Option<Vec<u64>>,
    /// The snapshot that is being taken.
    cut: Option<Box<Cut<K, T>>>,
}

/// Cells that are brought near together: no more than the nearest cache holds.
pub(crate) const NEAR: usize = 1 << 6;

/// When the timer of a cell goes off that counts.
fn armed<K, T>(cells: &Cells<K, T>) -> impl Fn(u32) -> i64 {
    |id| cells.get(id).map_or(i64::MAX, |slot| slot.armed)
}

impl<K, T> Keyed<K, T> {
    pub(crate) fn new(rules: Definition) -> Self {
        Self {
            timers: Timers::new(&rules),
            rules,
            cells: Cells::new(),
            index: Index::new(),
            batch: Vec::new(),
            batch_rank: (0, 0, 0),
            ticks: BinaryHeap::new(),
            unknown_ticks: Vec::new(),
            asides: Asides::new(),
            marked: BTreeMap::new(),
            marks: 0,
            last_fired: None,
            heap: 0,
            sparse: false,
            changed: None,
            cut: None,
        }
    }

    /// Windows that hold something, those of each key counted.
    pub(crate) fn live(&self) -> usize {
        self.cells.live()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.cells.bytes()
            + (self.batch.capacity() + self.unknown_ticks.capacity()) * size_of::<u32>()
            + self.index.bytes()
            + self.timers.bytes()
            + self.ticks.capacity() * size_of::<(i64, u32)>()
            + self.asides.bytes()
            + self.live() * self.trigger_bytes()
            + self.marks * size_of::<u32>()
            + self.heap
    }

    /// What each cell's triggers take at most.
    fn trigger_bytes(&self) -> usize {
        if self.rules.trigger == TriggerRules::ON_TIME { 0 } else { size_of::<Triggers>() }
    }

    /// How many windows of each key's own an event at `time` may go into.
    pub(crate) fn windows_of(&self, time: i64) -> usize {
        match self.rules.assigner {
            Assigner::Session { .. } => 1,
            _ => self.rules.assigner.windows_of(time).count(),
        }
    }

    /// Bytes by which an event in so many windows may make this grow.
    pub(crate) fn growth(&self, windows: usize) -> usize {
        self.cells.growth(windows)
            + self.timers.growth(2 * windows)
            + growth::<(i64, u32)>(self.ticks.len(), self.ticks.capacity(), windows)
            + growth::<u32>(self.unknown_ticks.len(), self.unknown_ticks.capacity(), windows)
            + self.index.growth(windows)
            // Each of them may set panes aside and owe one.
            + windows * (2 * Asides::<K, T>::BYTES + size_of::<u32>() + self.trigger_bytes())
    }

    /// The next watermark at which something may be due, or an earlier one after this.
    pub(crate) fn next_change(&self, watermark: i64) -> i64 {
        let waits = !self.batch.is_empty() || self.asides.len() > 0;
        let next = if waits { i64::MIN } else { self.timers.next() };
        next.max(watermark.saturating_add(1))
    }

    /// Whether nothing waits to be handed out but what the watermark brings.
    pub(crate) fn is_quiet(&self) -> bool {
        self.marks == 0
    }

    fn cell(&self, id: u32) -> Option<&Cell<K, T>> {
        Some(&self.cells.get(id)?.cell)
    }

    fn cell_mut(&mut self, id: u32) -> Option<&mut Cell<K, T>> {
        self.change(id);
        Some(&mut self.cells.get_mut(id)?.cell)
    }

    pub(crate) fn cells(&self) -> impl Iterator<Item = &Cell<K, T>> {
        self.cells.iter().map(|slot| &slot.cell)
    }

    pub(crate) fn last_fired(&self) -> Option<(i64, i64)> {
        self.last_fired
    }
}

impl<K: Hash + Eq + Clone, T: Clone> Keyed<K, T> {
    // Events.

    /// What an event would find, without taking it.
    pub(crate) fn judge<Q: ToKey<K>, V>(&self, offer: &Offer<'_, Q, V>, findings: &mut Findings) {
        if let Assigner::Session { .. } = self.rules.assigner {
            match self.accepts_into_session(offer) {
                true => findings.is_open = true,
                false => findings.miss_one(self.own_session(offer)),
            }
            return;
        }
        findings.note(self.rules.lateness.judge(&self.rules.assigner, offer.time, offer.watermark));
    }

    /// Takes an event into its windows that are open; hands the panes that this causes at once to `out`.
    pub(crate) fn take<Q: ToKey<K>, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        offer: &Offer<'_, Q, V>,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
        out: &mut impl FnMut(K, Emission<T>),
    ) {
        if let Assigner::Session { .. } = self.rules.assigner {
            if let Some(id) = self.take_into_session(offer, algebra, order) {
                self.note_event(id, offer, algebra, out);
            }
            return;
        }
        let mut after = offer.time;
        while let Some((start, end)) = self.rules.assigner.first_ending_after(after) {
            if start > offer.time || end <= after {
                break;
            }
            after = end;
            if self.rules.accepts(end, offer.watermark) {
                let id = self.take_into_window((start, end), offer, algebra, order);
                self.note_event(id, offer, algebra, out);
            }
        }
    }

    fn take_into_window<Q: ToKey<K>, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (start, end): (i64, i64),
        offer: &Offer<'_, Q, V>,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) -> u32 {
        let hash = window_hash(&algebra.hashing, offer.hash, (start, end));
        if let Some(id) =
            self.find(hash, |cell| offer.key.is(&cell.key) && (cell.start, cell.end) == (start, end))
        {
            self.set_aside(id, offer.watermark, algebra, order);
            self.add(id, offer, algebra);
            return id;
        }
        let partial = algebra.aggregate.lift(Timestamp::from_micros(offer.time), offer.value);
        let cell = Cell::new(offer.key.to_key(), (start, end), partial, offer.watermark);
        self.insert(hash, cell, algebra)
    }

    /// Adds an event's value behind what is in a cell.
    fn add<Q: ToKey<K>, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        id: u32,
        offer: &Offer<'_, Q, V>,
        algebra: &Algebra<K, V, A>,
    ) {
        let (time, aggregate) = (Timestamp::from_micros(offer.time), &algebra.aggregate);
        self.change(id);
        let Some(Slot { cell, .. }) = self.cells.get_mut(id) else { return };
        match &mut cell.partial {
            Some(partial) => {
                let before = aggregate.heap_bytes(partial);
                aggregate.add(partial, time, offer.value);
                self.heap = self.heap + aggregate.heap_bytes(partial) - before;
            }
            none => {
                let lifted = aggregate.lift(time, offer.value);
                self.heap += aggregate.heap_bytes(&lifted);
                *none = Some(lifted);
            }
        }
    }

    /// After an event was taken into a cell: what its triggers say.
    fn note_event<Q: ToKey<K>, V, A: Aggregate<V, Acc = T>>(
        &mut self,
        id: u32,
        offer: &Offer<'_, Q, V>,
        algebra: &Algebra<K, V, A>,
        out: &mut impl FnMut(K, Emission<T>),
    ) {
        self.change(id);
        let Some(Slot { cell, .. }) = self.cells.get_mut(id) else { return };
        let tick = cell.state.tick();
        let timing = cell.note_event(offer.time, offer.watermark, offer.now, &self.rules);
        let now = cell.state.tick();
        if now != tick {
            self.await_tick(id, now);
        }
        if let Some(timing) = timing {
            let is_count = matches!(self.rules.trigger.base, Base::Count(_));
            if timing == Timing::Late && self.rules.late_firing == LateFiring::OncePerDrain && !is_count {
                self.mark(id);
            } else if let Some(pane) = self.emit(id, timing, algebra) {
                out(pane.0, pane.1);
            }
        }
        self.arm(id);
    }

    fn await_tick(&mut self, id: u32, tick: Tick) {
        match tick {
            Tick::None => {}
            Tick::Unknown => self.unknown_ticks.push(id),
            Tick::At(at) => self.ticks.push(Reverse((at, id))),
        }
    }

    fn mark(&mut self, id: u32) {
        let Some(cell) = self.cell_mut(id) else { return };
        if !core::mem::replace(&mut cell.state.marked, true) {
            let window = (cell.end, cell.start);
            self.marks += 1;
            self.marked.entry(window).or_default().push_back(id);
        }
    }

    /// A pane of a cell now.
    fn emit<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        id: u32,
        timing: Timing,
        algebra: &Algebra<K, V, A>,
    ) -> Option<(K, Emission<T>)> {
        self.change(id);
        let slot = self.cells.get_mut(id)?;
        let before = heap_of(&slot.cell, algebra);
        let pane = slot.cell.emit(timing, &self.rules);
        self.heap = self.heap + heap_of(&slot.cell, algebra) - before;
        Some((slot.cell.key.clone(), pane?))
    }

    // The watermark.

    /// Before a cell that has not closed is changed: sets aside the panes that the watermark has brought it to.
    fn set_aside<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        id: u32,
        watermark: i64,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) {
        while let Some(cell) = self.cell(id) {
            let (at, due) = cell.due(&self.rules);
            if at > watermark || due == Due::Close {
                break;
            }
            let rank = (at, cell.end, cell.start);
            if let Some((key, pane)) = self.come_to(id, due, algebra) {
                let heap = pane.heap_bytes(algebra);
                self.asides.insert(rank, key, pane, heap, order);
            }
        }
    }

    fn come_to<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        id: u32,
        due: Due,
        algebra: &Algebra<K, V, A>,
    ) -> Option<(K, Emission<T>)> {
        self.change(id);
        let slot = self.cells.get_mut(id)?;
        let before = heap_of(&slot.cell, algebra);
        let pane = slot.cell.come_to(due, &self.rules);
        self.heap = self.heap + heap_of(&slot.cell, algebra) - before;
        Some((slot.cell.key.clone(), pane?))
    }

    /// Where the next thing to do at a watermark stands.
    pub(crate) fn next_rank(&mut self, watermark: i64, order: Option<Order<K>>) -> Option<Rank> {
        let timer = self.next_timer(watermark, order);
        let aside = self.asides.first_rank().filter(|rank| rank.0 <= watermark);
        match (timer, aside) {
            (Some(timer), Some(aside)) => Some(timer.min(aside)),
            (timer, aside) => timer.or(aside),
        }
    }

    /// Brings the timers up to date as far as that matters for the next one, and finds it.
    fn next_timer(&mut self, watermark: i64, order: Option<Order<K>>) -> Option<Rank> {
        while let Some(&id) = self.batch.last() {
            if self.rank(id) == Some(self.batch_rank) {
                return Some(self.batch_rank);
            }
            self.batch.pop();
            self.rearm(id);
        }
        let rank = self.next_armed(watermark)?;
        if let Some(order) = order {
            while self.next_armed(watermark) == Some(rank) {
                let Some(timer) = self.timers.pop() else { break };
                self.batch.push(timer.cell);
            }
            self.batch_rank = rank;
            let mut batch = core::mem::take(&mut self.batch);
            batch.sort_by(|&a, &b| match (self.cell(a), self.cell(b)) {
                (Some(a), Some(b)) => order(&b.key, &a.key),
                (a, b) => a.is_some().cmp(&b.is_some()),
            });
            self.batch = batch;
        }
        Some(rank)
    }

    /// The rank of the first timer, if it is due and counts.
    fn next_armed(&mut self, watermark: i64) -> Option<Rank> {
        loop {
            let Some(Timer { rank, cell: id }) = self.timers.first() else {
                self.take_timers(watermark)?;
                continue;
            };
            if rank.0 > watermark {
                return None;
            }
            let counts = self.cells.get(id).filter(|slot| slot.armed == rank.0);
            if counts.is_some_and(|slot| slot.cell.rank(&self.rules) == rank) {
                return Some(rank);
            }
            let is_to_rearm = counts.is_some();
            self.timers.pop();
            if is_to_rearm {
                self.rearm(id);
            }
        }
    }

    /// Sorts the timers of the first day, or of a part of it, if it has begun; those that have been moved since go to later ones.
    fn take_timers(&mut self, watermark: i64) -> Option<()> {
        let (instants, ids) = self.timers.take_first(watermark)?;
        for some in ids.chunks(NEAR) {
            // Their misses overlap here, and would not below.
            core::hint::black_box(some.iter().fold(0, |all, &id| all ^ self.touch(id)));
            for &id in some {
                let Some(slot) = self.cells.get_mut(id) else { continue };
                if instants.contains(&slot.armed) {
                    let rank = slot.cell.rank(&self.rules);
                    slot.armed = rank.0;
                    self.timers.put_back(rank, id, armed(&self.cells));
                }
            }
        }
        self.timers.end_taking(*instants.start(), ids);
        Some(())
    }

    fn rank(&self, id: u32) -> Option<Rank> {
        Some(self.cell(id)?.rank(&self.rules))
    }

    /// Sees to it that a cell's timer goes off in time.
    fn arm(&mut self, id: u32) {
        self.arm_if(id, |at, armed| at < armed);
    }

    /// The same after its timer has gone off.
    fn rearm(&mut self, id: u32) {
        self.arm_if(id, |_, _| true);
    }

    fn arm_if(&mut self, id: u32, is_earlier: impl Fn(i64, i64) -> bool) {
        let Some(slot) = self.cells.get_mut(id) else { return };
        let rank = slot.cell.rank(&self.rules);
        if is_earlier(rank.0, slot.armed) {
            slot.armed = rank.0;
            self.timers.push(rank, id, armed(&self.cells));
        }
    }

    /// Does what stands at `rank`, which [`Keyed::next_rank`] gave; the pane, if that is one. Counts the
    /// windows that it comes by.
    pub(crate) fn advance<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        rank: Rank,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
        windows_fired: &mut u64,
    ) -> Option<(K, Emission<T>)> {
        let pane = match self.is_aside_next(rank, order) {
            true => self.asides.pop(),
            false => self.fire_next(rank, algebra, order),
        }?;
        if pane.1.timing == Timing::OnTime && self.last_fired != Some((pane.1.end, pane.1.start)) {
            self.last_fired = Some((pane.1.end, pane.1.start));
            *windows_fired += 1;
        }
        Some(pane)
    }

    /// Whether the next pane at a rank is one that was set aside.
    fn is_aside_next(&self, rank: Rank, order: Option<Order<K>>) -> bool {
        let Some(key) = self.asides.first_key(rank) else { return false };
        match (order, self.batch.last().and_then(|&id| self.cell(id))) {
            (Some(order), Some(cell)) if self.batch_rank == rank => {
                order(key, &cell.key) != Ordering::Greater
            }
            _ => true,
        }
    }

    fn fire_next<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        rank: Rank,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) -> Option<(K, Emission<T>)> {
        let id = match order {
            Some(_) => self.batch.pop()?,
            None => self.timers.pop()?.cell,
        };
        let (_, due) = self.cell(id)?.due(&self.rules);
        if due == Due::Close {
            self.close(id, algebra);
            return None;
        }
        let closes = self.rules.lateness.closes(rank.1) <= rank.0;
        let pane = match due {
            // Nothing comes after it: what is in the cell can be handed out as it is.
            Due::End if closes => self.fire_last(id, algebra),
            _ => self.come_to(id, due, algebra),
        };
        match order {
            // There is more at this rank: the key has its panes one after the other.
            Some(_) if self.rank(id) == Some(rank) => self.batch.push(id),
            _ => self.rearm(id),
        }
        pane
    }

    fn fire_last<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        id: u32,
        algebra: &Algebra<K, V, A>,
    ) -> Option<(K, Emission<T>)> {
        let cell = self.remove(id, algebra)?;
        if !self.rules.fires_at_end() {
            return None;
        }
        let Cell { key, start, end, partial, replaced, state, .. } = cell;
        let partial = partial?;
        Some((
            key,
            Emission {
                start,
                end,
                partial,
                timing: Timing::OnTime,
                index: state.panes,
                replaced: replaced.into_vec(),
            },
        ))
    }

    /// A cell has closed. It goes, unless it owes a pane still.
    fn close<V, A: Aggregate<V, Acc = T>>(&mut self, id: u32, algebra: &Algebra<K, V, A>) {
        match self.cell(id) {
            Some(cell) if cell.state.marked => {}
            _ => {
                self.remove(id, algebra);
            }
        }
    }

    /// The window of the next pane owed at the end of a drain, as (end, start).
    pub(crate) fn next_marked(&self) -> Option<(i64, i64)> {
        self.marked.first_key_value().map(|(&window, _)| window)
    }

    pub(crate) fn fire_marked<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        watermark: i64,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) -> Option<(K, Emission<T>)> {
        loop {
            let mut first = self.marked.first_entry()?;
            let window = *first.key();
            if let (Some(order), true) = (order, first.get().len() > 1) {
                let cells = &self.cells;
                let key = |id: &u32| cells.get(*id).map(|slot| &slot.cell.key);
                first.get_mut().make_contiguous().sort_by(|a, b| match (key(a), key(b)) {
                    (Some(a), Some(b)) => order(a, b),
                    (a, b) => a.is_some().cmp(&b.is_some()),
                });
            }
            let Some(id) = first.get_mut().pop_front() else {
                first.remove();
                continue;
            };
            if first.get().is_empty() {
                first.remove();
            }
            self.marks -= 1;
            // A session that has grown since is another window, and owes nothing for this one.
            let owes = |cell: &&mut Cell<K, T>| cell.state.marked && (cell.end, cell.start) == window;
            let Some(cell) = self.cell_mut(id).filter(owes) else { continue };
            cell.state.marked = false;
            let pane = self.emit(id, Timing::Late, algebra);
            if !self.rules.accepts(window.0, watermark) {
                self.remove(id, algebra);
            }
            return pane;
        }
    }

    // The clock.

    /// The host's clock says `now`: the panes that this brings, at the watermark as it was last observed.
    pub(crate) fn tick<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        now: i64,
        watermark: i64,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
        out: &mut impl FnMut(K, Emission<T>),
    ) {
        let Some(every) = self.rules.trigger.early_ticks else { return };
        for id in core::mem::take(&mut self.unknown_ticks) {
            if let Some(cell) = self.cell_mut(id).filter(|cell| cell.state.tick() == Tick::Unknown) {
                let at = now.saturating_add(every);
                cell.state.set_tick(Tick::At(at));
                self.ticks.push(Reverse((at, id)));
            }
        }
        let mut due = Vec::new();
        while let Some(&Reverse((at, id))) = self.ticks.peek()
            && at <= now
        {
            self.ticks.pop();
            if let Some(cell) = self.cell_mut(id).filter(|cell| cell.state.tick() == Tick::At(at)) {
                cell.state.set_tick(Tick::None);
                if cell.state.is_new && watermark < cell.end {
                    due.push(id);
                }
            }
        }
        due.sort_by(|&a, &b| match (self.cell(a), self.cell(b)) {
            (Some(a), Some(b)) => (a.end, a.start)
                .cmp(&(b.end, b.start))
                .then_with(|| order.map_or(Ordering::Equal, |order| order(&a.key, &b.key))),
            (a, b) => a.is_some().cmp(&b.is_some()),
        });
        for id in due {
            self.set_aside(id, watermark, algebra, order);
            if self.cell(id).is_some_and(|cell| cell.state.is_new)
                && let Some((key, pane)) = self.emit(id, Timing::Early, algebra)
            {
                out(key, pane);
            }
            self.arm(id);
        }
    }

    // Looking.

    /// The first window end of which a pane waits to be handed out, if there is one. O(what waits).
    pub(crate) fn waiting(&self, watermark: i64) -> Option<i64> {
        let aside = self.asides.iter().map(|(_, _, pane)| pane.end).min();
        let marked = self.marked.first_key_value().map(|(&(end, _), _)| end);
        let cells = self.timers.due(watermark).chain(self.batch.iter().copied());
        let due = cells.filter_map(|id| self.rank(id)).filter(|rank| rank.0 <= watermark);
        [aside, marked, due.map(|rank| rank.1).min()].into_iter().flatten().min()
    }

    /// The latest end of a window that holds something and has started by `latest`, if windows have ends. O(cells).
    pub(crate) fn last_end(&self, latest: i64) -> Option<i64> {
        match self.rules.assigner {
            Assigner::Global => None,
            _ => self.cells().filter(|cell| cell.start <= latest).map(|cell| cell.end).max(),
        }
    }

    /// The lowest window end of which an event to come may still cause a pane.
    pub(crate) fn first_open_end(&self, watermark: i64) -> Option<i64> {
        match &self.rules.assigner {
            Assigner::Session { .. } => Some(self.rules.lateness.closed_up_to(watermark)?.saturating_add(1)),
            Assigner::Global => None,
            assigner => self.rules.lateness.first_open_end(assigner, watermark),
        }
    }

    /// A key's window, if something is in it.
    pub(crate) fn window(
        &self,
        hash: u64,
        key: &K,
        window: (i64, i64),
        hashing: &Hashing<K>,
    ) -> Option<&Cell<K, T>> {
        let hash = match self.rules.assigner {
            Assigner::Session { .. } => hash,
            _ => window_hash(hashing, hash, window),
        };
        self.cell(self.find(hash, |cell| cell.key == *key && (cell.start, cell.end) == window)?)
    }

    // Cells.

    /// A session that is most likely of the key with this hash, if that has one.
    #[inline]
    pub(crate) fn near(&self, hash: u64) -> Option<u32> {
        self.index.find(hash, |_| true)
    }

    /// Reads something of a cell, so that it is near when its key's event comes.
    #[inline(always)]
    pub(crate) fn touch(&self, id: u32) -> i64 {
        self.cell(id).map_or(0, |cell| cell.start ^ i64::from(cell.state.ended))
    }

    fn find(&self, hash: u64, is: impl Fn(&Cell<K, T>) -> bool) -> Option<u32> {
        self.index.find(hash, |id| self.cell(id).is_some_and(&is))
    }

    fn insert<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        hash: u64,
        mut cell: Cell<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> u32 {
        if let Assigner::Session { .. } = self.rules.assigner {
            self.note_others(hash, &mut cell);
        }
        self.heap += heap_of(&cell, algebra);
        let tick = cell.state.tick();
        let id = self.cells.next();
        self.change(id);
        self.cells.insert(Slot { hash, armed: i64::MAX, cell });
        let cells = &self.cells;
        self.index.insert(hash, id, |id| cells.get(id).map_or(0, |slot| slot.hash));
        self.rearm(id);
        self.await_tick(id, tick);
        id
    }

    fn remove<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        id: u32,
        algebra: &Algebra<K, V, A>,
    ) -> Option<Cell<K, T>> {
        self.change(id);
        let slot = self.cells.remove(id)?;
        self.index.remove(slot.hash, id);
        self.heap = self.heap.saturating_sub(heap_of(&slot.cell, algebra));
        Some(slot.cell)
    }

    // Restoring.

    /// Takes a cell from a snapshot, or says why it cannot be one.
    pub(crate) fn restore_cell<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        mut cell: Cell<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> Result<(), &'static str> {
        // (It may have been of another trigger.)
        let trigger = &self.rules.trigger;
        cell.state.keep(trigger.early_time.is_some(), trigger.early_ticks.is_some());
        let window = (cell.start, cell.end);
        let key_hash = algebra.hashing.hash(&cell.key);
        let is_session = matches!(self.rules.assigner, Assigner::Session { .. });
        let hash = if is_session { key_hash } else { window_hash(&algebra.hashing, key_hash, window) };
        if cell.start >= cell.end || (!is_session && !self.rules.assigner.has(window)) {
            return Err("a window that is not one of the definition's");
        }
        if is_session && (cell.last < cell.start || cell.reach < cell.end) {
            return Err("a session that ends before its events");
        }
        let same = |other: &Cell<K, T>| other.key == cell.key && (other.start, other.end) == window;
        if self.find(hash, same).is_some() {
            return Err("a window of a key stands twice");
        }
        if cell.state.marked && (!cell.state.ended || self.rules.late_firing != LateFiring::OncePerDrain) {
            return Err("a late pane is owed for a window that fires none at the end of a drain");
        }
        let marked = cell.state.marked;
        let id = self.insert(hash, cell, algebra);
        if marked {
            self.marks += 1;
            self.marked.entry((window.1, window.0)).or_default().push_back(id);
        }
        Ok(())
    }

    pub(crate) fn restore_aside<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        rank: Rank,
        key: K,
        pane: Emission<T>,
        algebra: &Algebra<K, V, A>,
    ) -> Result<(), &'static str> {
        if self.asides.last_rank().is_some_and(|last| rank < last) {
            return Err("panes set aside are not in order");
        }
        // (Those of one rank come in their order, too.)
        let heap = pane.heap_bytes(algebra);
        self.asides.insert(rank, key, pane, heap, None);
        Ok(())
    }

    pub(crate) fn restore_last_fired(&mut self, window: Option<(i64, i64)>) {
        self.last_fired = window;
    }

    /// Returns memory when hardly anything of it has been used for the second time in a row, or the input has
    /// ended. (Of many cells what is left stays where it is: pages go as they become empty.)
    pub(crate) fn shrink<V, A: Aggregate<V, Acc = T>>(&mut self, at_end: bool, algebra: &Algebra<K, V, A>) {
        if self.cut.is_some() {
            // Cells would get other numbers than those that the snapshot being taken has begun with.
            return;
        }
        let sparse = self.cells.is_sparse() && self.live() <= FEW;
        let again = core::mem::replace(&mut self.sparse, sparse);
        if !(sparse && again || at_end && self.live() == 0) {
            return;
        }
        // (They get other numbers: the next snapshot has to hold all of them.)
        let before = core::mem::replace(self, Self::new(self.rules.clone()));
        self.last_fired = before.last_fired;
        self.asides = before.asides;
        for slot in before.cells.into_slots() {
            // What was taken once can be taken again.
            let _ = self.restore_cell(slot.cell, algebra);
        }
    }
}

/// Cells that can be put together in one call.
const FEW: usize = 512;

impl<K, T> Cell<K, T> {
    fn new(key: K, (start, end): (i64, i64), partial: T, watermark: i64) -> Self {
        let state = State::new(end <= watermark);
        let (last, reach) = (start, end);
        Self { key, start, end, last, reach, partial: Some(partial), replaced: Box::default(), state }
    }
}

impl Definition {
    /// Whether the end of a window is what causes a pane there: a continuous trigger counts the end among its
    /// instants.
    fn fires_at_end(&self) -> bool {
        self.trigger.base == Base::OnTime
    }

    /// Whether a window that ends at `end` still accepts.
    fn accepts(&self, end: i64, watermark: i64) -> bool {
        watermark < self.lateness.closes(end)
    }
}

fn window_hash<K>(hashing: &Hashing<K>, key: u64, window: (i64, i64)) -> u64 {
    hashing.hash_by_seed(&(key, window))
}

fn heap_of<K, V, A: Aggregate<V>>(cell: &Cell<K, A::Acc>, algebra: &Algebra<K, V, A>) -> usize {
    let replaced = &cell.replaced;
    let partials = cell.partial.iter().chain(replaced.iter().map(|pane| &pane.partial));
    let heap: usize = partials.map(|partial| algebra.aggregate.heap_bytes(partial)).sum();
    heap + replaced.len() * size_of::<Replaced<A::Acc>>()
}

impl<T> Emission<T> {
    pub(crate) fn heap_bytes<K, V, A: Aggregate<V, Acc = T>>(&self, algebra: &Algebra<K, V, A>) -> usize {
        let partials = self.replaced.iter().map(|pane| &pane.partial).chain([&self.partial]);
        let heap: usize = partials.map(|partial| algebra.aggregate.heap_bytes(partial)).sum();
        heap + self.replaced.capacity() * size_of::<Replaced<T>>()
    }
}
