//! What of the slices is due, and how far the host has drained it.
//!
//! What is due follows from the slices, so what is stored is a cursor for each definition. Late events wait in
//! the queue *with their slices unchanged*, because windows due before them must not see them. All slices that a
//! due window has are sealed for direct insertion (the operator sends such events to the queue), so tables
//! stand still while they are drained.

mod sliced;

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::hash::Hash;

use crate::aggregate::Aggregate;
use crate::grid::Bounds;
use crate::slice::{Algebra, Content, Hashing, KeyScan, PutEntry, Run, Scan, Spot, Store};
use sliced::Applied;
pub(crate) use sliced::{Reissue, Sliced};

/// How keys compare, where output is ordered.
pub(crate) type Order<K> = fn(&K, &K) -> Ordering;

/// The window being drained.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Which of `Firing::sliced` has it.
    pub(crate) place: usize,
    pub(crate) window: Bounds,
    from: From,
    /// How far its content has been scanned, or `None` where `Firing::list` has what remains.
    scan: Option<Scan>,
    /// For how many numbers its content may be made ahead.
    credit: usize,
}

/// Where the content of a window is.
#[derive(Clone, Copy, Debug)]
enum From {
    /// In the only slice that has anything of it.
    Slice(i64),
    /// Combined by the definition at this place.
    Combined(usize),
}

/// A late event that has been applied, and the panes that it still causes.
#[derive(Debug)]
pub(crate) struct Refire<K> {
    pub(crate) key: K,
    pub(crate) slice: i64,
    /// Whether the key was in the slice before.
    pub(crate) was_there: bool,
    /// The watermark that it was admitted under.
    pub(crate) at: i64,
    /// Which of `Firing::sliced` is next, and where the last window was that it was asked for.
    pub(crate) place: usize,
    pub(crate) after: i64,
    /// Definitions from this number on have to wait until something else has been handed out.
    pub(crate) until: u32,
}

/// Where the next pane is.
pub(crate) enum Ready {
    /// In the content of the window being drained.
    OnTime { spot: Spot },
    /// The window being drained has nothing for this key, in `Firing::emitted_key`.
    Empty,
    /// In `Firing::late`, of the definition at this place.
    Late { place: usize, window: Bounds, index: u32 },
}

#[derive(Debug)]
pub(crate) struct Firing<K, T> {
    /// The definitions whose windows are made of slices.
    pub(crate) sliced: Vec<Sliced<K, T>>,
    pub(crate) drain: Option<Drain>,
    /// Spots still to drain, last first, and keys to fire empty for.
    list: Vec<Spot>,
    empty: Vec<K>,
    pub(crate) refire: Option<Refire<K>>,
    /// The key of the last pane that was empty; the key and partial of the last that was late.
    emitted_key: Option<K>,
    late: Option<(K, T)>,
    /// What a snapshot that is being taken still has to hold of the window being drained.
    cut: Option<Cut<K>>,
}

/// The keys that had not been handed out when a snapshot began.
#[derive(Debug)]
struct Cut<K> {
    put: fn(&K, &mut Vec<u8>),
    left: Left,
    /// So many of `Firing::empty`, which are handed out from its end, are still to be held.
    empty: usize,
    run: Run,
}

/// Keys of the window being drained, in the order in which they are handed out.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    /// So many of `Firing::list`,
    listed: usize,
    /// and then those from there on.
    keys: Option<KeyScan>,
    /// How many are held already that have not been handed out.
    ahead: usize,
}

impl<K, T> Firing<K, T> {
    pub(crate) fn new(sliced: Vec<Sliced<K, T>>) -> Self {
        let (list, empty) = (Vec::new(), Vec::new());
        Self { sliced, drain: None, list, empty, refire: None, emitted_key: None, late: None, cut: None }
    }

    pub(crate) fn bytes(&self) -> usize {
        let sliced: usize = self.sliced.iter().map(Sliced::bytes).sum();
        sliced + self.list.capacity() * size_of::<Spot>() + self.empty.capacity() * size_of::<K>()
    }

    /// Bytes by which firing may make this grow where the slices have room for so many entries.
    pub(crate) fn growth(&self, entries: usize, is_ordered: bool) -> usize {
        let combined = if self.slices_per_slide() > 0 { &self.sliced[..] } else { &[] };
        let sliced: usize = combined.iter().map(|sliced| sliced.growth(entries)).sum();
        let listed = if is_ordered { entries.saturating_sub(self.list.capacity()) } else { 0 };
        sliced + listed * size_of::<Spot>()
    }

    /// By how many slices windows move on at most that may be made of several; 0 without such.
    pub(crate) fn slices_per_slide(&self) -> usize {
        let combined = self.sliced.iter().filter(|sliced| sliced.is_combined());
        combined.map(|sliced| sliced.per_slide).max().unwrap_or(0)
    }

    /// The first window end of which a pane may still be waiting, if any is: for
    /// [`Windowing::output_watermark`](crate::Windowing::output_watermark). `event` is the watermark of the
    /// first late event that waits.
    pub(crate) fn waiting(
        &self,
        store: &Store<K, T>,
        (watermark, before_end): (i64, i64),
        event: Option<i64>,
    ) -> Option<i64> {
        let ends = self.sliced.iter().enumerate().flat_map(|(place, sliced)| {
            let refired = self.refire.as_ref().filter(|refire| refire.place <= place).and_then(|refire| {
                let after = if refire.place == place { refire.after } else { i64::MIN };
                sliced.fires_again(store.lattice().instant(refire.slice), refire.at, after)
            });
            [
                // Whatever waits behind it was admitted later, into windows that were open later.
                event.and_then(|at| sliced.lateness.first_open_end(&sliced.assigner, at)),
                sliced.next_due(store, watermark, before_end).0.map(|window| window.1),
                refired.map(|window| window.1),
                sliced.marked.first_key_value().map(|(&(end, _), _)| end),
            ]
        });
        ends.chain([self.drain.as_ref().map(|drain| drain.window.1)]).flatten().min()
    }

    /// Whether no late event is about to fire.
    pub(crate) fn is_quiet(&self) -> bool {
        self.refire.is_none() && self.sliced.iter().all(|sliced| sliced.marked.is_empty())
    }

    /// The content of the window being drained and how far it has been scanned, where that is all there is to it.
    pub(crate) fn scanned<'a>(
        &'a mut self,
        store: &'a Store<K, T>,
    ) -> Option<(Content<'a, K, T>, &'a mut Scan)> {
        let drain = self.drain.as_mut().filter(|_| self.empty.is_empty() && self.cut.is_none())?;
        Some((drain.from.content(&self.sliced, store), drain.scan.as_mut()?))
    }

    /// What is due first, as (end, start) and the place of its definition. Passes what has nothing to fire.
    pub(crate) fn next_due(
        &mut self,
        store: &Store<K, T>,
        (watermark, before_end): (i64, i64),
    ) -> Option<((i64, i64), usize)> {
        let due = self.sliced.iter_mut().enumerate().filter_map(|(place, sliced)| {
            let (due, passed) = sliced.next_due(store, watermark, before_end);
            sliced.fired = sliced.fired.max(passed.min(watermark));
            due.map(|(start, end)| ((end, start), place))
        });
        due.min()
    }

    /// The first window that late events have marked, of those that had closed at a watermark if one is given: as
    /// (end, start) and the place of its definition.
    pub(crate) fn first_marked(&self, closed_at: Option<i64>) -> Option<((i64, i64), usize)> {
        let marked = self.sliced.iter().enumerate().filter_map(|(place, sliced)| {
            let (&window, _) = sliced.marked.first_key_value()?;
            closed_at.is_none_or(|at| sliced.has_closed(window.0, at)).then_some((window, place))
        });
        marked.min()
    }

    /// The latest end of a window that has a slice and has started by `latest`.
    pub(crate) fn last_end(&self, store: &Store<K, T>, slice: i64, latest: i64) -> Option<i64> {
        let instant = store.lattice().instant(slice);
        let is_after = slice > store.lattice().slice_of(latest);
        let ends = self.sliced.iter().filter_map(|sliced| match is_after {
            false => sliced.assigner.last_of(instant).map(|(_, end)| end),
            true => sliced.assigner.last_of(latest).map(|(_, end)| end).filter(|&end| end > instant),
        });
        ends.max()
    }

    /// Before which every instant is in windows of all definitions, and all of those have closed.
    pub(crate) fn late_before(&self, watermark: i64) -> i64 {
        self.sliced.iter().map(|sliced| sliced.late_before(watermark)).min().unwrap_or(i64::MIN)
    }

    /// The next watermark at which a window becomes due or closes.
    pub(crate) fn next_change(&self, watermark: i64) -> i64 {
        self.sliced.iter().map(|sliced| sliced.next_change(watermark)).min().unwrap_or(i64::MAX)
    }

    /// Whatever ends by `reached` and has not fired is empty.
    pub(crate) fn pass(&mut self, reached: i64) {
        for sliced in &mut self.sliced {
            sliced.fired = sliced.fired.max(reached);
        }
    }

    /// What the last pane came from is needed no more.
    pub(crate) fn forget(&mut self) {
        self.late = None;
        self.emitted_key = None;
    }

    pub(crate) fn late(&self) -> Option<&(K, T)> {
        self.late.as_ref()
    }

    pub(crate) fn emitted_key(&self) -> Option<&K> {
        self.emitted_key.as_ref()
    }

    /// The keys of the window being drained, and their partials.
    #[inline]
    pub(crate) fn content<'a>(&'a self, drain: &Drain, store: &'a Store<K, T>) -> Content<'a, K, T> {
        drain.from.content(&self.sliced, store)
    }
}

// A snapshot that is being taken.
impl<K, T> Firing<K, T> {
    /// Begins to hold the keys that have not been handed out, and what late events have left.
    pub(crate) fn begin_cut(
        &mut self,
        put: fn(&K, &mut Vec<u8>),
        put_reissue: PutEntry<K, Reissue>,
        store: &Store<K, T>,
    ) {
        self.sliced.iter_mut().for_each(|sliced| sliced.begin_cut(put_reissue));
        if self.drain.is_some() {
            let (left, empty) = (self.left(store), self.empty.len());
            self.cut = Some(Cut { put, left, empty, run: Run::new() });
        }
    }

    /// The keys that have not been handed out.
    fn left(&self, store: &Store<K, T>) -> Left {
        match self.drain.as_ref().map(|drain| drain.scan) {
            None => Left::default(),
            Some(Some(scan)) => Left { keys: Some(KeyScan::from(scan)), ..Left::default() },
            Some(None) => {
                let keys = store.sealed.numbered().map(KeyScan::from_spot);
                Left { listed: self.list.len(), keys, ahead: 0 }
            }
        }
    }

    /// Holds some of what late events have left, and gives out what has been held of a definition's window, and at how much it
    /// has looked; none if all is held.
    pub(crate) fn hold_reissues(&mut self, most: usize) -> Option<((u32, i64), Run, usize)> {
        self.sliced.iter_mut().find_map(|sliced| {
            let (end, run, looked) = sliced.hold_some(most)?;
            Some(((sliced.number, end), run, looked))
        })
    }

    pub(crate) fn end_cut(&mut self) {
        self.cut = None;
        self.sliced.iter_mut().for_each(Sliced::end_cut);
    }
}

impl<K> Cut<K> {
    /// Holds the next of the keys to fire empty for, if there is one; whether there was.
    fn hold_empty(&mut self, keys: &[K]) -> bool {
        let Some(next) = self.empty.checked_sub(1) else { return false };
        self.empty = next;
        self.run.put(|records| (self.put)(&keys[next], records));
        true
    }
}

impl From {
    #[inline]
    fn content<'a, K, T>(self, sliced: &'a [Sliced<K, T>], store: &'a Store<K, T>) -> Content<'a, K, T> {
        match self {
            Self::Slice(slice) => store.get(slice).map_or(Content::Nothing, Content::One),
            Self::Combined(place) => {
                sliced.get(place).map_or(Content::Nothing, |sliced| sliced.combine.content(&store.sealed))
            }
        }
    }
}

// A snapshot that is being taken, of keys that may have no number yet.
impl<K: Hash + Eq + Clone, T> Firing<K, T> {
    /// Holds some keys, and gives out what has been held, and at how many it has looked; none if all are held.
    pub(crate) fn hold_some(
        &mut self,
        most: usize,
        store: &Store<K, T>,
        hashing: &Hashing<K>,
    ) -> Option<(Run, usize)> {
        let more = (0..most).all(|_| self.hold_next(store, hashing).is_some() || self.hold_empty());
        let run = self.cut.as_mut()?.run.take();
        if !more {
            self.cut = None;
        }
        Some((run, most))
    }

    /// Looks for one more key to hold: whether that was one, or none if all are held.
    fn hold_next(&mut self, store: &Store<K, T>, hashing: &Hashing<K>) -> Option<bool> {
        let (Some(drain), Some(cut)) = (&self.drain, &mut self.cut) else { return None };
        let content = drain.from.content(&self.sliced, store);
        let key = next_left(&mut cut.left, &content, &self.list, hashing)?;
        if let Some(key) = key {
            cut.left.ahead += 1;
            cut.run.put(|records| (cut.put)(key, records));
        }
        Some(key.is_some())
    }

    /// Holds one more of the keys to fire empty for; whether there was one.
    fn hold_empty(&mut self) -> bool {
        let held = self.cut.as_mut().filter(|_| self.drain.is_some()).map(|cut| cut.hold_empty(&self.empty));
        held == Some(true)
    }

    /// The next key is about to be handed out: it is held before.
    fn hand_out(&mut self, store: &Store<K, T>, hashing: &Hashing<K>) {
        if self.cut.as_ref().is_some_and(|cut| cut.left.ahead == 0) {
            while self.hold_next(store, hashing) == Some(false) {}
        }
        if let Some(cut) = &mut self.cut {
            cut.left.ahead = cut.left.ahead.saturating_sub(1);
        }
    }
}

/// Looks where the next key may be that is left; none if none is.
fn next_left<'a, K: Hash + Eq + Clone, T>(
    left: &mut Left,
    content: &Content<'a, K, T>,
    list: &[Spot],
    hashing: &Hashing<K>,
) -> Option<Option<&'a K>> {
    if let Some(next) = left.listed.checked_sub(1) {
        left.listed = next;
        return Some(list.get(next).and_then(|&spot| content.at(spot)).map(|(key, ..)| key));
    }
    content.look_at_key(left.keys.as_mut()?, hashing)
}

impl<K: Hash + Eq + Clone, T: Clone> Firing<K, T> {
    /// The next pane of the window being drained: what almost every poll comes to.
    #[inline(always)]
    pub(crate) fn next_drained<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) -> Option<Ready> {
        if !self.empty.is_empty() {
            return self.next_with_empty(store, &algebra.hashing, order);
        }
        loop {
            let drain = self.drain.as_mut()?;
            let content = drain.from.content(&self.sliced, store);
            let spot = match &mut drain.scan {
                Some(scan) => content.next(scan),
                None => self.list.last().copied(),
            };
            let drain_from = drain.from;
            match (spot, drain_from) {
                (Some(spot), _) => {
                    if self.cut.is_some() {
                        self.hand_out(store, &algebra.hashing);
                    }
                    self.list.pop();
                    if matches!(drain_from, From::Combined(_)) {
                        self.prepare_ahead(1, store, algebra);
                    }
                    return Some(Ready::OnTime { spot });
                }
                (None, From::Combined(place)) if self.prepare_some(place, store, algebra) => {}
                (None, _) => return None,
            }
        }
    }

    /// So many panes more have been handed out: makes the content ahead of what is handed out next for a few times as many keys,
    /// so that numbers whose keys are not in the window, however many stand next to each other, do not come all at once.
    #[inline]
    pub(crate) fn prepare_ahead<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        panes: usize,
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        const AHEAD: usize = 2;
        let Some(Drain { from: From::Combined(place), scan: Some(_), credit, .. }) = &mut self.drain else {
            return;
        };
        let place = *place;
        *credit += AHEAD * panes;
        while let Some(credit) = self.drain.as_mut().map(|drain| &mut drain.credit)
            && let Some(part) = self.sliced[place].combine.next_part(store.sealed.ids.beyond() as u32)
        {
            let Some(rest) = credit.checked_sub(part.len()) else { return };
            *credit = rest;
            self.prepare_some(place, store, algebra);
        }
    }

    /// Makes the content of some keys more of the window being drained, which is of the definition at this place: those that
    /// have a number in the order of that, then all others, which are listed. Whether there were any.
    #[inline(never)]
    fn prepare_some<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        place: usize,
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> bool {
        let hashing = &algebra.hashing;
        if let Some(part) = self.sliced[place].combine.next_part(store.sealed.ids.beyond() as u32) {
            self.sliced.iter_mut().for_each(|each| each.combine.evict_part(&part, &store.sealed, algebra));
            store.sealed.slide_part(&part, hashing);
            self.sliced[place].combine.prepare_part(part, &store.sealed, algebra);
            return true;
        }
        self.sliced[place].combine.end_parts();
        self.sliced.iter_mut().for_each(|each| each.combine.end_evicting());
        let before = store.sealed.numbered().map_or(0, |(_, keys)| keys);
        let (numbered, more) = store.slide_on(hashing);
        if numbered.len() == 0 {
            return false;
        }
        let ids = store.sealed.ids.beyond() as u32;
        self.sliced[place].combine.prepare_new(store.sealed.entries_of(&numbered), ids, algebra);
        self.list.extend(store.sealed.numbers_of(&numbered).rev().map(|id| id as usize));
        if let Some(drain) = &mut self.drain {
            drain.scan = None;
        }
        if let Some(left) = self.cut.as_mut().map(|cut| &mut cut.left)
            && let Some(mut keys) = left.keys.take()
        {
            // (All that were handed out are held, so those that had a number are.)
            keys.pass_numbers();
            match more {
                true => left.keys = Some(keys),
                false => left.listed = before + numbered.len() - keys.found,
            }
        }
        true
    }

    /// The same where there are keys to fire empty for: they come where their order has them, or last.
    #[inline(never)]
    fn next_with_empty(
        &mut self,
        store: &Store<K, T>,
        hashing: &Hashing<K>,
        order: Option<Order<K>>,
    ) -> Option<Ready> {
        let drain = self.drain.as_mut()?;
        let content = drain.from.content(&self.sliced, store);
        let spot = match &mut drain.scan {
            Some(scan) => content.next(scan),
            None => self.list.last().copied(),
        };
        let is_first = |spot: Spot| match (order, content.at(spot), self.empty.last()) {
            (Some(order), Some((key, ..)), Some(empty)) => order(key, empty) == Ordering::Less,
            _ => true,
        };
        if let Some(spot) = spot.filter(|&spot| is_first(spot)) {
            self.hand_out(store, hashing);
            self.list.pop();
            return Some(Ready::OnTime { spot });
        }
        let (place, end) = (drain.place, drain.window.1);
        if let Some(cut) = self.cut.as_mut().filter(|cut| cut.empty == self.empty.len()) {
            cut.hold_empty(&self.empty);
        }
        let key = self.empty.pop()?;
        if let Some(sliced) = self.sliced.get_mut(place) {
            sliced.note_empty(end, &key, hashing);
        }
        self.emitted_key = Some(key);
        Some(Ready::Empty)
    }

    /// Goes on with what has begun: the window being drained, or the windows of a late event.
    pub(crate) fn go_on<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
        reached: i64,
    ) -> Option<Ready> {
        if let Some(ready) = self.next_drained(store, algebra, order) {
            return Some(ready);
        }
        if let Some(drain) = self.drain.take() {
            if let Some(cut) = &mut self.cut {
                // (All of its keys have been held, each before it was handed out.)
                cut.left = Left::default();
            }
            if let Some(sliced) = self.sliced.get_mut(drain.place) {
                sliced.fired = drain.window.1;
            }
            self.expire(store, algebra, reached);
        }
        self.next_refired(store, algebra, order)
    }

    /// Begins to drain a window that is due.
    pub(crate) fn begin<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (end, start): (i64, i64),
        place: usize,
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) {
        let window = (start, end);
        let slices = store.lattice().slices(window);
        let from = match source(place, slices, store) {
            // It will have to be sealed for the next window, and that takes no time for a key now.
            From::Slice(only) if only >= store.sealed.before && self.needs_again(only, end, store) => {
                From::Combined(place)
            }
            from => from,
        };
        let Some(sliced) = self.sliced.get_mut(place) else { return };
        self.list.clear();
        if let From::Combined(_) = from {
            store.begin_slide(slices, &algebra.hashing);
            sliced.combine.prepare(slices, &store.sealed);
            let is_eager = order.is_some() || sliced.fill.is_some();
            let evicting: usize = self.sliced.iter().map(|each| each.combine.evicting(&store.sealed)).sum();
            self.sliced[place].combine.bound_parts(evicting);
            // (Where all keys have to be known.)
            while is_eager && self.prepare_some(place, store, algebra) {
                self.list.clear();
            }
        }
        let store = &*store;
        let content = from.content(&self.sliced, store);
        let has = |hash, key: &K| content.spot_of(hash, key).is_some();
        self.empty = self.sliced[place].to_fill(window, store, algebra, has);
        let mut scan = Some(Scan::default());
        if let Some(order) = order {
            list_all(content, &mut self.list, order);
            self.empty.sort_unstable_by(|a, b| order(b, a));
            scan = None;
        }
        self.drain = Some(Drain { place, window, from, scan, credit: 0 });
    }

    /// Whether a window that ends after `end` has this slice, and others.
    fn needs_again(&self, slice: i64, end: i64, store: &Store<K, T>) -> bool {
        self.sliced.iter().any(|sliced| sliced.needs_again(slice, end, store.lattice()))
    }

    /// Drains a window from where only `keys` remain: where a snapshot left it.
    pub(crate) fn resume<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        place: usize,
        window: Bounds,
        keys: &[K],
        store: &Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> Result<(), &'static str> {
        let slices = store.lattice().slices(window);
        let from = source(place, slices, store);
        let sliced = &self.sliced[place];
        if matches!(from, From::Combined(_)) && !sliced.combine.is_at(slices) {
            return Err("the window being drained is not the one that fired last");
        }
        let content = from.content(&self.sliced, store);
        self.list.clear();
        for key in keys.iter().rev() {
            match content.spot_of(algebra.hashing.hash(key), key) {
                Some(spot) => self.list.push(spot),
                None if sliced.fill.is_some() => self.empty.push(key.clone()),
                None => return Err("a key still to be drained is not in its window"),
            }
        }
        self.drain = Some(Drain { place, window, from, scan: None, credit: 0 });
        Ok(())
    }

    /// The keys of the window being drained that have not been handed out, in the order in which they will.
    pub(crate) fn remaining<'a>(
        &'a self,
        store: &'a Store<K, T>,
        hashing: &Hashing<K>,
        order: Option<Order<K>>,
    ) -> Vec<&'a K> {
        let Some(drain) = &self.drain else { return Vec::new() };
        let (content, mut left) = (self.content(drain, store), self.left(store));
        let looked = core::iter::from_fn(|| next_left(&mut left, &content, &self.list, hashing));
        let mut keys: Vec<&K> = looked.flatten().chain(self.empty.iter().rev()).collect();
        if let Some(order) = order {
            keys.sort_unstable_by(|a, b| order(a, b));
        }
        keys
    }

    /// Takes a late event that was admitted at the watermark `at` into its slice; its panes are next, those of
    /// definitions before `until`.
    pub(crate) fn apply<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        (at, until): (i64, u32),
        key: K,
        (slice, partial): (i64, T),
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        let aggregate = &algebra.aggregate;
        let hash = algebra.hashing.hash(&key);
        let heap = aggregate.heap_bytes(&partial);
        let was_there = match store.get_mut(slice, hash, &key) {
            Some(whole) => {
                let before = aggregate.heap_bytes(whole);
                aggregate.combine(whole, &partial);
                let after = aggregate.heap_bytes(whole);
                store.add_heap(slice, before, after);
                true
            }
            None => {
                store.insert(slice, hash, key.clone(), partial, heap, &algebra.hashing);
                false
            }
        };
        for sliced in &mut self.sliced {
            sliced.combine.repair(slice, hash, &key, store, algebra);
        }
        self.refire = Some(Refire { key, slice, was_there, at, place: 0, after: i64::MIN, until });
    }

    /// The late event that was applied last goes on with the definitions before `until`.
    pub(crate) fn go_on_until(&mut self, until: u32) {
        if let Some(refire) = &mut self.refire {
            refire.until = until;
        }
    }

    fn next_refired<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        store: &Store<K, T>,
        algebra: &Algebra<K, V, A>,
        order: Option<Order<K>>,
    ) -> Option<Ready> {
        while let Some(refire) = &mut self.refire {
            let Some(sliced) = self.sliced.get_mut(refire.place) else {
                self.refire = None;
                break;
            };
            if sliced.number >= refire.until {
                break;
            }
            let instant = store.lattice().instant(refire.slice);
            let Some(window) = sliced.fires_again(instant, refire.at, refire.after) else {
                (refire.place, refire.after) = (refire.place + 1, i64::MIN);
                continue;
            };
            refire.after = window.1;
            let hash = algebra.hashing.hash(&refire.key);
            let applied =
                Applied { key: &refire.key, hash, slice: refire.slice, was_there: refire.was_there };
            let Some(index) = sliced.note_late(window, applied, store, &algebra.hashing, order) else {
                continue;
            };
            let (partial, _) = algebra.fold(store, store.lattice().slices(window), hash, &refire.key)?;
            self.late = Some((refire.key.clone(), partial));
            return Some(Ready::Late { place: refire.place, window, index });
        }
        None
    }

    /// The next pane of a definition that late events have marked.
    pub(crate) fn fire_marked<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        place: usize,
        store: &Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) -> Option<Ready> {
        let (window, key, partial, index) = self.sliced.get_mut(place)?.fire_marked(store, algebra)?;
        self.late = Some((key, partial));
        Some(Ready::Late { place, window, index })
    }

    /// Expires the slices that no window needs any more, all having fired and, by the watermark reached, closed.
    pub(crate) fn expire<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
        reached: i64,
    ) {
        let owes = self.sliced.iter().any(|sliced| !sliced.marked.is_empty());
        if self.sliced.is_empty() || owes {
            return;
        }
        let is_end = reached == i64::MAX;
        let needed_from = |sliced: &Sliced<K, T>| sliced.needed_from(store, reached);
        let needed = self.sliced.iter().map(needed_from).min().unwrap_or(i64::MAX);
        if store.sealed.expires(needed) && store.sealed.is_being_left() && !store.sealed.all_expire(needed) {
            // (Most often that was done when the last window was drained.)
            self.let_leave(store, algebra);
        }
        for sliced in &mut self.sliced {
            let needed = sliced.needed_from(store, reached);
            sliced.combine.leave(needed, store.exit());
            sliced.forget_closed(reached);
        }
        let returns = store.expire_before(needed, is_end);
        if returns {
            (self.list, self.empty) = (Vec::new(), Vec::new());
        }
        if returns || store.sealed.is_left() {
            // Nothing that was combined is in any window to come.
            self.sliced.iter_mut().for_each(|sliced| sliced.combine.clear(store.exit()));
            store.sealed.leave_at_once();
        }
        if is_end {
            store.return_all();
        }
    }

    /// Has all columns go that have expired before.
    fn let_leave<V, A: Aggregate<V, Acc = T>>(
        &mut self,
        store: &mut Store<K, T>,
        algebra: &Algebra<K, V, A>,
    ) {
        let all = 0..store.sealed.ids.beyond() as u32;
        for sliced in &mut self.sliced {
            sliced.combine.evict_part(&all, &store.sealed, algebra);
            sliced.combine.end_evicting();
        }
        store.sealed.leave_all(&algebra.hashing);
    }
}

/// Where the content of a window of these slices is, once it has been combined if it must be.
fn source<K, T>(place: usize, (first, beyond): (i64, i64), store: &Store<K, T>) -> From {
    let mut live = store.live_in(first, beyond);
    match (live.next(), live.next()) {
        (Some(only), None) => From::Slice(only),
        _ => From::Combined(place),
    }
}

/// All spots of a window's content, the last by key first.
fn list_all<K: Hash + Eq + Clone, T>(content: Content<'_, K, T>, list: &mut Vec<Spot>, order: Order<K>) {
    let mut scan = Scan::default();
    list.clear();
    list.reserve_exact(content.len_at_most());
    while let Some(spot) = content.next(&mut scan) {
        list.push(spot);
    }
    let key = |spot: &Spot| content.at(*spot).map(|(key, ..)| key);
    list.sort_unstable_by(|a, b| match (key(a), key(b)) {
        (Some(a), Some(b)) => order(b, a),
        (a, b) => a.is_some().cmp(&b.is_some()),
    });
}
