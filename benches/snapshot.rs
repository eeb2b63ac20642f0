//! Taking and restoring snapshots, beside a plain postcard dump of the map that one keeps by hand:
//! `cargo bench --bench snapshot`.

mod streams;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use floodmark::Windowing;
use std::collections::BTreeMap;
use streams::{Checksum, SECOND, Shape, Stream, count_and_sum, drain, end, fresh, kernel, push};

const WINDOW: (i64, i64) = (1000 * SECOND, 1000 * SECOND);

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
        group.throughput(Throughput::Elements(entries)).sample_size(10);
        group.bench_function("take", |bencher| bencher.iter(|| windows.snapshot()));
        group.bench_function("restore", |bencher| {
            bencher.iter_batched(
                || fresh(WINDOW, count_and_sum()),
                |fresh: Windowing<u64, i64, _>| fresh.restore(&bytes).expect("the snapshot is sound"),
                BatchSize::PerIteration,
            );
        });
        let dump = postcard::to_allocvec(&map).expect("plain data serializes");
        group.bench_function("by hand, take", |bencher| {
            bencher.iter(|| postcard::to_allocvec(&map).expect("plain data serializes"));
        });
        println!("snapshot {keys} keys: {} bytes for {entries} entries; by hand {}", bytes.len(), dump.len());
        let mut windows = fresh(WINDOW, count_and_sum()).restore(&bytes).expect("the snapshot is sound");
        let (mut checksum, mut expected) = (Checksum::default(), Checksum::default());
        end(&mut windows, partitions[0]);
        drain(&mut windows, &mut checksum);
        map.iter().for_each(|(&(key, start), &(count, sum))| expected.add(key, start, count, sum));
        assert_eq!(checksum, expected);
        println!("snapshot {keys} keys: {checksum:x?}");
        group.finish();
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

criterion_group!(benches, snapshot);
criterion_main!(benches);
