//! Early panes and counts: F4, and the order in which what is due fires (F2).

use super::*;
use crate::case::{Accumulation, Base, Trigger};

fn early_events(n: i64) -> Trigger {
    Trigger { early_events: Some(n), ..Trigger::default() }
}

fn early_time(d: i64) -> Trigger {
    Trigger { early_time: Some(d), ..Trigger::default() }
}

fn early_ticks(d: i64) -> Trigger {
    Trigger { early_ticks: Some(d), ..Trigger::default() }
}

fn count(n: i64) -> Trigger {
    Trigger::on(Base::Count { n })
}

#[test]
fn f4_early_after_every_few_events() {
    let mut run = Timeline::of(Windows { trigger: early_events(2), lateness: 5, ..Windows::tumbling(10) });
    assert_eq!(run.event(1, 1, 1), accepted(&[]));
    assert_eq!(run.event(2, 1, 16), accepted(&[]), "another key");
    assert_eq!(run.event(1, 2, 2), accepted(&[(1, 0, 10, 3, Early, 0)]));
    assert_eq!(run.event(1, 3, 4), accepted(&[]));
    assert_eq!(run.watermark(10), [(1, 0, 10, 7, OnTime, 1), (2, 0, 10, 16, OnTime, 0)]);
    assert_eq!(run.event(1, 4, 8), accepted(&[(1, 0, 10, 15, Late, 2)]), "late, each of them");
}

/// Nothing new since the early pane, and yet there is one on time (F3).
#[test]
fn f3_exactly_one_pane_on_time_after_early_ones() {
    let mut run = Timeline::of(Windows { trigger: early_events(1), ..Windows::tumbling(10) });
    assert_eq!(run.event(1, 1, 1), accepted(&[(1, 0, 10, 1, Early, 0)]));
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 1)]);
    assert_eq!(run.0.counters().windows_fired, 1);
    assert_eq!(run.0.counters().panes_fired, 2);
}

#[test]
fn f4_early_when_the_watermark_has_come_so_far() {
    let mut run = Timeline::of(Windows { trigger: early_time(30), ..Windows::tumbling(100) });
    run.event(1, 110, 1);
    assert_eq!(run.watermark(129), []);
    assert_eq!(run.watermark(130), [(1, 100, 200, 1, Early, 0)], "counted from the window's start");
    assert_eq!(run.watermark(159), []);
    assert_eq!(run.watermark(161), [], "no event has set it again");
    run.event(1, 110, 2);
    assert_eq!(run.watermark(189), []);
    let both = [(1, 100, 200, 3, Early, 1), (1, 100, 200, 3, OnTime, 2)];
    assert_eq!(run.watermark(1000), both, "the timer and the end, passed at once");
}

#[test]
fn f4_early_time_is_after_the_watermark_and_before_the_end() {
    let mut run = Timeline::of(Windows { trigger: early_time(30), ..Windows::tumbling(60) });
    run.watermark(30);
    run.event(1, 40, 1);
    assert_eq!(run.watermark(60), [(1, 0, 60, 1, OnTime, 0)], "the next would be the end");
    run.watermark(89);
    run.event(1, 80, 1);
    assert_eq!(run.watermark(90), [(1, 60, 120, 1, Early, 0)]);
}

#[test]
fn f4_early_time_of_the_global_window_is_counted_from_zero() {
    let mut run = Timeline::of(Windows { trigger: early_time(10), ..Windows::global() });
    run.event(1, 30, 1);
    run.event(1, 5, 1);
    run.event(2, -1, 2);
    let global = |key, sum, index| (key, i64::MIN, i64::MAX, sum, Early, index);
    assert_eq!(run.watermark(0), [global(2, 2, 0)], "after the event while nothing is known");
    assert_eq!(run.watermark(39), [], "the second event has not set it again");
    assert_eq!(run.watermark(40), [global(1, 2, 0)]);
    run.event(1, 5, 4);
    run.event(3, 70, 8);
    assert_eq!(run.watermark(49), [], "after the watermark then");
    assert_eq!(run.watermark(50), [global(1, 6, 1), global(3, 8, 0)]);
}

#[test]
fn f4_early_time_shows_something_new_only() {
    let trigger = Trigger { early_events: Some(2), ..early_time(30) };
    let mut run = Timeline::of(Windows { trigger, ..Windows::tumbling(100) });
    run.event(1, 10, 1);
    assert_eq!(run.event(1, 11, 2), accepted(&[(1, 0, 100, 3, Early, 0)]));
    assert_eq!(run.watermark(30), []);
    run.event(1, 40, 4);
    assert_eq!(run.watermark(60), [(1, 0, 100, 7, Early, 1)]);
}

#[test]
fn f4_early_when_the_ticks_have_come_so_far() {
    let mut run = Timeline::of(Windows { trigger: early_ticks(10), ..Windows::tumbling(100) });
    run.event(1, 1, 1);
    assert_eq!(run.tick(5), [], "the first tick sets it");
    run.event(1, 2, 2);
    assert_eq!(run.tick(14), []);
    assert_eq!(run.tick(15), [(1, 0, 100, 3, Early, 0)]);
    assert_eq!(run.tick(25), [], "no event has set it again");
    assert_eq!(run.tick(20), [], "going back is going nowhere");
    run.event(1, 3, 4);
    run.event(2, 3, 8);
    assert_eq!(run.tick(34), []);
    assert_eq!(run.tick(35), [(1, 0, 100, 7, Early, 1), (2, 0, 100, 8, Early, 0)]);
}

#[test]
fn f4_ticks_are_nothing_to_a_window_that_has_ended() {
    let mut run = Timeline::of(Windows { trigger: early_ticks(10), lateness: 100, ..Windows::session(10) });
    run.tick(0);
    run.event(1, 0, 1);
    assert_eq!(run.watermark(10), [(1, 0, 10, 1, OnTime, 0)]);
    run.event(1, 5, 2);
    assert_eq!(run.watermark(15), [(1, 0, 15, 3, OnTime, 0)]);
    assert_eq!(run.tick(10), [], "its timer, of the first event, is only cleared");
    run.event(1, 10, 4);
    assert_eq!(run.tick(19), []);
    assert_eq!(run.tick(20), [(1, 0, 20, 7, Early, 0)], "so this event has set it anew");

    let once = Windows { late_firing: LateFiring::OncePerDrain, lateness: 100, ..Windows::tumbling(10) };
    let mut run = Timeline::of(Windows { trigger: early_ticks(10), ..once });
    run.tick(0);
    run.event(1, 0, 1);
    run.watermark(10);
    run.event(1, 0, 2);
    run.tick(10);
    assert_eq!(fired(&run.0.drain()), [(1, 0, 10, 1, OnTime, 0), (1, 0, 10, 3, Late, 1)]);
}

#[test]
fn f4_what_a_tick_makes_due_by_idleness_comes_first() {
    let mut run = Timeline::new(Config {
        idle_timeout: Some(4),
        ..Config::of(Windows { trigger: early_ticks(10), ..Windows::tumbling(100) })
    });
    run.step(Step::Add);
    run.tick(0);
    run.event(1, 1, 1);
    run.event(1, 101, 2);
    run.watermark(100);
    run.step(Step::SetWatermark { p: 1, w: 50 });
    assert_eq!(run.tick(1), []);
    assert_eq!(run.tick(2), []);
    run.event(1, 102, 4);
    // The second partition was last heard of before tick 1, and is quiet since 2.
    let both = [(1, 0, 100, 1, OnTime, 0), (1, 100, 200, 6, Early, 0)];
    assert_eq!(run.tick(10), both, "the first has ended by now, and shows nothing early");
}

/// Flink's finding 9.
#[test]
fn f4_counts_replace_the_end() {
    let mut run = Timeline::of(Windows { trigger: count(2), lateness: 5, ..Windows::tumbling(10) });
    assert_eq!(run.event(1, 1, 1), accepted(&[]));
    assert_eq!(run.event(1, 2, 2), accepted(&[(1, 0, 10, 3, Early, 0)]));
    assert_eq!(run.event(1, 3, 4), accepted(&[]));
    assert_eq!(run.watermark(10), [], "nothing on time");
    assert_eq!(run.event(1, 4, 8), accepted(&[(1, 0, 10, 15, Late, 1)]), "all there is, each time");
    assert_eq!(run.event(1, 5, 16), accepted(&[]), "nothing at once");
    assert_eq!(run.watermark(i64::MAX), [], "the remainder is gone");
    let counters = run.0.counters();
    assert_eq!((counters.late, counters.windows_fired, counters.panes_fired), (0, 0, 2));
}

/// Flink's finding 9, where panes are purged.
#[test]
fn f5_counts_may_discard() {
    let accumulation = Accumulation::Discarding;
    let mut run = Timeline::of(Windows { trigger: count(2), accumulation, ..Windows::global() });
    let global = |sum, index| (1, i64::MIN, i64::MAX, sum, Early, index);
    run.event(1, 1, 1);
    assert_eq!(run.event(1, 2, 2), accepted(&[global(3, 0)]));
    run.event(1, 3, 4);
    assert_eq!(run.event(1, 4, 8), accepted(&[global(12, 1)]));
}

/// Flink's finding 9: two of two and the event that bridges them.
#[test]
fn a2_counts_are_added_and_may_overshoot() {
    let mut run = Timeline::of(Windows { trigger: count(4), ..Windows::session(10) });
    run.events(&[0, 1, 20, 21]);
    assert_eq!(run.event(1, 10, 16), accepted(&[(1, 0, 31, 31, Early, 0)]));
    for (time, value) in [(11, 32), (12, 64), (13, 128)] {
        assert_eq!(run.event(1, time, value), accepted(&[]), "counted from 0");
    }
    assert_eq!(run.event(1, 14, 256), accepted(&[(1, 0, 31, 511, Early, 1)]));
}

#[test]
fn a2_of_timers_the_earliest_stays() {
    let mut run = Timeline::of(Windows { trigger: early_time(20), ..Windows::session(30) });
    run.watermark(0);
    run.events(&[45]);
    // Its own timer is at 31, the other's at 65.
    run.event(1, 11, 2);
    run.event(1, 40, 4);
    assert_eq!(run.watermark(30), []);
    assert_eq!(run.watermark(31), [(1, 11, 75, 7, Early, 0)]);
    assert_eq!(run.watermark(74), [], "the other is gone");

    let mut run = Timeline::of(Windows { trigger: early_ticks(10), ..Windows::session(30) });
    run.tick(0);
    run.events(&[45]);
    run.tick(5);
    run.event(1, 11, 2);
    run.event(1, 40, 4);
    assert_eq!(run.tick(10), [(1, 11, 75, 7, Early, 0)]);
    assert_eq!(run.tick(15), []);
}

#[test]
fn a2_events_since_the_last_early_pane_are_added() {
    let mut run = Timeline::of(Windows { trigger: early_events(4), ..Windows::session(10) });
    run.events(&[0, 1, 20]);
    assert_eq!(run.event(1, 10, 8), accepted(&[(1, 0, 30, 15, Early, 0)]));
}

#[test]
fn a1_a_timer_goes_if_the_end_comes_before_it() {
    let kind = crate::Kind::Session { gap: 30, max_length: Some(30) };
    let mut run = Timeline::of(Windows { trigger: early_time(25), lateness: 100, ..Windows::of(kind) });
    run.event(1, 20, 1);
    run.event(1, 0, 2);
    // The first event's is at 45, which is behind the end now.
    assert_eq!(run.watermark(29), [(1, 0, 30, 3, Early, 0)], "the second event's, at 25");
    assert_eq!(run.watermark(60), [(1, 0, 30, 3, OnTime, 1)]);
}

#[test]
fn f2_what_is_due_fires_by_when_it_was() {
    let early = Windows { trigger: early_time(25), ..Windows::tumbling(100) };
    let config =
        Config { windows: vec![early, Windows::tumbling(20), Windows::tumbling(5)], ..Config::tumbling(1) };
    let mut run = Timeline::new(config);
    run.event(1, 1, 1);
    run.event(2, 21, 2);
    run.event(1, 24, 4);
    let all = run.step(Step::SetWatermark { p: 0, w: 100 }).panes;
    let all: Vec<_> = all.iter().map(|p| (p.definition, p.key, p.start, p.end, p.sum(), p.timing)).collect();
    let expected = [
        (2, 1, 0, 5, 1, OnTime),
        (1, 1, 0, 20, 1, OnTime),
        // All at 25.
        (2, 1, 20, 25, 4, OnTime),
        (2, 2, 20, 25, 2, OnTime),
        (0, 1, 0, 100, 5, Early),
        (0, 2, 0, 100, 2, Early),
        (1, 1, 20, 40, 4, OnTime),
        (1, 2, 20, 40, 2, OnTime),
        (0, 1, 0, 100, 5, OnTime),
        (0, 2, 0, 100, 2, OnTime),
    ];
    assert_eq!(all, expected);
}
