//! The streams that the benchmarks run over, the loop that one writes by hand, and the checksum that both
//! must agree on.
//!
//! Event `i` has the base time `i / rate`; its own lies up to a second before that, uniformly, so the
//! stream is out of order throughout and its bound of disorder is exactly a second. Everything comes from
//! one seed.

#![allow(dead_code, unreachable_pub, reason = "shared by benchmarks, each of which uses the part it needs")]

pub mod bare;
pub mod columns;
pub mod wheel;

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::Range;

use chrono::TimeDelta;
use floodmark::{
    Aggregate, Batch, Config, Count, Max, Pane, Partition, Sum, Times, Timestamp, ToKey, Watermark,
    Windowing, Windows,
};
use hashbrown::HashMap;

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// The stream starts here: November 2023.
const START: i64 = 1_700_000_000 * SECOND;
/// How far events lie behind, at most.
pub const DISORDER: i64 = SECOND;
/// The watermark is looked at after so many events: a batch.
const EVERY: usize = 1024;

/// One column per field of an event.
#[derive(Clone, Default)]
pub struct Stream {
    pub times: Vec<i64>,
    pub keys: Vec<u64>,
    /// What the keys are made of: small numbers.
    pub indices: Vec<u32>,
    pub values: Vec<i64>,
    pub partitions: Vec<u32>,
    /// Their handles, which are the same in all kernels that have just been built.
    pub handles: Vec<Partition>,
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
    /// Of a hundred events, how many come up to 20 s later than they may.
    pub late: u64,
    /// Whether the `n`th key is `n` times as rare as the first (Zipf's law), or all are as frequent.
    pub skewed: bool,
}

impl Shape {
    /// One partition, nothing late.
    pub fn new(events: usize, keys: u64, rate: i64) -> Self {
        Self { events, keys, rate, partitions: 1, late: 0, skewed: false }
    }
}

impl Stream {
    pub fn generate(shape: Shape) -> Self {
        let mut random = splitmix64(0x5EED);
        let mut below = move |n: u64| ((u128::from(random()) * u128::from(n)) >> 64) as u64;
        let mut stream = Self::default();
        let mut scratch = fresh::<u64, _>((SECOND, SECOND), Count);
        let handles: Vec<Partition> = (0..shape.partitions).map(|_| scratch.add_partition()).collect();
        let frequencies = if shape.skewed { zipf(shape.keys) } else { Vec::new() };
        for i in 0..shape.events as i64 {
            let partition = below(u64::from(shape.partitions)) as u32;
            let base = START + i * SECOND / shape.rate - i64::from(partition) * 20_000;
            let disorder = below(DISORDER as u64) as i64;
            let is_late = shape.late > 0 && below(100) < shape.late;
            let late = if is_late { DISORDER + below(20 * SECOND as u64) as i64 } else { 0 };
            stream.times.push(base - disorder - late);
            stream.indices.push(match frequencies.last() {
                Some(all) => {
                    let at = below(1 << 53) as f64 / (1_u64 << 53) as f64 * all;
                    frequencies.partition_point(|&up_to| up_to <= at) as u32
                }
                None => below(shape.keys) as u32,
            });
            stream.keys.push(key_of(stream.indices[i as usize]));
            stream.values.push(1 + below(1000) as i64);
            stream.partitions.push(partition);
            stream.handles.push(handles[partition as usize]);
        }
        stream
    }
}

/// How often one of the first `n` keys comes, for each `n`, in times that the first one does.
fn zipf(keys: u64) -> Vec<f64> {
    let add = |sum: &mut f64, n: u64| {
        *sum += 1.0 / n as f64;
        Some(*sum)
    };
    (1..=keys).scan(0.0, add).collect()
}

/// The key with an index.
pub fn key_of(index: u32) -> u64 {
    mix(index.into()) >> 1
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
    by_hand_of(stream, &stream.keys, |&key| key, size, slide)
}

/// The same for keys of any kind.
fn by_hand_of<K: Clone + Eq + Hash>(
    stream: &Stream,
    keys: &[K],
    number: impl Fn(&K) -> u64,
    size: i64,
    slide: i64,
) -> Checksum {
    let partitions = stream.partitions.iter().max().map_or(1, |&last| last as usize + 1);
    let mut latest = vec![i64::MIN / 2; partitions];
    let mut windows: HashMap<(K, i64), (u64, i64)> = HashMap::new();
    let (mut watermark, mut next) = (i64::MIN, i64::MIN);
    let mut checksum = Checksum::default();
    for from in (0..stream.times.len()).step_by(EVERY) {
        let until = (from + EVERY).min(stream.times.len());
        for (i, key) in (from..until).zip(&keys[from..until]) {
            let (time, partition) = (stream.times[i], stream.partitions[i] as usize);
            let mut start = time - time.rem_euclid(slide);
            while start > time - size {
                if start + size > watermark {
                    let entry = windows.entry((key.clone(), start)).or_insert((0, 0));
                    entry.0 += 1;
                    entry.1 += stream.values[i];
                }
                start -= slide;
            }
            latest[partition] = latest[partition].max(time);
            if partitions == 1 {
                // An event is late by those before it.
                watermark = latest[partition] - DISORDER;
            }
        }
        watermark = latest.iter().copied().min().unwrap_or(i64::MIN) - DISORDER;
        if watermark >= next {
            fire_by_hand(&mut windows, &number, watermark, size, &mut checksum);
            next = watermark - watermark.rem_euclid(slide) + slide;
        }
    }
    fire_by_hand(&mut windows, &number, i64::MAX, size, &mut checksum);
    checksum
}

/// Sessions by hand: each key's in a list, with a timer under the second in which the session would end. A timer that
/// goes off before the session has ended is put down again.
pub fn sessions_by_hand(stream: &Stream, gap: i64) -> Checksum {
    let mut sessions: HashMap<u64, Vec<Session>> = HashMap::new();
    let mut timers: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    let (mut latest, mut checksum) = (i64::MIN / 2, Checksum::default());
    for from in (0..stream.times.len()).step_by(EVERY) {
        for i in from..(from + EVERY).min(stream.times.len()) {
            let (time, key) = (stream.times[i], stream.keys[i]);
            latest = latest.max(time);
            if add_to_sessions(sessions.entry(key).or_default(), time, stream.values[i], gap) {
                timers.entry((time + gap).div_euclid(SECOND)).or_default().push(key);
            }
        }
        end_sessions(&mut sessions, &mut timers, latest - DISORDER, gap, &mut checksum);
    }
    end_sessions(&mut sessions, &mut timers, i64::MAX, gap, &mut checksum);
    checksum
}

struct Session {
    first: i64,
    last: i64,
    count: u64,
    sum: i64,
}

/// Whether the event has begun a session.
fn add_to_sessions(sessions: &mut Vec<Session>, time: i64, value: i64, gap: i64) -> bool {
    let mut own = Session { first: time, last: time, count: 1, sum: value };
    let mut joined = false;
    sessions.retain(|session| {
        let touches = time <= session.last + gap && session.first <= time + gap;
        if touches {
            own.first = own.first.min(session.first);
            own.last = own.last.max(session.last);
            own.count += session.count;
            own.sum += session.sum;
            joined = true;
        }
        !touches
    });
    sessions.push(own);
    !joined
}

fn end_sessions(
    sessions: &mut HashMap<u64, Vec<Session>>,
    timers: &mut BTreeMap<i64, Vec<u64>>,
    watermark: i64,
    gap: i64,
    checksum: &mut Checksum,
) {
    while let Some(first) = timers.first_entry()
        && (first.key() + 1) * SECOND <= watermark
    {
        for key in first.remove() {
            let Some(own) = sessions.get_mut(&key) else { continue };
            own.retain(|session| {
                let ended = session.last + gap <= watermark;
                if ended {
                    checksum.add(key, session.first, session.count, session.sum);
                }
                !ended
            });
            if own.is_empty() {
                sessions.remove(&key);
            } else {
                let next = own.iter().map(|session| session.last).min().unwrap_or(0) + gap;
                timers.entry(next.div_euclid(SECOND)).or_default().push(key);
            }
        }
    }
}

/// A number for a key that is a string.
fn number(key: &str) -> u64 {
    u64::from_str_radix(key, 16).expect("the keys are numbers in hexadecimal")
}

/// The loop by hand over keys that are strings.
pub fn strings_by_hand(stream: &Stream, keys: &[String], size: i64) -> Checksum {
    by_hand_of(stream, keys, |key| number(key), size, size)
}

/// Keys that are strings in batches, borrowed.
pub fn strings_by_batches(stream: &Stream, keys: &[String], size: i64) -> Checksum {
    let micros = TimeDelta::microseconds;
    let config = Config::tumbling(micros(size)).max_disorder(micros(DISORDER));
    let mut kernel: Windowing<String, i64, _> =
        config.build(count_and_sum()).expect("the shapes of the benchmarks are valid");
    let partition = kernel.add_partition();
    let borrowed: Vec<&str> = keys.iter().map(String::as_str).collect();
    drive_batches(kernel, &[partition], stream, &borrowed, |key| number(key))
}

/// What no windows at all would cost: one upsert by key for each event.
pub fn floor(stream: &Stream) -> usize {
    upserted(stream).len()
}

#[inline(always)]
fn upserted(stream: &Stream) -> HashMap<u64, (u64, i64)> {
    let mut sums: HashMap<u64, (u64, i64)> = HashMap::new();
    for (&key, &value) in stream.keys.iter().zip(&stream.values) {
        let entry = sums.entry(key).or_insert((0, 0));
        entry.0 += 1;
        entry.1 += value;
    }
    sums
}

/// The same where keys have an index: an addition for each event.
pub fn dense_floor(stream: &Stream) -> usize {
    let keys = stream.indices.iter().max().map_or(0, |&last| last as usize + 1);
    let mut sums = vec![(0_u64, 0_i64); keys];
    for (&index, &value) in stream.indices.iter().zip(&stream.values) {
        let entry = &mut sums[index as usize];
        entry.0 += 1;
        entry.1 += value;
    }
    sums.iter().filter(|sum| sum.0 > 0).count()
}

fn fire_by_hand<K>(
    windows: &mut HashMap<(K, i64), (u64, i64)>,
    number: impl Fn(&K) -> u64,
    watermark: i64,
    size: i64,
    checksum: &mut Checksum,
) {
    windows.retain(|(key, start), &mut (count, sum)| {
        let (key, start) = (number(key), *start);
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
pub fn fresh<K, A: Aggregate<i64>>((size, slide): (i64, i64), aggregate: A) -> Windowing<K, i64, A> {
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
pub fn kernel<K, A: Aggregate<i64>>(
    stream: &Stream,
    window: (i64, i64),
    aggregate: A,
) -> (Windowing<K, i64, A>, Vec<Partition>) {
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

/// The same stream in batches.
pub fn by_batches(stream: &Stream, size: i64, slide: i64) -> Checksum {
    let (windows, partitions) = kernel(stream, (size, slide), count_and_sum());
    drive_batches(windows, &partitions, stream, &stream.keys, |key| *key)
}

/// The largest value, in batches.
pub fn max_by_batches(stream: &Stream, size: i64, slide: i64) -> Checksum {
    let (windows, partitions) = kernel(stream, (size, slide), Max::of(|value: &i64| *value));
    drive_batches_to(windows, &partitions, stream, &stream.keys, |checksum, key, start, value| {
        checksum.add(*key, start, 0, value);
    })
}

/// The same with keys that are an index each.
pub fn by_index(stream: &Stream, size: i64, slide: i64) -> Checksum {
    let (windows, partitions) = kernel::<u32, _>(stream, (size, slide), count_and_sum());
    drive_batches(windows.indexed(), &partitions, stream, &stream.indices, |&index| key_of(index))
}

/// A kernel for sessions.
pub fn sessions<K, A: Aggregate<i64>>(gap: i64, aggregate: A) -> (Windowing<K, i64, A>, Vec<Partition>)
where
    K: Hash + Eq + Clone,
{
    let micros = TimeDelta::microseconds;
    let config = Config::session(micros(gap)).max_disorder(micros(DISORDER));
    let mut windows = config.build(aggregate).expect("the shapes of the benchmarks are valid");
    let partition = windows.add_partition();
    (windows, vec![partition])
}

/// Sessions, in batches or pushed one by one.
pub fn sessions_by_kernel(stream: &Stream, gap: i64, in_batches: bool) -> Checksum {
    let (windows, partitions) = sessions(gap, count_and_sum());
    match in_batches {
        true => drive_batches(windows, &partitions, stream, &stream.keys, |key| *key),
        false => drive(windows, &partitions, stream),
    }
}

/// The same stream as if it had no keys, in batches.
pub fn unkeyed_by_batches(stream: &Stream, size: i64) -> Checksum {
    let micros = TimeDelta::microseconds;
    let config = Config::tumbling(micros(size)).max_disorder(micros(DISORDER));
    let mut kernel = config.build(count_and_sum()).expect("the shapes of the benchmarks are valid");
    let partition = kernel.add_partition();
    let key = stream.keys.first().copied().unwrap_or(0);
    drive_batches(kernel, &[partition], stream, &vec![(); stream.times.len()], |()| key)
}

fn drive_batches<K, Q, A>(
    windows: Windowing<K, i64, A>,
    partitions: &[Partition],
    stream: &Stream,
    keys: &[Q],
    number: impl Fn(&K) -> u64,
) -> Checksum
where
    K: Hash + Eq + Clone,
    Q: ToKey<K>,
    A: Aggregate<i64, Output = (u64, i64)>,
{
    drive_batches_to(windows, partitions, stream, keys, |checksum, key, start, (count, sum)| {
        checksum.add(number(key), start, count, sum);
    })
}

/// Gives the stream in batches, and each pane's key, start and value to the checksum.
fn drive_batches_to<K, Q, A>(
    mut windows: Windowing<K, i64, A>,
    partitions: &[Partition],
    stream: &Stream,
    keys: &[Q],
    add: impl Fn(&mut Checksum, &K, i64, A::Output),
) -> Checksum
where
    K: Hash + Eq + Clone,
    Q: ToKey<K>,
    A: Aggregate<i64>,
{
    let mut checksum = Checksum::default();
    let mut drain = |windows: &mut Windowing<K, i64, A>| {
        windows.drain(usize::MAX, |Pane { key, window, value, .. }| {
            add(&mut checksum, key, window.start.as_micros(), value);
        });
    };
    for from in (0..stream.times.len()).step_by(EVERY) {
        let events = from..(from + EVERY).min(stream.times.len());
        let (times, keys) = (Times::micros(&stream.times[events.clone()]), &keys[events.clone()]);
        let values = &stream.values[events.clone()];
        let batch: Batch<'_> = match partitions {
            [partition] => windows.push_batch(*partition, times, keys, values),
            _ => windows.push_batch(&stream.handles[events], times, keys, values),
        }
        .expect("the columns are of one length");
        let _ = batch;
        drain(&mut windows);
    }
    windows.finish();
    drain(&mut windows);
    checksum
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
    let _ = windows.push(partition, time, stream.keys[i], stream.values[i]);
}

#[inline]
pub fn drain<A: Aggregate<i64, Output = (u64, i64)>>(
    windows: &mut Windowing<u64, i64, A>,
    checksum: &mut Checksum,
) {
    drain_some(windows, checksum, usize::MAX);
}

/// Drains so many panes at most; how many it were.
#[inline]
pub fn drain_some<A: Aggregate<i64, Output = (u64, i64)>>(
    windows: &mut Windowing<u64, i64, A>,
    checksum: &mut Checksum,
    most: usize,
) -> usize {
    windows.drain(most, |Pane { key, window, value: (count, sum), .. }| {
        checksum.add(*key, window.start.as_micros(), count, sum);
    })
}

/// A batch of events that all come through one partition.
pub fn push_batch<A: Aggregate<i64>>(
    windows: &mut Windowing<u64, i64, A>,
    partition: Partition,
    stream: &Stream,
    events: Range<usize>,
) {
    let times = Times::micros(&stream.times[events.clone()]);
    let (keys, values) = (&stream.keys[events.clone()], &stream.values[events]);
    let batch = windows.push_batch(partition, times, keys, values);
    let _ = batch.expect("the columns are of one length");
}

/// Makes everything pushed so far due.
pub fn end<A: Aggregate<i64>>(windows: &mut Windowing<u64, i64, A>, partition: Partition) {
    windows.set_watermark(partition, Watermark::MAX).expect("the partition is there");
}
