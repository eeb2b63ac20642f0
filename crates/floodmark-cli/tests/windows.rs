//! Windows of every kind, several at once, early and replaced results, against plain code that knows nothing
//! of the kernel.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Stdio;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Lines, feed, floodmark, january, stderr, stdout};
use serde_json::{Value, json};

struct Flight {
    departed: DateTime<Utc>,
    carrier: String,
    delay: i64,
}

fn flights() -> Vec<Flight> {
    let text = fs::read_to_string(january()).unwrap();
    let flight = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        Flight {
            departed: fields[1].parse().unwrap(),
            carrier: fields[4].to_owned(),
            delay: fields[6].parse().unwrap(),
        }
    };
    text.lines().skip(1).map(flight).collect()
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// The records of a run over the flights.
fn run(extra: &[&str]) -> Vec<Value> {
    run_text(extra).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run_text(extra: &[&str]) -> String {
    let mut command =
        floodmark(&["run", "--time", "departed_at", "--partition", "origin", "--key", "carrier"]);
    let command = command.arg(january()).args(["--aggregate", "count,sum:dep_delay_min,max:dep_delay_min"]);
    stdout(&command.args(extra).output().unwrap())
}

/// What a record says of a group of flights.
fn record(start: DateTime<Utc>, end: DateTime<Utc>, group: &[&Flight]) -> Value {
    json!({
        "window_start": iso(start),
        "window_end": iso(end),
        "carrier": group[0].carrier,
        "count": group.len(),
        "sum_dep_delay_min": group.iter().map(|flight| flight.delay).sum::<i64>(),
        "max_dep_delay_min": group.iter().map(|flight| flight.delay).max(),
        "timing": "on_time",
        "pane": 0,
    })
}

/// Longer than any flight is late, so that nothing is lost.
const LONG_DELAY: [&str; 2] = ["--max-delay", "2d"];

/// The sessions of each carrier: its flights sorted, and parted where more than `gap` is between two.
fn sessions(flights: &[Flight], gap: TimeDelta) -> Vec<Value> {
    let mut by_carrier: BTreeMap<&str, Vec<&Flight>> = BTreeMap::new();
    for flight in flights {
        by_carrier.entry(&flight.carrier).or_default().push(flight);
    }
    let mut sessions = Vec::new();
    for flights in by_carrier.values_mut() {
        flights.sort_by_key(|flight| flight.departed);
        for group in flights.chunk_by(|a, b| b.departed - a.departed <= gap) {
            let (first, last) = (group[0].departed, group[group.len() - 1].departed);
            sessions.push((last + gap, first, record(first, last + gap, group)));
        }
    }
    // They fire by their ends; of those that are the same, the first carrier's comes first.
    sessions.sort_by_key(|(end, start, _)| (*end, *start));
    sessions.into_iter().map(|(_, _, record)| record).collect()
}

#[test]
fn sessions_equal_sorting_each_carriers_flights_and_parting_them_at_gaps() {
    for (window, gap) in [("session:30m", 30), ("session:3h", 180)] {
        let expected = sessions(&flights(), TimeDelta::minutes(gap));
        let fired = run(&[&LONG_DELAY[..], &["--window", window]].concat());
        assert!(expected.iter().any(|session| session["count"] == 1) && expected.len() < 26_052 / 2);
        assert_eq!(fired.len(), expected.len(), "{window}");
        for (fired, expected) in fired.iter().zip(&expected) {
            assert_eq!(fired, expected, "{window}");
        }
    }
}

#[test]
fn days_in_new_york_equal_a_group_by_on_the_local_date() {
    let flights = flights();
    // In January New York is five hours behind.
    let behind = TimeDelta::hours(5);
    let mut days: BTreeMap<_, Vec<&Flight>> = BTreeMap::new();
    for flight in &flights {
        let date = (flight.departed - behind).date_naive();
        days.entry((date, &flight.carrier)).or_default().push(flight);
    }
    let expected: Vec<Value> = days
        .iter()
        .map(|((date, _), group)| {
            let start = date.and_hms_opt(0, 0, 0).unwrap().and_utc() + behind;
            record(start, start + TimeDelta::days(1), group)
        })
        .collect();
    let fired = run(&[&LONG_DELAY[..], &["--window", "calendar:1d@America/New_York"]].concat());
    assert_eq!(fired, expected);
    let in_utc = run(&[&LONG_DELAY[..], &["--window", "calendar:1d"]].concat());
    assert_eq!(in_utc, run(&[&LONG_DELAY[..], &["--window", "tumbling:1d"]].concat()));
    let month = run(&[&LONG_DELAY[..], &["--window", "calendar:1mo@America/New_York"]].concat());
    let ends = ["2013-01-01T05:00:00Z", "2013-02-01T05:00:00Z"];
    assert!(month.iter().all(|record| [&record["window_start"], &record["window_end"]] == ends));
    assert_eq!(month.iter().map(|record| record["count"].as_u64().unwrap()).sum::<u64>(), 26_052);
}

/// A table with the time of each row.
fn at(times: impl IntoIterator<Item = DateTime<Utc>>) -> String {
    times.into_iter().fold(String::from("t\n"), |text, time| text + &iso(time) + "\n")
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn the_days_on_which_clocks_are_changed_have_23_and_25_hours() {
    let hours = |from| (0..100).map(move |i| from + TimeDelta::hours(i));
    let rows = at(["2013-03-09T05:00:00Z", "2013-11-02T04:00:00Z"].map(instant).into_iter().flat_map(hours));
    let job = ["run", "-", "--time", "t", "--max-delay", "0s", "-q", "--output-format", "csv"];
    let fired =
        stdout(&feed(&[&job[..], &["--window", "calendar:1d@America/New_York"]].concat(), rows.as_bytes()));
    let expected = [
        "window_start,window_end,count,timing,pane",
        "2013-03-09T05:00:00Z,2013-03-10T05:00:00Z,24,on_time,0",
        "2013-03-10T05:00:00Z,2013-03-11T04:00:00Z,23,on_time,0",
        "2013-03-11T04:00:00Z,2013-03-12T04:00:00Z,24,on_time,0",
        "2013-03-12T04:00:00Z,2013-03-13T04:00:00Z,24,on_time,0",
        "2013-03-13T04:00:00Z,2013-03-14T04:00:00Z,5,on_time,0",
        "2013-11-02T04:00:00Z,2013-11-03T04:00:00Z,24,on_time,0",
        "2013-11-03T04:00:00Z,2013-11-04T05:00:00Z,25,on_time,0",
        "2013-11-04T05:00:00Z,2013-11-05T05:00:00Z,24,on_time,0",
        "2013-11-05T05:00:00Z,2013-11-06T05:00:00Z,24,on_time,0",
        "2013-11-06T05:00:00Z,2013-11-07T05:00:00Z,3,on_time,0",
    ];
    assert_eq!(fired.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn every_way_to_write_windows_gives_those_that_it_says() {
    let rows = at((0..5).map(|i| instant("2013-01-01T00:00:00Z") + TimeDelta::minutes(20 * i)));
    let cases: [(&str, &[[&str; 3]]); 9] = [
        (
            "session:30m/1h",
            &[["2013-01-01T00:00", "2013-01-01T01:00", "3"], ["2013-01-01T01:00", "2013-01-01T01:50", "2"]],
        ),
        ("session:20m", &[["2013-01-01T00:00", "2013-01-01T01:40", "5"]]),
        ("tumbling:1d-5h", &[["2012-12-31T19:00", "2013-01-01T19:00", "5"]]),
        (
            "sliding:1h/40m+15m",
            &[
                ["2012-12-31T23:35", "2013-01-01T00:35", "2"],
                ["2013-01-01T00:15", "2013-01-01T01:15", "3"],
                ["2013-01-01T00:55", "2013-01-01T01:55", "2"],
            ],
        ),
        ("calendar:1d", &[["2013-01-01T00:00", "2013-01-02T00:00", "5"]]),
        ("calendar:1w", &[["2012-12-31T00:00", "2013-01-07T00:00", "5"]]),
        ("calendar:2mo", &[["2013-01-01T00:00", "2013-03-01T00:00", "5"]]),
        ("calendar:1q@Europe/Berlin", &[["2012-12-31T23:00", "2013-03-31T22:00", "5"]]),
        ("calendar:2y", &[["2012-01-01T00:00", "2014-01-01T00:00", "5"]]),
    ];
    for (window, expected) in cases {
        let job =
            ["run", "-", "--time", "t", "--max-delay", "0s", "-q", "--output-format", "csv", "--window"];
        let fired = stdout(&feed(&[&job[..], &[window]].concat(), rows.as_bytes()));
        let fired = fired.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            [fields[0][..16].to_owned(), fields[1][..16].to_owned(), fields[2].to_owned()]
        });
        assert_eq!(fired.collect::<Vec<_>>(), expected, "{window}");
    }
}

#[test]
fn several_windows_give_what_each_gives_alone() {
    const WINDOWS: [&str; 8] = [
        "tumbling:60m",
        "sliding:3h/1h-20m",
        "cumulative:6h/1d-5h",
        "session:20m",
        "session:20m/2h",
        "calendar:1w@America/New_York",
        "global",
        "count:100",
    ];
    let settings = ["--max-delay", "3h", "--allowed-lateness", "30m", "--accumulate"];
    let early = ["--early", "every:2h,events:50"];
    for accumulate in ["discarding", "retracting"] {
        let settings = [&settings[..], &[accumulate]].concat();
        let all: Vec<&str> = WINDOWS.iter().flat_map(|window| ["--window", window]).collect();
        let together = run_text(&[&settings[..], &early, &all].concat());
        let mut count = 0;
        for window in WINDOWS {
            let name = format!("{{\"window\":\"{window}\",");
            let of_it =
                together.lines().filter_map(|line| Some(format!("{{{}\n", line.strip_prefix(&name)?)));
            let early = if window == "count:100" { &[][..] } else { &early };
            let alone = run_text(&[&settings[..], early, &["--window", window]].concat());
            assert!(of_it.collect::<String>() == alone, "{window}, {accumulate}");
            assert!(alone.lines().count() > 10, "{window}");
            let hundred = alone.lines().filter(|line| line.contains("\"count\":100,")).count();
            assert!(window != "count:100" || hundred == alone.lines().count(), "each hundred rows, no more");
            count += alone.lines().count();
        }
        assert_eq!(together.lines().count(), count);
    }
}

#[test]
fn several_windows_are_told_apart_in_csv_and_all_time_has_no_bounds() {
    let rows = at(["2013-01-01T00:00:00Z", "2013-01-01T00:00:30Z", "2013-01-01T00:02:00Z"].map(instant));
    let job = ["run", "-", "--time", "t", "--max-delay", "0s", "-q", "--window", "global"];
    let job = [&job[..], &["--window", "cumulative:1m/2m", "--window", "count:2"]].concat();
    let fired = stdout(&feed(&[&job[..], &["--output-format", "csv"]].concat(), rows.as_bytes()));
    let expected = [
        "window,window_start,window_end,count,timing,pane",
        "count:2,,,2,early,0",
        "cumulative:1m/2m,2013-01-01T00:00:00Z,2013-01-01T00:01:00Z,2,on_time,0",
        "cumulative:1m/2m,2013-01-01T00:00:00Z,2013-01-01T00:02:00Z,2,on_time,0",
        "cumulative:1m/2m,2013-01-01T00:02:00Z,2013-01-01T00:03:00Z,1,on_time,0",
        "cumulative:1m/2m,2013-01-01T00:02:00Z,2013-01-01T00:04:00Z,1,on_time,0",
        "global,,,3,on_time,0",
    ];
    assert_eq!(fired.lines().collect::<Vec<_>>(), expected);
    let fired = stdout(&feed(&job, rows.as_bytes()));
    let global =
        r#"{"window":"global","window_start":null,"window_end":null,"count":3,"timing":"on_time","pane":0}"#;
    assert_eq!(fired.lines().last(), Some(global));
}

#[test]
fn early_results_come_by_rows_and_by_event_time_and_hold_what_is_asked_for() {
    let minutes =
        [1, 2, 3, 4, 12, 13, 31, 61, 59].map(|m| instant("2013-01-01T00:00:00Z") + TimeDelta::minutes(m));
    let run = |extra: &[&str]| {
        let job = ["run", "-", "--time", "t", "--max-delay", "0s", "-q", "--window", "tumbling:1h"];
        let job = [&job[..], &["--allowed-lateness", "1h"], extra].concat();
        let line = |line: &str| {
            let record: Value = serde_json::from_str(line).unwrap();
            let start = &record["window_start"].as_str().unwrap()[11..16];
            format!("{start} {} {} {}", record["timing"].as_str().unwrap(), record["pane"], record["count"])
        };
        stdout(&feed(&job, at(minutes).as_bytes())).lines().map(line).collect::<Vec<_>>()
    };
    // The watermark is the latest minute. It passes 10 with the row of minute 12, 20 (awaited from minute 13 on)
    // with that of 31, and all that is left at the end of input.
    let expected = [
        "00:00 early 0 5",
        "00:00 early 1 7",
        "00:00 on_time 2 7",
        "00:00 late 3 8",
        "01:00 early 0 1",
        "01:00 on_time 1 1",
    ];
    assert_eq!(run(&["--early", "every:10m"]), expected);
    let expected =
        ["00:00 early 0 3", "00:00 early 1 6", "00:00 on_time 2 7", "00:00 late 3 8", "01:00 on_time 0 1"];
    assert_eq!(run(&["--early", "events:3"]), expected);
    // Both: the rows of minutes 1 to 3, 4 and 12, 13, 31, and 59. Where nothing is new there is nothing to say.
    let expected = [
        "00:00 early 0 3",
        "00:00 early 1 2",
        "00:00 early 2 1",
        "00:00 early 3 1",
        "00:00 late 4 1",
        "01:00 early 0 1",
    ];
    for both in [&["--early", "events:3", "--early", "every:10m"][..], &["--early", "every:10m,events:3"]] {
        assert_eq!(run(&[both, &["--accumulate", "discarding"]].concat()), expected);
    }
}

#[test]
fn replaced_results_are_given_with_what_they_said() {
    // Two sessions, of which the first has fired when the last row joins them.
    let rows = at(["2013-01-01T00:00:00Z", "2013-01-01T00:10:00Z", "2013-01-01T00:05:00Z"].map(instant));
    let job = ["run", "-", "--time", "t", "--max-delay", "0s", "-q", "--window", "session:5m"];
    let retracting =
        ["--allowed-lateness", "1h", "--accumulate", "retracting", "--aggregate", "count,first:t"];
    let fired = stdout(&feed(&[&job[..], &retracting].concat(), rows.as_bytes()));
    let expected = [
        r#"{"window_start":"2013-01-01T00:00:00Z","window_end":"2013-01-01T00:05:00Z","count":1,"first_t":"2013-01-01T00:00:00Z","timing":"on_time","pane":0,"retracts":[]}"#,
        r#"{"window_start":"2013-01-01T00:00:00Z","window_end":"2013-01-01T00:15:00Z","count":3,"first_t":"2013-01-01T00:00:00Z","timing":"on_time","pane":0,"retracts":[{"window_start":"2013-01-01T00:00:00Z","window_end":"2013-01-01T00:05:00Z","count":1,"first_t":"2013-01-01T00:00:00Z"}]}"#,
    ];
    assert_eq!(fired.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn taking_out_what_is_replaced_leaves_the_sessions_of_all_flights() {
    // Sessions fire long before all their flights are there, and grow together when those come.
    let settings = ["--max-delay", "0s", "--allowed-lateness", "31d", "--window", "session:30m"];
    let early = ["--early", "events:5", "--accumulate", "retracting"];
    let fired = run(&[&settings[..], &early].concat());
    let mut standing: BTreeMap<[String; 3], Value> = BTreeMap::new();
    let mut replaced = [0; 4];
    for mut pane in fired {
        let Value::Array(retracts) = pane["retracts"].take() else { panic!("{pane}") };
        replaced[retracts.len().min(3)] += 1;
        let place = |record: &Value, carrier: &Value| {
            [&record["window_start"], &record["window_end"], carrier].map(|v| v.as_str().unwrap().to_owned())
        };
        let values = |record: &Value| {
            json!([record["count"], record["sum_dep_delay_min"], record["max_dep_delay_min"]])
        };
        for retracted in &retracts {
            assert_eq!(retracted.as_object().unwrap().len(), 5, "{retracted}");
            let said = standing.remove(&place(retracted, &pane["carrier"]));
            assert_eq!(said, Some(values(retracted)), "{pane}");
        }
        assert_eq!(standing.insert(place(&pane, &pane["carrier"]), values(&pane)), None, "{pane}");
    }
    assert!(
        replaced.iter().all(|count| *count > 0),
        "none, one, two and more are to be replaced: {replaced:?}"
    );
    let expected: BTreeMap<_, _> = sessions(&flights(), TimeDelta::minutes(30))
        .into_iter()
        .map(|session| {
            let place =
                ["window_start", "window_end", "carrier"].map(|n| session[n].as_str().unwrap().to_owned());
            (place, json!([session["count"], session["sum_dep_delay_min"], session["max_dep_delay_min"]]))
        })
        .collect();
    assert!(standing == expected, "{} stand, {} are right", standing.len(), expected.len());
}

/// Windows of `size` hours that start every `slide`, with a record of each carrier that has flights in them or in
/// such a window that ended at most `horizon` hours before; none starts after the last departure.
fn filled(flights: &[Flight], [size, slide, horizon]: [i64; 3]) -> Vec<Value> {
    let hour = |flight: &Flight| flight.departed.timestamp().div_euclid(3600);
    let mut windows: BTreeMap<i64, BTreeMap<&str, Vec<&Flight>>> = BTreeMap::new();
    for flight in flights {
        let latest = hour(flight).div_euclid(slide) * slide;
        for start in (0..).map(|i| latest - i * slide).take_while(|start| start + size > hour(flight)) {
            windows.entry(start).or_default().entry(&flight.carrier).or_default().push(flight);
        }
    }
    let (first, last) = (*windows.keys().next().unwrap(), flights.iter().map(hour).max().unwrap());
    let mut records = Vec::new();
    for start in (0..).map(|i| first + i * slide).take_while(|start| *start <= last) {
        let mut fired: BTreeMap<&str, Vec<&Flight>> = windows.get(&start).cloned().unwrap_or_default();
        for (_, before) in windows.range(start - horizon..start) {
            for carrier in before.keys() {
                fired.entry(carrier).or_default();
            }
        }
        let bounds = [start, start + size].map(|hour| DateTime::from_timestamp(hour * 3600, 0).unwrap());
        for (carrier, group) in fired {
            records.push(match &group[..] {
                [] => json!({
                    "window_start": iso(bounds[0]),
                    "window_end": iso(bounds[1]),
                    "carrier": carrier,
                    "count": 0,
                    "sum_dep_delay_min": null,
                    "max_dep_delay_min": null,
                    "timing": "on_time",
                    "pane": 0,
                }),
                group => record(bounds[0], bounds[1], group),
            });
        }
    }
    records
}

#[test]
fn filled_windows_equal_a_group_by_with_its_gaps_filled() {
    let flights = flights();
    let cases = [("tumbling:1h", [1, 1, 6]), ("sliding:3h/1h", [3, 1, 5]), ("tumbling:1h", [1, 1, 0])];
    for (window, hours) in cases {
        let horizon = format!("{}h", hours[2]);
        let fired = run(&[&LONG_DELAY[..], &["--window", window, "--fill", &horizon]].concat());
        let expected = filled(&flights, hours);
        let empty = expected.iter().filter(|record| record["count"] == 0).count();
        assert_eq!(empty > 1000, hours[2] > 0, "{empty} are filled");
        assert_eq!(fired.len(), expected.len(), "{window} filled for {horizon}");
        for (fired, expected) in fired.iter().zip(&expected) {
            assert_eq!(fired, expected, "{window} filled for {horizon}");
        }
    }
}

#[test]
fn of_several_windows_those_are_filled_that_can_be() {
    const WINDOWS: [(&str, bool); 6] = [
        ("session:30m", false),
        ("tumbling:1h", true),
        ("global", false),
        ("cumulative:6h/1d-5h", true),
        ("count:100", false),
        ("calendar:1d@America/New_York", true),
    ];
    let fill = ["--fill", "3d"];
    let all: Vec<&str> = WINDOWS.iter().flat_map(|(window, _)| ["--window", window]).collect();
    let together = run_text(&[&LONG_DELAY[..], &fill, &all].concat());
    for (window, can_be) in WINDOWS {
        let name = format!("{{\"window\":\"{window}\",");
        let of_it = together.lines().filter_map(|line| Some(format!("{{{}\n", line.strip_prefix(&name)?)));
        let fill = if can_be { &fill[..] } else { &[] };
        let alone = run_text(&[&LONG_DELAY[..], fill, &["--window", window]].concat());
        assert!(of_it.collect::<String>() == alone, "{window}");
        assert_eq!(alone.contains("\"count\":0,"), can_be, "{window}");
    }
}

#[test]
fn a_filled_window_holds_nothing_and_takes_late_rows() {
    let rows = "t,key,v\n\
                2013-01-01T00:10:00Z,a,1\n\
                2013-01-01T02:00:00Z,b,\n\
                2013-01-01T01:30:00Z,a,2\n";
    let job =
        ["run", "-", "--time", "t", "--key", "key", "--max-delay", "0s", "-q", "--window", "tumbling:1h"];
    let aggregates = ["--aggregate", "count,sum:v,mean:v,top2:v,last:v,collect:v"];
    let settings = ["--fill", "1d", "--allowed-lateness", "1h", "--output-format", "csv"];
    let fired = stdout(&feed(&[&job[..], &aggregates, &settings].concat(), rows.as_bytes()));
    // b's own hour has a row without a value, which says as much as no row at all, but for the count.
    let expected = [
        "window_start,window_end,key,count,sum_v,mean_v,top2_v,last_v,collect_v,timing,pane",
        "2013-01-01T00:00:00Z,2013-01-01T01:00:00Z,a,1,1,1.0,[1],1,[1],on_time,0",
        "2013-01-01T01:00:00Z,2013-01-01T02:00:00Z,a,0,,,,,,on_time,0",
        "2013-01-01T01:00:00Z,2013-01-01T02:00:00Z,a,1,2,2.0,[2],2,[2],late,1",
        "2013-01-01T02:00:00Z,2013-01-01T03:00:00Z,a,0,,,,,,on_time,0",
        "2013-01-01T02:00:00Z,2013-01-01T03:00:00Z,b,1,,,,,,on_time,0",
    ];
    assert_eq!(fired.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn early_results_by_the_clock_come_while_the_input_is_silent() {
    let job = ["run", "-", "--time", "t", "--window", "tumbling:1h", "--max-delay", "0s", "-q"];
    let job = [&job[..], &["--early", "clock:50ms"]].concat();
    let mut child = floodmark(&job).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = Lines::of(child.stdout.take().unwrap());
    stdin.write_all(b"t\n2013-01-01T00:00:00Z\n2013-01-01T00:10:00Z\n").unwrap();
    let line = lines.next();
    assert!(line.contains(r#""timing":"early","pane":0"#), "{line}");
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let refused = floodmark(&[&job[..], &["--checkpoint", "x", "-o", "y"]].concat()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--early clock:50ms makes results depend on when rows arrive"));
}
