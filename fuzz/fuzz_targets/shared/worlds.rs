//! Kernels of different configurations, keys and aggregates, and small but rich snapshots of each.

use std::fmt::Debug;
use std::hash::Hash;

use chrono::TimeDelta;
use floodmark::snapshot::{SnapshotKind, SnapshotProgress};
use floodmark::{
    Accumulation, Admission, Aggregate, Collect, Config, Count, Event, First, Last, LateFiring, Max, Mean,
    Min, Partition, Rejected, Resume, Sum, Suspect, Timestamp, TopK, Trigger, Variance, Watermark, Windowing,
    Windows,
};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) type Of<T> = fn(&i64) -> T;
pub(crate) type Kernel<W> = Windowing<<W as World>::Key, i64, <W as World>::Aggregate>;

/// A configuration with its types.
pub(crate) trait World {
    const NAME: &'static str;
    type Key: Hash + Ord + Clone + Debug + Serialize + DeserializeOwned;
    type Aggregate: Aggregate<i64, Acc: Serialize + DeserializeOwned, Output: Debug>;

    fn fresh() -> Kernel<Self>;

    fn key(number: u8) -> Self::Key;
}

fn micros(micros: i64) -> TimeDelta {
    TimeDelta::microseconds(micros)
}

fn itself(value: &i64) -> i64 {
    *value
}

fn as_float(value: &i64) -> f64 {
    *value as f64
}

/// Overlapping windows, generated watermarks, late events one by one; accumulators on the heap.
pub(crate) struct Overlapping;

impl World for Overlapping {
    const NAME: &'static str = "overlapping";
    type Key = String;
    type Aggregate = (Count, TopK<Of<i64>, i64>, Collect<Of<i64>, i64>);

    fn fresh() -> Kernel<Self> {
        let config =
            Config::sliding(micros(6), micros(2)).allowed_lateness(micros(4)).max_disorder(micros(3)).seed(1);
        config
            .build((Count, TopK::of(2, itself as Of<i64>), Collect::of(itself as Of<i64>)))
            .unwrap()
            .ordered()
    }

    fn key(number: u8) -> String {
        ["attic", "hall", "", "a longer name: Überflutungsmarke"][usize::from(number % 4)].to_string()
    }
}

/// Windows that are no multiple of their slide, watermarks by the host, late events once per drain.
pub(crate) struct OncePerDrain;

impl World for OncePerDrain {
    const NAME: &'static str = "once_per_drain";
    type Key = u64;
    type Aggregate = (Sum<Of<i64>, i64>, First<Of<i64>, i64>, Last<Of<i64>, i64>);

    fn fresh() -> Kernel<Self> {
        Config::sliding(micros(5), micros(2))
            .offset(micros(-1))
            .allowed_lateness(micros(6))
            .late_firing(LateFiring::OncePerDrain)
            .resume(Resume::Hold)
            .seed(2)
            .build((Sum::of(itself as Of<i64>), First::of(itself as Of<i64>), Last::of(itself as Of<i64>)))
            .unwrap()
            .ordered()
    }

    fn key(number: u8) -> u64 {
        [0, 1, 300, u64::MAX][usize::from(number % 4)]
    }
}

/// Sliding windows by subtraction.
pub(crate) struct Subtracting;

impl World for Subtracting {
    const NAME: &'static str = "subtracting";
    type Key = (u8, bool);
    type Aggregate = (Count, Sum<Of<i64>, i64>);

    fn fresh() -> Kernel<Self> {
        let config = Config::sliding(micros(8), micros(1)).allowed_lateness(micros(5)).ascending().seed(3);
        config.build((Count, Sum::of(itself as Of<i64>))).unwrap().subtract_on_evict()
    }

    fn key(number: u8) -> (u8, bool) {
        (number % 3, number > 128)
    }
}

/// No keys at all.
pub(crate) struct Unkeyed;

impl World for Unkeyed {
    const NAME: &'static str = "unkeyed";
    type Key = ();
    type Aggregate = (Mean<Of<f64>>, Count);

    fn fresh() -> Kernel<Self> {
        Config::sliding(micros(9), micros(3))
            .allowed_lateness(micros(9))
            .late_firing(LateFiring::OncePerDrain)
            .idle_timeout(micros(5))
            .max_disorder(micros(2))
            .build((Mean::of(as_float as Of<f64>), Count))
            .unwrap()
    }

    fn key(_: u8) {}
}

/// Tumbling windows, the guard against the future, idle timeouts.
pub(crate) struct Guarded;

impl World for Guarded {
    const NAME: &'static str = "guarded";
    type Key = (u16, String);
    type Aggregate = (Min<Of<f64>, f64>, Max<Of<i64>, i64>, Variance<Of<f64>>, Collect<Of<i64>, i64>);

    fn fresh() -> Kernel<Self> {
        Config::tumbling(micros(10))
            .max_disorder(micros(5))
            .allowed_lateness(micros(7))
            .idle_timeout(micros(3))
            .max_future_skew(micros(50), Suspect::Admit)
            .seed(5)
            .build((
                Min::of(as_float as Of<f64>),
                Max::of(itself as Of<i64>),
                Variance::of(as_float as Of<f64>),
                Collect::of(itself as Of<i64>),
            ))
            .unwrap()
            .ordered()
    }

    fn key(number: u8) -> (u16, String) {
        (u16::from(number % 3) * 200, "x".repeat(usize::from(number % 3)))
    }
}

/// Sessions of at most some length, which withdraw what they said before.
pub(crate) struct Sessions;

impl World for Sessions {
    const NAME: &'static str = "sessions";
    type Key = String;
    type Aggregate = (Count, Collect<Of<i64>, i64>);

    fn fresh() -> Kernel<Self> {
        Config::windows([Windows::session(micros(3)).max_length(micros(12)).allowed_lateness(micros(6))])
            .accumulation(Accumulation::Retracting)
            .trigger(Trigger::on_time().early_every_events(2))
            .max_disorder(micros(3))
            .seed(6)
            .build((Count, Collect::of(itself as Of<i64>)))
            .unwrap()
            .gap_by(|value| (value % 2 == 0).then(|| micros(value.rem_euclid(5) + 1)))
            .ordered()
    }

    fn key(number: u8) -> String {
        ["attic", "hall", "", "a longer name: Überflutungsmarke"][usize::from(number % 4)].to_string()
    }
}

/// Several definitions of windows at once, with every trigger and accumulation.
pub(crate) struct Several;

impl World for Several {
    const NAME: &'static str = "several";
    type Key = u64;
    type Aggregate = (Sum<Of<i64>, i64>, TopK<Of<i64>, i64>);

    fn fresh() -> Kernel<Self> {
        let early = Trigger::on_time().early_every(micros(3)).early_every_ticks(micros(2));
        Config::windows([
            Windows::cumulative(micros(2), micros(6))
                .trigger(early)
                .allowed_lateness(micros(5))
                .accumulation(Accumulation::Discarding),
            Windows::sliding(micros(4), micros(2)).allowed_lateness(micros(6)),
            Windows::session(micros(2)).allowed_lateness(micros(8)).late_firing(LateFiring::OncePerDrain),
            Windows::tumbling(micros(7)).trigger(Trigger::continuous_event_time(micros(2))),
            Windows::count(3),
        ])
        .seed(7)
        .build((Sum::of(itself as Of<i64>), TopK::of(2, itself as Of<i64>)))
        .unwrap()
        .ordered()
    }

    fn key(number: u8) -> u64 {
        [0, 1, 300, u64::MAX][usize::from(number % 4)]
    }
}

/// Calls `$then::<W>($arguments)` with the world of that number.
macro_rules! in_world {
    ($number:expr, $then:ident($($argument:expr),*)) => {
        match $number % 7 {
            0 => $then::<$crate::shared::worlds::Overlapping>($($argument),*),
            1 => $then::<$crate::shared::worlds::OncePerDrain>($($argument),*),
            2 => $then::<$crate::shared::worlds::Subtracting>($($argument),*),
            3 => $then::<$crate::shared::worlds::Unkeyed>($($argument),*),
            4 => $then::<$crate::shared::worlds::Guarded>($($argument),*),
            5 => $then::<$crate::shared::worlds::Sessions>($($argument),*),
            _ => $then::<$crate::shared::worlds::Several>($($argument),*),
        }
    };
}
pub(crate) use in_world;

/// How many worlds there are.
pub(crate) const WORLDS: u8 = 7;

/// Short for pushing an event whose fate does not matter.
pub(crate) fn push<W: World>(
    kernel: &mut Kernel<W>,
    partition: Partition,
    time: i64,
    key: u8,
    value: i64,
) -> Answer<W> {
    kernel.push(partition, Timestamp::from_micros(time), W::key(key), value)
}

type Key<W> = <W as World>::Key;
type Given<W> = Event<Key<W>, i64>;
type Answer<W> = Result<Admission<Given<W>>, Rejected<Given<W>>>;

/// Polls at most so many panes, as text.
pub(crate) fn poll<W: World>(kernel: &mut Kernel<W>, at_most: usize) -> Vec<String> {
    let mut panes = Vec::new();
    while panes.len() < at_most
        && let Some(pane) = kernel.poll()
    {
        panes.push(format!("{pane:?}"));
    }
    panes
}

/// Snapshots of a world in which something is going on: in the middle of a drain with late events waiting,
/// between the panes of one late event, after them, and with a gone, an idle and a new partition. The last
/// is taken when all is polled.
pub(crate) fn specimens<W: World>() -> Vec<Vec<u8>> {
    let mut kernel = W::fresh();
    let mut taken = vec![kernel.snapshot()];
    let [a, b, idle, gone] = [(); 4].map(|()| kernel.add_partition());
    let report = |kernel: &mut Kernel<W>, watermark| {
        for partition in [a, b] {
            // Generators are ahead of this.
            kernel.set_watermark(partition, Watermark::from_micros(watermark)).unwrap();
        }
    };
    kernel.mark_idle(idle).unwrap();
    kernel.end_partition(gone).unwrap();
    for (n, (partition, time)) in
        [(a, 1), (b, 2), (a, 3), (b, 5), (a, 5), (b, 8), (a, 9)].into_iter().enumerate()
    {
        let n = n as u8;
        assert!(matches!(
            push::<W>(&mut kernel, partition, time, n, 100 * i64::from(n) - 150),
            Ok(Admission::Accepted)
        ));
        assert!(matches!(push::<W>(&mut kernel, partition, time, n + 1, -1), Ok(Admission::Accepted)));
    }
    // The second finds them quiet.
    kernel.tick(Timestamp::from_micros(7));
    kernel.tick(Timestamp::from_micros(8));
    report(&mut kernel, 10);
    let _ = push::<W>(&mut kernel, a, 13, 1, 7);
    let _ = push::<W>(&mut kernel, b, 13, 2, 8);
    assert_eq!(poll::<W>(&mut kernel, 1).len(), 1);
    for (time, key) in [(7, 0), (6, 1), (7, 0), (9, 3)] {
        let _ = push::<W>(&mut kernel, b, time, key, 1 << 40);
    }
    taken.push(kernel.snapshot());
    // Between the panes of a late event, or of a drain's.
    let panes = poll::<W>(&mut W::fresh().restore(&kernel.snapshot()).unwrap(), 1000).len();
    poll::<W>(&mut kernel, panes - 1);
    taken.push(kernel.snapshot());
    poll::<W>(&mut kernel, 1000);
    kernel.add_partition();
    let _ = push::<W>(&mut kernel, b, 8, 2, i64::MIN);
    let _ = push::<W>(&mut kernel, a, 40, 2, i64::MAX);
    taken.push(kernel.snapshot());
    poll::<W>(&mut kernel, 1000);
    taken.push(kernel.snapshot());
    taken
}

/// A snapshot in the middle of a drain, and those of the changes by events, late ones among them, and by the rest of the drain.
pub(crate) fn chain<W: World>() -> Vec<Vec<u8>> {
    let mut kernel = W::fresh().restore(&specimens::<W>()[1]).unwrap();
    let partition = kernel.partitions().next().unwrap().partition;
    let (mut since, mut chain) = (None, Vec::new());
    for round in 0..LINKS {
        let kind = kernel.begin_snapshot(since).unwrap();
        assert_eq!(kind == SnapshotKind::Changes, round > 0);
        let mut taken = Vec::new();
        since = loop {
            match kernel.write_snapshot(1, &mut taken) {
                SnapshotProgress::Done(id) => break Some(id),
                progress => assert_eq!(progress, SnapshotProgress::More),
            }
        };
        chain.push(taken);
        for (time, key) in [(8, 0), (14, 1), (15 + round as i64, 9)] {
            let _ = kernel.push(partition, Timestamp::from_micros(time), W::key(key), 5).unwrap();
        }
        kernel.poll();
    }
    chain
}

/// How many snapshots the chains among the fixtures have.
pub(crate) const LINKS: usize = 3;

/// Goes on with a kernel whatever its state is: pushes, ticks, declarations, polls (so many at most), ends
/// the input and takes a snapshot. Asserts what must hold of any state.
pub(crate) fn run_on<W: World>(kernel: &mut Kernel<W>, script: &[u8], mut polls: u32) {
    let mut partitions: Vec<Partition> = kernel.partitions().map(|status| status.partition).take(8).collect();
    partitions.push(Partition::from_u64(3));
    let near = kernel.watermark().as_micros().clamp(-1 << 40, 1 << 40);
    for op in script.chunks(2) {
        let (op, detail) = (op[0], op.get(1).copied().unwrap_or(0));
        let partition = partitions[usize::from(op / 16) % partitions.len()];
        let time = match detail {
            250 => i64::MAX,
            251 => i64::MIN,
            252 => near + (1 << 50),
            253 => near - (1 << 50),
            detail => near + i64::from(detail) - 100,
        };
        let before = kernel.watermark();
        match op % 16 {
            0..=5 => {
                let offered = kernel.counters().offered();
                let answer = push::<W>(kernel, partition, time, detail, i64::from(op));
                assert_eq!(kernel.counters().offered(), offered + 1, "{answer:?}");
            }
            6..=8 => {
                for _ in 0..=detail % 16 {
                    polls = polls.saturating_sub(u32::from(kernel.poll().is_some()));
                    if polls == 0 {
                        break;
                    }
                }
            }
            9 => {
                let _ = kernel.set_watermark(partition, Watermark::from_micros(time));
            }
            10 => kernel.tick(Timestamp::from_micros(time)),
            11 if detail < 128 => {
                let _ = kernel.mark_idle(partition);
            }
            11 => {
                let _ = kernel.mark_active(partition);
            }
            12 => partitions.push(kernel.add_partition()),
            13 if detail < 64 => {
                let _ = kernel.end_partition(partition);
            }
            13 => {
                let _ = kernel.remove_partition(partition);
            }
            14 => {
                let end = Timestamp::from_micros(time.saturating_add(10));
                let window = floodmark::Window::new(Timestamp::from_micros(time), end);
                let _ = kernel.explain(&W::key(detail), window).to_string();
            }
            _ => drop(kernel.snapshot()),
        }
        assert!(kernel.watermark() >= before, "the watermark never goes back (W3)");
        assert!(kernel.output_watermark() <= kernel.watermark());
        let _ = (kernel.state_bytes(), kernel.held_by(), format!("{kernel:?}"));
    }
    kernel.finish();
    while polls > 0 && kernel.poll().is_some() {
        polls -= 1;
    }
    assert_eq!(kernel.watermark(), Watermark::MAX);
    kernel.snapshot();
}

/// A script that does a bit of everything.
pub(crate) const SCRIPT: &[u8] = &[
    0, 100, 17, 103, 7, 2, 1, 110, 18, 99, 9, 110, 7, 3, 0, 98, 16, 101, 2, 250, 10, 120, 28, 0, 37, 130, 9,
    131, 25, 131, 7, 15, 14, 90, 15, 0, 3, 129, 19, 133, 10, 200, 11, 0, 9, 180, 7, 9, 13, 100, 3, 252, 0,
    251, 27, 200, 7, 15,
];
