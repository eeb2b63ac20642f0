//! What a person sees on standard error: a bar while the run goes on, and how it went.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use floodmark::{PartitionState, PartitionStatus, Watermark};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{MaxDelay, RunArgs, Span};
use crate::input::Plan;
use crate::partitions::Partitions;
use crate::run::Kernel;

/// Progress in bytes of the input, if standard error is a terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    bytes_read: Arc<AtomicU64>,
}

impl Bar {
    pub(crate) fn new(plan: &Plan, hidden: bool) -> Self {
        let size = |path: &std::path::PathBuf| {
            let found = (path != Path::new("-")).then(|| fs::metadata(path).ok()).flatten()?;
            found.is_file().then_some(found.len())
        };
        let total: Option<u64> = plan.files.iter().skip(plan.start.file).map(size).sum();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{bar:30} {percent:>3} %  {msg}  {elapsed_precise}, {eta} left",
            None => "{spinner} {bytes}  {msg}  {elapsed_precise}",
        };
        // The templates are constants; were one wrong, the default style would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, bytes_read: Arc::clone(&plan.bytes_read) }
    }

    pub(crate) fn show(&self, rows: u64) {
        if !self.bar.is_hidden() {
            self.bar.set_position(self.bytes_read.load(Ordering::Relaxed));
            self.bar.set_message(format!("{rows} rows"));
        }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// How the partitions stood before the input ended.
#[derive(Debug)]
pub(crate) struct Summary {
    watermark: Watermark,
    held_by: Option<String>,
    partitions: Vec<PartitionLine>,
}

#[derive(Debug)]
struct PartitionLine {
    name: String,
    watermark: Watermark,
    last_event: String,
    /// How it stands, and how long it waits where it has learned that.
    state: String,
}

fn state(state: PartitionState) -> Option<&'static str> {
    match state {
        PartitionState::Active => None,
        PartitionState::CatchingUp => Some("catching up"),
        PartitionState::Idle => Some("idle"),
        _ => Some("no event yet"),
    }
}

/// A bound that was learned. Longer ones are known to the eighth only: whole seconds will do.
fn waits(bound: TimeDelta) -> String {
    let micros = bound.num_microseconds().unwrap_or(i64::MAX).unsigned_abs();
    let shown = if micros < SECOND { micros } else { micros.div_ceil(SECOND).saturating_mul(SECOND) };
    format!("waits {}", Span::from_micros(shown))
}

const SECOND: u64 = 1_000_000;

/// More partitions than this are not listed: those that are furthest behind are.
const MOST_PARTITIONS: usize = 20;

impl Summary {
    pub(crate) fn of(args: &RunArgs, kernel: &Kernel, partitions: &Partitions) -> Self {
        let learns = matches!(args.max_delay, MaxDelay::Learned { .. });
        let line = |status: PartitionStatus| PartitionLine {
            name: partitions.name(status.partition),
            watermark: status.watermark,
            last_event: status.last_event.map_or_else(|| String::from("none"), |time| time.to_string()),
            state: [status.disorder.filter(|_| learns).map(waits), state(status.state).map(str::to_owned)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", "),
        };
        let mut lines: Vec<_> = kernel.partitions().map(line).collect();
        lines.sort_by(|a, b| (a.watermark, &a.name).cmp(&(b.watermark, &b.name)));
        Self {
            watermark: kernel.watermark(),
            held_by: kernel.held_by().map(|partition| partitions.name(partition)),
            partitions: lines,
        }
    }

    pub(crate) fn print(&self, kernel: &Kernel, bad_rows: u64, rows: u64, elapsed: Duration) {
        let counters = kernel.counters();
        eprintln!(
            "{} events offered: {} accepted, {} partly late, {} late, {} unassigned, {} rejected; {bad_rows} bad rows \
             left out",
            counters.offered(),
            counters.accepted,
            counters.partly_late,
            counters.late,
            counters.unassigned,
            counters.rejected
        );
        if counters.suspect > 0 {
            eprintln!("{} events beyond --max-future-skew", counters.suspect);
        }
        eprintln!("{} windows fired, {} panes", counters.windows_fired, counters.panes_fired);
        self.print_partitions();
        let rate = rows as f64 / elapsed.as_secs_f64().max(1e-6);
        eprintln!(
            "{rows} rows in {:.2} s, {rate:.0} events/s; peak state {:.1} KiB",
            elapsed.as_secs_f64(),
            kernel.peak_state_bytes() as f64 / 1024.0
        );
    }

    fn print_partitions(&self) {
        let holder = self.held_by.as_ref().map_or_else(String::new, |name| format!(", held back by {name}"));
        eprintln!("watermark after the last row: {}{holder}", self.watermark);
        let width = self.partitions.iter().take(MOST_PARTITIONS).map(|p| p.name.chars().count()).max();
        let width = width.unwrap_or_default().max("partition".len());
        eprintln!("  {:width$}  {:27}  latest event", "partition", "watermark");
        for PartitionLine { name, watermark, last_event, state } in
            self.partitions.iter().take(MOST_PARTITIONS)
        {
            let line = format!("  {name:width$}  {watermark:27}  {last_event:27}  {state}");
            eprintln!("{}", line.trim_end());
        }
        if self.partitions.len() > MOST_PARTITIONS {
            eprintln!("  and {} more, further ahead", self.partitions.len() - MOST_PARTITIONS);
        }
    }
}
