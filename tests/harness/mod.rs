//! Runs a case of the oracle's through the kernel, in every mode, and compares.
//!
//! A mode is a way to use the kernel that must not change what comes out: polling seldom or one pane at
//! a time, restoring from a snapshot after every step, ordered output, another way to combine slices.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by test binaries, each of which uses the part it needs"
)]

use std::fmt::Debug;

use chrono::TimeDelta;
use floodmark::snapshot::{Chain, SnapshotId, SnapshotKind, SnapshotProgress};
use floodmark::{
    Accumulation, Admission, Aggregate, Collect, Config, Count, Counters, Event, First, Last, LateFiring,
    LearnedDisorder, Max, Min, OrElse, Pane, Partition, Resume, Sum, Suspect, Times, Timestamp, Timing, TopK,
    Trigger, Watermark, WindowGrid, Windowing, Windows,
};
use floodmark_oracle as oracle;
use oracle::{Case, Model, Outcome, Step};
use serde::{Serialize, de::DeserializeOwned};

/// An event's place in the stream, what it says, and the gap after it.
pub type Value = (u64, i64, Option<i64>);

/// How the kernel is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Panes are polled to the end after every step, or this many after each and the rest at the end.
    pub poll: Poll,
    /// The kernel is replaced by one restored from its snapshot after every so many steps (0: never).
    pub restore_every: usize,
    /// A snapshot is taken after every step and thrown away.
    pub snapshot: bool,
    /// Panes come by key.
    pub ordered: bool,
    /// Slices are subtracted instead of kept in two stacks.
    pub subtract: bool,
    /// Events that follow each other are pushed as a batch of up to so many (0: one by one).
    pub batch: usize,
    /// Keys are found by their index, and panes drained many at a time.
    pub indexed: bool,
    /// Snapshots are taken one after the other, of so many entries after every step and every few panes, each of what has
    /// changed since the one before; what they come to is compared with what was there when they began (0: none).
    pub cut: usize,
}

/// When panes are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// To the end after every step.
    Always,
    /// So many after every step, and the rest at the end.
    AtMost(usize),
}

const PLAIN: Mode = Mode {
    poll: Poll::Always,
    restore_every: 0,
    snapshot: false,
    ordered: false,
    subtract: false,
    batch: 0,
    indexed: false,
    cut: 0,
};

/// Every mode that every case runs in.
pub const MODES: &[Mode] = &[
    PLAIN,
    Mode { ordered: true, ..PLAIN },
    Mode { snapshot: true, ..PLAIN },
    Mode { restore_every: 1, ..PLAIN },
    Mode { restore_every: 2, ordered: true, ..PLAIN },
    Mode { poll: Poll::AtMost(1), ..PLAIN },
    Mode { poll: Poll::AtMost(1), restore_every: 1, ..PLAIN },
    Mode { poll: Poll::AtMost(1), restore_every: 1, ordered: true, ..PLAIN },
    Mode { poll: Poll::AtMost(2), restore_every: 3, ..PLAIN },
    Mode { poll: Poll::AtMost(0), ordered: true, ..PLAIN },
    Mode { poll: Poll::AtMost(0), restore_every: 1, ..PLAIN },
    Mode { subtract: true, ..PLAIN },
    Mode { subtract: true, poll: Poll::AtMost(1), restore_every: 1, ordered: true, ..PLAIN },
    Mode { batch: usize::MAX, ..PLAIN },
    Mode { batch: 3, poll: Poll::AtMost(1), restore_every: 1, ordered: true, ..PLAIN },
    Mode { indexed: true, batch: usize::MAX, ..PLAIN },
    Mode { indexed: true, poll: Poll::AtMost(2), restore_every: 3, ordered: true, ..PLAIN },
    Mode { indexed: true, subtract: true, batch: 3, poll: Poll::AtMost(2), restore_every: 1, ..PLAIN },
    Mode { cut: 1, ordered: true, ..PLAIN },
    Mode { cut: 1, ordered: true, poll: Poll::AtMost(1), batch: 3, ..PLAIN },
    Mode { cut: 2, poll: Poll::AtMost(1), ..PLAIN },
    Mode { cut: 2, indexed: true, ordered: true, subtract: true, batch: 3, poll: Poll::AtMost(2), ..PLAIN },
];

/// How many random cases to run: so many, or what `FLOODMARK_CASES` says.
pub fn cases(by_default: u32) -> u32 {
    std::env::var("FLOODMARK_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(by_default)
}

/// Runs a case in all modes, or says which went wrong and how.
pub fn run(case: &Case) -> Result<(), String> {
    run_in(case, MODES)
}

/// Runs a case in these modes.
pub fn run_in(case: &Case, modes: &[Mode]) -> Result<(), String> {
    let told = Told::of(case);
    modes.iter().try_for_each(|mode| {
        run_one(case, &told, *mode).map_err(|why| format!("{why}\nin {mode:?}\nof {}", case.to_json()))
    })
}

/// What the model tells of a case: of each step, and the counters after it.
pub struct Told(Vec<(Outcome, oracle::Counters)>);

impl Told {
    fn of(case: &Case) -> Self {
        let mut model = Model::new(case.config.clone());
        let per_drain = case.config.fires_once_per_drain();
        let step = |step| {
            let mut outcome = model.step(step);
            if per_drain {
                outcome.panes = model.drain();
            }
            model.assert_invariants();
            (outcome, model.counters())
        };
        Self(case.steps.iter().map(step).collect())
    }
}

/// Runs a case in one mode.
fn run_one(case: &Case, told: &Told, mode: Mode) -> Result<(), String> {
    if mode.subtract || mode.indexed {
        // (One that has an inverse, and owns no memory.)
        let aggregate = (Count, Sum::of(value as fn(&Value) -> i64));
        let set_up = |kernel: Windowing<u32, Value, _>| {
            let kernel = if mode.subtract { kernel.subtract_on_evict() } else { kernel };
            if mode.indexed { kernel.indexed() } else { kernel }
        };
        let kernel = build(&case.config, aggregate, mode)?;
        return Run::new(case, told, mode, kernel, aggregate, set_up, |pane| (pane.count(), pane.sum())).go();
    }
    let (seq, value) = (seq as fn(&Value) -> u64, value as fn(&Value) -> i64);
    let aggregate = (
        Count,
        Sum::of(value),
        OrElse::new(Min::of(value), || i64::MAX),
        OrElse::new(Max::of(value), || i64::MIN),
        OrElse::new(First::of(seq), || u64::MAX),
        OrElse::new(Last::of(seq), || u64::MAX),
        TopK::of(3, value),
        Collect::of(seq),
    );
    let kernel = build(&case.config, aggregate, mode)?;
    Run::new(
        case,
        told,
        mode,
        kernel,
        aggregate,
        |kernel| kernel,
        |pane| {
            (
                pane.count(),
                pane.sum(),
                pane.min().unwrap_or(i64::MAX),
                pane.max().unwrap_or(i64::MIN),
                pane.first().map_or(u64::MAX, |event| event.seq),
                pane.last().map_or(u64::MAX, |event| event.seq),
                pane.top_k(3),
                pane.in_event_time_order().iter().map(|event| event.seq).collect(),
            )
        },
    )
    .go()
}

fn seq(value: &Value) -> u64 {
    value.0
}

fn value(value: &Value) -> i64 {
    value.1
}

/// The configuration of a case, in the kernel's words.
pub fn config(config: &oracle::Config) -> Config {
    let micros = TimeDelta::microseconds;
    let mut built = Config::windows(config.windows.iter().map(windows)).seed(7);
    match config.generator {
        oracle::Generator::Host => {}
        oracle::Generator::Bounded { bound } => built = built.max_disorder(micros(bound)),
        oracle::Generator::Learned { ppm, at_least, at_most, warm_up, memory } => {
            let learned = LearnedDisorder::percentile(ppm as f64 / 10_000.0, micros(at_most))
                .at_least(micros(at_least))
                .warm_up(warm_up as u64)
                .memory(memory as u32);
            built = built.learned_disorder(learned);
        }
    }
    if let Some(quiet) = config.close_after_quiet {
        built = built.close_after_quiet(micros(quiet));
    }
    if let Some(timeout) = config.idle_timeout {
        built = built.idle_timeout(micros(timeout));
    }
    if let Some(guard) = config.max_future_skew {
        let suspect = match guard.policy {
            oracle::SkewPolicy::Admit => Suspect::Admit,
            oracle::SkewPolicy::Reject => Suspect::Reject,
        };
        built = built.max_future_skew(micros(guard.skew), suspect);
    }
    built.resume(match config.resume {
        oracle::Resume::Exclude => Resume::Exclude,
        oracle::Resume::Hold => Resume::Hold,
    })
}

fn windows(windows: &oracle::Windows) -> Windows {
    let micros = TimeDelta::microseconds;
    let built = match &windows.kind {
        oracle::Kind::Sliding { size, slide, offset } => {
            Windows::sliding(micros(*size), micros(*slide)).offset(micros(*offset))
        }
        oracle::Kind::Cumulative { step, max, offset } => {
            Windows::cumulative(micros(*step), micros(*max)).offset(micros(*offset))
        }
        oracle::Kind::Session { gap, max_length } => {
            let session = Windows::session(micros(*gap));
            max_length.map_or(session.clone(), |length| session.max_length(micros(length)))
        }
        oracle::Kind::Global => Windows::global(),
        oracle::Kind::Edges { edges } => Windows::own(Edges(edges.clone())),
    };
    let built = built
        .allowed_lateness(micros(windows.lateness))
        .late_firing(match windows.late_firing {
            oracle::LateFiring::EachEvent => LateFiring::EachEvent,
            oracle::LateFiring::OncePerDrain => LateFiring::OncePerDrain,
        })
        .trigger(trigger(&windows.trigger))
        .accumulation(match windows.accumulation {
            oracle::Accumulation::Accumulating => Accumulation::Accumulating,
            oracle::Accumulation::Discarding => Accumulation::Discarding,
            oracle::Accumulation::Retracting => Accumulation::Retracting,
        });
    match windows.fill {
        Some(horizon) => built.fill(micros(horizon)),
        None => built,
    }
}

fn trigger(trigger: &oracle::Trigger) -> Trigger {
    let micros = TimeDelta::microseconds;
    let mut built = match trigger.base {
        oracle::Base::OnTime => Trigger::on_time(),
        oracle::Base::Count { n } => Trigger::count(n as u64),
        oracle::Base::Continuous { every } => Trigger::continuous_event_time(micros(every)),
    };
    if let Some(events) = trigger.early_events {
        built = built.early_every_events(events as u64);
    }
    if let Some(every) = trigger.early_time {
        built = built.early_every(micros(every));
    }
    if let Some(every) = trigger.early_ticks {
        built = built.early_every_ticks(micros(every));
    }
    built
}

/// The windows between edges.
#[derive(Debug)]
struct Edges(Vec<i64>);

impl WindowGrid for Edges {
    fn first_ending_after(&self, time: Timestamp) -> Option<floodmark::Window> {
        let pair = self.0.windows(2).find(|pair| pair[1] > time.as_micros())?;
        Some(floodmark::Window::new(Timestamp::from_micros(pair[0]), Timestamp::from_micros(pair[1])))
    }

    fn name(&self) -> String {
        format!("{:?}", self.0)
    }
}

fn build<A>(case: &oracle::Config, aggregate: A, mode: Mode) -> Result<Windowing<u32, Value, A>, String>
where
    A: Aggregate<Value>,
{
    let built: Windowing<u32, Value, A> = config(case).build(aggregate).map_err(|error| error.to_string())?;
    let built = built.gap_by(|value| value.2.map(TimeDelta::microseconds));
    Ok(if mode.ordered { built.ordered() } else { built })
}

/// A pane as both sides can say it.
#[derive(Clone, Debug, PartialEq)]
struct Row<T> {
    definition: usize,
    start: i64,
    end: i64,
    timing: Timing,
    index: u32,
    key: u32,
    value: T,
    retracts: Vec<(i64, i64, T)>,
}

struct Run<'a, A: Aggregate<Value>, E, S> {
    case: &'a Case,
    mode: Mode,
    kernel: Windowing<u32, Value, A>,
    aggregate: A,
    set_up: S,
    expected: E,
    told: &'a Told,
    partitions: Vec<Partition>,
    seq: u64,
    /// What has come out and what should have, where they are compared at the end.
    got: Vec<Row<A::Output>>,
    due: Vec<Row<A::Output>>,
    cut: Cut,
}

/// The snapshots that are taken while a case runs.
#[derive(Default)]
struct Cut {
    /// All up to the last one that is done.
    chain: Vec<Vec<u8>>,
    last: Option<SnapshotId>,
    /// What there is of the one being taken.
    bytes: Vec<u8>,
    /// What the state was when it began, ordered or not.
    expected: Vec<u8>,
    wrong: Option<String>,
}

impl<'a, A, E, S> Run<'a, A, E, S>
where
    A: Aggregate<Value> + Clone,
    A::Acc: Serialize + DeserializeOwned,
    A::Output: PartialEq + Debug + Clone,
    E: Fn(&oracle::Pane) -> A::Output,
    S: Fn(Windowing<u32, Value, A>) -> Windowing<u32, Value, A>,
{
    fn new(
        case: &'a Case,
        told: &'a Told,
        mode: Mode,
        kernel: Windowing<u32, Value, A>,
        aggregate: A,
        set_up: S,
        expected: E,
    ) -> Self {
        let kernel = set_up(kernel);
        let (got, due) = (Vec::new(), Vec::new());
        Self {
            case,
            mode,
            kernel,
            aggregate,
            set_up,
            expected,
            told,
            partitions: Vec::new(),
            seq: 0,
            got,
            due,
            cut: Cut::default(),
        }
    }

    fn go(mut self) -> Result<(), String> {
        // Late firing once per drain depends on the drains by definition: both sides drain together.
        let per_drain = self.case.config.fires_once_per_drain();
        let poll = if per_drain { Poll::Always } else { self.mode.poll };
        let (steps, told) = (&self.case.steps, &self.told.0);
        let mut next = 0;
        while next < steps.len() {
            // Where the drains matter, each event is followed by one.
            let batch = if per_drain { 0 } else { self.mode.batch };
            let is_event = |step: &&Step| matches!(step, Step::Event { .. });
            let events = steps[next..].iter().take(batch).take_while(is_event).count();
            let number = next + events.max(1) - 1;
            let (outcomes, counters) = (&told[next..=number], &told[number].1);
            self.step(&steps[next..=number], outcomes, poll)
                .and_then(|()| if poll == Poll::Always { self.compare_counters(counters) } else { Ok(()) })
                .map_err(|why| format!("step {number} {:?}: {why}", &steps[next..=number]))?;
            next = number + 1;
            self.cut();
            if let Some(why) = self.cut.wrong.take() {
                return Err(format!("after step {number}: {why}"));
            }
            let every = self.mode.restore_every;
            if self.mode.snapshot {
                self.kernel.snapshot();
            }
            if every > 0 && (number + 1) % every == 0 {
                self.restore().map_err(|why| format!("after step {number}: {why}"))?;
            }
        }
        self.poll(usize::MAX);
        self.compare_panes()?;
        self.compare_end()
    }

    fn step(
        &mut self,
        steps: &[Step],
        outcomes: &[(Outcome, oracle::Counters)],
        poll: Poll,
    ) -> Result<(), String> {
        let answers = match steps {
            [step] if self.mode.batch == 0 => vec![self.take(step)],
            [step] if !matches!(step, Step::Event { .. }) => vec![self.take(step)],
            events => self.take_batch(events),
        };
        for (answer, (outcome, _)) in answers.into_iter().zip(outcomes) {
            match answer {
                Answer::Event(verdict) => {
                    equal("verdict", &Some(verdict), &outcome.verdict.clone().map(in_short))?;
                }
                Answer::Control(error) => equal("error", &error, &outcome.error)?,
            }
        }
        let Some((outcome, _)) = outcomes.last() else { return Ok(()) };
        equal("watermark", &self.kernel.watermark().as_micros(), &outcome.watermark)?;
        let expected = outcomes.iter().flat_map(|(outcome, _)| &outcome.panes).map(|pane| Row {
            definition: pane.definition,
            start: pane.start,
            end: pane.end,
            timing: match pane.timing {
                oracle::Timing::Early => Timing::Early,
                oracle::Timing::OnTime => Timing::OnTime,
                oracle::Timing::Late => Timing::Late,
            },
            index: pane.index,
            key: pane.key,
            value: (self.expected)(pane),
            retracts: (pane.retracts.iter())
                .map(|(start, end, events)| {
                    let old = oracle::Pane { events: events.clone(), ..pane.clone() };
                    (*start, *end, (self.expected)(&old))
                })
                .collect(),
        });
        self.due.extend(expected);
        match poll {
            Poll::AtMost(panes) => self.poll(panes),
            Poll::Always => {
                self.poll(usize::MAX);
                self.compare_panes()?;
                equal(
                    "output watermark",
                    &self.kernel.output_watermark().as_micros(),
                    &outcome.output_watermark,
                )?;
            }
        }
        let undrained = self.due.get(self.got.len()).map_or(i64::MAX, |row| row.end - 1);
        let promised = self.kernel.output_watermark().as_micros();
        if promised > undrained {
            return Err(format!(
                "output watermark {promised} has passed a result of {undrained} not yet drained (F7)"
            ));
        }
        Ok(())
    }

    /// The same events as a batch, with a column of partitions or one for all.
    fn take_batch(&mut self, events: &[Step]) -> Vec<Answer> {
        let (mut partitions, mut times, mut keys, mut values) = (vec![], vec![], vec![], vec![]);
        for event in events {
            let Step::Event { p, time, key, value, gap } = *event else { continue };
            partitions.push(known(p, &self.partitions));
            times.push(time);
            keys.push(key);
            values.push((self.seq, value, gap));
            self.seq += 1;
        }
        let is_one = partitions.iter().all(|partition| *partition == partitions[0]);
        let times = Times::micros(&times);
        let batch = match is_one {
            true => self.kernel.push_batch(partitions[0], times, &keys, &values),
            false => self.kernel.push_batch(&partitions, times, &keys, &values),
        };
        let batch = batch.expect("the columns are of one length");
        let mut answers: Vec<_> = events.iter().map(|_| Ok(Admission::Accepted)).collect();
        for (index, outcome) in batch.exceptions() {
            answers[index] = outcome;
        }
        let accepted = answers.iter().filter(|answer| matches!(answer, Ok(Admission::Accepted))).count();
        assert_eq!(batch.accepted(), accepted as u64);
        let answer = |(index, answer)| Answer::Event(verdict(answer, &index));
        answers.into_iter().enumerate().map(answer).collect()
    }

    fn take(&mut self, step: &Step) -> Answer {
        let kernel = &mut self.kernel;
        let at = Timestamp::from_micros;
        let answer = match *step {
            Step::Event { p, time, key, value, gap } => {
                self.seq += 1;
                let (p, event) = (known(p, &self.partitions), (self.seq - 1, value, gap));
                let offered = Event { partition: p, time: at(time), key, value: event };
                return Answer::Event(verdict(kernel.push(p, at(time), key, event), &offered));
            }
            Step::Add => {
                self.partitions.push(kernel.add_partition());
                Ok(())
            }
            Step::Remove { p } => kernel.remove_partition(known(p, &self.partitions)),
            Step::End { p } => kernel.end_partition(known(p, &self.partitions)),
            Step::SetWatermark { p, w } => {
                kernel.set_watermark(known(p, &self.partitions), Watermark::from_micros(w))
            }
            Step::Idle { p } => kernel.mark_idle(known(p, &self.partitions)),
            Step::Active { p } => kernel.mark_active(known(p, &self.partitions)),
            Step::Tick { now } => {
                kernel.tick(at(now));
                Ok(())
            }
            Step::Finish => {
                kernel.finish();
                Ok(())
            }
        };
        Answer::Control(answer.is_err())
    }

    fn poll(&mut self, at_most: usize) {
        if self.mode.indexed {
            self.kernel.drain(at_most, |pane| self.got.push(row(&pane)));
            return;
        }
        for count in 0..at_most {
            let Some(pane) = self.kernel.poll() else { break };
            self.got.push(row(&pane));
            if count % 2 == 0 {
                self.cut();
            }
        }
    }

    /// Goes on with a snapshot, or begins one.
    fn cut(&mut self) {
        if self.mode.cut == 0 {
            return;
        }
        match self.kernel.write_snapshot(self.mode.cut, &mut self.cut.bytes) {
            SnapshotProgress::More => {}
            SnapshotProgress::None => {
                self.cut.expected = self.kernel.snapshot();
                let kind = self.kernel.begin_snapshot(self.cut.last).expect("none is being taken");
                if (kind == SnapshotKind::Changes) != self.cut.last.is_some() {
                    self.cut.wrong = Some(format!("a snapshot since {:?} is of {kind:?}", self.cut.last));
                }
                if self.mode.ordered && self.kernel.snapshot() != self.cut.expected {
                    self.cut.wrong = Some("beginning a snapshot changes the state (S1)".to_string());
                }
            }
            SnapshotProgress::Done(id) => {
                self.cut.chain.push(std::mem::take(&mut self.cut.bytes));
                self.cut.last = Some(id);
                self.cut.wrong = self.compare_chain(id).err();
            }
        }
    }

    /// Restored, the chain gives the state at the last cut.
    fn compare_chain(&mut self, id: SnapshotId) -> Result<(), String> {
        let compacted = {
            let chain: Vec<&[u8]> = self.cut.chain.iter().map(Vec::as_slice).collect();
            let chain = Chain::read(&chain).map_err(|error| error.to_string())?;
            equal("id of the chain", &chain.id(), &id)?;
            let fresh = (self.set_up)(build(&self.case.config, self.aggregate.clone(), self.mode)?);
            let restored = fresh.restore_chain(&chain).map_err(|error| error.to_string())?;
            if self.mode.ordered && restored.snapshot() != self.cut.expected {
                return Err("a snapshot taken in steps is not that of the state as it was (S1)".to_string());
            }
            equal("length of snapshot", &restored.snapshot().len(), &self.cut.expected.len())?;
            chain.compact()
        };
        if self.cut.chain.len() > 3 {
            self.cut.chain = vec![compacted];
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<(), String> {
        let bytes = self.kernel.snapshot();
        let fresh = (self.set_up)(build(&self.case.config, self.aggregate.clone(), self.mode)?);
        let restored = fresh.restore(&bytes).map_err(|error| error.to_string())?;
        if self.mode.ordered && restored.snapshot() != bytes {
            return Err("the restored state encodes to other bytes (S2)".to_string());
        }
        self.kernel = restored;
        Ok(())
    }

    fn compare_panes(&mut self) -> Result<(), String> {
        let (mut got, mut due) = (std::mem::take(&mut self.got), std::mem::take(&mut self.due));
        if !self.mode.ordered {
            // Inside a window's firing the order of keys is unspecified (F2); so is that of marks in a drain.
            sort_within_firings(&mut got, &self.case.config);
            sort_within_firings(&mut due, &self.case.config);
        }
        match got.iter().zip(&due).find(|(got, due)| got != due) {
            Some((got, due)) => Err(format!("pane\n  {got:?}\ninstead of\n  {due:?}")),
            None if got.len() != due.len() => Err(format!("{} panes instead of {}", got.len(), due.len())),
            None => Ok(()),
        }
    }

    fn compare_counters(&self, expected: &oracle::Counters) -> Result<(), String> {
        let got = self.kernel.counters();
        let list = |c: Counters| {
            (
                c.offered(),
                c.accepted,
                c.partly_late,
                c.late,
                c.unassigned,
                c.rejected,
                c.suspect,
                c.windows_fired,
                c.panes_fired,
            )
        };
        let due = (
            expected.offered,
            expected.accepted,
            expected.partly_late,
            expected.late,
            expected.unassigned,
            expected.rejected,
            expected.suspect,
            expected.windows_fired,
            expected.panes_fired,
        );
        equal("counters", &list(got), &due)
    }

    /// At the end of input nothing is left (E2), and the output has ended too.
    fn compare_end(&mut self) -> Result<(), String> {
        if let Some((_, counters)) = self.told.0.last() {
            self.compare_counters(counters)?;
        }
        if self.kernel.watermark() == Watermark::MAX {
            equal("slices left at the end", &self.kernel.live_slices(), &0)?;
            equal("windows left at the end", &self.kernel.live_windows(), &0)?;
            equal("output watermark at the end", &self.kernel.output_watermark(), &Watermark::MAX)?;
        }
        Ok(())
    }
}

enum Answer {
    Event(oracle::Verdict),
    Control(bool),
}

/// The windows missed as the kernel tells them: the first, the last, and how many.
fn in_short(verdict: oracle::Verdict) -> oracle::Verdict {
    let short = |missed: Vec<(i64, i64)>| {
        let (first, last) = (missed.first().copied(), missed.last().copied());
        first.into_iter().chain(last).chain([(missed.len() as i64, 0)]).collect()
    };
    match verdict {
        oracle::Verdict::PartlyLate { missed } => oracle::Verdict::PartlyLate { missed: short(missed) },
        oracle::Verdict::Late { watermark, late_by, missed } => {
            // Exact on the oracle's side, saturating on ours.
            let late_by = late_by.min(i64::MAX as u64);
            oracle::Verdict::Late { watermark, late_by, missed: short(missed) }
        }
        other => other,
    }
}

/// A partition's handle.
fn known(p: u32, partitions: &[Partition]) -> Partition {
    // One that was never given out stands for a partition that was never added.
    partitions.get(p as usize).copied().unwrap_or(Partition::from_u64(u64::MAX >> 8))
}

/// An answer in the oracle's words; what was offered must have come back as it was, if it has.
fn verdict<E: PartialEq + Debug>(
    answer: Result<Admission<E>, floodmark::Rejected<E>>,
    offered: &E,
) -> oracle::Verdict {
    let windows = |missed: &floodmark::Missed| {
        let bounds = |window: floodmark::Window| (window.start.as_micros(), window.end.as_micros());
        vec![bounds(missed.first), bounds(missed.last), (missed.count as i64, 0)]
    };
    match answer {
        Ok(Admission::Accepted) => oracle::Verdict::Accepted,
        Ok(Admission::PartlyLate(missed)) => oracle::Verdict::PartlyLate { missed: windows(&missed) },
        Ok(Admission::Late(late)) => {
            assert_eq!(&late.event, offered, "a late event comes back whole (L3)");
            oracle::Verdict::Late {
                watermark: late.watermark.as_micros(),
                late_by: late.late_by.num_microseconds().map_or(0, |late_by| late_by as u64),
                missed: windows(&late.missed),
            }
        }
        Ok(Admission::Unassigned(event)) => {
            assert_eq!(&event, offered);
            oracle::Verdict::Unassigned
        }
        Ok(other) => panic!("unexpected {other:?}"),
        Err(rejected) => {
            assert_eq!(&rejected.event, offered);
            oracle::Verdict::Rejected(if rejected.is_unknown_partition() {
                oracle::Reason::UnknownPartition
            } else if rejected.is_out_of_range() {
                oracle::Reason::OutOfRange
            } else if rejected.is_invalid_gap() {
                oracle::Reason::BadGap
            } else {
                assert!(rejected.is_future_skew(), "{rejected}");
                oracle::Reason::Skew
            })
        }
    }
}

fn row<T: Clone>(pane: &Pane<'_, u32, T>) -> Row<T> {
    let bounds = |window: floodmark::Window| (window.start.as_micros(), window.end.as_micros());
    let (start, end) = bounds(pane.window);
    let retracted = |old: &floodmark::Retracted<T>| {
        let (start, end) = bounds(old.window);
        (start, end, old.value.clone())
    };
    Row {
        definition: pane.definition as usize,
        start,
        end,
        timing: pane.timing,
        index: pane.index,
        key: *pane.key,
        value: pane.value.clone(),
        retracts: pane.retracts.iter().map(retracted).collect(),
    }
}

/// Sorts each firing's panes by key, each key's in their order: what the watermark makes one window fire, late
/// panes of continuous triggers included, or what it fires late in one drain. Late panes of single events are in
/// the events' order.
fn sort_within_firings<T>(rows: &mut [Row<T>], config: &oracle::Config) {
    let per_drain = config.fires_once_per_drain();
    let is_continuous = |definition: usize| {
        matches!(config.windows[definition].trigger.base, oracle::Base::Continuous { .. })
    };
    let firing = |row: &Row<T>| (row.end, row.start, row.definition, row.timing == Timing::Late);
    let any_order = |row: &Row<T>| per_drain || row.timing != Timing::Late || is_continuous(row.definition);
    for run in rows.chunk_by_mut(|a, b| firing(a) == firing(b) && any_order(a)) {
        run.sort_by_key(|row| row.key);
    }
}

fn equal<T: PartialEq + Debug + ?Sized>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what} is {got:?} instead of {expected:?}")) }
}
