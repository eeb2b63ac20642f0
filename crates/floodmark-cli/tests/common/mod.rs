//! Running the binary, and the input that the tests share.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// A month of flights in the order of landing: 26,052 rows of three airports, nine in ten out of order.
pub(crate) fn january() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/flights-2013-01.csv")
}

/// The flights of six days of that year, in the same order: those around 10 March and 3 November.
pub(crate) fn clock_changes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/flights-2013-dst.csv")
}

/// The header and the first rows of the month.
pub(crate) fn january_rows(count: usize) -> String {
    fs::read_to_string(january()).unwrap().split_inclusive('\n').take(count + 1).collect()
}

pub(crate) fn floodmark(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodmark"));
    command.args(args);
    command
}

/// The arguments of the main job, without files and outputs.
pub(crate) const MAIN_JOB: [&str; 18] = [
    "--time",
    "departed_at",
    "--partition",
    "origin",
    "--key",
    "carrier",
    "--window",
    "tumbling:1h",
    "--max-delay",
    "6h",
    "--allowed-lateness",
    "1h",
    "--aggregate",
    "count",
    "--aggregate",
    "mean:dep_delay_min",
    "--aggregate",
    "max:dep_delay_min",
];

/// What gives the main job several windows, with results of all kinds.
pub(crate) const MANY_WINDOWS: [&str; 12] = [
    "--window",
    "session:30m/5h",
    "--window",
    "calendar:1d@America/New_York",
    "--window",
    "count:100",
    "--early",
    "events:7,every:2h",
    "--accumulate",
    "retracting",
    "--output-format",
    "ndjson",
];

/// Runs to the end with `input` on standard input.
pub(crate) fn feed(args: &[&str], input: &[u8]) -> Output {
    let mut command = floodmark(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = thread::spawn(move || {
        // A run that stops early closes its input.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Standard output of a run that must go well.
pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of a stream as they come.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let (lines, received) = channel();
        thread::spawn(move || {
            // A test that has failed reads no more.
            BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Self(received)
    }

    /// The next line. The limit is no measurement: it is how a test ends that would wait forever.
    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(Duration::from_secs(60)).expect("no line comes")
    }
}

/// A row of tumbling 1 h counts.
pub(crate) fn counts(output: &Output) -> Vec<(String, u64)> {
    let count = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        (row["window_start"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())
    };
    stdout(output).lines().map(count).collect()
}

/// A small generator of random numbers (SplitMix64), seeded from FLOODMARK_SEED or the clock and printed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        let clock = || std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
        let seed = std::env::var("FLOODMARK_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
        println!("replay with FLOODMARK_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
