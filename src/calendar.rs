//! Windows that follow a calendar: days of 23 and 25 hours, months of 28 to 31 days.

use alloc::format;
use alloc::string::String;
use core::fmt;

use chrono::{
    DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveTime, TimeZone, Utc, Weekday,
};

use crate::time::{Timestamp, Window};
use crate::windows::WindowGrid;

/// Calendar windows: days, weeks, months, quarters or years, or several of them, as they are in a time zone.
///
/// A window starts when its first day does there, and ends when the next one's does. A day has 23 or 25 hours
/// where clocks are changed; where midnight is skipped the day starts with the first instant after; where it
/// comes twice, with the first of the two; a day that a zone skips has no window. Several units at once are
/// counted from 1970 on (weeks from the one with 1 January 1970 in it).
///
/// Any [`chrono::TimeZone`] will do. Those of the IANA database come with the crate `chrono-tz`, and by name with
/// this crate's feature `chrono-tz`: `Calendar::in_named_zone`.
///
/// ```
/// use chrono::{FixedOffset, Weekday};
/// use floodmark::{Calendar, Timestamp, WindowGrid};
///
/// let weeks = Calendar::weeks(1).first_day(Weekday::Sun).in_zone(FixedOffset::west_opt(5 * 3600).unwrap());
/// let week = weeks.first_ending_after("2013-03-10T05:00:00Z".parse::<chrono::DateTime<chrono::Utc>>()?.into());
/// assert_eq!(week.unwrap().to_string(), "[2013-03-10T05:00:00Z, 2013-03-17T05:00:00Z)");
/// # Ok::<(), chrono::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Calendar<Z = Utc> {
    unit: Unit,
    pub(crate) count: u32,
    first_day: Weekday,
    zone: Z,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Calendar {
    const fn of(unit: Unit, count: u32) -> Self {
        Self { unit, count, first_day: Weekday::Mon, zone: Utc }
    }

    /// So many days, in UTC.
    pub const fn days(count: u32) -> Self {
        Self::of(Unit::Day, count)
    }

    /// So many weeks from Monday to Sunday, in UTC.
    pub const fn weeks(count: u32) -> Self {
        Self::of(Unit::Week, count)
    }

    /// So many months, in UTC.
    pub const fn months(count: u32) -> Self {
        Self::of(Unit::Month, count)
    }

    /// So many quarters of a year, in UTC.
    pub const fn quarters(count: u32) -> Self {
        Self::of(Unit::Quarter, count)
    }

    /// So many years, in UTC.
    pub const fn years(count: u32) -> Self {
        Self::of(Unit::Year, count)
    }
}

impl<Z> Calendar<Z> {
    /// Weeks start on this day.
    pub fn first_day(self, first_day: Weekday) -> Self {
        Self { first_day, ..self }
    }

    /// Days are those of this time zone.
    pub fn in_zone<Other: TimeZone>(self, zone: Other) -> Calendar<Other> {
        let Self { unit, count, first_day, .. } = self;
        Calendar { unit, count, first_day, zone }
    }

    /// Days are those of the zone of this name in the IANA database.
    ///
    /// # Errors
    ///
    /// When there is no zone of that name.
    #[cfg(feature = "chrono-tz")]
    pub fn in_named_zone(self, name: &str) -> Result<Calendar<chrono_tz::Tz>, UnknownZone> {
        let zone = name.parse().map_err(|_| UnknownZone { name: name.into() })?;
        Ok(self.in_zone(zone))
    }

    /// The number of the period that a date is in; that with 1 January 1970 is 0.
    fn period_of(&self, date: NaiveDate) -> i64 {
        let days = i64::from(date.num_days_from_ce()) - EPOCH_DAY;
        let count = i64::from(self.count);
        match self.months_each() {
            Some(months) => {
                let month = (i64::from(date.year()) - 1970) * 12 + i64::from(date.month0());
                month.div_euclid(months)
            }
            None if self.unit == Unit::Week => (days - self.first_week()).div_euclid(7 * count),
            None => days.div_euclid(count),
        }
    }

    /// The date on which a period starts, if chrono knows it.
    fn date_of(&self, period: i64) -> Option<NaiveDate> {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
        let count = i64::from(self.count);
        if let Some(months) = self.months_each() {
            let months = period.checked_mul(months)?;
            let by = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
            return if months < 0 { epoch.checked_sub_months(by) } else { epoch.checked_add_months(by) };
        }
        let days = match self.unit {
            Unit::Week => period.checked_mul(7 * count)?.checked_add(self.first_week())?,
            _ => period.checked_mul(count)?,
        };
        let by = Days::new(days.unsigned_abs());
        if days < 0 { epoch.checked_sub_days(by) } else { epoch.checked_add_days(by) }
    }

    /// Months in a period, where it is made of months.
    fn months_each(&self) -> Option<i64> {
        let months = match self.unit {
            Unit::Month => 1,
            Unit::Quarter => 3,
            Unit::Year => 12,
            Unit::Day | Unit::Week => return None,
        };
        Some(months * i64::from(self.count))
    }

    /// The day, counted from 1 January 1970, a Thursday, on which the week with that date starts.
    fn first_week(&self) -> i64 {
        -i64::from(Weekday::Thu.days_since(self.first_day))
    }
}

/// 1 January 1970 in days of the Common Era.
const EPOCH_DAY: i64 = 719_163;

impl<Z: TimeZone> Calendar<Z> {
    /// The instant at which a period starts, in microseconds since 1970.
    fn start_of(&self, period: i64) -> Option<i64> {
        let midnight = self.date_of(period)?.and_time(NaiveTime::MIN);
        Some(match self.zone.from_local_datetime(&midnight) {
            MappedLocalTime::Single(start) | MappedLocalTime::Ambiguous(start, _) => start.timestamp_micros(),
            // Midnight is skipped: the first instant whose local time is after it. No offset is longer than a
            // day, and no clock is changed twice in two.
            MappedLocalTime::None => {
                let naive = midnight.and_utc().timestamp();
                let (mut before, mut from) = (naive - 2 * 86_400, naive + 2 * 86_400);
                while from - before > 1 {
                    let middle = before + (from - before) / 2;
                    let utc = DateTime::<Utc>::from_timestamp(middle, 0)?.naive_utc();
                    let local = self.zone.from_utc_datetime(&utc).naive_local();
                    if local < midnight { before = middle } else { from = middle }
                }
                from.checked_mul(1_000_000)?
            }
        })
    }
}

impl<Z: TimeZone + fmt::Debug> WindowGrid for Calendar<Z> {
    fn first_ending_after(&self, time: Timestamp) -> Option<Window> {
        let micros = time.as_micros();
        // Two periods, and a day for the zone, within the dates that chrono knows.
        let margin = 86_400_000_000_i64.saturating_mul(2 * 366 * i64::from(self.count) + 1);
        let first = DateTime::<Utc>::MIN_UTC.timestamp_micros().checked_add(margin)?;
        if micros > DateTime::<Utc>::MAX_UTC.timestamp_micros().checked_sub(margin)? {
            return None;
        }
        let micros = micros.max(first);
        let utc = DateTime::<Utc>::from_timestamp_micros(micros)?;
        // What the clock shows there is in the period, or one off where it is changed about midnight.
        let mut period = self.period_of(self.zone.from_utc_datetime(&utc.naive_utc()).date_naive());
        while self.start_of(period)? > micros {
            period -= 1;
        }
        loop {
            let end = self.start_of(period + 1)?;
            if end > micros {
                let start = Timestamp::from_micros(self.start_of(period)?);
                return Some(Window { start, end: Timestamp::from_micros(end) });
            }
            period += 1;
        }
    }

    fn name(&self) -> String {
        format!("calendar: {} × {:?} from {:?} in {:?}", self.count, self.unit, self.first_day, self.zone)
    }
}

/// The name of a time zone that is not in the IANA database.
#[cfg(feature = "chrono-tz")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownZone {
    name: String,
}

#[cfg(feature = "chrono-tz")]
impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no time zone {:?}: names are those of the IANA database, such as Europe/Berlin",
            self.name
        )
    }
}

#[cfg(feature = "chrono-tz")]
impl core::error::Error for UnknownZone {}
