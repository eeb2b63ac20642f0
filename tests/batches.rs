//! Batches mean exactly what their events mean one by one: the same answers, panes, counters and state. (Every case of
//! the oracle's runs in batches too; these streams are longer, so that batches have blocks and tables grow in them.)

use chrono::TimeDelta;
use floodmark::{
    Admission, Aggregate, Collect, Config, Count, Exception, First, Last, LearnedDisorder, Pane, Partition,
    Rejected, Sum, Suspect, Times, Timestamp, Trigger, Windowing, Windows,
};
use proptest::prelude::*;

type Value = (u64, i64);
type Told = (Count, Sum<fn(&Value) -> i64, i64>, First<fn(&Value) -> u64, u64>, Last<fn(&Value) -> u64, u64>);
type Kept = (Told, Collect<fn(&Value) -> u64, u64>);

fn micros(micros: i64) -> TimeDelta {
    TimeDelta::microseconds(micros)
}

fn told() -> Told {
    (Count, Sum::of(|value| value.1), First::of(|value| value.0), Last::of(|value| value.0))
}

fn kept() -> Kept {
    (told(), Collect::of(|value| value.0))
}

/// One event: partition, time, key.
type Event = (usize, i64, u16);

#[derive(Clone, Debug)]
struct Stream {
    events: Vec<Event>,
    /// How many events each batch has, in turn.
    batches: Vec<usize>,
    partitions: usize,
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

prop_compose! {
    fn streams()(
        seed in any::<u64>(),
        count in 1..1500usize,
        keys in prop_oneof![Just(1u64), Just(7), Just(300), Just(5000)],
        partitions in 1..4usize,
        step in prop_oneof![Just(0i64), Just(1), Just(7)],
        disorder in prop_oneof![Just(1i64), Just(20), Just(300)],
        lateness in prop_oneof![Just(0u64), Just(3), Just(50)],
        batches in prop::collection::vec(prop_oneof![Just(1), Just(2), 3..40usize, 200..300usize, 500..1200usize], 1..6),
    ) -> Stream {
        let mut state = seed;
        let mut below = |n: u64| splitmix(&mut state) % n;
        let events = (0..count as i64).map(|i| {
            let partition = below(partitions as u64) as usize;
            let behind = if below(100) < lateness { 1000 } else { 0 } + partition as i64 * 15;
            // (Sometimes one from another world.)
            let time = match below(700) {
                0 => i64::MIN + below(3) as i64,
                1 => i64::MAX - below(3) as i64,
                2 => 1_000_000,
                _ => i * step - below(disorder as u64) as i64 - behind,
            };
            (partition, time, below(keys) as u16)
        });
        Stream { events: events.collect(), batches, partitions }
    }
}

prop_compose! {
    /// Windows that are longer than a block of events, and many events that are late for them. Batches are of one partition, in turn.
    fn crowds()(
        seed in any::<u64>(),
        count in 500..3000usize,
        lateness in 1..70u64,
        behind in prop_oneof![Just(400u64), Just(6_000), Just(40_000)],
        batches in prop::collection::vec(1..1200usize, 1..6),
        partitions in 1..3usize,
    ) -> Stream {
        let mut state = seed;
        let mut below = |n: u64| splitmix(&mut state) % n;
        let (mut partition, mut left) = (0, 0);
        let mut sizes = batches.iter().cycle();
        let events = (0..count as i64).map(|i| {
            if left == 0 {
                left = *sizes.next().unwrap();
                partition = below(partitions as u64) as usize;
            }
            left -= 1;
            let late = if below(100) < lateness { below(behind) as i64 } else { 0 };
            (partition, i * 3 - below(60) as i64 - late, below(50) as u16)
        });
        Stream { events: events.collect(), batches, partitions }
    }
}

fn configs() -> impl Strategy<Value = Config> {
    let windows = prop_oneof![
        Just(vec![Windows::tumbling(micros(100))]),
        Just(vec![Windows::tumbling(micros(100)).allowed_lateness(micros(150))]),
        Just(vec![Windows::sliding(micros(90), micros(30))]),
        Just(vec![Windows::sliding(micros(70), micros(30)).offset(micros(3))]),
        Just(vec![Windows::sliding(micros(20), micros(30))]),
        Just(vec![Windows::cumulative(micros(25), micros(100)), Windows::tumbling(micros(33))]),
        Just(vec![Windows::session(micros(12))]),
        Just(vec![
            Windows::tumbling(micros(50)),
            Windows::tumbling(micros(50)).trigger(Trigger::on_time().early_every_events(3)),
        ]),
    ];
    (windows, any::<bool>(), prop_oneof![Just(usize::MAX), 2_000..200_000usize], 0..4u8).prop_map(
        |(windows, learned, budget, skew)| {
            let config = Config::windows(windows).seed(3).state_budget(budget);
            let config = match learned {
                true => config.learned_disorder(LearnedDisorder::percentile(90.0, micros(200)).warm_up(3)),
                false => config.max_disorder(micros(60)),
            };
            match skew {
                0 => config.max_future_skew(micros(5_000), Suspect::Reject),
                1 => config.max_future_skew(micros(5_000), Suspect::Admit),
                _ => config,
            }
        },
    )
}

/// What became of an event, with its index where it was given back.
type Outcome = Result<Admission<usize>, Rejected<usize>>;

/// What came out.
#[derive(Debug, PartialEq)]
struct Seen<T> {
    outcomes: Vec<Outcome>,
    panes: Vec<(u32, i64, i64, u32, u32, T)>,
    counters: floodmark::Counters,
    watermarks: Vec<i64>,
    snapshot: Vec<u8>,
}

struct Side<A: Aggregate<Value>> {
    kernel: Windowing<u16, Value, A>,
    partitions: Vec<Partition>,
    seen: Seen<A::Output>,
}

impl<A: Aggregate<Value>> Side<A>
where
    A::Acc: serde::Serialize,
{
    fn new(config: &Config, stream: &Stream, aggregate: A) -> Self {
        let mut kernel: Windowing<u16, Value, A> = config.clone().build(aggregate).unwrap().ordered();
        let partitions = (0..stream.partitions).map(|_| kernel.add_partition()).collect();
        let counters = kernel.counters();
        let seen = Seen { outcomes: vec![], panes: vec![], counters, watermarks: vec![], snapshot: vec![] };
        Self { kernel, partitions, seen }
    }

    fn drain(&mut self) {
        while let Some(Pane { definition, window, index, key, value, .. }) = self.kernel.poll() {
            let bounds = (window.start.as_micros(), window.end.as_micros());
            self.seen.panes.push((definition, bounds.0, bounds.1, index, (*key).into(), value));
        }
        self.seen.watermarks.push(self.kernel.watermark().as_micros());
    }

    fn end(mut self) -> Seen<A::Output> {
        self.seen.snapshot = self.kernel.snapshot();
        self.kernel.finish();
        self.drain();
        self.seen.counters = self.kernel.counters();
        self.seen
    }
}

/// The index of each event in place of the event.
fn indexed<E>(outcome: Result<Admission<E>, Rejected<E>>, index: usize) -> String {
    // The types differ; what they say must not.
    match outcome {
        Ok(Admission::Accepted) => "accepted".into(),
        Ok(Admission::PartlyLate(missed)) => format!("partly late for {missed:?}"),
        Ok(Admission::Late(late)) => {
            format!("{index} late: {:?} {} {:?} {:?}", late.watermark, late.late_by, late.reason, late.missed)
        }
        Ok(_) => format!("{index} unassigned"),
        Err(rejected) => format!("{index} rejected: {rejected}"),
    }
}

fn compare<A>(config: &Config, stream: &Stream, aggregate: A) -> Result<(), TestCaseError>
where
    A: Aggregate<Value> + Clone,
    A::Acc: serde::Serialize,
    A::Output: PartialEq + std::fmt::Debug,
{
    let mut single = Side::new(config, stream, aggregate.clone());
    let mut batched = Side::new(config, stream, aggregate);
    let mut from = 0;
    for size in stream.batches.iter().cycle() {
        if from == stream.events.len() {
            break;
        }
        let events = &stream.events[from..stream.events.len().min(from + size)];
        let mut columns = (vec![], vec![], vec![], vec![]);
        let mut expected = vec![];
        for (index, &(partition, time, key)) in events.iter().enumerate() {
            let (partition, value) = (single.partitions[partition], ((from + index) as u64, time % 5));
            columns.0.push(partition);
            columns.1.push(time);
            columns.2.push(key);
            columns.3.push(value);
            let outcome = single.kernel.push(partition, Timestamp::from_micros(time), key, value);
            if !matches!(outcome, Ok(Admission::Accepted)) {
                expected.push(indexed(outcome, index));
            }
        }
        let (partitions, times, keys, values) = columns;
        let timestamps: Vec<Timestamp> = times.iter().copied().map(Timestamp::from_micros).collect();
        // All ways to say the same.
        let batch = match (partitions.iter().all(|p| *p == partitions[0]), from % 2 == 0) {
            (true, true) => batched.kernel.push_batch(partitions[0], Times::micros(&times), &keys, &values),
            (true, false) => batched.kernel.push_batch(partitions[0], &timestamps, &keys, &values),
            (false, true) => batched.kernel.push_batch(&partitions, Times::micros(&times), &keys, &values),
            (false, false) => batched.kernel.push_batch(&partitions, &timestamps, &keys, &values),
        }
        .unwrap();
        let got: Vec<String> =
            batch.exceptions().map(|(index, outcome): Exception| indexed(outcome, index)).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(single.kernel.state_bytes(), batched.kernel.state_bytes());
        single.drain();
        batched.drain();
        from += events.len();
    }
    prop_assert_eq!(single.end(), batched.end());
    Ok(())
}

/// What comes out of a kernel that finds keys by their index, or by their hash.
fn seen_by_index(config: &Config, stream: &Stream, by_index: bool) -> Seen<(u64, i64, u64, u64)> {
    // Some keys have no index below 2^24, some are at its edge.
    let key = |key: u16| if key % 7 == 3 { u32::from(key) + (1 << 24) - 300 } else { u32::from(key) * 13 };
    let config = config.clone().state_budget(usize::MAX);
    let build = |by_index| {
        let built: Windowing<u32, Value, Told> = config.clone().build(told()).unwrap().ordered();
        if by_index { built.indexed() } else { built }
    };
    let mut kernel = build(by_index);
    let partitions: Vec<Partition> = (0..stream.partitions).map(|_| kernel.add_partition()).collect();
    let counters = kernel.counters();
    let mut seen = Seen { outcomes: vec![], panes: vec![], counters, watermarks: vec![], snapshot: vec![] };
    let mut from = 0;
    for size in stream.batches.iter().cycle() {
        if from == stream.events.len() {
            break;
        }
        let events = &stream.events[from..stream.events.len().min(from + size)];
        let of: Vec<Partition> = events.iter().map(|event| partitions[event.0]).collect();
        let times: Vec<i64> = events.iter().map(|event| event.1).collect();
        let keys: Vec<u32> = events.iter().map(|event| key(event.2)).collect();
        let values: Vec<Value> = (from..).zip(&times).map(|(index, time)| (index as u64, time % 5)).collect();
        let batch = match of.iter().all(|partition| *partition == of[0]) {
            true => kernel.push_batch(of[0], Times::micros(&times), &keys, &values),
            false => kernel.push_batch(&of, Times::micros(&times), &keys, &values),
        };
        seen.outcomes.extend(batch.unwrap().exceptions().map(|(_, outcome)| outcome));
        while kernel.drain(100, |pane| seen.note(&pane)) > 0 {}
        from += events.len();
    }
    // A snapshot says nothing of how they are found.
    let mut kernel = build(!by_index).restore(&kernel.snapshot()).unwrap();
    kernel.finish();
    while kernel.drain(1, |pane| seen.note(&pane)) > 0 {}
    seen.counters = kernel.counters();
    seen
}

impl Seen<(u64, i64, u64, u64)> {
    fn note(&mut self, pane: &Pane<'_, u32, (u64, i64, u64, u64)>) {
        let bounds = (pane.window.start.as_micros(), pane.window.end.as_micros());
        self.panes.push((pane.definition, bounds.0, bounds.1, pane.index, *pane.key, pane.value));
    }
}

fn cases(by_default: u32) -> ProptestConfig {
    let cases = std::env::var("FLOODMARK_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(by_default))
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn late_events_of_a_batch_are_judged_by_those_before_them(
        size in 400..3_000i64,
        slide in prop_oneof![Just(1i64), Just(3)],
        stream in crowds(),
    ) {
        let windows = Windows::sliding(micros(size / slide * slide), micros(size / slide));
        compare(&Config::windows([windows]).seed(3).max_disorder(micros(60)), &stream, told())?;
    }

    #[test]
    fn a_batch_means_what_its_events_mean_one_by_one(config in configs(), stream in streams()) {
        compare(&config, &stream, told())?;
    }

}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn an_index_changes_nothing_but_how_keys_are_found(config in configs(), stream in streams()) {
        let (by_index, by_hash) = (seen_by_index(&config, &stream, true), seen_by_index(&config, &stream, false));
        prop_assert_eq!(by_index.outcomes, by_hash.outcomes);
        prop_assert_eq!(by_index.counters, by_hash.counters);
        let differs = by_index.panes.iter().zip(&by_hash.panes).find(|(a, b)| a != b);
        prop_assert_eq!(differs, None);
        prop_assert_eq!(by_index.panes.len(), by_hash.panes.len());
    }

}

proptest! {
    #![proptest_config(cases(300))]

    /// Where each event changes what heap the state takes.
    #[test]
    fn a_batch_keeps_to_the_budget_event_by_event(config in configs(), stream in streams()) {
        compare(&config, &stream, kept())?;
    }
}

#[test]
fn columns_of_different_lengths_are_refused_whole() {
    let mut kernel: Windowing<u16, Value, Count> = Config::tumbling(micros(10)).build(Count).unwrap();
    let partition = kernel.add_partition();
    let refused = kernel.push_batch(partition, Times::micros(&[1, 2, 3]), &[1, 2], &[(0, 0); 3]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the columns of a batch must be of one length; given 3 times, 2 keys, 3 values"
    );
    let refused =
        kernel.push_batch(&[partition][..], Times::micros(&[1, 2]), &[1, 2], &[(0, 0); 2]).unwrap_err();
    assert!(refused.to_string().ends_with(", 1 partitions"), "{refused}");
    assert_eq!(kernel.counters().offered(), 0);
}

#[test]
fn t2_times_that_do_not_fit_are_rejected_and_others_converted() {
    let mut kernel: Windowing<u16, Value, Count> = Config::tumbling(micros(10)).build(Count).unwrap();
    let partition = kernel.add_partition();
    let batch = kernel
        .push_batch(
            partition,
            Times::seconds(&[i64::MAX / 1_000_000 + 1, 1, i64::MIN]),
            &[1; 3],
            &[(0, 0); 3],
        )
        .unwrap();
    let rejected: Vec<usize> = batch.exceptions().map(|(index, _)| index).collect();
    assert_eq!((batch.accepted(), rejected), (1, vec![0, 2]));
    let later = [Times::millis(&[1_001]), Times::nanos(&[1_002_000_999]), Times::micros(&[1_003_000])];
    for times in later {
        assert_eq!(kernel.push_batch(partition, times, &[1], &[(0, 0)]).unwrap().accepted(), 1);
    }
    assert_eq!(kernel.push_batch(partition, Times::nanos(&[-1]), &[2], &[(0, 0)]).unwrap().accepted(), 1);
    kernel.finish();
    let mut starts = vec![];
    while let Some(pane) = kernel.poll() {
        starts.push(pane.window.start.as_micros());
    }
    // A nanosecond before 1970 is cut off toward the past.
    assert_eq!(starts, [-10, 1_000_000, 1_001_000, 1_002_000, 1_003_000]);
}

#[test]
fn keys_have_an_index_if_that_is_said_before_the_first_event() {
    let state = |before: bool, after: bool| {
        let built: Windowing<u32, i64, Count> = Config::tumbling(micros(10)).build(Count).unwrap();
        let mut kernel = if before { built.indexed() } else { built };
        let partition = kernel.add_partition();
        // (Also where the host has begun to declare things.)
        let mut kernel = if after { kernel.indexed() } else { kernel };
        assert!(kernel.push(partition, Timestamp::from_micros(5), 7, 0).is_ok());
        let bytes = kernel.state_bytes();
        let mut kernel = kernel.indexed();
        assert!(kernel.push(partition, Timestamp::from_micros(6), 7, 0).is_ok());
        kernel.finish();
        assert_eq!(kernel.poll().map(|pane| pane.value), Some(2));
        bytes
    };
    let (by_hash, by_index) = (state(false, false), state(true, false));
    assert!(by_index > by_hash + 1000, "room for many keys at once: {by_index} bytes, and {by_hash} by hash");
    assert_eq!(state(false, true), by_index);
}

/// A key that counts how often it is cloned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Counted(u8);

thread_local! {
    static CLONES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        CLONES.set(CLONES.get() + 1);
        Self(self.0)
    }
}

#[test]
fn keys_are_cloned_only_where_they_are_new() {
    let mut kernel: Windowing<Counted, i64, Count> =
        Config::tumbling(micros(1_000)).max_disorder(micros(100)).build(Count).unwrap();
    let partition = kernel.add_partition();
    let keys: Vec<Counted> = (0..600).map(|n| Counted((n % 10) as u8)).collect();
    let times: Vec<i64> = (0..600).map(|n| n - n % 3).collect();
    let batch = kernel.push_batch(partition, Times::micros(&times), &keys, &vec![0; 600]).unwrap();
    assert_eq!((batch.accepted(), CLONES.get()), (600, 10));
}

#[test]
fn borrowed_keys_are_the_same_keys() {
    let mut kernel: Windowing<String, i64, Count> = Config::tumbling(micros(1_000)).build(Count).unwrap();
    let partition = kernel.add_partition();
    assert!(kernel.push(partition, Timestamp::from_micros(5), "owned".to_string(), 0).is_ok());
    let batch = kernel.push_batch(partition, Times::micros(&[6, 7]), &["owned", "lent"], &[0, 0]).unwrap();
    assert_eq!(batch.accepted(), 2);
    kernel.finish();
    let mut panes = vec![];
    while let Some(pane) = kernel.poll() {
        panes.push((pane.key.clone(), pane.value));
    }
    panes.sort();
    assert_eq!(panes, [("lent".to_string(), 1), ("owned".to_string(), 2)]);
}

/// Without keys all events of a block are added to one partial.
#[test]
fn a_stream_without_keys_needs_no_memory_for_their_column() {
    let aggregate = (Count, Sum::of(|value: &i64| *value));
    let mut kernel: Windowing<(), i64, _> =
        Config::tumbling(micros(1_000)).max_disorder(micros(10)).build(aggregate).unwrap();
    let partition = kernel.add_partition();
    let times: Vec<i64> = (0..5_000).collect();
    for batch in times.chunks(700) {
        let taken =
            kernel.push_batch(partition, Times::micros(batch), &vec![(); batch.len()], batch).unwrap();
        assert_eq!(taken.accepted(), batch.len() as u64);
    }
    kernel.finish();
    let mut panes = vec![];
    while let Some(pane) = kernel.poll() {
        panes.push(pane.value);
    }
    let expected = |start: i64| (1_000, (start..start + 1_000).sum::<i64>());
    assert_eq!(panes, [0, 1_000, 2_000, 3_000, 4_000].map(expected));
}

/// Also where nothing needs to be looked at for each event but its value.
#[test]
fn e2_a_batch_without_keys_keeps_to_the_budget_event_by_event() {
    let kernel = || {
        let config = Config::tumbling(micros(1_000)).max_disorder(micros(10)).state_budget(4_000);
        let mut kernel: Windowing<(), u64, _> = config.build(Collect::of(|value: &u64| *value)).unwrap();
        let partition = kernel.add_partition();
        // The watermark is past zero then: nothing follows from any of the events below.
        assert!(kernel.push(partition, Timestamp::from_micros(20), (), 0).is_ok());
        (kernel, partition)
    };
    let (mut single, partition) = kernel();
    let times: Vec<i64> = (1..=255).collect();
    let values = [7; 255];
    let pushes = times.iter().map(|&time| single.push(partition, Timestamp::from_micros(time), (), 7));
    let accepted = pushes.filter(|push| push.is_ok()).count() as u64;
    let (mut batched, partition) = kernel();
    let batch = batched.push_batch(partition, Times::micros(&times), &[(); 255], &values).unwrap();
    assert!((50..255).contains(&accepted), "the budget is reached after {accepted}");
    assert_eq!(batch.accepted(), accepted);
    assert_eq!(batched.state_bytes(), single.state_bytes());
}

#[test]
fn t2_a_time_that_does_not_fit_is_rejected_where_the_end_of_time_would_not_be() {
    let mut kernel: Windowing<u16, i64, Count> = Config::session(micros(10)).build(Count).unwrap();
    let partition = kernel.add_partition();
    assert!(kernel.push(partition, Timestamp::MIN, 1, 0).is_ok());
    let batch = kernel.push_batch(partition, Times::seconds(&[i64::MIN]), &[2], &[0]).unwrap();
    let Some((0, Err(rejected))) = batch.exceptions().next() else { panic!("{batch:?}") };
    assert!(rejected.is_out_of_range(), "{rejected}");
    let nobody = Partition::from_u64(77);
    let batch = kernel.push_batch(nobody, Times::seconds(&[i64::MIN]), &[2], &[0]).unwrap();
    let Some((0, Err(rejected))) = batch.exceptions().next() else { panic!("{batch:?}") };
    assert!(rejected.is_unknown_partition(), "{rejected}");
}

/// At the end of input there is no next watermark that something would have to end by.
#[test]
fn l3_after_the_end_every_session_is_late() {
    let mut kernel: Windowing<u16, i64, Count> = Config::session(micros(10)).build(Count).unwrap();
    kernel.finish();
    let partition = kernel.add_partition();
    for _ in 0..3 {
        let pushed = kernel.push(partition, Timestamp::from_micros(i64::MAX - 10), 1, 0).unwrap();
        assert!(matches!(pushed, Admission::Late(_)), "{pushed:?}");
    }
}

/// Who holds the watermark is told as it is, not as it was looked at last.
#[test]
fn s2_why_an_event_is_late_does_not_depend_on_snapshots() {
    let config = Config::tumbling(micros(100)).max_disorder(micros(0)).seed(1);
    let mut kernel: Windowing<u16, i64, Count> = config.clone().build(Count).unwrap();
    let [first, second, third] = [(); 3].map(|()| kernel.add_partition());
    kernel.mark_idle(third).unwrap();
    for (partition, time) in [(first, 350), (second, 310), (third, 50), (second, 350)] {
        let _ = kernel.push(partition, Timestamp::from_micros(time), 1, 0).unwrap();
    }
    let mut restored = config.build(Count).unwrap().restore(&kernel.snapshot()).unwrap();
    let again = kernel.push(third, Timestamp::from_micros(50), 1, 0).unwrap();
    assert!(matches!(again, Admission::Late(_)), "{again:?}");
    assert_eq!(again, restored.push(third, Timestamp::from_micros(50), 1, 0).unwrap());
}

/// The pane of a session that has grown since is its last when the watermark says so.
#[test]
fn s2_which_pane_is_the_last_does_not_depend_on_snapshots() {
    let config = Config::session(micros(10)).allowed_lateness(micros(100)).max_disorder(micros(200)).seed(1);
    let mut kernel: Windowing<u16, i64, Count> = config.clone().build(Count).unwrap();
    let partition = kernel.add_partition();
    let push = |kernel: &mut Windowing<u16, i64, Count>, key: u16, time: i64| {
        assert!(kernel.push(partition, Timestamp::from_micros(time), key, 0).is_ok());
    };
    let panes = |kernel: &mut Windowing<u16, i64, Count>| {
        let mut panes = vec![];
        while let Some(pane) = kernel.poll() {
            panes.push((*pane.key, pane.window, pane.value, pane.is_last));
        }
        panes
    };
    push(&mut kernel, 1, 0);
    push(&mut kernel, 2, 212);
    assert_eq!(panes(&mut kernel).len(), 1);
    push(&mut kernel, 1, 0);
    (1..=12).for_each(|n| push(&mut kernel, 1, 10 * n));
    let mut restored = config.build(Count).unwrap().restore(&kernel.snapshot()).unwrap();
    for kernel in [&mut kernel, &mut restored] {
        push(kernel, 2, 213);
        push(kernel, 3, 315);
    }
    let expected = panes(&mut kernel);
    assert!(!expected.is_empty());
    assert_eq!(panes(&mut restored), expected);
}
