//! The main job on a month of real flights against plain code that knows nothing of the kernel.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use common::{clock_changes, floodmark, january, stderr, stdout};
use serde_json::{Value, json};

struct Flight {
    departed: DateTime<Utc>,
    origin: String,
    carrier: String,
    dest: String,
    delay: i64,
    distance: i64,
    line: String,
}

fn flights() -> Vec<Flight> {
    let text = fs::read_to_string(january()).unwrap();
    let flight = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        Flight {
            departed: fields[1].parse().unwrap(),
            origin: fields[2].to_owned(),
            dest: fields[3].to_owned(),
            carrier: fields[4].to_owned(),
            delay: fields[6].parse().unwrap(),
            distance: fields[7].parse().unwrap(),
            line: line.to_owned(),
        }
    };
    text.lines().skip(1).map(flight).collect()
}

fn hour(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp().div_euclid(3600) * 3600, 0).unwrap()
}

fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Which flights come too late for their hour, with the watermark that says so: each airport's latest
/// departure so far, the least of them, less the delay waited for.
fn late(flights: &[Flight], max_delay: TimeDelta, lateness: TimeDelta) -> Vec<Option<DateTime<Utc>>> {
    let mut latest: HashMap<&str, DateTime<Utc>> = HashMap::new();
    let mut watermark = DateTime::<Utc>::MIN_UTC;
    let mut verdicts = Vec::new();
    for flight in flights {
        let closes = hour(flight.departed) + TimeDelta::hours(1) + lateness;
        verdicts.push((watermark >= closes).then_some(watermark));
        let latest_here = latest.entry(&flight.origin).or_insert(flight.departed);
        *latest_here = (*latest_here).max(flight.departed);
        watermark = watermark.max(*latest.values().min().unwrap() - max_delay);
    }
    verdicts
}

/// The same where each airport learns the delay that it waits for: the least that so many of a thousand of its flights
/// so far did not exceed, known to an eighth and rounded up. It trusts that from its thousandth flight on.
fn late_as_learned(flights: &[Flight], per_mille: usize, longest: TimeDelta) -> Vec<Option<DateTime<Utc>>> {
    struct Airport {
        latest: DateTime<Utc>,
        /// Microseconds, sorted.
        delays: Vec<i64>,
        watermark: DateTime<Utc>,
    }
    let unknown = |latest| Airport { latest, delays: Vec::new(), watermark: DateTime::<Utc>::MIN_UTC };
    let mut airports: HashMap<&str, Airport> = HashMap::new();
    let mut watermark = DateTime::<Utc>::MIN_UTC;
    let mut verdicts = Vec::new();
    for flight in flights {
        verdicts.push((watermark >= hour(flight.departed) + TimeDelta::hours(1)).then_some(watermark));
        let airport = airports.entry(&flight.origin).or_insert_with(|| unknown(flight.departed));
        airport.latest = airport.latest.max(flight.departed);
        let delay = (airport.latest - flight.departed).num_microseconds().unwrap();
        airport.delays.insert(airport.delays.partition_point(|other| *other < delay), delay);
        let learned = airport.delays[(airport.delays.len() * per_mille).div_ceil(1000) - 1];
        // An eighth of the power of two below it.
        let eighth = if learned < 16 { 1 } else { 1 << (learned.ilog2() - 3) };
        let rounded_up = (learned / eighth + 1) * eighth - 1;
        let bound = match airport.delays.len() {
            ..1000 => longest,
            _ => TimeDelta::microseconds(rounded_up).min(longest),
        };
        airport.watermark = airport.watermark.max(airport.latest - bound);
        watermark = watermark.max(airports.values().map(|airport| airport.watermark).min().unwrap());
    }
    verdicts
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run(extra: &[&str]) -> (Vec<Value>, Vec<Value>, String) {
    let dir = tempfile::tempdir().unwrap();
    let (fired, late) = (dir.path().join("fired.ndjson"), dir.path().join("late.ndjson"));
    let (input, fired, late) = (january(), fired.to_str().unwrap(), late.to_str().unwrap());
    let mut args = vec!["run", input.to_str().unwrap(), "--time", "departed_at", "--partition", "origin"];
    args.extend(["--key", "carrier", "--window", "tumbling:1h", "--output", fired, "--late", late]);
    args.extend(extra);
    let output = floodmark(&args).output().unwrap();
    assert_eq!(stdout(&output), "");
    let read = |path| lines(&fs::read_to_string(path).unwrap());
    (read(fired), read(late), stderr(&output))
}

#[test]
fn results_equal_a_group_by_over_the_rows_that_were_not_late() {
    let mut aggregates = Vec::new();
    for name in ["count", "sum:dep_delay_min", "min:dep_delay_min", "max:dep_delay_min", "mean:dep_delay_min"]
    {
        aggregates.extend(["--aggregate", name]);
    }
    aggregates.extend(["--aggregate", "top3:distance_mi,first:dest,last:dest,collect:distance_mi"]);
    aggregates.extend(["--max-delay", "4h"]);
    let (fired, _, _) = run(&aggregates);

    let flights = flights();
    let verdicts = late(&flights, TimeDelta::hours(4), TimeDelta::zero());
    let mut groups: BTreeMap<(DateTime<Utc>, &str), Vec<&Flight>> = BTreeMap::new();
    for (flight, _) in flights.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_none()) {
        groups.entry((hour(flight.departed), &flight.carrier)).or_default().push(flight);
    }
    assert!(verdicts.iter().flatten().count() > 100, "the bound is to be too small for some");
    let expected: Vec<Value> = groups
        .into_iter()
        .map(|((start, carrier), mut group)| {
            group.sort_by_key(|flight| flight.departed); // stable: of equal times the first to land first
            let sum: i64 = group.iter().map(|flight| flight.delay).sum();
            let mut top: Vec<i64> = group.iter().map(|flight| flight.distance).collect();
            let collected = top.clone();
            top.sort_by(|a, b| b.cmp(a));
            top.truncate(3);
            json!({
                "window_start": iso(start),
                "window_end": iso(start + TimeDelta::hours(1)),
                "carrier": carrier,
                "count": group.len(),
                "sum_dep_delay_min": sum,
                "min_dep_delay_min": group.iter().map(|flight| flight.delay).min(),
                "max_dep_delay_min": group.iter().map(|flight| flight.delay).max(),
                "mean_dep_delay_min": sum as f64 / group.len() as f64,
                "top3_distance_mi": top,
                "first_dest": group[0].dest,
                "last_dest": group.last().unwrap().dest,
                "collect_distance_mi": collected,
                "timing": "on_time",
                "pane": 0,
            })
        })
        .collect();
    assert_eq!(fired.len(), expected.len());
    for (fired, expected) in fired.iter().zip(&expected) {
        assert_eq!(fired, expected);
    }
}

#[test]
fn late_rows_are_given_back_as_they_were_with_the_reason() {
    let (fired, given_back, summary) = run(&["--max-delay", "4h", "--allowed-lateness", "30m"]);
    let flights = flights();
    let verdicts = late(&flights, TimeDelta::hours(4), TimeDelta::minutes(30));
    let columns =
        ["landed_at", "departed_at", "origin", "dest", "carrier", "flight", "dep_delay_min", "distance_mi"];
    let expected: Vec<Value> = flights
        .iter()
        .zip(&verdicts)
        .filter_map(|(flight, watermark)| {
            let watermark = (*watermark)?;
            let mut row: Value = columns.into_iter().zip(flight.line.split(',')).collect();
            row["watermark"] = json!(iso(watermark));
            row["late_by"] = json!((watermark - flight.departed).num_seconds());
            Some(row)
        })
        .collect();
    assert_eq!(given_back.len(), expected.len());
    for (mut given_back, expected) in given_back.into_iter().zip(expected) {
        let reason = given_back.as_object_mut().unwrap().remove("reason").unwrap();
        assert!(["disorder", "partition_behind"].contains(&reason.as_str().unwrap()), "{reason}");
        assert_eq!(given_back, expected);
    }

    // The last pane of each hour and carrier has everything but the late rows; each further one has one more.
    let mut last: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for pane in &fired {
        let text = |name: &str| pane[name].as_str().unwrap().to_owned();
        let (index, count) = (pane["pane"].as_u64().unwrap(), pane["count"].as_u64().unwrap());
        let before = last.insert((text("window_start"), text("carrier")), (index, count));
        match before {
            Some((i, n)) => assert_eq!((index, count, text("timing")), (i + 1, n + 1, "late".into())),
            None => assert_eq!(index, 0),
        }
    }
    assert!(last.values().any(|(index, _)| *index > 0), "some are to be late and in time");
    let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (flight, _) in flights.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_none()) {
        *expected.entry((iso(hour(flight.departed)), flight.carrier.clone())).or_default() += 1;
    }
    let last: BTreeMap<_, _> = last.into_iter().map(|(key, (_, count))| (key, count)).collect();
    assert_eq!(last, expected);

    let late = verdicts.iter().flatten().count();
    let accepted = flights.len() - late;
    let line = format!(
        "26052 events offered: {accepted} accepted, 0 partly late, {late} late, 0 unassigned, 0 rejected; 0 bad"
    );
    assert!(summary.contains(&line), "{summary}");
    for airport in ["EWR", "JFK", "LGA"] {
        let latest =
            flights.iter().filter(|flight| flight.origin == airport).map(|flight| flight.departed).max();
        let found = summary.lines().find(|line| line.trim_start().starts_with(airport)).unwrap();
        assert!(found.contains(&iso(latest.unwrap())), "{summary}");
        assert!(found.contains(&iso(latest.unwrap() - TimeDelta::hours(4))), "{summary}");
    }
    assert!(summary.contains("held back by LGA"), "{summary}");
}

#[test]
fn a_delay_that_is_learned_equals_sorting_the_delays_so_far() {
    let flights = flights();
    for (max_delay, per_mille, longest) in [("p99:12h", 990, 12), ("p80:5h", 800, 5)] {
        let (fired, given_back, summary) = run(&["--max-delay", max_delay]);
        let verdicts = late_as_learned(&flights, per_mille, TimeDelta::hours(longest));
        let expected: Vec<_> = flights
            .iter()
            .zip(&verdicts)
            .filter_map(|(flight, watermark)| Some((iso(flight.departed), iso((*watermark)?))))
            .collect();
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let late: Vec<_> =
            given_back.iter().map(|row| (text(row, "departed_at"), text(row, "watermark"))).collect();
        assert!(late.len() > 10 && late.len() < flights.len() / 4, "{} are late", late.len());
        assert_eq!(late, expected, "{max_delay}");
        let counted: u64 = fired.iter().map(|pane| pane["count"].as_u64().unwrap()).sum();
        assert_eq!(counted as usize, flights.len() - late.len());
        let waits = summary.lines().filter(|line| line.contains("  waits ")).count();
        assert_eq!(waits, 3, "each airport says what it has learned: {summary}");
    }
}

/// How far each flight is behind the latest before it, sorted.
fn delays<'a>(flights: impl Iterator<Item = &'a Flight>) -> Vec<i64> {
    let mut latest = DateTime::<Utc>::MIN_UTC;
    let mut delays: Vec<i64> = flights
        .map(|flight| {
            latest = latest.max(flight.departed);
            (latest - flight.departed).num_seconds()
        })
        .collect();
    delays.sort_unstable();
    delays
}

#[test]
fn disorder_equals_sorting_all_delays() {
    let args =
        ["disorder", january().to_str().unwrap(), "--time", "departed_at", "--partition", "origin", "--json"]
            .map(str::to_owned);
    let report: Value =
        serde_json::from_str(&stdout(&floodmark(&args.each_ref().map(String::as_str)).output().unwrap()))
            .unwrap();
    let flights = flights();
    let mut streams: Vec<(&str, Vec<i64>)> = ["EWR", "JFK", "LGA"]
        .map(|airport| (airport, delays(flights.iter().filter(|flight| flight.origin == airport))))
        .into();
    streams.push(("merged", delays(flights.iter())));
    let reported: Vec<&Value> =
        report["partitions"].as_array().unwrap().iter().chain([&report["merged"]]).collect();
    assert_eq!(reported.len(), streams.len());
    for ((name, delays), reported) in streams.iter().zip(reported) {
        // Nearest rank: the smallest delay that the share does not exceed.
        let quantile = |per_mille: usize| delays[(delays.len() * per_mille).div_ceil(1000) - 1] as f64;
        let expected = json!({
            "name": name,
            "events": delays.len(),
            "out_of_order": delays.iter().filter(|delay| **delay > 0).count(),
            "p50_s": quantile(500),
            "p90_s": quantile(900),
            "p99_s": quantile(990),
            "p999_s": quantile(999),
            "max_s": *delays.last().unwrap() as f64,
        });
        assert_eq!(*reported, expected);
    }
    let bounds = report["bounds"].as_array().unwrap();
    assert!(bounds.len() > 5 && bounds[0]["max_delay"] == "0s", "{bounds:?}");
    for bound in bounds {
        let behind = |delays: &[i64]| {
            delays.iter().filter(|d| **d as f64 > bound["max_delay_s"].as_f64().unwrap()).count()
        };
        let (merged, partitions) = streams.split_last().unwrap();
        assert_eq!(bound["late_merged"], behind(&merged.1));
        assert_eq!(
            bound["late_by_partition"],
            partitions.iter().map(|(_, delays)| behind(delays)).sum::<usize>()
        );
    }
    assert_eq!(bounds.last().unwrap()["late_merged"], 0);
}

#[test]
fn disorder_is_told_in_tables() {
    let input = january();
    let output = floodmark(&["disorder", input.to_str().unwrap(), "--time", "departed_at"]).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("as one stream") && !text.contains("with --partition"), "{text}");
    assert!(
        text.lines().any(|line| line.trim_start().starts_with("merged          26052       89.49 %")),
        "{text}"
    );
    assert!(text.contains("choose the shortest"), "{text}");
}

/// By New York's clocks 10 March 2013 lasted 23 hours and 3 November 25.
#[test]
fn days_on_which_the_clocks_change_have_23_and_25_hours() {
    let input = clock_changes();
    let args =
        ["run", input.to_str().unwrap(), "--time", "departed_at", "--key", "origin", "--max-delay", "24h"];
    let window = ["--window", "calendar:1d@America/New_York"];
    let fired = lines(&stdout(&floodmark(&[&args[..], &window].concat()).output().unwrap()));
    let text = fs::read_to_string(&input).unwrap();
    for (start, end, hours) in [
        ("2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z", 23),
        ("2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z", 25),
    ] {
        let (from, until): (DateTime<Utc>, DateTime<Utc>) = (start.parse().unwrap(), end.parse().unwrap());
        assert_eq!((until - from).num_hours(), hours);
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        for row in text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
            let departed: DateTime<Utc> = row[1].parse().unwrap();
            *expected.entry(row[2]).or_default() += u64::from(from <= departed && departed < until);
        }
        let day = fired.iter().filter(|row| row["window_start"] == start);
        let counts: BTreeMap<&str, u64> = day
            .inspect(|row| assert_eq!(row["window_end"], end))
            .map(|row| (row["origin"].as_str().unwrap(), row["count"].as_u64().unwrap()))
            .collect();
        assert_eq!((counts.len(), counts), (3, expected));
    }
}
