//! Firing alone: draining one window of many keys, beside a scan of the map that one keeps by hand:
//! `cargo bench --bench fire`.

mod streams;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hashbrown::HashMap;
use streams::{Checksum, SECOND, Shape, Stream, count_and_sum, drain, end, kernel, push};

/// All events in one window, so that all its panes are due at once.
const WINDOW: (i64, i64) = (1000 * SECOND, 1000 * SECOND);

fn fire(criterion: &mut Criterion) {
    for keys in [1_000, 100_000, 1_000_000] {
        let stream = Stream::generate(Shape::new(2 * keys as usize, keys, 1_000_000));
        let mut group = criterion.benchmark_group(format!("fire {keys} keys"));
        let panes = by_hand_map(&stream).len() as u64;
        group.throughput(Throughput::Elements(panes)).sample_size(10);
        for ordered in [false, true] {
            let row = if ordered { "kernel, by key" } else { "kernel" };
            group.bench_function(row, |bencher| {
                bencher.iter_batched(
                    || loaded(&stream, ordered),
                    |mut windows| {
                        let mut checksum = Checksum::default();
                        drain(&mut windows, &mut checksum);
                        (windows, checksum)
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.bench_function("by hand", |bencher| {
            bencher.iter_batched(
                || by_hand_map(&stream),
                |mut map| {
                    let mut checksum = Checksum::default();
                    map.retain(|&(key, start), &mut (count, sum)| {
                        checksum.add(key, start, count, sum);
                        false
                    });
                    (map, checksum)
                },
                BatchSize::PerIteration,
            );
        });
        let mut checksum = Checksum::default();
        drain(&mut loaded(&stream, false), &mut checksum);
        let mut expected = Checksum::default();
        by_hand_map(&stream)
            .iter()
            .for_each(|(&(k, start), &(count, sum))| expected.add(k, start, count, sum));
        assert_eq!(checksum, expected);
        println!("fire {keys} keys: {checksum:x?}");
        group.finish();
    }
}

/// A kernel whose one window is due.
fn loaded(
    stream: &Stream,
    ordered: bool,
) -> floodmark::Windowing<u64, i64, impl floodmark::Aggregate<i64, Output = (u64, i64)> + use<>> {
    let (windows, partitions) = kernel(stream, WINDOW, count_and_sum());
    let mut windows = if ordered { windows.ordered() } else { windows };
    for i in 0..stream.times.len() {
        push(&mut windows, partitions[0], stream, i);
    }
    end(&mut windows, partitions[0]);
    windows
}

fn by_hand_map(stream: &Stream) -> HashMap<(u64, i64), (u64, i64)> {
    let mut map: HashMap<(u64, i64), (u64, i64)> = HashMap::new();
    for i in 0..stream.times.len() {
        let start = stream.times[i] - stream.times[i].rem_euclid(WINDOW.0);
        let entry = map.entry((stream.keys[i], start)).or_insert((0, 0));
        entry.0 += 1;
        entry.1 += stream.values[i];
    }
    map
}

criterion_group!(benches, fire);
criterion_main!(benches);
