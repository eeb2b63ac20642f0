//! One window of one key: what it holds, and what makes it fire next.

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
    pub(crate) replaced: Vec<Replaced<T>>,
}

/// A pane that was handed out, for the one that retracts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replaced<T> {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) partial: T,
}

/// What its triggers know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub(crate) struct State {
    /// How many panes there were.
    pub(crate) panes: u32,
    /// Something has come since the last of them.
    pub(crate) is_new: bool,
    /// The watermark had reached its end when that was looked at.
    pub(crate) ended: bool,
    /// Owes a late pane at the end of the drain.
    pub(crate) marked: bool,
    /// Events towards the next pane by count.
    pub(super) events: u64,
    /// When the next early pane comes, in event time.
    pub(super) early: Option<i64>,
    /// Where a continuous trigger is.
    pub(super) continuous: Option<Continuous>,
    /// The same on the host's clock.
    pub(crate) tick: Tick,
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
    /// The state of the session that two become, whose bounds are neither's.
    pub(crate) fn merge(&mut self, other: &Self) {
        *self = Self {
            panes: 0,
            ended: false,
            marked: false,
            is_new: self.is_new || other.is_new,
            events: self.events.saturating_add(other.events),
            early: earlier(self.early, other.early),
            continuous: [self.continuous, other.continuous].into_iter().flatten().min_by_key(|c| c.instant),
            tick: match (self.tick, other.tick) {
                (Tick::At(one), Tick::At(two)) => Tick::At(one.min(two)),
                (Tick::None, tick) | (tick, Tick::None | Tick::Unknown) => tick,
                (Tick::Unknown, tick) => tick,
            },
        };
    }

    /// That its bounds have changed: another window, which has not fired. In it the next instant of a
    /// continuous trigger is due even if it had been reached in the old ones (as in Flink).
    pub(crate) fn move_bounds(&mut self, end: i64, watermark: i64) {
        (self.panes, self.ended, self.marked) = (0, false, false);
        // (A session that is at its longest ends earlier when it starts earlier.)
        self.early = self.early.filter(|&at| at < end);
        if let Some(Continuous { instant, .. }) = self.continuous {
            self.continuous = Some(Continuous::new(instant, end, watermark));
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
        let State { early, continuous, ended, .. } = self.state;
        let is_continuous = matches!(rules.trigger.base, Base::Continuous(_));
        let end = (!ended && !is_continuous).then_some((self.end, Due::End));
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
                self.state.early = None;
                if self.state.is_new { self.emit(Timing::Early, rules) } else { None }
            }
            Due::Continuous => {
                let Base::Continuous(every) = rules.trigger.base else { return None };
                let timing = self.state.continuous.as_mut()?.fire(every, self.end)?;
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
                if self.state.continuous.is_none() {
                    let instant = (time - time % every).saturating_add(every);
                    self.state.continuous = Some(Continuous::new(instant, self.end, watermark));
                }
                return None;
            }
            Base::OnTime => {}
        }
        if let (Some(every), None) = (trigger.early_time, self.state.early) {
            self.state.early = self.next_multiple(every, time, watermark, rules);
        }
        if trigger.early_ticks.is_some() && self.state.tick == Tick::None {
            self.state.tick = match (now, trigger.early_ticks) {
                (Some(now), Some(every)) => Tick::At(now.saturating_add(every)),
                _ => Tick::Unknown,
            };
        }
        let full = trigger.early_events.is_some_and(|events| self.count(events));
        full.then_some(Timing::Early)
    }

    fn count(&mut self, events: u64) -> bool {
        self.state.events = self.state.events.saturating_add(1);
        let full = self.state.events >= events;
        if full {
            self.state.events = 0;
        }
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
        let replaced = core::mem::take(&mut self.replaced);
        if rules.accumulation == Accumulation::Retracting {
            self.replaced.push(Replaced { start, end, partial: partial.clone() });
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
