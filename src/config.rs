//! Configuration: plain data, validated once, in [`Config::build`].

use chrono::TimeDelta;

use crate::aggregate::Aggregate;
use crate::error::ConfigError;
use crate::grid::Grid;
use crate::lateness::Lateness;
use crate::operator::Windowing;
use crate::time::whole_micros;
use crate::watermark::Rules;

/// What to window by, and under which rules.
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Count, Windowing};
///
/// let windows: Windowing<String, f64, Count> = Config::sliding(TimeDelta::hours(6), TimeDelta::hours(1))
///     .max_disorder(TimeDelta::minutes(5))
///     .allowed_lateness(TimeDelta::hours(1))
///     .build(Count)?;
///
/// let error = Config::tumbling(TimeDelta::zero()).build::<String, f64, _>(Count).unwrap_err();
/// assert_eq!(error.to_string(), "the window size must be longer than nothing; given P0D");
/// # Ok::<(), floodmark::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a configuration does nothing before `build`"]
pub struct Config {
    size: TimeDelta,
    slide: TimeDelta,
    offset: TimeDelta,
    allowed_lateness: TimeDelta,
    max_disorder: Option<TimeDelta>,
    idle_timeout: Option<TimeDelta>,
    resume: Resume,
    max_future_skew: Option<(TimeDelta, Suspect)>,
    late_firing: LateFiring,
    state_budget: usize,
    seed: Option<u64>,
}

/// What happens to the watermark when a partition comes back behind it (W4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resume {
    /// It goes on; the partition is left out of the minimum until it has caught up. Its older events are
    /// late meanwhile.
    #[default]
    Exclude,
    /// It stands still until the partition has caught up.
    Hold,
}

/// What happens to an event that is too far in the future (W7). Neither moves the watermark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Suspect {
    /// It is windowed like any other.
    Admit,
    /// It is given back.
    #[default]
    Reject,
}

/// When late events make a window fire again (F3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LateFiring {
    /// With each of them.
    #[default]
    EachEvent,
    /// Once for all of them since the host last drained.
    OncePerDrain,
}

impl Config {
    /// Windows of `size`, one after the other.
    pub fn tumbling(size: TimeDelta) -> Self {
        Self::sliding(size, size)
    }

    /// Windows of `size`, one starting every `slide`. Any relation of the two: `slide > size` leaves gaps
    /// (events there are [unassigned](crate::Admission::Unassigned)).
    pub fn sliding(size: TimeDelta, slide: TimeDelta) -> Self {
        Self {
            size,
            slide,
            offset: TimeDelta::zero(),
            allowed_lateness: TimeDelta::zero(),
            max_disorder: None,
            idle_timeout: None,
            resume: Resume::default(),
            max_future_skew: None,
            late_firing: LateFiring::default(),
            state_budget: usize::MAX,
            seed: None,
        }
    }

    /// Windows start this much after where they would: by default one starts at 1970-01-01T00:00:00Z.
    /// May be negative or longer than a window.
    pub fn offset(self, offset: TimeDelta) -> Self {
        Self { offset, ..self }
    }

    /// How long after its end a window still accepts late events, and fires again for them (L1).
    /// None by default.
    pub fn allowed_lateness(self, allowed_lateness: TimeDelta) -> Self {
        Self { allowed_lateness, ..self }
    }

    /// Each partition's watermark follows its latest event at this distance (W2): an event may come up to
    /// `bound` behind the latest before it. Without this the host sets the watermarks.
    pub fn max_disorder(self, bound: TimeDelta) -> Self {
        Self { max_disorder: Some(bound), ..self }
    }

    /// Each partition's events come in order: its watermark is its latest event's time.
    pub fn ascending(self) -> Self {
        self.max_disorder(TimeDelta::zero())
    }

    /// A partition that has been quiet for longer than this on the host's [ticks] idles (W4).
    ///
    /// [ticks]: Windowing::tick
    pub fn idle_timeout(self, timeout: TimeDelta) -> Self {
        Self { idle_timeout: Some(timeout), ..self }
    }

    /// What happens when a partition comes back behind the watermark.
    pub fn resume(self, resume: Resume) -> Self {
        Self { resume, ..self }
    }

    /// An event further than `skew` ahead of its partition's latest event, and of the host's clock where
    /// that [ticks](Windowing::tick), is suspect: it does not move the watermark (W7).
    ///
    /// A partition's first event is only checked once the clock has ticked. Without ticks a true gap in
    /// the data longer than `skew` looks like a lie; with them it does not.
    pub fn max_future_skew(self, skew: TimeDelta, suspect: Suspect) -> Self {
        Self { max_future_skew: Some((skew, suspect)), ..self }
    }

    /// When late events make a window fire again.
    pub fn late_firing(self, late_firing: LateFiring) -> Self {
        Self { late_firing, ..self }
    }

    /// Refuse events that would make the state larger than this many bytes (E2). Unlimited by default.
    pub fn state_budget(self, bytes: usize) -> Self {
        Self { state_budget: bytes, ..self }
    }

    /// A fixed seed for hashing keys, for runs that give unordered panes in the same order each time. By
    /// default each process has its own, which keeps chosen keys from colliding (E3).
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The kernel.
    ///
    /// # Errors
    ///
    /// When a length does not make sense, saying which and why.
    pub fn build<K, V, A: Aggregate<V>>(self, aggregate: A) -> Result<Windowing<K, V, A>, ConfigError> {
        Ok(Windowing::new(self.settings()?, aggregate))
    }

    fn settings(&self) -> Result<Settings, ConfigError> {
        let size = positive("the window size", self.size)?;
        let slide = positive("the window slide", self.slide)?;
        let grid = Grid::new(size, slide, micros("the window offset", self.offset)?);
        let (first, beyond) = grid.admits();
        if first >= beyond {
            return Err(ConfigError::never_fits(size, slide));
        }
        let bound =
            self.max_disorder.map(|bound| not_negative("the bound of disorder", bound)).transpose()?;
        let idle_timeout = self.idle_timeout.map(|t| not_negative("the idle timeout", t)).transpose()?;
        let skew = match self.max_future_skew {
            Some((skew, suspect)) => Some((not_negative("the allowed skew into the future", skew)?, suspect)),
            None => None,
        };
        Ok(Settings {
            grid,
            lateness: Lateness { allowed: not_negative("the allowed lateness", self.allowed_lateness)? },
            rules: Rules { bound, idle_timeout, resume: self.resume, skew, beyond },
            late_firing: self.late_firing,
            state_budget: self.state_budget,
            seed: self.seed,
        })
    }
}

/// A validated [`Config`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) grid: Grid,
    pub(crate) lateness: Lateness,
    pub(crate) rules: Rules,
    pub(crate) late_firing: LateFiring,
    pub(crate) state_budget: usize,
    pub(crate) seed: Option<u64>,
}

fn micros(what: &'static str, given: TimeDelta) -> Result<i64, ConfigError> {
    whole_micros(given).ok_or_else(|| ConfigError::not_microseconds(what, given))
}

fn positive(what: &'static str, given: TimeDelta) -> Result<i64, ConfigError> {
    micros(what, given).and_then(|m| if m > 0 { Ok(m) } else { Err(ConfigError::not_positive(what, given)) })
}

fn not_negative(what: &'static str, given: TimeDelta) -> Result<i64, ConfigError> {
    micros(what, given).and_then(|m| if m >= 0 { Ok(m) } else { Err(ConfigError::negative(what, given)) })
}
