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
use floodmark::{
    Admission, Aggregate, Collect, Config, Count, Counters, First, Last, LateFiring, Max, Min, Pane,
    Partition, Resume, Sum, Suspect, Timestamp, Timing, TopK, Watermark, Windowing,
};
use floodmark_oracle as oracle;
use oracle::{Case, Model, Outcome, Step};
use serde::{Serialize, de::DeserializeOwned};

/// An event's place in the stream and what it says.
pub type Value = (u64, i64);

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
}

/// When panes are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// To the end after every step.
    Always,
    /// So many after every step, and the rest at the end.
    AtMost(usize),
}

const PLAIN: Mode =
    Mode { poll: Poll::Always, restore_every: 0, snapshot: false, ordered: false, subtract: false };

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
];

/// How many random cases to run: so many, or what `FLOODMARK_CASES` says.
pub fn cases(by_default: u32) -> u32 {
    std::env::var("FLOODMARK_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(by_default)
}

/// Runs a case in all modes, or says which went wrong and how.
pub fn run(case: &Case) -> Result<(), String> {
    MODES.iter().try_for_each(|mode| {
        run_in(case, *mode).map_err(|why| format!("{why}\nin {mode:?}\nof {}", case.to_json()))
    })
}

/// Runs a case in one mode.
pub fn run_in(case: &Case, mode: Mode) -> Result<(), String> {
    if mode.subtract {
        let aggregate = (Count, Sum::of(value as fn(&Value) -> i64));
        let kernel = build(&case.config, aggregate, mode)?;
        return Run::new(case, mode, kernel, aggregate, Windowing::subtract_on_evict, |pane| {
            (pane.count(), pane.sum())
        })
        .go();
    }
    let (seq, value) = (seq as fn(&Value) -> u64, value as fn(&Value) -> i64);
    let aggregate = (
        Count,
        Sum::of(value),
        Min::of(value),
        Max::of(value),
        First::of(seq),
        Last::of(seq),
        TopK::of(3, value),
        Collect::of(seq),
    );
    let kernel = build(&case.config, aggregate, mode)?;
    Run::new(
        case,
        mode,
        kernel,
        aggregate,
        |kernel| kernel,
        |pane| {
            (
                pane.count(),
                pane.sum(),
                pane.min().unwrap(),
                pane.max().unwrap(),
                pane.first().unwrap().seq,
                pane.last().unwrap().seq,
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

/// The configuration of a case, in the kernel's words, if the kernel has them yet.
pub fn config(config: &oracle::Config) -> Result<Config, String> {
    let micros = TimeDelta::microseconds;
    let [windows] = &config.windows[..] else {
        return Err("the kernel has one definition of windows".to_string());
    };
    let oracle::Kind::Sliding { size, slide, offset } = windows.kind else {
        return Err(format!("the kernel has no {:?}", windows.kind));
    };
    if windows.trigger != oracle::Trigger::default()
        || windows.accumulation != oracle::Accumulation::Accumulating
    {
        return Err(format!("the kernel has no {:?} and {:?}", windows.trigger, windows.accumulation));
    }
    let mut built = Config::sliding(micros(size), micros(slide))
        .offset(micros(offset))
        .allowed_lateness(micros(windows.lateness))
        .seed(7);
    if let oracle::Generator::Bounded { bound } = config.generator {
        built = built.max_disorder(micros(bound));
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
    built = built.resume(match config.resume {
        oracle::Resume::Exclude => Resume::Exclude,
        oracle::Resume::Hold => Resume::Hold,
    });
    Ok(built.late_firing(match windows.late_firing {
        oracle::LateFiring::EachEvent => LateFiring::EachEvent,
        oracle::LateFiring::OncePerDrain => LateFiring::OncePerDrain,
    }))
}

fn build<A>(case: &oracle::Config, aggregate: A, mode: Mode) -> Result<Windowing<u32, Value, A>, String>
where
    A: Aggregate<Value>,
{
    let built: Windowing<u32, Value, A> =
        config(case)?.build(aggregate).map_err(|error| error.to_string())?;
    Ok(if mode.ordered { built.ordered() } else { built })
}

/// A pane as both sides can say it.
#[derive(Clone, Debug, PartialEq)]
struct Row<T> {
    start: i64,
    end: i64,
    late: bool,
    index: u32,
    key: u32,
    value: T,
}

struct Run<'a, A: Aggregate<Value>, E, S> {
    case: &'a Case,
    mode: Mode,
    kernel: Windowing<u32, Value, A>,
    aggregate: A,
    set_up: S,
    expected: E,
    model: Model,
    partitions: Vec<Partition>,
    seq: u64,
    /// What has come out and what should have, where they are compared at the end.
    got: Vec<Row<A::Output>>,
    due: Vec<Row<A::Output>>,
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
        mode: Mode,
        kernel: Windowing<u32, Value, A>,
        aggregate: A,
        set_up: S,
        expected: E,
    ) -> Self {
        let model = Model::new(case.config.clone());
        let kernel = set_up(kernel);
        let (got, due) = (Vec::new(), Vec::new());
        Self {
            case,
            mode,
            kernel,
            aggregate,
            set_up,
            expected,
            model,
            partitions: Vec::new(),
            seq: 0,
            got,
            due,
        }
    }

    fn go(mut self) -> Result<(), String> {
        // Late firing once per drain depends on the drains by definition: both sides drain together.
        let per_drain = self.case.config.fires_once_per_drain();
        let poll = if per_drain { Poll::Always } else { self.mode.poll };
        for (number, step) in self.case.steps.iter().enumerate() {
            let mut outcome = self.model.step(step);
            if per_drain {
                outcome.panes = self.model.drain();
            }
            self.step(step, &outcome, poll).map_err(|why| format!("step {number} {step:?}: {why}"))?;
            self.model.assert_invariants();
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

    fn step(&mut self, step: &Step, outcome: &Outcome, poll: Poll) -> Result<(), String> {
        match self.take(step) {
            Answer::Event(verdict) => equal("verdict", &Some(verdict), &outcome.verdict)?,
            Answer::Control(error) => equal("error", &error, &outcome.error)?,
        }
        equal("watermark", &self.kernel.watermark().as_micros(), &outcome.watermark)?;
        let expected = outcome.panes.iter().map(|pane| Row {
            start: pane.start,
            end: pane.end,
            late: pane.timing == oracle::Timing::Late,
            index: pane.index,
            key: pane.key,
            value: (self.expected)(pane),
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
                self.compare_counters()?;
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

    fn take(&mut self, step: &Step) -> Answer {
        let known = |p: u32, partitions: &[Partition]| {
            // A handle that was never given out stands for a partition that was never added.
            partitions.get(p as usize).copied().unwrap_or(Partition::from_u64(u64::MAX >> 8))
        };
        let kernel = &mut self.kernel;
        let at = Timestamp::from_micros;
        let answer = match *step {
            Step::Event { p, time, key, value, gap: _ } => {
                self.seq += 1;
                let (p, event) = (known(p, &self.partitions), (self.seq - 1, value));
                return Answer::Event(verdict(kernel.push(p, at(time), key, event), (key, event)));
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
        for _ in 0..at_most {
            let Some(pane) = self.kernel.poll() else { break };
            self.got.push(row(&pane));
        }
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
            let per_drain = self.case.config.fires_once_per_drain();
            sort_within_firings(&mut got, per_drain);
            sort_within_firings(&mut due, per_drain);
        }
        match got.iter().zip(&due).find(|(got, due)| got != due) {
            Some((got, due)) => Err(format!("pane\n  {got:?}\ninstead of\n  {due:?}")),
            None if got.len() != due.len() => Err(format!("{} panes instead of {}", got.len(), due.len())),
            None => Ok(()),
        }
    }

    fn compare_counters(&self) -> Result<(), String> {
        let expected = self.model.counters();
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
        self.compare_counters()?;
        if self.kernel.watermark() == Watermark::MAX {
            equal("slices left at the end", &self.kernel.live_slices(), &0)?;
            equal("output watermark at the end", &self.kernel.output_watermark(), &Watermark::MAX)?;
        }
        Ok(())
    }
}

enum Answer {
    Event(oracle::Verdict),
    Control(bool),
}

fn verdict(
    answer: Result<Admission<u32, Value>, floodmark::Rejected<u32, Value>>,
    offered: (u32, Value),
) -> oracle::Verdict {
    let windows = |missed: &floodmark::Missed| {
        let (first, last) = (missed.first.start.as_micros(), missed.last.start.as_micros());
        let step = (last - first).checked_div(missed.count as i64 - 1).unwrap_or(0);
        let size = missed.first.end.as_micros() - first;
        (0..missed.count as i64).map(|i| (first + i * step, first + i * step + size)).collect()
    };
    match answer {
        Ok(Admission::Accepted) => oracle::Verdict::Accepted,
        Ok(Admission::PartlyLate(missed)) => oracle::Verdict::PartlyLate { missed: windows(&missed) },
        Ok(Admission::Late(late)) => {
            assert_eq!((late.event.key, late.event.value), offered, "a late event comes back whole (L3)");
            oracle::Verdict::Late {
                watermark: late.watermark.as_micros(),
                // Saturating on our side, exact on the oracle's.
                late_by: late.watermark.as_micros().abs_diff(late.event.time.as_micros()),
                missed: windows(&late.missed),
            }
        }
        Ok(Admission::Unassigned(event)) => {
            assert_eq!((event.key, event.value), offered);
            oracle::Verdict::Unassigned
        }
        Ok(other) => panic!("unexpected {other:?}"),
        Err(rejected) => {
            assert_eq!((rejected.event.key, rejected.event.value), offered);
            oracle::Verdict::Rejected(if rejected.is_unknown_partition() {
                oracle::Reason::UnknownPartition
            } else if rejected.is_out_of_range() {
                oracle::Reason::OutOfRange
            } else {
                assert!(rejected.is_future_skew(), "{rejected}");
                oracle::Reason::Skew
            })
        }
    }
}

fn row<T: Clone>(pane: &Pane<'_, u32, T>) -> Row<T> {
    Row {
        start: pane.window.start.as_micros(),
        end: pane.window.end.as_micros(),
        late: pane.timing == Timing::Late,
        index: pane.index,
        key: *pane.key,
        value: pane.value.clone(),
    }
}

/// Sorts each firing's panes by key: what one window fires on time or, where late panes are fired
/// `per_drain`, what it fires late in one drain. Late panes of single events are in the events' order.
fn sort_within_firings<T>(rows: &mut [Row<T>], per_drain: bool) {
    let firing = |row: &Row<T>| (row.end, row.start, row.late);
    for run in rows.chunk_by_mut(|a, b| firing(a) == firing(b) && (per_drain || !a.late)) {
        run.sort_by_key(|row| row.key);
    }
}

fn equal<T: PartialEq + Debug + ?Sized>(what: &str, got: &T, expected: &T) -> Result<(), String> {
    if got == expected { Ok(()) } else { Err(format!("{what} is {got:?} instead of {expected:?}")) }
}
