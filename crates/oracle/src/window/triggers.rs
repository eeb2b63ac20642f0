//! When a key of a window fires next, other than by the event that just came
//! (F1, F4).

use crate::case::Trigger;
use crate::window::panes::Timing;
use crate::window::{Clock, Window};

/// What a trigger remembers of one key of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TriggerState {
    /// Events since so many made it fire.
    count: i64,
    /// The watermark at which it fires early.
    early_time: Option<i64>,
    /// When the host's ticks make it fire early.
    early_ticks: Option<TickTimer>,
    /// Where it is, if it fires continuously.
    continuous: Option<Continuous>,
    /// Whether it fires when the watermark reaches the end.
    awaits_end: bool,
}

/// When the host's ticks make a window fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TickTimer {
    /// To be set by the first tick there is.
    Unset,
    /// At this tick.
    At(i64),
}

/// The next instant of a window that fires continuously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Continuous {
    /// The instant: it fires when the watermark has passed it.
    instant: i64,
    /// The watermark at which it fires: one after the instant, or after the
    /// watermark that had passed it already. None once it fired at the end; the
    /// instant is kept, for the sessions that this one may become a part of.
    fires_at: Option<i64>,
}

/// What is due at some watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Early, if there is something new.
    EarlyTime,
    /// The next instant of those that fire continuously.
    Continuous,
    /// The end.
    End,
}

impl TriggerState {
    /// Counts an event; whether it is the `n`th.
    pub(super) fn count(&mut self, n: i64) -> bool {
        self.count += 1;
        let reached = self.count >= n;
        if reached {
            self.count = 0;
        }
        reached
    }

    /// An event came while the end is ahead, where windows fire at their end.
    /// Whether it makes the window fire early.
    pub(super) fn await_end(
        &mut self,
        trigger: &Trigger,
        window: Window,
        is_global: bool,
        time: i64,
        clock: Clock,
    ) -> bool {
        self.awaits_end = true;
        if let Some(every) = trigger.early_time
            && self.early_time.is_none()
        {
            let next = next_early_time(every, window, is_global, time, clock.watermark);
            self.early_time = next.filter(|&at| at < window.end);
        }
        if let Some(every) = trigger.early_ticks
            && self.early_ticks.is_none()
        {
            let first = clock.now.map_or(TickTimer::Unset, |now| TickTimer::At(now.saturating_add(every)));
            self.early_ticks = Some(first);
        }
        trigger.early_events.is_some_and(|n| self.count(n))
    }

    /// An event came while the end is ahead, where windows fire continuously.
    /// Flink's instants: multiples of `every`, rounded toward zero.
    pub(super) fn continue_from(&mut self, every: i64, window: Window, time: i64, watermark: i64) {
        if self.continuous.is_none() {
            let instant = (time - time % every).saturating_add(every).min(window.end - 1);
            self.continuous = Some(Continuous { instant, fires_at: Some(fire_time(instant, watermark)) });
        }
    }

    /// What fires next, and at which watermark.
    pub(super) fn next(&self, window: Window) -> Option<(i64, Due)> {
        let early = self.early_time.map(|at| (at, Due::EarlyTime));
        let continuous = self.continuous.and_then(|c| c.fires_at).map(|at| (at, Due::Continuous));
        let end = self.awaits_end.then_some((window.end, Due::End));
        [early, continuous, end].into_iter().flatten().min()
    }

    /// The early timer goes off.
    pub(super) fn early_time_fires(&mut self) {
        self.early_time = None;
    }

    /// The end is reached.
    pub(super) fn end_fires(&mut self) {
        self.awaits_end = false;
    }

    /// The next instant is reached. Says what it is to the window: the last one is
    /// the end, and all are late if the end had been passed when they were set.
    ///
    /// # Panics
    /// When there is none.
    pub(super) fn continuous_fires(&mut self, every: i64, window: Window) -> Timing {
        let state = self.continuous.as_mut().expect("it is due");
        let (at, last) = (state.fires_at.expect("it is due"), window.end - 1);
        let is_last = state.instant == last;
        if is_last {
            state.fires_at = None;
        } else {
            state.instant = state.instant.saturating_add(every).min(last);
            state.fires_at = Some(at.max(state.instant + 1));
        }
        match is_last {
            _ if at > window.end => Timing::Late,
            true => Timing::OnTime,
            false => Timing::Early,
        }
    }

    /// The host's processing time is now `now`; whether the timer goes off.
    pub(super) fn tick(&mut self, now: i64, every: i64) -> bool {
        match self.early_ticks {
            Some(TickTimer::Unset) => {
                self.early_ticks = Some(TickTimer::At(now.saturating_add(every)));
                false
            }
            Some(TickTimer::At(at)) if at <= now => {
                self.early_ticks = None;
                true
            }
            _ => false,
        }
    }

    /// Two sessions become one: counts are added, and of timers the earliest stays.
    pub(super) fn and(self, other: Self) -> Self {
        let continuous = [self.continuous, other.continuous].into_iter().flatten();
        Self {
            count: self.count + other.count,
            early_time: [self.early_time, other.early_time].into_iter().flatten().min(),
            early_ticks: [self.early_ticks, other.early_ticks].into_iter().flatten().min(),
            continuous: continuous.min_by_key(|c| c.instant),
            awaits_end: false,
        }
    }

    /// This is now the state of a session that has just been merged; of one of the
    /// parts, `same`, if that had the same bounds already. An early timer that is
    /// not before the end goes. In new bounds the next instant is due even if it
    /// had been reached in the old ones, and be it at the end (as in Flink).
    pub(super) fn fit_into(&mut self, window: Window, same: Option<Self>, watermark: i64) {
        self.early_time = self.early_time.filter(|&at| at < window.end);
        if let Some(same) = same {
            self.continuous = same.continuous;
        } else if let Some(state) = &mut self.continuous {
            state.instant = state.instant.min(window.end - 1);
            state.fires_at = Some(fire_time(state.instant, watermark));
        }
    }

    /// # Panics
    /// When the state is one that no sequence of calls should reach.
    pub(super) fn assert_invariants(&self, window: Window, watermark: i64) {
        if let Some(at) = self.early_time {
            assert!(watermark < at && at < window.end, "{at} is for {window:?} at {watermark}");
        }
        if let Some(Continuous { instant, fires_at }) = self.continuous {
            assert!(instant < window.end, "{instant} is behind {window:?}");
            assert!(fires_at.is_some() || window.end <= watermark, "{window:?} goes on to its end");
            assert!(fires_at.is_none_or(|at| watermark < at && instant < at), "{instant} did not fire");
        }
        assert!(!self.awaits_end || watermark < window.end, "{window:?} did not fire");
        assert!(self.count >= 0);
    }
}

/// The first watermark to fire at: multiples of `every` after the start of the
/// window, or after 0 if that is the beginning of time.
fn next_early_time(every: i64, window: Window, is_global: bool, time: i64, watermark: i64) -> Option<i64> {
    let (from, after) = match (is_global, watermark) {
        (true, i64::MIN) => (0, time),
        (true, _) => (0, watermark),
        (false, _) => (window.start, watermark.max(window.start)),
    };
    let (from, after, every) = (i128::from(from), i128::from(after), i128::from(every));
    let steps = (after - from).div_euclid(every) + 1;
    i64::try_from(from + steps * every).ok()
}

/// A watermark that has passed an instant already must rise once more for it.
fn fire_time(instant: i64, watermark: i64) -> i64 {
    // Neither is the end of time: windows end after the instant and the watermark.
    (instant + 1).max(watermark + 1)
}
