//! Windows that close because nobody is heard of any more.

use super::*;
use crate::case::{Base, Resume, Trigger};

fn closing(after: i64, windows: &[Windows]) -> Config {
    Config { windows: windows.to_vec(), close_after_quiet: Some(after), ..Config::tumbling(1) }
}

fn of(after: i64, windows: &[Windows]) -> Timeline {
    Timeline::new(closing(after, windows))
}

/// The watermark after each tick.
fn ticks(run: &mut Timeline, times: &[i64]) -> Vec<i64> {
    times.iter().map(|&now| run.step(Step::Tick { now }).watermark).collect()
}

/// The watermark after a long silence, the how manyth.
fn after_silence(run: &mut Timeline, number: i64) -> i64 {
    ticks(run, &[1000 * number, 1000 * number + 1, 1000 * number + 900])[2]
}

const MIN: i64 = i64::MIN;

#[test]
fn w4_what_is_open_closes_after_three_checks_and_more_than_the_quiet() {
    let mut run = of(5, &[Windows::tumbling(10)]);
    run.event(1, 1, 1);
    run.event(2, 21, 2);
    assert_eq!(run.tick(100), [], "the first check after an event clears");
    assert_eq!(run.tick(90), [], "the second starts the clock, which doesn't go back");
    assert_eq!(run.tick(105), [], "not more than 5 yet");
    assert_eq!(run.tick(106), [(1, 0, 10, 1, OnTime, 0), (2, 20, 30, 2, OnTime, 0)]);
    assert_eq!(run.0.output_watermark(), 30);
    assert_eq!(ticks(&mut run, &[200, 300]), [30, 30], "nothing is open");
}

#[test]
fn w4_the_clock_starts_without_anything_heard() {
    let mut run = of(0, &[Windows::tumbling(10)]);
    assert_eq!(ticks(&mut run, &[1, 2, 3]), [MIN; 3], "nothing is open");
    run.event(1, 1, 1);
    assert_eq!(ticks(&mut run, &[4, 5, 5, 6]), [MIN, MIN, MIN, 10], "more than 0");
    assert_eq!(ticks(&mut of(0, &[Windows::tumbling(10)]), &[i64::MIN, i64::MAX]), [MIN; 2]);
}

#[test]
fn w4_events_and_reports_are_heard_and_nothing_else() {
    // Whether the watermark stays where it is for a step between the ticks.
    let is_heard = |step: Step| {
        let max_future_skew = Some(FutureSkew { skew: 1000, policy: SkewPolicy::Admit });
        let mut run = Timeline::new(Config { max_future_skew, ..closing(5, &[Windows::tumbling(10)]) });
        run.step(Step::Add);
        run.step(Step::SetWatermark { p: 0, w: 0 });
        run.step(Step::SetWatermark { p: 1, w: 0 });
        run.event(1, 1, 1);
        ticks(&mut run, &[100, 101]);
        let before = run.step(step).watermark;
        ticks(&mut run, &[107]) == [before]
    };
    let event = |p, time| Step::Event { p, time, key: 1, value: 1, gap: None };
    assert!(is_heard(event(0, 5)) && is_heard(event(1, 5)));
    assert!(is_heard(event(0, -5)), "late");
    assert!(is_heard(Step::SetWatermark { p: 1, w: 7 }) && is_heard(Step::SetWatermark { p: 1, w: -7 }));
    assert!(!is_heard(event(0, 5000)), "suspect");
    assert!(!is_heard(event(7, 5)) && !is_heard(event(0, i64::MAX)), "rejected");
    assert!(!is_heard(Step::SetWatermark { p: 7, w: 7 }));
    assert!(!is_heard(Step::Add) && !is_heard(Step::Remove { p: 1 }) && !is_heard(Step::End { p: 1 }));
    assert!(!is_heard(Step::Idle { p: 1 }) && !is_heard(Step::Active { p: 1 }));
}

#[test]
fn w4_events_are_heard_with_a_generator_too() {
    let mut run = Timeline::new(Config {
        generator: Generator::Bounded { bound: 100 },
        ..closing(5, &[Windows::tumbling(10)])
    });
    run.event(1, 1, 1);
    ticks(&mut run, &[100, 101]);
    run.event(1, 0, 1);
    assert_eq!(ticks(&mut run, &[107, 108, 114]), [-99, -99, 10]);
}

#[test]
fn w4_what_is_heard_starts_the_quiet_anew() {
    let mut run = of(5, &[Windows::tumbling(10)]);
    run.event(1, 1, 1);
    ticks(&mut run, &[100, 101]);
    run.event(1, 2, 1);
    assert_eq!(ticks(&mut run, &[107, 110, 115, 116]), [MIN, MIN, MIN, 10]);
    // After that it goes on being quiet: what is open is closed by the next tick.
    let max_future_skew = Some(FutureSkew { skew: 1000, policy: SkewPolicy::Admit });
    let mut run = Timeline::new(Config { max_future_skew, ..closing(5, &[Windows::tumbling(10)]) });
    run.event(1, 1, 1);
    assert_eq!(after_silence(&mut run, 1), 10);
    assert_eq!(run.event(1, 50_000, 1), accepted(&[]));
    assert_eq!(ticks(&mut run, &[1900]), [10], "what only a suspect event has opened stays open");
}

#[test]
fn w4_the_latest_end_of_what_is_open_and_holds_something() {
    let mut run = of(5, &[Windows::sliding(10, 5), Windows::cumulative(10, 40), Windows::global()]);
    assert_eq!(after_silence(&mut run, 1), MIN);
    run.event(1, 1, 1);
    assert_eq!(after_silence(&mut run, 2), 40);
    assert_eq!(run.0.live_windows(), 1, "the global one");

    let mut run = of(5, &[Windows::session(10), Windows::edges(&[0, 20])]);
    run.event(1, 3, 1);
    assert_eq!(after_silence(&mut run, 1), 20);
    run.event(1, 17, 1);
    run.offer(1, 18, 1, Some(50));
    assert_eq!(after_silence(&mut run, 2), 68, "sessions as they are now");

    let counts = Windows { trigger: Trigger::on(Base::Count { n: 9 }), ..Windows::tumbling(100) };
    let mut run = of(5, &[Windows::tumbling(10), counts]);
    run.event(1, 1, 1);
    assert_eq!(after_silence(&mut run, 1), 100, "whenever they fire");
}

#[test]
fn w3_closing_never_takes_the_watermark_back() {
    let mut run = of(5, &[Windows { lateness: 100, ..Windows::tumbling(10) }]);
    run.event(1, 1, 1);
    run.watermark(50);
    run.step(Step::Remove { p: 0 });
    assert_eq!(after_silence(&mut run, 1), 50, "[0, 10) is open still, and fired");
}

#[test]
fn w4_what_has_closed_counts_no_more_even_if_a_pane_is_owed() {
    let once = LateFiring::OncePerDrain;
    let mut model = Model::new(closing(
        5,
        &[
            Windows { lateness: 100, late_firing: once, ..Windows::tumbling(200) },
            Windows { lateness: i64::MAX, ..Windows::tumbling(10) },
        ],
    ));
    let event = |time| Step::Event { p: 0, time, key: 1, value: 1, gap: None };
    for step in [Step::Add, event(1), Step::SetWatermark { p: 0, w: 250 }, event(2)] {
        model.step_unobserved(&step);
        model.observe();
    }
    model.step_unobserved(&Step::SetWatermark { p: 0, w: 300 });
    model.observe();
    assert_eq!(model.live_windows(), 2, "one is closed but owes a pane");
    assert_eq!(model.windows.last_open_end(i64::MAX), Some(10));
}

#[test]
fn t2_what_ends_with_time_stays_open() {
    let mut run = of(5, &[Windows::edges(&[0, i64::MAX])]);
    run.event(1, 1, 1);
    assert_eq!(after_silence(&mut run, 1), i64::MAX - 1);
    assert_eq!(run.event(1, 2, 1).0, Verdict::Accepted);
}

#[test]
fn w4_partitions_behind_what_was_closed_are_behind() {
    for (resume, then) in [(Resume::Exclude, 25), (Resume::Hold, 20)] {
        let mut run = Timeline::new(Config { resume, ..closing(5, &[Windows::tumbling(10)]) });
        run.step(Step::Add);
        run.step(Step::SetWatermark { p: 0, w: 3 });
        run.step(Step::SetWatermark { p: 1, w: 2 });
        run.event(1, 12, 1);
        assert_eq!(after_silence(&mut run, 1), 20, "both are behind it now");
        assert_eq!(run.event(1, 12, 1), late(20, 8, &[(10, 20)]));
        assert_eq!(run.step(Step::SetWatermark { p: 1, w: 15 }).watermark, 20);
        assert_eq!(run.step(Step::SetWatermark { p: 0, w: 25 }).watermark, then);
    }
}

#[test]
fn f4_idleness_comes_first_and_early_panes_come_last() {
    let trigger = Trigger { early_ticks: Some(9), ..Trigger::default() };
    let early = |windows| Windows { trigger, ..windows };
    let mut run = Timeline::new(Config {
        idle_timeout: Some(5),
        ..closing(5, &[early(Windows::global()), early(Windows::tumbling(10))])
    });
    run.step(Step::Add);
    run.step(Step::SetWatermark { p: 0, w: 15 });
    run.tick(100);
    for (time, value) in [(1, 1), (11, 2), (21, 4)] {
        run.event(1, time, value);
    }
    assert_eq!(ticks(&mut run, &[101, 102]), [MIN; 2], "the second partition holds it");
    let last = run.step(Step::Tick { now: 111 });
    assert_eq!(last.watermark, 30, "that of the idle ones is 15");
    let on_time = |start, sum| (1, start, start + 10, sum, OnTime, 0);
    let global = (1, i64::MIN, i64::MAX, 7, Early, 0);
    assert_eq!(fired(&last.panes), [on_time(0, 1), on_time(10, 2), on_time(20, 4), global]);
}

#[test]
fn w6_a_tick_is_an_observation_where_something_may_close() {
    for (config, watermark) in [(closing(100, &[Windows::tumbling(1)]), 9), (Config::tumbling(1), 4)] {
        let mut model = Model::new(config);
        for step in [
            Step::Add,
            Step::Add,
            Step::SetWatermark { p: 0, w: 5 },
            Step::Idle { p: 1 },
            Step::Tick { now: 0 },
            Step::Idle { p: 0 },
            Step::Active { p: 1 },
            Step::SetWatermark { p: 1, w: 4 },
            Step::SetWatermark { p: 0, w: 9 },
        ] {
            model.step_unobserved(&step);
        }
        model.observe();
        assert_eq!(model.partitions.watermark(), watermark, "the second was behind, or was not");
    }
}
