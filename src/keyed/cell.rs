//! One window of one key: what it holds, and what makes it fire next.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Rank;
use crate::output::Timing;
use crate::windows::{Accumulation, Assigner, Base, Definition};

/// A window of a key's own. What almost every event looks at stands together, in as few lines of a cache as that takes.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Cell<K, T> {
    pub(crate) key: K,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Of a session: its latest event, and the end without a longest length.
    pub(crate) last: i64,
    pub(crate) reach: i64,
    /// What its next pane holds; with discarding, nothing if nothing is new.
    pub(crate) partial: Option<T>,
    pub(crate) state: State,
    /// The panes that its next pane replaces, where that is told.
    pub(crate) replaced: Box<[Replaced<T>]>,
}

/// A pane that was handed out, for the one that retracts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replaced<T> {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) partial: T,
}

/// How far its panes have come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub(crate) struct State {
    /// How many panes there were.
    pub(crate) panes: u32,
    /// Something has come since the last of them.
    pub(crate) is_new: bool,
    /// The watermark had reached its end when that was looked at.
    pub(crate) ended: bool,
    /// Owes a late pane at the end of the drain.
    pub(crate) marked: bool,
    /// Its key may have other sessions. (It follows from all of them.)
    pub(super) shares_key: bool,
    /// None before a trigger has anything to know: most definitions have none but the end.
    triggers: Option<Box<Triggers>>,
}

/// What its triggers know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Triggers {
    /// Events towards the next pane by count.
    events: u64,
    /// When the next early pane comes, in event time.
    early: Option<i64>,
    /// Where a continuous trigger is.
    continuous: Option<Continuous>,
    /// The next early pane on the host's clock.
    pub(crate) tick: Tick,
}

/// Both together, as a snapshot has them.
#[derive(Serialize, Deserialize)]
struct Flat {
    panes: u32,
    is_new: bool,
    ended: bool,
    marked: bool,
    events: u64,
    early: Option<i64>,
    continuous: Option<Continuous>,
    tick: Tick,
}

impl From<Flat> for State {
    fn from(flat: Flat) -> Self {
        let Flat { panes, is_new, ended, marked, events, early, continuous, tick } = flat;
        let mut state = Self { panes, is_new, ended, marked, ..Self::default() };
        state.set(Triggers { events, early, continuous, tick });
        state
    }
}

impl From<State> for Flat {
    fn from(state: State) -> Self {
        let Triggers { events, early, continuous, tick } = state.triggers();
        let State { panes, is_new, ended, marked, .. } = state;
        Self { panes, is_new, ended, marked, events, early, continuous, tick }
    }
}

/// The next instant of a continuous trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Continuous {
    /// Flink's timer: it fires when Flink's watermark, one less than ours, has reached it. The last is that of
    /// the window's end.
    instant: i64,
    /// The watermark that it fires at: a timer behind the watermark waits for the next rise. None after the end;
    /// the instant stays, for the session that this one may become a part of.
    fires_at: Option<i64>,
}

/// An early pane on the host's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tick {
    #[default]
    None,
    /// Something has come before the clock was known.
    Unknown,
    At(i64),
}

/// A pane before anybody has asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Emission<T> {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) partial: T,
    pub(crate) timing: Timing,
    pub(crate) index: u32,
    pub(crate) replaced: Vec<Replaced<T>>,
}

/// What the watermark brings a window to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Early,
    Continuous,
    End,
    Close,
}

impl State {
    /// That of a window of which nothing is known but whether it has ended.
    pub(crate) fn new(ended: bool) -> Self {
        Self { ended, ..Self::default() }
    }

    pub(crate) fn triggers(&self) -> Triggers {
        self.triggers.as_deref().copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, triggers: Triggers) {
        match &mut self.triggers {
            Some(known) => **known = triggers,
            None if triggers == Triggers::default() => {}
            None => self.triggers = Some(Box::new(triggers)),
        }
    }

    /// The state of the session that two become, whose bounds are neither's.
    pub(crate) fn merge(&mut self, other: &Self) {
        (self.panes, self.ended, self.marked) = (0, false, false);
        self.is_new |= other.is_new;
        self.set(self.triggers().merged(other.triggers()));
    }

    /// That its bounds have changed: another window, which has not fired. In it the next instant of a
    /// continuous trigger is due even if it had been reached in the old ones (as in Flink).
    pub(crate) fn move_bounds(&mut self, end: i64, watermark: i64) {
        (self.panes, self.ended, self.marked) = (0, false, false);
        if let Some(triggers) = &mut self.triggers {
            // (A session that is at its longest ends earlier when it starts earlier.)
            triggers.early = triggers.early.filter(|&at| at < end);
            triggers.continuous = triggers.continuous.map(|c| Continuous::new(c.instant, end, watermark));
        }
    }

    /// Where one of two that have become one has the bounds of both: it is the window that it was, of which others have become
    /// a part.
    pub(crate) fn swallow(self, whole: &Self) -> Self {
        let mut state = Self { is_new: whole.is_new, marked: false, ..self };
        state.set(Triggers { continuous: state.triggers().continuous, ..whole.triggers() });
        state
    }

    /// That the rules have no early panes by event time, or by the clock, although those had that it comes from.
    pub(crate) fn keep(&mut self, by_time: bool, by_ticks: bool) {
        if let Some(triggers) = &mut self.triggers {
            triggers.early = triggers.early.filter(|_| by_time);
            if !by_ticks {
                triggers.tick = Tick::None;
            }
        }
    }

    pub(crate) fn tick(&self) -> Tick {
        self.triggers.as_ref().map_or(Tick::None, |triggers| triggers.tick)
    }

    pub(crate) fn set_tick(&mut self, tick: Tick) {
        self.set(Triggers { tick, ..self.triggers() });
    }
}

impl Triggers {
    fn merged(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_add(other.events),
            early: earlier(self.early, other.early),
            continuous: [self.continuous, other.continuous].into_iter().flatten().min_by_key(|c| c.instant),
            tick: match (self.tick, other.tick) {
                (Tick::At(one), Tick::At(two)) => Tick::At(one.min(two)),
                (Tick::None, tick) | (tick, Tick::None | Tick::Unknown) => tick,
                (Tick::Unknown, tick) => tick,
            },
        }
    }
}

impl Continuous {
    fn new(instant: i64, end: i64, watermark: i64) -> Self {
        let instant = instant.min(end.saturating_sub(1));
        let fires_at = watermark.max(instant).saturating_add(1);
        Self { instant, fires_at: Some(fires_at) }
    }

    /// It fires: what that is to a window with this end.
    fn fire(&mut self, every: i64, end: i64) -> Option<Timing> {
        let at = self.fires_at.take()?;
        let last = end.saturating_sub(1);
        let is_last = self.instant == last;
        if !is_last {
            self.instant = self.instant.saturating_add(every).min(last);
            self.fires_at = Some(at.max(self.instant.saturating_add(1)));
        }
        Some(match is_last {
            _ if at > end => Timing::Late,
            true => Timing::OnTime,
            false => Timing::Early,
        })
    }
}

fn earlier<T: Ord>(one: Option<T>, two: Option<T>) -> Option<T> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    }
}

impl<K, T: Clone> Cell<K, T> {
    pub(crate) fn is_closed(&self, rules: &Definition, watermark: i64) -> bool {
        watermark >= rules.lateness.closes(self.end)
    }

    /// What the watermark brings it to next, and at which watermark.
    pub(crate) fn due(&self, rules: &Definition) -> (i64, Due) {
        let is_continuous = matches!(rules.trigger.base, Base::Continuous(_));
        let end = (!self.state.ended && !is_continuous).then_some((self.end, Due::End));
        let Some(Triggers { early, continuous, .. }) = self.state.triggers.as_deref() else {
            return end.unwrap_or((rules.lateness.closes(self.end), Due::Close));
        };
        let early = early.map(|at| (at, Due::Early));
        let continuous = continuous.and_then(|c| c.fires_at).map(|at| (at, Due::Continuous));
        // In this order where several come at once.
        let close = (rules.lateness.closes(self.end), Due::Close);
        [early, continuous, end].into_iter().flatten().fold(None, first).unwrap_or(close)
    }

    /// Where what is due next stands in the sequence.
    pub(super) fn rank(&self, rules: &Definition) -> Rank {
        (self.due(rules).0, self.end, self.start)
    }

    /// The pane of what is due, if it causes one.
    pub(crate) fn come_to(&mut self, due: Due, rules: &Definition) -> Option<Emission<T>> {
        match due {
            Due::Early => {
                self.state.set(Triggers { early: None, ..self.state.triggers() });
                if self.state.is_new { self.emit(Timing::Early, rules) } else { None }
            }
            Due::Continuous => {
                let Base::Continuous(every) = rules.trigger.base else { return None };
                let continuous = self.state.triggers.as_mut()?.continuous.as_mut()?;
                let timing = continuous.fire(every, self.end)?;
                self.state.ended |= timing == Timing::OnTime;
                self.emit(timing, rules)
            }
            Due::End => {
                self.state.ended = true;
                match rules.trigger.base {
                    Base::Count(_) => None,
                    _ => self.emit(Timing::OnTime, rules),
                }
            }
            Due::Close => None,
        }
    }

    /// After an event at `time` was taken, under this watermark and clock: the timing of the pane that it
    /// causes, if it causes one.
    pub(crate) fn note_event(
        &mut self,
        time: i64,
        watermark: i64,
        now: Option<i64>,
        rules: &Definition,
    ) -> Option<Timing> {
        self.state.is_new = true;
        let ended = watermark >= self.end;
        if ended {
            self.state.ended = true;
        }
        let trigger = &rules.trigger;
        match trigger.base {
            Base::Count(events) => {
                let timing = if ended { Timing::Late } else { Timing::Early };
                return self.count(events).then_some(timing);
            }
            _ if ended => return Some(Timing::Late),
            Base::Continuous(every) => {
                let triggers = self.state.triggers();
                if triggers.continuous.is_none() {
                    let instant = (time - time % every).saturating_add(every);
                    let continuous = Some(Continuous::new(instant, self.end, watermark));
                    self.state.set(Triggers { continuous, ..triggers });
                }
                return None;
            }
            Base::OnTime => {}
        }
        let mut triggers = self.state.triggers();
        if let (Some(every), None) = (trigger.early_time, triggers.early) {
            triggers.early = self.next_multiple(every, time, watermark, rules);
        }
        if trigger.early_ticks.is_some() && triggers.tick == Tick::None {
            triggers.tick = match (now, trigger.early_ticks) {
                (Some(now), Some(every)) => Tick::At(now.saturating_add(every)),
                _ => Tick::Unknown,
            };
        }
        self.state.set(triggers);
        let full = trigger.early_events.is_some_and(|events| self.count(events));
        full.then_some(Timing::Early)
    }

    fn count(&mut self, events: u64) -> bool {
        let mut triggers = self.state.triggers();
        triggers.events = triggers.events.saturating_add(1);
        let full = triggers.events >= events;
        if full {
            triggers.events = 0;
        }
        self.state.set(triggers);
        full
    }

    /// The next instant after the watermark, counted in steps from the start of the window (from 1970 on where
    /// that is the beginning of time), if it is before the end.
    fn next_multiple(&self, every: i64, time: i64, watermark: i64, rules: &Definition) -> Option<i64> {
        let (anchor, after) = match (&rules.assigner, watermark) {
            (Assigner::Global, i64::MIN) => (0, time),
            (Assigner::Global, watermark) => (0, watermark),
            (_, watermark) => (self.start, watermark.max(self.start)),
        };
        let (anchor, after, every) = (i128::from(anchor), i128::from(after), i128::from(every));
        let next = anchor + ((after - anchor).div_euclid(every) + 1) * every;
        i64::try_from(next).ok().filter(|&next| next < self.end)
    }

    /// A pane now, if there is something to hand out.
    pub(crate) fn emit(&mut self, timing: Timing, rules: &Definition) -> Option<Emission<T>> {
        let partial = match rules.accumulation {
            Accumulation::Discarding => self.partial.take()?,
            Accumulation::Accumulating | Accumulation::Retracting => self.partial.clone()?,
        };
        let (start, end) = (self.start, self.end);
        let replaced = core::mem::take(&mut self.replaced).into_vec();
        if rules.accumulation == Accumulation::Retracting {
            self.replaced = [Replaced { start, end, partial: partial.clone() }].into();
        }
        let index = self.state.panes;
        self.state.panes = index.saturating_add(1);
        self.state.is_new = false;
        Some(Emission { start, end, partial, timing, index, replaced })
    }
}

/// The earlier of the two, or the one before.
fn first(best: Option<(i64, Due)>, next: (i64, Due)) -> Option<(i64, Due)> {
    match best {
        Some(best) if best.0 <= next.0 => Some(best),
        _ => Some(next),
    }
}
