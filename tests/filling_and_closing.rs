//! By hand: windows without events, bounds that are learned, streams that stop, definitions that share slices.

use chrono::TimeDelta;
use floodmark::{
    Admission, Config, Count, LearnedDisorder, Max, Min, OrElse, Partition, Sum, Suspect, Timestamp, Timing,
    Watermark, Window, WindowProgress, Windowing, Windows,
};

fn micros(n: i64) -> TimeDelta {
    TimeDelta::microseconds(n)
}

fn at(time: i64) -> Timestamp {
    Timestamp::from_micros(time)
}

fn mark(time: i64) -> Watermark {
    Watermark::from_micros(time)
}

fn tumbling(size: i64) -> Windows {
    Windows::tumbling(micros(size))
}

type Counts = Windowing<char, i64, Count>;

fn kernel(config: Config) -> (Counts, Partition) {
    let kernel: Counts = config.build(Count).unwrap();
    let mut kernel = kernel.ordered();
    let partition = kernel.add_partition();
    (kernel, partition)
}

fn push(kernel: &mut Counts, partition: Partition, time: i64, key: char) {
    assert_eq!(kernel.push(partition, at(time), key, 1).unwrap(), Admission::Accepted);
}

/// Start and end of the window, key, count, index.
fn drain(kernel: &mut Counts) -> Vec<(i64, i64, char, u64, u32)> {
    let mut panes = Vec::new();
    while let Some(pane) = kernel.poll() {
        let bounds = (pane.window.start.as_micros(), pane.window.end.as_micros());
        panes.push((bounds.0, bounds.1, *pane.key, pane.value, pane.index));
    }
    panes
}

#[test]
fn fill_windows_without_events_have_panes_up_to_the_horizon() {
    let (mut kernel, partition) = kernel(Config::windows([tumbling(10).fill(micros(20))]));
    push(&mut kernel, partition, 1, 'a');
    push(&mut kernel, partition, 13, 'b');
    kernel.set_watermark(partition, mark(60)).unwrap();
    // `a` was in a window that ended at 10, so up to 30; `b` up to 40.
    assert_eq!(
        drain(&mut kernel),
        [
            (0, 10, 'a', 1, 0),
            (10, 20, 'a', 0, 0),
            (10, 20, 'b', 1, 0),
            (20, 30, 'a', 0, 0),
            (20, 30, 'b', 0, 0),
            (30, 40, 'b', 0, 0),
        ]
    );
    assert_eq!((kernel.counters().windows_fired, kernel.counters().panes_fired), (4, 6));
    assert_eq!(kernel.live_slices(), 0, "what nobody needs is gone");
}

#[test]
fn fill_ends_with_the_last_event_where_the_input_does() {
    let (mut kernel, partition) = kernel(Config::windows([tumbling(10).fill(micros(1000))]));
    push(&mut kernel, partition, 1, 'a');
    push(&mut kernel, partition, 31, 'b');
    kernel.finish();
    let filled = [
        (0, 10, 'a', 1, 0),
        (10, 20, 'a', 0, 0),
        (20, 30, 'a', 0, 0),
        (30, 40, 'a', 0, 0),
        (30, 40, 'b', 1, 0),
    ];
    assert_eq!(drain(&mut kernel), filled);
}

#[test]
fn fill_ends_where_the_watermark_was_if_that_is_later() {
    let (mut kernel, partition) = kernel(Config::windows([tumbling(10).fill(micros(1000))]));
    push(&mut kernel, partition, 1, 'a');
    kernel.set_watermark(partition, mark(31)).unwrap();
    assert_eq!(drain(&mut kernel), [(0, 10, 'a', 1, 0), (10, 20, 'a', 0, 0), (20, 30, 'a', 0, 0)]);
    kernel.finish();
    assert_eq!(drain(&mut kernel), [(30, 40, 'a', 0, 0)]);
}

/// (Found by random timelines.)
#[test]
fn fill_knows_no_window_that_ends_after_time() {
    let windows = Windows::sliding(micros(1000), micros(999)).fill(micros(4995));
    let (mut kernel, partition) = kernel(Config::windows([windows]));
    push(&mut kernel, partition, 9_223_372_036_854_774_728, 'a');
    kernel.set_watermark(partition, mark(i64::MAX - 8)).unwrap();
    assert_eq!(drain(&mut kernel).len(), 2);
    kernel.finish();
    assert_eq!(drain(&mut kernel), []);
}

#[test]
fn fill_what_comes_late_into_a_filled_window_is_its_second_pane() {
    let (mut kernel, partition) =
        kernel(Config::windows([tumbling(10).fill(micros(10)).allowed_lateness(micros(50))]));
    push(&mut kernel, partition, 1, 'a');
    kernel.set_watermark(partition, mark(20)).unwrap();
    assert_eq!(drain(&mut kernel), [(0, 10, 'a', 1, 0), (10, 20, 'a', 0, 0)]);
    push(&mut kernel, partition, 12, 'a');
    assert_eq!(drain(&mut kernel), [(10, 20, 'a', 1, 1)]);
}

#[test]
fn fill_is_explained() {
    let (mut kernel, partition) = kernel(Config::windows([tumbling(10).fill(micros(20))]));
    push(&mut kernel, partition, 1, 'a');
    kernel.set_watermark(partition, mark(15)).unwrap();
    drain(&mut kernel);
    let explanation = kernel.explain(&'a', Window::new(at(10), at(20)));
    assert_eq!((explanation.progress, explanation.present), (WindowProgress::Waiting, false));
    let text = explanation.to_string();
    assert!(text.contains("has a pane only if it was seen up to PT0.00002S before"), "{text}");
}

#[test]
fn fill_needs_a_grid_a_default_trigger_and_a_value_for_nothing() {
    let refused = |windows: Windows| {
        let built: Result<Counts, _> = Config::windows([windows]).build(Count);
        built.unwrap_err().to_string()
    };
    let session = refused(Windows::session(micros(5)).fill(micros(5)));
    assert!(session.contains("only windows on a grid"), "{session}");
    let early = floodmark::Trigger::on_time().early_every_events(2);
    let early = refused(tumbling(5).fill(micros(5)).trigger(early));
    assert!(early.contains("default trigger"), "{early}");
    assert!(refused(tumbling(5).fill(micros(-1))).contains("the horizon of filling must not be negative"));
    let value = |value: &i64| *value;
    let filled = || Config::windows([tumbling(5).fill(micros(5))]);
    let maximum = filled().build::<u8, i64, _>((Sum::of(value), Max::of(value))).unwrap_err().to_string();
    assert!(maximum.contains("(sum i64, max) says nothing of no events"), "{maximum}");
    assert!(filled().build::<u8, i64, _>((Sum::of(value), OrElse::new(Min::of(value), || 7))).is_ok());
}

#[test]
fn w2_a_bound_is_learned_from_what_was_late() {
    let learned = LearnedDisorder::percentile(50.0, micros(1000)).warm_up(4);
    let (mut kernel, partition) = kernel(Config::windows([tumbling(10_000)]).learned_disorder(learned));
    let bound = |kernel: &Counts| kernel.partition(partition).unwrap().disorder.unwrap();
    let mut bounds = Vec::new();
    // Delays of 0, 3, 0, 6, 5.
    for time in [5000, 4997, 5001, 4995, 4996] {
        push(&mut kernel, partition, time, 'a');
        bounds.push((bound(&kernel), kernel.watermark()));
    }
    // Until the fourth it is the longest. Of 0, 0, 3, 6 half are 0; of 0, 0, 3, 5, 6 the third is 3.
    let longest = (micros(1000), mark(4000));
    assert_eq!(bounds[..2], [longest, longest]);
    assert_eq!(bounds[2], (micros(1000), mark(4001)));
    assert_eq!(bounds[3..], [(micros(0), mark(5001)), (micros(3), mark(5001))]);
}

#[test]
fn w2_what_cannot_be_learned_from_is_refused() {
    for learned in [
        LearnedDisorder::percentile(0.0, micros(10)),
        LearnedDisorder::percentile(100.1, micros(10)),
        LearnedDisorder::percentile(f64::NAN, micros(10)),
        LearnedDisorder::percentile(99.0, micros(10)).at_least(micros(11)),
        LearnedDisorder::percentile(99.0, micros(10)).memory(1),
    ] {
        let built: Result<Counts, _> = Config::windows([tumbling(5)]).learned_disorder(learned).build(Count);
        let text = built.unwrap_err().to_string();
        assert!(text.starts_with("a bound of disorder is learned as a percentile"), "{text}");
    }
}

#[test]
fn w4_the_last_windows_of_a_stream_that_stops_fire_after_quiet() {
    let windows = [tumbling(10), Windows::session(micros(30))];
    let config = Config::windows(windows).ascending().close_after_quiet(micros(100));
    let (mut kernel, partition) = kernel(config);
    push(&mut kernel, partition, 7, 'a');
    kernel.tick(at(1000));
    // The first tick ends what was heard; the second begins to count.
    kernel.tick(at(1001));
    assert_eq!(kernel.watermark(), mark(7));
    kernel.tick(at(1101));
    assert_eq!((kernel.watermark(), drain(&mut kernel)), (mark(7), vec![]));
    let text = kernel.explain(&'a', Window::new(at(0), at(10))).to_string();
    assert!(text.contains("the stream is quiet, and what is open will be closed in P0D"), "{text}");
    kernel.tick(at(1102));
    assert_eq!(kernel.watermark(), mark(37));
    assert_eq!(drain(&mut kernel), [(0, 10, 'a', 1, 0), (7, 37, 'a', 1, 0)]);
    // It goes on where it was: what is older is late, what is not moves the watermark.
    assert!(matches!(kernel.push(partition, at(6), 'a', 1).unwrap(), Admission::Late(_)));
    push(&mut kernel, partition, 36, 'a');
    push(&mut kernel, partition, 50, 'a');
    assert_eq!(kernel.watermark(), mark(50));
}

#[test]
fn w7_a_window_that_an_event_from_the_future_opened_is_closed_once_another_event_is_past_its_start() {
    let config = Config::sliding(micros(10), micros(40))
        .close_after_quiet(micros(0))
        .max_future_skew(micros(5), Suspect::Admit);
    let (mut kernel, partition) = kernel(config);
    push(&mut kernel, partition, 7, 'a');
    push(&mut kernel, partition, 45, 'b');
    (60..63).for_each(|now| kernel.tick(at(now)));
    assert_eq!((kernel.watermark(), drain(&mut kernel)), (mark(10), vec![(0, 10, 'a', 1, 0)]));
    // It is in no window, but the clock bears it out: the stream has come that far.
    assert!(matches!(kernel.push(partition, at(65), 'c', 1).unwrap(), Admission::Unassigned(_)));
    (70..73).for_each(|now| kernel.tick(at(now)));
    assert_eq!((kernel.watermark(), drain(&mut kernel)), (mark(50), vec![(40, 50, 'b', 1, 0)]));
}

#[test]
fn a3_definitions_share_slices() {
    let seconds = |n: i64| Windows::tumbling(TimeDelta::seconds(n));
    let count = |windows: Vec<Windows>| {
        let (mut kernel, partition) = kernel(Config::windows(windows));
        for second in 0..120 {
            for key in ['a', 'b', 'c'] {
                push(&mut kernel, partition, second * 1_000_000 + 5, key);
            }
        }
        let state = (kernel.live_slices(), kernel.live_windows());
        kernel.finish();
        (state, drain(&mut kernel).len())
    };
    assert_eq!(count(vec![seconds(1)]), ((120, 0), 3 * 120));
    let panes: i64 = (1..=80).map(|n| 3 * ((120 + n - 1) / n)).sum();
    assert_eq!(count((1..=80).map(seconds).collect()), ((120, 0), panes as usize));
}

#[test]
fn a3_a_late_event_fires_the_definitions_in_their_order() {
    let late = |windows: Windows| windows.allowed_lateness(micros(100));
    let config = || {
        Config::windows([
            late(tumbling(10)),
            late(Windows::session(micros(4))),
            late(tumbling(5)),
            late(Windows::session(micros(2))),
            late(Windows::cumulative(micros(5), micros(20))),
        ])
    };
    let (mut kernel, partition) = kernel(config());
    push(&mut kernel, partition, 1, 'a');
    kernel.set_watermark(partition, mark(20)).unwrap();
    drain(&mut kernel);
    push(&mut kernel, partition, 11, 'a');
    let mut panes = Vec::new();
    loop {
        // One pane at a time, each from a kernel that has just been restored.
        let fresh: Counts = config().build(Count).unwrap();
        kernel = fresh.ordered().restore(&kernel.snapshot()).unwrap();
        let Some(pane) = kernel.poll() else { break };
        assert_eq!(pane.timing, Timing::Late);
        panes.push((pane.definition, pane.window.start.as_micros(), pane.window.end.as_micros(), pane.value));
    }
    assert_eq!(
        panes,
        [(0, 10, 20, 1), (1, 11, 15, 1), (2, 10, 15, 1), (3, 11, 13, 1), (4, 0, 15, 2), (4, 0, 20, 2)]
    );
}
