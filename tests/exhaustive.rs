//! `oracle_*`: every timeline of a few steps over a tiny alphabet, kernel against model.
//!
//! Whatever can go wrong among two partitions, two keys and a few instants in so many steps goes wrong
//! here. Each case runs in one of the modes, and each mode gets every n-th case.

mod harness;

use floodmark_oracle::generate::{Limits, exhaustive};
use floodmark_oracle::{Case, LateFiring, Step};
use harness::{MODES, run, run_in};

/// Runs every case in the modes of a rota: `modes_each` of them, the next ones for the next case.
fn run_all(cases: impl Iterator<Item = Case>, modes_each: usize) {
    for (number, mut case) in cases.enumerate() {
        // Everything that was admitted must come out.
        if case.steps.last() != Some(&Step::Finish) {
            case.steps.push(Step::Finish);
        }
        for turn in 0..modes_each {
            let mode = MODES[(number * modes_each + turn) % MODES.len()];
            run_in(&case, mode).unwrap_or_else(|why| panic!("{why}\nin {mode:?}\nof {}", case.to_json()));
        }
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
    run_all(exhaustive(Limits::small(3)), 1);
}

#[test]
fn oracle_all_timelines_of_four_steps_over_few_letters() {
    run_all(exhaustive(Limits::tiny(4)), 2);
}

/// Five steps of one partition: events, watermarks and idleness, in all configurations.
#[test]
fn oracle_all_timelines_of_five_steps_of_one_partition() {
    let limits = Limits { partitions: 1, times: vec![-1, 0, 2], watermarks: vec![1, 2, 4], ..Limits::tiny(5) };
    run_all(exhaustive(limits), 1);
}

/// That the worlds are not so small that nothing happens in them.
#[test]
fn small_worlds_have_late_panes_and_partly_late_events() {
    let limits = Limits::small(3);
    assert_eq!(limits.count(), 178_746);
    let configs = &limits.configs;
    assert!(configs.iter().any(|config| config.late_firing == LateFiring::OncePerDrain));
    assert!(configs.iter().any(|config| config.slide > config.size));
    let mut seen = [0; 3];
    for case in exhaustive(limits).step_by(7) {
        for outcome in floodmark_oracle::Model::run(&case) {
            let late = outcome.panes.iter().any(|pane| pane.timing == floodmark_oracle::Timing::Late);
            seen[0] += usize::from(late);
            seen[1] += usize::from(outcome.panes.iter().any(|pane| pane.index > 0));
            seen[2] += usize::from(matches!(outcome.verdict, Some(floodmark_oracle::Verdict::PartlyLate { .. })));
        }
    }
    assert!(seen.into_iter().all(|times| times > 100), "{seen:?}");
}
