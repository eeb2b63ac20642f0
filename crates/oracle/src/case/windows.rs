//! One definition of windows: which there are, how long they wait, when they
//! fire and what a pane shows.

use serde::{Deserialize, Serialize};

use crate::case::at_least;

/// A definition of windows. A stream may have several (A3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Which windows there are.
    pub kind: Kind,
    /// How long a fired window still accepts events, at least 0.
    #[serde(default)]
    pub lateness: i64,
    /// When a window that already fired fires again.
    #[serde(default)]
    pub late_firing: LateFiring,
    /// When a window fires.
    #[serde(default)]
    pub trigger: Trigger,
    /// What a pane shows of its window.
    #[serde(default)]
    pub accumulation: Accumulation,
    /// For so long after a window in which a key was seen, at least 0, windows in
    /// which it was not show that there was nothing. Goes with [`Self::is_plain`]
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<i64>,
}

/// Which windows there are (A1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// `[offset + k * slide, + size)` for all integers `k`.
    Sliding {
        /// Length of a window, at least 1.
        size: i64,
        /// Distance between window starts, at least 1; equal to `size` for tumbling.
        slide: i64,
        /// Where the grid starts; any value.
        #[serde(default)]
        offset: i64,
    },
    /// Cycles of length `max`, and in each the windows that start with it and are
    /// `step`, twice `step` and so on long, up to `max`.
    Cumulative {
        /// How much longer each window is than the one before, at least 1.
        step: i64,
        /// Length of the longest, a multiple of `step`.
        max: i64,
        /// Where the cycles start; any value.
        #[serde(default)]
        offset: i64,
    },
    /// Events of a key that are not further apart than a gap (A2).
    Session {
        /// How long an event keeps its session open, at least 1, unless the event
        /// says itself.
        gap: i64,
        /// The longest a session can be, at least 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_length: Option<i64>,
    },
    /// The one window of all times.
    Global,
    /// The windows between neighbouring edges, whatever their lengths, and none
    /// outside: stands for calendars, and for grids of one's own.
    Edges {
        /// At least two, each later than the one before.
        edges: Vec<i64>,
    },
}

/// When a late but admitted event makes its window fire again (F3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateFiring {
    /// At once, for each event.
    #[default]
    EachEvent,
    /// Once for each window and key when the host drains.
    OncePerDrain,
}

/// When a window fires (F1, F4). The early settings go with [`Base::OnTime`] only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// What makes it fire in the first place.
    #[serde(default)]
    pub base: Base,
    /// Early after every so many events, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_events: Option<i64>,
    /// Early when the watermark has come so far, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_time: Option<i64>,
    /// Early when the host's ticks have come so far, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_ticks: Option<i64>,
}

/// What makes a window fire in the first place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Base {
    /// The watermark reaches its end; late events after that.
    #[default]
    OnTime,
    /// So many events, and nothing else ever.
    Count {
        /// How many, at least 1.
        n: i64,
    },
    /// The watermark reaches a multiple of `every` after the first event, or the
    /// end; late events after that.
    Continuous {
        /// The distance, at least 1.
        every: i64,
    },
}

/// What a pane shows of its window (F5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accumulation {
    /// Everything so far.
    #[default]
    Accumulating,
    /// What came since the last pane.
    Discarding,
    /// Everything so far, and the panes that this one replaces.
    Retracting,
}

impl Windows {
    /// Windows of a kind with every setting at its default.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            lateness: 0,
            late_firing: LateFiring::EachEvent,
            trigger: Trigger::default(),
            accumulation: Accumulation::Accumulating,
            fill: None,
        }
    }

    /// Tumbling windows.
    #[must_use]
    pub fn tumbling(size: i64) -> Self {
        Self::sliding(size, size)
    }

    /// Sliding windows.
    #[must_use]
    pub fn sliding(size: i64, slide: i64) -> Self {
        Self::of(Kind::Sliding { size, slide, offset: 0 })
    }

    /// Cumulative windows.
    #[must_use]
    pub fn cumulative(step: i64, max: i64) -> Self {
        Self::of(Kind::Cumulative { step, max, offset: 0 })
    }

    /// Sessions of any length.
    #[must_use]
    pub fn session(gap: i64) -> Self {
        Self::of(Kind::Session { gap, max_length: None })
    }

    /// The global window.
    #[must_use]
    pub fn global() -> Self {
        Self::of(Kind::Global)
    }

    /// Windows between edges.
    #[must_use]
    pub fn edges(edges: &[i64]) -> Self {
        Self::of(Kind::Edges { edges: edges.to_vec() })
    }

    /// Whether the windows are there whatever the events are, end, fire on time and
    /// accumulate.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let is_grid = !matches!(self.kind, Kind::Session { .. } | Kind::Global);
        let on_time = self.trigger == Trigger::default();
        is_grid && on_time && self.accumulation == Accumulation::Accumulating
    }

    /// Whether the definition is legal.
    ///
    /// # Errors
    /// Says in words what is not.
    pub fn check(&self) -> Result<(), String> {
        self.kind.check()?;
        at_least(&[("lateness", self.lateness, 0), ("fill", self.fill.unwrap_or(0), 0)])?;
        self.trigger.check()?;
        if self.kind == Kind::Global && matches!(self.trigger.base, Base::Continuous { .. }) {
            return Err("a global window that fires continuously never ends".to_string());
        }
        if self.fill.is_some() && !self.is_plain() {
            return Err("fill goes with windows of a grid that fire on time and accumulate only".to_string());
        }
        Ok(())
    }
}

impl Kind {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Sliding { size, slide, .. } => at_least(&[("size", *size, 1), ("slide", *slide, 1)]),
            Self::Cumulative { step, max, .. } => {
                at_least(&[("step", *step, 1), ("max", *max, 1)])?;
                match max % step {
                    0 => Ok(()),
                    _ => Err(format!("max is {max}, not a multiple of step, which is {step}")),
                }
            }
            Self::Session { gap, max_length } => {
                at_least(&[("gap", *gap, 1), ("max_length", max_length.unwrap_or(1), 1)])
            }
            Self::Global => Ok(()),
            Self::Edges { edges } if edges.len() < 2 => {
                Err(format!("there are {} edges, the minimum is 2", edges.len()))
            }
            Self::Edges { edges } => match edges.windows(2).find(|pair| pair[0] >= pair[1]) {
                Some(pair) => Err(format!("edge {} comes after edge {}", pair[1], pair[0])),
                None => Ok(()),
            },
        }
    }
}

impl Trigger {
    /// Fires on time, and late events at once.
    #[must_use]
    pub fn on(base: Base) -> Self {
        Self { base, ..Self::default() }
    }

    /// Whether there are early panes beside those of the base.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.early_events.or(self.early_time).or(self.early_ticks).is_some()
    }

    fn check(&self) -> Result<(), String> {
        match self.base {
            Base::OnTime => {}
            Base::Count { n } => at_least(&[("n", n, 1)])?,
            Base::Continuous { every } => at_least(&[("every", every, 1)])?,
        }
        at_least(&[
            ("early_events", self.early_events.unwrap_or(1), 1),
            ("early_time", self.early_time.unwrap_or(1), 1),
            ("early_ticks", self.early_ticks.unwrap_or(1), 1),
        ])?;
        if self.base != Base::OnTime && self.is_early() {
            return Err(format!("early panes go with on_time only, not with {:?}", self.base));
        }
        Ok(())
    }
}
