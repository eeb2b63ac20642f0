//! Tables of many keys, which grow and go a little at a time: what comes out must not depend on it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use floodmark::{
    Aggregate, Collect, Config, Count, Invertible, Partition, Sum, Times, Timestamp, Watermark, Windowing,
    Windows,
};
use proptest::prelude::*;
use serde::Serialize;

/// A table of so many keys has grown step by step several times.
const KEYS: u64 = 20_000;
const MILLIS_PER_WINDOW: i64 = 1_000;

/// Sums and counts, with what each has to come to: (key, start of the window) to (sum, count).
type Sums = BTreeMap<(u64, i64), (i64, u64)>;

fn summed() -> impl Invertible<i64, Acc = (i64, u64), Output = (i64, u64)> + Clone {
    (Sum::of(|value: &i64| *value), Count)
}

fn config(slide: i64) -> Config {
    let millis = TimeDelta::milliseconds;
    Config::sliding(millis(MILLIS_PER_WINDOW), millis(slide)).max_disorder(millis(100))
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

/// Events of ever new keys, of which some have come before.
fn events(seed: u64, count: usize) -> Vec<(i64, u64, i64)> {
    let mut state = seed | 1;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let time = |n: usize, back: u64| (n as i64 * 3 * MILLIS_PER_WINDOW) / count as i64 - back as i64;
    (0..count).map(|n| (time(n, below(100)), below(KEYS), 1 + below(9) as i64)).collect()
}

fn expected(events: &[(i64, u64, i64)], slide: i64) -> Sums {
    let mut sums = Sums::new();
    for &(time, key, value) in events {
        let mut start = time.div_euclid(slide) * slide;
        while start > time - MILLIS_PER_WINDOW {
            let (sum, count) = sums.entry((key, start)).or_default();
            (*sum, *count) = (*sum + value, *count + 1);
            start -= slide;
        }
    }
    sums
}

fn drain<A: Aggregate<i64, Output = (i64, u64)>>(
    kernel: &mut Windowing<u64, i64, A>,
    most: usize,
    sums: &mut Sums,
) {
    for _ in 0..most {
        let Some(pane) = kernel.poll() else { return };
        let start = pane.window.start.as_micros() / 1000;
        assert!(sums.insert((*pane.key, start), pane.value).is_none(), "{} fires twice at {start}", pane.key);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    /// In batches of any size, drained a little at a time, and taken up from a snapshot in between.
    #[test]
    fn tables_that_grow_lose_nothing(
        seed: u64,
        batch in 1..3000usize,
        drained in 1..4000usize,
        is_sliding: bool,
        subtracts: bool,
        restores: bool,
    ) {
        let slide = if is_sliding { MILLIS_PER_WINDOW / 2 } else { MILLIS_PER_WINDOW };
        let build = || {
            let kernel = config(slide).build(summed()).unwrap();
            if subtracts { kernel.subtract_on_evict() } else { kernel }
        };
        let events = events(seed, 60_000);
        let (mut kernel, mut sums) = (build(), Sums::new());
        let partition: Partition = kernel.add_partition();
        for (n, events) in events.chunks(batch).enumerate() {
            let times: Vec<i64> = events.iter().map(|event| event.0).collect();
            let keys: Vec<u64> = events.iter().map(|event| event.1).collect();
            let values: Vec<i64> = events.iter().map(|event| event.2).collect();
            let taken = kernel.push_batch(partition, Times::millis(&times), &keys, &values).unwrap();
            prop_assert_eq!(taken.accepted(), events.len() as u64);
            drain(&mut kernel, drained, &mut sums);
            if restores && n % (20_000 / batch + 1) == 3 {
                kernel = build().restore(&kernel.snapshot()).unwrap();
            }
        }
        kernel.finish();
        drain(&mut kernel, usize::MAX, &mut sums);
        prop_assert!(sums == expected(&events, slide), "the sums differ");
        prop_assert!(kernel.state_bytes() < 4096, "{} bytes are left", kernel.state_bytes());
    }
}

/// A key that tells when it is dropped.
#[derive(Clone, Debug)]
struct Told(u64, #[expect(dead_code, reason = "its count says how many there are")] Arc<AtomicUsize>);

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Told {}

impl Hash for Told {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn no_call_drops_all_keys_of_a_window() {
    let told = Arc::new(AtomicUsize::new(0));
    let mut kernel = config(MILLIS_PER_WINDOW).build(Count).unwrap();
    let partition = kernel.add_partition();
    for window in 0..4 {
        for n in 0..KEYS {
            let time = window * MILLIS_PER_WINDOW + n as i64 * MILLIS_PER_WINDOW / KEYS as i64;
            let _ = kernel.push(partition, at(time), Told(n, Arc::clone(&told)), ()).unwrap();
            // (One is the event's own key.)
            let before = Arc::strong_count(&told);
            let pane = kernel.poll().is_some();
            let dropped = before - Arc::strong_count(&told);
            told.fetch_max(dropped, Ordering::Relaxed);
            assert!(dropped <= 64, "a call that gives {pane} drops {dropped} keys");
        }
    }
    let most = told.load(Ordering::Relaxed);
    assert!(most > 0, "the keys of windows that have fired are dropped while others come");
    kernel.finish();
    while kernel.poll().is_some() {}
    assert_eq!(Arc::strong_count(&told), 1, "the keys are all gone");
}

/// An accumulator that tells when it is dropped, and the sum of them.
struct ToldSum(Arc<AtomicUsize>);

impl Aggregate<i64> for ToldSum {
    type Acc = (i64, Arc<AtomicUsize>);
    type Output = i64;

    fn lift(&self, _: Timestamp, value: &i64) -> Self::Acc {
        (*value, Arc::clone(&self.0))
    }

    fn combine(&self, left: &mut Self::Acc, right: &Self::Acc) {
        left.0 += right.0;
    }

    fn lower(&self, acc: &Self::Acc) -> i64 {
        acc.0
    }
}

impl Invertible<i64> for ToldSum {
    fn uncombine(&self, acc: &mut Self::Acc, oldest: &Self::Acc) {
        acc.0 -= oldest.0;
    }
}

#[test]
fn no_call_drops_all_accumulators_of_a_slice() {
    let told = Arc::new(AtomicUsize::new(0));
    let slide = MILLIS_PER_WINDOW / 4;
    for subtracts in [false, true] {
        let kernel = config(slide).build(ToldSum(Arc::clone(&told))).unwrap();
        let mut kernel = if subtracts { kernel.subtract_on_evict() } else { kernel };
        let partition = kernel.add_partition();
        let (mut full, mut most, mut panes) = (0, 0, 0);
        for n in 0..12 * KEYS {
            let _ = kernel.push(partition, at(n as i64 * slide / KEYS as i64), n % KEYS, 1).unwrap();
            for _ in 0..2 {
                let before = Arc::strong_count(&told);
                panes += usize::from(kernel.poll().is_some());
                most = most.max(before.saturating_sub(Arc::strong_count(&told)));
            }
            full = full.max(Arc::strong_count(&told));
        }
        assert!(panes > 8 * KEYS as usize && full > 4 * KEYS as usize, "{panes} panes, {full} accumulators");
        assert!(most < KEYS as usize / 5, "one call drops {most} accumulators");
        kernel.finish();
        while kernel.poll().is_some() {}
        assert!(Arc::strong_count(&told) <= 2, "{} accumulators are left", Arc::strong_count(&told));
    }
}

/// Accumulators that own heap grow and go with their tables.
#[test]
fn tables_of_partials_with_heap_grow_and_go() {
    let mut kernel = config(MILLIS_PER_WINDOW).build(Collect::of(|value: &i64| *value)).unwrap();
    let partition = kernel.add_partition();
    let mut panes = 0;
    for (time, key, value) in events(7, 60_000) {
        let _ = kernel.push(partition, at(time), key, value).unwrap();
        panes += usize::from(kernel.poll().is_some_and(|pane| !pane.value.is_empty()));
    }
    let full = kernel.state_bytes();
    kernel.finish();
    while kernel.poll().is_some() {
        panes += 1;
    }
    assert_eq!(panes, expected(&events(7, 60_000), MILLIS_PER_WINDOW).len());
    assert!(kernel.state_bytes() < full / 100, "{} bytes of {full} are left", kernel.state_bytes());
}

thread_local! {
    /// How many keys have been hashed, and how many accumulators combined.
    static WORK: Cell<usize> = const { Cell::new(0) };
}

/// A key that notes how often it is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Noted(u64);

impl Hash for Noted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        WORK.set(WORK.get() + 1);
        self.0.hash(state);
    }
}

/// A sum that notes how often it is combined.
#[derive(Clone)]
struct NotedSum;

impl Aggregate<i64> for NotedSum {
    type Acc = i64;
    type Output = i64;

    fn lift(&self, _: Timestamp, value: &i64) -> i64 {
        *value
    }

    fn combine(&self, left: &mut i64, right: &i64) {
        WORK.set(WORK.get() + 1);
        *left += *right;
    }

    fn lower(&self, acc: &i64) -> i64 {
        *acc
    }
}

impl Invertible<i64> for NotedSum {
    fn uncombine(&self, acc: &mut i64, oldest: &i64) {
        WORK.set(WORK.get() + 1);
        *acc -= *oldest;
    }
}

/// What is done in one call, in hashes and combinations.
fn worked<R>(call: impl FnOnce() -> R) -> (R, usize) {
    let before = WORK.get();
    let result = call();
    (result, WORK.get() - before)
}

/// Makes of numbers next to each other others that are not.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Windows that slide, in slices of the length of what all their bounds have in common.
#[derive(Clone, Copy)]
struct Sliding {
    /// How many slices a window has, and by how many it slides.
    size: i64,
    slide: i64,
    /// Slices have any of so many keys each; or half of those that the one before has, and others that are new.
    of: Option<u64>,
    subtracts: bool,
    /// There are no other windows beside.
    is_alone: bool,
    takes_snapshots: bool,
}

const HALF: Sliding =
    Sliding { size: 4, slide: 1, of: None, subtracts: false, is_alone: true, takes_snapshots: false };

/// Sealing a slice, taking one out of the stacks, turning those over: none of it is done for all keys in one call.
#[test]
fn no_call_seals_combines_or_evicts_a_slice() {
    assert_no_call_does_a_slice(HALF);
    assert_no_call_does_a_slice(Sliding { subtracts: true, ..HALF });
    assert_no_call_does_a_slice(Sliding { is_alone: false, ..HALF });
    assert_no_call_does_a_slice(Sliding { takes_snapshots: true, ..HALF });
}

#[test]
fn no_call_seals_a_slice_of_few_of_the_keys() {
    let few = Sliding { size: 12, of: Some(64 * KEYS), ..HALF };
    assert_no_call_does_a_slice(few);
    assert_no_call_does_a_slice(Sliding { subtracts: true, ..few });
    assert_no_call_does_a_slice(Sliding { takes_snapshots: true, ..few });
}

#[test]
fn no_call_seals_one_of_several_slices_that_a_window_moves_on_by() {
    for (size, slide) in [(5, 2), (7, 3)] {
        let several = Sliding { size, slide, of: Some(4 * KEYS), ..HALF };
        assert_no_call_does_a_slice(several);
        assert_no_call_does_a_slice(Sliding { subtracts: true, ..several });
        assert_no_call_does_a_slice(Sliding { takes_snapshots: true, ..several });
    }
}

#[track_caller]
fn assert_no_call_does_a_slice(sliding: Sliding) {
    let Sliding { size, slide, of, subtracts, is_alone, takes_snapshots } = sliding;
    let millis = TimeDelta::milliseconds;
    let slice = MILLIS_PER_WINDOW / 4;
    let mut windows = vec![Windows::sliding(millis(size * slice), millis(slide * slice))];
    windows.extend((!is_alone).then_some(Windows::tumbling(millis(slice))));
    let kernel = Config::windows(windows).max_disorder(millis(0)).build(NotedSum).unwrap();
    let mut kernel = if subtracts { kernel.subtract_on_evict() } else { kernel };
    let partition = kernel.add_partition();
    let (mut sum, mut panes) = (0, BTreeSet::new());
    let (mut most, mut snapshots, mut bytes) = (0, 0, Vec::new());
    // (When all slices have come it is quiet, until nothing is left. Not where the keys that leave stand in the order of their numbers:
    // those are looked at before the first that stays.)
    let (slices, quiet) = (2 * size + 2, if of.is_some() { size + 2 } else { 0 });
    for n in 0..(slices + quiet) as u64 * KEYS {
        let time = n as i64 * slice / KEYS as i64;
        let key = match of {
            None => n % KEYS + n / KEYS * KEYS / 2,
            Some(keys) => (SCATTER.wrapping_mul(n).rotate_left(29).wrapping_mul(SCATTER) >> 32) % keys,
        };
        let pushed = match time < slices * slice {
            true => worked(|| kernel.push(partition, at(time), Noted(key), 1).is_ok()).1,
            false if n % KEYS == 0 => worked(|| kernel.set_watermark(partition, Watermark::at(at(time)))).1,
            false => 0,
        };
        let mut taken = 0;
        for _ in 0..3 * size {
            let (pane, polled) =
                worked(|| kernel.poll().map(|pane| (pane.definition, pane.window, pane.key.0, pane.value)));
            taken = taken.max(polled);
            let Some((definition, window, key, value)) = pane else { break };
            assert!(panes.insert((definition, window, key)), "{key} fires twice");
            sum += if definition == 0 { value } else { 0 };
        }
        let mut written = 0;
        if takes_snapshots && n % 16 == 0 {
            // (If none is under way.)
            snapshots += usize::from(kernel.begin_snapshot(None).is_ok());
            written = worked(|| kernel.write_snapshot(40, &mut bytes)).1;
            bytes.clear();
        }
        most = most.max(pushed).max(taken).max(written);
    }
    // (What leaves and stands first in the order of numbers is looked at before the first pane: of keys in any order that is little.)
    assert!(most < KEYS as usize / 2, "one call hashes and combines {most} times");
    assert!(snapshots > 5 || !takes_snapshots, "{snapshots} snapshots were taken");
    let fired = (slices - 2 - size) / slide;
    assert!(sum >= fired * size * KEYS as i64, "{sum} events are in windows that have fired");
    assert!(quiet == 0 || kernel.live_slices() == 0, "windows are left");
}

/// Keys that have been gone for longer than any window leave no trace.
#[test]
fn e2_what_many_keys_took_is_returned_when_few_go_on() {
    for (far, subtracts) in
        [(1, false), (1, true), (3 * MILLIS_PER_WINDOW, false), (3 * MILLIS_PER_WINDOW, true)]
    {
        let kernel = config(MILLIS_PER_WINDOW / 4).build(summed()).unwrap();
        let mut kernel = if subtracts { kernel.subtract_on_evict() } else { kernel };
        let partition = kernel.add_partition();
        let (mut sums, mut full) = (Sums::new(), 0);
        for (time, key, value) in events(7, 60_000) {
            let _ = kernel.push(partition, at(time), key, value).unwrap();
            drain(&mut kernel, usize::MAX, &mut sums);
            full = full.max(kernel.state_bytes());
        }
        for n in 0..40 * MILLIS_PER_WINDOW / far.min(200) {
            let _ = kernel.push(partition, at(4 * MILLIS_PER_WINDOW + n * far.max(100)), 1, 1).unwrap();
            drain(&mut kernel, usize::MAX, &mut sums);
        }
        let left = kernel.state_bytes();
        assert!(left < full / 10, "{left} bytes of {full} are left where events are {far} ms apart");
    }
}
