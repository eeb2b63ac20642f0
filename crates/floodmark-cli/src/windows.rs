//! Which windows a person asks for, when results come before a window's end, and what results hold.

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use clap::ValueEnum;
use floodmark::{Accumulation, Calendar, Trigger, UnknownZone, Windows};

use crate::args::Span;

/// What `floodmark run --help` says of `--window`.
pub(crate) const HELP: &str = "\
Windows:
  tumbling:SIZE            one after the other: tumbling:1h
  sliding:SIZE/SLIDE       one that starts every SLIDE: sliding:6h/1h
  cumulative:STEP/LONGEST  from the same start STEP long, twice that, and so on
                           up to LONGEST: cumulative:1h/1d
  session:GAP[/LONGEST]    rows of a key with at most GAP from one to the next:
                           session:30m, session:30m/4h
  calendar:PERIOD[@ZONE]   days, weeks, months, quarters or years as they are in
                           a time zone (or UTC): calendar:1d@America/New_York,
                           calendar:2w, calendar:1mo, calendar:1q, calendar:1y
  global                   all rows of a key, until the input ends
  count:N                  each N rows of a key, whenever they happened; their
                           results are `early` and numbered by `pane`, and fewer
                           rows give none: count:100

One of the first three starts at 1970-01-01T00:00Z, or an offset from there: tumbling:1d-5h.";

/// The windows of one `--window`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowSpec {
    /// As it was written, which is how results name it.
    pub(crate) given: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Tumbling {
        size: Span,
        offset: TimeDelta,
    },
    Sliding {
        size: Span,
        slide: Span,
        offset: TimeDelta,
    },
    Cumulative {
        step: Span,
        longest: Span,
        offset: TimeDelta,
    },
    Session {
        gap: Span,
        longest: Option<Span>,
    },
    /// None: UTC.
    Calendar {
        count: u32,
        unit: &'static str,
        zone: Option<String>,
    },
    Global,
    Count(u64),
}

impl WindowSpec {
    /// Each so many rows: such windows have one result each, when they are full.
    pub(crate) fn is_count(&self) -> bool {
        matches!(self.kind, Kind::Count(_))
    }

    /// Whether there are such windows also where there are no rows, so that they can be filled.
    pub(crate) fn is_on_a_grid(&self) -> bool {
        !matches!(self.kind, Kind::Session { .. } | Kind::Global | Kind::Count(_))
    }

    /// Whether the other means the same windows, however they are written.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    /// As the kernel knows them.
    pub(crate) fn windows(&self) -> Result<Windows, UnknownZone> {
        Ok(match &self.kind {
            Kind::Tumbling { size, offset } => Windows::tumbling(size.delta()).offset(*offset),
            Kind::Sliding { size, slide, offset } => {
                Windows::sliding(size.delta(), slide.delta()).offset(*offset)
            }
            Kind::Cumulative { step, longest, offset } => {
                Windows::cumulative(step.delta(), longest.delta()).offset(*offset)
            }
            Kind::Session { gap, longest: None } => Windows::session(gap.delta()),
            Kind::Session { gap, longest: Some(longest) } => {
                Windows::session(gap.delta()).max_length(longest.delta())
            }
            Kind::Calendar { count, unit, zone } => {
                let calendar = match *unit {
                    "w" => Calendar::weeks(*count),
                    "mo" => Calendar::months(*count),
                    "q" => Calendar::quarters(*count),
                    "y" => Calendar::years(*count),
                    _ => Calendar::days(*count),
                };
                match zone {
                    Some(zone) => Windows::calendar(calendar.in_named_zone(zone)?),
                    None => Windows::calendar(calendar),
                }
            }
            Kind::Global => Windows::global(),
            Kind::Count(rows) => Windows::count(*rows),
        })
    }
}

impl FromStr for WindowSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spec = Self { given: text.to_owned(), kind: Kind::parse(text)? };
        // So that a time zone that is none is an error of this very argument.
        spec.windows().map(drop).map_err(|error| error.to_string())?;
        Ok(spec)
    }
}

/// What reads the text behind the colon.
type Parse = fn(&str) -> Result<Kind, String>;

impl Kind {
    fn parse(text: &str) -> Result<Self, String> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        let (parse, example): (Parse, _) = match kind {
            "tumbling" => (tumbling, "tumbling:1h"),
            "sliding" => (sliding, "sliding:6h/1h"),
            "cumulative" => (cumulative, "cumulative:1h/1d"),
            "session" => (session, "session:30m"),
            "calendar" => (calendar, "calendar:1d@America/New_York"),
            "count" => (count, "count:100"),
            "global" => {
                let nothing_more = rest.is_none_or(str::is_empty);
                let error = || String::from("the global window is all time and takes no length: global");
                return nothing_more.then_some(Self::Global).ok_or_else(error);
            }
            _ => {
                return Err(format!(
                    "no windows are called {kind:?}; there are tumbling, sliding, cumulative, session, calendar, \
                     global and count"
                ));
            }
        };
        match rest {
            Some(rest) if !rest.is_empty() => parse(rest),
            _ => Err(format!("how long? Write {example}")),
        }
    }
}

fn tumbling(text: &str) -> Result<Kind, String> {
    let (lengths, offset) = split_offset(text)?;
    if lengths.contains('/') {
        return Err(String::from("tumbling windows have one length: tumbling:1h"));
    }
    Ok(Kind::Tumbling { size: length(lengths)?, offset })
}

fn sliding(text: &str) -> Result<Kind, String> {
    let (lengths, offset) = split_offset(text)?;
    let (size, slide) = lengths.split_once('/').ok_or("sliding windows need two lengths: sliding:6h/1h")?;
    Ok(Kind::Sliding { size: length(size)?, slide: length(slide)?, offset })
}

fn cumulative(text: &str) -> Result<Kind, String> {
    let (lengths, offset) = split_offset(text)?;
    let (step, longest) = lengths
        .split_once('/')
        .ok_or("cumulative windows need two lengths, the step and the longest: cumulative:1h/1d")?;
    let (step, longest) = (length(step)?, length(longest)?);
    if !longest.is_multiple_of(step) {
        return Err(format!(
            "first the step, then the longest window, which must be a multiple of it (cumulative:1h/1d): {longest} is \
             none of {step}"
        ));
    }
    Ok(Kind::Cumulative { step, longest, offset })
}

fn session(text: &str) -> Result<Kind, String> {
    if text.contains(['+', '-']) {
        return Err(String::from("sessions start with their first row and take no offset: session:30m"));
    }
    let (gap, longest) = match text.split_once('/') {
        Some((gap, longest)) => (gap, Some(length(longest)?)),
        None => (text, None),
    };
    Ok(Kind::Session { gap: length(gap)?, longest })
}

fn calendar(text: &str) -> Result<Kind, String> {
    const UNITS: [&str; 5] = ["d", "w", "mo", "q", "y"];
    let (period, zone) = match text.split_once('@') {
        Some((period, zone)) => (period, Some(zone.to_owned())),
        None => (text, None),
    };
    let digits = period.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = period.split_at(digits);
    match (count.parse(), UNITS.into_iter().find(|known| *known == unit)) {
        (Ok(0), Some(_)) => Err(String::from(NO_LENGTH)),
        (Ok(count), Some(unit)) => Ok(Kind::Calendar { count, unit, zone }),
        _ => Err(format!(
            "{period:?} is no number of days (1d), weeks (2w), months (1mo), quarters (1q) or years (1y); a time zone \
             comes after it: calendar:1d@America/New_York"
        )),
    }
}

fn count(text: &str) -> Result<Kind, String> {
    match text.parse() {
        Ok(0) => Err(String::from("a window of 0 rows? Write count:100")),
        Ok(rows) => Ok(Kind::Count(rows)),
        Err(_) => Err(format!("{text:?} is no number of rows: count:100")),
    }
}

const NO_LENGTH: &str = "a window cannot have length 0";

fn length(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    if span.is_zero() { Err(String::from(NO_LENGTH)) } else { Ok(span) }
}

/// Lengths, and the offset that may follow them.
fn split_offset(text: &str) -> Result<(&str, TimeDelta), String> {
    let Some(at) = text.find(['+', '-']) else { return Ok((text, TimeDelta::zero())) };
    let (lengths, offset) = text.split_at(at);
    let (sign, span) = offset.split_at(1);
    let span: Span = span.parse()?;
    Ok((lengths, if sign == "-" { -span.delta() } else { span.delta() }))
}

impl fmt::Display for WindowSpec {
    /// In one way, however it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tumbling { size, offset } => write!(f, "tumbling:{size}{}", Offset(*offset)),
            Kind::Sliding { size, slide, offset } => write!(f, "sliding:{size}/{slide}{}", Offset(*offset)),
            Kind::Cumulative { step, longest, offset } => {
                write!(f, "cumulative:{step}/{longest}{}", Offset(*offset))
            }
            Kind::Session { gap, longest: None } => write!(f, "session:{gap}"),
            Kind::Session { gap, longest: Some(longest) } => write!(f, "session:{gap}/{longest}"),
            Kind::Calendar { count, unit, zone: None } => write!(f, "calendar:{count}{unit}"),
            Kind::Calendar { count, unit, zone: Some(zone) } => write!(f, "calendar:{count}{unit}@{zone}"),
            Kind::Global => f.write_str("global"),
            Kind::Count(rows) => write!(f, "count:{rows}"),
        }
    }
}

/// With its sign; nothing, if there is none.
struct Offset(TimeDelta);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.num_microseconds().unwrap_or_default();
        let sign = if micros < 0 { '-' } else { '+' };
        match micros {
            0 => Ok(()),
            _ => write!(f, "{sign}{}", Span::from_micros(micros.unsigned_abs())),
        }
    }
}

/// What brings results of a window before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    Events(u64),
    Every(Span),
    /// On the clock on the wall.
    Clock(Span),
}

impl Early {
    /// Whether two cannot be had at once.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// A result at a window's end, and all these before it.
    pub(crate) fn trigger(all: &[Self]) -> Trigger {
        all.iter().fold(Trigger::on_time(), |trigger, early| match early {
            Self::Events(events) => trigger.early_every_events(*events),
            Self::Every(span) => trigger.early_every(span.delta()),
            Self::Clock(span) => trigger.early_every_ticks(span.delta()),
        })
    }
}

impl FromStr for Early {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let interval = || match rest.parse::<Span>()? {
            span if span.is_zero() => Err(String::from("results every 0 seconds?")),
            span => Ok(span),
        };
        match kind {
            "events" => match rest.parse() {
                Ok(0) => Err(String::from("results every 0 rows?")),
                Ok(events) => Ok(Self::Events(events)),
                Err(_) => Err(format!("{rest:?} is no number of rows: events:100")),
            },
            "every" => interval().map(Self::Every),
            "clock" => interval().map(Self::Clock),
            _ => Err(String::from("expected events:100, every:10m (of event time) or clock:10s")),
        }
    }
}

impl fmt::Display for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(events) => write!(f, "events:{events}"),
            Self::Every(span) => write!(f, "every:{span}"),
            Self::Clock(span) => write!(f, "clock:{span}"),
        }
    }
}

/// What the results of one window hold, when there are several: [`Accumulation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accumulate {
    Accumulating,
    Discarding,
    Retracting,
}

impl From<Accumulate> for Accumulation {
    fn from(accumulate: Accumulate) -> Self {
        match accumulate {
            Accumulate::Accumulating => Self::Accumulating,
            Accumulate::Discarding => Self::Discarding,
            Accumulate::Retracting => Self::Retracting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_written_as_they_are_read() {
        for text in [
            "tumbling:1h",
            "sliding:6h/1h",
            "tumbling:1d-5h",
            "sliding:1h30m/250ms+15m",
            "tumbling:1w",
            "cumulative:1h/1d",
            "cumulative:1h/1d-5h",
            "session:30m",
            "session:30m/4h",
            "calendar:1d@America/New_York",
            "calendar:2w",
            "calendar:1mo",
            "calendar:1q@Etc/GMT+5",
            "calendar:10y",
            "global",
            "count:100",
        ] {
            assert_eq!(text.parse::<WindowSpec>().unwrap().to_string(), text);
        }
        let spec: WindowSpec = "tumbling:90m".parse().unwrap();
        assert_eq!((spec.to_string(), &*spec.given), ("tumbling:1h30m".to_owned(), "tumbling:90m"));
        assert!(spec.is_same(&"tumbling:1h30m".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_with_windows_is_said() {
        for (text, why) in [
            ("tumbling", "how long? Write tumbling:1h"),
            ("tumbling:", "how long? Write tumbling:1h"),
            ("tumbling:0s", "length 0"),
            ("tumbling:1h/1h", "one length"),
            ("sliding:1h", "two lengths"),
            ("sliding:1h/0s", "length 0"),
            ("tumbling:1ns", "microseconds"),
            ("tumbling:1M", "months and years"),
            ("tumbling:1year", "months and years"),
            ("hopping:1h", "no windows are called \"hopping\"; there are tumbling, "),
            ("cumulative:1h", "two lengths"),
            ("cumulative:1d/1h", "1h is none of 1d"),
            ("session", "how long? Write session:30m"),
            ("session:0s", "length 0"),
            ("session:30m+5m", "no offset"),
            ("session:30m/soon", "durations like"),
            ("calendar:d", "is no number of days (1d)"),
            ("calendar:1h", "is no number of days (1d)"),
            ("calendar:0d", "length 0"),
            ("calendar:1d-5h", "a time zone comes after it"),
            ("calendar:1d@New_York", "there is no time zone \"New_York\""),
            ("calendar:1d@", "there is no time zone"),
            ("global:1h", "takes no length"),
            ("count:many", "\"many\" is no number of rows"),
            ("count:0", "0 rows"),
        ] {
            let said = text.parse::<WindowSpec>().expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn early_results_are_written_as_they_are_read() {
        for text in ["events:100", "every:10m", "clock:10s"] {
            assert_eq!(text.parse::<Early>().unwrap().to_string(), text);
        }
        for text in ["events", "events:0", "events:many", "every:", "every:0s", "clock:1M", "10m", ""] {
            assert!(text.parse::<Early>().is_err(), "{text}");
        }
    }
}
