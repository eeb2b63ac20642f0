//! Bytes into restore. The frame is completed around them, so that what the fuzzer changes reaches the
//! decoder instead of a checksum.
//!
//! An input is: the number of a world (with the highest bit set, everything after it is taken as a whole
//! snapshot as it is; with the second highest, the sections are those of the changes since a snapshot of that world), the length of a script and the script (what is called after a restore that
//! succeeded), and sections, each with its tag and the length of its payload, a little-endian u16, before it
//! (the last one takes what is there). The configuration and the end are the world's own.

use floodmark::snapshot::{Chain, SnapshotProgress};

use super::allocation::measure;
use super::frame::{CONFIGURATION, CUT, END, Frame, Section};
use super::worlds::{World, in_world, run_on, specimens};

/// Bytes that restoring may take at its worst: a small multiple of those it reads, and what a few empty
/// tables take.
pub(crate) fn allowed_bytes(read: usize) -> i64 {
    64 * read as i64 + (64 << 10)
}

/// Restores hostile bytes and goes on if that succeeds. Panics where the kernel breaks a promise.
pub(crate) fn run(input: &[u8]) {
    let Some((&world, rest)) = input.split_first() else { return };
    in_world!(world & 0x3f, run_in(world, rest));
}

fn run_in<W: World>(world: u8, rest: &[u8]) {
    if world & 0x80 != 0 {
        restore_and_run_on::<W>(&[rest], &[]);
    } else {
        complete_and_run::<W>(world, rest);
    }
}

/// Whether what follows the world's number makes a snapshot, or one of changes.
pub(crate) fn complete_and_run<W: World>(world: u8, rest: &[u8]) -> bool {
    if world & CHANGES == 0 {
        let (script, snapshot) = complete(rest, &W::fresh().snapshot(), None);
        return restore_and_run_on::<W>(&[&snapshot], script);
    }
    let base = &specimens::<W>()[1];
    let id = u64::from_le_bytes(base[base.len() - 12..base.len() - 4].try_into().expect("eight bytes"));
    let (script, changes) = complete(rest, base, Some(id));
    restore_and_run_on::<W>(&[base, &changes], script)
}

/// Set in a world's number where an input is of the changes since a snapshot.
pub(crate) const CHANGES: u8 = 0x40;

/// All that can be done with snapshots without knowing their types.
fn read_without_types(snapshots: &[&[u8]]) {
    let (read, tally) = measure(|| Chain::read(snapshots));
    let bytes = snapshots.iter().map(|snapshot| snapshot.len()).sum();
    assert!(tally.peak <= allowed_bytes(bytes), "reading {bytes} bytes took {}", tally.peak);
    let Ok(chain) = read else { return };
    let _ = chain.summary().map(|summary| summary.to_string());
    let compacted = chain.compact();
    assert_eq!(Chain::read(&[&compacted]).map(|chain| chain.id()), Ok(chain.id()), "it stands for the chain");
    if let Ok(parts) = chain.split(3) {
        let parts: Vec<Chain<'_>> =
            parts.iter().map(|part| Chain::read(&[part]).expect("a part is sound")).collect();
        let _ = Chain::merge(&parts);
    }
}

/// Whether it was restored.
pub(crate) fn restore_and_run_on<W: World>(snapshots: &[&[u8]], script: &[u8]) -> bool {
    let fresh = W::fresh();
    let (restored, tally) = measure(|| Chain::read(snapshots).and_then(|chain| fresh.restore_chain(&chain)));
    let bytes = snapshots.iter().map(|snapshot| snapshot.len()).sum();
    assert!(tally.peak <= allowed_bytes(bytes), "restoring {bytes} bytes took {} (S3)", tally.peak);
    read_without_types(snapshots);
    match restored {
        Ok(mut kernel) => {
            // A snapshot that is taken meanwhile.
            let _ = kernel.begin_snapshot(None).expect("none is being taken");
            run_on::<W>(&mut kernel, script, 300);
            let mut taken = Vec::new();
            while kernel.write_snapshot(7, &mut taken) == SnapshotProgress::More {}
            assert!(Chain::read(&[&taken]).is_ok(), "what is written can be read");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// The script and the snapshot of an input, with the configuration of another snapshot: a full one or of the changes since one.
fn complete<'a>(input: &'a [u8], like: &[u8], since: Option<u64>) -> (&'a [u8], Vec<u8>) {
    let (&script, rest) = input.split_first().unwrap_or((&0, &[]));
    let (script, mut rest) = rest.split_at(usize::from(script).min(rest.len()));
    let mut frame = Frame::parse(like).expect("a snapshot is sound");
    frame.sections.retain(|section| section.tag == CONFIGURATION);
    let cut = postcard::to_allocvec(&(since, None::<u64>)).expect("two numbers");
    frame.sections.push(Section { tag: CUT, payload: cut });
    while let Some(([tag, length @ ..], after)) = rest.split_first_chunk::<3>() {
        let (payload, after) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        frame.sections.push(Section { tag: *tag, payload: payload.to_vec() });
        rest = after;
    }
    frame.sections.push(Section { tag: END, payload: Vec::new() });
    (script, frame.to_bytes())
}

/// The input that a snapshot is completed from.
pub(crate) fn input_of(world: u8, script: &[u8], snapshot: &[u8]) -> Vec<u8> {
    let mut input = vec![world, script.len() as u8];
    input.extend_from_slice(script);
    for Section { tag, payload } in Frame::parse(snapshot).expect("a snapshot is sound").sections {
        if ![CONFIGURATION, CUT, END].contains(&tag) {
            input.push(tag);
            input.extend_from_slice(&(payload.len() as u16).to_le_bytes());
            input.extend_from_slice(&payload);
        }
    }
    input
}
