//! Replays recorded test vectors and reports, per file, how the kernel compares.
//!
//! ```text
//! cargo run --release --example conformance -- tests/conformance/*.jsonl
//! ```
//!
//! A line per file goes to standard output, each failed case with its first difference to standard error.
//! The exit status is 1 if any case failed or a file could not be read.

use std::path::PathBuf;
use std::process::ExitCode;

mod runner;

fn main() -> ExitCode {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        eprintln!("usage: conformance FILES");
        return ExitCode::FAILURE;
    }
    let mut all_well = true;
    for file in &files {
        match runner::replay_file(file) {
            Ok(report) => {
                println!("{report}");
                report.failures.iter().for_each(|failure| eprintln!("  {failure}"));
                all_well &= report.failures.is_empty();
            }
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                all_well = false;
            }
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
