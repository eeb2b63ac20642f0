//! `oracle_*`: every timeline of a few steps over a tiny alphabet, kernel against model.
//!
//! Whatever can go wrong among two partitions, two keys and a few instants in so many steps goes wrong
//! here. The shortest run in all modes, the others in one mode each, in turn.

mod harness;

use floodmark_oracle::generate::{Limits, exhaustive};
use floodmark_oracle::{
    Accumulation, Base, Case, Config, Generator, Kind, LateFiring, Model, Step, Timing, Trigger, Verdict,
    Windows,
};
use harness::{MODES, run, run_in};

/// Runs each case in one mode, the next one for the next case.
fn run_all(cases: impl Iterator<Item = Case>) {
    for (mut case, &mode) in cases.zip(MODES.iter().cycle()) {
        // Everything that was admitted must come out.
        if case.steps.last() != Some(&Step::Finish) {
            case.steps.push(Step::Finish);
        }
        run_in(&case, &[mode]).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn oracle_all_timelines_of_two_steps_in_all_modes() {
    for case in exhaustive(Limits::small(2)) {
        run(&case).unwrap();
    }
}

#[test]
fn oracle_all_timelines_of_three_steps() {
    run_all(exhaustive(Limits::small(3)));
}

#[test]
fn oracle_all_timelines_of_four_steps_over_few_letters() {
    run_all(exhaustive(Limits::tiny(4)));
}

/// Six steps of one partition with windows of many slices: what was combined before a late event came is
/// used again after it.
fn overlapping() -> Limits {
    let each = Config::of(Windows { lateness: 3, ..Windows::sliding(3, 1) });
    let four = Windows { lateness: 2, ..Windows::sliding(4, 1) };
    let once = Config::of(Windows { late_firing: LateFiring::OncePerDrain, ..four.clone() });
    let uneven = Windows::of(Kind::Sliding { size: 5, slide: 2, offset: 1 });
    let uneven = Config::of(Windows { lateness: 4, ..uneven });
    let generated = Config { generator: Generator::Bounded { bound: 1 }, ..Config::of(four) };
    Limits {
        configs: vec![each, once, uneven, generated],
        partitions: 1,
        times: vec![0, 2, 3],
        watermarks: vec![4, 5],
        idleness: false,
        ..Limits::tiny(6)
    }
}

#[test]
fn oracle_all_timelines_of_six_steps_over_overlapping_windows() {
    run_all(exhaustive(overlapping()));
}

/// Five steps of one partition in sessions that merge, are cut and grow after they fired; with early panes of
/// every sort, and several definitions at once.
fn keyed() -> Limits {
    let session = |max_length| Windows { lateness: 2, ..Windows::of(Kind::Session { gap: 2, max_length }) };
    let retracting = Windows { accumulation: Accumulation::Retracting, ..session(None) };
    let cut = Windows {
        trigger: Trigger { early_events: Some(2), ..Trigger::default() },
        accumulation: Accumulation::Discarding,
        ..session(Some(3))
    };
    let continuous = Windows {
        trigger: Trigger { base: Base::Continuous { every: 2 }, ..Trigger::default() },
        late_firing: LateFiring::OncePerDrain,
        ..session(None)
    };
    let cumulative = Windows {
        trigger: Trigger { early_time: Some(1), ..Trigger::default() },
        lateness: 1,
        ..Windows::of(Kind::Cumulative { step: 2, max: 4, offset: 0 })
    };
    let counted = Windows {
        trigger: Trigger { base: Base::Count { n: 2 }, ..Trigger::default() },
        ..Windows::of(Kind::Global)
    };
    let several =
        Config { windows: vec![session(None), Windows::tumbling(3), counted], ..Config::tumbling(1) };
    let mut configs: Vec<_> = [retracting, cut, continuous, cumulative].map(Config::of).into();
    configs.push(several);
    Limits {
        configs,
        partitions: 1,
        times: vec![0, 1, 3],
        watermarks: vec![2, 4, 5],
        idleness: false,
        ..Limits::tiny(5)
    }
}

#[test]
fn oracle_all_timelines_of_five_steps_over_windows_of_each_key() {
    run_all(exhaustive(keyed()));
}

/// That the worlds are not so small that nothing happens in them.
#[test]
fn l2_f3_small_worlds_have_late_panes_and_partly_late_events() {
    let [mut late, mut again, mut partly] = [0; 3];
    for limits in [Limits::small(3), Limits::tiny(4), overlapping()] {
        for case in exhaustive(limits).step_by(7) {
            for outcome in Model::run(&case) {
                late += usize::from(outcome.panes.iter().any(|pane| pane.timing == Timing::Late));
                again += usize::from(outcome.panes.iter().any(|pane| pane.index > 0));
                partly += usize::from(matches!(outcome.verdict, Some(Verdict::PartlyLate { .. })));
            }
        }
    }
    assert!(late > 500 && again > 100 && partly > 100, "{late} {again} {partly}");
}
