//! Bytes into restore. The frame is completed around them, so that what the fuzzer changes reaches the
//! decoder instead of a checksum.
//!
//! An input is: the number of a world (with the highest bit set, everything after it is taken as a whole
//! snapshot as it is), the length of a script and the script (what is called after a restore that
//! succeeded), and sections, each with its tag and the length of its payload, a little-endian u16, before it
//! (the last one takes what is there). The configuration and the end are the world's own.

use floodmark::snapshot::{Chain, SnapshotProgress};

use super::allocation::measure;
use super::frame::{CONFIGURATION, CUT, END, Frame, Section};
use super::worlds::{World, in_world, run_on};

/// Bytes that restoring may take at its worst: a small multiple of those it reads, and what a few empty
/// tables take.
pub(crate) fn allowed_bytes(snapshot: &[u8]) -> i64 {
    64 * snapshot.len() as i64 + (64 << 10)
}

/// Restores hostile bytes and goes on if that succeeds. Panics where the kernel breaks a promise.
pub(crate) fn run(input: &[u8]) {
    let Some((&world, rest)) = input.split_first() else { return };
    in_world!(world & 0x7f, run_in(world, rest));
}

fn run_in<W: World>(world: u8, rest: &[u8]) {
    if world & 0x80 != 0 {
        restore_and_run_on::<W>(rest, &[]);
    } else {
        complete_and_run::<W>(rest);
    }
}

/// Whether what follows the world's number makes a snapshot.
pub(crate) fn complete_and_run<W: World>(rest: &[u8]) -> bool {
    let (script, snapshot) = complete::<W>(rest);
    restore_and_run_on::<W>(&snapshot, script)
}

/// All that can be done with a snapshot without knowing its types.
fn read_without_types(snapshot: &[u8]) {
    let (read, tally) = measure(|| Chain::read(&[snapshot]));
    assert!(tally.peak <= allowed_bytes(snapshot), "reading {} bytes took {}", snapshot.len(), tally.peak);
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
pub(crate) fn restore_and_run_on<W: World>(snapshot: &[u8], script: &[u8]) -> bool {
    let fresh = W::fresh();
    let (restored, tally) = measure(|| fresh.restore(snapshot));
    assert!(
        tally.peak <= allowed_bytes(snapshot),
        "restoring {} bytes took {} (S3)",
        snapshot.len(),
        tally.peak
    );
    read_without_types(snapshot);
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

/// The script and the snapshot of an input.
fn complete<W: World>(input: &[u8]) -> (&[u8], Vec<u8>) {
    let (&script, rest) = input.split_first().unwrap_or((&0, &[]));
    let (script, mut rest) = rest.split_at(usize::from(script).min(rest.len()));
    let mut frame = Frame::parse(&W::fresh().snapshot()).expect("a snapshot is sound");
    frame.sections.retain(|section| [CONFIGURATION, CUT].contains(&section.tag));
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
