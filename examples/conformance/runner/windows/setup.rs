//! What a case asks for, and what of that there is.

use chrono::TimeDelta;
use floodmark::Config;
use serde::Deserialize;

/// What a case asks for.
#[derive(Deserialize)]
pub(super) struct Setup {
    window: Window,
    allowed_lateness: i64,
    trigger: Trigger,
    aggregate: AggregateName,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Window {
    Tumbling {
        size: i64,
        offset: i64,
    },
    Sliding {
        size: i64,
        slide: i64,
        offset: i64,
    },
    /// `session`, `session_dynamic`, `global`: to come.
    #[serde(other)]
    Unsupported,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Trigger {
    EventTime,
    /// `purging_event_time`, `count`, `purging_count`, `continuous`, `end_of_stream`: to come.
    #[serde(other)]
    Unsupported,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AggregateName {
    Sum,
    Count,
    Min,
    Max,
    List,
    #[serde(other)]
    Unsupported,
}

/// What a case asks for, where the kernel has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supported {
    size: i64,
    slide: i64,
    offset: i64,
    allowed_lateness: i64,
    pub(super) aggregation: Aggregation,
}

/// The aggregates that there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aggregation {
    Sum,
    Count,
    Min,
    Max,
    List,
}

impl Setup {
    /// None if anything of it is not there yet.
    pub(super) fn supported(&self) -> Option<Supported> {
        let (size, slide, offset) = match self.window {
            Window::Tumbling { size, offset } => (size, size, offset),
            Window::Sliding { size, slide, offset } => (size, slide, offset),
            Window::Unsupported => return None,
        };
        match self.trigger {
            Trigger::EventTime => {}
            Trigger::Unsupported => return None,
        }
        let aggregation = self.aggregate.supported()?;
        Some(Supported { size, slide, offset, allowed_lateness: self.allowed_lateness, aggregation })
    }
}

impl AggregateName {
    fn supported(self) -> Option<Aggregation> {
        match self {
            Self::Sum => Some(Aggregation::Sum),
            Self::Count => Some(Aggregation::Count),
            Self::Min => Some(Aggregation::Min),
            Self::Max => Some(Aggregation::Max),
            Self::List => Some(Aggregation::List),
            Self::Unsupported => None,
        }
    }
}

impl Supported {
    pub(super) fn config(&self) -> Config {
        let micros = TimeDelta::microseconds;
        Config::sliding(micros(self.size), micros(self.slide))
            .offset(micros(self.offset))
            .allowed_lateness(micros(self.allowed_lateness))
            // The same order of panes in every run.
            .seed(0)
    }

    /// Whether a time lies in no window.
    pub(super) fn is_gap(&self, time: i64) -> bool {
        self.since_last_start(time) >= i128::from(self.size)
    }

    /// Whether Flink reports a time that lies in no window as late, rather than dropping it in silence. Its sum
    /// wraps.
    pub(super) fn flink_calls_gap_late(&self, time: i64, flink_watermark: i64) -> bool {
        time.wrapping_add(self.allowed_lateness) <= flink_watermark
    }

    /// Whether Flink's arithmetic leaves 64 bits when it assigns windows to this time.
    pub(super) fn wraps(&self, time: i64) -> bool {
        let (exact, size) = (i128::from(time), i128::from(self.size));
        let last_end = exact - self.since_last_start(time) + size;
        // It goes through the starts from the last one down to the size before the time.
        [exact - i128::from(self.offset), exact - size, last_end]
            .iter()
            .any(|&bound| i64::try_from(bound).is_err())
    }

    fn since_last_start(&self, time: i64) -> i128 {
        (i128::from(time) - i128::from(self.offset)).rem_euclid(i128::from(self.slide))
    }
}
