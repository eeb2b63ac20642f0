//! Configuration: plain data, validated once, in [`Config::build`].

use alloc::vec::Vec;

use chrono::TimeDelta;

use crate::aggregate::Aggregate;
use crate::error::ConfigError;
use crate::operator::Windowing;
use crate::time::whole_micros;
use crate::watermark::{Learning, Rules};
use crate::windows::{Accumulation, Definition, Trigger, Windows};

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
#[derive(Clone, Debug)]
#[must_use = "a configuration does nothing before `build`"]
pub struct Config {
    windows: Vec<Windows>,
    max_disorder: Option<TimeDelta>,
    learned_disorder: Option<LearnedDisorder>,
    idle_timeout: Option<TimeDelta>,
    close_after_quiet: Option<TimeDelta>,
    resume: Resume,
    max_future_skew: Option<(TimeDelta, Suspect)>,
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

/// A bound of disorder that is learned (W2): a percentile of the delays that a partition's events have had, where the delay
/// of an event is how far it comes behind the latest event before it.
///
/// Of events that come, about so many percent are in time, as far as the past tells; the others are late. The
/// sketch that the percentile is taken from knows delays to an eighth of their length, and rounds up.
///
/// ```
/// use chrono::TimeDelta;
/// use floodmark::{Config, Count, LearnedDisorder, Windowing};
///
/// let windows: Windowing<u32, f64, Count> = Config::tumbling(TimeDelta::minutes(1))
///     .learned_disorder(LearnedDisorder::percentile(99.9, TimeDelta::minutes(10)))
///     .build(Count)?;
/// # Ok::<(), floodmark::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct LearnedDisorder {
    percent: f64,
    at_least: TimeDelta,
    at_most: TimeDelta,
    warm_up: u64,
    memory: u32,
}

impl LearnedDisorder {
    /// So many percent of the events are to be in time, but the bound is never longer than `at_most`, which is what it is
    /// until enough events have been seen.
    pub fn percentile(percent: f64, at_most: TimeDelta) -> Self {
        Self { percent, at_least: TimeDelta::zero(), at_most, warm_up: 1_000, memory: 100_000 }
    }

    /// The bound is never shorter than this: nothing by default.
    pub fn at_least(self, at_least: TimeDelta) -> Self {
        Self { at_least, ..self }
    }

    /// How many events a partition must have had before it trusts what it has learned: 1,000 by default.
    pub fn warm_up(self, events: u64) -> Self {
        Self { warm_up: events, ..self }
    }

    /// How many events a partition remembers at most, at least 2: when it gets there half of each kind are forgotten, so
    /// that the bound follows a stream that changes. 100,000 by default.
    pub fn memory(self, events: u32) -> Self {
        Self { memory: events, ..self }
    }

    fn rules(self) -> Result<Learning, ConfigError> {
        let at_least = not_negative("the shortest bound of disorder to learn", self.at_least)?;
        let at_most = not_negative("the longest bound of disorder to learn", self.at_most)?;
        // Whole parts per million; what is no number becomes none of them.
        let ppm = (self.percent * 10_000.0 + 0.5) as u32;
        if !(1..=1_000_000).contains(&ppm) || self.memory < 2 || at_least > at_most {
            return Err(ConfigError::cannot_learn(self.percent, self.memory, at_least, at_most));
        }
        Ok(Learning { ppm, at_least, at_most, warm_up: self.warm_up, memory: self.memory })
    }
}

impl Config {
    /// Several definitions of windows over one stream, each with its own lateness, trigger and accumulation.
    /// Panes say which they belong to ([`Pane::definition`](crate::Pane::definition)): the number in this list.
    pub fn windows(windows: impl IntoIterator<Item = Windows>) -> Self {
        Self {
            windows: windows.into_iter().collect(),
            max_disorder: None,
            learned_disorder: None,
            idle_timeout: None,
            close_after_quiet: None,
            resume: Resume::default(),
            max_future_skew: None,
            state_budget: usize::MAX,
            seed: None,
        }
    }

    /// Windows of `size`, one after the other: [`Windows::tumbling`].
    pub fn tumbling(size: TimeDelta) -> Self {
        Self::windows([Windows::tumbling(size)])
    }

    /// Windows of `size`, one starting every `slide`: [`Windows::sliding`].
    pub fn sliding(size: TimeDelta, slide: TimeDelta) -> Self {
        Self::windows([Windows::sliding(size, slide)])
    }

    /// Windows that grow by `step` up to `max`: [`Windows::cumulative`].
    pub fn cumulative(step: TimeDelta, max: TimeDelta) -> Self {
        Self::windows([Windows::cumulative(step, max)])
    }

    /// Sessions that end `gap` after their last event: [`Windows::session`].
    pub fn session(gap: TimeDelta) -> Self {
        Self::windows([Windows::session(gap)])
    }

    fn for_all(self, set: impl Fn(Windows) -> Windows) -> Self {
        Self { windows: self.windows.into_iter().map(set).collect(), ..self }
    }

    /// Sets the [offset](Windows::offset) of all definitions.
    pub fn offset(self, offset: TimeDelta) -> Self {
        self.for_all(|windows| windows.offset(offset))
    }

    /// Sets the [allowed lateness](Windows::allowed_lateness) of all definitions (L1).
    pub fn allowed_lateness(self, allowed_lateness: TimeDelta) -> Self {
        self.for_all(|windows| windows.allowed_lateness(allowed_lateness))
    }

    /// Sets for all definitions when [late events make a window fire again](Windows::late_firing) (F3).
    pub fn late_firing(self, late_firing: LateFiring) -> Self {
        self.for_all(|windows| windows.late_firing(late_firing))
    }

    /// Sets the [trigger](Windows::trigger) of all definitions (F4).
    pub fn trigger(self, trigger: Trigger) -> Self {
        self.for_all(|windows| windows.trigger(trigger))
    }

    /// Sets for all definitions [what panes hold](Windows::accumulation) (F5).
    pub fn accumulation(self, accumulation: Accumulation) -> Self {
        self.for_all(|windows| windows.accumulation(accumulation))
    }

    /// Each partition's watermark follows its latest event at this distance (W2): an event may come up to
    /// `bound` behind the latest before it. Without this the host sets the watermarks.
    pub fn max_disorder(self, bound: TimeDelta) -> Self {
        Self { max_disorder: Some(bound), learned_disorder: None, ..self }
    }

    /// The same with a bound that each partition learns from how late its events come. A push then goes the long way:
    /// some 8 million a second where a bound that is known lets through 120.
    pub fn learned_disorder(self, learned: LearnedDisorder) -> Self {
        Self { learned_disorder: Some(learned), max_disorder: None, ..self }
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

    /// When nothing has come from any partition for longer than this on the host's [ticks], the watermark goes to
    /// the end of the last window that holds something: so the last windows of a stream that stops fire, too. What comes
    /// later and belongs there is late. A window that has no end (the global one) stays open.
    ///
    /// An event, or a report of the host's, ends the quiet. It counts from the second quiet tick on, as for
    /// idleness.
    ///
    /// [ticks]: Windowing::tick
    pub fn close_after_quiet(self, quiet: TimeDelta) -> Self {
        Self { close_after_quiet: Some(quiet), ..self }
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
        let settings = self.settings()?;
        let fills = settings.definitions.iter().any(|definition| definition.fill.is_some());
        if fills && aggregate.empty().is_none() {
            return Err(ConfigError::no_empty(aggregate.name()));
        }
        Ok(Windowing::new(settings, aggregate))
    }

    fn settings(&self) -> Result<Settings, ConfigError> {
        let definitions = self.windows.iter().map(Windows::rules).collect::<Result<Vec<_>, _>>()?;
        if definitions.is_empty() {
            return Err(ConfigError::no_windows());
        }
        let admits = admits(&definitions, None);
        let bound =
            self.max_disorder.map(|bound| not_negative("the bound of disorder", bound)).transpose()?;
        let learning = self.learned_disorder.map(LearnedDisorder::rules).transpose()?;
        let close_after_quiet = self
            .close_after_quiet
            .map(|t| not_negative("the quiet before windows are closed", t))
            .transpose()?;
        let idle_timeout = self.idle_timeout.map(|t| not_negative("the idle timeout", t)).transpose()?;
        let skew = match self.max_future_skew {
            Some((skew, suspect)) => Some((not_negative("the allowed skew into the future", skew)?, suspect)),
            None => None,
        };
        Ok(Settings {
            definitions,
            admits,
            rules: Rules {
                bound,
                learning,
                idle_timeout,
                close_after_quiet,
                resume: self.resume,
                skew,
                beyond: admits.1,
            },
            state_budget: self.state_budget,
            seed: self.seed,
        })
    }
}

/// A validated [`Config`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) definitions: Vec<Definition>,
    /// The instants whose windows all fit the range of time (T2), as `[first, beyond)`.
    pub(crate) admits: (i64, i64),
    pub(crate) rules: Rules,
    pub(crate) state_budget: usize,
    pub(crate) seed: Option<u64>,
}

impl Settings {
    /// The instants that fit, for an event with such a gap of its own.
    pub(crate) fn admits_with(&self, own_gap: Option<i64>) -> (i64, i64) {
        admits(&self.definitions, own_gap)
    }
}

/// The instants whose windows of all definitions fit the range of time (T2), as `[first, beyond)`. The last
/// instant never does: an ascending watermark there would be the end of input.
fn admits(definitions: &[Definition], own_gap: Option<i64>) -> (i64, i64) {
    let ranges = definitions.iter().map(|definition| definition.assigner.admits(own_gap));
    ranges.fold((i64::MIN, i64::MAX), |all, one| (all.0.max(one.0), all.1.min(one.1)))
}

pub(crate) fn micros(what: &'static str, given: TimeDelta) -> Result<i64, ConfigError> {
    whole_micros(given).ok_or_else(|| ConfigError::not_microseconds(what, given))
}

pub(crate) fn positive(what: &'static str, given: TimeDelta) -> Result<i64, ConfigError> {
    micros(what, given).and_then(|m| if m > 0 { Ok(m) } else { Err(ConfigError::not_positive(what, given)) })
}

pub(crate) fn not_negative(what: &'static str, given: TimeDelta) -> Result<i64, ConfigError> {
    micros(what, given).and_then(|m| if m >= 0 { Ok(m) } else { Err(ConfigError::negative(what, given)) })
}
