//! Panes that show that a key had nothing in a window.

use super::*;
use crate::case::{Accumulation, Kind, Trigger};

fn filled(horizon: i64, windows: Windows) -> Windows {
    Windows { fill: Some(horizon), ..windows }
}

fn of(windows: &[Windows]) -> Timeline {
    Timeline::new(Config { windows: windows.to_vec(), ..Config::tumbling(1) })
}

/// Start and end of each window that a single event, at 1, fills until 100.
fn after_one(windows: Windows) -> Vec<(i64, i64)> {
    let mut run = Timeline::of(windows);
    run.event(1, 1, 1);
    let empty = run.watermark(100).into_iter().filter(|&(_, _, _, sum, ..)| sum == 0);
    empty.map(|(_, start, end, ..)| (start, end)).collect()
}

#[test]
fn f1_windows_are_filled_where_a_key_was_seen_not_long_ago() {
    let mut run = Timeline::of(filled(20, Windows::tumbling(10)));
    run.event(1, 1, 1);
    let panes = run.step(Step::SetWatermark { p: 0, w: 100 }).panes;
    let all = [(1, 0, 10, 1, OnTime, 0), (1, 10, 20, 0, OnTime, 0), (1, 20, 30, 0, OnTime, 0)];
    assert_eq!(fired(&panes), all, "20 after the end of the first, but not 30");
    assert!(panes[1].events.is_empty() && panes[1].retracts.is_empty());
    let counters = run.0.counters();
    assert_eq!((counters.windows_fired, counters.panes_fired), (3, 3));
    assert_eq!(run.0.live_windows(), 0, "nothing is held for it");
}

#[test]
fn f1_windows_before_a_key_was_seen_are_not_filled() {
    let mut run = Timeline::of(filled(20, Windows::tumbling(10)));
    run.event(1, 1, 1);
    run.event(2, 21, 2);
    let both = [(1, 20, 30, 0, OnTime, 0), (2, 20, 30, 2, OnTime, 0)];
    assert_eq!(
        run.watermark(30),
        [&[(1, 0, 10, 1, OnTime, 0), (1, 10, 20, 0, OnTime, 0)][..], &both].concat()
    );
}

#[test]
fn f1_the_horizon_is_counted_from_end_to_end() {
    assert_eq!(after_one(filled(0, Windows::tumbling(10))), []);
    assert_eq!(after_one(filled(9, Windows::tumbling(10))), []);
    assert_eq!(after_one(filled(10, Windows::tumbling(10))), [(10, 20)]);
    // Seen in [-5, 5) and [0, 10), which it is in.
    assert_eq!(after_one(filled(4, Windows::sliding(10, 5))), []);
    assert_eq!(after_one(filled(10, Windows::sliding(10, 5))), [(5, 15), (10, 20)]);
    assert_eq!(after_one(filled(10, Windows::sliding(4, 10))), [(10, 14)]);
    // Seen in all three of its cycle.
    assert_eq!(after_one(filled(20, Windows::cumulative(10, 30))), [(30, 40), (30, 50)]);
    let edges = Windows::edges(&[0, 4, 7, 20, 21, 90, 200]);
    assert_eq!(after_one(filled(16, edges.clone())), [(4, 7), (7, 20)]);
    assert_eq!(after_one(filled(i64::MAX, edges)), [(4, 7), (7, 20), (20, 21), (21, 90)], "saturates");
}

#[test]
fn f2_filled_windows_take_their_place_in_the_order() {
    let mut run = of(&[filled(10, Windows::tumbling(10)), filled(10, Windows::sliding(10, 5))]);
    run.event(2, 3, 1);
    run.event(1, 7, 2);
    run.event(3, 12, 4);
    let all = run.step(Step::SetWatermark { p: 0, w: 20 }).panes;
    let all: Vec<_> = all.iter().map(|p| (p.end, p.start, p.definition, p.key, p.sum())).collect();
    let expected = [
        (5, -5, 1, 2, 1),
        (10, 0, 0, 1, 2),
        (10, 0, 0, 2, 1),
        (10, 0, 1, 1, 2),
        (10, 0, 1, 2, 1),
        (15, 5, 1, 1, 2),
        (15, 5, 1, 2, 0),
        (15, 5, 1, 3, 4),
        (20, 10, 0, 1, 0),
        (20, 10, 0, 2, 0),
        (20, 10, 0, 3, 4),
        (20, 10, 1, 1, 0),
        (20, 10, 1, 2, 0),
        (20, 10, 1, 3, 4),
    ];
    assert_eq!(all, expected);
}

#[test]
fn f1_a_key_is_seen_where_the_window_itself_had_closed() {
    let with_other = |other: Windows| {
        let mut run = of(&[filled(10, Windows::tumbling(10)), other]);
        run.watermark(15);
        let missed = vec![(0, 10)];
        assert_eq!(run.event(1, 5, 1), (Verdict::PartlyLate { missed }, vec![]));
        run.watermark(20)
    };
    let empty = [(1, 10, 20, 0, OnTime, 0)];
    assert_eq!(with_other(Windows::tumbling(100)), empty);
    assert_eq!(with_other(filled(0, Windows::tumbling(100))), empty);
    assert_eq!(with_other(Windows::edges(&[0, 30])), empty);
    // Let in, but not by windows that are there anyway, fire on time and accumulate.
    let early = Trigger { early_events: Some(9), ..Trigger::default() };
    let wide = Windows::tumbling(100);
    assert_eq!(with_other(Windows::session(100)), []);
    assert_eq!(with_other(Windows::global()), []);
    assert_eq!(with_other(Windows { trigger: early, ..wide.clone() }), []);
    assert_eq!(with_other(Windows { accumulation: Accumulation::Discarding, ..wide.clone() }), []);
    assert_eq!(with_other(Windows { accumulation: Accumulation::Retracting, ..wide }), []);
}

#[test]
fn f1_an_event_that_is_let_in_nowhere_is_not_seen() {
    let mut run = Timeline::of(filled(10, Windows::tumbling(10)));
    run.watermark(15);
    assert_eq!(run.event(1, 5, 1), late(15, 10, &[(0, 10)]));
    assert_eq!(run.watermark(20), []);
}

#[test]
fn f1_what_comes_late_fills_no_window_that_has_fired() {
    let mut run = Timeline::of(Windows { lateness: 100, ..filled(30, Windows::tumbling(10)) });
    run.watermark(30);
    assert_eq!(run.event(1, 5, 1), accepted(&[(1, 0, 10, 1, Late, 0)]));
    assert_eq!(run.watermark(39), [], "neither [10, 20) nor [20, 30)");
    assert_eq!(run.watermark(100), [(1, 30, 40, 0, OnTime, 0)]);
}

#[test]
fn f3_a_late_pane_counts_the_empty_one() {
    let windows = Windows { lateness: 100, ..filled(10, Windows::tumbling(10)) };
    let mut run = Timeline::of(windows.clone());
    run.event(1, 5, 1);
    assert_eq!(run.watermark(20), [(1, 0, 10, 1, OnTime, 0), (1, 10, 20, 0, OnTime, 0)]);
    assert_eq!(run.event(1, 15, 2), accepted(&[(1, 10, 20, 2, Late, 1)]));
    assert_eq!(run.event(1, 15, 4), accepted(&[(1, 10, 20, 6, Late, 2)]));
    assert_eq!(run.event(2, 15, 8), accepted(&[(2, 10, 20, 8, Late, 0)]), "was not filled");

    let mut run = Timeline::of(Windows { late_firing: LateFiring::OncePerDrain, ..windows });
    run.event(1, 5, 1);
    run.watermark(20);
    run.event(1, 15, 2);
    let empty_and_late = [(1, 10, 20, 0, OnTime, 0), (1, 10, 20, 2, Late, 1)];
    assert_eq!(fired(&run.0.drain())[1..], empty_and_late);
}

#[test]
fn f1_the_end_of_input_fills_nothing_after_the_last_event() {
    let run_to = |w: i64, times: [i64; 2]| {
        let mut run = Timeline::of(filled(100, Windows::tumbling(10)));
        for (key, time) in (0..).zip(times) {
            run.event(key, time, 1 << key);
        }
        let empty = run.watermark(w).into_iter().filter(|&(_, _, _, sum, ..)| sum == 0);
        empty.map(|(key, start, ..)| (key, start)).collect::<Vec<_>>()
    };
    assert_eq!(run_to(i64::MAX, [1, 29]), [(0, 10), (0, 20)]);
    assert_eq!(run_to(i64::MAX, [1, 30]), [(0, 10), (0, 20), (0, 30)], "begins with the last event");
    assert_eq!(run_to(i64::MAX, [30, 1]), [(1, 10), (1, 20), (1, 30)], "the latest, not the newest");
    assert_eq!(run_to(i64::MAX - 1, [1, 5]).len(), 20, "any other watermark does");
}

/// The last event may be one that another definition let in.
#[test]
fn f1_the_last_event_is_that_of_any_plain_definition() {
    let last = |other: Windows| {
        let mut run = of(&[filled(100, Windows::edges(&[0, 10, 20, 30])), other]);
        run.event(1, 1, 1);
        run.event(2, 45, 2);
        let panes = run.step(Step::Finish).panes;
        panes.iter().filter(|pane| pane.events.is_empty()).count()
    };
    assert_eq!(last(Windows::tumbling(10)), 2);
    assert_eq!(last(Windows::session(10)), 0);
}

#[test]
fn f1_fill_goes_with_plain_windows_only() {
    let legal = |windows: Windows| filled(0, windows).check().is_ok();
    assert!(legal(Windows::tumbling(1)) && legal(Windows::cumulative(1, 2)));
    assert!(legal(Windows { lateness: 5, ..Windows::edges(&[0, 1]) }));
    assert!(!legal(Windows::global()) && !legal(Windows::session(1)));
    assert!(!legal(Windows::of(Kind::Session { gap: 1, max_length: Some(2) })));
    let early = Trigger { early_ticks: Some(1), ..Trigger::default() };
    assert!(!legal(Windows { trigger: early, ..Windows::tumbling(1) }));
    for accumulation in [Accumulation::Discarding, Accumulation::Retracting] {
        assert!(!legal(Windows { accumulation, ..Windows::tumbling(1) }));
    }
    let negative = filled(-1, Windows::tumbling(1)).check().unwrap_err();
    assert_eq!(negative, "fill is -1, the minimum is 0");
}
