//! Bounds learned from the events themselves (W2).

use super::*;

/// All delays are kept to, and none is forgotten soon.
const ALL: Generator =
    Generator::Learned { ppm: 1_000_000, at_least: 0, at_most: 100, warm_up: 0, memory: 1000 };

fn of(generator: Generator) -> Timeline {
    Timeline::new(Config { generator, ..Config::tumbling(1000) })
}

/// The watermark after each event of a partition.
fn watermarks(run: &mut Timeline, p: u32, times: &[i64]) -> Vec<i64> {
    let event = |&time| run.step(Step::Event { p, time, key: 0, value: 0, gap: None });
    times.iter().map(event).map(|outcome| outcome.watermark).collect()
}

#[test]
fn w2_learned_follows_the_delays() {
    let mut run = of(ALL);
    assert_eq!(watermarks(&mut run, 0, &[10, 7]), [10, 10], "the first is not behind anything");
    assert_eq!(watermarks(&mut run, 0, &[20, 100]), [17, 97]);
    // 20 behind the latest, not behind the one before; 20 and 21 count as the same.
    assert_eq!(watermarks(&mut run, 0, &[98, 80, 200]), [97, 97, 179]);
}

#[test]
fn w2_learned_keeps_to_so_many_in_a_million() {
    let mut run =
        of(Generator::Learned { ppm: 500_000, at_least: 0, at_most: 100, warm_up: 0, memory: 1000 });
    // Of the delays 0, 5 and 5 two are needed; of 0, 5, 5 and 0 two, of these and 0 three.
    assert_eq!(watermarks(&mut run, 0, &[50, 45, 45]), [50; 3]);
    assert_eq!(watermarks(&mut run, 0, &[70]), [70]);
    let mut run =
        of(Generator::Learned { ppm: 500_001, at_least: 0, at_most: 100, warm_up: 0, memory: 1000 });
    assert_eq!(watermarks(&mut run, 0, &[50, 45, 45]), [50; 3]);
    assert_eq!(watermarks(&mut run, 0, &[70, 80]), [65, 80], "of four three, of five three");
}

#[test]
fn w2_learned_stays_between_its_limits() {
    let mut run =
        of(Generator::Learned { ppm: 1_000_000, at_least: 5, at_most: 8, warm_up: 0, memory: 1000 });
    assert_eq!(watermarks(&mut run, 0, &[100, 94, 120]), [95, 95, 114], "5, then 6");
    assert_eq!(watermarks(&mut run, 0, &[90, 130]), [114, 122], "8, not 31");
}

#[test]
fn w2_learned_is_at_most_until_it_has_seen_enough() {
    for memory in [1000, 2] {
        let mut run =
            of(Generator::Learned { ppm: 1_000_000, at_least: 0, at_most: 100, warm_up: 3, memory });
        assert_eq!(watermarks(&mut run, 0, &[200, 210]), [100, 110]);
        assert_eq!(watermarks(&mut run, 0, &[220, 230]), [220, 230], "the third counts, forgotten or not");
    }
}

#[test]
fn w2_learned_forgets() {
    let mut run = of(Generator::Learned { ppm: 1_000_000, at_least: 0, at_most: 100, warm_up: 0, memory: 4 });
    assert_eq!(watermarks(&mut run, 0, &[50, 45, 60]), [50, 50, 55]);
    assert_eq!(watermarks(&mut run, 0, &[70]), [70], "of four the one of 5 is gone");
}

#[test]
fn w2_learned_is_at_most_if_all_is_forgotten() {
    let mut run = of(Generator::Learned { ppm: 1, at_least: 0, at_most: 30, warm_up: 0, memory: 2 });
    // The first two are alone in their buckets, and so are the others.
    assert_eq!(watermarks(&mut run, 0, &[50, 49, 48, 100]), [50, 50, 50, 70]);
    assert_eq!(watermarks(&mut run, 0, &[110]), [110], "which is remembered");
}

#[test]
fn w2_partitions_learn_by_themselves() {
    let mut run = of(ALL);
    run.step(Step::Add);
    watermarks(&mut run, 0, &[50, 0]);
    watermarks(&mut run, 1, &[500]);
    assert_eq!(watermarks(&mut run, 0, &[300]), [249], "50 and 51 are alike");
    assert_eq!(watermarks(&mut run, 0, &[1000]), [500], "exactly as far as the other");
}

#[test]
fn w2_late_events_are_learned_from_and_suspect_ones_are_not() {
    let mut run = Timeline::new(Config { generator: ALL, ..Config::tumbling(1) });
    watermarks(&mut run, 0, &[50]);
    assert_eq!(run.event(1, 40, 1), late(50, 10, &[(40, 41)]));
    assert_eq!(watermarks(&mut run, 0, &[100]), [90]);

    for policy in [SkewPolicy::Admit, SkewPolicy::Reject] {
        let max_future_skew = Some(FutureSkew { skew: 10, policy });
        let mut run = Timeline::new(Config { generator: ALL, max_future_skew, ..Config::tumbling(1000) });
        assert_eq!(watermarks(&mut run, 0, &[50, 900, 60]), [50, 50, 60]);
    }
}

#[test]
fn w2_the_hosts_watermark_may_be_above_the_learned_one() {
    let mut run = of(ALL);
    run.watermark(70);
    assert_eq!(watermarks(&mut run, 0, &[60, 80]), [70, 80]);
    run.step(Step::Idle { p: 0 });
    run.step(Step::Add);
    run.step(Step::SetWatermark { p: 1, w: 200 });
    watermarks(&mut run, 0, &[80]);
    assert_eq!(run.step(Step::SetWatermark { p: 1, w: 210 }).watermark, 210, "0 is idle still");
}

#[test]
fn t1_learned_bounds_saturate() {
    let generator =
        Generator::Learned { ppm: 1, at_least: i64::MAX, at_most: i64::MAX, warm_up: 0, memory: 9 };
    let mut run = Timeline::new(Config { generator, ..Config::of(Windows::global()) });
    assert_eq!(watermarks(&mut run, 0, &[-5]), [i64::MIN]);
    assert_eq!(watermarks(&mut run, 0, &[i64::MAX - 1, i64::MIN, 7]), [-1; 3]);
}
