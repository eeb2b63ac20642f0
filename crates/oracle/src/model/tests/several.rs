//! Several definitions over one stream (A3), and one verdict over all of them.

use super::*;
use crate::case::{Base, Trigger};

fn of(windows: &[Windows]) -> Timeline {
    Timeline::new(Config { windows: windows.to_vec(), ..Config::tumbling(1) })
}

fn partly(missed: &[(i64, i64)]) -> (Verdict, Vec<Fired>) {
    (Verdict::PartlyLate { missed: missed.to_vec() }, vec![])
}

/// Flink's finding 6, over the windows of all definitions.
#[test]
fn l2_late_in_some_definitions_is_partly_late() {
    let mut run = of(&[Windows::tumbling(100), Windows::session(7), Windows::tumbling(10)]);
    run.watermark(50);
    assert_eq!(run.event(1, 42, 1), partly(&[(42, 49), (40, 50)]), "by end, then start");
    assert_eq!(run.event(1, 43, 2), partly(&[(40, 50), (43, 50)]), "at equality it has closed");
    assert_eq!(run.event(1, 44, 4), partly(&[(40, 50)]));
    assert_eq!(run.event(1, 51, 8), accepted(&[]));
    assert_eq!(
        run.watermark(60),
        [(1, 44, 58, 12, OnTime, 0), (1, 50, 60, 8, OnTime, 0)],
        "the session's are those that were in time for it"
    );
    assert_eq!(run.watermark(100), [(1, 0, 100, 15, OnTime, 0)]);
    assert_eq!(run.event(1, 52, 1), late(100, 48, &[(52, 59), (50, 60), (0, 100)]));
}

#[test]
fn l1_definitions_have_a_lateness_each() {
    let mut run = of(&[Windows { lateness: 5, ..Windows::tumbling(10) }, Windows::tumbling(10)]);
    run.event(1, 1, 1);
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 0), (1, 0, 10, 1, OnTime, 0)]);
    let missed = vec![(0, 10)];
    assert_eq!(run.event(1, 2, 2), (Verdict::PartlyLate { missed }, vec![(1, 0, 10, 3, Late, 1)]));
    assert_eq!(run.0.live_windows(), 1);
    assert_eq!(run.0.counters().windows_fired, 2, "one of each definition");
}

#[test]
fn a1_an_event_in_no_window_of_any_definition_is_unassigned() {
    let gaps = Windows::sliding(4, 10);
    let mut run = of(&[gaps.clone(), Windows::edges(&[0, 7])]);
    assert_eq!(run.event(1, 5, 1), accepted(&[]));
    assert_eq!(run.event(1, 8, 1), (Verdict::Unassigned, vec![]));
    run.watermark(7);
    assert_eq!(run.event(1, 5, 1), late(7, 2, &[(0, 7)]), "the gap does not count");
}

#[test]
fn t2_an_event_must_fit_into_all_definitions() {
    let mut run = of(&[Windows::global(), Windows::cumulative(10, 20)]);
    let rejected = (Verdict::Rejected(Reason::OutOfRange), vec![]);
    assert_eq!(run.event(1, i64::MAX - 1, 1), rejected);
    assert_eq!(run.0.live_windows(), 0);
    assert_eq!(run.event(1, i64::MAX - 50, 1), accepted(&[]));
    let mut run = of(&[Windows::global(), Windows::edges(&[0, 1])]);
    assert_eq!(run.event(1, i64::MIN, 1), accepted(&[]));
    assert_eq!(run.event(1, i64::MAX - 1, 1), accepted(&[]));
    assert_eq!(run.event(1, i64::MAX, 1), rejected);
}

#[test]
fn a1_cumulative_windows_fire_one_after_the_other() {
    let mut run = of(&[Windows { lateness: 5, ..Windows::cumulative(10, 30) }]);
    run.events(&[5, 15]);
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 0)]);
    assert_eq!(run.watermark(20), [(1, 0, 20, 3, OnTime, 0)]);
    let missed = vec![(0, 10)];
    let refired = vec![(1, 0, 20, 7, Late, 1)];
    assert_eq!(run.event(1, 2, 4), (Verdict::PartlyLate { missed }, refired));
    assert_eq!(run.watermark(30), [(1, 0, 30, 7, OnTime, 0)]);
}

#[test]
fn a1_the_global_window_fires_at_the_end_of_input() {
    let mut run = of(&[Windows { lateness: 7, ..Windows::global() }]);
    run.events(&[5, -1000]);
    assert_eq!(run.watermark(i64::MAX - 1), []);
    assert_eq!(run.watermark(i64::MAX), [(1, i64::MIN, i64::MAX, 3, OnTime, 0)]);
    assert_eq!(run.0.live_windows(), 0);
    assert_eq!(run.event(1, 0, 1), late(i64::MAX, i64::MAX as u64, &[(i64::MIN, i64::MAX)]));
}

/// What an event makes fire comes by definition, what the watermark does by time.
#[test]
fn f2_the_panes_of_one_event_come_by_definition() {
    let each = |windows| Windows { trigger: Trigger::on(Base::Count { n: 1 }), ..windows };
    let mut run = of(&[each(Windows::tumbling(100)), each(Windows::sliding(10, 5))]);
    let pane = |start, end| (1, start, end, 1, Early, 0);
    assert_eq!(run.event(1, 7, 1), accepted(&[pane(0, 100), pane(0, 10), pane(5, 15)]));
}

#[test]
fn f3_all_panes_wait_for_the_drain_if_some_do() {
    let once = |windows| Windows { lateness: 50, late_firing: LateFiring::OncePerDrain, ..windows };
    let each = Windows { lateness: 50, ..Windows::tumbling(10) };
    let mut run =
        of(&[once(Windows::tumbling(20)), each, once(Windows::tumbling(20)), once(Windows::tumbling(5))]);
    run.watermark(20);
    assert_eq!(run.event(2, 7, 1), accepted(&[]));
    assert_eq!(run.event(1, 17, 2), accepted(&[]));
    let panes = run.0.drain();
    let panes: Vec<_> = panes.iter().map(|p| (p.definition, p.key, p.end, p.timing, p.index)).collect();
    let expected = [
        // Each event's at once, in order of arrival.
        (1, 2, 10, Late, 0),
        (1, 1, 20, Late, 0),
        // The marked, by window, definition and key.
        (3, 2, 10, Late, 0),
        (0, 1, 20, Late, 0),
        (0, 2, 20, Late, 0),
        (2, 1, 20, Late, 0),
        (2, 2, 20, Late, 0),
        (3, 1, 20, Late, 0),
    ];
    assert_eq!(panes, expected);
}

#[test]
fn f1_windows_fired_are_distinct_windows() {
    let mut run = of(&[Windows::session(10), Windows::session(10), Windows::tumbling(10)]);
    run.event(1, 0, 1);
    run.event(2, 0, 1);
    run.event(2, 1, 1);
    assert_eq!(run.watermark(100).len(), 6);
    let counters = run.0.counters();
    assert_eq!((counters.windows_fired, counters.panes_fired), (5, 6));
}
