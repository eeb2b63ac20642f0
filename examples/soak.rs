//! Random cases against the oracle for as long as you like: `cargo run --release --example soak -- [CASES] [SEED]`.
//!
//! Prints a line now and then, and the first case that is found to fail, as JSON that replays with
//! `--example soak -- FILE.json`. The same seed gives the same cases, whatever the number of threads they are spread over.

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

use floodmark_oracle::Case;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(file) = arguments.first().filter(|argument| argument.ends_with(".json")) {
        let text = std::fs::read_to_string(file).expect("the case's file can be read");
        let case = Case::from_json(&text).expect("the file holds a case");
        return report(&case, harness::run(&case));
    }
    let number = |index: usize, default: u64| match arguments.get(index) {
        Some(given) => given.parse().expect("a number"),
        None => default,
    };
    let (cases, seed) = (number(0, 100_000), number(1, 1));
    println!("{cases} cases from seed {seed}, each in {} modes", harness::MODES.len());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let passed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let passed = &passed;
            scope.spawn(move || {
                for number in (first..cases).step_by(threads as usize) {
                    run(seed, number);
                    let passed = passed.fetch_add(1, Ordering::Relaxed) + 1;
                    if passed.is_multiple_of(100_000) {
                        println!("{passed} cases passed");
                    }
                }
            });
        }
    });
    println!("{cases} passed, 0 failed");
}

fn run(seed: u64, number: u64) {
    let bytes = bytes(seed.wrapping_mul(1 << 32) + number);
    // Windows that are made of slices, and windows of all kinds.
    let case = if number.is_multiple_of(2) { Case::from_bytes(&bytes) } else { Case::from_bytes_any(&bytes) };
    report(&case, harness::run(&case));
}

fn report(case: &Case, result: Result<(), String>) {
    if let Err(why) = result {
        println!("{why}\nreplay: {}", case.to_json());
        std::process::exit(1);
    }
}

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014) into a string of bytes.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    let words = 4 + next() % 40;
    (0..words).flat_map(|_| next().to_le_bytes()).collect()
}
