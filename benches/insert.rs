//! Whole streams, in batches of 1,024 events and pushed one by one: `cargo bench --bench insert`.
//!
//! Each group has the loop that one writes by hand beside the kernel, and the floor under both: one upsert by key for
//! each event, and no windows; where keys have an index, one addition. What windows cost by themselves is between: the floor's
//! own code into the table of each window, with a result for each key (`bare`), or with as many results and no windows (`results`).
//! It prints the checksum of the results, which is the same for all or the benchmark stops.

mod streams;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use floodmark::Timestamp;
use hashbrown::HashMap;
use std::hint::black_box;
use streams::{
    SECOND, Shape, Stream, bare, by_batches, by_hand, by_index, by_kernel,
    columns::{Largest, by_columns},
    count_and_sum, dense_floor, floor, kernel, key_of, many_by_hand, many_by_kernel, max_by_batches,
    sessions_by_hand, sessions_by_kernel, strings_by_batches, strings_by_hand, unkeyed_by_batches,
    wheel::by_wheels,
};

const TUMBLING: (i64, i64) = (10 * SECOND, 10 * SECOND);
const SLIDING: (i64, i64) = (60 * SECOND, SECOND);

fn compare(
    criterion: &mut Criterion,
    name: &str,
    shape: Shape,
    (size, slide): (i64, i64),
    hand_events: usize,
) {
    let stream = Stream::generate(shape);
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    assert_eq!(by_batches(&stream, size, slide), by_kernel(&stream, size, slide), "{name}");
    bench(&mut group, "batches", &stream, |stream| by_batches(stream, size, slide));
    bench(&mut group, "pushed", &stream, |stream| by_kernel(stream, size, slide));
    if hand_events == shape.events {
        assert_eq!(by_kernel(&stream, size, slide), by_hand(&stream, size, slide), "{name}");
        bench(&mut group, "by hand", &stream, |stream| by_hand(stream, size, slide));
    } else {
        // The loop by hand is too slow for the whole stream: both are compared over its beginning.
        let start = Stream::generate(Shape { events: hand_events, ..shape });
        assert_eq!(by_kernel(&start, size, slide), by_hand(&start, size, slide), "{name}");
        bench(&mut group, "by hand", &start, |stream| by_hand(stream, size, slide));
    }
    assert_eq!(by_index(&stream, size, slide), by_kernel(&stream, size, slide), "{name}");
    bench(&mut group, "by index", &stream, |stream| by_index(stream, size, slide));
    bench(&mut group, "floor", &stream, floor);
    bench(&mut group, "floor by index", &stream, dense_floor);
    if size == slide && shape.late == 0 {
        assert_eq!(bare::tumbling(&stream, size), by_kernel(&stream, size, slide), "{name}");
        assert_eq!(bare::tumbling_by_index(&stream, size), by_kernel(&stream, size, slide), "{name}");
        bench(&mut group, "bare", &stream, |stream| bare::tumbling(stream, size));
        bench(&mut group, "bare by index", &stream, |stream| bare::tumbling_by_index(stream, size));
    }
    // (A wheel for each key, with more of them, takes gigabytes. It knows no partitions, and which events are late to the second.)
    if shape.keys <= 1_000 && shape.partitions == 1 && shape.late == 0 {
        wheels(&mut group, name, &stream, (size, slide), true);
    }
    println!("{name}: {:x?}", by_kernel(&stream, size, slide));
    group.finish();
}

fn wheels(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    stream: &Stream,
    (size, slide): (i64, i64),
    has_keys: bool,
) {
    let expected = match has_keys {
        true => by_kernel(stream, size, slide),
        // The wheel without keys does not know the one there is.
        false => by_kernel(&Stream { keys: vec![0; stream.keys.len()], ..stream.clone() }, size, slide),
    };
    assert_eq!(by_wheels(stream, (size, slide), has_keys), expected, "{name}");
    bench(group, "µWheel", stream, |stream| by_wheels(stream, (size, slide), has_keys));
}

fn bench<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    row: &str,
    stream: &Stream,
    run: impl Fn(&Stream) -> T,
) {
    group.throughput(Throughput::Elements(stream.times.len() as u64));
    group.bench_function(row, |bencher| bencher.iter(|| run(black_box(stream))));
}

fn insert(criterion: &mut Criterion) {
    let shape = |keys, rate| Shape::new(4_000_000, keys, rate);
    compare(criterion, "tumbling 10 s, 1 key", shape(1, 100_000), TUMBLING, 4_000_000);
    compare(criterion, "tumbling 10 s, 1 k keys", shape(1_000, 100_000), TUMBLING, 4_000_000);
    compare(criterion, "tumbling 10 s, 100 k keys", shape(100_000, 100_000), TUMBLING, 4_000_000);
    // Longer, so that several windows of 5 M events fire.
    let shape = Shape { events: 16_000_000, ..shape(1_000_000, 500_000) };
    compare(criterion, "tumbling 10 s, 1 M keys", shape, TUMBLING, 16_000_000);
    let skewed = Shape { skewed: true, ..shape };
    compare(criterion, "tumbling 10 s, 1 M keys, skewed", skewed, TUMBLING, 16_000_000);
    let shape = Shape::new(4_000_000, 1_000, 20_000);
    compare(criterion, "sliding 60 s by 1 s, 1 k keys", shape, SLIDING, 1_000_000);
    let shape = Shape { partitions: 64, ..Shape::new(4_000_000, 1_000, 100_000) };
    compare(criterion, "tumbling 10 s, 64 partitions", shape, TUMBLING, 4_000_000);
    for late in [1, 10, 50] {
        let shape = Shape { late, ..Shape::new(4_000_000, 1_000, 100_000) };
        compare(criterion, &format!("tumbling 10 s, 1 k keys, {late} % late"), shape, TUMBLING, 4_000_000);
    }
}

/// Windows that slide, beside the loop of an expert that owes nothing else: how much is left.
fn sliding(criterion: &mut Criterion) {
    let stream = Stream::generate(Shape::new(4_000_000, 1_000, 20_000));
    let mut group = criterion.benchmark_group("sliding 60 s by 1 s, 1 k keys");
    group.sample_size(10);
    let (size, slide) = SLIDING;
    let checksum = by_batches(&stream, size, slide);
    assert_eq!(checksum, by_columns::<(u64, i64)>(&stream, size, slide));
    bench(&mut group, "by columns", &stream, |stream| by_columns::<(u64, i64)>(stream, size, slide));
    bench(&mut group, "results", &stream, |stream| bare::results(stream, checksum.panes));
    println!("sums: {checksum:x?}");
    group.finish();

    let stream = Stream::generate(Shape::new(4_000_000, 100, 1_000));
    let mut group = criterion.benchmark_group("sliding 1 h by 1 s, 100 keys, largest");
    group.sample_size(10);
    let (size, slide) = (3_600 * SECOND, SECOND);
    let checksum = max_by_batches(&stream, size, slide);
    assert_eq!(checksum, by_columns::<Largest>(&stream, size, slide));
    bench(&mut group, "batches", &stream, |stream| max_by_batches(stream, size, slide));
    bench(&mut group, "by columns", &stream, |stream| by_columns::<Largest>(stream, size, slide));
    bench(&mut group, "results", &stream, |stream| bare::results(stream, checksum.panes));
    println!("largest: {checksum:x?}");
    group.finish();
}

/// Without keys.
fn unkeyed(criterion: &mut Criterion) {
    let stream = Stream::generate(Shape::new(4_000_000, 1, 100_000));
    let (size, slide) = TUMBLING;
    let mut group = criterion.benchmark_group("tumbling 10 s, no keys");
    group.sample_size(10);
    assert_eq!(unkeyed_by_batches(&stream, size), by_hand(&stream, size, slide));
    bench(&mut group, "batches", &stream, |stream| unkeyed_by_batches(stream, size));
    wheels(&mut group, "no keys", &stream, TUMBLING, false);
    println!("no keys: {:x?}", unkeyed_by_batches(&stream, size));
    group.finish();
}

/// Keys that are strings: borrowed in a batch, and cloned for each event by hand.
fn strings(criterion: &mut Criterion) {
    let stream = Stream::generate(Shape::new(4_000_000, 100_000, 100_000));
    let keys: Vec<String> = stream.keys.iter().map(|key| format!("{key:016x}")[..16].to_owned()).collect();
    let size = TUMBLING.0;
    let mut group = criterion.benchmark_group("tumbling 10 s, 100 k strings of 16 bytes");
    group.sample_size(10);
    let checksum = strings_by_batches(&stream, &keys, size);
    assert_eq!(checksum, strings_by_hand(&stream, &keys, size));
    bench(&mut group, "batches", &stream, |stream| strings_by_batches(stream, &keys, size));
    bench(&mut group, "by hand", &stream, |stream| strings_by_hand(stream, &keys, size));
    println!("strings: {checksum:x?}");
    group.finish();
}

/// Sessions of 100 k keys, each with an event every 10 s.
fn sessions(criterion: &mut Criterion) {
    let stream = Stream::generate(Shape::new(4_000_000, 100_000, 10_000));
    let gap = 30 * SECOND;
    let mut group = criterion.benchmark_group("sessions of 30 s, 100 k keys");
    group.sample_size(10);
    let checksum = sessions_by_kernel(&stream, gap, true);
    assert_eq!(checksum, sessions_by_kernel(&stream, gap, false));
    assert_eq!(checksum, sessions_by_hand(&stream, gap));
    assert_eq!(checksum, bare::sessions(&stream, gap));
    bench(&mut group, "batches", &stream, |stream| sessions_by_kernel(stream, gap, true));
    bench(&mut group, "pushed", &stream, |stream| sessions_by_kernel(stream, gap, false));
    bench(&mut group, "by hand", &stream, |stream| sessions_by_hand(stream, gap));
    bench(&mut group, "bare", &stream, |stream| bare::sessions(stream, gap));
    bench(&mut group, "results", &stream, |stream| bare::results(stream, checksum.panes));
    println!("sessions: {checksum:x?}");
    group.finish();
}

/// What a million keys take in one slice, beside what their keys and accumulators take alone and in a map by hand.
fn memory(_: &mut Criterion) {
    let keys = 1_000_000;
    let (mut by_hash, partitions) = kernel::<u64, _>(&Stream::default(), TUMBLING, count_and_sum());
    let (by_index, _) = kernel::<u32, _>(&Stream::default(), TUMBLING, count_and_sum());
    let mut by_index = by_index.indexed();
    let mut by_hand: HashMap<u64, (u64, i64)> = HashMap::new();
    for index in 0..keys {
        let key = key_of(index);
        let _ = by_hash.push(partitions[0], Timestamp::from_micros(0), key, 1);
        let _ = by_index.push(partitions[0], Timestamp::from_micros(0), index, 1);
        by_hand.insert(key, (1, 1));
    }
    let each = |bytes: usize| bytes as f64 / f64::from(keys);
    println!(
        "memory, bytes a key: {} of a key and its accumulator; {:.1} in the kernel, {:.1} by index, {:.1} in a map by hand",
        size_of::<(u64, (u64, i64))>(),
        each(by_hash.state_bytes()),
        each(by_index.state_bytes()),
        each(by_hand.allocation_size()),
    );
}

/// How the number of windows over one stream tells.
fn windows(criterion: &mut Criterion) {
    let stream = Stream::generate(Shape::new(4_000_000, 1_000, 100_000));
    let start = Stream::generate(Shape::new(400_000, 1_000, 100_000));
    let mut group = criterion.benchmark_group("tumbling windows of 1 s to n s, 1 k keys");
    group.sample_size(10);
    for n in [1, 8, 80] {
        assert_eq!(many_by_kernel(&start, n), many_by_hand(&start, n), "{n} windows");
        bench(&mut group, &format!("kernel, {n} windows"), &stream, |stream| many_by_kernel(stream, n));
        bench(&mut group, &format!("by hand, {n} windows"), &start, |stream| many_by_hand(stream, n));
        println!("{n} windows: {:x?}", many_by_kernel(&stream, n));
    }
    group.finish();
}

criterion_group!(benches, insert, sliding, unkeyed, strings, sessions, windows, memory);
criterion_main!(benches);
