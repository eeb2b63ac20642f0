//! Between the words of the vectors and ours.
//!
//! Times are plain integers in the vectors; here they are our microseconds, unscaled. Everything is compared
//! in our words: what was recorded is translated, what the kernel says is left as it is.

use chrono::TimeDelta;
use floodmark::{Config, Count, PartitionState, Watermark, Windowing};
use floodmark_oracle::valve::{Output, Status};

/// A kernel of which only the watermark is of interest.
pub(super) type Clockwork = Windowing<(), (), Count>;

/// The configuration of a [`Clockwork`]. Its windows are the shortest there are, so that each step of the
/// watermark matters to them.
pub(super) fn clockwork() -> Config {
    Config::tumbling(TimeDelta::microseconds(1))
}

/// Flink's watermark `f` says that nothing at or before `f` will come, ours that nothing before `w` will:
/// `w = f + 1` (W1). "Nothing known" and "end of input" are the same for both.
pub(super) fn watermark(flink: i64) -> i64 {
    if flink == i64::MIN { flink } else { flink.saturating_add(1) }
}

/// Translates recorded watermarks.
#[derive(Debug)]
pub(super) struct Translation {
    last: i64,
}

impl Translation {
    pub(super) fn new() -> Self {
        Self { last: i64::MIN }
    }

    /// The next one, in our words. Flink's last two watermarks are one to us, so there is none for the second.
    pub(super) fn next(&mut self, flink: i64) -> Option<i64> {
        let last = std::mem::replace(&mut self.last, flink);
        let is_new = (last, flink) != (i64::MAX - 1, i64::MAX);
        is_new.then(|| watermark(flink))
    }
}

/// What was recorded of watermarks and statuses, in our words.
pub(super) fn translate(recorded: &[Vec<Output>]) -> Vec<Vec<Output>> {
    let mut translation = Translation::new();
    let mut translate = |output: &Output| match *output {
        Output::Watermark(f) => translation.next(f).map(Output::Watermark),
        status @ Output::Status(_) => Some(status),
    };
    recorded.iter().map(|step| step.iter().filter_map(&mut translate).collect()).collect()
}

/// A watermark that only rises.
#[derive(Debug)]
pub(super) struct Rising {
    last: i64,
}

impl Rising {
    pub(super) fn new() -> Self {
        Self { last: i64::MIN }
    }

    /// Whether the watermark is news.
    pub(super) fn rises_to(&mut self, watermark: i64) -> bool {
        let rises = watermark > self.last;
        self.last = self.last.max(watermark);
        rises
    }

    pub(super) fn last(&self) -> i64 {
        self.last
    }
}

/// A watermark on its way into the kernel.
pub(super) fn into_kernel(flink: i64) -> Watermark {
    Watermark::from_micros(watermark(flink))
}

/// Drains the kernel and looks at its watermark.
pub(super) fn observe(kernel: &mut Clockwork) -> i64 {
    while kernel.poll().is_some() {}
    kernel.watermark().as_micros()
}

/// Whether there are partitions, and all are idle.
pub(super) fn all_idle(kernel: &Clockwork) -> bool {
    let mut states = kernel.partitions().map(|partition| partition.state).peekable();
    states.peek().is_some() && states.all(|state| state == PartitionState::Idle)
}

/// What the operator after a source has been told.
///
/// A source says that it is active again only with the next watermark that it sends (finding 19).
#[derive(Debug)]
pub(super) struct Downstream {
    rising: Rising,
    idle: bool,
}

impl Downstream {
    pub(super) fn new() -> Self {
        Self { rising: Rising::new(), idle: false }
    }

    pub(super) fn watermark(&self) -> i64 {
        self.rising.last()
    }

    /// Tells it, and returns what of that was news.
    pub(super) fn tell(&mut self, watermark: i64, idle: bool) -> Vec<Output> {
        let mut news = Vec::new();
        if self.rising.rises_to(watermark) {
            if std::mem::take(&mut self.idle) {
                news.push(Output::Status(Status::Active));
            }
            news.push(Output::Watermark(watermark));
        }
        if idle && !self.idle {
            self.idle = true;
            news.push(Output::Status(Status::Idle));
        }
        news
    }
}
