//! What the kernel allocates: nothing in steady state, and only what is live (E2).

#[path = "../fuzz/fuzz_targets/shared/mod.rs"]
mod shared;

use chrono::TimeDelta;
use floodmark::{
    Accumulation, Admission, Aggregate, Collect, Config, Count, LateFiring, Max, Partition, Sum, Times,
    Timestamp, Trigger, Watermark, Windowing, Windows,
};
use shared::allocation::{Tally, measure, tally};

const SECOND: i64 = 1_000_000;

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

fn itself(value: &i64) -> i64 {
    *value
}

type Totals = (Count, Sum<fn(&i64) -> i64, i64>);

fn totals() -> Totals {
    (Count, Sum::of(itself as fn(&i64) -> i64))
}

/// An endless stream of events, always the same: so many a second, each of a random key.
struct Stream {
    random: u64,
    now: i64,
    step: i64,
    keys: u64,
    /// Events are up to this much behind.
    disorder: i64,
}

impl Stream {
    fn new(per_second: i64, keys: u64) -> Self {
        Self { random: 1, now: 0, step: SECOND / per_second, keys, disorder: SECOND / 4 }
    }

    fn random(&mut self) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next(&mut self) -> (Timestamp, u64, i64) {
        self.now += self.step;
        let back = self.random() as i64 & i64::MAX;
        let key = self.random() % self.keys;
        (Timestamp::from_micros(self.now - back % self.disorder), key, 1)
    }
}

/// Pushes events for so many seconds of their time and polls after each: how many panes there were.
fn run<A: Aggregate<i64>>(
    kernel: &mut Windowing<u64, i64, A>,
    partitions: &[Partition],
    stream: &mut Stream,
    seconds: i64,
) -> u64 {
    let mut panes = 0;
    let until = stream.now + seconds * SECOND;
    while stream.now < until {
        let (time, key, value) = stream.next();
        let partition = partitions[key as usize % partitions.len()];
        assert_eq!(kernel.push(partition, time, key, value).unwrap(), Admission::Accepted);
        while kernel.poll().is_some() {
            panes += 1;
        }
    }
    panes
}

/// Nothing is allocated from when the stream has run for `warm_up` seconds.
#[track_caller]
fn assert_steady<A: Aggregate<i64>>(
    mut kernel: Windowing<u64, i64, A>,
    partitions: usize,
    mut stream: Stream,
    warm_up: i64,
    measured: i64,
) {
    let partitions: Vec<Partition> = (0..partitions).map(|_| kernel.add_partition()).collect();
    run(&mut kernel, &partitions, &mut stream, warm_up);
    let state = kernel.state_bytes();
    let (panes, tally) = measure(|| run(&mut kernel, &partitions, &mut stream, measured));
    assert!(panes > 1000, "only {panes} panes");
    assert_eq!(tally, Tally::default(), "in {panes} panes");
    assert_eq!(kernel.state_bytes(), state);
}

fn tumbling() -> Windowing<u64, i64, Totals> {
    Config::tumbling(seconds(1)).max_disorder(seconds(1)).seed(1).build(totals()).unwrap()
}

fn sliding() -> Windowing<u64, i64, Totals> {
    Config::sliding(seconds(60), seconds(1)).max_disorder(seconds(1)).seed(1).build(totals()).unwrap()
}

#[test]
fn e2_steady_tumbling_allocates_nothing() {
    assert_steady(tumbling(), 1, Stream::new(10_000, 1000), 20, 60);
}

#[test]
fn e2_steady_tumbling_in_order_of_keys_allocates_nothing() {
    assert_steady(tumbling().ordered(), 1, Stream::new(10_000, 1000), 20, 60);
}

#[test]
fn e2_steady_tumbling_of_64_partitions_allocates_nothing() {
    assert_steady(tumbling(), 64, Stream::new(10_000, 1000), 20, 60);
}

#[test]
fn e2_steady_sliding_allocates_nothing() {
    assert_steady(sliding(), 1, Stream::new(10_000, 1000), 200, 200);
}

#[test]
fn e2_steady_sliding_in_order_of_keys_allocates_nothing() {
    assert_steady(sliding().ordered(), 1, Stream::new(10_000, 1000), 200, 200);
}

#[test]
fn e2_steady_sliding_of_64_partitions_allocates_nothing() {
    assert_steady(sliding(), 64, Stream::new(10_000, 1000), 200, 200);
}

#[test]
fn e2_steady_sliding_by_subtraction_allocates_nothing() {
    assert_steady(sliding().subtract_on_evict(), 1, Stream::new(10_000, 1000), 200, 200);
}

#[test]
fn e2_steady_sliding_of_sparse_slices_allocates_nothing() {
    assert_steady(sliding(), 1, Stream::new(100, 1000), 400, 400);
}

#[test]
fn e2_steady_sliding_by_subtraction_of_sparse_slices_allocates_nothing() {
    assert_steady(sliding().subtract_on_evict(), 1, Stream::new(100, 1000), 400, 400);
}

#[test]
fn e2_steady_tumbling_by_index_allocates_nothing() {
    assert_steady(tumbling().indexed(), 1, Stream::new(10_000, 5000), 20, 60);
}

#[test]
fn e2_steady_sliding_by_index_allocates_nothing() {
    assert_steady(sliding().indexed(), 1, Stream::new(10_000, 1000), 200, 200);
}

/// Late events in every batch, too.
#[test]
fn e2_steady_batches_allocate_nothing() {
    assert_steady_in_batches(tumbling());
    assert_steady_in_batches(tumbling().indexed());
}

fn assert_steady_in_batches(mut kernel: Windowing<u64, i64, Totals>) {
    let partition = kernel.add_partition();
    let mut stream = Stream::new(10_000, 1000);
    let (mut times, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut run = |batches: usize| {
        let (mut late, mut panes) = (0, 0);
        for _ in 0..batches {
            times.clear();
            keys.clear();
            values.clear();
            for place in 0..700 {
                let (time, key, value) = stream.next();
                let behind = if place % 10 == 9 { 5 * SECOND } else { 0 };
                times.push(time.as_micros() - behind);
                keys.push(key);
                values.push(value);
            }
            let batch = kernel.push_batch(partition, Times::micros(&times), &keys, &values).unwrap();
            late += batch.exceptions().len();
            while kernel.poll().is_some() {
                panes += 1;
            }
        }
        (late, panes)
    };
    run(300);
    let ((late, panes), tally) = measure(|| run(600));
    assert!(late > 600 * 60 && panes > 1000, "{late} late, {panes} panes");
    assert_eq!(tally, Tally::default());
}

#[test]
fn e2_steady_sessions_allocate_nothing() {
    let config = Config::session(seconds(1)).max_disorder(seconds(1));
    assert_steady(config.build::<u64, i64, _>(totals()).unwrap(), 1, Stream::new(1000, 2000), 400, 60);
}

#[test]
fn e2_steady_windows_drained_before_the_next_allocate_nothing() {
    let mut kernel: Windowing<u64, i64, Totals> = Config::tumbling(seconds(1)).build(totals()).unwrap();
    let partition = kernel.add_partition();
    let mut windows = 0;
    let mut window = |kernel: &mut Windowing<u64, i64, Totals>| {
        for n in 0..2000 {
            let time = Timestamp::from_micros(windows * SECOND + n);
            assert_eq!(kernel.push(partition, time, n as u64 % 1000, 1).unwrap(), Admission::Accepted);
        }
        windows += 1;
        kernel.set_watermark(partition, Watermark::from_micros(windows * SECOND)).unwrap();
        while kernel.poll().is_some() {}
    };
    (0..20).for_each(|_| window(&mut kernel));
    let ((), tally) = measure(|| (0..20).for_each(|_| window(&mut kernel)));
    assert_eq!(tally, Tally::default());
}

/// A push that is given back or refused allocates nothing either.
#[test]
fn l3_events_given_back_allocate_nothing() {
    let mut kernel = tumbling();
    let partition = kernel.add_partition();
    kernel.set_watermark(partition, Watermark::from_micros(100 * SECOND)).unwrap();
    assert!(kernel.poll().is_none());
    let ((), tally) = measure(|| {
        for n in 0..1000 {
            let late = kernel.push(partition, Timestamp::from_micros(n), 1, 1);
            assert!(matches!(late, Ok(Admission::Late(_))));
            assert!(kernel.push(partition, Timestamp::MAX, 1, 1).is_err());
        }
    });
    assert_eq!(tally, Tally::default());
}

/// Memory returns at the end of input, and as well when the stream goes on but brings nothing.
#[track_caller]
fn assert_empties<A: Aggregate<i64>>(build: impl Fn() -> Windowing<u64, i64, A>) {
    assert_empties_by(&build, |kernel, _| {
        kernel.finish();
        while kernel.poll().is_some() {}
    });
    assert_empties_by(&build, |kernel, partition| {
        for seconds in [1_000, 2_000] {
            kernel.set_watermark(partition, Watermark::from_micros(seconds * SECOND)).unwrap();
            while kernel.poll().is_some() {}
        }
    });
}

/// Fills a kernel with 20 windows' worth of 20,000 keys, with late events where those are accepted, empties
/// it and compares with what it took when it was new.
#[track_caller]
fn assert_empties_by<A: Aggregate<i64>>(
    build: impl Fn() -> Windowing<u64, i64, A>,
    empty_it: impl Fn(&mut Windowing<u64, i64, A>, Partition),
) {
    let before = tally().live;
    let mut kernel = build();
    let partition = kernel.add_partition();
    let (empty, empty_live) = (kernel.state_bytes(), tally().live - before);
    for n in 0..400_000 {
        let time = Timestamp::from_micros(n * SECOND / 20_000);
        let _ = kernel.push(partition, time, n as u64 * 7 % 20_000, 1).unwrap();
        if n % 50_000 == 49_999 {
            while kernel.poll().is_some() {}
            for back in 1..200 {
                let _ = kernel.push(partition, time_before(time, back * SECOND / 50), n as u64, 1).unwrap();
            }
        }
    }
    let full = kernel.state_bytes();
    assert!(full > 500_000, "{full}");
    empty_it(&mut kernel, partition);
    assert_eq!(kernel.live_slices(), 0);
    let (left, live) = (kernel.state_bytes(), tally().live - before);
    assert!(left <= empty + full / 50, "{left} bytes of {full} are left; empty it took {empty}");
    assert!(
        live <= empty_live + full as i64 / 50,
        "{live} bytes of {full} are still allocated, {left} by the kernel's count; empty it took {empty_live}"
    );
}

/// What is large goes a little with each poll while the stream goes on, and at once when it has ended.
#[test]
fn e2_large_memory_returns_step_by_step() {
    const KEYS: i64 = 300_000;
    for (size, is_end) in [(1, false), (1, true), (3, false), (3, true)] {
        let before = tally().live;
        let config = Config::sliding(seconds(size), seconds(1)).ascending();
        let mut kernel: Windowing<u64, i64, _> = config.build(totals()).unwrap();
        let partition = kernel.add_partition();
        let live = |kernel: &Windowing<u64, i64, _>| tally().live - before - kernel.state_bytes() as i64;
        for n in 0..2 * KEYS {
            let time = Timestamp::from_micros(n * SECOND / KEYS);
            assert_eq!(kernel.push(partition, time, (n % KEYS) as u64, 1).unwrap(), Admission::Accepted);
            let _ = kernel.poll();
        }
        for seconds in [1_000, 2_000] {
            kernel.set_watermark(partition, Watermark::from_micros(seconds * SECOND)).unwrap();
            while kernel.poll().is_some() {}
        }
        if is_end {
            kernel.finish();
            assert!(kernel.poll().is_none());
        }
        assert!(kernel.state_bytes() < 10_000, "{} bytes are state", kernel.state_bytes());
        let left = live(&kernel);
        assert!(is_end || left > 8 << 20, "{left} bytes have not gone yet");
        let mut polls = 0;
        while live(&kernel) > 20_000 && polls < 10_000 {
            assert!(kernel.poll().is_none());
            polls += 1;
        }
        let least = if cfg!(target_os = "linux") { left >> 19 } else { 2 };
        assert!(
            if is_end { polls == 0 } else { (least..10_000).contains(&polls) },
            "{left} bytes took {polls} polls"
        );
    }
}

/// A host that never has all that is due gets no more memory than one that has.
#[test]
fn e2_large_memory_returns_while_there_is_more_to_poll() {
    const KEYS: i64 = 300_000;
    let before = tally().live;
    let config = Config::sliding(seconds(5), seconds(2)).ascending();
    let mut kernel: Windowing<u64, i64, _> = config.build(totals()).unwrap();
    let partition = kernel.add_partition();
    let (mut most, mut panes) = (0, 0);
    for n in 0..24 * KEYS {
        let time = Timestamp::from_micros(n * SECOND / KEYS);
        assert_eq!(kernel.push(partition, time, (n % KEYS) as u64, 1).unwrap(), Admission::Accepted);
        // There are half as many panes as events, and two windows are always due.
        if n > 7 * KEYS && n % 2 == 0 {
            panes += i64::from(kernel.poll().is_some());
        }
        most = most.max(tally().live - before - kernel.state_bytes() as i64);
    }
    assert_eq!(panes, 17 * KEYS / 2 - 1, "polls have given nothing");
    // What leaves with a slice are five megabytes.
    assert!(most < 12 << 20, "{most} bytes are allocated that are no state");
}

fn time_before(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() - micros)
}

#[test]
fn e2_memory_returns_after_tumbling_windows() {
    assert_empties(tumbling);
}

#[test]
fn e2_memory_returns_after_tumbling_windows_by_index() {
    assert_empties(|| tumbling().indexed());
}

#[test]
fn e2_memory_returns_after_tumbling_windows_in_order_of_keys() {
    assert_empties(|| tumbling().ordered());
}

#[test]
fn e2_memory_returns_after_sliding_windows() {
    assert_empties(|| {
        Config::sliding(seconds(6), seconds(1))
            .max_disorder(seconds(1))
            .build::<u64, i64, _>(totals())
            .unwrap()
    });
}

#[test]
fn e2_memory_returns_after_sliding_windows_by_subtraction() {
    assert_empties(|| {
        let config = Config::sliding(seconds(6), seconds(1)).max_disorder(seconds(1));
        config.build::<u64, i64, _>(totals()).unwrap().subtract_on_evict()
    });
}

#[test]
fn e2_memory_returns_after_late_events() {
    assert_empties(|| {
        let config = Config::tumbling(seconds(1)).max_disorder(seconds(1)).allowed_lateness(seconds(5));
        config.build::<u64, i64, _>(totals()).unwrap()
    });
}

#[test]
fn e2_memory_returns_after_late_events_once_per_drain() {
    assert_empties(|| {
        Config::tumbling(seconds(1))
            .max_disorder(seconds(1))
            .allowed_lateness(seconds(5))
            .late_firing(LateFiring::OncePerDrain)
            .build::<u64, i64, _>(totals())
            .unwrap()
    });
}

#[test]
fn e2_memory_returns_after_sessions() {
    assert_empties(|| {
        let config = Config::session(seconds(1)).max_disorder(seconds(1)).allowed_lateness(seconds(5));
        config.build::<u64, i64, _>(totals()).unwrap()
    });
}

#[test]
fn e2_memory_returns_after_several_definitions_with_early_and_retracted_panes() {
    assert_empties(|| {
        let early = Trigger::on_time().early_every(seconds(1)).early_every_events(3);
        let windows = [
            Windows::cumulative(seconds(1), seconds(4)),
            Windows::session(seconds(1)),
            Windows::tumbling(seconds(2)),
        ];
        Config::windows(windows.map(|windows| windows.trigger(early)))
            .accumulation(Accumulation::Retracting)
            .max_disorder(seconds(1))
            .build::<u64, i64, _>(totals())
            .unwrap()
    });
}

#[test]
fn e2_memory_returns_after_accumulators_on_the_heap() {
    assert_empties(|| {
        let config = Config::tumbling(seconds(10)).max_disorder(seconds(1));
        config.build::<u64, i64, _>(Collect::of(itself as fn(&i64) -> i64)).unwrap()
    });
}

/// The count that the budget goes by is the allocator's, within a factor.
#[track_caller]
fn assert_counted<A: Aggregate<i64>>(kernel: &Windowing<u64, i64, A>, before: i64) {
    let live = tally().live - before;
    let share = kernel.state_bytes() as f64 / live as f64;
    assert!((0.8..=1.3).contains(&share), "counted {} bytes, allocated {live}", kernel.state_bytes());
}

#[track_caller]
fn assert_counts<A: Aggregate<i64>>(build: impl Fn() -> Windowing<u64, i64, A>) {
    let before = tally().live;
    let mut kernel = build();
    let partition = kernel.add_partition();
    let push = |kernel: &mut Windowing<u64, i64, A>, n: i64| {
        let time = Timestamp::from_micros(n * SECOND / 100_000);
        let _ = kernel.push(partition, time, n as u64 % 100_000, n).unwrap();
    };
    for n in 0..100_000 {
        push(&mut kernel, n);
        if n == 1000 || n == 30_000 {
            assert_counted(&kernel, before);
        }
    }
    assert_counted(&kernel, before);
    // In the middle of a drain, and after one.
    for n in 100_000..330_000 {
        push(&mut kernel, n);
        if n % 1000 == 0 {
            (0..500).for_each(|_| drop(kernel.poll()));
        }
    }
    assert_counted(&kernel, before);
    while kernel.poll().is_some() {}
    assert_counted(&kernel, before);
}

#[test]
fn e2_state_bytes_are_what_is_allocated_tumbling() {
    assert_counts(tumbling);
}

#[test]
fn e2_state_bytes_are_what_is_allocated_by_index() {
    assert_counts(|| tumbling().indexed());
    assert_counts(|| {
        let built = Config::sliding(seconds(3), seconds(1)).ascending().build::<u64, i64, _>(totals());
        built.unwrap().indexed()
    });
}

#[test]
fn e2_state_bytes_are_what_is_allocated_in_order_of_keys() {
    assert_counts(|| tumbling().ordered());
}

#[test]
fn e2_state_bytes_are_what_is_allocated_sliding() {
    assert_counts(|| {
        Config::sliding(seconds(3), seconds(1)).ascending().build::<u64, i64, _>(totals()).unwrap()
    });
}

#[test]
fn e2_state_bytes_are_what_is_allocated_by_subtraction() {
    let config = Config::sliding(seconds(3), seconds(1)).ascending();
    assert_counts(|| config.clone().build::<u64, i64, _>(totals()).unwrap().subtract_on_evict());
}

#[test]
fn e2_state_bytes_are_what_is_allocated_on_the_heap() {
    assert_counts(|| {
        let collect = Collect::of(itself as fn(&i64) -> i64);
        Config::tumbling(seconds(2)).ascending().build::<u64, i64, _>(collect).unwrap()
    });
}

/// Late events that wait, and what is remembered of their panes.
#[test]
fn e2_state_bytes_are_what_is_allocated_for_late_events() {
    let before = tally().live;
    let config = Config::sliding(seconds(2), seconds(1)).allowed_lateness(seconds(100));
    let mut kernel: Windowing<u64, i64, _> = config.build(Max::of(itself as fn(&i64) -> i64)).unwrap();
    let partition = kernel.add_partition();
    kernel.set_watermark(partition, Watermark::from_micros(50 * SECOND)).unwrap();
    for n in 0..100_000 {
        let time = Timestamp::from_micros(n % 50 * SECOND);
        assert_eq!(kernel.push(partition, time, n as u64 % 5000, n).unwrap(), Admission::Accepted);
    }
    assert_counted(&kernel, before);
    while kernel.poll().is_some() {}
    assert_counted(&kernel, before);
    let full = kernel.state_bytes();
    kernel.finish();
    while kernel.poll().is_some() {}
    let (left, live) = (kernel.state_bytes(), tally().live - before);
    assert!(left <= full / 100 && live <= full as i64 / 100, "{left} and {live} bytes of {full} are left");
}
