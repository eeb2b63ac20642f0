//! Which windows there are, when they fire and what their panes hold: [`Windows`], one *definition*.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use chrono::{TimeDelta, TimeZone};

use crate::calendar::Calendar;
use crate::config::{LateFiring, micros, not_negative, positive};
use crate::error::ConfigError;
use crate::grid::{Bounds, Cumulative, Grid};
use crate::lateness::Lateness;
use crate::time::{Timestamp, Window};

/// One definition of windows over a stream: their kind, their lateness, their trigger, and what their panes
/// hold. A [`Config`](crate::Config) has one or several.
///
/// ```
/// use chrono::{TimeDelta, TimeZone};
/// use floodmark::{Accumulation, Config, Count, Trigger, Windowing, Windows};
///
/// let windows: Windowing<u32, f64, _> = Config::windows([
///     Windows::tumbling(TimeDelta::minutes(1)),
///     Windows::session(TimeDelta::minutes(30))
///         .allowed_lateness(TimeDelta::hours(1))
///         .accumulation(Accumulation::Retracting),
///     Windows::cumulative(TimeDelta::hours(1), TimeDelta::days(1))
///         .trigger(Trigger::on_time().early_every(TimeDelta::minutes(5))),
/// ])
/// .build(Count)?;
/// # Ok::<(), floodmark::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "windows do nothing before they are part of a configuration"]
pub struct Windows {
    kind: Kind,
    allowed_lateness: TimeDelta,
    late_firing: LateFiring,
    trigger: Trigger,
    accumulation: Accumulation,
    fill: Option<TimeDelta>,
}

#[derive(Clone, Debug)]
enum Kind {
    Sliding { size: TimeDelta, slide: TimeDelta, offset: TimeDelta },
    Cumulative { step: TimeDelta, max: TimeDelta, offset: TimeDelta },
    Session { gap: TimeDelta, max_length: Option<TimeDelta> },
    Global,
    Calendar { count: u32, grid: Own },
    Own(Own),
}

/// What the panes of a window hold (F5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Accumulation {
    /// Everything in the window so far.
    #[default]
    Accumulating,
    /// What has come since the window's pane before. Where nothing has, there is no pane.
    Discarding,
    /// Everything so far, and with it the panes that it replaces ([`Pane::retracts`](crate::Pane::retracts)).
    Retracting,
}

/// When a window's panes come (F4).
///
/// A trigger adds panes to the one that comes when the watermark reaches the end of the window; only
/// [`count`](Trigger::count) takes that one's place. It never closes a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Trigger {
    pub(crate) base: Base<TimeDelta>,
    early_events: Option<u64>,
    early_time: Option<TimeDelta>,
    early_ticks: Option<TimeDelta>,
}

/// What a trigger is at bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base<D> {
    /// A pane at the end of the window.
    OnTime,
    /// A pane each time that so many events have come, and no other.
    Count(u64),
    /// Flink's `ContinuousEventTimeTrigger`.
    Continuous(D),
}

impl Default for Trigger {
    fn default() -> Self {
        Self::on_time()
    }
}

impl Trigger {
    /// One pane when the watermark reaches the end of the window, none before: the default.
    pub const fn on_time() -> Self {
        Self { base: Base::OnTime, early_events: None, early_time: None, early_ticks: None }
    }

    /// A pane of a key and window each time that `events` more have come, and no other: none at the end
    /// of the window, none for late events. What does not fill the count is not handed out. (Flink's
    /// `CountTrigger`; with [`Accumulation::Discarding`] its `PurgingTrigger` around that.)
    pub const fn count(events: u64) -> Self {
        Self { base: Base::Count(events), ..Self::on_time() }
    }

    /// Flink's `ContinuousEventTimeTrigger`, to the letter: a pane at the end, and early ones at the
    /// multiples of `every` from 1970 on, beginning with the first after the window's first event (rounded
    /// toward 1970), one for each that a jump of the watermark passes, even where nothing has changed.
    /// [`early_every`](Trigger::early_every) is calmer.
    pub const fn continuous_event_time(every: TimeDelta) -> Self {
        Self { base: Base::Continuous(every), ..Self::on_time() }
    }

    /// An early pane of a key and window each time that `events` more have come before the window's end.
    pub const fn early_every_events(self, events: u64) -> Self {
        Self { early_events: Some(events), ..self }
    }

    /// An early pane when the watermark reaches the next multiple of `every` from the window's start on, if
    /// something has come since the pane before.
    pub const fn early_every(self, every: TimeDelta) -> Self {
        Self { early_time: Some(every), ..self }
    }

    /// An early pane when the host's clock ([`tick`](crate::Windowing::tick)) is `every` past the first event
    /// since the pane before.
    pub const fn early_every_ticks(self, every: TimeDelta) -> Self {
        Self { early_ticks: Some(every), ..self }
    }

    fn rules(&self) -> Result<TriggerRules, ConfigError> {
        let base = match self.base {
            Base::OnTime => Base::OnTime,
            Base::Count(0) => return Err(ConfigError::no_events("a trigger")),
            Base::Count(events) => Base::Count(events),
            Base::Continuous(every) => Base::Continuous(positive("a trigger's interval", every)?),
        };
        let early = self.early_events.is_some() || self.early_time.is_some() || self.early_ticks.is_some();
        if early && base != Base::OnTime {
            return Err(ConfigError::two_triggers());
        }
        if self.early_events == Some(0) {
            return Err(ConfigError::no_events("an early pane"));
        }
        let interval =
            |every: Option<_>| every.map(|d| positive("the interval of early panes", d)).transpose();
        Ok(TriggerRules {
            base,
            early_events: self.early_events,
            early_time: interval(self.early_time)?,
            early_ticks: interval(self.early_ticks)?,
        })
    }
}

/// A validated [`Trigger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TriggerRules {
    pub(crate) base: Base<i64>,
    pub(crate) early_events: Option<u64>,
    pub(crate) early_time: Option<i64>,
    pub(crate) early_ticks: Option<i64>,
}

impl TriggerRules {
    pub(crate) const ON_TIME: Self =
        Self { base: Base::OnTime, early_events: None, early_time: None, early_ticks: None };
}

/// A grid of windows of one's own: calendars, shifts, trading hours.
///
/// # Laws
///
/// With `f = first_ending_after`:
///
/// 1. The window ends after the instant: `f(t).end > t`, and it is not empty: `f(t).start < f(t).end`.
/// 2. No other ends before it: for every `t` up to `f(t).end`, `f` gives the same window; if there is none
///    after `t` there is none after any later instant.
/// 3. Windows that end later do not start earlier.
/// 4. **Deterministic**: the same instant gives the same window, always.
///
/// So ends rise and starts do not fall; windows may overlap and may leave gaps.
/// [`laws::check_grid`](crate::laws::check_grid) tests them over instants of your choice.
///
/// ```
/// use floodmark::{Timestamp, Window, WindowGrid, laws};
///
/// /// Ten microseconds open, ten closed.
/// #[derive(Debug)]
/// struct Shifts;
///
/// impl WindowGrid for Shifts {
///     fn first_ending_after(&self, time: Timestamp) -> Option<Window> {
///         let start = (time.as_micros().checked_add(10)?).div_euclid(20).checked_mul(20)?;
///         let end = start.checked_add(10)?;
///         Some(Window::new(Timestamp::from_micros(start), Timestamp::from_micros(end)))
///     }
///     fn name(&self) -> String {
///         "shifts".into()
///     }
/// }
///
/// laws::check_grid(&Shifts, (-100..100).map(Timestamp::from_micros));
/// ```
pub trait WindowGrid: fmt::Debug {
    /// Of the windows that end after `time` the one that ends first; `None` if there is none. O(1), or nearly: it
    /// is called for events that come behind others. `time` may be anything, the first and the last instant too:
    /// saturate rather than overflow.
    fn first_ending_after(&self, time: Timestamp) -> Option<Window>;

    /// A name that is stored in snapshots and compared when one is restored. Change it whenever the windows
    /// change.
    fn name(&self) -> String;
}

/// Somebody's grid.
#[derive(Clone)]
pub(crate) struct Own(pub(crate) Arc<dyn WindowGrid + Send + Sync>);

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Windows {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            allowed_lateness: TimeDelta::zero(),
            late_firing: LateFiring::default(),
            trigger: Trigger::default(),
            accumulation: Accumulation::default(),
            fill: None,
        }
    }

    /// Windows of `size`, one after the other.
    pub fn tumbling(size: TimeDelta) -> Self {
        Self::sliding(size, size)
    }

    /// Windows of `size`, one starting every `slide`. Any relation of the two: `slide > size` leaves gaps
    /// (events there are [unassigned](crate::Admission::Unassigned)).
    pub fn sliding(size: TimeDelta, slide: TimeDelta) -> Self {
        Self::of(Kind::Sliding { size, slide, offset: TimeDelta::zero() })
    }

    /// Windows that grow: every `max` one starts that ends after `step`, one from the same instant that ends
    /// after twice that, and so on up to `max`, of which `step` must be a part. (Cumulating windows in
    /// Flink SQL.)
    pub fn cumulative(step: TimeDelta, max: TimeDelta) -> Self {
        Self::of(Kind::Cumulative { step, max, offset: TimeDelta::zero() })
    }

    /// Sessions: a key's events belong together as long as none is more than `gap` after the one before. A
    /// session ends `gap` after its last event; an event exactly there still belongs to it. Another gap for
    /// each event: [`Windowing::gap_by`](crate::Windowing::gap_by).
    pub fn session(gap: TimeDelta) -> Self {
        Self::of(Kind::Session { gap, max_length: None })
    }

    /// One window for all time. It fires at the end of input, unless its trigger says otherwise.
    pub fn global() -> Self {
        Self::of(Kind::Global)
    }

    /// Count windows: each `events` events of a key, whenever they happened.
    pub fn count(events: u64) -> Self {
        Self::global().trigger(Trigger::count(events)).accumulation(Accumulation::Discarding)
    }

    /// The days, weeks, months, quarters or years of a calendar in a time zone.
    pub fn calendar<Z>(calendar: Calendar<Z>) -> Self
    where
        Z: TimeZone + fmt::Debug + Send + Sync + 'static,
    {
        Self::of(Kind::Calendar { count: calendar.count, grid: Own(Arc::new(calendar)) })
    }

    /// The windows of a grid of one's own.
    pub fn own(grid: impl WindowGrid + Send + Sync + 'static) -> Self {
        Self::of(Kind::Own(Own(Arc::new(grid))))
    }

    /// Windows start this much after where they would: by default one starts at 1970-01-01T00:00:00Z.
    /// May be negative or longer than a window. For tumbling, sliding and cumulative windows.
    pub fn offset(mut self, by: TimeDelta) -> Self {
        match &mut self.kind {
            Kind::Sliding { offset, .. } | Kind::Cumulative { offset, .. } => *offset = by,
            Kind::Session { .. } | Kind::Global | Kind::Calendar { .. } | Kind::Own(_) => {}
        }
        self
    }

    /// No session gets longer than this.
    ///
    /// Exactly: from the first to the last event of a session is less than `length`, and a session ends
    /// `length` after its first event at the latest. An event that touches a session without fitting into it
    /// starts another; of several that it fits into it joins the one that starts first. Which these are may
    /// depend on the order of arrival.
    pub fn max_length(mut self, length: TimeDelta) -> Self {
        if let Kind::Session { max_length, .. } = &mut self.kind {
            *max_length = Some(length);
        }
        self
    }

    /// How long after its end a window still accepts late events, and fires again for them (L1).
    /// None by default.
    pub fn allowed_lateness(self, allowed_lateness: TimeDelta) -> Self {
        Self { allowed_lateness, ..self }
    }

    /// When late events make a window fire again.
    pub fn late_firing(self, late_firing: LateFiring) -> Self {
        Self { late_firing, ..self }
    }

    /// When panes come.
    pub fn trigger(self, trigger: Trigger) -> Self {
        Self { trigger, ..self }
    }

    /// What panes hold.
    pub fn accumulation(self, accumulation: Accumulation) -> Self {
        Self { accumulation, ..self }
    }

    /// Fires windows without events, too: a key without events in a window gets a pane there, with what the
    /// aggregate [says of no events](crate::Aggregate::empty), if it has some in a window that ended at most
    /// `horizon` before. The end of input adds none that begins after the last event and after what the watermark had reached.
    ///
    /// For windows on a grid (not sessions, nor global) with the default trigger and accumulation. Firing a window
    /// costs a look at all keys of the horizon, and their slices are kept for as long; with allowed lateness each pane
    /// that was empty is remembered until its window closes, which no [budget](crate::Config::state_budget) can refuse. (An event that came too
    /// late for this definition but not for another may count as seen here.)
    pub fn fill(self, horizon: TimeDelta) -> Self {
        Self { fill: Some(horizon), ..self }
    }

    pub(crate) fn rules(&self) -> Result<Definition, ConfigError> {
        if let (Kind::Global, Base::Continuous(_)) = (&self.kind, self.trigger.base) {
            return Err(ConfigError::endless());
        }
        let definition = Definition {
            assigner: self.kind.assigner()?,
            lateness: Lateness::new(not_negative("the allowed lateness", self.allowed_lateness)?),
            late_firing: self.late_firing,
            trigger: self.trigger.rules()?,
            accumulation: self.accumulation,
            fill: self.fill.map(|horizon| not_negative("the horizon of filling", horizon)).transpose()?,
        };
        match definition.fill.is_some() && !definition.is_sliced() {
            true => Err(ConfigError::cannot_fill()),
            false => Ok(definition),
        }
    }
}

impl Kind {
    fn assigner(&self) -> Result<Assigner, ConfigError> {
        Ok(match self {
            Self::Sliding { size, slide, offset } => {
                let (size, slide) =
                    (positive("the window size", *size)?, positive("the window slide", *slide)?);
                let grid = Grid::new(size, slide, micros("the window offset", *offset)?);
                let (first, beyond) = grid.admits();
                if first >= beyond {
                    return Err(ConfigError::never_fits(size, slide));
                }
                Assigner::Periodic(grid)
            }
            Self::Cumulative { step, max, offset } => {
                let (step, max) = (positive("the step", *step)?, positive("the longest window", *max)?);
                if max % step != 0 {
                    return Err(ConfigError::no_part(step, max));
                }
                let grid = Cumulative::new(step, max, micros("the window offset", *offset)?);
                let (first, beyond) = grid.admits();
                if first >= beyond {
                    return Err(ConfigError::never_fits(max, max));
                }
                Assigner::Cumulative(grid)
            }
            Self::Session { gap, max_length } => Assigner::Session {
                gap: positive("the session gap", *gap)?,
                max_length: max_length.map(|l| positive("the longest session", l)).transpose()?,
            },
            Self::Global => Assigner::Global,
            Self::Calendar { count: 0, .. } => return Err(ConfigError::no_calendar()),
            Self::Calendar { grid, .. } | Self::Own(grid) => Assigner::Own(grid.clone()),
        })
    }
}

/// A validated [`Windows`].
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) assigner: Assigner,
    pub(crate) lateness: Lateness,
    pub(crate) late_firing: LateFiring,
    pub(crate) trigger: TriggerRules,
    pub(crate) accumulation: Accumulation,
    /// For how long after it was seen last a key has panes of windows without events.
    pub(crate) fill: Option<i64>,
}

impl Definition {
    /// Whether nothing needs to be known of a key's window but the sum of its slices.
    pub(crate) fn is_sliced(&self) -> bool {
        let has_grid = !matches!(self.assigner, Assigner::Session { .. } | Assigner::Global);
        has_grid && self.is_plain()
    }

    fn is_plain(&self) -> bool {
        self.accumulation == Accumulation::Accumulating && self.trigger == TriggerRules::ON_TIME
    }
}

/// How events come to windows.
#[derive(Clone, Debug)]
pub(crate) enum Assigner {
    Periodic(Grid),
    Cumulative(Cumulative),
    Session { gap: i64, max_length: Option<i64> },
    Global,
    Own(Own),
}

impl Assigner {
    /// The instants whose windows all fit the range of time (T2), as `[first, beyond)`, for an event with such a
    /// gap of its own.
    pub(crate) fn admits(&self, own_gap: Option<i64>) -> (i64, i64) {
        match self {
            Self::Periodic(grid) => grid.admits(),
            Self::Cumulative(grid) => grid.admits(),
            Self::Session { gap, .. } => (i64::MIN, i64::MAX - own_gap.unwrap_or(*gap) + 1),
            Self::Global | Self::Own(_) => (i64::MIN, i64::MAX),
        }
    }

    /// Of the windows that end after `time` the one that ends first. Sessions have none before there are
    /// events.
    pub(crate) fn first_ending_after(&self, time: i64) -> Option<Bounds> {
        let window = match self {
            Self::Periodic(grid) => grid.first_ending_after(time),
            Self::Cumulative(grid) => grid.first_ending_after(time),
            Self::Session { .. } => return None,
            Self::Global => (i64::MIN, i64::MAX),
            Self::Own(own) => {
                let Window { start, end } = own.0.first_ending_after(Timestamp::from_micros(time))?;
                (start.as_micros(), end.as_micros())
            }
        };
        // At the end of time there is none, and somebody's grid may not keep its laws.
        (window.1 > time && window.0 < window.1).then_some(window)
    }

    /// Whether it has a window with these bounds. Sessions have none before there are events.
    pub(crate) fn has(&self, (start, end): Bounds) -> bool {
        let inside = match self {
            Self::Global => start,
            _ => end.saturating_sub(1),
        };
        self.first_ending_after(inside) == Some((start, end))
    }

    /// Whether there may be instants that are in no window.
    pub(crate) fn may_have_gaps(&self) -> bool {
        match self {
            Self::Periodic(grid) => matches!(grid.shape(), (size, slide, _) if size < slide),
            Self::Cumulative(_) | Self::Global => false,
            Self::Session { .. } | Self::Own(_) => true,
        }
    }

    /// Whether some window contains `time`.
    pub(crate) fn covers(&self, time: i64) -> bool {
        self.first_ending_after(time).is_some_and(|(start, _)| start <= time)
    }

    /// The windows that contain `time`, in the order of their ends.
    pub(crate) fn windows_of(&self, time: i64) -> impl Iterator<Item = Bounds> + '_ {
        let mut after = time;
        core::iter::from_fn(move || {
            let (start, end) = self.first_ending_after(after)?;
            after = end;
            (start <= time).then_some((start, end))
        })
    }

    /// The last window that contains `time`.
    pub(crate) fn last_of(&self, time: i64) -> Option<Bounds> {
        match self {
            Self::Periodic(grid) => {
                Some(grid.last_starting_by(time)).filter(|&(start, end)| start <= time && time < end)
            }
            Self::Cumulative(grid) => Some(grid.last_of(time)),
            _ => self.windows_of(time).last(),
        }
    }

    /// Of the windows that contain `time` the last that has ended by `upto`, if one has, and how many those are.
    pub(crate) fn ended_of(&self, time: i64, upto: i64) -> Option<(Bounds, u64)> {
        match self {
            Self::Periodic(grid) => grid.ended_of(time, upto),
            Self::Cumulative(grid) => grid.ended_of(time, upto),
            _ => self
                .windows_of(time)
                .take_while(|&(_, end)| end <= upto)
                .fold(None, |before, window| Some((window, before.map_or(0, |(_, count)| count) + 1))),
        }
    }

    /// The first instant after `time` at which a window starts or ends.
    pub(crate) fn next_edge(&self, time: i64) -> Option<i64> {
        let (start, end) = self.first_ending_after(time)?;
        let start = match self {
            Self::Periodic(grid) => grid.next_start(time),
            // The next cycle starts where this one ends.
            Self::Cumulative(_) => end,
            _ if start > time => start,
            _ => {
                let mut after = end;
                loop {
                    match self.first_ending_after(after) {
                        Some((start, end)) if start <= time => after = end,
                        other => break other.map_or(end, |(start, _)| start),
                    }
                }
            }
        };
        Some(start.min(end))
    }

    /// Where edges repeat: at `offset` plus multiples of the first number, and `second` after each of those.
    pub(crate) fn period(&self) -> Option<(u64, u64, i64)> {
        match self {
            Self::Periodic(grid) => {
                let (size, slide, offset) = grid.shape();
                Some((slide as u64, size as u64, offset))
            }
            Self::Cumulative(grid) => {
                let (step, _, offset) = grid.shape();
                Some((step as u64, step as u64, offset))
            }
            Self::Session { .. } | Self::Global | Self::Own(_) => None,
        }
    }
}
