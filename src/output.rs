//! What comes back: panes, and events that were not (or not wholly) taken.

use core::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, Watermark, Window};
use crate::watermark::Partition;

/// One firing of one window for one key (F6).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[must_use = "a pane is handed out once"]
pub struct Pane<'a, K, T> {
    /// Whose.
    pub key: &'a K,
    /// Which window.
    pub window: Window,
    /// Which definition of windows it belongs to: its number in [`Config::windows`](crate::Config::windows).
    pub definition: u32,
    /// The window's value: everything in it so far or, where panes are
    /// [discarding](crate::Accumulation::Discarding), what has come since the pane before.
    pub value: T,
    /// The panes that this one replaces, where panes are [retracting](crate::Accumulation::Retracting): this window's
    /// pane before or, of a session that has grown, the last panes of the sessions that it was.
    pub retracts: &'a [Retracted<T>],
    /// Why it fired now.
    pub timing: Timing,
    /// How many panes of this key and window came before.
    pub index: u32,
    /// Whether nothing more can come for this key and window. False is no promise that something will.
    pub is_last: bool,
}

impl<K, T> Pane<'_, K, T> {
    /// The event time of the result itself: the last instant of the window (F6).
    pub fn time(&self) -> Timestamp {
        self.window.time()
    }
}

/// A pane that was handed out and holds no more.
#[derive(Clone, Debug, PartialEq)]
pub struct Retracted<T> {
    /// The window it was of.
    pub window: Window,
    /// What it said.
    pub value: T,
}

/// Why a pane fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Timing {
    /// Before the window was complete.
    Early,
    /// Because the watermark reached the window's end.
    OnTime,
    /// Because an event came after that, within the allowed lateness.
    Late,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Early => "early",
            Self::OnTime => "on_time",
            Self::Late => "late",
        })
    }
}

/// An event as it was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<K, V> {
    /// Through which partition it came.
    pub partition: Partition,
    /// When it happened.
    pub time: Timestamp,
    /// Whose it is.
    pub key: K,
    /// What it says.
    pub value: V,
}

/// What became of an event that was offered. Every event is exactly one of these, or
/// [`Rejected`](crate::Rejected): nothing disappears.
///
/// `E` is how an event is given back: whole, as an [`Event`], to who [pushed](crate::Windowing::push) it; as its
/// index to who pushed a [batch](crate::Windowing::push_batch).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "an event may have been given back: late or unassigned"]
pub enum Admission<E> {
    /// It is in all its windows.
    Accepted,
    /// It is in those of its windows that have not closed (L2).
    PartlyLate(Missed),
    /// All its windows have closed: given back whole (L3).
    Late(Late<E>),
    /// No window covers its time (slide > size): given back whole.
    Unassigned(E),
}

impl<E> Admission<E> {
    /// The same with the event given back another way.
    pub(crate) fn map<F>(self, give_back: impl FnOnce(E) -> F) -> Admission<F> {
        match self {
            Self::Accepted => Admission::Accepted,
            Self::PartlyLate(missed) => Admission::PartlyLate(missed),
            Self::Late(Late { event, watermark, late_by, reason, missed }) => {
                Admission::Late(Late { event: give_back(event), watermark, late_by, reason, missed })
            }
            Self::Unassigned(event) => Admission::Unassigned(give_back(event)),
        }
    }
}

/// The windows that an event came too late for, over all definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The one that ends first.
    pub first: Window,
    /// The one that ends last.
    pub last: Window,
    /// How many they are.
    pub count: u64,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "window {}", self.first),
            count => write!(f, "{count} windows from {} to {}", self.first, self.last),
        }
    }
}

/// A late event, given back, and why (L3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Late<E> {
    /// The event.
    pub event: E,
    /// The watermark that it was judged by.
    pub watermark: Watermark,
    /// How far its time is behind that watermark (saturating, at the end of input above all).
    pub late_by: TimeDelta,
    /// Why the watermark was there already.
    pub reason: LateReason,
    /// The windows it would have been in.
    pub missed: Missed,
}

/// Why a late event found the watermark past its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LateReason {
    /// It is older than its own partition's watermark: more disorder than its bound allows for.
    Disorder {
        /// That watermark.
        partition_watermark: Watermark,
    },
    /// Its partition is behind the others, and was not waited for: it was idle, is catching up, or joined
    /// late.
    PartitionBehind {
        /// Its partition's own watermark.
        partition_watermark: Watermark,
        /// Who holds the watermark now, far ahead of it; nobody at the end of input or while all idle.
        held_by: Option<Partition>,
    },
}

impl fmt::Display for LateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disorder { partition_watermark } => {
                write!(f, "behind its own partition's watermark, {partition_watermark}")
            }
            Self::PartitionBehind { partition_watermark, held_by } => {
                write!(f, "its partition, at {partition_watermark}, is behind the others")?;
                held_by.map_or(Ok(()), |partition| {
                    write!(f, " and not waited for ({partition} holds the watermark)")
                })
            }
        }
    }
}
