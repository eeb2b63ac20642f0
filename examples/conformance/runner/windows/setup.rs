//! What a case asks for.

use chrono::TimeDelta;
use floodmark::{Accumulation, Config, Windows};
use serde::Deserialize;

/// What a case asks for.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Setup {
    window: Window,
    allowed_lateness: i64,
    trigger: Trigger,
    #[serde(rename = "aggregate")]
    pub(super) aggregation: Aggregation,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Window {
    Tumbling { size: i64, offset: i64 },
    Sliding { size: i64, slide: i64, offset: i64 },
    Session { gap: i64 },
    SessionDynamic,
    Global,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Trigger {
    EventTime,
    PurgingEventTime,
    Count { n: u64 },
    PurgingCount { n: u64 },
    Continuous { interval: i64 },
    EndOfStream,
}

/// What is computed of the values.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Aggregation {
    Sum,
    Count,
    Min,
    Max,
    List,
}

impl Setup {
    pub(super) fn config(&self) -> Config {
        let windows = self
            .window
            .definition()
            .allowed_lateness(TimeDelta::microseconds(self.allowed_lateness))
            .trigger(self.trigger.definition())
            .accumulation(self.trigger.accumulation());
        // The same order of panes in every run.
        Config::windows([windows]).seed(0)
    }

    /// Whether fires come in the order of window ends. Others do not wait for the end.
    pub(super) fn fires_at_ends(&self) -> bool {
        matches!(self.trigger, Trigger::EventTime | Trigger::PurgingEventTime)
    }

    /// Whether the order of a list means something.
    pub(super) fn orders_lists(&self) -> bool {
        let is_session = matches!(self.window, Window::Session { .. } | Window::SessionDynamic);
        !is_session && !matches!(self.trigger, Trigger::EndOfStream)
    }

    pub(super) fn is_global(&self) -> bool {
        matches!(self.window, Window::Global)
    }

    /// Whether Flink's arithmetic leaves 64 bits when it assigns windows to this time.
    pub(super) fn wraps(&self, time: i64, own_gap: Option<i64>) -> bool {
        match self.window {
            Window::Session { gap } => time.checked_add(gap).is_none(),
            Window::SessionDynamic => time.checked_add(own_gap.unwrap_or(0)).is_none(),
            _ => self.grid().is_some_and(|grid| grid.wraps(time)),
        }
    }

    /// Whether a time lies in no window.
    pub(super) fn is_gap(&self, time: i64) -> bool {
        self.grid().is_some_and(|grid| grid.since_last_start(time) >= i128::from(grid.size))
    }

    /// Whether Flink reports a time that lies in no window as late, rather than dropping it in silence. Its sum
    /// wraps.
    pub(super) fn flink_calls_gap_late(&self, time: i64, flink_watermark: i64) -> bool {
        time.wrapping_add(self.allowed_lateness) <= flink_watermark
    }

    /// Whether a window that ends at `end` has gone.
    pub(super) fn has_closed(&self, end: i64, watermark: i64) -> bool {
        watermark >= end.saturating_add(self.allowed_lateness)
    }

    fn grid(&self) -> Option<Grid> {
        match self.window {
            Window::Tumbling { size, offset } => Some(Grid { size, slide: size, offset }),
            Window::Sliding { size, slide, offset } => Some(Grid { size, slide, offset }),
            Window::Session { .. } | Window::SessionDynamic | Window::Global => None,
        }
    }
}

impl Window {
    fn definition(self) -> Windows {
        let micros = TimeDelta::microseconds;
        match self {
            Self::Tumbling { size, offset } => Windows::tumbling(micros(size)).offset(micros(offset)),
            Self::Sliding { size, slide, offset } => {
                Windows::sliding(micros(size), micros(slide)).offset(micros(offset))
            }
            Self::Session { gap } => Windows::session(micros(gap)),
            // Each element brings its own gap, so this one is never used.
            Self::SessionDynamic => Windows::session(micros(1)),
            Self::Global => Windows::global(),
        }
    }
}

impl Trigger {
    fn definition(self) -> floodmark::Trigger {
        match self {
            // The end of a global window is the end of input.
            Self::EventTime | Self::PurgingEventTime | Self::EndOfStream => floodmark::Trigger::on_time(),
            Self::Count { n } | Self::PurgingCount { n } => floodmark::Trigger::count(n),
            Self::Continuous { interval } => {
                floodmark::Trigger::continuous_event_time(TimeDelta::microseconds(interval))
            }
        }
    }

    fn accumulation(self) -> Accumulation {
        match self {
            Self::PurgingEventTime | Self::PurgingCount { .. } => Accumulation::Discarding,
            _ => Accumulation::Accumulating,
        }
    }
}

/// Windows of a size, one starting every slide.
#[derive(Clone, Copy)]
struct Grid {
    size: i64,
    slide: i64,
    offset: i64,
}

impl Grid {
    fn wraps(&self, time: i64) -> bool {
        let (exact, size) = (i128::from(time), i128::from(self.size));
        let last_end = exact - self.since_last_start(time) + size;
        // Flink goes through the starts from the last one down to the size before the time.
        [exact - i128::from(self.offset), exact - size, last_end]
            .iter()
            .any(|&bound| i64::try_from(bound).is_err())
    }

    fn since_last_start(&self, time: i64) -> i128 {
        (i128::from(time) - i128::from(self.offset)).rem_euclid(i128::from(self.slide))
    }
}
