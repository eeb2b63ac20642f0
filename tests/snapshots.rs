//! Snapshots that are taken in steps, and those of changes (S1, S2). That every case of the harness is run with them going
//! on is in `harness/mod.rs`; here are many keys, sizes and what is refused.

use chrono::TimeDelta;
use floodmark::snapshot::{Chain, SnapshotId, SnapshotKind, SnapshotProgress, part_of};
use floodmark::{
    Aggregate, Config, Count, LateFiring, LearnedDisorder, Sum, Suspect, Timestamp, Trigger, Windowing,
    Windows,
};
use proptest::prelude::*;

type Kernel = Windowing<u64, i64, (Count, Sum<fn(&i64) -> i64, i64>)>;

fn micros(micros: i64) -> TimeDelta {
    TimeDelta::microseconds(micros)
}

fn build(config: &Config, indexed: bool) -> Kernel {
    let value: fn(&i64) -> i64 = |value| *value;
    let kernel = config.clone().build((Count, Sum::of(value))).unwrap().ordered();
    if indexed { kernel.indexed() } else { kernel }
}

/// Writes what there is to write.
fn written<A>(kernel: &mut Windowing<u64, i64, A>, most: usize) -> (Vec<u8>, SnapshotId)
where
    A: Aggregate<i64, Acc: serde::Serialize>,
{
    let mut bytes = Vec::new();
    loop {
        match kernel.write_snapshot(most, &mut bytes) {
            SnapshotProgress::More => {}
            SnapshotProgress::Done(id) => return (bytes, id),
            SnapshotProgress::None => panic!("none is being taken"),
        }
    }
}

#[derive(Clone, Debug)]
enum Do {
    /// Events of so many keys from one on, one by one or as a batch.
    Push {
        first: u64,
        count: u64,
        batch: bool,
    },
    /// The stream goes on by so much time.
    Pass(i64),
    Poll(usize),
    /// A step of the snapshot that is being taken, or the beginning of one.
    Snapshot(usize),
}

fn doing() -> impl Strategy<Value = Do> {
    prop_oneof![
        4 => (0..20_000u64, 1..6_000u64, any::<bool>())
            .prop_map(|(first, count, batch)| Do::Push { first, count, batch }),
        2 => (0..9i64).prop_map(Do::Pass),
        2 => (0..8_000usize).prop_map(Do::Poll),
        5 => prop_oneof![1..50usize, 500..9_000usize].prop_map(Do::Snapshot),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// With so many keys that tables grow a few entries at a time, and cells and columns come and go.
    #[test]
    fn s1_a_snapshot_taken_in_steps_is_of_the_state_as_it_was(
        doings in prop::collection::vec(doing(), 1..60),
        windows in 0..4,
        indexed: bool,
    ) {
        let config = match windows {
            0 => Config::tumbling(micros(10)).allowed_lateness(micros(5)),
            1 => Config::sliding(micros(12), micros(4)).allowed_lateness(micros(8)),
            2 => Config::windows([Windows::tumbling(micros(5)).fill(micros(20)).allowed_lateness(micros(10))]),
            _ => Config::windows([Windows::session(micros(4)), Windows::tumbling(micros(7))]),
        };
        let config = config.max_disorder(micros(3));
        let mut kernel = build(&config, indexed);
        let input = kernel.add_partition();
        let (mut now, mut chain, mut bytes) = (0, Vec::<Vec<u8>>::new(), Vec::new());
        let (mut expected, mut last) = (Vec::new(), None);
        for step in doings {
            match step {
                Do::Push { first, count, batch } => {
                    let keys: Vec<u64> = (first..first + count).map(|key| key * 7 % 20_011).collect();
                    let times: Vec<i64> = keys.iter().map(|key| now - (*key % 9) as i64).collect();
                    let values: Vec<i64> = keys.iter().map(|key| *key as i64).collect();
                    if batch {
                        let times = floodmark::Times::micros(&times);
                        let _ = kernel.push_batch(input, times, &keys, &values).unwrap();
                    } else {
                        for ((key, time), value) in keys.iter().zip(times).zip(values) {
                            let _ = kernel.push(input, Timestamp::from_micros(time), *key, value).unwrap();
                        }
                    }
                }
                Do::Pass(time) => now += time,
                Do::Poll(most) => {
                    kernel.drain(most, |_| ());
                }
                Do::Snapshot(most) => match kernel.write_snapshot(most, &mut bytes) {
                    SnapshotProgress::None => {
                        expected = kernel.snapshot();
                        let kind = kernel.begin_snapshot(last).unwrap();
                        prop_assert_eq!(kind == SnapshotKind::Changes, last.is_some());
                        prop_assert!(kernel.snapshot() == expected, "beginning one changes nothing");
                    }
                    SnapshotProgress::More => {}
                    SnapshotProgress::Done(id) => {
                        last = Some(id);
                        chain.push(std::mem::take(&mut bytes));
                        let all: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
                        let all = Chain::read(&all).unwrap();
                        let restored = build(&config, indexed).restore_chain(&all).unwrap();
                        prop_assert!(restored.snapshot() == expected, "after {} snapshots", chain.len());
                        if most % 3 == 0 {
                            // The process dies, and goes on from what it has stored, with changes.
                            kernel = restored;
                        }
                        if chain.len() > 2 {
                            // What goes on from the chain goes on from what was made of it.
                            let compacted = all.compact();
                            prop_assert_eq!(Chain::read(&[&compacted]).unwrap().id(), id);
                            chain = vec![compacted];
                        }
                    }
                },
            }
        }
    }
}

/// Writes what there is to write by a hundred entries, never many bytes at a time; and in how many steps. Something may
/// happen after each.
fn in_small_steps(kernel: &mut Kernel, mut after: impl FnMut(&mut Kernel, u64)) -> (Vec<u8>, u64) {
    let (mut bytes, mut steps) = (Vec::new(), 0);
    loop {
        let before = bytes.len();
        let progress = kernel.write_snapshot(100, &mut bytes);
        assert!(bytes.len() - before < 8192, "{} bytes in step {steps}", bytes.len() - before);
        steps += 1;
        after(kernel, steps);
        if progress != SnapshotProgress::More {
            return (bytes, steps);
        }
    }
}

/// What has been held since the last step waits: how much a step does follows from what it is told alone.
#[test]
fn s1_a_step_gives_out_what_it_is_told() {
    const KEYS: u64 = 50_000;
    for indexed in [false, true] {
        let config = Config::tumbling(TimeDelta::seconds(1)).ascending();
        let mut kernel = build(&config, indexed);
        let input = kernel.add_partition();
        let (keys, values): (Vec<u64>, Vec<i64>) = (0..KEYS).map(|key| (key, 1)).unzip();
        let times = vec![0; KEYS as usize];
        let push = |kernel: &mut Kernel| {
            let batch = kernel.push_batch(input, floodmark::Times::micros(&times), &keys, &values).unwrap();
            assert_eq!(batch.accepted(), KEYS);
        };
        push(&mut kernel);
        let expected = kernel.snapshot();
        let _ = kernel.begin_snapshot(None).unwrap();
        // All entries change, and so all have to be held now.
        push(&mut kernel);
        let (bytes, steps) = in_small_steps(&mut kernel, |_, _| ());
        // (The last steps may have given out a little more than they were told.)
        assert!((KEYS / 100 - 20..=KEYS / 100 + 20).contains(&steps), "{steps} steps");
        let restored = build(&config, indexed).restore(&bytes).unwrap();
        assert!(restored.snapshot() == expected);
    }
}

/// What late events have left, and those that wait, are held step by step like all else.
#[test]
fn s1_what_late_events_leave_is_held_in_steps() {
    const KEYS: u64 = 20_000;
    let second = 1_000_000;
    let config = Config::tumbling(TimeDelta::seconds(1)).allowed_lateness(TimeDelta::seconds(60)).ascending();
    for indexed in [false, true] {
        let mut kernel = build(&config, indexed);
        let input = kernel.add_partition();
        let push = |kernel: &mut Kernel, keys: std::ops::Range<u64>, time: i64| {
            for key in keys {
                let _ = kernel.push(input, Timestamp::from_micros(time), key, 1).unwrap();
            }
        };
        // Begins a snapshot, lets something happen half-way, and writes the rest.
        let take = |kernel: &mut Kernel, meanwhile: &dyn Fn(&mut Kernel)| {
            let expected = kernel.snapshot();
            let _ = kernel.begin_snapshot(None).unwrap();
            let (bytes, _) = in_small_steps(kernel, |kernel, steps| {
                if steps == 20 {
                    meanwhile(kernel);
                }
            });
            let restored = build(&config, indexed).restore(&bytes).unwrap();
            assert!(restored.snapshot() == expected);
        };
        let drain = |kernel: &mut Kernel| _ = kernel.drain(usize::MAX, |_| ());
        push(&mut kernel, 0..KEYS, 0);
        push(&mut kernel, 0..1, 5 * second);
        drain(&mut kernel);
        push(&mut kernel, 0..KEYS, 0);
        // All of them wait, and half of them have their turn while the snapshot is taken.
        take(&mut kernel, &|kernel| _ = kernel.drain(KEYS as usize / 2, |_| ()));
        drain(&mut kernel);
        // All of them have fired late: half of them do again, and others.
        take(&mut kernel, &|kernel| {
            push(kernel, KEYS / 2..3 * KEYS / 2, 0);
            drain(kernel);
        });
        // And the window closes.
        take(&mut kernel, &|kernel| {
            push(kernel, 0..1, 90 * second);
            drain(kernel);
        });
    }
}

/// Keys that a window fires empty for are held before they are handed out, wherever among others they come.
#[test]
fn s1_keys_to_fire_empty_for_are_held_in_steps() {
    let config = Config::windows([Windows::tumbling(micros(10)).fill(micros(100))]).ascending();
    for (step, indexed) in [(1, false), (7, false), (100, true)] {
        let mut kernel = build(&config, indexed);
        let input = kernel.add_partition();
        let push = |kernel: &mut Kernel, key: u64, time: i64| {
            let _ = kernel.push(input, Timestamp::from_micros(time), key, 1).unwrap();
        };
        // Of a thousand keys in the first window every third is in the second, too, which the last event makes due.
        (0..1000).for_each(|key| push(&mut kernel, key, 5));
        (0..1000).step_by(3).for_each(|key| push(&mut kernel, key, 15));
        push(&mut kernel, 0, 25);
        assert_eq!(kernel.drain(1010, |_| ()), 1010);
        let expected = kernel.snapshot();
        let _ = kernel.begin_snapshot(None).unwrap();
        let mut bytes = Vec::new();
        while kernel.write_snapshot(step, &mut bytes) == SnapshotProgress::More {
            kernel.drain(11, |_| ());
        }
        let restored = build(&config, indexed).restore(&bytes).unwrap();
        assert!(restored.snapshot() == expected, "in steps of {step}");
    }
}

/// Begins a snapshot, lets something happen at some of its steps, and writes the rest: it is of the state as it was.
fn take(config: &Config, kernel: &mut Kernel, mut meanwhile: impl FnMut(&mut Kernel, u64)) {
    let expected = kernel.snapshot();
    let _ = kernel.begin_snapshot(None).unwrap();
    let (bytes, _) = in_small_steps(kernel, &mut meanwhile);
    let restored = build(config, false).restore(&bytes).unwrap();
    assert!(restored.snapshot() == expected);
}

/// Late panes that are owed at the end of a drain, and panes that were set aside, are held step by step.
#[test]
fn s1_panes_that_are_owed_or_set_aside_are_held_in_steps() {
    const KEYS: u64 = 20_000;
    for windows in [Windows::tumbling(micros(10)), Windows::session(micros(10))] {
        let windows = windows.allowed_lateness(micros(100)).late_firing(LateFiring::OncePerDrain);
        let config = Config::windows([windows]).ascending();
        let mut kernel = build(&config, false);
        let input = kernel.add_partition();
        let push = |kernel: &mut Kernel, keys: &mut dyn Iterator<Item = u64>, time: i64| {
            for key in keys {
                let _ = kernel.push(input, Timestamp::from_micros(time), key, 1).unwrap();
            }
        };
        push(&mut kernel, &mut (0..KEYS), 5);
        push(&mut kernel, &mut (0..1), 50);
        // All are due. Every second key changes, so what sessions were is set aside; then others come in between, and
        // panes are handed out.
        push(&mut kernel, &mut (0..KEYS).step_by(2), 6);
        take(&config, &mut kernel, |kernel, steps| match steps {
            20 => push(kernel, &mut (0..KEYS).step_by(3), 7),
            30 | 50 => _ = kernel.drain(KEYS as usize / 4, |_| ()),
            40 => push(kernel, &mut (0..KEYS).step_by(5), 8),
            _ => {}
        });
        kernel.drain(usize::MAX, |_| ());
        // All owe a late pane, and half of them hand it out while the snapshot is taken.
        push(&mut kernel, &mut (0..KEYS), 6);
        assert_eq!(kernel.drain(1, |_| ()), 1);
        take(&config, &mut kernel, |kernel, steps| {
            if steps == 20 {
                kernel.drain(KEYS as usize / 2, |_| ());
            }
        });
    }
}

/// A window of several slices is combined while it is drained, some keys at a time: keys that are left are in the snapshot, whether
/// they have been combined or not.
#[test]
fn s1_windows_are_cut_while_they_are_combined() {
    const KEYS: u64 = 9_000;
    let build = |subtracts: bool| {
        let kernel = Config::sliding(micros(4), micros(1)).ascending().build::<u64, i64, _>(Count).unwrap();
        if subtracts { kernel.subtract_on_evict() } else { kernel }
    };
    let rest = |snapshot: &[u8], subtracts: bool| {
        let mut kernel = build(subtracts).restore(snapshot).unwrap();
        let mut panes = std::collections::BTreeMap::new();
        kernel.finish();
        while let Some(pane) = kernel.poll() {
            let window = (pane.window.end.as_micros(), *pane.key);
            assert!(panes.insert(window, pane.value).is_none(), "{window:?} fires twice");
        }
        panes
    };
    for subtracts in [false, true] {
        let mut kernel = build(subtracts);
        let input = kernel.add_partition();
        for time in 0..12_i64 {
            // A third of the keys are in each slice, others in each.
            for key in (0..KEYS).filter(|key| (key / 1000 + time as u64).is_multiple_of(3)) {
                let _ = kernel.push(input, Timestamp::from_micros(time), key, 1).unwrap();
            }
            kernel.drain(4000, |_| ());
            let (expected, mut bytes) = (kernel.snapshot(), Vec::new());
            let _ = kernel.begin_snapshot(None).unwrap();
            while kernel.write_snapshot(60, &mut bytes) == SnapshotProgress::More {
                kernel.drain(25, |_| ());
            }
            let expected = rest(&expected, subtracts);
            assert!(rest(&bytes, subtracts) == expected && !expected.is_empty(), "at {time}");
            kernel.drain(usize::MAX, |_| ());
        }
    }
}

/// However many panes of a window have been handed out when a snapshot is begun, and however many are before a step of it is
/// written or after some: those that were left then are in it, once.
#[test]
fn s1_panes_that_are_handed_out_meanwhile_are_left_in_the_snapshot() {
    // (In no order, so that panes are made as they are handed out.)
    let fresh = || -> Windowing<u64, i64, Count> {
        Config::sliding(micros(6), micros(2)).ascending().build(Count).unwrap()
    };
    let panes = |snapshot: &[u8]| {
        let mut kernel = fresh().restore(snapshot).unwrap();
        kernel.finish();
        let mut panes = Vec::new();
        kernel.drain(usize::MAX, |pane| panes.push((pane.window, *pane.key, pane.value)));
        panes.sort_unstable_by_key(|(window, key, _)| (window.end, *key));
        panes
    };
    let counts = [0, 99, 101, 160, 195, 200];
    let cases = counts.into_iter().flat_map(|count| counts.map(|other| (count, other)));
    for ((handed_out, meanwhile), steps) in cases.flat_map(|case| (0..110).map(move |steps| (case, steps))) {
        let mut kernel = fresh();
        let input = kernel.add_partition();
        // Some keys are in the slice only that leaves, and have the last numbers; others only in the one that comes.
        let leaving = 1000..1050;
        for (time, keys, others) in
            [(0, 100, leaving.clone()), (2, 100, 0..0), (4, 100, 0..0), (6, 200, 0..0), (8, 1, 0..0)]
        {
            kernel.drain(usize::MAX, |_| ());
            for key in (0..keys).chain(others) {
                let _ = kernel.push(input, Timestamp::from_micros(time), key, 1).unwrap();
            }
        }
        assert_eq!(kernel.drain(handed_out, |_| ()), handed_out);
        let (expected, mut bytes) = (panes(&kernel.snapshot()), Vec::new());
        let _ = kernel.begin_snapshot(None).unwrap();
        (0..steps).for_each(|_| _ = kernel.write_snapshot(1, &mut bytes));
        kernel.drain(meanwhile, |_| ());
        bytes.append(&mut written(&mut kernel, 7).0);
        assert_eq!(panes(&bytes), expected, "{handed_out}, {steps} steps, and {meanwhile}");
    }
}

/// What could not go while a snapshot was taken goes with its end, where the input has ended before it.
#[test]
fn s1_nothing_is_left_of_a_snapshot_that_outlives_its_input() {
    let sliding = Windows::sliding(micros(4), micros(1));
    for (windows, is_written) in
        [(sliding.clone(), true), (sliding, false), (Windows::session(micros(2)), true)]
    {
        let mut kernel = Config::windows([windows]).ascending().build::<u64, i64, _>(Count).unwrap();
        let input = kernel.add_partition();
        for time in 0..8 {
            for key in 0..3000 {
                let _ = kernel.push(input, Timestamp::from_micros(time), key, 1).unwrap();
            }
            kernel.drain(usize::MAX, |_| ());
        }
        let expected = kernel.snapshot();
        let _ = kernel.begin_snapshot(None).unwrap();
        kernel.finish();
        kernel.drain(usize::MAX, |_| ());
        match is_written {
            true => {
                let restored = Chain::read(&[&written(&mut kernel, 100).0]).unwrap().slices().count();
                assert_eq!(restored, Chain::read(&[&expected]).unwrap().slices().count());
            }
            false => kernel.abandon_snapshot(),
        }
        assert!(kernel.state_bytes() < 2048, "{} bytes are left", kernel.state_bytes());
    }
}

/// What is still to be held of a slice when windows are combined from it, and when it expires, is held in steps as before.
#[test]
fn s1_slices_that_are_combined_or_expire_are_held_in_steps() {
    const KEYS: u64 = 20_000;
    let config = Config::sliding(micros(3), micros(1)).allowed_lateness(micros(1)).ascending();
    let mut kernel = build(&config, false);
    let input = kernel.add_partition();
    let push = |kernel: &mut Kernel, keys: std::ops::Range<u64>, time: i64| {
        for key in keys {
            let _ = kernel.push(input, Timestamp::from_micros(time), key, 1).unwrap();
        }
    };
    for time in 0..6 {
        push(&mut kernel, time * 1000..KEYS + time * 1000, time as i64);
        kernel.drain(usize::MAX, |_| ());
    }
    let mut now = 5;
    for begin in [10, 20] {
        // Some of the open slice is held, it is combined, late events come into it, and it expires before it is held; or it
        // does not.
        let first = now;
        take(&config, &mut kernel, |kernel, steps| {
            if steps >= begin && steps % 3 == 0 && now < first + 8 {
                now += 1;
                push(kernel, 0..100, now);
                kernel.drain(usize::MAX, |_| ());
                push(kernel, KEYS / 2..KEYS / 2 + 50, now - 2);
            }
        });
        assert_eq!(now, first + 8, "slices have been combined, and have expired");
        (0..3).for_each(|time| push(&mut kernel, 0..KEYS, now + time));
        now += 2;
    }
}

/// A kernel with a slice for each second, in each the same keys.
fn minutes_of(seconds: i64, keys: u64, sliding: bool) -> (Kernel, floodmark::Partition) {
    let config = match sliding {
        true => Config::sliding(TimeDelta::seconds(60), TimeDelta::seconds(1)),
        false => Config::tumbling(TimeDelta::seconds(1)).allowed_lateness(TimeDelta::seconds(60)),
    };
    let mut kernel = build(&config.max_disorder(TimeDelta::seconds(1)), false);
    let input = kernel.add_partition();
    for second in 0..seconds {
        push_second(&mut kernel, input, second, keys);
    }
    (kernel, input)
}

fn push_second(kernel: &mut Kernel, input: floodmark::Partition, second: i64, keys: u64) {
    for key in 0..keys {
        let time = Timestamp::from_micros(second * 1_000_000);
        let _ = kernel.push(input, time, key, 1).unwrap();
    }
    while kernel.poll().is_some() {}
}

#[test]
fn s1_of_sixty_slices_the_changes_are_those_of_the_newest() {
    for sliding in [false, true] {
        let (mut kernel, input) = minutes_of(100, 500, sliding);
        assert!(kernel.live_slices() >= 60, "{} slices", kernel.live_slices());
        assert_eq!(kernel.begin_snapshot(None).unwrap(), SnapshotKind::Full);
        let (full, id) = written(&mut kernel, 1000);
        push_second(&mut kernel, input, 99, 500);
        push_second(&mut kernel, input, 100, 500);
        let expected = kernel.snapshot();
        assert_eq!(kernel.begin_snapshot(Some(id)).unwrap(), SnapshotKind::Changes);
        let (changes, _) = written(&mut kernel, 1000);
        assert!(changes.len() * 10 < full.len(), "{} of {} bytes", changes.len(), full.len());
        let chain = Chain::read(&[&full, &changes]).unwrap();
        let restored = minutes_of(0, 0, sliding).0;
        assert!(restored.restore_chain(&chain).is_err(), "a kernel that has a partition is not fresh");
        let config = match sliding {
            true => Config::sliding(TimeDelta::seconds(60), TimeDelta::seconds(1)),
            false => Config::tumbling(TimeDelta::seconds(1)).allowed_lateness(TimeDelta::seconds(60)),
        };
        let fresh = build(&config.max_disorder(TimeDelta::seconds(1)), false);
        let mut restored = fresh.restore_chain(&chain).unwrap();
        assert_eq!(restored.snapshot(), expected);
        // Who is restored goes on with changes, too.
        assert_eq!(restored.begin_snapshot(Some(chain.id())).unwrap(), SnapshotKind::Changes);
        let (nothing, _) = written(&mut restored, 1000);
        assert!(nothing.len() * 15 < full.len(), "{} of {} bytes", nothing.len(), full.len());
        let id = chain.id();
        let _ = restored.begin_snapshot(None);
        restored.abandon_snapshot();
        assert_eq!(restored.begin_snapshot(Some(id)).unwrap(), SnapshotKind::Full);
    }
}

/// However events come: a slice that has changed is among the changes.
#[test]
fn s1_changes_by_whole_blocks_are_changes() {
    let config = Config::tumbling(micros(1000)).max_disorder(micros(700)).allowed_lateness(micros(50));
    for (indexed, shift) in [(false, 0), (false, 600), (true, 0), (true, 600)] {
        let mut kernel = build(&config, indexed);
        let input = kernel.add_partition();
        let (mut chain, mut last): (Vec<Vec<u8>>, _) = (Vec::new(), None);
        for round in 0..4 {
            // Into one slice or two, and now and then some that are late.
            let late = |n: i64| if round == 3 && n % 5 == 0 { 1200 } else { 0 };
            let times: Vec<i64> = (0..600).map(|n| shift + 1500 + n + 10 * round - late(n)).collect();
            let keys: Vec<u64> = (0..600).map(|key| key % 50).collect();
            let times = floodmark::Times::micros(&times);
            let _ = kernel.push_batch(input, times, &keys, &[1; 600]).unwrap();
            let expected = kernel.snapshot();
            let _ = kernel.begin_snapshot(last).unwrap();
            let (bytes, id) = written(&mut kernel, 100);
            chain.push(bytes);
            last = Some(id);
            let all: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
            let restored = build(&config, indexed).restore_chain(&Chain::read(&all).unwrap()).unwrap();
            assert!(restored.snapshot() == expected, "round {round}");
        }
    }
}

/// What has been declared and not looked at stays so while a snapshot is taken, and when it is done or given up.
#[test]
fn s1_the_end_of_a_snapshot_is_no_observation() {
    for (abandons, batch) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut kernel = build(&Config::tumbling(micros(60)), false);
        let input = kernel.add_partition();
        let _ = kernel.push(input, Timestamp::from_micros(10), 1, 1).unwrap();
        let _ = kernel.begin_snapshot(None).unwrap();
        kernel.set_watermark(input, floodmark::Watermark::from_micros(100)).unwrap();
        match abandons {
            true => kernel.abandon_snapshot(),
            false => drop(written(&mut kernel, 10)),
        }
        let late = match batch {
            true => {
                kernel.push_batch(input, floodmark::Times::micros(&[50]), &[1], &[1]).unwrap().accepted() == 0
            }
            false => {
                let pushed = kernel.push(input, Timestamp::from_micros(50), 1, 1).unwrap();
                matches!(pushed, floodmark::Admission::Late(_))
            }
        };
        assert!(late, "the window had closed");
    }
}

#[test]
fn s1_a_snapshot_that_is_not_kept_is_not_gone_on_from() {
    let (mut kernel, input) = minutes_of(3, 10, false);
    assert_eq!(kernel.write_snapshot(1, &mut Vec::new()), SnapshotProgress::None);
    let _ = kernel.begin_snapshot(None).unwrap();
    let error = kernel.begin_snapshot(None).unwrap_err().to_string();
    assert_eq!(error, "another snapshot is being taken: write it to its end, or abandon it");
    let (_, first) = written(&mut kernel, 7);
    // A second one, which the host could not store: the next one is asked for with the first.
    let _ = kernel.begin_snapshot(Some(first)).unwrap();
    let _ = written(&mut kernel, 7);
    push_second(&mut kernel, input, 3, 10);
    assert_eq!(kernel.begin_snapshot(Some(first)).unwrap(), SnapshotKind::Full);
    let (_, third) = written(&mut kernel, 7);
    assert_eq!(kernel.begin_snapshot(Some(third)).unwrap(), SnapshotKind::Changes);
    kernel.abandon_snapshot();
    assert_eq!(kernel.write_snapshot(1, &mut Vec::new()), SnapshotProgress::None);
    assert_eq!(kernel.begin_snapshot(Some(third)).unwrap(), SnapshotKind::Full);
}

#[test]
fn s3_chains_that_are_none_are_named() {
    let (mut kernel, input) = minutes_of(3, 10, false);
    let mut taken = Vec::new();
    let mut last = None;
    for second in 3..6 {
        let _ = kernel.begin_snapshot(last).unwrap();
        let (bytes, id) = written(&mut kernel, 7);
        last = Some(id);
        taken.push(bytes);
        push_second(&mut kernel, input, second, 10);
    }
    let [full, second, third] = [&taken[0][..], &taken[1][..], &taken[2][..]];
    assert!(Chain::read(&[full, second, third]).is_ok());
    for (chain, why) in [
        (&[][..], "there is no snapshot"),
        (&[second], "holds the changes since snapshot"),
        (&[full, full], "snapshot 1 of the chain is a full one"),
        (&[full, third], "snapshot 1 of the chain holds the changes since"),
        (&[full, third, second], "snapshot 1 of the chain holds the changes since"),
    ] {
        let error = Chain::read(chain).unwrap_err();
        assert!(error.is_chain() && error.to_string().contains(why), "{error}");
    }
    let compacted = Chain::read(&[full, second]).unwrap().compact();
    assert!(Chain::read(&[&compacted, third]).is_ok());
}

/// What is configured now counts from now on; what has closed stays closed.
#[test]
fn s4_a_larger_lateness_opens_nothing_that_has_closed() {
    let tumbling = |lateness| Config::tumbling(micros(10)).allowed_lateness(micros(lateness));
    let sessions = |lateness| Config::session(micros(3)).allowed_lateness(micros(lateness));
    let build = |config: Config| config.build::<u32, i64, _>(Count).unwrap().ordered();
    for (before, after) in [(tumbling(5), tumbling(40)), (sessions(5), sessions(40))] {
        let mut kernel = build(before.ascending());
        let input = kernel.add_partition();
        for time in [2, 14, 33] {
            let _ = kernel.push(input, Timestamp::from_micros(time), 1, 0).unwrap();
        }
        while kernel.poll().is_some() {}
        let mut kernel = build(after.clone().ascending()).restore(&kernel.snapshot()).unwrap();
        // The watermark is 33, up to which [10, 20) has closed, and so has a session that ends by 28.
        let verdicts = |kernel: &mut Windowing<u32, i64, Count>| {
            [13, 16, 22, 29].map(|time| {
                matches!(
                    kernel.push(input, Timestamp::from_micros(time), 2, 0).unwrap(),
                    floodmark::Admission::Accepted
                )
            })
        };
        assert_eq!(verdicts(&mut kernel), [false, false, kernel.live_slices() > 0, true]);
        while kernel.poll().is_some() {}
        // It is remembered, and is not what was allowed before that counts from now on.
        let mut kernel = build(after.ascending()).restore(&kernel.snapshot()).unwrap();
        assert_eq!(verdicts(&mut kernel), [false, false, kernel.live_slices() > 0, true]);
        let _ = kernel.push(input, Timestamp::from_micros(60), 1, 0).unwrap();
        assert_eq!(verdicts(&mut kernel), [false, false, kernel.live_slices() > 0, true]);
        let _ = kernel.push(input, Timestamp::from_micros(90), 1, 0).unwrap();
        assert_eq!(verdicts(&mut kernel), [false; 4]);
    }
}

/// They were let in by what was allowed then, and are to fire by it.
#[test]
fn s4_more_lateness_is_refused_while_late_events_wait() {
    let build = |lateness| {
        let config = Config::tumbling(micros(10)).allowed_lateness(micros(lateness)).ascending();
        config.build::<u32, i64, _>(Count).unwrap()
    };
    let mut kernel = build(50);
    let input = kernel.add_partition();
    for time in [75, 100] {
        let _ = kernel.push(input, Timestamp::from_micros(time), 1, 0).unwrap();
    }
    while kernel.poll().is_some() {}
    for time in [76, 200] {
        let _ = kernel.push(input, Timestamp::from_micros(time), 1, 0).unwrap();
    }
    let error = build(1000).restore(&kernel.snapshot()).unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("late events that wait"), "{error}");
    while kernel.poll().is_some() {}
    assert!(build(1000).restore(&kernel.snapshot()).is_ok());
}

/// Also where nobody has looked at the watermark since.
#[test]
fn s4_a_larger_lateness_goes_by_the_watermark_that_was_told() {
    let build = |lateness| {
        let config = Config::session(micros(60)).allowed_lateness(micros(lateness)).ascending();
        config.build::<u32, i64, _>(Count).unwrap()
    };
    let mut kernel = build(0);
    let input = kernel.add_partition();
    for time in 0..50 {
        let _ = kernel.push(input, Timestamp::from_micros(time), 1, 0).unwrap();
    }
    let mut kernel = build(300).restore(&kernel.snapshot()).unwrap();
    let pushed = kernel.push(input, Timestamp::from_micros(-30), 2, 0).unwrap();
    assert!(matches!(pushed, floodmark::Admission::Late(_)), "the session would end at 30, and it was 49");
}

#[test]
fn s4_what_only_the_future_is_judged_by_may_change() {
    let base = || {
        Config::sliding(micros(20), micros(10))
            .max_disorder(micros(5))
            .idle_timeout(micros(7))
            .max_future_skew(micros(1000), Suspect::Reject)
    };
    let build = |config: Config| config.build::<u32, i64, _>(Count).unwrap().ordered();
    let mut kernel = build(base());
    let input = kernel.add_partition();
    for time in 0..50 {
        let _ = kernel.push(input, Timestamp::from_micros(time), (time % 3) as u32, 0).unwrap();
    }
    let _ = kernel.poll();
    let snapshot = kernel.snapshot();
    let panes = |mut kernel: Windowing<u32, i64, Count>| {
        kernel.finish();
        let mut panes = Vec::new();
        while let Some(pane) = kernel.poll() {
            panes.push((pane.window, *pane.key, pane.value));
        }
        panes
    };
    let expected = panes(build(base()).restore(&snapshot).unwrap());
    assert_eq!(expected.len(), 17);
    for config in [
        base().idle_timeout(micros(9)),
        base().close_after_quiet(micros(9)),
        base().max_future_skew(micros(3), Suspect::Admit),
    ] {
        assert_eq!(panes(build(config).restore(&snapshot).unwrap()), expected);
    }
    let subtracting = build(base()).subtract_on_evict();
    assert_eq!(panes(subtracting.restore(&snapshot).unwrap()), expected);
    // Early panes come as often as is said now.
    let early = |every| build(base().trigger(Trigger::on_time().early_every_events(every)));
    let mut kernel = early(100);
    let input = kernel.add_partition();
    for time in 0..4 {
        let _ = kernel.push(input, Timestamp::from_micros(time), 1, 0).unwrap();
    }
    let mut kernel = early(5).restore(&kernel.snapshot()).unwrap();
    assert!(kernel.poll().is_none());
    let _ = kernel.push(input, Timestamp::from_micros(4), 1, 0).unwrap();
    assert_eq!(kernel.poll().map(|pane| pane.value), Some(5));
}

#[test]
fn s3_a_summary_needs_no_types() {
    let config = Config::windows([
        Windows::sliding(TimeDelta::seconds(60), TimeDelta::seconds(30)),
        Windows::session(TimeDelta::seconds(5)).allowed_lateness(TimeDelta::seconds(1)),
    ]);
    let value: fn(&i64) -> i64 = |value| *value;
    let mut kernel = config
        .max_disorder(TimeDelta::seconds(2))
        .build::<String, i64, _>((Count, Sum::of(value)))
        .unwrap()
        .ordered();
    let (input, _) = (kernel.add_partition(), kernel.add_partition());
    for (second, key) in [(1, "alpha"), (2, "beta"), (31, "alpha"), (32, "alpha")] {
        let _ = kernel.push(input, Timestamp::from_micros(second * 1_000_000), key.into(), 1).unwrap();
    }
    let bytes = kernel.snapshot();
    let summary = Chain::read(&[&bytes]).unwrap().summary().unwrap().to_string();
    let (_, shown) = summary.split_once('\n').unwrap();
    let expected = "\
aggregate (count, sum i64)
windows 0: sliding, PT60S every PT30S; allowed lateness P0D
windows 1: sessions, gap PT5S; allowed lateness PT1S; 3 of single keys in 99 bytes
watermark nothing known
partition 0: Active, watermark 1970-01-01T00:00:30Z, latest event 1970-01-01T00:00:32Z
partition 1: Waiting, watermark nothing known, no event yet
events: 4 accepted, 0 late; 0 wait to be polled
slice 1970-01-01T00:00:00Z to 1970-01-01T00:00:30Z: 2 keys in 19 bytes
slice 1970-01-01T00:00:30Z to 1970-01-01T00:01:00Z: 1 keys in 10 bytes
2 slices, 3 entries in 29 bytes";
    assert_eq!(shown, expected);
}

// Moving state (S5).

#[derive(Clone, Debug)]
enum Turn {
    Event {
        key: u32,
        time: i64,
    },
    /// The watermark of one of two partitions rises.
    Rise {
        second: bool,
        by: i64,
    },
    Poll,
    /// From here on there are so many kernels.
    Rescale(u32),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        8 => (0..12u32, -15..25i64).prop_map(|(key, time)| Turn::Event { key, time }),
        2 => (any::<bool>(), 0..12i64).prop_map(|(second, by)| Turn::Rise { second, by }),
        1 => Just(Turn::Poll),
        1 => (1..6u32).prop_map(Turn::Rescale),
    ];
    prop::collection::vec(turn, 1..120)
}

type Small = Windowing<u32, i64, (Count, Sum<fn(&i64) -> i64, i64>)>;
type Told = (u32, i64, i64, u32, (u64, i64), bool, u32);

/// The panes of a stream that so many kernels take, those of each turn sorted, and how many events were late.
fn told(config: &Config, turns: &[Turn], rescales: bool) -> (Vec<Vec<Told>>, u64) {
    let value: fn(&i64) -> i64 = |value| *value;
    let fresh = || -> Small { config.clone().build((Count, Sum::of(value))).unwrap() };
    let mut kernels = vec![fresh()];
    let inputs = [kernels[0].add_partition(), kernels[0].add_partition()];
    let (mut marks, mut latest, mut told) = ([0, 0], 0, Vec::new());
    let poll = |kernels: &mut Vec<Small>, told: &mut Vec<Vec<Told>>| {
        let mut panes: Vec<Told> = Vec::new();
        for kernel in kernels {
            kernel.drain(usize::MAX, |pane| {
                let (start, end) = (pane.window.start.as_micros(), pane.window.end.as_micros());
                let is_late = pane.timing == floodmark::Timing::Late;
                panes.push((pane.definition, start, end, *pane.key, pane.value, is_late, pane.index));
            });
        }
        panes.sort_unstable();
        told.push(panes);
    };
    let set = |kernels: &mut Vec<Small>, second: bool, mark: i64| {
        let mark = floodmark::Watermark::from_micros(mark);
        for kernel in kernels {
            kernel.set_watermark(inputs[usize::from(second)], mark).unwrap();
        }
    };
    for (number, turn) in turns.iter().enumerate() {
        match *turn {
            Turn::Event { key, time } => {
                let place = part_of(&key, kernels.len() as u32) as usize;
                let time = marks[0].min(marks[1]) + time;
                latest = latest.max(time);
                let time = Timestamp::from_micros(time);
                let _ = kernels[place].push(inputs[number % 2], time, key, number as i64).unwrap();
            }
            Turn::Rise { second, by } => {
                marks[usize::from(second)] += by;
                set(&mut kernels, second, marks[usize::from(second)]);
            }
            Turn::Poll => poll(&mut kernels, &mut told),
            Turn::Rescale(parts) => {
                poll(&mut kernels, &mut told);
                if rescales {
                    let taken: Vec<Vec<u8>> = kernels.iter().map(Small::snapshot).collect();
                    let chains: Vec<Chain<'_>> =
                        taken.iter().map(|bytes| Chain::read(&[bytes]).unwrap()).collect();
                    let merged = Chain::merge(&chains).unwrap();
                    let split = Chain::read(&[&merged]).unwrap().split(parts).unwrap();
                    kernels = split.iter().map(|part| fresh().restore(part).unwrap()).collect();
                }
            }
        }
    }
    // How far the stream has come, each part knows from its own events only.
    for second in [false, true] {
        set(&mut kernels, second, marks[usize::from(second)].max(latest + 1));
    }
    poll(&mut kernels, &mut told);
    kernels.iter_mut().for_each(Small::finish);
    poll(&mut kernels, &mut told);
    (told, kernels.iter().map(|kernel| kernel.counters().late).sum())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn s5_however_often_state_is_moved_the_results_are_those_of_one_kernel(
        mut turns in turns(),
        windows in 0..7,
        lateness in 0..20i64,
    ) {
        let late = |windows: Windows| windows.allowed_lateness(micros(lateness));
        let config = match windows {
            0 => Config::windows([late(Windows::tumbling(micros(10)))]),
            1 => Config::windows([late(Windows::sliding(micros(12), micros(3)))]),
            2 => Config::windows([late(Windows::session(micros(4))), late(Windows::tumbling(micros(7)))]),
            3 => Config::windows([late(Windows::tumbling(micros(6)).fill(micros(25)))]),
            4 => Config::windows([late(Windows::sliding(micros(12), micros(4)).fill(micros(9))), Windows::tumbling(micros(5))]),
            5 => {
                // What is learned is less than what the host says, from the beginning on.
                turns.splice(0..0, [false, true].map(|second| Turn::Rise { second, by: 0 }));
                let learned = LearnedDisorder::percentile(90.0, micros(2000)).at_least(micros(1000));
                Config::windows([late(Windows::tumbling(micros(10)))])
                    .learned_disorder(learned.warm_up(2).memory(9))
            }
            _ => Config::windows([late(
                Windows::tumbling(micros(10)).trigger(Trigger::on_time().early_every_events(3)),
            )]),
        };
        prop_assert_eq!(told(&config, &turns, true), told(&config, &turns, false));
    }
}

#[test]
fn s5_parts_go_on_with_what_all_have_learned() {
    let build = || -> Windowing<u32, (), Count> {
        let learned = LearnedDisorder::percentile(75.0, micros(1000)).warm_up(8);
        Config::tumbling(micros(10)).learned_disorder(learned).build(Count).unwrap()
    };
    let restored = |bytes: &[u8]| build().restore(bytes).unwrap();
    let mut kernel = build();
    let (input, behind) = (kernel.add_partition(), kernel.add_partition());
    let _ = kernel.push(behind, Timestamp::from_micros(0), 0, ()).unwrap();
    let bound = |kernel: &Windowing<u32, (), Count>| kernel.partition(input).unwrap().disorder;
    let push = |kernel: &mut Windowing<u32, (), Count>, time: i64, key: u32| {
        let _ = kernel.push(input, Timestamp::from_micros(time), key, ()).unwrap();
    };
    push(&mut kernel, 5000, 0);
    // Delays of 0 to 6, and of 0 for the first event.
    (0..7).for_each(|delay| push(&mut kernel, 5000 - delay, delay as u32));
    kernel.drain(usize::MAX, |_| ());
    assert_eq!(bound(&kernel), Some(micros(4)));

    let bytes = kernel.snapshot();
    let mut parts: Vec<_> =
        Chain::read(&[&bytes]).unwrap().split(3).unwrap().iter().map(|part| restored(part)).collect();
    assert!(parts.iter().all(|part| bound(part) == Some(micros(4))));
    let merge = |parts: &[Windowing<u32, (), Count>]| {
        let taken: Vec<Vec<u8>> = parts.iter().map(Windowing::snapshot).collect();
        let chains: Vec<Chain<'_>> = taken.iter().map(|bytes| Chain::read(&[bytes]).unwrap()).collect();
        restored(&Chain::merge(&chains).unwrap())
    };
    assert_eq!(bound(&merge(&parts)), Some(micros(4)));

    // One sees delays that the others do not: 24 events with those of before, of which 12 more come 500 late.
    (0..12).for_each(|_| push(&mut parts[1], 4500, 1));
    assert_eq!((bound(&parts[0]), bound(&parts[1])), (Some(micros(4)), Some(micros(511))));
    // Another has come further.
    push(&mut parts[2], 9000, 2);
    let merged = merge(&parts);
    assert_eq!(bound(&merged), Some(micros(511)));
    assert_eq!(merged.partition(input).unwrap().watermark.as_micros(), 9000 - 4);
}

#[test]
fn s5_what_cannot_be_moved_is_named() {
    let build = || -> Small {
        let value: fn(&i64) -> i64 = |value| *value;
        Config::tumbling(micros(10)).ascending().build((Count, Sum::of(value))).unwrap()
    };
    let mut kernel = build();
    let input = kernel.add_partition();
    for key in 0..100 {
        let _ = kernel.push(input, Timestamp::from_micros(key), key as u32, 1).unwrap();
    }
    let waiting = kernel.snapshot();
    kernel.drain(usize::MAX, |_| ());
    let rest = kernel.snapshot();
    let _ = kernel.push(input, Timestamp::from_micros(105), 1, 1).unwrap();
    kernel.drain(usize::MAX, |_| ());
    let further = kernel.snapshot();
    let [waiting, rest, further] = [&waiting, &rest, &further].map(|bytes| Chain::read(&[bytes]).unwrap());
    let error = waiting.split(2).unwrap_err();
    assert!(error.is_parts());
    assert_eq!(
        error.to_string(),
        "snapshot 0 cannot be split or merged: something waits to be polled: poll until there is nothing first"
    );
    let parts = rest.split(3).unwrap();
    let counts: Vec<usize> = parts.iter().map(|part| build().restore(part).unwrap().live_slices()).collect();
    assert!(counts.iter().all(|&count| count <= 1));
    let error = Chain::merge(&[rest, further]).unwrap_err().to_string();
    assert!(error.starts_with("snapshot 1 cannot be split or merged: it has another watermark"), "{error}");
    assert!(Chain::merge(&[]).unwrap_err().is_chain());
    // Every key has a part, all parts have keys, and what is a part of more stays together.
    let mut seen = [0; 7];
    for key in 0..7000u64 {
        seen[part_of(&key, 7) as usize] += 1;
        assert_eq!(part_of(&key, 5), part_of(&key, 20) / 4);
    }
    assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
}

/// A kernel with keys that have something in common.
#[cfg(feature = "lz4")]
fn with_long_keys() -> Vec<u8> {
    let mut windows = Config::tumbling(TimeDelta::minutes(1)).ascending().build(Count).unwrap();
    let input = windows.add_partition();
    for sensor in 0..40 {
        let key = format!("a sensor with the number {sensor}");
        let _ = windows.push(input, Timestamp::from_micros(sensor), key, ()).unwrap();
    }
    windows.snapshot()
}

#[cfg(feature = "lz4")]
#[test]
fn s3_damage_to_a_compressed_snapshot_is_found() {
    use floodmark::snapshot::{Link, compress, decompress};

    let plain = with_long_keys();
    let compressed = compress(&plain).unwrap();
    assert!(compressed.len() < plain.len() / 2, "{} of {}", compressed.len(), plain.len());
    assert_eq!(decompress(&compressed).unwrap(), plain);
    assert_eq!(compress(&compressed).unwrap(), compressed, "once is enough");
    assert!(matches!(decompress(&plain).unwrap(), std::borrow::Cow::Borrowed(_)));
    let error = Link::read(&compressed).unwrap_err();
    assert!(error.is_compressed() && error.to_string().contains("`snapshot::decompress`"), "{error}");
    for length in 0..compressed.len() {
        let read = decompress(&compressed[..length]).and_then(|plain| Link::read(&plain));
        assert!(read.is_err(), "cut to {length}");
    }
    for bit in 0..compressed.len() * 8 {
        let mut flipped = compressed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // (A bit may not matter to what a block stands for.)
        match decompress(&flipped) {
            Ok(found) => assert!(found == plain || Link::read(&found).is_err(), "bit {bit}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
