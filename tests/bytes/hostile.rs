//! Restore under hostile bytes (S3), and the snapshots of released versions (S4).

use crate::shared::allocation::measure;
use crate::shared::frame::{
    ASIDES, CONFIGURATION, CUT, END, ENTRIES, FIRING, Frame, KEYED, PROGRESS, QUEUE, REISSUES, REMAINING,
    SLICES, Section, WAITING,
};
use crate::shared::restore::{allowed_bytes, restore_and_run_on};
use crate::shared::worlds::{
    Guarded, Kernel, LINKS, OncePerDrain, Overlapping, SCRIPT, Sessions, Several, Subtracting, Unkeyed,
    WORLDS, World, chain, in_world, poll, push, specimens,
};
use chrono::TimeDelta;
use floodmark::snapshot::Chain;
use floodmark::{
    Admission, Aggregate, Config, Count, LateFiring, Max, Mean, RestoreError, Resume, Sum, Suspect,
    Timestamp, TopK, Trigger, Windowing,
};
use proptest::prelude::*;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn micros(micros: i64) -> TimeDelta {
    TimeDelta::microseconds(micros)
}

fn encoded(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

/// Runs a test in every world.
macro_rules! in_all_worlds {
    ($($test:ident $body:ident)+) => {$(
        #[test]
        fn $test() {
            $body::<Overlapping>();
            $body::<OncePerDrain>();
            $body::<Subtracting>();
            $body::<Unkeyed>();
            $body::<Guarded>();
            $body::<Sessions>();
            $body::<Several>();
        }
    )+};
}

in_all_worlds! {
    s1_s2_specimens_go_on_where_they_were_taken specimens_go_on
    s3_every_truncation_is_called_one truncate_everywhere
    s3_every_flipped_bit_is_found flip_every_bit
    s3_bytes_that_follow_are_found append
    s3_repaired_flips_never_break_the_kernel flip_every_bit_and_repair
    s3_repaired_bytes_never_break_the_kernel change_every_byte_and_repair
    s3_repaired_lengths_never_break_the_kernel announce_everywhere
    s3_sections_out_of_place_never_break_the_kernel move_sections
    s3_huge_section_lengths_are_truncations lengthen_every_section
}

/// That the specimens are worth flipping bits in.
fn specimens_go_on<W: World>() {
    let specimens = specimens::<W>();
    assert_eq!(specimens.len(), 5);
    for specimen in &specimens {
        assert!(restore_and_run_on::<W>(&[specimen], SCRIPT), "{}", W::NAME);
        assert!(restore_and_run_on::<W>(&[specimen], &[]), "{}", W::NAME);
    }
    let drained = |specimen: &[u8]| {
        let mut kernel = W::fresh().restore(specimen).unwrap();
        poll::<W>(&mut kernel, 1000)
    };
    let [fresh, mid_drain, refiring, after, quiet] = &specimens[..] else { unreachable!() };
    assert!(drained(fresh).is_empty() && drained(quiet).is_empty());
    let panes = drained(mid_drain);
    let any = |panes: &[String], what| panes.iter().any(|pane| pane.contains(what));
    assert!(any(&panes, "OnTime"), "in the middle of a drain: {panes:#?}");
    assert!(any(&panes, "Late"), "late events wait: {panes:#?}");
    assert_eq!(drained(refiring), panes[panes.len() - 1..]);
    // In a session that event only counts towards the next early pane.
    assert_eq!(drained(after).is_empty(), W::NAME == Sessions::NAME);
}

fn refused<W: World>(bytes: &[u8]) -> RestoreError {
    let (restored, tally) = measure(|| W::fresh().restore(bytes));
    assert!(tally.peak <= allowed_bytes(bytes.len()), "{} bytes took {}", bytes.len(), tally.peak);
    match restored {
        Ok(_) => panic!("{}: restored from {bytes:?}", W::NAME),
        Err(error) => error,
    }
}

fn truncate_everywhere<W: World>() {
    for specimen in specimens::<W>() {
        let error = refused::<W>(&[]);
        assert_eq!(error.to_string(), "these bytes are not a Floodmark snapshot");
        for length in 1..specimen.len() {
            let error = refused::<W>(&specimen[..length]);
            assert!(error.is_truncated(), "{length} bytes: {error}");
            assert!(error.to_string().contains("bytes needed"), "{error}");
        }
    }
}

fn flip_every_bit<W: World>() {
    for specimen in specimens::<W>() {
        for bit in 0..8 * specimen.len() {
            let mut flipped = specimen.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = refused::<W>(&flipped);
            let (version, damaged, truncated) =
                (error.is_version(), error.is_damaged(), error.is_truncated());
            match bit / 8 {
                0..8 => assert_eq!(error.to_string(), "these bytes are not a Floodmark snapshot"),
                8..10 => assert!(version && error.to_string().contains("reads versions 1 to 1"), "{error}"),
                _ => assert!(damaged || truncated, "bit {bit}: {error}"),
            }
            assert!(!error.is_configuration(), "a checksum comes before what it is of: {error}");
        }
    }
    let chain = chain::<W>();
    for bit in 0..8 * chain[1].len() {
        let mut flipped = chain[1].clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Chain::read(&[&chain[0], &flipped]).is_err(), "bit {bit}");
    }
}

fn append<W: World>() {
    for specimen in specimens::<W>() {
        for more in [&[0][..], b"FLOODMRK", &specimen] {
            let error = refused::<W>(&[&specimen, more].concat());
            assert!(error.is_damaged(), "{error}");
            assert_eq!(error.to_string(), format!("{} bytes follow the end of the snapshot", more.len()));
        }
    }
}

#[test]
fn s3_other_files_are_not_snapshots() {
    for bytes in [&b"\0"[..], b"PAR1", b"floodmrk\x01\0", b"{\"version\":1}", &[0xff; 4096]] {
        let error = refused::<Overlapping>(bytes);
        assert_eq!(error.to_string(), "these bytes are not a Floodmark snapshot");
        let kinds = [error.is_truncated(), error.is_damaged(), error.is_version(), error.is_configuration()];
        assert_eq!(kinds, [false; 4]);
    }
}

#[test]
fn s3_later_versions_are_named() {
    let mut frame = Frame::parse(&Overlapping::fresh().snapshot()).unwrap();
    for version in [0, 2, 0x0100, u16::MAX] {
        frame.version = version;
        let error = refused::<Overlapping>(&frame.to_bytes());
        assert!(error.is_version());
        assert_eq!(
            error.to_string(),
            format!("the snapshot has format version {version}; this release reads versions 1 to 1")
        );
    }
}

/// Each setting that must agree, with the two values that the error has to name.
#[test]
fn s3_another_configuration_is_named_with_both_values() {
    let base = || {
        Config::sliding(micros(60), micros(10))
            .offset(micros(3))
            .allowed_lateness(micros(20))
            .max_disorder(micros(5))
            .idle_timeout(micros(7))
            .max_future_skew(micros(1000), Suspect::Reject)
    };
    type Plain = Windowing<u32, i64, Count>;
    let taken: Plain = base().build(Count).unwrap();
    let snapshot = taken.snapshot();
    let refused = |config: Config| {
        let other: Plain = config.build(Count).unwrap();
        other.restore(&snapshot).unwrap_err()
    };
    let other_grid = |size, slide| {
        refused(
            Config::sliding(micros(size), micros(slide))
                .offset(micros(3))
                .allowed_lateness(micros(20))
                .max_disorder(micros(5))
                .idle_timeout(micros(7))
                .max_future_skew(micros(1000), Suspect::Reject),
        )
    };
    for (error, what, was, is) in [
        (other_grid(70, 10), "size", "60", "70"),
        (other_grid(60, 20), "slide", "10", "20"),
        (refused(base().offset(micros(4))), "offset", " 3,", " 4 "),
        (refused(base().allowed_lateness(micros(19))), "lateness", "20", "19"),
        (refused(base().max_disorder(micros(6))), "disorder", "Some(5)", "Some(6)"),
        (refused(base().resume(Resume::Hold)), "resume", "false", "true"),
        (refused(base().trigger(Trigger::on_time().early_every_events(3))), "early panes", "false", "true"),
        (refused(base().late_firing(LateFiring::OncePerDrain)), "once per drain", "false", "true"),
    ] {
        let text = error.to_string();
        assert!(error.is_configuration(), "{text}");
        assert!(!error.is_damaged() && !error.is_truncated() && !error.is_version());
        let (before, after) = text.split_once(" but ").expect("both sides");
        assert!(before.contains(what) && before.contains(was.trim_end_matches(',')), "{was} in {text}");
        assert!(after.contains(is.trim()), "{is} in {text}");
    }
    let ordered: Plain = base().build(Count).unwrap();
    let error = ordered.ordered().restore(&snapshot).unwrap_err();
    assert!(
        error.is_configuration() && error.to_string().contains("ordered output: false, but true"),
        "{error}"
    );
}

/// How events choose gaps is a function, which cannot be compared; that they do can.
#[test]
fn s3_gaps_chosen_by_events_are_part_of_the_configuration() {
    let build = || -> Windowing<u32, i64, Count> { Config::session(micros(9)).build(Count).unwrap() };
    let snapshot = build().gap_by(|_| None).snapshot();
    let error = build().restore(&snapshot).unwrap_err();
    let expected = "gaps of sessions chosen by events: true, but false is configured";
    assert!(error.is_configuration() && error.to_string().contains(expected), "{error}");
    assert!(build().gap_by(|_| None).restore(&snapshot).is_ok());
}

/// What may differ: an offset by whole slides, the seed, the budget.
#[test]
fn s3_the_same_meaning_is_the_same_configuration() {
    let config = || Config::sliding(micros(60), micros(10));
    let mut taken: Windowing<u32, i64, Count> = config().offset(micros(3)).seed(1).build(Count).unwrap();
    let partition = taken.add_partition();
    assert_eq!(taken.push(partition, at(5), 9, 0).unwrap(), Admission::Accepted);
    let other = config().offset(micros(-37)).seed(2).state_budget(1 << 20);
    let other: Windowing<u32, i64, Count> = other.build(Count).unwrap();
    let mut restored = other.restore(&taken.snapshot()).unwrap();
    restored.finish();
    assert_eq!(restored.poll().map(|pane| (*pane.key, pane.value)), Some((9, 1)));
}

#[test]
fn s3_another_aggregate_is_named_with_both_names() {
    fn build<A: Aggregate<i64>>(aggregate: A) -> Windowing<u32, i64, A> {
        Config::tumbling(micros(10)).build(aggregate).unwrap()
    }
    let value = |v: &i64| *v;
    let snapshot = build((Count, Sum::of(value))).snapshot();
    for (error, is) in [
        (build(Count).restore(&snapshot).unwrap_err(), "\"count\""),
        (build((Sum::of(value), Count)).restore(&snapshot).unwrap_err(), "\"(sum i64, count)\""),
        (
            build((Count, Sum::of(|v: &i64| *v as u64))).restore(&snapshot).unwrap_err(),
            "\"(count, sum u64)\"",
        ),
        (build((Count, Max::of(value))).restore(&snapshot).unwrap_err(), "\"(count, max)\""),
        (build((Count, TopK::of(3, value))).restore(&snapshot).unwrap_err(), "\"(count, top 3)\""),
        (build(Mean::of(|v: &i64| *v as f64)).restore(&snapshot).unwrap_err(), "\"mean\""),
    ] {
        assert!(error.is_configuration());
        let expected = format!("the aggregate \"(count, sum i64)\", but {is} is configured");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn s3_only_a_fresh_kernel_is_restored_into() {
    let snapshot = specimens::<Guarded>().pop().unwrap();
    let used: [fn(&mut Kernel<Guarded>); 4] = [
        |kernel| assert_eq!(kernel.add_partition().to_u64(), 0),
        |kernel| kernel.tick(at(0)),
        |kernel| kernel.finish(),
        |kernel| assert!(push::<Guarded>(kernel, floodmark::Partition::from_u64(0), 0, 0, 0).is_err()),
    ];
    for used in used {
        let mut kernel = Guarded::fresh();
        used(&mut kernel);
        let error = kernel.restore(&snapshot).unwrap_err();
        assert!(error.to_string().contains("this one was used"), "{error}");
    }
}

/// Every change of a payload that `changes` gives for each of its bytes, in a frame that is sound.
fn repair_each<W: World>(changes: impl Fn(&[u8], usize, &mut dyn FnMut(Vec<u8>))) {
    let mut restored = 0;
    for specimen in specimens::<W>() {
        let frame = Frame::parse(&specimen).expect("a snapshot is sound");
        assert_eq!(frame.to_bytes(), specimen);
        for (place, section) in frame.sections.iter().enumerate() {
            for byte in 0..section.payload.len() {
                changes(&section.payload, byte, &mut |payload| {
                    if payload == section.payload {
                        return;
                    }
                    let bytes = frame.with_payload(place, payload).to_bytes();
                    if section.tag == CONFIGURATION {
                        refuse_another_configuration::<W>(&bytes, &specimen);
                    } else {
                        restored += usize::from(restore_and_run_on::<W>(&[&bytes], SCRIPT));
                    }
                });
            }
        }
    }
    assert!(restored > 100, "{}: only {restored} got as far as a kernel", W::NAME);
}

/// The same for snapshots of changes, in a chain with what they are the changes since.
fn repair_each_of_changes<W: World>(changes: impl Fn(&[u8], usize, &mut dyn FnMut(Vec<u8>))) {
    let mut restored = 0;
    let chain = chain::<W>();
    assert!(restore_and_run_on::<W>(&[&chain[0], &chain[1]], SCRIPT));
    let frame = Frame::parse(&chain[1]).expect("a snapshot is sound");
    for (place, section) in frame.sections.iter().enumerate().filter(|(_, section)| section.tag > CUT) {
        for byte in 0..section.payload.len() {
            changes(&section.payload, byte, &mut |payload| {
                let bytes = frame.with_payload(place, payload).to_bytes();
                restored += usize::from(restore_and_run_on::<W>(&[&chain[0], &bytes], SCRIPT));
            });
        }
    }
    assert!(restored > 30, "{}: only {restored} got as far as a kernel", W::NAME);
}

fn refuse_another_configuration<W: World>(bytes: &[u8], specimen: &[u8]) {
    match W::fresh().restore(bytes) {
        Err(error) => assert!(error.is_configuration() || error.is_damaged(), "{error}"),
        // Only if it means the same, in other words or in what may differ.
        Ok(kernel) => {
            let progress = |bytes: &[u8]| {
                let frame = Frame::parse(bytes).unwrap();
                frame.sections.into_iter().find(|section| section.tag == PROGRESS).unwrap()
            };
            assert_eq!(progress(&kernel.snapshot()), progress(specimen));
        }
    }
}

fn flip_every_bit_and_repair<W: World>() {
    fn flips(payload: &[u8], byte: usize, try_it: &mut dyn FnMut(Vec<u8>)) {
        for bit in 0..8 {
            let mut changed = payload.to_vec();
            changed[byte] ^= 1 << bit;
            try_it(changed);
        }
    }
    repair_each::<W>(flips);
    repair_each_of_changes::<W>(flips);
}

fn change_every_byte_and_repair<W: World>() {
    repair_each::<W>(|payload, byte, try_it| {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut changed = payload.to_vec();
            changed[byte] = value;
            try_it(changed.clone());
            changed.insert(byte, payload[byte]);
            try_it(changed);
        }
        let mut without = payload.to_vec();
        without.remove(byte);
        try_it(without);
        try_it([payload, &payload[byte..]].concat());
    });
}

/// Numbers where there may have been a length, or an ordinal, or a time: 2^20, 2^32, 2^60, `u64::MAX`, and
/// (read as a signed number) both ends of `i64` and what lies just inside.
fn announce_everywhere<W: World>() {
    let numbers =
        [1 << 20, 1 << 32, 1 << 60, u64::MAX, u64::MAX - 1, u64::MAX - 2, u64::MAX - 3, u64::MAX - 20];
    repair_each::<W>(|payload, byte, try_it| {
        for number in numbers {
            let number = encoded(&number);
            try_it([&payload[..byte], &number, &payload[byte + 1..]].concat());
        }
    });
}

fn move_sections<W: World>() {
    for specimen in specimens::<W>() {
        let frame = Frame::parse(&specimen).unwrap();
        for from in 0..frame.sections.len() {
            for to in 0..frame.sections.len() {
                let mut moved = frame.clone();
                let section = moved.sections.remove(from);
                restore_and_run_on::<W>(&[&moved.to_bytes()], SCRIPT);
                moved.sections.insert(to, section.clone());
                restore_and_run_on::<W>(&[&moved.to_bytes()], SCRIPT);
                moved.sections.insert(to, section);
                restore_and_run_on::<W>(&[&moved.to_bytes()], SCRIPT);
            }
            for tag in END..=ASIDES {
                let mut renamed = frame.clone();
                if std::mem::replace(&mut renamed.sections[from].tag, tag) != tag {
                    let error = refused::<W>(&renamed.to_bytes());
                    assert!(error.is_damaged() || error.is_truncated(), "tag {tag} at {from}: {error}");
                }
            }
        }
    }
}

fn lengthen_every_section<W: World>() {
    for specimen in specimens::<W>() {
        let mut place = 10;
        for section in Frame::parse(&specimen).unwrap().sections {
            let length = section.payload.len() as u64;
            for huge in [length + (specimen.len() as u64), 1 << 32, 1 << 63, u64::MAX] {
                let mut longer = specimen.clone();
                longer[place + 1..place + 9].copy_from_slice(&huge.to_le_bytes());
                let error = refused::<W>(&longer);
                assert!(error.is_truncated(), "{huge} bytes announced: {error}");
                assert!(error.to_string().contains(&huge.to_string()), "{error}");
            }
            place += 1 + 8 + section.payload.len() + 4;
        }
        assert_eq!(place, specimen.len());
    }
}

/// A sequence of keys without bytes could be announced to be endless.
#[test]
fn s3_keys_of_no_size_are_not_counted_out() {
    let [.., last] = &specimens::<Unkeyed>()[..] else { unreachable!() };
    let frame = Frame::parse(last).unwrap();
    let place = frame.sections.iter().position(|section| section.tag == FIRING).unwrap();
    let payload = &frame.sections[place].payload;
    for byte in 0..payload.len() {
        for count in [2, 1000, u64::from(u32::MAX), u64::MAX] {
            let count = encoded(&count);
            let changed = [&payload[..byte], &count, &payload[byte + 1..]].concat();
            restore_and_run_on::<Unkeyed>(&[&frame.with_payload(place, changed).to_bytes()], SCRIPT);
        }
    }
    // By hand: 2^64 - 1 entries in each of two slices.
    let mut absurd = frame.clone();
    put_slices(&mut absurd, &[(1, &[]), (2, &[])]);
    for section in &mut absurd.sections {
        match section.tag {
            SLICES => {
                section.payload =
                    encoded(&[(1i64, 1i64, 2i64, u64::MAX, false), (2, 2, 3, u64::MAX, false)].to_vec())
            }
            ENTRIES => section.payload = [encoded(&1i64), encoded(&u64::MAX)].concat(),
            _ => {}
        }
    }
    let error = refused::<Unkeyed>(&absurd.to_bytes());
    assert!(error.is_damaged() && error.to_string().contains("than there are bytes for"), "{error}");
    // By hand: 2^64 - 1 keys still to drain.
    let mut frame = frame;
    let end = frame.sections.len() - 1;
    let remaining = Section { tag: REMAINING, payload: encoded(&u64::MAX) };
    frame.sections.insert(end, remaining);
    let error = refused::<Unkeyed>(&frame.to_bytes());
    assert!(error.is_damaged() && error.to_string().contains("a value cannot be decoded"), "{error}");
}

/// A value of at most 127 bytes behind its length.
fn blob(value: &impl serde::Serialize) -> Vec<u8> {
    let bytes = encoded(value);
    [&[u8::try_from(bytes.len()).unwrap()][..], &bytes].concat()
}

/// Keys behind their number.
fn keys_of(keys: &[u64]) -> Vec<u8> {
    keys.iter().fold(encoded(&keys.len()), |payload, key| [payload, blob(key)].concat())
}

/// The section of a slice's entries, for keys of type `u64` and sums.
fn entries_of_sums(slice: i64, keys: &[u64]) -> Section {
    let payload = encoded(&(slice, keys.len()));
    let payload = keys.iter().fold(payload, |payload, key| [payload, blob(key), blob(&1i64)].concat());
    Section { tag: ENTRIES, payload }
}

/// Puts slices of a microsecond into a snapshot that has none.
fn put_slices(frame: &mut Frame, slices: &[(i64, &[u64])]) {
    let head = |&(slice, keys): &(i64, &[u64])| (slice, slice, slice.saturating_add(1), keys.len(), false);
    let heads: Vec<_> = slices.iter().map(head).collect();
    frame.sections.iter_mut().find(|section| section.tag == SLICES).unwrap().payload = encoded(&heads);
    let end = frame.sections.len() - 1;
    let entries = slices.iter().map(|&(slice, keys)| entries_of_sums(slice, keys));
    frame.sections.splice(end..end, entries);
}

type Sums = Windowing<u64, i64, Sum<fn(&i64) -> i64, i64>>;

fn sums(size: i64) -> Sums {
    let value: fn(&i64) -> i64 = |value| *value;
    Config::sliding(micros(size), micros(1)).ascending().build(Sum::of(value)).unwrap()
}

/// A kernel of sums with these slices, and what restoring it takes beyond 64 times its bytes.
fn restored_sums(size: i64, slices: &[(i64, &[u64])]) -> (usize, i64) {
    let mut frame = Frame::parse(&sums(size).snapshot()).unwrap();
    put_slices(&mut frame, slices);
    let bytes = frame.to_bytes();
    let (restored, tally) = measure(|| sums(size).restore(&bytes));
    assert!(restored.is_ok(), "{:?}", restored.err());
    (bytes.len(), tally.peak)
}

/// What cannot be, in a frame that is sound: each is named.
#[test]
fn s3_contradictions_are_named() {
    let refused = |slices: &[(i64, &[u64])], gaps: bool, change: fn(&mut Frame)| {
        let fresh = || {
            let slide = if gaps { 2 } else { 1 };
            let config = Config::sliding(micros(1), micros(slide));
            config.build::<u64, i64, _>(Sum::of(|value: &i64| *value)).unwrap()
        };
        let mut frame = Frame::parse(&fresh().snapshot()).unwrap();
        put_slices(&mut frame, slices);
        change(&mut frame);
        fresh().restore(&frame.to_bytes()).err().map(|error| (error.is_damaged(), error.to_string()))
    };
    fn last(frame: &mut Frame) -> &mut Section {
        let end = frame.sections.len() - 1;
        &mut frame.sections[end - 1]
    }
    fn cut(frame: &mut Frame) -> &mut Section {
        frame.sections.iter_mut().find(|section| section.tag == CUT).unwrap()
    }
    assert_eq!(refused(&[(-5, &[2, 1]), (7, &[1])], false, |_| ()), None);
    // The entries of one slice may stand in many sections, in any order.
    assert_eq!(
        refused(&[(-5, &[2, 1]), (7, &[1, 2])], false, |frame| {
            last(frame).payload = entries_of_sums(7, &[2]).payload;
            let end = frame.sections.len() - 1;
            frame.sections.insert(end - 2, entries_of_sums(7, &[1]));
        }),
        None
    );
    type Case<'a> = (&'a [(i64, &'a [u64])], bool, fn(&mut Frame), &'a str, &'a str);
    let cases: [Case<'_>; 11] = [
        (&[(2, &[1]), (1, &[1])], false, |_| (), "slices", "not in the order of time"),
        (&[(1, &[1]), (1, &[2])], false, |_| (), "slices", "not in the order of time"),
        (&[(1, &[1, 2, 1])], false, |_| (), "entries", "a key stands twice in a slice"),
        (&[(1, &[])], false, |_| (), "entries", "a slice has not as many entries as it says"),
        (
            &[(1, &[1, 2])],
            false,
            |frame| *last(frame) = entries_of_sums(1, &[1]),
            "entries",
            "not as many entries",
        ),
        (&[(1, &[1])], false, |frame| *last(frame) = entries_of_sums(2, &[1]), "entries", "is not there"),
        (&[(i64::MAX, &[1])], false, |_| (), "slices", "a slice outside the range of time"),
        (&[(1, &[1])], true, |_| (), "slices", "a slice between windows"),
        (&[(1, &[1])], false, |frame| last(frame).payload.push(0), "entries", "bytes are left over"),
        (&[(1, &[1])], false, |frame| cut(frame).payload.push(0), "cut", "bytes are left over"),
        (
            &[(1, &[1])],
            false,
            |frame| {
                let slices = frame.sections.iter_mut().find(|section| section.tag == SLICES).unwrap();
                slices.payload = encoded(&[(1i64, 2i64, 2i64, 1usize, false)].to_vec());
            },
            "slices",
            "a slice is not where its number says",
        ),
    ];
    for (slices, gaps, change, section, why) in cases {
        let (damaged, text) = refused(slices, gaps, change).expect(why);
        let section = format!("section '{section}' makes no sense");
        assert!(damaged && text.contains(&section) && text.contains(why), "{text}");
    }
}

/// What late events have left is as much as it says, of windows that it names, and each key once.
#[test]
fn s3_contradictions_in_what_late_events_left_are_named() {
    type Left<'a> = &'a [(u32, i64, &'a [u64])];
    let restored = |said: &[(i64, usize)], left: Left, queue: u64| {
        let mut kernel = sums(3);
        let partition = kernel.add_partition();
        for time in 0..6 {
            let _ = kernel.push(partition, at(time), 7, 1).unwrap();
        }
        let mut frame = Frame::parse(&kernel.snapshot()).unwrap();
        let mut payload = encoded(&(2i64, (0i64, 0i64, 3i64), i64::MIN, false, said.len()));
        said.iter().for_each(|window| payload.extend(encoded(window)));
        payload.extend(encoded(&(None::<()>, false)));
        frame.sections.iter_mut().find(|section| section.tag == FIRING).unwrap().payload = payload;
        frame.sections.iter_mut().find(|section| section.tag == QUEUE).unwrap().payload = encoded(&queue);
        for (definition, end, keys) in left {
            let payload = keys.iter().fold(encoded(&(definition, end, keys.len())), |payload, key| {
                [payload, blob(key), encoded(&(1u32, false))].concat()
            });
            frame.sections.insert(frame.sections.len() - 1, Section { tag: REISSUES, payload });
        }
        sums(3).restore(&frame.to_bytes()).err().map(|error| (error.is_damaged(), error.to_string()))
    };
    assert_eq!(restored(&[(3, 2)], &[(0, 3, &[7]), (0, 3, &[8])], 0), None);
    let (short, unknown) = ("not as much has followed as it says", "of a window that is not there");
    for (said, left, queue, why) in [
        (&[(3, 2)][..], &[(0, 3, &[7][..])][..], 0, short),
        (&[(3, 2)], &[(0, 3, &[7, 7])], 0, short),
        (&[(3, 1)], &[(0, 3, &[7, 8])], 0, short),
        (&[(3, 0)], &[], 0, short),
        (&[], &[(0, 3, &[7])], 0, unknown),
        (&[(3, 1)], &[(0, 3, &[7]), (0, 4, &[7])], 0, unknown),
        (&[(3, 1)], &[(0, 3, &[7]), (1, 3, &[7])], 0, unknown),
        (&[], &[], 1, "not as many as it was said to be"),
    ] {
        let (damaged, text) = restored(said, left, queue).expect(why);
        assert!(damaged && text.contains(why), "{text}");
    }
}

/// A late pane is owed only where late events fire at the end of a drain, for a window of the definition.
#[test]
fn s3_late_panes_owed_for_nothing_are_named() {
    let restored = |late_firing: LateFiring, end: i64| {
        let fresh = || -> Sums {
            let value: fn(&i64) -> i64 = |value| *value;
            let config = Config::sliding(micros(4), micros(2)).ascending().allowed_lateness(micros(9));
            config.late_firing(late_firing).build(Sum::of(value)).unwrap()
        };
        let mut kernel = fresh();
        let partition = kernel.add_partition();
        for time in 0..6 {
            let _ = kernel.push(partition, at(time), 7, 1).unwrap();
        }
        while kernel.poll().is_some() {}
        let mut frame = Frame::parse(&kernel.snapshot()).unwrap();
        let firing = frame.sections.iter_mut().find(|section| section.tag == FIRING).unwrap();
        firing.payload =
            encoded(&(4i64, (0i64, 0i64, 2i64), i64::MIN, false, [(end, 1u64)].to_vec(), None::<()>, false));
        let payload = [encoded(&(0u32, end, 1u64)), blob(&7u64), encoded(&(1u32, true))].concat();
        frame.sections.insert(frame.sections.len() - 1, Section { tag: REISSUES, payload });
        fresh().restore(&frame.to_bytes()).map_err(|error| (error.is_damaged(), error.to_string()))
    };
    let mut owes = restored(LateFiring::OncePerDrain, 4).unwrap();
    let pane = owes.poll().map(|pane| (pane.key, pane.window.end.as_micros(), pane.index, pane.value));
    assert_eq!(pane, Some((&7, 4, 1, 4)));
    for (late_firing, end) in [(LateFiring::OncePerDrain, 3), (LateFiring::EachEvent, 4)] {
        let (damaged, text) = restored(late_firing, end).unwrap_err();
        let why = "a late pane is owed for a window that fires none at the end of a drain";
        assert!(
            damaged && text.contains("section 'reissues' makes no sense") && text.contains(why),
            "{text}"
        );
    }
}

/// Panes that were set aside are as many as it says, of definitions that are there, and in their order.
#[test]
fn s3_contradictions_in_panes_set_aside_are_named() {
    let fresh = || {
        let value: fn(&i64) -> i64 = |value| *value;
        Config::session(micros(5)).ascending().build::<u64, i64, _>(Sum::of(value)).unwrap()
    };
    let restored = |said: u64, asides: &[(u32, &[i64])]| {
        let mut frame = Frame::parse(&fresh().snapshot()).unwrap();
        let keyed = frame.sections.iter_mut().find(|section| section.tag == KEYED).unwrap();
        keyed.payload = encoded(&(0u32, i64::MIN, None::<()>, 0u64, said, false));
        for (definition, ends) in asides {
            let payload = ends.iter().fold(encoded(&(definition, ends.len())), |payload, &end| {
                let pane = ((end - 5, end, 1u8, 0u32), end, Vec::<()>::new());
                [payload, encoded(&(end, end, end - 5)), blob(&7u64), blob(&pane)].concat()
            });
            frame.sections.insert(frame.sections.len() - 1, Section { tag: ASIDES, payload });
        }
        fresh().restore(&frame.to_bytes()).err().map(|error| (error.is_damaged(), error.to_string()))
    };
    assert_eq!(restored(3, &[(0, &[3, 3]), (0, &[4])]), None);
    let (count, unknown) = ("not as many as it was said to be", "of a definition that is not there");
    for (said, asides, why) in [
        (2, &[(0, &[3, 3][..]), (0, &[4])][..], count),
        (1, &[], count),
        (0, &[(1, &[3])], unknown),
        (2, &[(0, &[4, 3])], "panes set aside are not in order"),
        (2, &[(0, &[4]), (0, &[3])], "panes set aside are not in order"),
    ] {
        let (damaged, text) = restored(said, asides).expect(why);
        assert!(damaged && text.contains("section 'asides' makes no sense") && text.contains(why), "{text}");
    }
}

/// How far the windows have fired, what was combined last, and the window being drained.
type Drained = (i64, (i64, i64, i64), Option<(i64, i64)>);

/// The same of what is being drained: that, keys, and what late events left.
#[test]
fn s3_contradictions_in_a_drain_are_named() {
    type Late<'a> = &'a [(i64, i64, u64, i64)];
    let firing = |cursor: Drained, keys: &[u64], late: Late| {
        let mut kernel = sums(3);
        let partition = kernel.add_partition();
        for time in 0..6 {
            let _ = kernel.push(partition, at(time), 7, 1).unwrap();
        }
        let mut frame = Frame::parse(&kernel.snapshot()).unwrap();
        let (fired, positions, draining) = cursor;
        // No late panes so far, and none of a late event under way.
        let draining = draining.map(|(start, end)| (0u32, start, end));
        let payload = encoded(&(fired, positions, i64::MIN, false, 0u64, draining, false));
        frame.sections.iter_mut().find(|section| section.tag == FIRING).unwrap().payload = payload;
        let waiting = late.iter().fold(encoded(&late.len()), |payload, &(at, slice, key, sum)| {
            [payload, encoded(&at), blob(&key), encoded(&(0u32, u32::MAX, slice)), blob(&sum)].concat()
        });
        frame.sections.iter_mut().find(|section| section.tag == QUEUE).unwrap().payload =
            encoded(&late.len());
        frame.sections.insert(frame.sections.len() - 1, Section { tag: WAITING, payload: waiting });
        let end = frame.sections.len() - 1;
        frame.sections.insert(end, Section { tag: REMAINING, payload: keys_of(keys) });
        let restored = sums(3).restore(&frame.to_bytes());
        restored.err().map(|error| (error.is_damaged(), error.to_string()))
    };
    // The watermark is 5: the windows [0, 3), [1, 4) and [2, 5) are due.
    let drain = (2, (0, 0, 3), Some((0, 3)));
    assert_eq!(firing(drain, &[7], &[(5, 4, 7, 1)]), None);
    for (cursor, keys, late, why) in [
        ((2, (0, 4, 3), None), &[][..], &[][..], "out of order"),
        ((2, (1, 0, 3), None), &[], &[], "out of order"),
        ((2, (0, 0, 4), None), &[], &[], "what was combined last is not of a window"),
        ((2, (i64::MIN, 0, i64::MAX), None), &[], &[], "what was combined last is not of a window"),
        ((5, (3, 3, 6), Some((3, 6))), &[7], &[], "the window being drained is not due"),
        ((2, (0, 0, 3), Some((0, 2))), &[7], &[], "the window being drained is not due"),
        ((3, (0, 0, 3), Some((0, 3))), &[7], &[], "the window being drained is not due"),
        ((2, (1, 1, 4), Some((0, 3))), &[7], &[], "the window being drained is not the one that fired last"),
        (drain, &[8], &[], "a key still to be drained is not in its window"),
        ((2, (0, 0, 3), None), &[7], &[], "keys to drain without a window"),
        (drain, &[7], &[(6, 4, 7, 1)], "a late event's watermark is out of order"),
        (drain, &[7], &[(5, 4, 7, 1), (4, 4, 7, 1)], "a late event's watermark is out of order"),
        (drain, &[7], &[(5, i64::MAX, 7, 1)], "a slice outside the range of time"),
    ] {
        let (damaged, text) = firing(cursor, keys, late).expect(why);
        let section = if late.is_empty() { "firing" } else { "waiting" };
        let section = format!("section '{section}' makes no sense");
        assert!(damaged && text.contains(&section) && text.contains(why), "{text}");
    }
}

#[test]
fn s3_two_slices_far_apart_do_not_stretch_the_ring() {
    let (bytes, peak) = restored_sums(1, &[(0, &[1]), (65_000, &[1])]);
    assert!(peak <= 64 * bytes as i64 + (64 << 10), "restoring {bytes} bytes took {peak}");
}

#[test]
fn s3_running_partials_do_not_multiply_what_was_read() {
    let keys: Vec<[u64; 1]> = (0..2000).map(|key| [key]).collect();
    let slices: Vec<(i64, &[u64])> = (0..).zip(&keys).map(|(slice, key)| (slice, &key[..])).collect();
    let mut frame = Frame::parse(&sums(2000).snapshot()).unwrap();
    let firing = frame.sections.iter().position(|section| section.tag == FIRING).unwrap();
    // Windows of 2,000 slices, all turned over, and nothing left to drain.
    let rest = (-5000i64, (0i64, 2000i64, 2000i64), i64::MIN, false, 0usize);
    frame.sections[firing].payload = encoded(&(rest, None::<()>, false));
    put_slices(&mut frame, &slices);
    let bytes = frame.to_bytes();
    let (restored, tally) = measure(|| sums(2000).restore(&bytes));
    assert!(restored.is_ok(), "{:?}", restored.err());
    assert!(
        tally.peak <= 64 * bytes.len() as i64 + (64 << 10),
        "restoring {} bytes took {}",
        bytes.len(),
        tally.peak
    );
}

#[test]
fn s3_a_sound_snapshot_takes_what_its_state_takes() {
    let mut kernel = sums(60);
    let partition = kernel.add_partition();
    for n in 0..60_000 {
        let _ = kernel.push(partition, at(n / 1000), (n % 1000) as u64, 1).unwrap();
    }
    let bytes = kernel.snapshot();
    let (restored, tally) = measure(|| sums(60).restore(&bytes).unwrap());
    assert!(tally.peak <= 64 * bytes.len() as i64, "restoring {} bytes took {}", bytes.len(), tally.peak);
    assert!(tally.live as f64 <= 1.3 * restored.state_bytes() as f64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Payloads that are random from the start, in sound frames.
    #[test]
    fn s3_random_payloads_never_break_the_kernel(
        world in 0..WORLDS,
        payloads in prop::collection::vec((PROGRESS..=ASIDES, prop::collection::vec(prop_oneof![0..8u8, any::<u8>()], 0..60)), 1..6),
    ) {
        in_world!(world, random_payloads(payloads));
    }

    /// Several changes at once, in the payloads of real snapshots.
    #[test]
    fn s3_repaired_damage_never_breaks_the_kernel(
        world in 0..WORLDS,
        specimen in 0..5usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        script in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        in_world!(world, damaged(specimen, damage, script));
    }
}

fn random_payloads<W: World>(payloads: Vec<(u8, Vec<u8>)>) {
    let mut frame = Frame::parse(&specimens::<W>()[1]).unwrap();
    for (tag, payload) in payloads {
        let Some(section) = frame.sections.iter_mut().find(|section| section.tag == tag) else { continue };
        section.payload = payload;
        restore_and_run_on::<W>(&[&frame.to_bytes()], SCRIPT);
    }
}

type Damage = (prop::sample::Index, prop::sample::Index, u8);

fn damaged<W: World>(specimen: usize, damage: Vec<Damage>, script: Vec<u8>) {
    let mut frame = Frame::parse(&specimens::<W>()[specimen]).unwrap();
    for (section, byte, value) in damage {
        let last = frame.sections.len() - 1;
        // The last is the end and the first the configuration.
        let payload = &mut frame.sections[1 + section.index(last - 1)].payload;
        let byte = byte.index(payload.len());
        match value % 4 {
            0 => payload[byte] = value,
            1 => payload[byte] ^= value,
            2 => payload.insert(byte, value),
            _ => payload[byte] = payload[byte].wrapping_add(value / 4 % 5).wrapping_sub(2),
        }
    }
    restore_and_run_on::<W>(&[&frame.to_bytes()], &script);
}

// Snapshots of released versions (S4). Each lies beside what it must give: counters, partitions and panes.

/// Whose output is ordered, so that the bytes are canonical: in the middle of a drain with late events
/// waiting, and before the last pane that late events caused.
fn write_fixtures<W: World>() {
    let [_, mid_drain, refiring, ..] = &specimens::<W>()[..] else { unreachable!() };
    for (what, snapshot) in [("mid_drain", mid_drain), ("refiring", refiring)] {
        std::fs::write(fixture::<W>(what, "snapshot"), snapshot).unwrap();
        std::fs::write(fixture::<W>(what, "txt"), story::<W>(&[snapshot])).unwrap();
    }
    let chain = chain::<W>();
    for (number, snapshot) in chain.iter().enumerate() {
        std::fs::write(fixture::<W>(&format!("chain_{number}"), "snapshot"), snapshot).unwrap();
    }
    std::fs::write(fixture::<W>("chain", "txt"), story::<W>(&chain)).unwrap();
}

fn fixture<W: World>(what: &str, extension: &str) -> std::path::PathBuf {
    let file = format!("tests/fixtures/v1_{}_{what}.{extension}", W::NAME);
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

#[test]
#[ignore = "writes the fixtures of format version 1, which must not change any more once it has been released"]
fn write_the_fixtures() {
    write_fixtures::<Overlapping>();
    write_fixtures::<OncePerDrain>();
    write_fixtures::<Guarded>();
    write_fixtures::<Sessions>();
    write_fixtures::<Several>();
}

/// What a kernel restored from it tells: what it knows, what is due, and the rest at the end of input.
fn story<W: World>(chain: &[impl AsRef<[u8]>]) -> String {
    let chain: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
    let mut kernel = W::fresh().restore_chain(&Chain::read(&chain).unwrap()).unwrap();
    let (c, watermark) = (kernel.counters(), kernel.watermark().as_micros());
    let mut lines = vec![
        format!("accepted {} partly late {} late {}", c.accepted, c.partly_late, c.late),
        format!("unassigned {} rejected {} suspect {}", c.unassigned, c.rejected, c.suspect),
        format!("windows {} panes {} watermark {watermark}", c.windows_fired, c.panes_fired),
    ];
    lines.extend(kernel.partitions().map(|status| {
        let last = status.last_event.map(Timestamp::as_micros);
        let since = status.quiet_since.map(Timestamp::as_micros);
        let (partition, watermark) = (status.partition, status.watermark.as_micros());
        format!("{partition} {:?} watermark {watermark} last {last:?} quiet since {since:?}", status.state)
    }));
    for _ in 0..2 {
        while let Some(pane) = kernel.poll() {
            let (start, end) = (pane.window.start.as_micros(), pane.window.end.as_micros());
            lines.push(format!(
                "[{start}, {end}) {:?} {} {}: {:?}",
                pane.key, pane.timing, pane.index, pane.value
            ));
        }
        lines.push("end of input".to_string());
        kernel.finish();
    }
    lines.join("\n") + "\n"
}

fn read_fixtures<W: World>() {
    for what in ["mid_drain", "refiring"] {
        let snapshot = std::fs::read(fixture::<W>(what, "snapshot")).unwrap();
        assert_eq!(story::<W>(&[&snapshot]), std::fs::read_to_string(fixture::<W>(what, "txt")).unwrap());
        let restored = W::fresh().restore(&snapshot).unwrap();
        assert!(restored.snapshot() == snapshot, "the same state has the same bytes (S2)");
    }
    let link = |number| std::fs::read(fixture::<W>(&format!("chain_{number}"), "snapshot")).unwrap();
    let chain: Vec<Vec<u8>> = (0..LINKS).map(link).collect();
    let expected = std::fs::read_to_string(fixture::<W>("chain", "txt")).unwrap();
    assert_eq!(story::<W>(&chain), expected);
    assert!(story::<W>(&chain[..1]) != expected, "the changes matter");
}

#[test]
fn s4_snapshots_of_version_1_stay_readable() {
    read_fixtures::<Overlapping>();
    read_fixtures::<OncePerDrain>();
    read_fixtures::<Guarded>();
    read_fixtures::<Sessions>();
    read_fixtures::<Several>();
}
