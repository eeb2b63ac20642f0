//! The state as bytes, and back (S1-S5): whole or what has changed, at once or in steps, split by key and merged again.
//!
//! [`Windowing::snapshot`](crate::Windowing::snapshot) gives the whole state at once.
//! [`Windowing::begin_snapshot`](crate::Windowing::begin_snapshot) and
//! [`Windowing::write_snapshot`](crate::Windowing::write_snapshot) give it, or what has changed since another, in steps
//! while the stream goes on. [`Chain`] reads them without knowing the types of keys and accumulators.
//!
//! The configuration stands first and in full, so that a mismatch can be named. What follows from other state (running
//! partials of sliding windows, the tree of watermarks, timers) is not stored but made again.

#[doc = include_str!("format.md")]
pub mod format {}

mod chain;
#[cfg(feature = "lz4")]
mod compress;
mod cut;
mod frame;
mod parts;
mod read;
mod record;
mod summary;
mod write;

pub use chain::{Chain, Link, SliceSummary, SnapshotId};
#[cfg(feature = "lz4")]
pub use compress::{compress, decompress};
pub(crate) use cut::Cut;
pub use cut::{SnapshotKind, SnapshotProgress, SnapshotUnderWay};
pub use parts::part_of;
pub use summary::{DefinitionSummary, Summary};

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::config::{LateFiring, Resume, Suspect};
use crate::error::{RestoreError, RestoreErrorKind};
use crate::keyed::{Replaced, State};
use crate::operator::Windowing;
use crate::output::Timing;
use crate::slice::Positions;
use crate::stats::Counters;
use crate::watermark::{Learning, Saved};
use crate::windows::{Accumulation, Assigner, Base, Definition};

/// The newest version of the format, and the only one so far.
const VERSION: u16 = 1;

/// Everything that must be the same for a state to mean the same.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    definitions: Vec<DefinitionDescription>,
    bound: Option<i64>,
    learning: Option<Learning>,
    idle_timeout: Option<i64>,
    close_after_quiet: Option<i64>,
    hold: bool,
    skew: Option<(i64, bool)>,
    own_gaps: bool,
    ordered: bool,
    subtract_on_evict: bool,
    aggregate: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DefinitionDescription {
    windows: WindowsDescription,
    allowed_lateness: i64,
    once_per_drain: bool,
    base: BaseDescription,
    early_events: Option<u64>,
    early_time: Option<i64>,
    early_ticks: Option<i64>,
    accumulation: AccumulationDescription,
    fill: Option<i64>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum WindowsDescription {
    Sliding { size: i64, slide: i64, offset: i64 },
    Cumulative { step: i64, max: i64, offset: i64 },
    Session { gap: i64, max_length: Option<i64> },
    Global,
    Own { name: String },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum BaseDescription {
    OnTime,
    Count(u64),
    Continuous(i64),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum AccumulationDescription {
    Accumulating,
    Discarding,
    Retracting,
}

impl DefinitionDescription {
    fn of(definition: &Definition) -> Self {
        let trigger = &definition.trigger;
        Self {
            windows: WindowsDescription::of(&definition.assigner),
            allowed_lateness: definition.lateness.allowed,
            once_per_drain: definition.late_firing == LateFiring::OncePerDrain,
            base: match trigger.base {
                Base::OnTime => BaseDescription::OnTime,
                Base::Count(events) => BaseDescription::Count(events),
                Base::Continuous(every) => BaseDescription::Continuous(every),
            },
            early_events: trigger.early_events,
            early_time: trigger.early_time,
            early_ticks: trigger.early_ticks,
            accumulation: match definition.accumulation {
                Accumulation::Accumulating => AccumulationDescription::Accumulating,
                Accumulation::Discarding => AccumulationDescription::Discarding,
                Accumulation::Retracting => AccumulationDescription::Retracting,
            },
            fill: definition.fill,
        }
    }
}

impl WindowsDescription {
    fn of(assigner: &Assigner) -> Self {
        match assigner {
            Assigner::Periodic(grid) => {
                let (size, slide, offset) = grid.shape();
                Self::Sliding { size, slide, offset }
            }
            Assigner::Cumulative(grid) => {
                let (step, max, offset) = grid.shape();
                Self::Cumulative { step, max, offset }
            }
            Assigner::Session { gap, max_length } => Self::Session { gap: *gap, max_length: *max_length },
            Assigner::Global => Self::Global,
            Assigner::Own(own) => Self::Own { name: own.0.name() },
        }
    }
}

impl Description {
    fn of<K, V, A: Aggregate<V>>(windows: &Windowing<K, V, A>) -> Self {
        let settings = &windows.settings;
        Self {
            definitions: settings.definitions.iter().map(DefinitionDescription::of).collect(),
            bound: settings.rules.bound,
            learning: settings.rules.learning,
            idle_timeout: settings.rules.idle_timeout,
            close_after_quiet: settings.rules.close_after_quiet,
            hold: settings.rules.resume == Resume::Hold,
            skew: settings.rules.skew.map(|(skew, suspect)| (skew, suspect == Suspect::Admit)),
            own_gaps: windows.has_own_gaps(),
            ordered: windows.order.is_some(),
            subtract_on_evict: windows.algebra.inverse.is_some(),
            aggregate: windows.algebra.aggregate.name(),
        }
    }

    /// An error that names the first difference that matters, if there is one. What matters is what the state was made by;
    /// not how it is kept, or what only events and ticks to come are judged by.
    fn check(&self, configured: &Self) -> Result<(), RestoreError> {
        same("a number of definitions of", &self.definitions.len(), &configured.definitions.len())?;
        for (taken, configured) in self.definitions.iter().zip(&configured.definitions) {
            taken.check(configured)?;
        }
        same("a bound of disorder in µs of", &self.bound, &configured.bound)?;
        same("a learned bound of disorder:", &self.learning, &configured.learning)?;
        same("the watermark held for partitions that resume:", &self.hold, &configured.hold)?;
        same("gaps of sessions chosen by events:", &self.own_gaps, &configured.own_gaps)?;
        same("ordered output:", &self.ordered, &configured.ordered)
    }

    /// That it is the same aggregate.
    fn check_aggregate(&self, configured: &Self) -> Result<(), RestoreError> {
        same("the aggregate", &self.aggregate, &configured.aggregate)
    }
}

impl DefinitionDescription {
    fn check(&self, configured: &Self) -> Result<(), RestoreError> {
        same("the windows (in µs)", &self.windows, &configured.windows)?;
        if configured.allowed_lateness < self.allowed_lateness {
            // (More is no contradiction: see `Lateness::grown_from`.)
            let what = "a larger allowed lateness in µs, of";
            same(what, &self.allowed_lateness, &configured.allowed_lateness)?;
        }
        same("late firing once per drain:", &self.once_per_drain, &configured.once_per_drain)?;
        same("the trigger", &self.base, &configured.base)?;
        same("panes that are", &self.accumulation, &configured.accumulation)?;
        same("early panes or none:", &self.fires_early(), &configured.fires_early())?;
        same("µs for which keys without events are filled:", &self.fill, &configured.fill)
    }

    /// Whether there are early panes: then more is known of windows than the sum of their slices.
    fn fires_early(&self) -> bool {
        self.early_events.is_some() || self.early_time.is_some() || self.early_ticks.is_some()
    }
}

fn same<T: PartialEq + fmt::Debug>(
    what: &'static str,
    taken: &T,
    configured: &T,
) -> Result<(), RestoreError> {
    if taken == configured {
        return Ok(());
    }
    let (snapshot, configured) = (format!("{taken:?}"), format!("{configured:?}"));
    Err(RestoreErrorKind::Configuration { what, snapshot, configured }.into())
}

/// The section 'progress'.
#[derive(Serialize, Deserialize)]
struct ProgressSection {
    progress: Saved,
    counters: Counters,
}

/// The section 'cut'.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct CutSection {
    /// What the end of the snapshot says that this one holds the changes since.
    since: Option<u64>,
    /// Where this one was made of a chain: what the end of the last of that says, so that others can go on from there.
    stands_for: Option<u64>,
}

/// A slice that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SliceHead {
    slice: i64,
    /// An instant in it, and where it ends, in microseconds since 1970.
    instant: i64,
    end: i64,
    entries: u64,
    /// It has not changed: its entries are in the snapshot before.
    is_kept: bool,
}

/// The section 'keyed' of a definition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct KeyedHead {
    definition: u32,
    /// Windows that end by this have closed, whatever is allowed.
    closed: i64,
    last_fired: Option<(i64, i64)>,
    cells: u64,
    /// Panes that have been set aside.
    asides: u64,
    /// Cells that do not follow have not changed: they are in the snapshot before.
    is_kept: bool,
}

/// The fixed part of a window of a key's own.
#[derive(Serialize, Deserialize)]
struct CellHeader {
    start: i64,
    end: i64,
    last: i64,
    reach: i64,
    state: State,
}

/// That, its partial and the panes that it replaced.
type CellRest<T> = (CellHeader, Option<T>, Vec<Replaced<T>>);

/// The fixed part of a pane that nobody has polled; the same follows.
#[derive(Serialize, Deserialize)]
struct PaneHeader {
    start: i64,
    end: i64,
    timing: Timing,
    index: u32,
}

/// The fixed part of what the section 'firing' has of one definition; sequences follow it.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cursor {
    fired: i64,
    positions: Positions,
    /// Windows that end by this have closed, whatever is allowed.
    closed: i64,
    /// A window is due that has not fired. It follows from all else, for who does not know what windows are.
    is_due: bool,
}

/// The window being drained.
#[derive(Serialize, Deserialize)]
struct Draining {
    definition: u32,
    start: i64,
    end: i64,
}

/// What an entry of the queue is; the rest of it follows.
#[derive(Serialize, Deserialize)]
enum QueuedKind {
    Event,
    Until(u32),
    /// Of this definition.
    Pane(u32),
}
