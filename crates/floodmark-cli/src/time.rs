//! Texts into instants: RFC 3339, or an integer epoch.

use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use clap::ValueEnum;
use floodmark::Timestamp;
use serde::{Deserialize, Serialize};

/// The unit of integer epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Unit {
    Auto,
    S,
    Ms,
    Us,
    Ns,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::S => "s",
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Ns => "ns",
        })
    }
}

impl Unit {
    /// The unit in which `epoch` lies within some thousand years of 1970. The bounds are far apart: in
    /// seconds 1e11 is the year 5138, in milliseconds it is 1973.
    fn detect(epoch: i64) -> Self {
        match epoch.unsigned_abs() {
            0..100_000_000_000 => Self::S,
            100_000_000_000..100_000_000_000_000 => Self::Ms,
            100_000_000_000_000..100_000_000_000_000_000 => Self::Us,
            _ => Self::Ns,
        }
    }

    /// Microseconds, cut off toward the past.
    fn micros(self, epoch: i64) -> Option<i64> {
        match self {
            Self::S => epoch.checked_mul(1_000_000),
            Self::Ms => epoch.checked_mul(1000),
            Self::Us | Self::Auto => Some(epoch),
            Self::Ns => Some(epoch.div_euclid(1000)),
        }
    }
}

/// Reads the times of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeReader {
    /// `Auto` until the first integer.
    unit: Unit,
    assume_utc: bool,
}

impl TimeReader {
    pub(crate) fn new(unit: Unit, assume_utc: bool) -> Self {
        Self { unit, assume_utc }
    }

    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    /// The instant, or what is wrong with the text.
    pub(crate) fn read(&mut self, text: &str) -> Result<Timestamp, &'static str> {
        let text = text.trim_ascii();
        if let Ok(epoch) = text.parse::<i64>() {
            if self.unit == Unit::Auto {
                self.unit = Unit::detect(epoch);
            }
            return self
                .unit
                .micros(epoch)
                .map(Timestamp::from_micros)
                .ok_or("more than 292,000 years from 1970 in this --time-unit");
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Timestamp::from(time));
        }
        match without_offset(text) {
            Some(time) if self.assume_utc => Ok(Timestamp::from(time.and_utc())),
            Some(_) => {
                Err("no offset; write Z or +01:00 after it, or read such times as UTC with --assume-utc")
            }
            None => Err("expected RFC 3339, like 2013-01-01T10:59:00Z, or an integer epoch"),
        }
    }
}

fn without_offset(text: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_357_041_600_000_000;

    fn read(text: &str) -> Option<i64> {
        TimeReader::new(Unit::Auto, false).read(text).ok().map(Timestamp::as_micros)
    }

    #[test]
    fn rfc_3339_with_a_space_and_with_offsets() {
        for text in [
            "2013-01-01T12:00:00Z",
            "2013-01-01 12:00:00Z",
            "2013-01-01t12:00:00.000z",
            "2013-01-01T13:30:00+01:30",
            " 2013-01-01T07:00:00-05:00",
        ] {
            assert_eq!(read(text), Some(NOON), "{text}");
        }
        assert_eq!(read("2013-01-01T12:00:00.0000019Z"), Some(NOON + 1));
        assert_eq!(read("1969-12-31T23:59:59.9999999Z"), Some(-1), "toward the past, also before 1970");
        for text in ["abc", "", "2013-01-01", "2013-13-01T00:00:00Z", "1357041600.5", "99999999999999999999"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn no_offset_is_refused_unless_asked_for() {
        assert_eq!(read("2013-01-01T12:00:00"), None);
        let mut lenient = TimeReader::new(Unit::Auto, true);
        assert_eq!(lenient.read("2013-01-01 12:00:00").map(Timestamp::as_micros), Ok(NOON));
    }

    #[test]
    fn the_first_epoch_decides_on_the_unit() {
        for text in ["1357041600", "1357041600000", "1357041600000000", "1357041600000000000"] {
            assert_eq!(read(text), Some(NOON), "{text}");
        }
        let mut times = TimeReader::new(Unit::Auto, false);
        assert!(times.read("1357041600000").is_ok());
        assert_eq!(times.unit(), Unit::Ms);
        assert_eq!(times.read("5").map(Timestamp::as_micros), Ok(5000));
        assert!(TimeReader::new(Unit::S, false).read("9223372036854775807").is_err());
        assert_eq!(TimeReader::new(Unit::Ns, false).read("-1").map(Timestamp::as_micros), Ok(-1));
    }
}
