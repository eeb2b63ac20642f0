//! Firing in intervals, as Flink's `ContinuousEventTimeTrigger` does.

use super::*;
use crate::case::{Accumulation, Base, Trigger};

fn every(interval: i64, windows: Windows) -> Windows {
    Windows { trigger: Trigger::on(Base::Continuous { every: interval }), ..windows }
}

/// Flink's finding 12: once for each interval missed, with the same contents.
#[test]
fn f4_continuous_fires_once_for_each_interval() {
    let mut run = Timeline::of(every(3, Windows::tumbling(10)));
    run.events(&[0, 7]);
    let pane = |timing, index| (1, 0, 10, 3, timing, index);
    assert_eq!(run.watermark(10), [pane(Early, 0), pane(Early, 1), pane(OnTime, 2)]);
    assert_eq!(run.watermark(i64::MAX), []);
    assert_eq!(run.0.counters().windows_fired, 1);
}

#[test]
fn f4_continuous_fires_when_the_instant_has_passed() {
    let mut run = Timeline::of(every(4, Windows::tumbling(10)));
    run.event(1, 1, 1);
    assert_eq!(run.watermark(4), []);
    assert_eq!(run.watermark(5), [(1, 0, 10, 1, Early, 0)]);
    run.event(1, 9, 2);
    assert_eq!(run.watermark(9), [(1, 0, 10, 3, Early, 1)]);
    assert_eq!(run.watermark(10), [(1, 0, 10, 3, OnTime, 2)]);
}

/// Flink's finding 11: multiples of the interval, whatever the window's start,
/// rounded toward zero.
#[test]
fn f4_continuous_rounds_toward_zero() {
    let mut run = Timeline::of(every(4, Windows::tumbling(100)));
    run.event(1, -7, 1);
    assert_eq!(run.watermark(0), [(1, -100, 0, 1, OnTime, 0)], "from -4, the next would be 0");
    let offset = Windows::of(crate::Kind::Sliding { size: 100, slide: 100, offset: -50 });
    let mut run = Timeline::of(every(4, offset));
    run.event(1, -7, 1);
    assert_eq!(run.watermark(0), []);
    assert_eq!(run.watermark(1), [(1, -50, 50, 1, Early, 0)]);
    assert_eq!(run.watermark(5), [(1, -50, 50, 1, Early, 1)]);
}

/// Flink's finding 12: behind the watermark at the next rise only.
#[test]
fn f4_continuous_behind_the_watermark_waits_for_the_next() {
    let mut run = Timeline::of(every(3, Windows::tumbling(20)));
    run.watermark(10);
    assert_eq!(run.event(1, 1, 1), accepted(&[]));
    assert_eq!(run.step(Step::Idle { p: 7 }).panes, [], "this is no rise");
    let pane = |timing, index| (1, 0, 20, 1, timing, index);
    assert_eq!(run.watermark(11), [pane(Early, 0), pane(Early, 1), pane(Early, 2)], "3, 6 and 9");
    assert_eq!(run.watermark(12), []);
    assert_eq!(run.watermark(13), [pane(Early, 3)]);
}

/// What had passed already counts as due when it was set.
#[test]
fn f2_continuous_behind_the_watermark_is_due_one_after_it() {
    let mut run = Timeline::new(Config {
        windows: vec![every(3, Windows::tumbling(20)), Windows::tumbling(1)],
        ..Config::tumbling(1)
    });
    run.watermark(10);
    run.event(1, 1, 1);
    run.event(2, 10, 1);
    run.event(2, 11, 1);
    let panes = run.step(Step::SetWatermark { p: 0, w: 12 }).panes;
    let panes: Vec<_> = panes.iter().map(|pane| (pane.definition, pane.key, pane.end)).collect();
    assert_eq!(panes, [(1, 2, 11), (0, 1, 20), (0, 1, 20), (0, 1, 20), (1, 2, 12)]);
}

#[test]
fn f3_continuous_windows_refire_for_late_events() {
    let mut run = Timeline::of(every(100, Windows { lateness: 5, ..Windows::tumbling(10) }));
    run.event(1, 1, 1);
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 0)]);
    assert_eq!(run.event(1, 2, 2), accepted(&[(1, 0, 10, 3, Late, 1)]));
    assert_eq!(run.event(2, 2, 2), accepted(&[(2, 0, 10, 2, Late, 0)]));
    assert_eq!(run.watermark(14), []);
}

#[test]
fn f5_continuous_panes_may_show_only_what_is_new() {
    let discarding = |windows| Windows { accumulation: Accumulation::Discarding, ..windows };
    let mut run = Timeline::of(discarding(every(3, Windows::tumbling(10))));
    run.events(&[0]);
    assert_eq!(run.watermark(8), [(1, 0, 10, 1, Early, 0)], "the instants go on");
    run.event(1, 8, 2);
    assert_eq!(run.watermark(9), []);
    assert_eq!(run.watermark(10), [(1, 0, 10, 2, OnTime, 1)]);
}

/// Flink's finding 12, its last sentence.
#[test]
fn a2_of_continuous_instants_the_earliest_wins() {
    let mut run = Timeline::of(every(7, Windows::session(10)));
    run.events(&[20, 3, 12]);
    // The first event's is 21, the second's 7.
    assert_eq!(run.watermark(7), []);
    let pane = |sum, timing, index| (1, 3, 30, sum, timing, index);
    assert_eq!(run.watermark(8), [pane(7, Early, 0)]);
    assert_eq!(run.watermark(29), [pane(7, Early, 1), pane(7, Early, 2), pane(7, Early, 3)]);
    assert_eq!(run.watermark(30), [pane(7, OnTime, 4)]);
}

/// Not in Flink's findings, but in its vectors: an instant that was reached at
/// the end of a session is due again once the session grows.
#[test]
fn a2_a_continuous_session_that_grows_fires_again_at_once_it_can() {
    let mut run = Timeline::of(every(100, Windows { lateness: 50, ..Windows::session(10) }));
    run.event(1, 0, 1);
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 0)]);
    assert_eq!(run.event(1, 5, 2), accepted(&[]));
    assert_eq!(run.watermark(11), [(1, 0, 15, 3, Early, 0)], "that of 9");
    assert_eq!(run.watermark(15), [(1, 0, 15, 3, OnTime, 1)]);
    assert_eq!(run.event(1, 5, 4), accepted(&[(1, 0, 15, 7, Late, 2)]), "the same window");
    assert_eq!(run.watermark(16), []);
}

/// The same where it has ended by then: as Flink's `session-00186` begins.
#[test]
fn a2_a_continuous_session_that_grows_behind_the_watermark_fires_twice() {
    let mut run = Timeline::of(every(11, Windows { lateness: 55, ..Windows::session(5) }));
    run.event(1, -39, 1);
    assert_eq!(run.watermark(-32), [(1, -39, -34, 1, OnTime, 0)]);
    run.watermark(-25);
    let pane = |index| (1, -39, -29, 3, Late, index);
    assert_eq!(run.event(1, -34, 2), accepted(&[pane(0)]));
    assert_eq!(run.watermark(-23), [pane(1), pane(2)], "the old end and the new one");
    assert_eq!(run.watermark(0), []);
    assert_eq!(run.0.counters().windows_fired, 1);
}

/// Where lengths are limited the end may come before the instant.
#[test]
fn a1_a_continuous_session_fires_at_its_end_if_that_comes_forward() {
    let kind = crate::Kind::Session { gap: 10, max_length: Some(10) };
    let mut run = Timeline::of(every(100, Windows::of(kind)));
    run.events(&[10, 5]);
    assert_eq!(run.watermark(15), [(1, 5, 15, 3, OnTime, 0)]);
    assert_eq!(run.watermark(i64::MAX), []);
}
