//! Errors. Their kinds are private: what a caller can tell apart, a method says; everything else is for
//! people, and names the numbers.

use alloc::string::String;
use core::fmt;

use chrono::TimeDelta;

use crate::time::Timestamp;
use crate::watermark::Partition;

/// A configuration that cannot be built.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    kind: ConfigErrorKind,
}

#[derive(Clone, PartialEq, Eq)]
enum ConfigErrorKind {
    NotPositive { what: &'static str, given: TimeDelta },
    Negative { what: &'static str, given: TimeDelta },
    NotMicroseconds { what: &'static str, given: TimeDelta },
    NeverFits { size: i64, slide: i64 },
    NoPart { step: i64, max: i64 },
    NoEvents { what: &'static str },
    TwoTriggers,
    NoWindows,
    NoCalendar,
    Endless,
    CannotFill,
    NoEmpty { aggregate: String },
    CannotLearn { given: String },
}

impl ConfigError {
    pub(crate) fn not_positive(what: &'static str, given: TimeDelta) -> Self {
        Self { kind: ConfigErrorKind::NotPositive { what, given } }
    }
    pub(crate) fn negative(what: &'static str, given: TimeDelta) -> Self {
        Self { kind: ConfigErrorKind::Negative { what, given } }
    }
    pub(crate) fn not_microseconds(what: &'static str, given: TimeDelta) -> Self {
        Self { kind: ConfigErrorKind::NotMicroseconds { what, given } }
    }
    pub(crate) fn never_fits(size: i64, slide: i64) -> Self {
        Self { kind: ConfigErrorKind::NeverFits { size, slide } }
    }
    pub(crate) fn no_part(step: i64, max: i64) -> Self {
        Self { kind: ConfigErrorKind::NoPart { step, max } }
    }
    pub(crate) fn no_events(what: &'static str) -> Self {
        Self { kind: ConfigErrorKind::NoEvents { what } }
    }
    pub(crate) fn two_triggers() -> Self {
        Self { kind: ConfigErrorKind::TwoTriggers }
    }
    pub(crate) fn no_calendar() -> Self {
        Self { kind: ConfigErrorKind::NoCalendar }
    }
    pub(crate) fn endless() -> Self {
        Self { kind: ConfigErrorKind::Endless }
    }
    pub(crate) fn cannot_fill() -> Self {
        Self { kind: ConfigErrorKind::CannotFill }
    }
    pub(crate) fn no_empty(aggregate: String) -> Self {
        Self { kind: ConfigErrorKind::NoEmpty { aggregate } }
    }
    pub(crate) fn cannot_learn(percent: f64, memory: u32, at_least: i64, at_most: i64) -> Self {
        let given = alloc::format!("{percent} %, {memory} events, {at_least} µs to {at_most} µs");
        Self { kind: ConfigErrorKind::CannotLearn { given } }
    }
    pub(crate) fn no_windows() -> Self {
        Self { kind: ConfigErrorKind::NoWindows }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ConfigErrorKind::NotPositive { what, given } => {
                write!(f, "{what} must be longer than nothing; given {given}")
            }
            ConfigErrorKind::Negative { what, given } => {
                write!(f, "{what} must not be negative; given {given}")
            }
            ConfigErrorKind::NotMicroseconds { what, given } => write!(
                f,
                "{what} must be a whole number of microseconds within ±{} of them; given {given}",
                i64::MAX
            ),
            ConfigErrorKind::NeverFits { size, slide } => {
                write!(f, "no window of {size} µs every {slide} µs fits the range of time")
            }
            ConfigErrorKind::NoPart { step, max } => write!(
                f,
                "the longest cumulative window must be a multiple of the step; {max} µs is none of {step} µs"
            ),
            ConfigErrorKind::NoEvents { what } => {
                write!(f, "{what} must wait for at least one event; given 0")
            }
            ConfigErrorKind::TwoTriggers => {
                write!(f, "early panes can only be added to a trigger that fires at the end of the window")
            }
            ConfigErrorKind::NoCalendar => {
                write!(f, "a calendar window must have at least one unit; given 0")
            }
            ConfigErrorKind::Endless => write!(
                f,
                "a continuous trigger fires up to the end of a window, which the global window does not have"
            ),
            ConfigErrorKind::CannotFill => write!(
                f,
                "only windows on a grid (not sessions, nor global) with the default trigger and accumulation can be filled"
            ),
            ConfigErrorKind::NoEmpty { aggregate } => write!(
                f,
                "windows are to be filled, but the aggregate {aggregate} says nothing of no events: wrap it in `OrElse`"
            ),
            ConfigErrorKind::CannotLearn { given } => write!(
                f,
                "a bound of disorder is learned as a percentile of more than 0 and at most 100 %, from 2 events or more, \
                 between a shortest and a longest one that are in this order; given {given}"
            ),
            ConfigErrorKind::NoWindows => {
                write!(f, "a configuration needs at least one definition of windows")
            }
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

impl core::error::Error for ConfigError {}

/// A partition that was never added, or was removed or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPartition {
    pub(crate) partition: Partition,
}

impl UnknownPartition {
    /// The handle that was given.
    pub fn partition(&self) -> Partition {
        self.partition
    }
}

impl fmt::Display for UnknownPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not there: it was never added, or was removed or ended", self.partition)
    }
}

impl core::error::Error for UnknownPartition {}

/// Columns of a batch that are not of one length. Nothing of the batch has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnequalColumns {
    pub(crate) times: usize,
    pub(crate) keys: usize,
    pub(crate) values: usize,
    /// Where each event has its own.
    pub(crate) partitions: Option<usize>,
}

impl fmt::Display for UnequalColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { times, keys, values, partitions } = self;
        write!(
            f,
            "the columns of a batch must be of one length; given {times} times, {keys} keys, {values} values"
        )?;
        partitions.map_or(Ok(()), |partitions| write!(f, ", {partitions} partitions"))
    }
}

impl core::error::Error for UnequalColumns {}

/// An event that cannot be taken, given back, and why. Nothing but the counters has changed.
///
/// (`E` is how it is given back, as in [`Admission`](crate::Admission).)
#[derive(Clone, PartialEq, Eq)]
pub struct Rejected<E> {
    /// The event.
    pub event: E,
    reason: Reason,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    UnknownPartition(UnknownPartition),
    OutOfRange { time: Timestamp, first: Timestamp, beyond: Timestamp },
    Gap { given: TimeDelta },
    FutureSkew { time: Timestamp, horizon: Timestamp },
    OverBudget { used: usize, growth: usize, budget: usize },
}

impl<E> Rejected<E> {
    pub(crate) fn new(event: E, reason: Reason) -> Self {
        Self { event, reason }
    }

    /// Its partition is not there.
    pub fn is_unknown_partition(&self) -> bool {
        matches!(self.reason, Reason::UnknownPartition(_))
    }

    /// Its windows do not fit the range of time (T2).
    pub fn is_out_of_range(&self) -> bool {
        matches!(self.reason, Reason::OutOfRange { .. })
    }

    /// The gap that it chooses for its session is not a positive number of microseconds.
    pub fn is_invalid_gap(&self) -> bool {
        matches!(self.reason, Reason::Gap { .. })
    }

    /// It is further in the future than the guard allows (W7).
    pub fn is_future_skew(&self) -> bool {
        matches!(self.reason, Reason::FutureSkew { .. })
    }

    /// It would take the state over its budget (E2). It may be offered again when windows have expired.
    pub fn is_over_budget(&self) -> bool {
        matches!(self.reason, Reason::OverBudget { .. })
    }
}

impl<E> fmt::Display for Rejected<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::UnknownPartition(unknown) => write!(f, "{unknown}"),
            Reason::OutOfRange { time, first, beyond } => write!(
                f,
                "event time {time} is out of range: its windows must fit 64 bits of microseconds, which they do \
                 from {first} up to {beyond}"
            ),
            Reason::Gap { given } => {
                write!(
                    f,
                    "the gap of a session must be a positive number of whole microseconds; given {given}"
                )
            }
            Reason::FutureSkew { time, horizon } => {
                write!(f, "event time {time} is suspect: the allowed skew into the future ends at {horizon}")
            }
            Reason::OverBudget { used, growth, budget } => write!(
                f,
                "the state takes {used} bytes and would grow by {growth}, over its budget of {budget}: drain due \
                 panes, or advance the watermark so that windows expire"
            ),
        }
    }
}

impl<E> fmt::Debug for Rejected<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejected({self})")
    }
}

impl<E> core::error::Error for Rejected<E> {}

/// A snapshot that cannot be restored.
#[derive(Clone, PartialEq, Eq)]
pub struct RestoreError {
    pub(crate) kind: RestoreErrorKind,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum RestoreErrorKind {
    NotASnapshot,
    Version { found: u16, newest: u16 },
    Truncated { section: &'static str, needed: u64, found: u64 },
    Damaged { section: &'static str, stored: u32, computed: u32 },
    Unreadable { section: &'static str, why: &'static str },
    Trailing { bytes: usize },
    Compressed,
    Configuration { what: &'static str, snapshot: String, configured: String },
    NotFresh,
    Chain { place: usize, since: Option<u64>, before: Option<u64> },
    Parts { part: usize, why: &'static str },
}

impl RestoreError {
    pub(crate) fn unreadable(section: &'static str, why: &'static str) -> Self {
        Self { kind: RestoreErrorKind::Unreadable { section, why } }
    }

    /// The snapshot is sound, but was taken under another configuration or with another aggregate.
    pub fn is_configuration(&self) -> bool {
        matches!(self.kind, RestoreErrorKind::Configuration { .. })
    }

    /// The bytes end too early.
    pub fn is_truncated(&self) -> bool {
        matches!(self.kind, RestoreErrorKind::Truncated { .. })
    }

    /// The bytes are not what was written: a checksum or the content contradicts itself.
    pub fn is_damaged(&self) -> bool {
        matches!(
            self.kind,
            RestoreErrorKind::Damaged { .. }
                | RestoreErrorKind::Unreadable { .. }
                | RestoreErrorKind::Trailing { .. }
        )
    }

    /// The snapshots are not one and those of the changes since, in their order.
    pub fn is_chain(&self) -> bool {
        matches!(self.kind, RestoreErrorKind::Chain { .. })
    }

    /// The snapshots cannot be split, or do not belong together.
    pub fn is_parts(&self) -> bool {
        matches!(self.kind, RestoreErrorKind::Parts { .. })
    }

    /// The snapshot is sound, but must be decompressed first.
    pub fn is_compressed(&self) -> bool {
        matches!(self.kind, RestoreErrorKind::Compressed)
    }

    /// The format is of a version that this release does not read.
    pub fn is_version(&self) -> bool {
        matches!(self.kind, RestoreErrorKind::Version { .. })
    }
}

impl From<RestoreErrorKind> for RestoreError {
    fn from(kind: RestoreErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RestoreErrorKind::NotASnapshot => f.write_str("these bytes are not a Floodmark snapshot"),
            RestoreErrorKind::Version { found, newest } => write!(
                f,
                "the snapshot has format version {found}; this release reads versions 1 to {newest}"
            ),
            RestoreErrorKind::Compressed => f.write_str(
                "the snapshot is compressed: give it to `snapshot::decompress` first, which the feature `lz4` has",
            ),
            RestoreErrorKind::Truncated { section, needed, found } => write!(
                f,
                "the snapshot is truncated in its section '{section}': {needed} bytes needed, {found} there"
            ),
            RestoreErrorKind::Damaged { section, stored, computed } => write!(
                f,
                "the snapshot is damaged in its section '{section}': its checksum is {stored:08x}, its content \
                 gives {computed:08x}"
            ),
            RestoreErrorKind::Unreadable { section, why } => {
                write!(f, "the snapshot's section '{section}' makes no sense: {why}")
            }
            RestoreErrorKind::Trailing { bytes } => {
                write!(f, "{bytes} bytes follow the end of the snapshot")
            }
            RestoreErrorKind::Configuration { what, snapshot, configured } => write!(
                f,
                "the snapshot was taken with {what} {snapshot}, but {configured} is configured: restore it with \
                 the configuration it was taken with"
            ),
            RestoreErrorKind::Chain { place, since, before } => match (since, before) {
                (None, None) => f.write_str("there is no snapshot"),
                (None, Some(_)) => write!(
                    f,
                    "snapshot {place} of the chain is a full one: restore it by itself, and those after it with it"
                ),
                (Some(since), None) => write!(
                    f,
                    "the snapshot holds the changes since snapshot {since:016x}: restore it together with that"
                ),
                (Some(since), Some(before)) => write!(
                    f,
                    "snapshot {place} of the chain holds the changes since {since:016x}, but the one before it is \
                     {before:016x}"
                ),
            },
            RestoreErrorKind::Parts { part, why } => {
                write!(f, "snapshot {part} cannot be split or merged: {why}")
            }
            RestoreErrorKind::NotFresh => f.write_str(
                "a snapshot is restored into a kernel that has just been built, and this one was used",
            ),
        }
    }
}

impl fmt::Debug for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RestoreError({self})")
    }
}

impl core::error::Error for RestoreError {}
