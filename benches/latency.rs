//! How long single calls take, the longest above all: `cargo bench --bench latency`.
//!
//! A million keys. What stalls is what is done for all of them in one call: a table that doubles, a window that fires.
//! Times are of the host's clock, so whatever else the machine does in the meantime is in them. But the kernel does the same in
//! each run: what takes it long does so at the same call each time, which is what the last column shows of several runs.
//! (That is of the run in which a call took least: later ones have memory that earlier ones have touched.)

#![expect(clippy::disallowed_types, reason = "it is the kernel that has no clock")]

mod streams;

use std::hint::black_box;
use std::time::Instant;

use floodmark::snapshot::SnapshotProgress;
use floodmark::{Aggregate, Partition, Windowing};
use hashbrown::HashMap;
use hdrhistogram::Histogram;
use serde::Serialize;
use streams::{
    Checksum, SECOND, Shape, Stream, by_hand, count_and_sum, kernel, push, sessions, sessions_by_hand,
};

const TUMBLING: (i64, i64) = (10 * SECOND, 10 * SECOND);
/// Windows of several slices, which have to be combined.
const SLIDING: (i64, i64) = (10 * SECOND, 2 * SECOND);
/// The same where two slices come with each window.
const UNEVEN: (i64, i64) = (5 * SECOND, 2 * SECOND);
/// Between the events of a key about half of this passes.
const GAP: i64 = 4 * SECOND;
/// Events in a batch, and panes that are drained in one go.
const BATCH: usize = 1024;
const DRAINED: usize = 1000;
/// Runs of what has a last column.
const RUNS: usize = 3;
/// Pushes for each step of a snapshot, and entries that one gives out.
const PUSHES: usize = 10;
const ENTRIES: usize = 100;

fn main() {
    // As a test it runs once, and small.
    let scale = if std::env::args().any(|arg| arg == "--test") { 100 } else { 1 };
    let keys = 1_000_000 / scale;
    // Five events a key and window; what is left after two windows fires at the end.
    let stream = Stream::generate(Shape::new(11 * keys as usize, keys, keys as i64 / 2));
    println!(
        "{:44}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "µs", "calls", "p50", "p99", "p99.9", "p99.99", "longest", "each run"
    );
    memory(scale as usize);
    several(|| growing(&stream, 5 * keys as usize));
    for (kind, (size, slide)) in [("tumbling", TUMBLING), ("sliding", SLIDING), ("uneven", UNEVEN)] {
        let checksum = firing(&stream, kind, (size, slide));
        assert_eq!(checksum, by_hand(&stream, size, slide));
        several(|| {
            let (written, calls) = writing(&stream, kind, kernel(&stream, (size, slide), count_and_sum()));
            assert_eq!(checksum, written);
            calls
        });
        println!("{checksum:x?}");
    }
    let checksum = sessions_by_hand(&stream, GAP);
    several(|| {
        let (written, calls) = writing(&stream, "sessions", sessions(GAP, count_and_sum()));
        assert_eq!(checksum, written);
        calls
    });
    println!("{checksum:x?}");
}

/// What the system takes for memory alone: as much as the control bytes of a table for all keys are, touched for the first
/// time; and as much as a snapshot keeps at times, given back.
fn memory(scale: usize) {
    const SPOTS: usize = 1 << 21;
    const TIMES: usize = 16;
    let (mut first, mut last) =
        (Calls::new("2 MB written for the first time"), Calls::new("16 MB given back"));
    let mut blocks: Vec<Vec<u8>> = (0..TIMES).map(|_| Vec::with_capacity(8 * SPOTS / scale)).collect();
    for block in &mut blocks {
        first.time(|| black_box(&mut *block).resize(SPOTS / scale, u8::MAX));
        block.resize(8 * SPOTS / scale, u8::MAX);
    }
    blocks.into_iter().for_each(|block| last.time(|| drop(black_box(block))));
    [first, last].iter().for_each(Calls::report);
}

/// Tables that grow from nothing to all keys, event by event.
fn growing(stream: &Stream, events: usize) -> [Calls; 2] {
    let (mut windows, partitions) = kernel(stream, TUMBLING, count_and_sum());
    let mut pushes = Calls::new("push, tables growing");
    for i in 0..events {
        pushes.time(|| push(&mut windows, partitions[0], stream, i));
    }

    let mut by_hand = Calls::new("by hand, one map growing");
    let mut map: HashMap<(u64, i64), (u64, i64)> = HashMap::new();
    for i in 0..events {
        by_hand.time(|| {
            let entry = map.entry((stream.keys[i], stream.times[i] / TUMBLING.0)).or_insert((0, 0));
            entry.0 += 1;
            entry.1 += stream.values[i];
        });
    }
    [pushes, by_hand]
}

/// Windows of all keys that fire, a little of them drained after each batch.
fn firing(stream: &Stream, kind: &str, window: (i64, i64)) -> Checksum {
    let (mut windows, partitions) = kernel(stream, window, count_and_sum());
    let mut batches = Calls::new(format!("{kind}: batch of 1,024 events"));
    let mut drains = Calls::new(format!("{kind}: drain of up to 1,000"));
    let mut checksum = Checksum::default();
    let mut last = Calls::new(format!("{kind}: the last drain"));
    let drain = |windows: &mut _, checksum: &mut _| timed(|| streams::drain_some(windows, checksum, DRAINED));
    for from in (0..stream.times.len()).step_by(BATCH) {
        let events = from..(from + BATCH).min(stream.times.len());
        batches.time(|| streams::push_batch(&mut windows, partitions[0], stream, events));
        drains.note(drain(&mut windows, &mut checksum).1);
    }
    windows.finish();
    loop {
        let (count, nanos) = drain(&mut windows, &mut checksum);
        if count < DRAINED {
            // It also returns all memory.
            last.note(nanos);
            break;
        }
        drains.note(nanos);
    }
    batches.report();
    drains.report();
    last.report();
    checksum
}

/// Runs something several times, and reports all calls.
fn several<const KINDS: usize>(run: impl Fn() -> [Calls; KINDS]) {
    let mut calls = run();
    for _ in 1..RUNS {
        calls.iter_mut().zip(run()).for_each(|(calls, again)| calls.add(&again));
    }
    calls.iter().for_each(Calls::report);
}

/// Events and panes one by one, while snapshots of it all are written, one after the other.
fn writing<A: Aggregate<i64, Acc: Serialize, Output = (u64, i64)>>(
    stream: &Stream,
    kind: &str,
    (mut windows, partitions): (Windowing<u64, i64, A>, Vec<Partition>),
) -> (Checksum, [Calls; 4]) {
    let mut pushes = Calls::new(format!("{kind}, snapshots: push"));
    let mut drains = Calls::new(format!("{kind}, snapshots: drain of one"));
    let mut steps = Calls::new(format!("{kind}, snapshots: step of {ENTRIES} entries"));
    let mut last = Calls::new(format!("{kind}, snapshots: the last drain"));
    let (mut checksum, mut bytes) = (Checksum::default(), Vec::with_capacity(1 << 16));
    for i in 0..stream.times.len() {
        pushes.time(|| push(&mut windows, partitions[0], stream, i));
        // As many panes as keys come with each slide, and not quite as many events.
        for _ in 0..2 {
            drains.time(|| streams::drain_some(&mut windows, &mut checksum, 1));
        }
        if i.is_multiple_of(PUSHES) {
            bytes.clear();
            steps.time(|| match windows.write_snapshot(ENTRIES, &mut bytes) {
                SnapshotProgress::None => _ = windows.begin_snapshot(None).expect("none is being taken"),
                SnapshotProgress::More | SnapshotProgress::Done(_) => {}
            });
        }
    }
    windows.abandon_snapshot();
    windows.finish();
    loop {
        let (count, nanos) = timed(|| streams::drain_some(&mut windows, &mut checksum, 1));
        if count == 0 {
            last.note(nanos);
            break;
        }
        drains.note(nanos);
    }
    (checksum, [pushes, drains, steps, last])
}

/// What a call gives, and how many nanoseconds it took.
fn timed<R>(call: impl FnOnce() -> R) -> (R, u64) {
    let start = Instant::now();
    let result = call();
    (result, start.elapsed().as_nanos() as u64)
}

/// How long calls of one kind took, in nanoseconds.
struct Calls {
    name: String,
    times: Histogram<u64>,
    /// Calls that took long, by their number, in the run in which that was least.
    long: HashMap<u64, u64>,
    runs: usize,
}

impl Calls {
    const LONG: u64 = 100_000;

    fn new(name: impl Into<String>) -> Self {
        let times = Histogram::new(3).expect("three digits are within the limits");
        Self { name: name.into(), times, long: HashMap::new(), runs: 1 }
    }

    fn time<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let (result, nanos) = timed(call);
        self.note(nanos);
        result
    }

    fn note(&mut self, nanos: u64) {
        if nanos >= Self::LONG {
            self.long.insert(self.times.len(), nanos);
        }
        self.times.record(nanos).expect("the histogram grows as it must");
    }

    /// Adds those of another run.
    fn add(&mut self, run: &Self) {
        self.times.add(&run.times).expect("the histogram grows as it must");
        self.long.retain(|call, nanos| {
            let again = run.long.get(call).copied();
            *nanos = again.map_or(0, |again| again.min(*nanos));
            again.is_some()
        });
        self.runs += 1;
    }

    fn report(&self) {
        print!("{:44}{:>10}", self.name, self.times.len());
        for quantile in [0.5, 0.99, 0.999, 0.9999, 1.0] {
            print!("{:>10.1}", self.times.value_at_quantile(quantile) as f64 / 1000.0);
        }
        match self.long.values().max() {
            _ if self.runs == 1 => println!(),
            Some(&nanos) => println!("{:>10.1}", nanos as f64 / 1000.0),
            None => println!("{:>10}", format!("< {}", Self::LONG / 1000)),
        }
    }
}
