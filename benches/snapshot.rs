//! Taking and restoring snapshots, beside a plain postcard dump of the map that one keeps by hand, and how long pushes take
//! meanwhile: `cargo bench --bench snapshot`.

#![allow(clippy::disallowed_types, reason = "a benchmark times single calls")]

mod streams;

use chrono::TimeDelta;
use criterion::measurement::Measurement;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use floodmark::snapshot::{Chain, SnapshotId, SnapshotProgress};
use floodmark::{Aggregate, Config, Partition, Times, Windowing};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use streams::{Checksum, SECOND, Shape, Stream, count_and_sum, drain, end, fresh, kernel, push};

const WINDOW: (i64, i64) = (1000 * SECOND, 1000 * SECOND);
/// Entries that a step holds, and events in the batch that is pushed between two of them.
const STEP: usize = 300;
const BATCH: usize = 1024;

fn snapshot(criterion: &mut Criterion) {
    for keys in [1_000, 100_000, 1_000_000] {
        let stream = Stream::generate(Shape::new(2 * keys as usize, keys, 1_000_000));
        let (mut windows, partitions) = kernel(&stream, WINDOW, count_and_sum());
        for i in 0..stream.times.len() {
            push(&mut windows, partitions[0], &stream, i);
        }
        let bytes = windows.snapshot();
        let map = by_hand(&stream);
        let entries = map.len() as u64;
        let mut group = criterion.benchmark_group(format!("snapshot {keys} keys"));
        let size =
            |bytes: &[u8]| Throughput::ElementsAndBytes { elements: entries, bytes: bytes.len() as u64 };
        group.throughput(size(&bytes)).sample_size(10);
        group.bench_function("take", |bencher| bencher.iter(|| windows.snapshot()));
        group.bench_function("take in steps", |bencher| bencher.iter(|| in_steps(&mut windows, None)));
        group.bench_function("restore", |bencher| {
            bencher.iter_batched(
                || fresh(WINDOW, count_and_sum()),
                |fresh: Windowing<u64, i64, _>| fresh.restore(&bytes).expect("the snapshot is sound"),
                BatchSize::PerIteration,
            );
        });
        group.bench_function("read and compact", |bencher| {
            bencher.iter(|| Chain::read(&[&bytes]).expect("the snapshot is sound").compact());
        });
        let (stepped, _) = in_steps(&mut windows, None);
        let anew = || fresh(WINDOW, count_and_sum());
        one_slice_of_two(&mut group, &mut windows, anew, (partitions[0], &stream));
        let dump = postcard::to_allocvec(&map).expect("plain data serializes");
        group.throughput(size(&dump));
        group.bench_function("by hand, take", |bencher| {
            bencher.iter(|| postcard::to_allocvec(&map).expect("plain data serializes"));
        });
        println!("snapshot {keys} keys: {} bytes for {entries} entries; by hand {}", bytes.len(), dump.len());
        #[cfg(feature = "lz4")]
        println!("snapshot {keys} keys: {} bytes compressed", compressed(&mut group, &bytes));
        for bytes in [&bytes, &stepped] {
            let mut windows = fresh(WINDOW, count_and_sum()).restore(bytes).expect("the snapshot is sound");
            let (mut checksum, mut expected) = (Checksum::default(), Checksum::default());
            end(&mut windows, partitions[0]);
            drain(&mut windows, &mut checksum);
            map.iter().for_each(|(&(key, start), &(count, sum))| expected.add(key, start, count, sum));
            assert_eq!(checksum, expected);
            println!("snapshot {keys} keys: {checksum:x?}");
        }
        group.finish();
        pauses(keys, &mut windows, partitions[0], &stream);
    }
}

/// Times compressing a snapshot, and says how long it is then.
#[cfg(feature = "lz4")]
fn compressed<M: Measurement>(group: &mut BenchmarkGroup<'_, M>, bytes: &[u8]) -> usize {
    use floodmark::snapshot::{compress, decompress};

    group.bench_function("compress", |bencher| bencher.iter(|| compress(bytes)));
    let compressed = compress(bytes).expect("the snapshot is sound");
    group.bench_function("decompress", |bencher| bencher.iter(|| decompress(&compressed).map(drop)));
    compressed.len()
}

/// Takes what changes when a batch comes, which is the newest slice, and restores that together with what was before.
fn one_slice_of_two<M: Measurement<Value = Duration>, A: Aggregate<i64>>(
    group: &mut BenchmarkGroup<'_, M>,
    windows: &mut Windowing<u64, i64, A>,
    fresh: impl Fn() -> Windowing<u64, i64, A>,
    (partition, stream): (Partition, &Stream),
) where
    A::Acc: Serialize + DeserializeOwned,
{
    let newest = stream.times.iter().max().copied().unwrap_or_default();
    let (times, keys, values) = (vec![newest; BATCH], &stream.keys[..BATCH], &stream.values[..BATCH]);
    let (base, mut last) = in_steps(windows, None);
    let mut changes = Vec::new();
    let mut take = || {
        let batch = windows.push_batch(partition, Times::micros(&times), keys, values);
        assert_eq!(batch.map(|batch| batch.accepted()), Ok(BATCH as u64));
        let begun = Instant::now();
        let (bytes, id) = in_steps(windows, Some(last));
        last = id;
        (bytes, begun.elapsed())
    };
    changes.push(take().0);
    let chain = Chain::read(&[&base, &changes[0]]).expect("they are sound");
    let entries = chain.slices().last().map_or(0, |slice| slice.entries);
    let bytes = changes[0].len() as u64;
    group.throughput(Throughput::ElementsAndBytes { elements: entries, bytes });
    group.bench_function("take changes", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| take().1).sum());
    });
    group.bench_function("restore with changes", |bencher| {
        bencher.iter_batched(
            &fresh,
            |fresh| {
                let chain = Chain::read(&[&base, &changes[0]]).expect("they are sound");
                fresh.restore_chain(&chain).expect("they are sound")
            },
            BatchSize::PerIteration,
        );
    });
}

/// Sixty slices, of which the newest two change between snapshots.
fn changes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot of changes");
    group.sample_size(10);
    const KEYS: u64 = 10_000;
    let config = Config::tumbling(TimeDelta::seconds(1)).allowed_lateness(TimeDelta::minutes(2));
    let mut windows: Windowing<u64, i64, _> = config.build(count_and_sum()).expect("it is sound");
    let partition = windows.add_partition();
    let push_second = |windows: &mut Windowing<u64, i64, _>, second: i64| {
        let (times, keys) = (vec![second; KEYS as usize], (0..KEYS).collect::<Vec<u64>>());
        let batch = windows.push_batch(partition, Times::seconds(&times), &keys, &vec![1; KEYS as usize]);
        assert_eq!(batch.map(|batch| batch.accepted()), Ok(KEYS));
    };
    (0..60).for_each(|second| push_second(&mut windows, second));
    let (full, mut last) = in_steps(&mut windows, None);
    let mut taken = Vec::new();
    group.throughput(Throughput::Elements(2 * KEYS));
    group.bench_function("take 2 of 60 slices", |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                push_second(&mut windows, 58);
                push_second(&mut windows, 59);
                let begun = Instant::now();
                let (bytes, id) = in_steps(&mut windows, Some(last));
                last = id;
                taken.push((bytes, begun.elapsed()));
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let longest = taken.iter().map(|(_, time)| time.as_micros()).max().unwrap_or_default();
    let bytes = taken.iter().map(|(bytes, _)| bytes.len()).max().unwrap_or_default();
    println!("snapshot of changes: {bytes} of {} bytes, in at most {longest} us", full.len());
    let chain: Vec<&[u8]> =
        [&full].into_iter().chain(taken.iter().map(|(bytes, _)| bytes)).map(|b| &b[..]).collect();
    let chain = Chain::read(&chain).expect("they are sound");
    let entries: u64 = chain.slices().map(|slice| slice.entries).sum();
    assert_eq!(entries, 60 * KEYS);
}

/// A whole snapshot, step by step, or what has changed.
fn in_steps<A: Aggregate<i64>>(
    windows: &mut Windowing<u64, i64, A>,
    since: Option<SnapshotId>,
) -> (Vec<u8>, SnapshotId)
where
    A::Acc: Serialize,
{
    let mut bytes = Vec::new();
    let _ = windows.begin_snapshot(since).expect("none is being taken");
    loop {
        if let SnapshotProgress::Done(id) = windows.write_snapshot(STEP, &mut bytes) {
            return (bytes, id);
        }
    }
}

/// Pushes the stream again and again, without a snapshot being taken and with one that goes on by so many entries after each
/// batch, and says how long single calls take and how fast it all goes.
fn pauses<A: Aggregate<i64>>(
    keys: u64,
    windows: &mut Windowing<u64, i64, A>,
    partition: Partition,
    stream: &Stream,
) where
    A::Acc: Serialize,
{
    let last = stream.times.iter().max().copied().unwrap_or_default();
    let times = vec![last; BATCH];
    let mut batches =
        stream.keys.chunks_exact(BATCH).zip(stream.values.chunks_exact(BATCH)).cycle().take(100_000);
    let mut without = 0.0;
    for step in [None, Some(1000), Some(300), Some(100), Some(50)] {
        let (mut calls, mut out, mut events) = (Vec::new(), Vec::new(), 0);
        let timed = |calls: &mut Vec<Duration>, call: &mut dyn FnMut()| {
            let begun = Instant::now();
            call();
            calls.push(begun.elapsed());
        };
        if step.is_some() {
            timed(&mut calls, &mut || _ = windows.begin_snapshot(None).expect("none is being taken"));
        }
        for (keys, values) in &mut batches {
            timed(&mut calls, &mut || {
                let batch = windows.push_batch(partition, Times::micros(&times), keys, values);
                assert_eq!(batch.map(|batch| batch.accepted()), Ok(BATCH as u64));
            });
            events += BATCH;
            let mut is_done = step.is_none() && events >= 2 * stream.times.len();
            if let Some(step) = step {
                timed(&mut calls, &mut || {
                    is_done = windows.write_snapshot(step, &mut out) != SnapshotProgress::More;
                });
                out.clear();
            }
            if is_done {
                break;
            }
        }
        let total: Duration = calls.iter().sum();
        calls.sort_unstable();
        let at = |share: f64| calls[(calls.len() as f64 * share) as usize].as_nanos() / 1000;
        let longest = calls.last().map_or(0, Duration::as_micros);
        let rate = events as f64 / total.as_secs_f64() / 1e6;
        if step.is_none() {
            without = rate;
        }
        let what = step.map_or("no snapshot".into(), |step| format!("a snapshot by {step} entries a batch"));
        println!(
            "batches of {BATCH}, {keys} keys, {what}: {rate:.1} M/s ({:.2}) for {:.0} ms; calls p50 {} us, p99.9 {} us, longest {longest} us",
            rate / without,
            total.as_secs_f64() * 1e3,
            at(0.5),
            at(0.999),
        );
    }
}

fn by_hand(stream: &Stream) -> BTreeMap<(u64, i64), (u64, i64)> {
    let mut map: BTreeMap<(u64, i64), (u64, i64)> = BTreeMap::new();
    for i in 0..stream.times.len() {
        let start = stream.times[i] - stream.times[i].rem_euclid(WINDOW.0);
        let entry = map.entry((stream.keys[i], start)).or_insert((0, 0));
        entry.0 += 1;
        entry.1 += stream.values[i];
    }
    map
}

criterion_group!(benches, snapshot, changes);
criterion_main!(benches);
