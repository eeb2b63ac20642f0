//! The conformance runner: reads vectors, replays each through the kernel and judges the difference.
//!
//! | module | what it replays |
//! |---|---|
//! | [`windows`] | the window operator |
//! | [`valve`] | the minimum over channels with idleness |
//! | [`generators`] | watermark generators, with and without an idle timeout |
//! | [`multiplexer`] | outputs combined into one, reporting at once or deferred |
//! | [`splits`] | a reader with a generator for each of its splits |
//!
//! [`flink`] translates between the words of the vectors and ours, [`report`] counts.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

mod flink;
mod generators;
mod multiplexer;
mod report;
mod splits;
mod valve;
mod windows;

use report::{Outcome, Report};

/// Replays every case of a file.
pub(crate) fn replay_file(path: &Path) -> io::Result<Report> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut report = Report::new(&name);
    for (index, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            let (id, outcome) = replay(&line, index + 1);
            report.count(&id, outcome);
        }
    }
    Ok(report)
}

/// As much of a case as tells what it is.
#[derive(Deserialize)]
struct Head {
    id: String,
    channels: Option<IgnoredAny>,
    config: Option<ConfigHead>,
}

#[derive(Deserialize)]
struct ConfigHead {
    window: Option<IgnoredAny>,
    #[serde(rename = "type")]
    generator: Option<String>,
}

fn replay(line: &str, number: usize) -> (String, Outcome) {
    let Head { id, channels, config } = match serde_json::from_str(line) {
        Ok(head) => head,
        Err(error) => return (format!("line {number}"), unreadable(&error)),
    };
    let generator = config.as_ref().and_then(|config| config.generator.as_deref());
    let replayed = match generator {
        _ if channels.is_some() => valve::replay(line),
        _ if config.as_ref().is_some_and(|config| config.window.is_some()) => windows::replay(line),
        Some("bounded" | "ascending") => generators::replay(line),
        Some("multiplexer") => multiplexer::replay(line),
        Some("per_split") => splits::replay(line),
        _ => Ok(Outcome::Skipped),
    };
    (id, replayed.unwrap_or_else(|error| unreadable(&error)))
}

/// A case that cannot be read has not passed.
fn unreadable(error: &serde_json::Error) -> Outcome {
    Outcome::Failed(format!("cannot be read: {error}"))
}
