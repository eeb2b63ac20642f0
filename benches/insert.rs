//! Whole streams, pushed one by one: `cargo bench --bench insert`.
//!
//! Each group has the loop that one writes by hand beside the kernel, and prints the checksum of the
//! results, which is the same for both or the benchmark stops.

mod streams;

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use std::hint::black_box;
use streams::{SECOND, Shape, Stream, by_hand, by_kernel, many_by_hand, many_by_kernel};

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
    bench(&mut group, "kernel", &stream, |stream| by_kernel(stream, size, slide));
    if hand_events == shape.events {
        assert_eq!(by_kernel(&stream, size, slide), by_hand(&stream, size, slide), "{name}");
        bench(&mut group, "by hand", &stream, |stream| by_hand(stream, size, slide));
    } else {
        // The loop by hand is too slow for the whole stream: both are compared over its beginning.
        let start = Stream::generate(Shape { events: hand_events, ..shape });
        assert_eq!(by_kernel(&start, size, slide), by_hand(&start, size, slide), "{name}");
        bench(&mut group, "by hand", &start, |stream| by_hand(stream, size, slide));
    }
    println!("{name}: {:x?}", by_kernel(&stream, size, slide));
    group.finish();
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
    let shape = |keys, rate| Shape { events: 4_000_000, keys, rate, partitions: 1 };
    compare(criterion, "tumbling 10 s, 1 key", shape(1, 100_000), TUMBLING, 4_000_000);
    compare(criterion, "tumbling 10 s, 1 k keys", shape(1_000, 100_000), TUMBLING, 4_000_000);
    compare(criterion, "tumbling 10 s, 100 k keys", shape(100_000, 100_000), TUMBLING, 4_000_000);
    // Longer, so that several windows of 5 M events fire.
    let shape = Shape { events: 16_000_000, ..shape(1_000_000, 500_000) };
    compare(criterion, "tumbling 10 s, 1 M keys", shape, TUMBLING, 16_000_000);
    let shape = Shape { events: 4_000_000, keys: 1_000, rate: 20_000, partitions: 1 };
    compare(criterion, "sliding 60 s by 1 s, 1 k keys", shape, SLIDING, 1_000_000);
    let shape = Shape { events: 4_000_000, keys: 1_000, rate: 100_000, partitions: 64 };
    compare(criterion, "tumbling 10 s, 64 partitions", shape, TUMBLING, 4_000_000);
}

/// How the number of windows over one stream tells.
fn windows(criterion: &mut Criterion) {
    let stream = Stream::generate(Shape { events: 4_000_000, keys: 1_000, rate: 100_000, partitions: 1 });
    let start = Stream::generate(Shape { events: 400_000, keys: 1_000, rate: 100_000, partitions: 1 });
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

criterion_group!(benches, insert, windows);
criterion_main!(benches);
