//! What panes show: F5.

use super::*;
use crate::case::{Accumulation, Trigger};

fn of(accumulation: Accumulation, windows: Windows) -> Timeline {
    Timeline::of(Windows { accumulation, ..windows })
}

fn every_two(windows: Windows) -> Windows {
    Windows { trigger: Trigger { early_events: Some(2), ..Trigger::default() }, ..windows }
}

/// Start, end and sum.
type Shown = (i64, i64, i64);

/// What the only pane of a step shows, and what it replaces.
fn only(panes: &[Pane]) -> (Shown, Vec<Shown>) {
    let [pane] = panes else { panic!("one pane, not {panes:?}") };
    let sum = |events: &[Contribution]| events.iter().map(|event| event.value).sum();
    let retracts = pane.retracts.iter().map(|(start, end, events)| (*start, *end, sum(events)));
    ((pane.start, pane.end, pane.sum()), retracts.collect())
}

#[test]
fn f5_discarding_shows_what_is_new() {
    let windows = Windows { lateness: 5, ..every_two(Windows::tumbling(10)) };
    let mut run = of(Accumulation::Discarding, windows);
    run.event(1, 1, 1);
    assert_eq!(run.event(1, 2, 2), accepted(&[(1, 0, 10, 3, Early, 0)]));
    run.event(1, 3, 4);
    assert_eq!(run.watermark(10), [(1, 0, 10, 4, OnTime, 1)]);
    assert_eq!(run.event(1, 4, 8), accepted(&[(1, 0, 10, 8, Late, 2)]));
}

#[test]
fn f5_discarding_shows_nothing_if_nothing_is_new() {
    let mut run = of(Accumulation::Discarding, every_two(Windows::tumbling(10)));
    run.event(1, 1, 1);
    run.event(1, 2, 2);
    assert_eq!(run.watermark(10), []);
    assert_eq!(run.0.counters().windows_fired, 0, "no pane on time");
}

#[test]
fn f5_discarding_once_per_drain_shows_what_is_new_since() {
    let windows = Windows { lateness: 5, late_firing: LateFiring::OncePerDrain, ..Windows::tumbling(10) };
    let mut run = of(Accumulation::Discarding, windows);
    run.event(1, 1, 1);
    run.watermark(10);
    run.event(1, 2, 2);
    run.event(1, 3, 4);
    assert_eq!(fired(&run.0.drain()), [(1, 0, 10, 1, OnTime, 0), (1, 0, 10, 6, Late, 1)]);
}

/// Flink's finding 10: what is purged is the contents, not the session.
#[test]
fn f5_discarding_sessions_keep_their_extent() {
    let mut run = of(Accumulation::Discarding, Windows { lateness: 20, ..Windows::session(10) });
    run.event(1, 0, 1);
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 0)]);
    run.event(1, 1, 2);
    assert_eq!(run.watermark(11), [(1, 0, 11, 2, OnTime, 0)]);
    assert_eq!(run.event(1, 0, 4), accepted(&[(1, 0, 11, 4, Late, 1)]));
}

#[test]
fn a2_what_is_new_is_combined_in_order_of_start() {
    let mut run = of(Accumulation::Discarding, every_two(Windows::session(10)));
    run.events(&[20]);
    assert_eq!(run.event(1, 21, 2), accepted(&[(1, 20, 31, 3, Early, 0)]));
    for (time, value) in [(25, 4), (0, 8)] {
        run.event(1, time, value);
    }
    let pane = run.offer(1, 10, 16, None).panes.remove(0);
    let new: Vec<i64> = pane.events.iter().map(|event| event.time).collect();
    assert_eq!((pane.start, pane.end, pane.index, new), (0, 35, 0, vec![0, 10, 25]));
}

#[test]
fn f5_retracting_withdraws_the_last_pane() {
    let windows = Windows { lateness: 5, ..every_two(Windows::tumbling(10)) };
    let mut run = of(Accumulation::Retracting, windows);
    run.event(1, 1, 1);
    assert_eq!(only(&run.offer(1, 2, 2, None).panes), ((0, 10, 3), vec![]));
    run.event(1, 3, 4);
    let on_time = run.step(Step::SetWatermark { p: 0, w: 10 }).panes;
    assert_eq!(only(&on_time), ((0, 10, 7), vec![(0, 10, 3)]));
    assert_eq!(only(&run.offer(1, 4, 8, None).panes), ((0, 10, 15), vec![(0, 10, 7)]));
    assert_eq!(only(&run.offer(1, 4, 16, None).panes), ((0, 10, 31), vec![(0, 10, 15)]));
}

#[test]
fn f5_retracting_withdraws_the_panes_of_all_that_merged() {
    let mut run = of(Accumulation::Retracting, Windows { lateness: 100, ..Windows::session(10) });
    run.events(&[40, 0, 20]);
    assert_eq!(run.watermark(30).len(), 2);
    // [0, 10) and [20, 30) have fired, [40, 50) has not.
    run.event(1, 30, 8);
    run.event(1, 10, 16);
    let merged = run.step(Step::SetWatermark { p: 0, w: 50 }).panes;
    assert_eq!(only(&merged), ((0, 50, 31), vec![(0, 10, 2), (20, 30, 4)]));
    assert_eq!(only(&run.offer(1, 5, 32, None).panes), ((0, 50, 63), vec![(0, 50, 31)]));
}

#[test]
fn f5_other_accumulations_retract_nothing() {
    for accumulation in [Accumulation::Accumulating, Accumulation::Discarding] {
        let mut run = of(accumulation, Windows { lateness: 100, ..Windows::session(10) });
        run.event(1, 0, 1);
        run.watermark(10);
        let late = run.offer(1, 0, 2, None).panes;
        assert_eq!((late.len(), late[0].retracts.len()), (1, 0));
    }
}
