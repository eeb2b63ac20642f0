//! The streams that the benchmarks run over, the loop that one writes by hand, and the checksum that both
//! must agree on.
//!
//! Event `i` has the base time `i / rate`; its own lies up to a second before that, uniformly, so the
//! stream is out of order throughout and its bound of disorder is exactly a second. Everything comes from
//! one seed.

#![allow(dead_code, unreachable_pub, reason = "shared by benchmarks, each of which uses the part it needs")]

use chrono::TimeDelta;
use floodmark::{Aggregate, Config, Count, Pane, Partition, Sum, Timestamp, Watermark, Windowing, Windows};
use hashbrown::HashMap;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// The stream starts here: November 2023.
const START: i64 = 1_700_000_000 * SECOND;
/// How far events lie behind, at most.
pub const DISORDER: i64 = SECOND;
/// The watermark is looked at after so many events.
const EVERY: usize = 1000;

/// One column per field of an event.
#[derive(Default)]
pub struct Stream {
    pub times: Vec<i64>,
    pub keys: Vec<u64>,
    pub values: Vec<i64>,
    pub partitions: Vec<u32>,
}

/// What a stream looks like.
#[derive(Clone, Copy)]
pub struct Shape {
    pub events: usize,
    pub keys: u64,
    /// Events in a second of event time.
    pub rate: i64,
    /// How many partitions; each lags 20 ms behind the one before.
    pub partitions: u32,
}

impl Stream {
    pub fn generate(shape: Shape) -> Self {
        let mut random = splitmix64(0x5EED);
        let mut below = move |n: u64| ((u128::from(random()) * u128::from(n)) >> 64) as u64;
        let mut stream = Self::default();
        for i in 0..shape.events as i64 {
            let partition = below(u64::from(shape.partitions)) as u32;
            let base = START + i * SECOND / shape.rate - i64::from(partition) * 20_000;
            stream.times.push(base - below(DISORDER as u64) as i64);
            stream.keys.push(mix(below(shape.keys)) >> 1);
            stream.values.push(1 + below(1000) as i64);
            stream.partitions.push(partition);
        }
        stream
    }
}

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
fn splitmix64(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(state)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Counts, sums and hashes all results, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    pub panes: u64,
    pub sum: i64,
    pub hash: u64,
}

impl Checksum {
    #[inline]
    pub fn add(&mut self, key: u64, start: i64, count: u64, sum: i64) {
        self.panes += 1;
        self.sum = self.sum.wrapping_add(sum);
        let words = key ^ mix(start as u64) ^ mix(count).rotate_left(17) ^ mix(sum as u64).rotate_left(31);
        self.hash = self.hash.wrapping_add(mix(words));
    }
}

impl std::ops::Add for Checksum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            panes: self.panes + other.panes,
            sum: self.sum.wrapping_add(other.sum),
            hash: self.hash.wrapping_add(other.hash),
        }
    }
}

/// The loop by hand: one map from (key, window) to an accumulator, every overlapping window updated, and
/// scanned when the watermark passes a slide.
pub fn by_hand(stream: &Stream, size: i64, slide: i64) -> Checksum {
    let partitions = stream.partitions.iter().max().map_or(1, |&last| last as usize + 1);
    let mut latest = vec![i64::MIN / 2; partitions];
    let mut windows: HashMap<(u64, i64), (u64, i64)> = HashMap::new();
    let (mut watermark, mut next) = (i64::MIN, i64::MIN);
    let mut checksum = Checksum::default();
    for from in (0..stream.times.len()).step_by(EVERY) {
        for i in from..(from + EVERY).min(stream.times.len()) {
            let (time, partition) = (stream.times[i], stream.partitions[i] as usize);
            latest[partition] = latest[partition].max(time);
            let mut start = time - time.rem_euclid(slide);
            while start > time - size {
                if start + size > watermark {
                    let entry = windows.entry((stream.keys[i], start)).or_insert((0, 0));
                    entry.0 += 1;
                    entry.1 += stream.values[i];
                }
                start -= slide;
            }
        }
        watermark = latest.iter().copied().min().unwrap_or(i64::MIN) - DISORDER;
        if watermark >= next {
            fire_by_hand(&mut windows, watermark, size, &mut checksum);
            next = watermark - watermark.rem_euclid(slide) + slide;
        }
    }
    fire_by_hand(&mut windows, i64::MAX, size, &mut checksum);
    checksum
}

fn fire_by_hand(
    windows: &mut HashMap<(u64, i64), (u64, i64)>,
    watermark: i64,
    size: i64,
    checksum: &mut Checksum,
) {
    windows.retain(|&(key, start), &mut (count, sum)| {
        let open = start + size > watermark;
        if !open {
            checksum.add(key, start, count, sum);
        }
        open
    });
}

/// Count and sum of the values. (An opaque type: a function pointer would be called for each event.)
pub fn count_and_sum() -> impl Aggregate<i64, Acc = (u64, i64), Output = (u64, i64)> {
    (Count, Sum::of(|value: &i64| *value))
}

/// A kernel that has just been built.
pub fn fresh<A: Aggregate<i64>>((size, slide): (i64, i64), aggregate: A) -> Windowing<u64, i64, A> {
    let micros = TimeDelta::microseconds;
    Config::sliding(micros(size), micros(slide))
        .max_disorder(micros(DISORDER))
        .build(aggregate)
        .expect("the shapes of the benchmarks are valid")
}

/// Tumbling windows of one second, two, and so on up to `windows`, over one stream: a kernel has them all at once.
pub fn many_by_kernel(stream: &Stream, windows: i64) -> Checksum {
    let micros = TimeDelta::microseconds;
    let sizes = (1..=windows).map(|size| Windows::tumbling(micros(size * SECOND)));
    let config = Config::windows(sizes).max_disorder(micros(DISORDER));
    let mut kernel = config.build(count_and_sum()).expect("the shapes of the benchmarks are valid");
    let partition = kernel.add_partition();
    drive(kernel, &[partition], stream)
}

/// The same by hand: a loop for each.
pub fn many_by_hand(stream: &Stream, windows: i64) -> Checksum {
    let sizes = (1..=windows).map(|size| size * SECOND);
    sizes.map(|size| by_hand(stream, size, size)).fold(Checksum::default(), |all, one| all + one)
}

/// A kernel for a stream, and its partitions.
pub fn kernel<A: Aggregate<i64>>(
    stream: &Stream,
    window: (i64, i64),
    aggregate: A,
) -> (Windowing<u64, i64, A>, Vec<Partition>) {
    let mut windows = fresh(window, aggregate);
    let partitions = stream.partitions.iter().max().map_or(1, |&last| last + 1);
    let partitions = (0..partitions).map(|_| windows.add_partition()).collect();
    (windows, partitions)
}

/// The same stream through the kernel, pushed one by one, polled as often as the loop by hand looks.
pub fn by_kernel(stream: &Stream, size: i64, slide: i64) -> Checksum {
    let (windows, partitions) = kernel(stream, (size, slide), count_and_sum());
    drive(windows, &partitions, stream)
}

pub fn drive<A: Aggregate<i64, Output = (u64, i64)>>(
    mut windows: Windowing<u64, i64, A>,
    partitions: &[Partition],
    stream: &Stream,
) -> Checksum {
    let mut checksum = Checksum::default();
    for from in (0..stream.times.len()).step_by(EVERY) {
        for i in from..(from + EVERY).min(stream.times.len()) {
            push(&mut windows, partitions[stream.partitions[i] as usize], stream, i);
        }
        drain(&mut windows, &mut checksum);
    }
    windows.finish();
    drain(&mut windows, &mut checksum);
    checksum
}

#[inline]
pub fn push<A: Aggregate<i64>>(
    windows: &mut Windowing<u64, i64, A>,
    partition: Partition,
    stream: &Stream,
    i: usize,
) {
    let time = Timestamp::from_micros(stream.times[i]);
    let admission = windows.push(partition, time, stream.keys[i], stream.values[i]);
    debug_assert!(matches!(admission, Ok(floodmark::Admission::Accepted)));
    let _ = admission;
}

#[inline]
pub fn drain<A: Aggregate<i64, Output = (u64, i64)>>(
    windows: &mut Windowing<u64, i64, A>,
    checksum: &mut Checksum,
) {
    while let Some(Pane { key, window, value: (count, sum), .. }) = windows.poll() {
        checksum.add(*key, window.start.as_micros(), count, sum);
    }
}

/// Makes everything pushed so far due.
pub fn end<A: Aggregate<i64>>(windows: &mut Windowing<u64, i64, A>, partition: Partition) {
    windows.set_watermark(partition, Watermark::MAX).expect("the partition is there");
}
