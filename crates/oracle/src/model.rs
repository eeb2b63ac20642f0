//! Partitions and windows together: what each step must answer.

use serde::{Deserialize, Serialize};

use crate::case::{Case, Config, SkewPolicy, Step};
use crate::watermark::{UnknownPartition, WatermarkModel};
use crate::window::{Contribution, Pane, WindowModel};

/// The naive model of a whole kernel.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    partitions: WatermarkModel,
    windows: WindowModel,
    counters: Counters,
}

/// What a step must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// For events: what became of it.
    pub verdict: Option<Verdict>,
    /// For other steps: whether it named a partition that is gone or never was.
    pub error: bool,
    /// The panes the step caused; none if some definition fires once per drain:
    /// then [`Model::drain`] hands them out.
    pub panes: Vec<Pane>,
    /// The watermark after the step.
    pub watermark: i64,
    /// The output watermark after the step, if everything has been drained.
    pub output_watermark: i64,
}

/// What became of an event. Windows are `(start, end)`, in firing order, and of
/// all definitions; a session counts as one, that which the event belongs to or,
/// if it comes too late for any, its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is in all its windows.
    Accepted,
    /// It is in some of its windows (L2).
    PartlyLate {
        /// The windows that had closed.
        missed: Vec<(i64, i64)>,
    },
    /// All its windows had closed (L1, L3).
    Late {
        /// The watermark it was judged by.
        watermark: i64,
        /// The watermark less the event's time.
        late_by: u64,
        /// All its windows.
        missed: Vec<(i64, i64)>,
    },
    /// It lies in a gap between windows.
    Unassigned,
    /// It was not looked at any further.
    Rejected(Reason),
}

/// Why an event was rejected; the first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its partition is gone or never was.
    UnknownPartition,
    /// One of its windows would not fit (T2).
    OutOfRange,
    /// It keeps a session open for less than an instant.
    BadGap,
    /// It is too far in the future, and the policy is to reject (W7).
    Skew,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Events offered: the sum of the next five.
    pub offered: u64,
    /// Events in all their windows.
    pub accepted: u64,
    /// Events in some of their windows.
    pub partly_late: u64,
    /// Events given back because all their windows had closed.
    pub late: u64,
    /// Events given back because no window contains them.
    pub unassigned: u64,
    /// Events rejected.
    pub rejected: u64,
    /// Events too far in the future, counted beside their class.
    pub suspect: u64,
    /// Distinct windows that gave at least one on-time pane.
    pub windows_fired: u64,
    /// Panes fired, handed out or not.
    pub panes_fired: u64,
}

impl Model {
    /// A model in which nothing has happened.
    ///
    /// # Panics
    /// When the configuration is not legal.
    #[must_use]
    pub fn new(config: Config) -> Self {
        config.check().expect("a legal configuration");
        Self {
            partitions: WatermarkModel::new(&config),
            windows: WindowModel::new(&config),
            counters: Counters::default(),
            config,
        }
    }

    /// Runs a whole case; if some definition fires once per drain it drains after
    /// the last step, whose outcome has the panes.
    #[must_use]
    pub fn run(case: &Case) -> Vec<Outcome> {
        let mut model = Self::new(case.config.clone());
        let mut outcomes: Vec<Outcome> = case.steps.iter().map(|step| model.step(step)).collect();
        if let Some(outcome) = outcomes.last_mut() {
            outcome.panes.extend(model.drain());
        }
        outcomes
    }

    /// Takes a step and observes the watermark after it.
    pub fn step(&mut self, step: &Step) -> Outcome {
        let (verdict, error) = self.step_unobserved(step);
        self.observe();
        let panes = if self.config.fires_once_per_drain() { Vec::new() } else { self.windows.drain() };
        Outcome {
            verdict,
            error,
            panes,
            watermark: self.partitions.watermark(),
            output_watermark: self.windows.output_watermark(true),
        }
    }

    /// Takes a step without looking at the watermark after it, as a host does
    /// that makes several calls in a row (W6). An event observes all the same:
    /// before it is judged and after it moved its partition. Returns the verdict
    /// and the error as in [`Outcome`].
    pub fn step_unobserved(&mut self, step: &Step) -> (Option<Verdict>, bool) {
        let partitions = &mut self.partitions;
        let result = match *step {
            Step::Event { p, time, key, value, gap } => {
                return (Some(self.offer(p, time, key, value, gap)), false);
            }
            Step::Add => {
                partitions.add();
                Ok(())
            }
            Step::Remove { p } => partitions.remove(p),
            Step::End { p } => partitions.end(p),
            Step::SetWatermark { p, w } => partitions.set_watermark(p, w),
            Step::Idle { p } => partitions.mark_idle(p),
            Step::Active { p } => partitions.mark_active(p),
            Step::Tick { now } => {
                self.tick(now);
                Ok(())
            }
            Step::Finish => {
                partitions.finish();
                Ok(())
            }
        };
        (None, result == Err(UnknownPartition))
    }

    /// Observes the watermark and hands out all panes: those that fired, as they
    /// were then, in the order they fired; after them the marked ones, as they
    /// are now, by `(end, start, key)`.
    pub fn drain(&mut self) -> Vec<Pane> {
        self.observe();
        self.windows.drain()
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            windows_fired: self.windows.windows_fired(),
            panes_fired: self.windows.panes_fired(),
            ..self.counters
        }
    }

    /// The output watermark as of the last observation, held by panes that
    /// [`Self::drain`] has not handed out.
    #[must_use]
    pub fn output_watermark(&self) -> i64 {
        self.windows.output_watermark(false)
    }

    /// How many windows hold something: none is left when all have closed.
    #[must_use]
    pub fn live_windows(&self) -> usize {
        self.windows.live_windows()
    }

    /// # Panics
    /// When the state is one that no sequence of calls should reach.
    pub fn assert_invariants(&self) {
        let c = self.counters();
        let known = c.accepted + c.partly_late + c.late + c.unassigned + c.rejected;
        assert_eq!(c.offered, known, "nothing disappears");
        assert!(c.suspect <= c.offered, "only events are suspect");
        assert!(c.windows_fired <= c.panes_fired, "a window fires panes");
        assert!(self.output_watermark() <= self.windows.output_watermark(true));
        assert!(self.windows.output_watermark(true) <= self.partitions.watermark());
        self.partitions.assert_invariants();
        self.windows.assert_invariants();
    }

    /// One event: judged first, then it moves its partition (W8).
    fn offer(&mut self, p: u32, time: i64, key: u32, value: i64, gap: Option<i64>) -> Verdict {
        self.observe();
        let suspect = self.partitions.is_suspect(p, time);
        let verdict = self.judge(p, time, key, gap, suspect);
        let event = Contribution { seq: self.counters.offered, time, value };
        if matches!(verdict, Verdict::Accepted | Verdict::PartlyLate { .. }) {
            self.windows.admit(key, event, gap);
        }
        self.count(&verdict, suspect);
        if !suspect && !matches!(verdict, Verdict::Rejected(_)) {
            let moved = self.partitions.event(p, time);
            assert_eq!(moved, Ok(()), "judged with a partition");
        }
        self.observe();
        verdict
    }

    fn judge(&self, p: u32, time: i64, key: u32, gap: Option<i64>, suspect: bool) -> Verdict {
        if !self.partitions.knows(p) {
            return Verdict::Rejected(Reason::UnknownPartition);
        }
        if !self.windows.fits(time, gap) {
            return Verdict::Rejected(Reason::OutOfRange);
        }
        if self.windows.has_sessions() && gap.is_some_and(|gap| gap < 1) {
            return Verdict::Rejected(Reason::BadGap);
        }
        let policy = self.config.max_future_skew.map(|guard| guard.policy);
        if suspect && policy == Some(SkewPolicy::Reject) {
            return Verdict::Rejected(Reason::Skew);
        }
        // Lateness is decided window by window (L1).
        let (closed, open) = self.windows.closed_and_open(key, time, gap);
        let missed: Vec<_> = closed.iter().map(|(window, _)| (window.start, window.end)).collect();
        let watermark = self.partitions.watermark();
        match (missed.is_empty(), open.is_empty()) {
            (true, true) => Verdict::Unassigned,
            (true, false) => Verdict::Accepted,
            (false, false) => Verdict::PartlyLate { missed },
            (false, true) => Verdict::Late { watermark, late_by: watermark.abs_diff(time), missed },
        }
    }

    /// Ticks idle partitions first. Then, if all are quiet, what is open closes. What
    /// the watermark makes due comes before what the tick does; where nothing depends
    /// on ticks, a tick is no observation.
    fn tick(&mut self, now: i64) {
        self.partitions.tick(now);
        if !self.config.observes_ticks() {
            return;
        }
        self.observe();
        if self.partitions.is_quiet()
            && let Some(latest) = self.partitions.latest()
            && let Some(end) = self.windows.last_open_end(latest)
        {
            self.partitions.raise(end);
            self.observe();
        }
        self.windows.tick(now);
    }

    fn count(&mut self, verdict: &Verdict, suspect: bool) {
        let counters = &mut self.counters;
        counters.offered += 1;
        *match verdict {
            Verdict::Accepted => &mut counters.accepted,
            Verdict::PartlyLate { .. } => &mut counters.partly_late,
            Verdict::Late { .. } => &mut counters.late,
            Verdict::Unassigned => &mut counters.unassigned,
            Verdict::Rejected(_) => &mut counters.rejected,
        } += 1;
        // The guard comes after the others: what they reject was never compared.
        let looked_at = !matches!(
            verdict,
            Verdict::Rejected(Reason::UnknownPartition | Reason::OutOfRange | Reason::BadGap)
        );
        counters.suspect += u64::from(suspect && looked_at);
    }

    fn observe(&mut self) {
        let watermark = self.partitions.observe();
        self.windows.advance(watermark);
    }
}

#[cfg(test)]
mod tests;
