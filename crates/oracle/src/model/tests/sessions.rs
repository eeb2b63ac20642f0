//! Sessions: A2, and lateness after merging (L1).

use super::*;
use crate::case::{Kind, SkewPolicy};

fn at_most(gap: i64, max_length: i64) -> Windows {
    Windows::of(Kind::Session { gap, max_length: Some(max_length) })
}

/// Start, end and the times of what is in it, for each session at the end.
fn sessions(windows: Windows, events: &[(i64, Option<i64>)]) -> Vec<(i64, i64, Vec<i64>)> {
    let mut run = Timeline::of(windows);
    for &(time, gap) in events {
        assert_eq!(run.offer(1, time, 1, gap).verdict, Some(Verdict::Accepted), "{time}");
    }
    let panes = run.step(Step::Finish).panes;
    assert!(panes.iter().all(|pane| pane.timing == OnTime && pane.index == 0));
    let times = |pane: &Pane| pane.events.iter().map(|event| event.time).collect();
    panes.iter().map(|pane| (pane.start, pane.end, times(pane))).collect()
}

fn of(windows: Windows, times: &[i64]) -> Vec<(i64, i64, Vec<i64>)> {
    let events: Vec<_> = times.iter().map(|&time| (time, None)).collect();
    sessions(windows, &events)
}

/// Flink's finding 3.
#[test]
fn a2_exactly_a_gap_apart_is_one_session() {
    assert_eq!(of(Windows::session(10), &[0, 10]), [(0, 20, vec![0, 10])]);
    assert_eq!(of(Windows::session(10), &[10, 0]), [(0, 20, vec![0, 10])]);
    assert_eq!(of(Windows::session(10), &[0, 11]), [(0, 10, vec![0]), (11, 21, vec![11])]);
}

#[test]
fn a2_contents_are_combined_in_order_of_start() {
    // The event itself counts with its own time as its start, behind its equals.
    assert_eq!(of(Windows::session(10), &[20, 0, 10]), [(0, 30, vec![0, 10, 20])]);
    assert_eq!(of(Windows::session(10), &[5, 9, 7]), [(5, 19, vec![5, 9, 7])]);
    assert_eq!(of(Windows::session(10), &[5, 9, 3]), [(3, 19, vec![3, 5, 9])]);
    assert_eq!(of(Windows::session(10), &[30, 35, 10, 15, 20, 25]), [(10, 45, vec![10, 15, 20, 30, 35, 25])]);
    let mut run = Timeline::of(Windows::session(10));
    run.events(&[5, 9, 5]);
    let events = run.step(Step::Finish).panes.remove(0).events;
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a2_keys_have_sessions_of_their_own() {
    let mut run = Timeline::of(Windows::session(10));
    run.event(1, 0, 1);
    run.event(2, 5, 2);
    run.event(1, 5, 4);
    assert_eq!(run.watermark(15), [(1, 0, 15, 5, OnTime, 0), (2, 5, 15, 2, OnTime, 0)]);
}

#[test]
fn a1_an_event_may_say_its_own_gap() {
    let session = || Windows::session(10);
    assert_eq!(sessions(session(), &[(0, Some(3)), (4, None)]), [(0, 3, vec![0]), (4, 14, vec![4])]);
    assert_eq!(sessions(session(), &[(0, Some(30)), (25, Some(1))]), [(0, 30, vec![0, 25])]);
    // What reaches furthest counts, not what came last.
    assert_eq!(sessions(session(), &[(0, Some(30)), (5, Some(1)), (31, None)]).len(), 2);
    assert_eq!(sessions(session(), &[(5, Some(1)), (0, Some(30)), (30, None)]), [(0, 40, vec![0, 5, 30])]);
}

#[test]
fn a1_a_gap_below_one_is_rejected() {
    let mut run = Timeline::new(Config {
        max_future_skew: Some(FutureSkew { skew: 5, policy: SkewPolicy::Reject }),
        ..Config::of(Windows::session(10))
    });
    let mut verdict = |time, gap| run.offer(1, time, 1, gap).verdict.unwrap();
    assert_eq!(verdict(0, Some(0)), Verdict::Rejected(Reason::BadGap));
    assert_eq!(verdict(0, Some(i64::MIN)), Verdict::Rejected(Reason::BadGap));
    assert_eq!(verdict(i64::MAX, Some(0)), Verdict::Rejected(Reason::OutOfRange), "is looked at first");
    assert_eq!(verdict(0, Some(1)), Verdict::Accepted);
    assert_eq!(verdict(6, Some(0)), Verdict::Rejected(Reason::BadGap), "before the guard");
    assert_eq!(verdict(6, None), Verdict::Rejected(Reason::Skew));
    assert_eq!((run.0.counters().rejected, run.0.counters().suspect), (5, 1));
    // Where there are no sessions, a gap means nothing.
    let mut run = Timeline::of(Windows::tumbling(10));
    assert_eq!(run.offer(1, 0, 1, Some(0)).verdict, Some(Verdict::Accepted));
}

#[test]
fn t2_a_gap_must_fit() {
    for windows in [Windows::session(10), at_most(10, 1)] {
        let mut run = Timeline::of(windows);
        let mut verdict = |time, gap| run.offer(1, time, 1, gap).verdict.unwrap();
        assert_eq!(verdict(i64::MAX - 9, None), Verdict::Rejected(Reason::OutOfRange));
        assert_eq!(verdict(i64::MAX - 10, None), Verdict::Accepted);
        assert_eq!(verdict(i64::MAX - 9, Some(9)), Verdict::Accepted);
        assert_eq!(verdict(1, Some(i64::MAX)), Verdict::Rejected(Reason::OutOfRange));
        assert_eq!(verdict(i64::MIN, None), Verdict::Accepted);
        assert_eq!(verdict(i64::MAX, Some(1)), Verdict::Rejected(Reason::OutOfRange));
    }
}

/// Flink's finding 4.
#[test]
fn l1_an_event_is_not_late_if_its_session_is_open() {
    let mut run = Timeline::of(Windows::session(10));
    run.events(&[0, 8]);
    run.watermark(13);
    assert_eq!(run.event(1, 2, 4), accepted(&[]), "alone it would be [2, 12)");
    assert_eq!(run.event(1, -5, 8), accepted(&[]), "extends it backwards");
    assert_eq!(run.event(2, 2, 1), late(13, 11, &[(2, 12)]));
    assert_eq!(run.watermark(18), [(1, -5, 18, 15, OnTime, 0)]);
    assert_eq!(run.event(1, 8, 1), late(18, 10, &[(8, 18)]));
}

#[test]
fn l1_closed_sessions_never_merge() {
    let windows = Windows { late_firing: LateFiring::OncePerDrain, ..Windows::session(10) };
    let mut run = Timeline::of(windows);
    run.event(1, 0, 1);
    run.watermark(10);
    assert_eq!(run.event(1, 10, 2), accepted(&[]), "touches what was fired, but not drained");
    run.watermark(20);
    assert_eq!(fired(&run.0.drain()), [(1, 0, 10, 1, OnTime, 0), (1, 10, 20, 2, OnTime, 0)]);
    // Marked, then closed, then drained.
    let windows = Windows { lateness: 5, late_firing: LateFiring::OncePerDrain, ..Windows::session(10) };
    let mut run = Timeline::of(windows);
    run.event(1, 0, 1);
    run.watermark(10);
    run.event(1, 0, 2);
    run.watermark(15);
    assert_eq!(run.event(1, 10, 4), accepted(&[]));
    assert_eq!(run.0.live_windows(), 2);
    assert_eq!(fired(&run.0.drain()), [(1, 0, 10, 1, OnTime, 0), (1, 0, 10, 3, Late, 1)]);
    assert_eq!(run.0.live_windows(), 1);
}

/// Flink's finding 5.
#[test]
fn a2_a_fired_session_that_grows_fires_at_its_new_end() {
    let mut run = Timeline::of(Windows { lateness: 20, ..Windows::session(10) });
    run.event(1, 0, 1);
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 0)]);
    assert_eq!(run.event(1, 5, 2), accepted(&[]));
    assert_eq!(run.watermark(14), []);
    assert_eq!(run.watermark(15), [(1, 0, 15, 3, OnTime, 0)], "another window: counted from 0");
    assert_eq!(run.event(1, 3, 4), accepted(&[(1, 0, 15, 7, Late, 1)]), "the same window");
    assert_eq!(run.event(1, -5, 8), accepted(&[(1, -5, 15, 15, Late, 0)]), "ended already");
    assert_eq!(run.event(1, 4, 16), accepted(&[(1, -5, 15, 31, Late, 1)]));
    assert_eq!(run.watermark(35), []);
    assert_eq!(run.0.counters().windows_fired, 2);
}

#[test]
fn a2_a_marked_session_that_grows_owes_nothing() {
    let windows = Windows { lateness: 20, late_firing: LateFiring::OncePerDrain, ..Windows::session(10) };
    let mut run = Timeline::of(windows);
    run.event(1, 0, 1);
    run.watermark(10);
    run.event(1, 0, 2);
    run.event(1, 5, 4);
    assert_eq!(fired(&run.0.drain()), [(1, 0, 10, 1, OnTime, 0)]);
    run.watermark(15);
    assert_eq!(fired(&run.0.drain()), [(1, 0, 15, 7, OnTime, 0)]);
}

#[test]
fn a1_sessions_are_no_longer_than_they_may_be() {
    assert_eq!(of(at_most(10, 10), &[0, 5, 9]), [(0, 10, vec![0, 5, 9])]);
    assert_eq!(of(at_most(10, 10), &[0, 5, 10]), [(0, 10, vec![0, 5]), (10, 20, vec![10])]);
    assert_eq!(of(at_most(10, 4), &[0, 4, 3]), [(0, 4, vec![0, 3]), (4, 8, vec![4])]);
    // One that is between two joins the earlier.
    assert_eq!(of(at_most(10, 15), &[0, 18, 9]), [(0, 15, vec![0, 9]), (18, 28, vec![18])]);
}

/// What comes before a session may bring its end forward, even behind the watermark.
#[test]
fn a1_an_earlier_start_is_an_earlier_end() {
    let mut run = Timeline::of(at_most(10, 10));
    run.events(&[10, 11]);
    run.watermark(14);
    assert_eq!(run.event(1, 5, 4), accepted(&[]));
    assert_eq!(run.watermark(15), [(1, 5, 15, 7, OnTime, 0)]);

    let mut run = Timeline::of(at_most(10, 10));
    run.events(&[10, 11]);
    run.watermark(16);
    assert_eq!(run.event(1, 5, 4), late(16, 11, &[(5, 15)]), "it would have closed");
    assert_eq!(run.watermark(20), [(1, 10, 20, 3, OnTime, 0)], "nothing has changed");

    let mut run = Timeline::of(at_most(6, 10));
    run.events(&[10, 11]);
    run.watermark(16);
    assert_eq!(run.event(1, 5, 4), late(16, 11, &[(5, 11)]), "what it missed is its own, not [5, 15)");

    let mut run = Timeline::of(Windows { lateness: 5, ..at_most(10, 10) });
    run.events(&[10, 11]);
    run.watermark(16);
    assert_eq!(run.event(1, 5, 4), accepted(&[(1, 5, 15, 7, Late, 0)]));
    assert_eq!(run.watermark(20), []);
    assert_eq!(run.0.live_windows(), 0);
}

#[test]
fn f7_a_late_session_holds_the_output_watermark() {
    let mut run = Timeline::of(Windows { lateness: 7, ..Windows::session(10) });
    let outcome = run.step(Step::SetWatermark { p: 0, w: 30 });
    assert_eq!(outcome.output_watermark, 23);
    assert_eq!(run.event(1, 13, 1), late(30, 17, &[(13, 23)]));
    assert_eq!(run.event(1, 14, 1), accepted(&[(1, 14, 24, 1, Late, 0)]));
}
