//! Time as the kernel sees it: integers inside, chrono at the edge (T1).
//!
//! Everything here is a signed 64-bit count of microseconds since 1970-01-01T00:00:00Z. Nothing wraps
//! (T2): operations that could leave the range are checked or saturate, and say which.

use core::fmt;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Serialize};

/// When something happened: microseconds since 1970-01-01T00:00:00Z, negative before.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use floodmark::Timestamp;
///
/// let utc: DateTime<Utc> = "2013-01-01T10:59:00Z".parse().unwrap();
/// let time = Timestamp::from(utc);
/// assert_eq!(time.as_micros(), 1_357_037_940_000_000);
/// assert_eq!(DateTime::<Utc>::try_from(time).unwrap(), utc);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant, about 292,000 years before 1970.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant, about 292,000 years after 1970.
    pub const MAX: Self = Self(i64::MAX);

    /// The instant `micros` microseconds after (or, negative, before) 1970-01-01T00:00:00Z.
    #[inline]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[inline]
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

impl<Tz: TimeZone> From<DateTime<Tz>> for Timestamp {
    /// Never fails: chrono's whole range fits. Digits below a microsecond are cut off toward the past.
    #[inline]
    fn from(time: DateTime<Tz>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl TryFrom<Timestamp> for DateTime<Utc> {
    type Error = OutOfChronoRange;

    fn try_from(time: Timestamp) -> Result<Self, OutOfChronoRange> {
        Self::from_timestamp_micros(time.0).ok_or(OutOfChronoRange { micros: time.0 })
    }
}

/// A [`Timestamp`] beyond the years that chrono can name (about ±262,000).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfChronoRange {
    micros: i64,
}

impl fmt::Display for OutOfChronoRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} µs since 1970 is outside the range of calendar dates", self.micros)
    }
}

impl core::error::Error for OutOfChronoRange {}

/// RFC 3339 in UTC where the calendar reaches, a count of microseconds beyond it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::try_from(*self) {
            Ok(utc) => f.pad(&utc.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
            Err(_) => write!(f, "{} µs", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({})", self.0)
    }
}

/// A promise about the future: no event with a time **before** it will still come (W1).
///
/// Half-open, like a dataflow frontier: an event *at* the watermark may still come. (Apache Flink's
/// watermark `f` is our `f + 1`.) [`Watermark::MAX`] is the end of input, [`Watermark::MIN`] says that
/// nothing is known yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Watermark(i64);

impl Watermark {
    /// Nothing is known yet.
    pub const MIN: Self = Self(i64::MIN);
    /// The end of input: nothing will come any more.
    pub const MAX: Self = Self(i64::MAX);

    /// The promise that nothing before `time` will come any more.
    #[inline]
    pub fn at(time: impl Into<Timestamp>) -> Self {
        Self(time.into().0)
    }

    /// The same from microseconds since 1970-01-01T00:00:00Z.
    #[inline]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[inline]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The watermark as an instant.
    #[inline]
    pub const fn timestamp(self) -> Timestamp {
        Timestamp(self.0)
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.pad("nothing known"),
            Self::MAX => f.pad("end of input"),
            Self(micros) => fmt::Display::fmt(&Timestamp(micros), f),
        }
    }
}

impl fmt::Debug for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("Watermark::MIN"),
            Self::MAX => f.write_str("Watermark::MAX"),
            Self(micros) => write!(f, "Watermark({micros})"),
        }
    }
}

/// A window `[start, end)`: what the user asked for (A1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first instant inside.
    pub start: Timestamp,
    /// The first instant after.
    pub end: Timestamp,
}

impl Window {
    /// The window from `start` up to, but not including, `end`.
    pub fn new(start: impl Into<Timestamp>, end: impl Into<Timestamp>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// The window between these instants.
    pub(crate) const fn between((start, end): (i64, i64)) -> Self {
        Self { start: Timestamp(start), end: Timestamp(end) }
    }

    /// The event time of the window's own result, `end - 1`: the last instant inside (F6).
    pub const fn time(self) -> Timestamp {
        Timestamp(self.end.0.saturating_sub(1))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// A duration in whole microseconds, or `None` where it has a finer part or does not fit 64 bits.
pub(crate) fn whole_micros(delta: TimeDelta) -> Option<i64> {
    delta.num_microseconds().filter(|&micros| TimeDelta::microseconds(micros) == delta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn t1_timestamps_read_and_print_as_utc() {
        let time = Timestamp::from_micros(-1);
        assert_eq!(time.to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::MAX.to_string(), "9223372036854775807 µs");
        assert!(DateTime::<Utc>::try_from(Timestamp::MIN).is_err());
        assert_eq!(Timestamp::from(DateTime::<Utc>::MIN_UTC).to_string().get(..2), Some("-2"));
    }

    #[test]
    fn t1_durations_are_whole_microseconds() {
        assert_eq!(whole_micros(TimeDelta::milliseconds(-3)), Some(-3000));
        assert_eq!(whole_micros(TimeDelta::nanoseconds(1500)), None);
        assert_eq!(whole_micros(TimeDelta::MAX), None);
    }
}
