//! Definitions of windows that share slices: each has its panes as if it were alone (A3); and what is learned, filled
//! and closed after quiet, by example.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use floodmark::{
    Admission, Collect, Config, Count, LateFiring, LearnedDisorder, Partition, Suspect, Timestamp, Timing,
    Watermark, Window, WindowGrid, WindowProgress, Windowing, Windows,
};
use proptest::prelude::*;

type Plain = Windowing<u64, i64, Count>;
/// Which events there were, by their place in the stream.
type Told = Windowing<u8, usize, Collect<fn(&usize) -> usize, usize>>;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn mark(micros: i64) -> Watermark {
    Watermark::from_micros(micros)
}

fn micros(micros: i64) -> TimeDelta {
    TimeDelta::microseconds(micros)
}

fn window(start: i64, end: i64) -> Window {
    Window::new(at(start), at(end))
}

/// Windows of so many microseconds every so many, until some instant. Nobody knows that they are even.
#[derive(Clone, Debug)]
struct Shifts {
    size: i64,
    every: i64,
    until: i64,
}

impl WindowGrid for Shifts {
    fn first_ending_after(&self, time: Timestamp) -> Option<Window> {
        // (That no window ends before time begins must not be taken for that none comes.)
        let time = time.as_micros().max(i64::MIN / 2);
        let start = (time - self.size).div_euclid(self.every).checked_add(1)?.checked_mul(self.every)?;
        let end = start.checked_add(self.size)?;
        (end <= self.until).then(|| window(start, end))
    }
    fn name(&self) -> String {
        format!("{self:?}")
    }
}

// A3: as if alone.

#[derive(Clone, Debug)]
enum Kind {
    Sliding(i64, i64, i64),
    Cumulative(i64, i64),
    Own(Shifts),
}

#[derive(Clone, Debug)]
struct Shape {
    kind: Kind,
    lateness: i64,
    once_per_drain: bool,
}

impl Shape {
    fn windows(&self) -> Windows {
        let windows = match &self.kind {
            Kind::Sliding(size, slide, offset) => {
                Windows::sliding(micros(*size), micros(*slide)).offset(micros(*offset))
            }
            Kind::Cumulative(step, steps) => Windows::cumulative(micros(*step), micros(step * steps)),
            Kind::Own(shifts) => Windows::own(shifts.clone()),
        };
        let late_firing = if self.once_per_drain { LateFiring::OncePerDrain } else { LateFiring::EachEvent };
        windows.allowed_lateness(micros(self.lateness)).late_firing(late_firing)
    }
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let length = || prop_oneof![Just(5), Just(10), Just(20), Just(40), 1..50i64];
    let kind = prop_oneof![
        3 => (length(), length(), prop_oneof![Just(0), -9..9i64]).prop_map(|(a, b, c)| Kind::Sliding(a, b, c)),
        1 => (1..20i64, 1..5i64).prop_map(|(step, steps)| Kind::Cumulative(step, steps)),
        1 => (length(), length(), prop_oneof![Just(i64::MAX), 0..200i64])
            .prop_map(|(size, every, until)| Kind::Own(Shifts { size, every, until })),
    ];
    let lateness = prop_oneof![Just(0), 0..100i64];
    let shape = (kind, lateness, prop::bool::weighted(0.3));
    let shape = shape.prop_map(|(kind, lateness, once_per_drain)| Shape { kind, lateness, once_per_drain });
    prop::collection::vec(shape, 2..4)
}

#[derive(Clone, Debug)]
enum Step {
    /// So far from the time before, of a key.
    Event(i64, u8),
    Watermark(i64),
    Drain,
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (prop_oneof![-5..9i64, -60..60i64], 0..3u8).prop_map(|(by, key)| Step::Event(by, key)),
        2 => (-30..20i64).prop_map(Step::Watermark),
        4 => Just(Step::Drain),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..80)
}

type Row = (usize, Window, Timing, u32, u8, Vec<usize>);

/// All panes of such definitions. Drained where the steps say so, so that those that come once per drain are the same.
fn panes(shapes: &[Shape], steps: &[Step], (restores, is_ordered): (bool, bool)) -> Vec<Row> {
    fn place(value: &usize) -> usize {
        *value
    }
    let build = || -> Told {
        let config = Config::windows(shapes.iter().map(Shape::windows)).max_disorder(micros(40));
        let kernel = config.build(Collect::of(place as fn(&usize) -> usize)).unwrap();
        if is_ordered { kernel.ordered() } else { kernel }
    };
    fn drain(kernel: &mut Told, rows: &mut Vec<Row>) {
        while let Some(pane) = kernel.poll() {
            rows.push((
                pane.definition as usize,
                pane.window,
                pane.timing,
                pane.index,
                *pane.key,
                pane.value,
            ));
        }
    }
    let mut kernel = build();
    let partition = kernel.add_partition();
    let (mut rows, mut now) = (Vec::new(), 0);
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Event(by, key) => {
                now += by;
                let _ = kernel.push(partition, at(now), *key, number).unwrap();
            }
            Step::Watermark(by) => kernel.set_watermark(partition, mark(now + by)).unwrap(),
            Step::Drain => drain(&mut kernel, &mut rows),
            Step::Restore if restores => kernel = build().restore(&kernel.snapshot()).unwrap(),
            Step::Restore => {}
        }
    }
    kernel.finish();
    drain(&mut kernel, &mut rows);
    // When what is owed once per drain comes, others' late events may hasten (L2).
    rows.sort_by_key(|row| (row.0, row.1.end, row.1.start, row.4, row.3));
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn differential_a3_each_definition_has_its_panes_as_if_alone(
        shapes in shapes(),
        steps in steps(),
        is_ordered: bool,
    ) {
        let together = panes(&shapes, &steps, (true, is_ordered));
        for (number, shape) in shapes.iter().enumerate() {
            let alone = panes(std::slice::from_ref(shape), &steps, (false, true));
            let of_all = together.iter().filter(|row| row.0 == number);
            let of_all: Vec<Row> = of_all.map(|row| (0, row.1, row.2, row.3, row.4, row.5.clone())).collect();
            prop_assert_eq!(of_all, alone, "definition {}", number);
        }
    }
}

// What follows is by example.

fn start(config: Config) -> (Plain, Partition) {
    let mut kernel: Plain = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    (kernel, partition)
}

fn push(kernel: &mut Plain, partition: Partition, time: i64, key: u64) {
    assert_eq!(kernel.push(partition, at(time), key, 0).unwrap(), Admission::Accepted);
}

fn drain(kernel: &mut Plain) -> Vec<(u32, Window, u64, u64)> {
    let mut panes = Vec::new();
    while let Some(pane) = kernel.poll() {
        panes.push((pane.definition, pane.window, *pane.key, pane.value));
    }
    panes
}

#[test]
fn a3_keys_between_the_windows_of_a_definition_are_not_seen_by_it() {
    let gaps = Windows::sliding(micros(5), micros(10)).fill(micros(100));
    let (mut kernel, partition) = start(Config::windows([gaps, Windows::tumbling(micros(10))]));
    push(&mut kernel, partition, 7, 1);
    kernel.set_watermark(partition, mark(30)).unwrap();
    assert_eq!(drain(&mut kernel), [(1, window(0, 10), 1, 1)]);
    assert_eq!(kernel.counters().windows_fired, 1);
    // Another key, in a window.
    push(&mut kernel, partition, 30, 2);
    kernel.set_watermark(partition, mark(50)).unwrap();
    let expected = [(0, window(30, 35), 2, 1), (1, window(30, 40), 2, 1), (0, window(40, 45), 2, 0)];
    assert_eq!(drain(&mut kernel), expected);
}

#[test]
fn l1_a_late_event_counts_once_beside_a_slice_that_has_expired() {
    for subtracts in [false, true] {
        let (kernel, partition) = start(Config::windows([Windows::sliding(micros(30), micros(10))]));
        let mut kernel = if subtracts { kernel.subtract_on_evict() } else { kernel };
        [5, 15, 25].into_iter().for_each(|time| push(&mut kernel, partition, time, 1));
        kernel.set_watermark(partition, mark(30)).unwrap();
        assert_eq!(
            drain(&mut kernel),
            [(-20, 10, 1), (-10, 20, 2), (0, 30, 3)].map(|(start, end, count)| (
                0,
                window(start, end),
                1,
                count
            ))
        );
        // What has been combined still has the first slice in it, which goes with the next window.
        assert!(matches!(kernel.push(partition, at(16), 1, 0), Ok(Admission::PartlyLate(_))));
        kernel.set_watermark(partition, mark(60)).unwrap();
        assert_eq!(
            drain(&mut kernel),
            [(10, 40, 3), (20, 50, 1)].map(|(start, end, count)| (0, window(start, end), 1, count))
        );
    }
}

#[test]
fn f2_panes_that_are_owed_come_by_window_and_not_by_definition() {
    let once =
        |windows: Windows| windows.allowed_lateness(micros(1000)).late_firing(LateFiring::OncePerDrain);
    let (mut kernel, partition) = start(Config::windows([
        once(Windows::tumbling(micros(40))),
        once(Windows::tumbling(micros(10))),
        once(Windows::tumbling(micros(20))),
    ]));
    kernel.set_watermark(partition, mark(100)).unwrap();
    push(&mut kernel, partition, 5, 1);
    let expected = [(1, window(0, 10), 1, 1), (2, window(0, 20), 1, 1), (0, window(0, 40), 1, 1)];
    assert_eq!(drain(&mut kernel), expected);
    // Two that have closed before an event that waits, and are owed before it.
    push(&mut kernel, partition, 5, 1);
    assert!(kernel.watermark() == mark(100));
    kernel.set_watermark(partition, mark(1025)).unwrap();
    push(&mut kernel, partition, 35, 1);
    let expected = [(1, window(0, 10), 1, 2), (2, window(0, 20), 1, 2)];
    let late = [(1, window(30, 40), 1, 1), (0, window(0, 40), 1, 3), (2, window(20, 40), 1, 1)];
    let panes = drain(&mut kernel);
    assert_eq!(panes[..2], expected);
    assert_eq!(BTreeSet::from_iter(&panes[2..]), BTreeSet::from_iter(&late));
}

#[test]
fn f7_the_output_watermark_waits_for_late_panes_of_all_definitions() {
    let late = |size| Windows::tumbling(micros(size)).allowed_lateness(micros(100));
    let (mut kernel, partition) = start(Config::windows([late(40), late(10), late(20)]));
    kernel.set_watermark(partition, mark(50)).unwrap();
    push(&mut kernel, partition, 5, 1);
    // All windows close before they are polled.
    kernel.set_watermark(partition, mark(1000)).unwrap();
    let mut ends = Vec::new();
    while let Some(end) = kernel.poll().map(|pane| pane.window.end.as_micros()) {
        ends.push((end, kernel.output_watermark().as_micros()));
    }
    assert_eq!(ends, [(40, 9), (10, 19), (20, 909)]);
}

/// Also where no window ends after it: here there are no more.
#[test]
fn e2_what_has_closed_is_forgotten() {
    let shifts = Shifts { size: 10, every: 10, until: 10 };
    let windows = Windows::own(shifts).allowed_lateness(micros(100));
    let (mut kernel, partition) = start(Config::windows([windows]).max_disorder(micros(0)));
    for key in 0..1000 {
        push(&mut kernel, partition, 5, key);
    }
    let unassigned = |kernel: &mut Plain, time| {
        assert!(matches!(kernel.push(partition, at(time), 1, 0).unwrap(), Admission::Unassigned(_)));
    };
    unassigned(&mut kernel, 20);
    assert_eq!(drain(&mut kernel).len(), 1000);
    for key in 0..1000 {
        push(&mut kernel, partition, 5, key);
    }
    assert_eq!(drain(&mut kernel).len(), 1000);
    assert_eq!(kernel.live_slices(), 1);
    let before = kernel.state_bytes();
    unassigned(&mut kernel, 110);
    assert_eq!(drain(&mut kernel), []);
    assert_eq!(kernel.live_slices(), 0);
    // A table of partials, one of the indices of late panes, and the queue.
    assert!(kernel.state_bytes() < before / 3, "{} bytes of {before}", kernel.state_bytes());
}

#[test]
fn s1_keys_still_to_be_filled_are_in_a_snapshot() {
    let config = || Config::windows([Windows::tumbling(micros(10)).fill(micros(10))]);
    let (mut kernel, partition) = start(config());
    for key in 0..5 {
        push(&mut kernel, partition, 5, key);
    }
    push(&mut kernel, partition, 15, 2);
    kernel.set_watermark(partition, mark(20)).unwrap();
    let mut panes = Vec::new();
    while let Some(pane) = kernel.poll().map(|pane| (pane.window, *pane.key, pane.value)) {
        panes.push(pane);
        let fresh: Plain = config().build(Count).unwrap();
        kernel = fresh.restore(&kernel.snapshot()).unwrap();
    }
    panes.sort_unstable();
    let first = (0..5).map(|key| (window(0, 10), key, 1));
    let second = (0..5).map(|key| (window(10, 20), key, u64::from(key == 2)));
    assert_eq!(panes, Vec::from_iter(first.chain(second)));
}

#[test]
fn w2_what_has_been_learned_is_known_after_a_restore() {
    let learned = LearnedDisorder::percentile(50.0, micros(1000)).warm_up(4);
    let config = || Config::tumbling(micros(10_000)).learned_disorder(learned);
    let (mut kernel, partition) = start(config());
    for time in [500, 400, 410, 420, 430] {
        push(&mut kernel, partition, time, 1);
    }
    let disorder = |kernel: &Plain| kernel.partition(partition).unwrap().disorder.unwrap();
    assert!((micros(80)..micros(100)).contains(&disorder(&kernel)), "{:?}", disorder(&kernel));
    let fresh: Plain = config().build(Count).unwrap();
    let restored = fresh.restore(&kernel.snapshot()).unwrap();
    assert_eq!(disorder(&restored), disorder(&kernel));
}

#[test]
fn w4_quiet_closes_what_late_events_that_wait_have_opened() {
    let (mut kernel, partition) =
        start(Config::sliding(micros(40), micros(10)).close_after_quiet(micros(10)));
    kernel.set_watermark(partition, mark(35)).unwrap();
    let _ = kernel.push(partition, at(25), 1, 0).unwrap();
    for now in [0, 20, 40] {
        kernel.tick(at(now));
    }
    assert_eq!(kernel.watermark(), mark(60));
    let windows = [window(0, 40), window(10, 50), window(20, 60)];
    assert_eq!(drain(&mut kernel), windows.map(|window| (0, window, 1, 1)));
}

#[test]
fn w4_quiet_is_never_the_end_of_input() {
    // A window that ends with time itself.
    let offset = i64::MAX.rem_euclid(10);
    let windows = Windows::tumbling(micros(10)).offset(micros(offset));
    let (mut kernel, partition) =
        start(Config::windows([windows]).max_disorder(micros(0)).close_after_quiet(micros(10)));
    push(&mut kernel, partition, i64::MAX - 5, 1);
    for now in [0, 20, 40] {
        kernel.tick(at(now));
    }
    assert_eq!((kernel.watermark(), drain(&mut kernel)), (mark(i64::MAX - 1), vec![]));
    kernel.finish();
    assert_eq!(drain(&mut kernel), [(0, window(i64::MAX - 10, i64::MAX), 1, 1)]);
}

/// Windows of 10 with a hole of 10 after each, whose slices are not even; and how often it was asked for one.
#[derive(Clone, Debug, Default)]
struct Counted(Arc<AtomicUsize>);

impl WindowGrid for Counted {
    fn first_ending_after(&self, time: Timestamp) -> Option<Window> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let start = (time.as_micros().checked_add(10)?).div_euclid(20).checked_mul(20)?;
        Some(window(start, start.checked_add(10)?))
    }
    fn name(&self) -> String {
        "shifts".into()
    }
}

/// What is due at a watermark is due however much later it is polled.
#[test]
fn f3_the_end_of_input_takes_no_filled_window_back() {
    let panes = |polls: bool| {
        let (mut kernel, partition) =
            start(Config::windows([Windows::tumbling(micros(10)).fill(micros(10))]));
        push(&mut kernel, partition, 5, 1);
        kernel.set_watermark(partition, mark(20)).unwrap();
        assert_eq!(kernel.watermark(), mark(20));
        let mut panes = if polls { drain(&mut kernel) } else { Vec::new() };
        kernel.finish();
        panes.extend(drain(&mut kernel));
        panes
    };
    assert_eq!(panes(true), [(0, window(0, 10), 1, 1), (0, window(10, 20), 1, 0)]);
    assert_eq!(panes(false), panes(true));
}

/// Between the windows of one definition slices expire that are after one that a late event of it brings.
#[test]
fn a3_a_late_slice_is_there_before_one_that_has_expired() {
    let build = || -> Plain {
        let of_gaps = Windows::sliding(micros(6), micros(20)).allowed_lateness(micros(1000));
        let config = Config::windows([of_gaps, Windows::sliding(micros(2), micros(1))]);
        config.build(Count).unwrap()
    };
    for restores in [false, true] {
        let mut kernel = build();
        let partition = kernel.add_partition();
        push(&mut kernel, partition, 7, 1);
        push(&mut kernel, partition, 8, 1);
        kernel.set_watermark(partition, mark(9)).unwrap();
        let panes = [(1, window(6, 8), 1, 1), (1, window(7, 9), 1, 2)];
        assert_eq!(drain(&mut kernel), panes);
        for count in 1..4 {
            let partly = kernel.push(partition, at(5), 1, 1).unwrap();
            assert!(matches!(partly, Admission::PartlyLate(_)), "{partly:?}");
            if restores {
                kernel = build().restore(&kernel.snapshot()).unwrap();
            }
            kernel.set_watermark(partition, mark(9 + count)).unwrap();
            let mut panes = vec![(0, window(0, 6), 1, count as u64)];
            panes.extend((count == 1).then_some((1, window(8, 10), 1, 1)));
            assert_eq!(drain(&mut kernel), panes);
            if restores {
                kernel = build().restore(&kernel.snapshot()).unwrap();
            }
        }
    }
}

#[test]
fn e2_late_events_between_definitions_stay_within_the_budget() {
    for budget in (4_000..12_000).step_by(100) {
        let globals = (0..8).map(|_| Windows::global());
        let sliced = Windows::tumbling(micros(10)).allowed_lateness(micros(1000));
        let config = Config::windows(std::iter::once(sliced).chain(globals)).state_budget(budget);
        let (mut kernel, partition) = start(config);
        kernel.set_watermark(partition, mark(100)).unwrap();
        for n in 0..200 {
            let refused = kernel.push(partition, at(n % 100), 0, 1).is_err();
            let bytes = kernel.state_bytes();
            assert!(bytes <= budget, "{bytes} over {budget} after {n}, refused {refused}");
        }
    }
}

#[test]
fn x1_a_filled_window_that_is_due_is_said_to_be() {
    let (mut kernel, partition) = start(Config::windows([Windows::tumbling(micros(10)).fill(micros(10))]));
    push(&mut kernel, partition, 5, 1);
    kernel.set_watermark(partition, mark(20)).unwrap();
    assert_eq!(kernel.explain(&1, window(0, 10)).progress, WindowProgress::Due);
    assert_eq!(kernel.explain(&1, window(10, 20)).progress, WindowProgress::Due);
}

#[test]
fn w7_quiet_does_not_close_what_a_suspect_event_opens() {
    let config = Config::windows([Windows::tumbling(micros(10))])
        .max_disorder(micros(0))
        .max_future_skew(micros(100), Suspect::Admit)
        .close_after_quiet(micros(10));
    let (mut kernel, partition) = start(config);
    push(&mut kernel, partition, 5, 1);
    push(&mut kernel, partition, 1_000_000, 1);
    for now in [0, 20, 40, 60] {
        kernel.tick(at(now));
    }
    assert_eq!(kernel.watermark(), mark(10));
}

/// A slice that starts in range is in the snapshot, wherever it ends.
#[test]
fn s2_t2_a_slice_that_ends_out_of_range_is_restored() {
    let config = || Config::windows([Windows::own(Counted::default()), Windows::session(micros(20))]);
    let (mut kernel, partition) = start(config());
    // In the last shift. Its slice ends 17 before time does: too late for another session to start.
    push(&mut kernel, partition, i64::MAX - 26, 1);
    let fresh: Plain = config().build(Count).unwrap();
    assert!(fresh.restore(&kernel.snapshot()).map(|kernel| kernel.live_slices() == 1).unwrap());
}

/// An event's own gap may let it in later than the configured one would.
#[test]
fn s2_t2_an_event_let_in_by_its_own_gap_is_restored() {
    let config = || Config::windows([Windows::tumbling(micros(10)), Windows::session(micros(1000))]);
    let build = || -> Plain { config().build(Count).unwrap().gap_by(|gap| Some(micros(*gap))) };
    let mut kernel = build();
    let partition = kernel.add_partition();
    assert_eq!(kernel.push(partition, at(i64::MAX - 500), 1, 100).unwrap(), Admission::Accepted);
    assert!(build().restore(&kernel.snapshot()).map(|kernel| kernel.live_slices() == 1).unwrap());
}

/// The slice after the last that the ring covers is not the first that it covers.
#[test]
fn t1_the_last_instants_keep_the_slices_before_them() {
    let (mut kernel, partition) = start(Config::windows([Windows::tumbling(micros(10))]));
    // The last window that starts before time ends, and the 16th from the end.
    let last = (i64::MAX - 1).div_euclid(10) * 10;
    let first = last - 150;
    push(&mut kernel, partition, first, 1);
    kernel.set_watermark(partition, mark(last)).unwrap();
    assert_eq!(drain(&mut kernel), [(0, window(first, first + 10), 1, 1)]);
}

/// Slices that one definition fires and that another has nothing of cost the other one look each.
#[test]
fn f8_slices_between_the_windows_of_a_definition_are_passed_once() {
    let asked = |slices: i64| {
        let shifts = Counted::default();
        let (mut kernel, partition) =
            start(Config::windows([Windows::tumbling(micros(20)), Windows::own(shifts.clone())]));
        for n in 0..slices {
            push(&mut kernel, partition, 20 * n + 15, 1);
        }
        kernel.set_watermark(partition, mark(20 * slices)).unwrap();
        assert_eq!(drain(&mut kernel).len() as i64, slices);
        shifts.0.load(Ordering::Relaxed)
    };
    let (few, many) = (asked(100), asked(1000));
    assert!(many <= 20 * few, "asked for {few} windows with 100 slices, and for {many} with 1000");
}
