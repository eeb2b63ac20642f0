//! How the speed depends on the shape of the work: the number of keys, how many windows overlap, how many definitions
//! there are. `cargo bench --bench shapes`, then `benches/plot.py` draws what criterion has written down.

mod streams;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use streams::{
    Checksum, SECOND, Shape, Stream, by_batches, by_hand, by_kernel, many_by_hand, many_by_kernel,
};

const EVENTS: usize = 2_000_000;

/// One row of a plot: a stream as long as the row can take, at one place of the axis.
fn row(
    group: &mut BenchmarkGroup<'_, WallTime>,
    (name, place): (&str, i64),
    stream: &Stream,
    run: impl Fn(&Stream) -> Checksum,
) -> Checksum {
    group.throughput(Throughput::Elements(stream.times.len() as u64));
    group.bench_function(BenchmarkId::new(name, place), |bencher| bencher.iter(|| run(black_box(stream))));
    run(stream)
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("keys");
    group.sample_size(10);
    let size = 10 * SECOND;
    for keys in [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
        let shape = Shape::new(EVENTS.max(8 * keys as usize), keys, 100_000.max(keys as i64 / 2));
        let stream = Stream::generate(shape);
        let keys = keys as i64;
        let checksum = row(&mut group, ("batches", keys), &stream, |stream| by_batches(stream, size, size));
        assert_eq!(
            checksum,
            row(&mut group, ("pushed", keys), &stream, |stream| by_kernel(stream, size, size))
        );
        assert_eq!(
            checksum,
            row(&mut group, ("by hand", keys), &stream, |stream| by_hand(stream, size, size))
        );
        println!("{keys} keys: {checksum:x?}");
    }
    group.finish();
}

/// Windows that slide by a second, so many of which overlap, over two hours of a stream (so that not most of them fire at
/// its end); by hand over as much of it as that takes.
fn overlap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("size over slide");
    group.sample_size(10);
    let shape = Shape::new(4 * EVENTS, 100, 1_000);
    let stream = Stream::generate(shape);
    for windows in [1, 2, 5, 10, 60, 600, 3_600] {
        let size = windows * SECOND;
        let start = Stream::generate(Shape { events: EVENTS / windows as usize, ..shape });
        let checksum =
            row(&mut group, ("batches", windows), &stream, |stream| by_batches(stream, size, SECOND));
        assert_eq!(
            checksum,
            row(&mut group, ("pushed", windows), &stream, |stream| by_kernel(stream, size, SECOND))
        );
        let by_hand = row(&mut group, ("by hand", windows), &start, |stream| by_hand(stream, size, SECOND));
        assert_eq!(by_hand, by_batches(&start, size, SECOND));
        println!("{windows} overlap: {checksum:x?}");
    }
    group.finish();
}

/// Tumbling windows of a second, two, and so on, all over one stream.
fn definitions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("definitions");
    group.sample_size(10);
    let shape = Shape::new(EVENTS, 1_000, 100_000);
    let stream = Stream::generate(shape);
    for windows in [1, 2, 4, 8, 20, 40, 80] {
        let start = Stream::generate(Shape { events: EVENTS / windows as usize, ..shape });
        let checksum =
            row(&mut group, ("pushed", windows), &stream, |stream| many_by_kernel(stream, windows));
        let by_hand = row(&mut group, ("by hand", windows), &start, |stream| many_by_hand(stream, windows));
        assert_eq!(by_hand, many_by_kernel(&start, windows));
        println!("{windows} definitions: {checksum:x?}");
    }
    group.finish();
}

criterion_group!(benches, keys, overlap, definitions);
criterion_main!(benches);
