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
        let missed: Vec<_> = closed.iter().map(|w| (w.start, w.end)).collect();
        let watermark = self.partitions.watermark();
        match (missed.is_empty(), open.is_empty()) {
            (true, true) => Verdict::Unassigned,
            (true, false) => Verdict::Accepted,
            (false, false) => Verdict::PartlyLate { missed },
            (false, true) => Verdict::Late { watermark, late_by: watermark.abs_diff(time), missed },
        }
    }

    /// Ticks idle partitions first. What the watermark makes due comes before what
    /// the tick does; where nothing depends on ticks, a tick is no observation.
    fn tick(&mut self, now: i64) {
        self.partitions.tick(now);
        if self.config.windows.iter().any(|windows| windows.trigger.early_ticks.is_some()) {
            self.observe();
            self.windows.tick(now);
        }
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
mod tests {
    use super::*;
    use crate::case::{FutureSkew, Generator, LateFiring, Windows};
    use crate::generate;
    use crate::window::{Grid, Timing};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// `(key, start, end, sum, timing, index)`.
    type Fired = (u32, i64, i64, i64, Timing, u32);
    use Timing::{Late, OnTime};

    /// One partition, and shorthand for what happens to it.
    struct Timeline(Model);

    impl Timeline {
        fn new(config: Config) -> Self {
            let mut model = Model::new(config);
            model.step(&Step::Add);
            Self(model)
        }

        fn of(windows: Windows) -> Self {
            Self::new(Config::of(windows))
        }

        fn event(&mut self, key: u32, time: i64, value: i64) -> (Verdict, Vec<Fired>) {
            let p = 0;
            let outcome = self.step(Step::Event { p, time, key, value, gap: None });
            (outcome.verdict.unwrap(), fired(&outcome.panes))
        }

        fn watermark(&mut self, w: i64) -> Vec<Fired> {
            fired(&self.step(Step::SetWatermark { p: 0, w }).panes)
        }

        fn step(&mut self, step: Step) -> Outcome {
            let outcome = self.0.step(&step);
            self.0.assert_invariants();
            outcome
        }
    }

    fn fired(panes: &[Pane]) -> Vec<Fired> {
        let all = panes.iter();
        all.map(|p| (p.key, p.start, p.end, p.sum(), p.timing, p.index)).collect()
    }

    fn accepted(panes: &[Fired]) -> (Verdict, Vec<Fired>) {
        (Verdict::Accepted, panes.to_vec())
    }

    fn late(watermark: i64, late_by: u64, missed: &[(i64, i64)]) -> (Verdict, Vec<Fired>) {
        let missed = missed.to_vec();
        let verdict = Verdict::Late { watermark, late_by, missed };
        (verdict, vec![])
    }

    /// Flink's `tumbling_lateness_exact_cleanup_edge`, a watermark `f` being
    /// `f + 1` here (W1).
    #[test]
    fn l1_lateness_ends_exactly_at_end_plus_lateness() {
        let mut run = Timeline::of(Windows { lateness: 5, ..Windows::tumbling(10) });
        assert_eq!(run.event(1, 1, 1), accepted(&[]));
        assert_eq!(run.watermark(14), [(1, 0, 10, 1, OnTime, 0)]);
        assert_eq!(run.event(1, 2, 2), accepted(&[(1, 0, 10, 3, Late, 1)]));
        assert_eq!(run.watermark(15), []);
        assert_eq!(run.event(1, 3, 4), late(15, 12, &[(0, 10)]));
        assert_eq!(run.event(1, 10, 16), accepted(&[]));
        assert_eq!(run.watermark(25), [(1, 10, 20, 16, OnTime, 0)]);
        assert_eq!(run.watermark(i64::MAX), []);
        assert_eq!(run.0.live_windows(), 0);
    }

    /// Flink's `sliding_not_multiple`.
    #[test]
    fn f2_sliding_windows_fire_by_end() {
        let mut run = Timeline::new(Config::sliding(10, 3));
        for (time, value) in [(0, 1), (1, 2), (2, 4), (3, 8)] {
            assert_eq!(run.event(1, time, value), accepted(&[]));
        }
        assert_eq!(run.watermark(0), []);
        assert_eq!(run.watermark(1), [(1, -9, 1, 1, OnTime, 0)]);
        assert_eq!(
            run.watermark(10),
            [(1, -6, 4, 15, OnTime, 0), (1, -3, 7, 15, OnTime, 0), (1, 0, 10, 15, OnTime, 0)]
        );
        assert_eq!(run.watermark(i64::MAX), [(1, 3, 13, 8, OnTime, 0)]);
    }

    /// Flink's `sliding_keys_and_ends`, and a window that had no events of the
    /// key when it fired: its late pane is the first.
    #[test]
    fn f3_late_events_refire_each_window_at_once() {
        let mut run = Timeline::of(Windows { lateness: 100, ..Windows::sliding(10, 5) });
        run.event(2, 3, 1);
        run.event(1, 3, 2);
        assert_eq!(
            run.watermark(15),
            [
                (1, -5, 5, 2, OnTime, 0),
                (2, -5, 5, 1, OnTime, 0),
                (1, 0, 10, 2, OnTime, 0),
                (2, 0, 10, 1, OnTime, 0)
            ]
        );
        let refired = [(1, 0, 10, 10, Late, 1), (1, 5, 15, 8, Late, 0)];
        assert_eq!(run.event(1, 8, 8), accepted(&refired));
        assert_eq!(run.0.counters().windows_fired, 2);
        assert_eq!(run.0.counters().panes_fired, 6);
    }

    #[test]
    fn l2_partly_late_is_in_the_rest() {
        let mut run = Timeline::new(Config::sliding(10, 5));
        run.watermark(10);
        let missed = vec![(0, 10)];
        assert_eq!(run.event(1, 7, 3), (Verdict::PartlyLate { missed }, vec![]));
        assert_eq!(run.watermark(15), [(1, 5, 15, 3, OnTime, 0)]);
        assert_eq!(run.event(1, 9, 1), late(15, 6, &[(0, 10), (5, 15)]));
        assert_eq!(run.0.counters().partly_late, 1);
    }

    /// Flink's `sliding_gap_element_late_is_reported`, where we say unassigned.
    #[test]
    fn a1_gap_events_are_unassigned_whatever_the_watermark() {
        let mut run = Timeline::new(Config::sliding(4, 10));
        for w in [0, 6, i64::MAX] {
            run.watermark(w);
            assert_eq!(run.event(1, 5, 1), (Verdict::Unassigned, vec![]));
        }
        let at_max = late(i64::MAX, i64::MAX.abs_diff(0), &[(0, 4)]);
        assert_eq!(run.event(1, 0, 1), at_max);
    }

    #[test]
    fn w8_an_event_is_not_late_because_of_itself() {
        let mut run =
            Timeline::new(Config { generator: Generator::Bounded { bound: 0 }, ..Config::tumbling(1) });
        assert_eq!(run.event(1, 5, 1), accepted(&[]));
        assert_eq!(run.event(1, 5, 2), accepted(&[]));
        assert_eq!(run.event(1, 6, 4), accepted(&[(1, 5, 6, 3, OnTime, 0)]));
        assert_eq!(run.event(1, 5, 8), late(6, 1, &[(5, 6)]));
    }

    /// A push ends with an observation: what is called next comes too late to
    /// hold the watermark.
    #[test]
    fn w6_a_push_observes_even_if_nobody_looks() {
        let mut model =
            Model::new(Config { generator: Generator::Bounded { bound: 0 }, ..Config::tumbling(1) });
        let (p, key, value) = (0, 0, 0);
        for (step, watermark) in [
            (Step::Add, i64::MIN),
            (Step::Event { p, time: 5, key, value, gap: None }, 5),
            (Step::Add, 5),
            (Step::Event { p, time: 9, key, value, gap: None }, 5),
            (Step::Idle { p: 1 }, 5),
            (Step::Idle { p }, 5),
        ] {
            model.step_unobserved(&step);
            assert_eq!(model.partitions.watermark(), watermark, "{step:?}");
        }
        let panes = model.drain();
        assert_eq!(model.partitions.watermark(), 9, "draining observes");
        assert_eq!(panes[0].events[0].seq, 0);
        assert_eq!(model.step(&Step::Finish).panes[0].events[0].seq, 1);
    }

    #[test]
    fn f3_once_per_drain_fires_on_time_as_it_was_and_marked_as_it_is() {
        let mut run = Timeline::of(Windows {
            lateness: 5,
            late_firing: LateFiring::OncePerDrain,
            ..Windows::tumbling(10)
        });
        run.event(2, 1, 1);
        assert_eq!(run.watermark(10), [], "all panes come from drain");
        assert_eq!(run.event(2, 2, 2), accepted(&[]));
        assert_eq!(run.event(1, 2, 8), accepted(&[]));
        assert_eq!(run.event(2, 3, 4), accepted(&[]));
        run.event(1, 11, 16);
        run.watermark(20);
        assert_eq!(run.0.live_windows(), 2, "closed, but a pane is owed");
        assert_eq!(run.0.output_watermark(), 9);
        assert_eq!(
            fired(&run.0.drain()),
            [
                (2, 0, 10, 1, OnTime, 0),
                (1, 10, 20, 16, OnTime, 0),
                (1, 0, 10, 8, Late, 0),
                (2, 0, 10, 7, Late, 1)
            ]
        );
        assert_eq!(run.0.output_watermark(), 19, "[10, 20) is open until 25");
        assert_eq!(run.0.live_windows(), 1);
        assert_eq!(run.0.drain(), []);
    }

    #[test]
    fn w7_suspect_events_move_nothing() {
        for policy in [SkewPolicy::Admit, SkewPolicy::Reject] {
            let mut run = Timeline::new(Config {
                generator: Generator::Bounded { bound: 0 },
                max_future_skew: Some(FutureSkew { skew: 10, policy }),
                ..Config::tumbling(10)
            });
            run.event(1, 5, 1);
            let verdict = match policy {
                SkewPolicy::Admit => Verdict::Accepted,
                SkewPolicy::Reject => Verdict::Rejected(Reason::Skew),
            };
            assert_eq!(run.event(1, 2099, 2), (verdict, vec![]));
            assert_eq!(run.event(1, 15, 4).0, Verdict::Accepted);
            let counters = run.0.counters();
            assert_eq!(counters.suspect, 1);
            assert_eq!(counters.rejected, u64::from(policy == SkewPolicy::Reject));
            let last = run.step(Step::Finish).panes;
            let with_2099 = last.iter().any(|pane| pane.start == 2090);
            assert_eq!(with_2099, policy == SkewPolicy::Admit);
        }
    }

    #[test]
    fn rejected_changes_nothing_and_says_why() {
        let mut run =
            Timeline::new(Config { generator: Generator::Bounded { bound: 0 }, ..Config::tumbling(10) });
        let rejected = |reason| (Verdict::Rejected(reason), vec![]);
        assert_eq!(run.event(1, i64::MAX, 1), rejected(Reason::OutOfRange));
        assert_eq!(run.0.step(&Step::Tick { now: 0 }).watermark, i64::MIN);
        let error = run.step(Step::Idle { p: 1 });
        assert!(error.error && error.verdict.is_none());
        let finished = run.step(Step::Finish);
        assert!(!finished.error);
        assert_eq!(finished.output_watermark, i64::MAX);
        assert_eq!(run.event(1, i64::MAX, 1), rejected(Reason::UnknownPartition));
        assert_eq!(run.0.counters().rejected, 2);
    }

    /// How many windows an outcome put its event into.
    fn entered(config: &Config, step: &Step, outcome: &Outcome) -> usize {
        let Step::Event { time, .. } = *step else {
            return 0;
        };
        let grid = Grid::of(&config.windows[0].kind).expect("an aligned case");
        let all = grid.windows_of(time).map_or(0, |w| w.len());
        match &outcome.verdict {
            Some(Verdict::Accepted) => all,
            Some(Verdict::PartlyLate { missed }) => all - missed.len(),
            _ => 0,
        }
    }

    proptest! {
        /// Safety: the invariants hold after every step. Liveness: at the end of
        /// input every admitted event is in the last pane of its windows.
        #[test]
        fn oracle_every_admitted_event_comes_out(case in generate::aligned_case()) {
            let mut model = Model::new(case.config.clone());
            let mut last_panes = BTreeMap::new();
            let (mut owed, mut watermark) = (0, i64::MIN);
            for step in case.steps.iter().chain([&Step::Finish]) {
                let outcome = model.step(step);
                model.assert_invariants();
                prop_assert!(watermark <= outcome.watermark);
                watermark = outcome.watermark;
                owed += entered(&case.config, step, &outcome);
                for pane in outcome.panes.into_iter().chain(model.drain()) {
                    prop_assert!(pane.end <= watermark);
                    let seen: &mut (u32, usize) =
                        last_panes.entry((pane.end, pane.start, pane.key)).or_default();
                    prop_assert_eq!(pane.index, seen.0, "{:?}", pane);
                    prop_assert_eq!(pane.timing == OnTime && pane.index > 0, false);
                    *seen = (pane.index + 1, pane.events.len());
                }
            }
            prop_assert_eq!(model.live_windows(), 0);
            prop_assert_eq!(model.output_watermark(), i64::MAX);
            prop_assert_eq!(last_panes.values().map(|seen| seen.1).sum::<usize>(), owed);
        }

        /// F7: no pane comes out behind an output watermark announced before.
        #[test]
        fn oracle_output_watermark_is_kept(case in generate::aligned_case()) {
            let mut announced = i64::MIN;
            let mut model = Model::new(case.config.clone());
            for step in &case.steps {
                let outcome = model.step(step);
                for pane in outcome.panes.iter().chain(&model.drain()) {
                    prop_assert!(pane.end > announced, "{:?} after {}", pane, announced);
                }
                prop_assert!(announced <= outcome.output_watermark);
                announced = outcome.output_watermark;
            }
        }

        /// When late panes fire has no influence on anything else.
        #[test]
        fn differential_on_time_panes_are_the_same_in_both_late_firings(case in generate::aligned_case()) {
            let run = |late_firing| {
                let mut case = case.clone();
                case.config.windows[0].late_firing = late_firing;
                let outcomes = Model::run(&case);
                let panes = outcomes.iter().flat_map(|o| &o.panes).filter(|p| p.timing == OnTime);
                let panes: Vec<Pane> = panes.cloned().map(|p| Pane { index: 0, ..p }).collect();
                let verdicts: Vec<_> = outcomes.into_iter().map(|o| (o.verdict, o.watermark)).collect();
                (panes, verdicts)
            };
            prop_assert_eq!(run(LateFiring::EachEvent), run(LateFiring::OncePerDrain));
        }
    }
}
