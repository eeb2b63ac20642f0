//! Properties of the kernel alone (`differential_*`: kernel against kernel, or against a plain scan).

mod harness;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use floodmark::{
    Admission, Aggregate, Collect, Config, Count, Counters, LateFiring, LateReason, Pane, Partition,
    PartitionState, Resume, Sum, Suspect, Timestamp, Timing, Trigger, Watermark, Window, WindowProgress,
    Windowing, Windows,
};
use floodmark_oracle as oracle;
use oracle::generate::{self, coarsen_watermarks, split_watermarks};
use oracle::{Case, Step};
use proptest::prelude::*;

/// An event's place in the stream, what it says, and the gap after it.
type Value = (u64, i64, Option<i64>);
type Of<T> = fn(&Value) -> T;
/// The number of events, their values' sum, and which they were in the order of time.
type Story = (Count, Sum<Of<i64>, i64>, Collect<Of<u64>, u64>);

fn story() -> Story {
    (Count, Sum::of((|value| value.1) as Of<i64>), Collect::of((|value| value.0) as Of<u64>))
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn mark(micros: i64) -> Watermark {
    Watermark::from_micros(micros)
}

fn micros(micros: i64) -> TimeDelta {
    TimeDelta::microseconds(micros)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases: harness::cases(cases), max_shrink_iters: 3000, ..ProptestConfig::default() }
}

/// Half of them with aligned windows fired on time, which are made of slices; half with any.
fn any_case() -> impl Strategy<Value = Case> {
    prop_oneof![generate::aligned_case(), generate::case()]
}

/// How many panes are polled after one step and the next: often none, so that there is something to catch up on.
fn polls() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![2 => Just(0), 1 => 0..5usize], 1..20)
}

/// A pane, detached from the kernel.
#[derive(Clone, Debug, PartialEq)]
struct Row<K, T> {
    definition: usize,
    window: (i64, i64),
    timing: Timing,
    index: u32,
    key: K,
    value: T,
    retracts: Vec<((i64, i64), T)>,
}

impl<K: Clone, T: Clone> From<Pane<'_, K, T>> for Row<K, T> {
    fn from(pane: Pane<'_, K, T>) -> Self {
        let bounds = |window: Window| (window.start.as_micros(), window.end.as_micros());
        Self {
            definition: pane.definition as usize,
            window: bounds(pane.window),
            timing: pane.timing,
            index: pane.index,
            key: pane.key.clone(),
            value: pane.value,
            retracts: pane.retracts.iter().map(|old| (bounds(old.window), old.value.clone())).collect(),
        }
    }
}

/// A kernel together with the host that a case's steps speak to.
struct Host<K, A: Aggregate<Value>> {
    kernel: Windowing<K, Value, A>,
    key: fn(u32) -> K,
    partitions: Vec<Partition>,
    offered: u64,
    /// What the kernel answered.
    told: Vec<String>,
    /// Of how many windows each event came too late for, if it was taken.
    missed: Vec<Option<u64>>,
    rows: Vec<Row<K, A::Output>>,
}

impl<K, A> Host<K, A>
where
    K: std::hash::Hash + Ord + Clone + Debug,
    A: Aggregate<Value>,
    A::Output: Clone,
{
    fn new(config: Config, aggregate: A, key: fn(u32) -> K) -> Self {
        let kernel: Windowing<K, Value, A> = config.build(aggregate).unwrap();
        let kernel = kernel.gap_by(|value| value.2.map(micros));
        Self {
            kernel,
            key,
            partitions: Vec::new(),
            offered: 0,
            told: Vec::new(),
            missed: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn ordered(mut self) -> Self {
        self.kernel = self.kernel.ordered();
        self
    }

    fn partition(&self, p: u32) -> Partition {
        self.partitions.get(p as usize).copied().unwrap_or(Partition::from_u64(u64::MAX >> 8))
    }

    fn take(&mut self, step: &Step) {
        let before = self.kernel.counters();
        let kernel = &mut self.kernel;
        match *step {
            Step::Add => self.partitions.push(kernel.add_partition()),
            Step::Tick { now } => kernel.tick(at(now)),
            Step::Finish => kernel.finish(),
            Step::Event { p, time, key, value, gap } => {
                let (partition, value) = (self.partition(p), (self.offered, value, gap));
                let answer = self.kernel.push(partition, at(time), (self.key)(key), value);
                self.missed.push(match &answer {
                    Ok(Admission::Accepted) => Some(0),
                    Ok(Admission::PartlyLate(missed)) => Some(missed.count),
                    _ => None,
                });
                self.told.push(match answer {
                    Ok(answer) => format!("{answer:?}"),
                    Err(rejected) => rejected.to_string(),
                });
                self.offered += 1;
            }
            Step::Remove { p } => self.control(p, Windowing::remove_partition),
            Step::End { p } => self.control(p, Windowing::end_partition),
            Step::Idle { p } => self.control(p, Windowing::mark_idle),
            Step::Active { p } => self.control(p, Windowing::mark_active),
            Step::SetWatermark { p, w } => {
                self.control(p, |kernel, partition| kernel.set_watermark(partition, mark(w)));
            }
        }
        self.check_counters(before);
    }

    fn control<E>(
        &mut self,
        p: u32,
        call: impl FnOnce(&mut Windowing<K, Value, A>, Partition) -> Result<(), E>,
    ) {
        let partition = self.partition(p);
        // Which call is answered by an error does not depend on when others are made.
        let _ = call(&mut self.kernel, partition);
    }

    /// Nothing disappears, and nothing is counted twice (principle 2).
    fn check_counters(&self, before: Counters) {
        let c = self.kernel.counters();
        assert_eq!(c.offered(), self.offered);
        assert_eq!(c.offered(), c.accepted + c.partly_late + c.late + c.unassigned + c.rejected);
        let each = |c: Counters| [c.accepted, c.partly_late, c.late, c.unassigned, c.rejected, c.suspect];
        let moved = each(c).iter().zip(each(before)).take(5).map(|(now, before)| now - before).sum::<u64>();
        assert_eq!(moved, c.offered() - before.offered());
        assert!(c.suspect - before.suspect <= moved);
        assert_eq!(
            (c.windows_fired, c.panes_fired),
            (before.windows_fired, before.panes_fired),
            "only polling fires"
        );
        assert_eq!(c.panes_fired, self.rows.len() as u64);
    }

    fn poll(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let Some(pane) = self.kernel.poll() else { break };
            self.rows.push(pane.into());
        }
        assert_eq!(self.kernel.counters().panes_fired, self.rows.len() as u64);
    }

    fn drain(&mut self) {
        self.poll(usize::MAX);
    }
}

/// A key on the heap. Its order is not that of the number.
fn name(key: u32) -> String {
    format!("{}-{key}", ["north", "south", "", "west of the river"][key as usize % 4])
}

fn run<K>(case: &Case, key: fn(u32) -> K, poll: impl FnMut(&mut Host<K, Story>)) -> Host<K, Story>
where
    K: std::hash::Hash + Ord + Clone + Debug,
{
    run_with(harness::config(&case.config), case, key, poll)
}

fn run_with<K>(
    config: Config,
    case: &Case,
    key: fn(u32) -> K,
    mut poll: impl FnMut(&mut Host<K, Story>),
) -> Host<K, Story>
where
    K: std::hash::Hash + Ord + Clone + Debug,
{
    let mut host = Host::new(config, story(), key).ordered();
    for step in &case.steps {
        host.take(step);
        // Polling looks at the watermark, and looking fixes it (W6): all look equally often.
        host.kernel.watermark();
        poll(&mut host);
    }
    host.drain();
    host
}

proptest! {
    #![proptest_config(cases(750))]

    /// Principle 3: the sequence of panes does not depend on when and how far the host polls. That goes for each
    /// definition that does not fire once per drain, whatever others there are.
    #[test]
    fn differential_one_by_one_and_at_once(
        mut case in any_case(),
        polls in polls(),
    ) {
        case.config.windows[0].late_firing = oracle::LateFiring::EachEvent;
        let definitions = case.config.windows.clone();
        let run = |poll: &mut dyn FnMut(&mut Host<String, Story>)| {
            let host = run(&case, name, poll);
            let mut counters = host.kernel.counters();
            if case.config.fires_once_per_drain() {
                counters.panes_fired = 0;
            }
            let mut rows = host.rows;
            rows.retain(|row| definitions[row.definition].late_firing == oracle::LateFiring::EachEvent);
            (host.told, rows, counters)
        };
        let at_once = run(&mut |_| {});
        let mut turns = polls.iter().cycle();
        prop_assert_eq!(&run(&mut Host::drain), &at_once);
        prop_assert_eq!(&run(&mut |host| host.poll(*turns.next().unwrap())), &at_once);
    }

    /// W2: watermarks in many small steps or in few large ones, the panes are the same.
    #[test]
    fn differential_coarse_and_fine_watermarks(case in any_case(), pieces in 2..5u32, drain: bool) {
        let fine = split_watermarks(&case, pieces);
        let coarse = coarsen_watermarks(&fine);
        // A drain is an observation of its own where late panes come once for each.
        let drain = drain && !case.config.fires_once_per_drain();
        let run = |case| run(case, name, |host| host.poll(if drain { usize::MAX } else { 0 }));
        let expected = run(&case);
        for other in [run(&fine), run(&coarse)] {
            prop_assert_eq!(&other.told, &expected.told);
            prop_assert_eq!(&other.rows, &expected.rows);
            prop_assert_eq!(other.kernel.watermark(), expected.kernel.watermark());
            prop_assert_eq!(other.kernel.counters(), expected.kernel.counters());
        }
    }

    /// F2, E3: what the seed hashes keys to shows nowhere where output is ordered.
    #[test]
    fn differential_any_seed_gives_the_same_ordered_output(case in any_case(), seed: u64, restore_at: usize) {
        let run = |seed: Option<u64>| {
            let mut config = harness::config(&case.config);
            if let Some(seed) = seed {
                config = config.seed(seed);
            }
            let build = || Host::new(config.clone(), story(), name).ordered();
            let mut host = build();
            let mut bytes = Vec::new();
            for (number, step) in case.steps.iter().enumerate() {
                host.take(step);
                if number == restore_at % case.steps.len() {
                    bytes = host.kernel.snapshot();
                    host.kernel = build().kernel.restore(&bytes).unwrap();
                }
                host.poll(1);
            }
            host.drain();
            (host.told, host.rows, bytes, host.kernel.snapshot())
        };
        let expected = run(Some(seed));
        prop_assert_eq!(&run(Some(!seed)), &expected);
        prop_assert_eq!(&run(None), &expected);
    }

    /// F2: the same calls and seed give the same order of keys.
    #[test]
    fn differential_the_same_seed_gives_the_same_unordered_output(case in any_case(), seed: u64) {
        let run = || {
            let mut host = Host::new(harness::config(&case.config).seed(seed), story(), name);
            for step in &case.steps {
                host.take(step);
                host.poll(2);
            }
            host.drain();
            (host.told, host.rows)
        };
        prop_assert_eq!(run(), run());
    }

    /// A stream without keys gives the totals of a keyed one.
    #[test]
    fn differential_unkeyed_windows_are_the_totals_of_keyed_ones(mut case in any_case()) {
        // Sessions are each key's own, and so is what a count trigger counts.
        if !case.config.windows.iter().all(goes_by_time) {
            case.steps.iter_mut().for_each(|step| if let Step::Event { key, .. } = step { *key = 0 });
        }
        let keyed = run(&case, |key| key, Host::drain);
        let unkeyed = run(&case, |_| (), Host::drain);
        prop_assert_eq!(keyed.told.len(), unkeyed.told.len());
        prop_assert_eq!(totals_of_ended(&case.config, &keyed), totals_of_ended(&case.config, &unkeyed));
        let (mut keyed, unkeyed) = (keyed.kernel.counters(), unkeyed.kernel.counters());
        // How often a window fires early or late is each key's own; after an early pane a discarding one
        // may have nothing to say on time.
        keyed.panes_fired = unkeyed.panes_fired;
        if case.config.windows.iter().any(|w| w.accumulation == oracle::Accumulation::Discarding) {
            keyed.windows_fired = unkeyed.windows_fired;
        }
        prop_assert_eq!(keyed, unkeyed);
    }
}

fn goes_by_time(windows: &oracle::Windows) -> bool {
    let is_session = matches!(windows.kind, oracle::Kind::Session { .. });
    !is_session && !matches!(windows.trigger.base, oracle::Base::Count { .. })
}

/// What has been said in all of the windows that the watermark has passed, by definition and bounds.
fn totals_of_ended<K: std::hash::Hash + Ord + Clone + Debug>(
    config: &oracle::Config,
    host: &Host<K, Story>,
) -> BTreeMap<(usize, (i64, i64)), (u64, i64)> {
    let mut latest = BTreeMap::new();
    for Row { definition, window, key, value: (count, sum, _), .. } in &host.rows {
        let said = latest.entry((*definition, *window, key)).or_insert((0, 0i64));
        *said = match config.windows[*definition].accumulation {
            oracle::Accumulation::Discarding => (said.0 + count, said.1.wrapping_add(*sum)),
            _ => (*count, *sum),
        };
    }
    let mut totals: BTreeMap<_, (u64, i64)> = BTreeMap::new();
    for ((definition, window, _), (count, sum)) in latest {
        if window.1 <= host.kernel.watermark().as_micros() {
            let total = totals.entry((definition, window)).or_default();
            *total = (total.0 + count, total.1.wrapping_add(sum));
        }
    }
    totals
}

// W6: the order of declarations between two observations.

/// One thing that a host declares of a partition.
#[derive(Clone, Debug)]
enum Declared {
    Add,
    Watermark(i64),
    Idle,
    Active,
    Remove,
    End,
}

/// Declarations, each to a partition by its ordinal.
type Declarations = Vec<(usize, Declared)>;

/// What happens between two observations: declarations, with a tick in the middle, and then (each an
/// observation of its own) events and another tick.
#[derive(Clone, Debug)]
struct Round {
    declared: [Declarations; 2],
    tick_between: Option<i64>,
    events: Vec<(usize, i64)>,
    tick: Option<i64>,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let declared = prop_oneof![
        6 => (0..60i64).prop_map(Declared::Watermark),
        3 => Just(Declared::Idle),
        3 => Just(Declared::Active),
        1 => Just(Declared::Add),
        1 => Just(Declared::Remove),
        1 => Just(Declared::End),
    ];
    let tick = || prop::option::weighted(0.2, 0..60i64);
    let declared = prop::collection::vec((0..8usize, declared), 0..8);
    let later = prop_oneof![Just(Vec::new()), declared.clone()];
    let events = prop::collection::vec((0..8usize, 0..60i64), 0..4);
    let round = (declared, tick(), later, events, tick()).prop_map(
        |(declared, tick_between, later, events, tick)| Round {
            declared: [declared, later],
            tick_between,
            events,
            tick,
        },
    );
    prop::collection::vec(round, 1..12)
}

type Plain = Windowing<u32, i64, Count>;

/// Partitions by ordinals that do not depend on the order in which they are added.
struct Declarer {
    kernel: Plain,
    partitions: HashMap<usize, Partition>,
}

impl Declarer {
    fn new(config: &oracle::Config, partitions: usize) -> Self {
        let mut kernel: Plain = harness::config(config).build(Count).unwrap();
        let partitions = (0..partitions).map(|ordinal| (ordinal, kernel.add_partition())).collect();
        Self { kernel, partitions }
    }

    fn declare(&mut self, ordinal: usize, what: &Declared) {
        let kernel = &mut self.kernel;
        let Some(&partition) = self.partitions.get(&ordinal) else {
            if matches!(what, Declared::Add) {
                self.partitions.insert(ordinal, kernel.add_partition());
            }
            return;
        };
        match *what {
            Declared::Add => {}
            Declared::Watermark(w) => kernel.set_watermark(partition, mark(w)).unwrap(),
            Declared::Idle => kernel.mark_idle(partition).unwrap(),
            Declared::Active => kernel.mark_active(partition).unwrap(),
            Declared::Remove => kernel.remove_partition(partition).unwrap(),
            Declared::End => kernel.end_partition(partition).unwrap(),
        }
        if matches!(what, Declared::Remove | Declared::End) {
            self.partitions.remove(&ordinal);
        }
    }

    /// Declares what a round does, with its tick in the middle.
    fn declare_all(&mut self, [first, then]: [&Declarations; 2], tick: Option<i64>) {
        first.iter().for_each(|(ordinal, what)| self.declare(*ordinal, what));
        tick.into_iter().for_each(|now| self.kernel.tick(at(now)));
        then.iter().for_each(|(ordinal, what)| self.declare(*ordinal, what));
    }

    /// All that the host can see of time. The first look is another one each time.
    fn observe(&mut self, first_look: usize) -> String {
        let kernel = &mut self.kernel;
        let mut seen = Vec::new();
        match first_look % 5 {
            0 => drop(kernel.snapshot()),
            1 => seen.push(format!("output {:?}", kernel.output_watermark())),
            2 => drop(kernel.held_by()),
            3 => seen.push(format!("{:?}", kernel.poll())),
            _ => {}
        }
        let held = kernel.held_by().and_then(|partition| kernel.partition(partition).ok());
        let held = held.map(|status| status.watermark);
        seen.push(format!("{:?} held at {held:?}", kernel.watermark()));
        for ordinal in 0..8 {
            let status = self.partitions.get(&ordinal).map(|&partition| kernel.partition(partition).unwrap());
            seen.push(format!(
                "{ordinal} {:?}",
                status.map(|s| (s.state, s.watermark, s.last_event, s.quiet_since))
            ));
        }
        seen.join("\n")
    }

    fn offer(&mut self, ordinal: usize, time: i64) -> String {
        let partition = self.partitions.get(&ordinal).copied().unwrap_or(Partition::from_u64(u64::MAX >> 8));
        let told = match self.kernel.push(partition, at(time), time as u32 % 2, 0) {
            Ok(Admission::Late(late)) => {
                format!("late {:?} {:?} {:?}", late.watermark, late.late_by, late.missed)
            }
            Ok(Admission::Unassigned(_)) => "unassigned".to_string(),
            Ok(other) => format!("{other:?}"),
            Err(rejected) => format!("rejected {}", rejected.is_unknown_partition()),
        };
        let mut panes = Vec::new();
        while let Some(pane) = self.kernel.poll() {
            panes.push(format!("{pane:?}"));
        }
        format!("{told} {panes:?}")
    }
}

/// The same declarations in another order that keeps, for each partition, that of its own.
fn interleaved(declared: &Declarations, choices: &[usize]) -> Declarations {
    let mut queues: BTreeMap<usize, std::collections::VecDeque<Declared>> = BTreeMap::new();
    for (ordinal, what) in declared {
        queues.entry(*ordinal).or_default().push_back(what.clone());
    }
    let mut order = Vec::new();
    for turn in 0..declared.len() {
        let choice = choices.get(turn % choices.len().max(1)).copied().unwrap_or(0);
        let ordinal = *queues.keys().nth(choice % queues.len()).unwrap();
        let queue = queues.get_mut(&ordinal).unwrap();
        order.push((ordinal, queue.pop_front().unwrap()));
        if queue.is_empty() {
            queues.remove(&ordinal);
        }
    }
    order
}

/// Rules of any kind over windows of any kind.
fn any_rules() -> impl Strategy<Value = oracle::Config> {
    let tumbling = (0..15i64).prop_map(|lateness| {
        oracle::Config::of(oracle::Windows { lateness, ..oracle::Windows::tumbling(5) })
    });
    let config = prop_oneof![tumbling, generate::config()];
    let generator = prop_oneof![
        Just(oracle::Generator::Host),
        (0..12i64).prop_map(|bound| oracle::Generator::Bounded { bound }),
    ];
    (config, generator, any::<bool>(), prop::option::of(0..20i64)).prop_map(
        |(config, generator, hold, idle_timeout)| {
            let resume = if hold { oracle::Resume::Hold } else { oracle::Resume::Exclude };
            oracle::Config { generator, resume, idle_timeout, ..config }
        },
    )
}

/// Whether a tick does nothing but tell the time: it neither idles partitions nor looks at the watermark.
fn ticks_only_tell_the_time(config: &oracle::Config) -> bool {
    config.idle_timeout.is_none() && !config.observes_ticks()
}

proptest! {
    #![proptest_config(cases(3000))]

    /// A tick may be an observation and idle partitions, so that what is declared before it stays before it.
    #[test]
    fn differential_w6_declarations_between_observations_commute(
        config in any_rules(),
        partitions in 2..=6usize,
        rounds in rounds(),
        choices in prop::collection::vec(0..8usize, 1..30),
    ) {
        let mut one = Declarer::new(&config, partitions);
        let mut other = Declarer::new(&config, partitions);
        for (number, Round { declared, tick_between, events, tick }) in rounds.iter().enumerate() {
            one.declare_all(declared.each_ref(), *tick_between);
            if ticks_only_tell_the_time(&config) {
                let all = interleaved(&declared.concat(), &choices);
                other.declare_all([&Vec::new(), &all], *tick_between);
            } else {
                let [first, then] = declared.each_ref().map(|declared| interleaved(declared, &choices));
                other.declare_all([&first, &then], *tick_between);
            }
            let look = choices[number % choices.len()];
            prop_assert_eq!(one.observe(look), other.observe(look), "round {}", number);
            // The first of the two also looks twice.
            one.observe(4);
            for &(ordinal, time) in events {
                prop_assert_eq!(one.offer(ordinal, time), other.offer(ordinal, time), "round {}", number);
            }
            if let Some(now) = *tick {
                one.kernel.tick(at(now));
                other.kernel.tick(at(now));
                prop_assert_eq!(one.observe(4), other.observe(4), "tick of round {}", number);
            }
        }
    }

    /// After any history, if all active partitions reach t, the watermark reaches t: none is stuck.
    #[test]
    fn w6_the_watermark_never_stalls(
        config in any_rules(),
        partitions in 2..=6usize,
        rounds in rounds(),
        t in 0..80i64,
    ) {
        let mut host = Declarer::new(&config, partitions);
        for Round { declared, tick_between, events, tick } in &rounds {
            host.declare_all(declared.each_ref(), *tick_between);
            for &(ordinal, time) in events {
                host.offer(ordinal, time);
            }
            tick.iter().for_each(|&now| host.kernel.tick(at(now)));
        }
        let active: Vec<Partition> = host
            .kernel
            .partitions()
            .filter(|status| status.state != PartitionState::Idle)
            .map(|status| status.partition)
            .collect();
        for &partition in &active {
            host.kernel.set_watermark(partition, mark(t)).unwrap();
        }
        if !active.is_empty() {
            prop_assert!(host.kernel.watermark() >= mark(t), "{:?} of {:?}", host.kernel.watermark(), t);
            let behind = host.kernel.partitions().find(|status| status.state == PartitionState::Waiting);
            prop_assert_eq!(behind, None);
        }
    }
}

// W2, W3 with very many partitions.

/// The watermark as anybody would compute it.
fn scan<K, V, A: Aggregate<V>>(kernel: &Windowing<K, V, A>, before: Watermark) -> Watermark {
    let (mut least, mut idle, mut active) = (None::<Watermark>, Watermark::MIN, 0);
    for status in kernel.partitions() {
        match status.state {
            PartitionState::Idle => {
                idle = idle.max(status.watermark);
                continue;
            }
            PartitionState::Waiting => least = Some(Watermark::MIN),
            PartitionState::Active => {
                least = Some(least.map_or(status.watermark, |w| w.min(status.watermark)))
            }
            _ => assert!(status.watermark < before, "catching up means behind: {status:?}"),
        }
        active += 1;
    }
    if active == 0 { before.max(idle) } else { before.max(least.unwrap_or(before)) }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Event { ahead: i64 },
    Idle,
    Active,
    Remove,
    Add,
}

const MANY: usize = 10_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn differential_w3_ten_thousand_partitions_are_a_plain_scan(
        hold: bool,
        // Where only slices are kept, the watermark is looked for where the next of them ends.
        windows in prop::sample::subsequence(vec![Windows::tumbling(micros(20)), Windows::session(micros(20))], 1..=2),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![
                20 => (-60..200i64).prop_map(|ahead| Change::Event { ahead }),
                1 => Just(Change::Idle),
                1 => Just(Change::Active),
                1 => Just(Change::Remove),
                1 => Just(Change::Add),
            ]),
            1500,
        ),
    ) {
        const BOUND: i64 = 50;
        let resume = if hold { Resume::Hold } else { Resume::Exclude };
        let config = Config::windows(windows).max_disorder(micros(BOUND)).resume(resume);
        let mut kernel: Plain = config.build(Count).unwrap();
        // With the latest event of each.
        let mut partitions: Vec<(Partition, i64)> = (0..MANY).map(|_| (kernel.add_partition(), 0)).collect();
        for (partition, latest) in &partitions {
            let _ = kernel.push(*partition, at(*latest), 0, 0).unwrap();
        }
        let mut watermark = kernel.watermark();
        prop_assert_eq!(watermark, mark(-BOUND));
        for (number, (who, change)) in changes.into_iter().enumerate() {
            // Of late the slowest move most, so that the minimum does too.
            let slowest = partitions.iter().enumerate().min_by_key(|(_, (_, latest))| latest).unwrap().0;
            let slot = if number % 3 == 0 { slowest } else { who.index(partitions.len()) };
            let (partition, latest) = &mut partitions[slot];
            match change {
                Change::Event { ahead } => {
                    let time = *latest + ahead;
                    *latest = time.max(*latest);
                    let _ = kernel.push(*partition, at(time), 0, 0).unwrap();
                    prop_assert_eq!(kernel.partition(*partition).unwrap().watermark, mark(*latest - BOUND));
                }
                Change::Idle => kernel.mark_idle(*partition).unwrap(),
                Change::Active => kernel.mark_active(*partition).unwrap(),
                Change::Remove => {
                    kernel.remove_partition(*partition).unwrap();
                    partitions.swap_remove(slot);
                }
                Change::Add => {
                    let partition = kernel.add_partition();
                    prop_assert_eq!(kernel.watermark(), watermark, "it holds the watermark (W5)");
                    let latest = watermark.as_micros() + BOUND;
                    let _ = kernel.push(partition, at(latest), 0, 0).unwrap();
                    partitions.push((partition, latest));
                }
            }
            let expected = scan(&kernel, watermark);
            watermark = kernel.watermark();
            prop_assert_eq!(watermark, expected, "after {:?}", change);
        }
        // All of them leap: the watermark must too, past every alarm.
        for (partition, latest) in &partitions {
            let _ = kernel.push(*partition, at(latest + 1_000_000), 0, 0).unwrap();
        }
        let expected = scan(&kernel, watermark);
        prop_assert_eq!(kernel.watermark(), expected);
    }
}

// F7: kernels in a chain.

proptest! {
    #![proptest_config(cases(1000))]

    /// Early, on time or late: no pane is of a time that the output watermark has passed, however the host polls.
    #[test]
    fn f7_no_pane_is_behind_the_output_watermark(
        case in any_case(),
        polls in polls(),
    ) {
        let mut host = Host::new(harness::config(&case.config), story(), |key| key);
        let mut announced = Watermark::MIN;
        let mut turns = polls.iter().cycle();
        for step in case.steps.iter().chain([&Step::Finish]) {
            host.take(step);
            let before = host.rows.len();
            host.poll(if matches!(step, Step::Finish) { usize::MAX } else { *turns.next().unwrap() });
            for row in &host.rows[before..] {
                prop_assert!(row.window.1 > announced.as_micros(), "{:?} after {:?}", row, announced);
            }
            let output = host.kernel.output_watermark();
            prop_assert!(output >= announced, "{:?} after {:?}: it never goes back", output, announced);
            announced = output;
        }
        prop_assert_eq!(announced, Watermark::MAX);
    }
}

#[derive(Clone, Debug)]
struct Chain {
    upstream: Case,
    polls: Vec<usize>,
}

fn chain() -> impl Strategy<Value = Chain> {
    let config = prop_oneof![generate::aligned_config(), generate::config()].prop_map(|mut config| {
        config.windows.iter_mut().for_each(add_up);
        config
    });
    let upstream = config.prop_flat_map(|config| (generate::steps(&config), Just(config)));
    (upstream, polls()).prop_map(|((mut steps, config), polls)| {
        steps.retain(|step| match *step {
            Step::Event { time, gap, .. } => is_near(time) && gap.is_none_or(is_near),
            _ => true,
        });
        Chain { upstream: Case { name: None, config, steps }, polls }
    })
}

/// Where the range of time ends, the windows downstream no longer fit.
fn is_near(time: i64) -> bool {
    time.unsigned_abs() < 1 << 60
}

/// Makes windows end before that, and what they say add up: the panes that one of a session replaces are those
/// of other windows.
fn add_up(windows: &mut oracle::Windows) {
    let (length, is_session) = match &windows.kind {
        oracle::Kind::Sliding { size, .. } => (*size, false),
        oracle::Kind::Cumulative { max, .. } => (*max, false),
        oracle::Kind::Session { gap, .. } => (*gap, true),
        oracle::Kind::Global => (i64::MAX, false),
        oracle::Kind::Edges { edges } => (edges[edges.len() - 1], false),
    };
    if !is_near(length) {
        windows.kind = oracle::Kind::Sliding { size: 10, slide: 5, offset: 0 };
        // (By a horizon made for windows as long as time these would be filled for ever.)
        windows.fill = windows.fill.map(|horizon| horizon.min(30));
    } else if is_session && windows.accumulation == oracle::Accumulation::Accumulating {
        windows.accumulation = oracle::Accumulation::Retracting;
    }
}

/// In how many windows an instant is, of all definitions.
fn windows_of(config: &oracle::Config, time: i64) -> u64 {
    let of_one = |windows: &oracle::Windows| match &windows.kind {
        oracle::Kind::Sliding { size, slide, offset } => {
            let since = i128::from(time) - i128::from(*offset);
            let starts_until = |since: i128| since.div_euclid(i128::from(*slide));
            (starts_until(since) - starts_until(since - i128::from(*size))) as u64
        }
        oracle::Kind::Cumulative { step, max, offset } => {
            let since = i128::from(time) - i128::from(*offset);
            ((i128::from(*max) - since.rem_euclid(i128::from(*max)) - 1) / i128::from(*step) + 1) as u64
        }
        oracle::Kind::Session { .. } | oracle::Kind::Global => 1,
        oracle::Kind::Edges { edges } => (edges[0] <= time && time < edges[edges.len() - 1]).into(),
    };
    config.windows.iter().map(of_one).sum()
}

/// What is counted and summed up, by key.
type Totals = BTreeMap<u32, (i64, i64)>;

fn add(totals: &mut Totals, key: u32, times: i64, (count, sum): (i64, i64)) {
    let total = totals.entry(key).or_default();
    *total = (total.0 + times * count, total.1.wrapping_add(times.wrapping_mul(sum)));
}

/// What has come upstream, as often as it is in a window.
fn taken(case: &Case, missed: &[Option<u64>]) -> Totals {
    let events = case.steps.iter().filter_map(|step| match *step {
        Step::Event { time, key, value, .. } => Some((time, key, value)),
        _ => None,
    });
    let mut totals = Totals::new();
    for ((time, key, value), missed) in events.zip(missed) {
        if let Some(missed) = missed {
            add(&mut totals, key, (windows_of(&case.config, time) - missed) as i64, (1, value));
        }
    }
    totals
}

type WindowOfKey = (usize, u32, (i64, i64));

/// What each pane says that panes before it did not.
#[derive(Default)]
struct News(HashMap<WindowOfKey, (i64, i64)>);

impl News {
    fn of(
        &mut self,
        row: &Row<u32, <Story as Aggregate<Value>>::Output>,
        how: oracle::Accumulation,
    ) -> (i64, i64) {
        let said = |(count, sum, _): &(u64, i64, Vec<u64>)| (*count as i64, *sum);
        let less = |(count, sum): (i64, i64), old: (i64, i64)| (count - old.0, sum.wrapping_sub(old.1));
        let now = said(&row.value);
        match how {
            oracle::Accumulation::Accumulating => {
                less(now, self.0.insert((row.definition, row.key, row.window), now).unwrap_or_default())
            }
            oracle::Accumulation::Discarding => now,
            oracle::Accumulation::Retracting => {
                row.retracts.iter().fold(now, |now, (_, old)| less(now, said(old)))
            }
        }
    }
}

type Adder = (Sum<fn(&(i64, i64)) -> i64, i64>, Sum<fn(&(i64, i64)) -> i64, i64>);

/// The kernel downstream: windows of 60 µs and sessions.
struct Downstream {
    kernel: Windowing<u32, (i64, i64), Adder>,
    source: Partition,
    totals: [Totals; 2],
}

impl Downstream {
    fn new() -> Self {
        let windows = [Windows::tumbling(micros(60)), Windows::session(micros(25))];
        let adder: Adder = (Sum::of(|news| news.0), Sum::of(|news| news.1));
        let mut kernel: Windowing<u32, (i64, i64), Adder> = Config::windows(windows).build(adder).unwrap();
        let source = kernel.add_partition();
        Self { kernel, source, totals: Default::default() }
    }

    fn rise(&mut self, watermark: Watermark) {
        self.kernel.set_watermark(self.source, watermark).unwrap();
        while let Some(pane) = self.kernel.poll() {
            assert_eq!(pane.timing, Timing::OnTime);
            add(&mut self.totals[pane.definition as usize], *pane.key, 1, pane.value);
        }
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    /// Windows of any kind feed 60 µs windows and sessions, each pane with what is new since the last of its key
    /// and window. What a session withdraws from another window is part of that: the other's own time may be over.
    #[test]
    fn differential_f7_chained_kernels_lose_nothing(Chain { upstream: case, polls } in chain()) {
        let mut upstream = Host::new(harness::config(&case.config), story(), |key| key);
        let mut downstream = Downstream::new();
        let (mut news, mut passed) = (News::default(), 0);
        let mut turns = polls.iter().cycle();
        for step in case.steps.iter().chain([&Step::Finish]) {
            upstream.take(step);
            upstream.poll(if matches!(step, Step::Finish) { usize::MAX } else { *turns.next().unwrap() });
            for row in &upstream.rows[passed..] {
                let news = news.of(row, case.config.windows[row.definition].accumulation);
                let pushed = downstream.kernel.push(downstream.source, at(row.window.1 - 1), row.key, news);
                prop_assert_eq!(pushed.unwrap(), Admission::Accepted, "nothing is late downstream: {:?}", row);
            }
            passed = upstream.rows.len();
            downstream.rise(upstream.kernel.output_watermark());
        }
        let taken = taken(&case, &upstream.missed);
        for totals in &downstream.totals {
            // A count trigger keeps the rest to itself.
            if case.config.windows.iter().any(|w| matches!(w.trigger.base, oracle::Base::Count { .. })) {
                prop_assert!(totals.iter().all(|(key, total)| total.0 <= taken[key].0));
            } else {
                prop_assert_eq!(totals, &taken);
            }
        }
    }
}

// E2: the budget.

proptest! {
    #![proptest_config(cases(500))]

    /// An event over the budget might as well have come from a partition that is not there.
    #[test]
    fn differential_e2_a_refused_event_changes_nothing(mut case in any_case(), budget in 0..8_000usize) {
        let within = harness::config(&case.config).state_budget(budget);
        let within = run_with(within, &case, name, Host::drain);
        let events = case.steps.iter_mut().filter(|step| matches!(step, Step::Event { .. }));
        let is_refused = |told: &String| told.contains("over its budget");
        for (step, _) in events.zip(&within.told).filter(|(_, told)| is_refused(told)) {
            let Step::Event { p, .. } = step else { unreachable!() };
            *p = u32::MAX;
        }
        let without = run(&case, name, Host::drain);
        for (told, expected) in within.told.iter().zip(&without.told).filter(|(told, _)| !is_refused(told)) {
            prop_assert_eq!(told, expected);
        }
        prop_assert_eq!(&within.rows, &without.rows);
        let (mut counters, expected) = (within.kernel.counters(), without.kernel.counters());
        // What a refused event is suspected of is counted.
        counters.suspect = expected.suspect;
        prop_assert_eq!(counters, expected);
    }
}

proptest! {
    #![proptest_config(cases(500))]

    /// What an accumulator has of its own on the heap aside, no event that is taken leaves the state over its budget.
    #[test]
    fn e2_no_event_passes_the_budget(case in any_case(), budget in 0..8_000usize, by_index: bool) {
        // (Where keys have an index they get room for many at once.)
        let budget = if by_index { 20 * budget } else { budget };
        let config = harness::config(&case.config).state_budget(budget);
        let mut host = Host::new(config, Count, |key| key);
        if by_index {
            host.kernel = host.kernel.indexed();
        }
        for step in &case.steps {
            let within = host.kernel.state_bytes() <= budget;
            host.take(step);
            let after = host.kernel.state_bytes();
            if within && matches!(step, Step::Event { .. }) {
                prop_assert!(after <= budget, "{after} over {budget} after {step:?}");
            }
            host.drain();
        }
    }
}

/// Events of ever new keys in window after window, against a budget.
fn fill<A: Aggregate<i64>>(
    mut kernel: Windowing<u64, i64, A>,
    budget: usize,
    keys: u64,
    windows: i64,
    count: impl Fn(A::Output) -> u64,
) -> Result<(u64, u64), TestCaseError> {
    let partition = kernel.add_partition();
    let (mut accepted, mut rejected, mut out) = (0, 0, 0);
    for window in 0..windows {
        for n in 0..keys {
            match kernel.push(partition, at(10 * window + n as i64 % 10), n, 1) {
                Ok(admission) => {
                    prop_assert_eq!(admission, Admission::Accepted);
                    accepted += 1;
                }
                Err(refused) => {
                    prop_assert!(refused.is_over_budget(), "{}", refused);
                    prop_assert!(refused.to_string().contains(&format!("budget of {budget}")), "{}", refused);
                    prop_assert_eq!((refused.event.key, refused.event.value), (n, 1));
                    rejected += 1;
                }
            }
            prop_assert!(kernel.state_bytes() <= budget, "{} over {}", kernel.state_bytes(), budget);
        }
        // Draining and expiry make room again: the next window's first key is taken.
        kernel.set_watermark(partition, mark(10 * (window + 1))).unwrap();
        while let Some(pane) = kernel.poll() {
            out += count(pane.value);
        }
    }
    prop_assert_eq!(kernel.counters().rejected, rejected);
    prop_assert!(accepted >= windows as u64, "at least one of each window");
    kernel.finish();
    while let Some(pane) = kernel.poll() {
        out += count(pane.value);
    }
    prop_assert_eq!(out, accepted, "everything accepted comes out");
    Ok((accepted, rejected))
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn e2_a_budget_refuses_and_recovers(budget in 2_000..100_000usize, keys in 1..5000u64, windows in 1..6i64) {
        let kernel = Config::tumbling(micros(10)).state_budget(budget).build(Count).unwrap();
        fill(kernel, budget, keys, windows, |count| count)?;
        let kernel = Config::tumbling(micros(10)).state_budget(budget).build(Count).unwrap();
        fill(kernel.ordered(), budget, keys, windows, |count| count)?;
    }

    #[test]
    fn e2_a_budget_refuses_by_index(budget in 40_000..400_000usize, keys in 1..30_000u64, windows in 1..6i64) {
        let kernel = Config::tumbling(micros(10)).state_budget(budget).build(Count).unwrap();
        fill(kernel.indexed(), budget, keys, windows, |count| count)?;
    }

    #[test]
    fn e2_a_budget_counts_late_events_that_wait(budget in 2_000..50_000usize, events in 1..3000u64) {
        let config = Config::tumbling(micros(10)).allowed_lateness(micros(1000)).state_budget(budget);
        let mut kernel: Windowing<u64, i64, Count> = config.build(Count).unwrap();
        let partition = kernel.add_partition();
        kernel.set_watermark(partition, mark(100)).unwrap();
        let mut accepted = 0;
        for n in 0..events {
            match kernel.push(partition, at(n as i64 % 100), n, 1) {
                Ok(admission) => {
                    prop_assert_eq!(admission, Admission::Accepted);
                    accepted += 1;
                }
                Err(refused) => prop_assert!(refused.is_over_budget(), "{}", refused),
            }
            prop_assert!(kernel.state_bytes() <= budget, "{} over {}", kernel.state_bytes(), budget);
        }
        prop_assert!(accepted > 0);
        let mut out = 0;
        while let Some(pane) = kernel.poll() {
            out += pane.value;
        }
        prop_assert_eq!(out, accepted);
    }
}

#[test]
fn e2_a_budget_of_nothing_takes_nothing() {
    let mut kernel: Plain = Config::tumbling(micros(10)).state_budget(0).build(Count).unwrap();
    let partition = kernel.add_partition();
    for n in 0..10 {
        let refused = kernel.push(partition, at(n), 0, 0).unwrap_err();
        assert!(refused.is_over_budget(), "{refused}");
    }
    assert_eq!(kernel.counters().rejected, 10);
    kernel.finish();
    assert!(kernel.poll().is_none());
}

#[test]
fn e2_polling_sliding_windows_stays_within_the_budget() {
    let sliding = |slide| Windows::sliding(micros(60), micros(slide));
    assert_polling_stays_within_the_budget(vec![sliding(1)], 60, 1000);
    // Ten slices come together.
    assert_polling_stays_within_the_budget(vec![sliding(10), Windows::tumbling(micros(1))], 6 + 1, 700);
}

/// Each event is in so many windows, and at least so many are accepted.
#[track_caller]
fn assert_polling_stays_within_the_budget(windows: Vec<Windows>, of_each: u64, least: u64) {
    let budget = 150_000;
    let mut kernel: Plain = Config::windows(windows).state_budget(budget).build(Count).unwrap();
    let partition = kernel.add_partition();
    let mut accepted = 0;
    for key in 0..2000 {
        match kernel.push(partition, at(i64::from(key) % 60), key, 0) {
            Ok(admission) => {
                assert_eq!(admission, Admission::Accepted);
                accepted += 1;
            }
            Err(refused) => assert!(refused.is_over_budget(), "{refused}"),
        }
    }
    let table = 2 * kernel.state_bytes() / kernel.live_slices();
    kernel.set_watermark(partition, mark(200)).unwrap();
    let (mut most, mut out) = (0, 0);
    while let Some(pane) = kernel.poll() {
        out += pane.value;
        most = most.max(kernel.state_bytes());
    }
    assert_eq!(out, of_each * accepted);
    assert!(accepted > least, "{accepted}");
    assert!(most <= budget + table, "{most} bytes, and the budget was {budget}");
}

#[test]
fn e2_slices_far_apart_stay_within_the_budget() {
    let budget = 10_000;
    let mut kernel: Plain = Config::tumbling(micros(1)).state_budget(budget).build(Count).unwrap();
    let partition = kernel.add_partition();
    for n in 0..50 {
        match kernel.push(partition, at(n * n * 25), 0, 0) {
            Ok(admission) => assert_eq!(admission, Admission::Accepted),
            Err(refused) => assert!(refused.is_over_budget(), "{refused}"),
        }
        assert!(kernel.state_bytes() <= budget, "{} bytes at slice {}", kernel.state_bytes(), n * n * 25);
    }
}

#[test]
fn e2_accumulators_on_the_heap_stay_within_the_budget() {
    let budget = 50_000;
    let config = Config::tumbling(micros(10)).state_budget(budget);
    let mut kernel: Windowing<u32, i64, _> = config.build(Collect::of(|value: &i64| *value)).unwrap();
    let partition = kernel.add_partition();
    for window in 0..3 {
        let mut taken = 0;
        for n in 0..10_000 {
            match kernel.push(partition, at(10 * window + n % 10), n as u32 % 3, n) {
                Ok(admission) => {
                    assert_eq!(admission, Admission::Accepted);
                    taken += 1;
                }
                Err(refused) => assert!(refused.is_over_budget(), "{refused}"),
            }
            // What an accumulator grows by is known when it has grown.
            assert!(kernel.state_bytes() <= budget + budget / 3, "{}", kernel.state_bytes());
        }
        assert!((1000..5000).contains(&taken), "{taken}");
        kernel.set_watermark(partition, mark(10 * (window + 1))).unwrap();
        let mut out = 0;
        while let Some(pane) = kernel.poll() {
            out += pane.value.len();
        }
        assert_eq!(out, taken);
    }
}

#[test]
fn e2_a_budget_passed_by_sliding_windows_does_not_refuse_for_ever() {
    let budget = 150_000;
    let mut kernel: Plain = Config::sliding(micros(60), micros(1)).state_budget(budget).build(Count).unwrap();
    let partition = kernel.add_partition();
    for key in 0..2000 {
        if let Ok(admission) = kernel.push(partition, at(i64::from(key) % 60), key, 0) {
            assert_eq!(admission, Admission::Accepted);
        }
    }
    // One key goes on, and all the others leave with their windows.
    let mut taken = 0;
    for time in 60..300 {
        taken += u64::from(kernel.push(partition, at(time), 0, 0).is_ok());
        kernel.set_watermark(partition, mark(time)).unwrap();
        while kernel.poll().is_some() {}
    }
    assert!(taken > 100, "only {taken} of 240 fitted; {} bytes of {budget} are taken", kernel.state_bytes());
}

// F8, W7: far away.

const YEAR: i64 = 365 * 86_400 * 1_000_000;
const MILLENNIUM: i64 = 1000 * YEAR;

/// Totals per window start of what a stream with strangers in it gives.
fn totals(config: Config, strangers: &[(usize, i64)]) -> (BTreeMap<i64, u64>, usize, Plain) {
    let mut kernel: Plain = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    let mut out = BTreeMap::new();
    let mut most = 0;
    for n in 0..2000 {
        for (_, time) in strangers.iter().filter(|(place, _)| *place == n as usize) {
            let _ = kernel
                .push(partition, at(*time), 7, 0)
                .map_err(|rejected| assert!(rejected.is_future_skew()));
        }
        let _ = kernel.push(partition, at(n), n as u32 % 3, 0).unwrap();
        most = most.max(kernel.state_bytes());
        while let Some(pane) = kernel.poll() {
            *out.entry(pane.window.start.as_micros()).or_default() += pane.value;
        }
    }
    kernel.finish();
    while let Some(pane) = kernel.poll() {
        *out.entry(pane.window.start.as_micros()).or_default() += pane.value;
    }
    assert_eq!(kernel.live_slices(), 0);
    (out, most, kernel)
}

#[test]
fn w7_f8_an_event_a_millennium_ahead_costs_one_entry() {
    for (size, slide) in [(10, 10), (60, 7), (7, 10), (600, 1)] {
        let config = || {
            let windows = Config::sliding(micros(size), micros(slide)).max_disorder(micros(5));
            windows.max_future_skew(micros(1000), Suspect::Admit)
        };
        // A time that lies in a window, whatever the slide.
        let ahead = MILLENNIUM - MILLENNIUM % slide;
        let (plain, most, _) = totals(config(), &[]);
        let (with, most_with, kernel) = totals(config(), &[(50, ahead), (51, 2 * ahead), (1500, ahead)]);
        assert_eq!(kernel.counters().suspect, 3);
        let near: BTreeMap<_, _> = with.clone().into_iter().filter(|(start, _)| *start < YEAR).collect();
        assert_eq!(near, plain, "nothing else has changed");
        let strangers: u64 =
            with.into_iter().filter(|(start, _)| *start >= YEAR).map(|(_, count)| count).sum();
        let each = (size as u64).div_ceil(slide as u64);
        assert!(strangers >= 3 * each.max(1) - 3 && strangers <= 3 * each, "{strangers}");
        assert!(most_with < most + 1000, "{most_with} bytes instead of {most}");
        // Rejected, it costs nothing at all.
        let rejecting = config().max_future_skew(micros(1000), Suspect::Reject);
        let (without, most_without, kernel) = totals(rejecting, &[(50, ahead), (51, 2 * ahead)]);
        assert_eq!((without, most_without, kernel.counters().rejected), (plain, most, 2));
    }
}

#[test]
fn f8_a_leap_of_the_watermark_costs_what_is_stored() {
    // A hundred thousand million million windows, most of them empty.
    let config = Config::sliding(micros(10), micros(3)).allowed_lateness(micros(100));
    let mut kernel: Plain = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    let mut expected = Vec::new();
    for (millennium, late) in [(-40, 0), (0, 9), (1, 5), (2, 0), (40, 1)] {
        let time = MILLENNIUM * millennium;
        kernel.set_watermark(partition, mark(time)).unwrap();
        assert!(kernel.poll().is_none());
        assert_eq!(kernel.push(partition, at(time - late), 0, 0).unwrap(), Admission::Accepted);
        expected.push(time - late);
        kernel.set_watermark(partition, mark(time + 10)).unwrap();
        let mut times = Vec::new();
        while let Some(pane) = kernel.poll() {
            assert!(pane.window.start <= at(time - late) && at(time - late) < pane.window.end);
            times.push(pane.window.start.as_micros());
        }
        assert!((3..=4).contains(&times.len()), "{times:?}");
        assert_eq!(kernel.live_slices(), 1);
    }
    assert!(kernel.state_bytes() < 10_000);
    kernel.set_watermark(partition, Watermark::MAX).unwrap();
    assert!(kernel.poll().is_none());
    assert_eq!(kernel.live_slices(), 0);
    assert_eq!(kernel.output_watermark(), Watermark::MAX);
    let late = kernel.push(partition, at(0), 0, 0).unwrap();
    assert!(matches!(late, Admission::Late(_)));
}

/// From one end of time to the other in a single step.
#[test]
fn f8_t2_the_whole_range_of_time() {
    let mut kernel: Plain = Config::tumbling(micros(1)).ascending().build(Count).unwrap();
    let partition = kernel.add_partition();
    let times = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 2, i64::MAX - 1];
    for time in times {
        match kernel.push(partition, at(time), 0, 0) {
            Ok(admission) => assert_eq!(admission, Admission::Accepted, "{time}"),
            Err(rejected) => {
                assert!(rejected.is_out_of_range() && time == i64::MIN || time > 0, "{rejected}")
            }
        }
    }
    kernel.finish();
    let mut starts = Vec::new();
    while let Some(pane) = kernel.poll() {
        starts.push(pane.window.start.as_micros());
    }
    let accepted = kernel.counters().accepted as usize;
    assert!(accepted >= times.len() - 1);
    assert_eq!(starts.len(), accepted);
    assert!(starts.is_sorted());
}

/// L2, F3: a window that had closed when an event came does not show it, not even in a pane that it owed
/// before.
#[test]
fn l2_a_pane_that_is_owed_shows_no_event_that_missed_its_window() {
    let config = Config::sliding(micros(10), micros(5)).allowed_lateness(micros(3));
    let mut kernel: Plain = config.late_firing(LateFiring::OncePerDrain).build(Count).unwrap();
    let partition = kernel.add_partition();
    kernel.set_watermark(partition, mark(25)).unwrap();
    assert!(matches!(kernel.push(partition, at(18), 0, 0), Ok(Admission::PartlyLate(_))));
    kernel.set_watermark(partition, mark(28)).unwrap();
    let Admission::PartlyLate(missed) = kernel.push(partition, at(21), 0, 0).unwrap() else { panic!() };
    assert_eq!((missed.first, missed.count), (window(15, 25), 1));
    let pane = kernel.poll().unwrap();
    assert_eq!((pane.window, pane.timing, pane.value), (window(15, 25), Timing::Late, 1));
}

/// What an event is judged by is what it is taken by, even if the function changes its mind.
#[test]
fn a2_an_events_own_gap_is_asked_for_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let kernel: Plain = Config::session(micros(10)).build(Count).unwrap();
    let mut kernel = kernel.gap_by(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Some(micros(3))
    });
    let partition = kernel.add_partition();
    for time in [5, 7, 20] {
        assert_eq!(kernel.push(partition, at(time), 1, 0).unwrap(), Admission::Accepted);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    kernel.finish();
    assert_eq!(kernel.poll().map(|pane| pane.window), Some(window(5, 10)));
}

// Alignment.

#[test]
fn w3_partitions_far_ahead_are_named_and_taken_from_all_the_same() {
    let mut kernel: Plain = Config::tumbling(micros(10)).max_disorder(micros(2)).build(Count).unwrap();
    let [slow, near, far, idle, new] = [(); 5].map(|()| kernel.add_partition());
    let ahead = |kernel: &Plain, by| -> Vec<Partition> {
        kernel.ahead_by(micros(by)).map(|status| status.partition).collect()
    };
    for (partition, time) in [(slow, 12), (near, 32), (far, 33), (idle, 900)] {
        assert_eq!(kernel.push(partition, at(time), 1, 0).unwrap(), Admission::Accepted);
    }
    kernel.mark_idle(idle).unwrap();
    assert_eq!(ahead(&kernel, 0), [], "one has not reported: nobody knows");
    kernel.end_partition(new).unwrap();
    assert_eq!(kernel.watermark(), mark(10));
    assert_eq!(ahead(&kernel, 0), [near, far]);
    assert_eq!(ahead(&kernel, 20), [far], "by more than the bound");
    assert_eq!(ahead(&kernel, 21), []);
    assert_eq!(kernel.ahead_by(TimeDelta::MAX).count(), 0);
    assert_eq!(kernel.ahead_by(TimeDelta::MIN).count(), 3);
    assert_eq!(kernel.push(far, at(1000), 1, 0).unwrap(), Admission::Accepted);
    assert_eq!(ahead(&kernel, 900), [far]);
}

// X1, L3: explaining.

fn window(start: i64, end: i64) -> Window {
    Window::new(at(start), at(end))
}

#[test]
fn x1_explains_how_far_a_window_has_come() {
    let config = Config::tumbling(micros(10)).allowed_lateness(micros(5)).max_disorder(micros(2));
    let mut kernel: Plain = config.idle_timeout(micros(30)).build(Count).unwrap();
    let explain = |kernel: &Plain, key, start, end| {
        let explanation = kernel.explain(&key, window(start, end));
        assert_eq!((explanation.window, explanation.fires_at), (window(start, end), mark(end)));
        assert_eq!(explanation.watermark, kernel.watermark());
        (explanation.progress, explanation.present, explanation.to_string())
    };
    let second = |n: u32| format!("1970-01-01T00:00:00.0000{n:02}Z");
    let first = format!("[1970-01-01T00:00:00Z, {})", second(10));

    let not = explain(&kernel, 1, 0, 9);
    assert_eq!((not.0, not.1), (WindowProgress::NotAWindow, false));
    assert_eq!(
        not.2,
        "[1970-01-01T00:00:00Z, 1970-01-01T00:00:00.000009Z) is not one of the configured windows"
    );
    assert_eq!(explain(&kernel, 1, 1, 11).0, WindowProgress::NotAWindow);

    let nobody = explain(&kernel, 1, 0, 10);
    assert_eq!((nobody.0, nobody.1), (WindowProgress::Waiting, false));
    let fires = format!("{first} fires when the watermark reaches {}; it is at", second(10));
    let empty = "; there is nothing in it for this key, and empty windows do not fire";
    let present = "; there is something in it for this key";
    assert_eq!(nobody.2, format!("{fires} nothing known, and no active partition moves it{empty}"));

    let (a, b) = (kernel.add_partition(), kernel.add_partition());
    assert_eq!(kernel.push(a, at(7), 1, 0).unwrap(), Admission::Accepted);
    let fresh = explain(&kernel, 1, 0, 10);
    assert_eq!((fresh.0, fresh.1), (WindowProgress::Waiting, true));
    assert_eq!(
        fresh.2,
        format!(
            "{fires} nothing known, held by partition 1, which was added and has not reported yet{present}"
        )
    );
    assert_eq!(kernel.explain(&1, window(0, 10)).held_by.map(|status| status.partition), Some(b));

    kernel.set_watermark(b, mark(3)).unwrap();
    let reported = explain(&kernel, 2, 0, 10);
    assert_eq!(
        reported.2,
        format!("{fires} {}, held by partition 1 at {}, which has had no event{empty}", second(3), second(3))
    );
    assert_eq!(kernel.push(b, at(6), 1, 0).unwrap(), Admission::Accepted);
    let held = format!("{fires} {}, held by partition 1 at {}", second(4), second(4));
    let latest = format!("whose latest event is of {}", second(6));
    assert_eq!(explain(&kernel, 1, 0, 10).2, format!("{held}, {latest}{present}"));

    // The idle timeout runs: since the second tick, at 20; at 35 there are 15 left.
    for now in [15, 20, 35] {
        kernel.tick(at(now));
    }
    let quiet = explain(&kernel, 1, 0, 10).2;
    assert_eq!(quiet, format!("{held}, {latest} (quiet since {}, idle in PT0.000015S){present}", second(20)));
    assert_eq!(kernel.explain(&1, window(0, 10)).idle_in(), Some(micros(15)));
    assert_eq!(kernel.explain(&1, window(0, 10)).now, Some(at(35)));

    kernel.mark_idle(b).unwrap();
    assert_eq!(kernel.push(a, at(14), 1, 0).unwrap(), Admission::Accepted);
    let due = explain(&kernel, 1, 0, 10);
    assert_eq!((due.0, due.1), (WindowProgress::Due, true));
    let is_due = format!("{first} is due (the watermark is at {}): poll to get its panes", second(12));
    assert_eq!(due.2, format!("{is_due}{present}"));
    assert_eq!(kernel.poll().map(|pane| pane.value), Some(2));
    assert!(kernel.poll().is_none());

    let fired = explain(&kernel, 1, 0, 10);
    assert_eq!((fired.0, fired.1), (WindowProgress::Fired { until: mark(15) }, true));
    let again = format!(
        "{first} has fired, and fires again for late events until the watermark reaches {}",
        second(15)
    );
    assert_eq!(fired.2, format!("{again}{present}"));
    assert_eq!(explain(&kernel, 2, 0, 10).2, format!("{again}{empty}"));

    assert_eq!(kernel.push(a, at(19), 1, 0).unwrap(), Admission::Accepted);
    assert!(kernel.poll().is_none());
    let closed = explain(&kernel, 1, 0, 10);
    assert_eq!((closed.0, closed.1), (WindowProgress::Closed, false));
    assert_eq!(closed.2, format!("{first} has closed at watermark {}", second(17)));
    kernel.finish();
    assert_eq!(explain(&kernel, 1, 10, 20).0, WindowProgress::Due);
    assert!(kernel.poll().is_some());
    assert!(kernel.poll().is_none());
    let ended = explain(&kernel, 1, 10, 20);
    assert_eq!((ended.0, ended.1), (WindowProgress::Closed, false));
    assert!(ended.2.ends_with("has closed at watermark end of input"), "{}", ended.2);
}

/// A window of which some panes are drained and some are not, and one whose late event waits.
#[test]
fn x1_explains_a_window_in_the_middle_of_its_drain() {
    let config = Config::sliding(micros(10), micros(5)).allowed_lateness(micros(20));
    let mut kernel: Plain = config.build(Count).unwrap().ordered();
    let partition = kernel.add_partition();
    for key in 0..3 {
        assert_eq!(kernel.push(partition, at(7), key, 0).unwrap(), Admission::Accepted);
    }
    kernel.set_watermark(partition, mark(10)).unwrap();
    assert_eq!(kernel.poll().map(|pane| *pane.key), Some(0));
    for key in 0..3 {
        assert_eq!(kernel.explain(&key, window(0, 10)).progress, WindowProgress::Due);
    }
    assert_eq!(kernel.explain(&0, window(5, 15)).progress, WindowProgress::Waiting);
    while kernel.poll().is_some() {}
    let until = mark(30);
    for key in 0..4 {
        assert_eq!(kernel.explain(&key, window(0, 10)).progress, WindowProgress::Fired { until });
    }
}

#[test]
fn l3_a_late_event_says_why_it_is_late() {
    let mut kernel: Plain = Config::tumbling(micros(10)).max_disorder(micros(5)).build(Count).unwrap();
    let [a, b] = [(); 2].map(|()| kernel.add_partition());
    let late = |answer| match answer {
        Ok(Admission::Late(late)) => late,
        other => panic!("{other:?}"),
    };
    assert_eq!(kernel.push(b, at(2), 0, 0).unwrap(), Admission::Accepted);
    kernel.mark_idle(b).unwrap();
    assert_eq!(kernel.push(a, at(30), 0, 0).unwrap(), Admission::Accepted);
    // Its own partition has moved on.
    let disorder = late(kernel.push(a, at(9), 4, 44));
    assert_eq!(disorder.reason, LateReason::Disorder { partition_watermark: mark(25) });
    assert_eq!((disorder.watermark, disorder.late_by), (mark(25), micros(16)));
    assert_eq!((disorder.event.partition, disorder.event.time), (a, at(9)));
    assert_eq!((disorder.event.key, disorder.event.value), (4, 44));
    assert_eq!(
        (disorder.missed.first, disorder.missed.last, disorder.missed.count),
        (window(0, 10), window(0, 10), 1)
    );
    assert_eq!(
        disorder.reason.to_string(),
        "behind its own partition's watermark, 1970-01-01T00:00:00.000025Z"
    );
    // Its partition was idle and comes back.
    let behind = late(kernel.push(b, at(9), 5, 55));
    assert_eq!(
        behind.reason,
        LateReason::PartitionBehind { partition_watermark: mark(-3), held_by: Some(a) }
    );
    assert_eq!(
        behind.reason.to_string(),
        "its partition, at 1969-12-31T23:59:59.999997Z, is behind the others and not waited for (partition 0 holds \
         the watermark)"
    );
    // At the end of what is known, nobody holds anything.
    kernel.set_watermark(a, Watermark::MAX).unwrap();
    kernel.mark_idle(a).unwrap();
    kernel.mark_idle(b).unwrap();
    let end = late(kernel.push(b, at(9), 6, 66));
    assert_eq!(end.reason, LateReason::PartitionBehind { partition_watermark: mark(4), held_by: None });
    assert_eq!(end.reason.to_string(), "its partition, at 1970-01-01T00:00:00.000004Z, is behind the others");
    assert_eq!(end.late_by, micros(i64::MAX - 9), "as far as it can be told");
}

#[test]
fn l2_a_partly_late_event_says_what_it_missed() {
    let mut kernel: Plain = Config::sliding(micros(10), micros(2)).build(Count).unwrap();
    let partition = kernel.add_partition();
    kernel.set_watermark(partition, mark(14)).unwrap();
    let Admission::PartlyLate(missed) = kernel.push(partition, at(9), 0, 0).unwrap() else { panic!() };
    assert_eq!((missed.first, missed.last, missed.count), (window(0, 10), window(4, 14), 3));
    assert_eq!(
        missed.to_string(),
        "3 windows from [1970-01-01T00:00:00Z, 1970-01-01T00:00:00.000010Z) to [1970-01-01T00:00:00.000004Z, \
         1970-01-01T00:00:00.000014Z)"
    );
    kernel.finish();
    let mut starts = Vec::new();
    while let Some(pane) = kernel.poll() {
        starts.push(pane.window.start.as_micros());
    }
    assert_eq!(starts, [6, 8]);
}

/// F3 once per drain: what is marked comes once, however many late events there were.
#[test]
fn f3_once_per_drain_is_one_pane_for_many_late_events() {
    let config =
        Config::tumbling(micros(10)).allowed_lateness(micros(100)).late_firing(LateFiring::OncePerDrain);
    let mut kernel: Plain = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    kernel.set_watermark(partition, mark(50)).unwrap();
    for round in 1..4 {
        for n in 0..100 {
            assert_eq!(kernel.push(partition, at(n % 50), 0, 0).unwrap(), Admission::Accepted);
        }
        for index in 0..5 {
            let pane = kernel.poll().unwrap();
            assert_eq!(
                (pane.window.start.as_micros(), pane.value, pane.timing),
                (10 * index, 20 * round, Timing::Late)
            );
            assert_eq!(u64::from(pane.index), round - 1);
        }
        assert!(kernel.poll().is_none());
    }
}

/// The panes that there are once the watermark stands there: bounds, timing, number of events.
fn panes_at(kernel: &mut Plain, partition: Partition, watermark: i64) -> Vec<((i64, i64), Timing, u64)> {
    kernel.set_watermark(partition, mark(watermark)).unwrap();
    let mut panes = Vec::new();
    while let Some(pane) = kernel.poll() {
        let bounds = (pane.window.start.as_micros(), pane.window.end.as_micros());
        panes.push((bounds, pane.timing, pane.value));
    }
    panes
}

/// F4: the end of the window is an instant like any other, so an older event does not bring back earlier ones.
#[test]
fn f4_a_continuous_trigger_waits_for_the_end_once_that_is_next() {
    let config = Config::tumbling(micros(20)).trigger(Trigger::continuous_event_time(micros(5)));
    let mut kernel: Plain = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    for time in [16, 2] {
        assert_eq!(kernel.push(partition, at(time), 0, 0).unwrap(), Admission::Accepted);
    }
    assert_eq!(panes_at(&mut kernel, partition, 19), []);
    assert_eq!(panes_at(&mut kernel, partition, 20), [((0, 20), Timing::OnTime, 2)]);
}

/// F4: as in Flink, a session that grows has its next instant where it was, even if that has been the end, and
/// even behind the watermark.
#[test]
fn f4_a_grown_session_keeps_the_instant_of_its_continuous_trigger() {
    let config = Config::session(micros(10))
        .allowed_lateness(micros(50))
        .trigger(Trigger::continuous_event_time(micros(100)));
    let mut kernel: Plain = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    let push = |kernel: &mut Plain, time| {
        assert_eq!(kernel.push(partition, at(time), 0, 0).unwrap(), Admission::Accepted);
    };
    push(&mut kernel, 0);
    push(&mut kernel, 2);
    assert_eq!(panes_at(&mut kernel, partition, 10), [((0, 12), Timing::Early, 2)]);
    assert_eq!(panes_at(&mut kernel, partition, 12), [((0, 12), Timing::OnTime, 2)]);
    push(&mut kernel, 5);
    assert_eq!(panes_at(&mut kernel, partition, 12), [], "not before the next rise");
    assert_eq!(panes_at(&mut kernel, partition, 13), [((0, 15), Timing::Early, 3)]);
    assert_eq!(panes_at(&mut kernel, partition, 40), [((0, 15), Timing::OnTime, 3)]);
    push(&mut kernel, 7);
    let late = ((0, 17), Timing::Late, 4);
    assert_eq!(panes_at(&mut kernel, partition, 40), [late], "for the event");
    assert_eq!(panes_at(&mut kernel, partition, 41), [late, late], "at 14, and at the end");
    assert_eq!(panes_at(&mut kernel, partition, i64::MAX), []);
}

/// F4: an early pane that the longest length leaves outside its session does not keep others from coming.
#[test]
fn f4_an_early_pane_stays_inside_its_session() {
    let windows = Windows::session(micros(10)).max_length(micros(15));
    let config = Config::windows([windows.trigger(Trigger::on_time().early_every(micros(7)))]);
    let mut kernel: Plain = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    // Of [9, 19) at 16; of [0, 15) at 7.
    for time in [9, 0] {
        assert_eq!(kernel.push(partition, at(time), 0, 0).unwrap(), Admission::Accepted);
    }
    assert_eq!(panes_at(&mut kernel, partition, 7), [((0, 15), Timing::Early, 2)]);
    assert_eq!(panes_at(&mut kernel, partition, 15), [((0, 15), Timing::OnTime, 2)]);
}
