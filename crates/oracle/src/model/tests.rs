mod accumulation;
mod continuous;
mod fill;
mod learned;
mod properties;
mod quiet;
mod sessions;
mod several;
mod triggers;

use super::*;
use crate::case::{FutureSkew, Generator, LateFiring, Windows};
use crate::window::Timing;
use Timing::{Early, Late, OnTime};

/// `(key, start, end, sum, timing, index)`.
type Fired = (u32, i64, i64, i64, Timing, u32);

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
        let outcome = self.offer(key, time, value, None);
        (outcome.verdict.unwrap(), fired(&outcome.panes))
    }

    fn offer(&mut self, key: u32, time: i64, value: i64, gap: Option<i64>) -> Outcome {
        self.step(Step::Event { p: 0, time, key, value, gap })
    }

    /// Events of key 1, that cause nothing, at these times; their values are
    /// powers of two, so that a sum says which they are.
    fn events(&mut self, times: &[i64]) {
        for (number, &time) in times.iter().enumerate() {
            assert_eq!(self.event(1, time, 1 << number), accepted(&[]));
        }
    }

    fn watermark(&mut self, w: i64) -> Vec<Fired> {
        fired(&self.step(Step::SetWatermark { p: 0, w }).panes)
    }

    fn tick(&mut self, now: i64) -> Vec<Fired> {
        fired(&self.step(Step::Tick { now }).panes)
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
    let mut run = Timeline::new(Config { generator: Generator::Bounded { bound: 0 }, ..Config::tumbling(1) });
    assert_eq!(run.event(1, 5, 1), accepted(&[]));
    assert_eq!(run.event(1, 5, 2), accepted(&[]));
    assert_eq!(run.event(1, 6, 4), accepted(&[(1, 5, 6, 3, OnTime, 0)]));
    assert_eq!(run.event(1, 5, 8), late(6, 1, &[(5, 6)]));
}

/// A push ends with an observation: what is called next comes too late to
/// hold the watermark.
#[test]
fn w6_a_push_observes_even_if_nobody_looks() {
    let mut model = Model::new(Config { generator: Generator::Bounded { bound: 0 }, ..Config::tumbling(1) });
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
    let mut run =
        Timeline::of(Windows { lateness: 5, late_firing: LateFiring::OncePerDrain, ..Windows::tumbling(10) });
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
