//! Calendar windows (A1): days of 23 and 25 hours, clocks changed at midnight, days that a zone skips.

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use floodmark::{Calendar, Config, Count, Timestamp, Window, WindowGrid, Windowing, Windows, laws};
use proptest::prelude::*;

fn utc(text: &str) -> Timestamp {
    text.parse::<DateTime<Utc>>().unwrap().into()
}

fn window_at(calendar: &impl WindowGrid, text: &str) -> (Window, TimeDelta) {
    let window = calendar.first_ending_after(utc(text)).unwrap();
    assert!(window.start <= utc(text), "calendars have no gaps");
    (window, TimeDelta::microseconds(window.end.as_micros() - window.start.as_micros()))
}

#[track_caller]
fn assert_window(calendar: &impl WindowGrid, at: &str, start: &str, end: &str) {
    assert_eq!(window_at(calendar, at).0, Window::new(utc(start), utc(end)));
}

#[test]
fn a1_days_are_23_and_25_hours_long_where_clocks_change() {
    let days = Calendar::days(1).in_zone(chrono_tz::America::New_York);
    assert_window(&days, "2013-03-10T12:00:00Z", "2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z");
    assert_window(&days, "2013-11-03T12:00:00Z", "2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z");
    assert_window(&days, "2013-11-04T05:00:00Z", "2013-11-04T05:00:00Z", "2013-11-05T05:00:00Z");
    // Half an hour, on Lord Howe Island.
    let days = Calendar::days(1).in_zone(chrono_tz::Australia::Lord_Howe);
    assert_eq!(window_at(&days, "2013-04-07T00:00:00Z").1, TimeDelta::minutes(24 * 60 + 30));
    assert_eq!(window_at(&days, "2013-10-05T20:00:00Z").1, TimeDelta::minutes(24 * 60 - 30));
}

#[test]
fn a1_a_day_whose_midnight_is_skipped_starts_with_its_first_instant() {
    // In Brasília clocks went from 00:00 to 01:00 on 20 October 2013.
    let days = Calendar::days(1).in_zone(chrono_tz::America::Sao_Paulo);
    assert_window(&days, "2013-10-20T12:00:00Z", "2013-10-20T03:00:00Z", "2013-10-21T02:00:00Z");
    assert_window(&days, "2013-10-20T02:59:59Z", "2013-10-19T03:00:00Z", "2013-10-20T03:00:00Z");
}

#[test]
fn a1_a_day_whose_midnight_comes_twice_starts_with_the_first() {
    // In Havana clocks went from 01:00 back to 00:00 on 3 November 2013: 00:00 was at 04:00 and at 05:00 UTC.
    let days = Calendar::days(1).in_zone(chrono_tz::America::Havana);
    assert_window(&days, "2013-11-03T05:30:00Z", "2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z");
}

#[test]
fn a1_a_day_that_a_zone_skips_has_no_window() {
    // Samoa went from the end of 29 December 2011 to the start of the 31st.
    let days = Calendar::days(1).in_zone(chrono_tz::Pacific::Apia);
    assert_window(&days, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z");
    assert_window(&days, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
}

#[test]
fn a1_units_times_n_are_counted_from_1970_also_before_it() {
    assert_window(&Calendar::days(2), "1969-12-31T00:00:00Z", "1969-12-30T00:00:00Z", "1970-01-01T00:00:00Z");
    assert_window(
        &Calendar::weeks(1),
        "1970-01-01T00:00:00Z",
        "1969-12-29T00:00:00Z",
        "1970-01-05T00:00:00Z",
    );
    let sundays = Calendar::weeks(1).first_day(Weekday::Sun);
    assert_window(&sundays, "1970-01-01T00:00:00Z", "1969-12-28T00:00:00Z", "1970-01-04T00:00:00Z");
    assert_window(
        &Calendar::weeks(2),
        "1970-01-06T00:00:00Z",
        "1969-12-29T00:00:00Z",
        "1970-01-12T00:00:00Z",
    );
    assert_window(
        &Calendar::months(1),
        "1968-02-29T12:00:00Z",
        "1968-02-01T00:00:00Z",
        "1968-03-01T00:00:00Z",
    );
    assert_window(
        &Calendar::months(5),
        "1970-06-01T00:00:00Z",
        "1970-06-01T00:00:00Z",
        "1970-11-01T00:00:00Z",
    );
    assert_window(
        &Calendar::quarters(1),
        "1969-08-10T00:00:00Z",
        "1969-07-01T00:00:00Z",
        "1969-10-01T00:00:00Z",
    );
    assert_window(
        &Calendar::years(10),
        "2013-08-10T00:00:00Z",
        "2010-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z",
    );
    // Before time zones were: local mean time, 4:56:02 behind Greenwich.
    let days = Calendar::days(1).in_zone(chrono_tz::America::New_York);
    assert_window(&days, "1880-01-01T12:00:00Z", "1880-01-01T04:56:02Z", "1880-01-02T04:56:02Z");
}

#[test]
fn a1_calendars_end_where_chrono_does() {
    assert_eq!(Calendar::days(1).first_ending_after(Timestamp::MAX), None);
    assert!(Calendar::days(1).first_ending_after(Timestamp::MIN).is_some());
    assert_eq!(Calendar::years(u32::MAX).first_ending_after(utc("2013-01-01T00:00:00Z")), None);
    let error =
        Config::windows([Windows::calendar(Calendar::days(0))]).build::<(), (), _>(Count).unwrap_err();
    assert_eq!(error.to_string(), "a calendar window must have at least one unit; given 0");
}

/// The flights of the two days on which clocks were changed, every half an hour of them.
#[test]
fn a1_a_day_has_as_many_half_hours_as_it_has() {
    let days = Calendar::days(1).in_zone(chrono_tz::America::New_York);
    let config = Config::windows([Windows::calendar(days)]).ascending();
    let mut kernel: Windowing<(), (), Count> = config.build(Count).unwrap();
    let partition = kernel.add_partition();
    let start = utc("2013-01-01T05:00:00Z").as_micros();
    for half_hour in 0..365 * 48 {
        let time = Timestamp::from_micros(start + half_hour * 1_800_000_000);
        let _ = kernel.push(partition, time, (), ()).unwrap();
    }
    kernel.finish();
    let mut days = Vec::new();
    while let Some(pane) = kernel.poll() {
        days.push((pane.window, pane.value));
    }
    assert_eq!(days.len(), 365);
    let odd: Vec<_> = days.iter().filter(|(_, halves)| *halves != 48).collect();
    let day = |start, end| Window::new(utc(start), utc(end));
    assert_eq!(*odd[0], (day("2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z"), 46));
    assert_eq!(*odd[1], (day("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z"), 50));
    assert_eq!(odd.len(), 2);
}

fn any_zone() -> impl Strategy<Value = Tz> {
    (0..chrono_tz::TZ_VARIANTS.len()).prop_map(|place| chrono_tz::TZ_VARIANTS[place])
}

fn any_calendar() -> impl Strategy<Value = Calendar> {
    (0..5, 1..4u32).prop_map(|(unit, count)| match unit {
        0 => Calendar::days(count),
        1 => Calendar::weeks(count).first_day(Weekday::Sat),
        2 => Calendar::months(count),
        3 => Calendar::quarters(count),
        _ => Calendar::years(count),
    })
}

proptest! {
    #[test]
    fn a1_calendars_of_all_zones_keep_the_laws(
        zone in any_zone(), calendar in any_calendar(), from in -5_000_000_000..5_000_000_000i64,
    ) {
        let hours = (0..60).map(|n| Timestamp::from_micros((from + n * 20_000) * 1_000_000));
        laws::check_grid(&calendar.in_zone(zone), hours);
    }

    /// A day holds what the clock says is that date, but for the hours that come twice about midnight.
    #[test]
    fn a1_days_are_those_of_the_clock(zone in any_zone(), seconds in -5_000_000_000..5_000_000_000i64) {
        let days = Calendar::days(1).in_zone(zone);
        let utc = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap();
        let window = days.first_ending_after(utc.into()).unwrap();
        let date = |time: Timestamp| -> NaiveDate {
            zone.from_utc_datetime(&DateTime::<Utc>::try_from(time).unwrap().naive_utc()).date_naive()
        };
        let (mine, start) = (date(utc.into()), date(window.start));
        prop_assert!(mine == start || mine == start.pred_opt().unwrap(), "{mine} in {window}");
        if mine != start {
            // The clock was put back over midnight.
            let again = utc + TimeDelta::days(1);
            prop_assert!(date(again.into()) == start || date((utc + TimeDelta::hours(2)).into()) == start);
        }
    }

    #[test]
    fn a1_a_fixed_zone_is_a_tumbling_window_with_an_offset(
        east in -14..=14i32, seconds in -5_000_000_000..5_000_000_000i64,
    ) {
        let zone = FixedOffset::east_opt(east * 3600).unwrap();
        let window = Calendar::days(1).in_zone(zone).first_ending_after(Timestamp::from_micros(seconds * 1_000_000));
        let day = 86_400_000_000;
        let offset = i64::from(east) * 3_600_000_000;
        let start = (seconds * 1_000_000 + offset).div_euclid(day) * day - offset;
        let expected = Window::new(Timestamp::from_micros(start), Timestamp::from_micros(start + day));
        prop_assert_eq!(window, Some(expected));
    }
}
