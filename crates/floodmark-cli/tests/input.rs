//! Every way that rows can come in and results can go out gives the same results.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use common::{
    Lines, MAIN_JOB, MANY_WINDOWS, Random, counts, feed, floodmark, january, january_rows, stderr, stdout,
};
use flate2::{Compression, write::GzEncoder};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The main job on files, results on standard output.
fn main_job(files: &[&Path]) -> String {
    stdout(&floodmark(&["run"]).args(files).args(MAIN_JOB).output().unwrap())
}

/// The columns of a line of the flights as a JSON object.
fn object(header: &str, line: &str) -> String {
    let mut object = serde_json::Map::new();
    for (name, value) in header.split(',').zip(line.split(',')) {
        let value = match name {
            "flight" | "dep_delay_min" | "distance_mi" => value.parse::<i64>().unwrap().into(),
            _ => value.into(),
        };
        object.insert(name.to_owned(), value);
    }
    serde_json::to_string(&object).unwrap()
}

fn as_ndjson(csv: &str) -> String {
    let (header, rows) = csv.split_once('\n').unwrap();
    rows.lines().map(|line| object(header, line) + "\n").collect()
}

#[test]
fn a_pipe_read_in_pieces_of_any_size_gives_the_bytes_that_the_file_gives() {
    for more in [&[][..], &MANY_WINDOWS] {
        in_pieces(&[&MAIN_JOB[..], more].concat());
    }
}

fn in_pieces(job: &[&str]) {
    let mut random = Random::new();
    let dir = tempfile::tempdir().unwrap();
    let late = [dir.path().join("late-file.ndjson"), dir.path().join("late-pipe.ndjson")];
    let file = floodmark(&["run"]).arg(january()).args(job).arg("--late").arg(&late[0]).output().unwrap();

    let text = fs::read(january()).unwrap();
    let mut command = floodmark(&["run", "-"]);
    let command = command.args(job).arg("--late").arg(&late[1]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        let mut rest = &text[..];
        while !rest.is_empty() {
            // Some a byte at a time, some in the middle of a row, some many rows.
            let most = [1, 40, 4000, 100_000][random.below(4) as usize];
            let (piece, next) = rest.split_at((1 + random.below(most) as usize).min(rest.len()));
            stdin.write_all(piece).unwrap();
            rest = next;
        }
    });
    let pipe = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(stdout(&pipe) == stdout(&file), "the results differ");
    assert_eq!(fs::read(&late[0]).unwrap(), fs::read(&late[1]).unwrap());
}

#[test]
fn a_pipe_that_stays_open_gives_results_as_windows_close() {
    let args = ["run", "-", "--time", "t", "--window", "tumbling:1m", "--max-delay", "10s", "-q"];
    let mut child = floodmark(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = Lines::of(child.stdout.take().unwrap());
    stdin.write_all(b"t\n2013-01-01T00:00:01Z\n2013-01-01T00:00:59Z\n2013-01-01T00:01:10Z\n").unwrap();
    assert!(
        lines.next().contains(
            r#""window_start":"2013-01-01T00:00:00Z","window_end":"2013-01-01T00:01:00Z","count":2"#
        )
    );
    stdin.write_all(b"2013-01-01T00:02:1").unwrap();
    stdin.write_all(b"0Z\n").unwrap();
    assert!(lines.next().contains(r#""window_start":"2013-01-01T00:01:00Z""#));
    drop(stdin);
    assert!(lines.next().contains(r#""window_start":"2013-01-01T00:02:00Z""#));
    assert!(child.wait().unwrap().success());
}

#[test]
fn gzip_by_its_bytes_of_several_members_and_through_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read(january()).unwrap();
    let (first, second) = text.split_at(text.len() / 3);
    let packed = [gzip(first), gzip(second)].concat();
    // Neither name says what it is.
    let (plain, odd) = (dir.path().join("flights.gz"), dir.path().join("flights.csv"));
    fs::write(&plain, &text).unwrap();
    fs::write(&odd, &packed).unwrap();
    let expected = main_job(&[&january()]);
    assert!(main_job(&[&plain]) == expected);
    assert!(main_job(&[&odd]) == expected);
    assert!(stdout(&feed(&[&["run", "-"], &MAIN_JOB[..]].concat(), &packed)) == expected);

    fs::write(&odd, &packed[..packed.len() - 1000]).unwrap();
    let output = floodmark(&["run"]).arg(&odd).args(MAIN_JOB).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("flights.csv"), "{}", stderr(&output));
}

#[test]
fn ndjson_gives_the_results_that_csv_gives() {
    let dir = tempfile::tempdir().unwrap();
    let csv = fs::read_to_string(january()).unwrap();
    let (named, unnamed) = (dir.path().join("flights.jsonl"), dir.path().join("flights"));
    fs::write(&named, as_ndjson(&csv)).unwrap();
    fs::write(&unnamed, as_ndjson(&csv)).unwrap();
    let expected = main_job(&[&january()]);
    assert!(main_job(&[&named]) == expected);
    assert!(main_job(&[&unnamed]) == expected, "by its first byte");
    assert!(stdout(&feed(&[&["run", "-"], &MAIN_JOB[..]].concat(), as_ndjson(&csv).as_bytes())) == expected);
}

#[test]
fn several_files_are_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(january()).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let (first, rest) = rows.split_at(5000);
    let (second, third) = rest.split_at(10_000);
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let csv = |rows: &[&str]| format!("{header}\n{}", rows.join("\n"));
    // The second has its columns in another order, the third another format.
    let turned = |row: &&str| row.split(',').rev().collect::<Vec<_>>().join(",");
    let second =
        format!("{}\r\n{}", turned(&header), second.iter().map(turned).collect::<Vec<_>>().join("\r\n"));
    let files = [
        write("1.csv", format!("\u{feff}{}", csv(first)).as_bytes()),
        write("2.csv.gz", &gzip(second.as_bytes())),
        write("3.ndjson", as_ndjson(&csv(third)).as_bytes()),
    ];
    assert!(main_job(&files.each_ref().map(|path| path.as_path())) == main_job(&[&january()]));
}

const TIMES: [&str; 4] =
    ["2013-01-01T10:59:00Z", "2013-01-01T11:00:00Z", "2013-01-01T11:30:00Z", "2013-01-01T12:01:00Z"];

#[test]
fn epochs_of_every_unit_are_detected_and_said_or_given() {
    let seconds = [1_357_037_940_i64, 1_357_038_000, 1_357_039_800, 1_357_041_660];
    let job = ["run", "-", "--time", "t", "--window", "tumbling:1h", "--max-delay", "0s"];
    let expected = counts(&feed(&job, format!("t\n{}\n", TIMES.join("\n")).as_bytes()));
    assert_eq!(expected.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 2, 1]);
    for (unit, scale) in [("s", 1), ("ms", 1000), ("us", 1_000_000), ("ns", 1_000_000_000)] {
        let rows: String = seconds.iter().map(|second| format!("{}\n", second * scale)).collect();
        let detected = feed(&job, format!("t\n{rows}").as_bytes());
        assert_eq!(counts(&detected), expected, "{unit}");
        let said =
            format!("standard input:2: column `t` is read as integer epochs in {unit}; --time-unit {unit}");
        assert_eq!(stderr(&detected).matches(&said).count(), 1, "{}", stderr(&detected));
        let given = feed(&[&job[..], &["--time-unit", unit]].concat(), format!("t\n{rows}").as_bytes());
        assert_eq!(counts(&given), expected, "{unit}");
        assert!(!stderr(&given).contains("epoch"), "{}", stderr(&given));
        let json: String = seconds.iter().map(|second| format!("{{\"t\":{}}}\n", second * scale)).collect();
        assert_eq!(counts(&feed(&job, json.as_bytes())), expected, "{unit} in NDJSON");
    }
}

#[test]
fn sliding_windows_with_offsets_and_gaps() {
    let input = format!("t\n{}\n", TIMES.join("\n"));
    let run = |window: &str| {
        let output =
            feed(&["run", "-", "--time", "t", "--window", window, "--max-delay", "0s"], input.as_bytes());
        let hours = |(start, count): (String, u64)| (start["2013-01-".len()..16].to_owned(), count);
        (counts(&output).into_iter().map(hours).collect::<Vec<_>>(), stderr(&output))
    };
    let pairs =
        |pairs: &[(&str, u64)]| pairs.iter().map(|(start, n)| (start.to_string(), *n)).collect::<Vec<_>>();
    assert_eq!(
        run("sliding:2h/1h").0,
        pairs(&[("01T09:00", 1), ("01T10:00", 3), ("01T11:00", 3), ("01T12:00", 1)])
    );
    assert_eq!(run("tumbling:1d-5h").0, pairs(&[("31T19:00", 4)]));
    assert_eq!(run("tumbling:1h+15m").0, pairs(&[("01T10:15", 2), ("01T11:15", 2)]));
    let (fired, summary) = run("sliding:10m/1h");
    assert_eq!(fired, pairs(&[("01T11:00", 1), ("01T12:00", 1)]));
    assert!(summary.contains("2 accepted, 0 partly late, 0 late, 2 unassigned"), "{summary}");
}

#[test]
fn aggregates_key_columns_and_empty_values_in_both_formats() {
    let csv = "t,k,v,s\n\
        2013-01-01T00:00:01Z,a,1,x\n\
        2013-01-01T00:00:03Z,a,2.5,\"say \"\"hi\"\", you\"\n\
        2013-01-01T00:00:02Z,,,\n\
        2013-01-01T00:00:04.250Z,a,9007199254740993,\n";
    let job = [
        "run",
        "-",
        "--time",
        "t",
        "--key",
        "k",
        "--window",
        "tumbling:500ms",
        "--max-delay",
        "1m",
        "--aggregate",
    ];
    let job = [&job[..], &["count,sum:v,max:v,variance:v,last:s,collect:v"]].concat();
    let ndjson = stdout(&feed(&job, csv.as_bytes()));
    let expected = [
        r#"{"window_start":"2013-01-01T00:00:01Z","window_end":"2013-01-01T00:00:01.500Z","k":"a","count":1,"sum_v":1,"max_v":1,"variance_v":null,"last_s":"x","collect_v":[1],"timing":"on_time","pane":0}"#,
        r#"{"window_start":"2013-01-01T00:00:02Z","window_end":"2013-01-01T00:00:02.500Z","k":null,"count":1,"sum_v":null,"max_v":null,"variance_v":null,"last_s":null,"collect_v":null,"timing":"on_time","pane":0}"#,
        r#"{"window_start":"2013-01-01T00:00:03Z","window_end":"2013-01-01T00:00:03.500Z","k":"a","count":1,"sum_v":2.5,"max_v":2.5,"variance_v":null,"last_s":"say \"hi\", you","collect_v":[2.5],"timing":"on_time","pane":0}"#,
        r#"{"window_start":"2013-01-01T00:00:04Z","window_end":"2013-01-01T00:00:04.500Z","k":"a","count":1,"sum_v":9007199254740993,"max_v":9007199254740993,"variance_v":null,"last_s":null,"collect_v":[9007199254740993],"timing":"on_time","pane":0}"#,
    ];
    assert_eq!(ndjson.lines().collect::<Vec<_>>(), expected);

    let as_csv = stdout(&feed(&[&job[..], &["--output-format", "csv"]].concat(), csv.as_bytes()));
    let lines: Vec<&str> = as_csv.lines().collect();
    assert_eq!(
        lines[0],
        "window_start,window_end,k,count,sum_v,max_v,variance_v,last_s,collect_v,timing,pane"
    );
    assert_eq!(lines[2], "2013-01-01T00:00:02Z,2013-01-01T00:00:02.500Z,,1,,,,,,on_time,0");
    let quoted =
        r#"2013-01-01T00:00:03Z,2013-01-01T00:00:03.500Z,a,1,2.5,2.5,,"say ""hi"", you",[2.5],on_time,0"#;
    assert_eq!(lines[3], quoted);
}

#[test]
fn ndjson_keys_keep_their_type_and_null_is_not_empty() {
    let rows = r#"
        {"t":"2013-01-01T00:00:00Z","id":7,"on":true,"name":"é\n"}
        {"t":"2013-01-01T00:00:00Z","id":null,"on":false,"name":""}
        {"t":"2013-01-01T00:00:00Z","on":false}
        {"t":"2013-01-01T00:00:00Z","id":7,"on":true,"name":"é\n"}
    "#;
    let job = [
        "run",
        "-",
        "--time",
        "t",
        "--key",
        "id,on",
        "--key",
        "name",
        "--window",
        "tumbling:1h",
        "--max-delay",
        "0s",
    ];
    let out = stdout(&feed(&job, rows.as_bytes()));
    let keys: Vec<String> = out
        .lines()
        .map(|line| line.split(r#""id":"#).nth(1).unwrap().replace(r#","timing":"on_time","pane":0}"#, ""))
        .collect();
    assert_eq!(
        keys,
        [
            r#"null,"on":false,"name":null,"count":1"#,
            r#"null,"on":false,"name":"","count":1"#,
            r#"7,"on":true,"name":"é\n","count":2"#
        ]
    );
}

/// Three rows of which the last is too late.
const LATE: [&str; 3] = ["2013-01-01T05:00:00Z", "2013-01-01T07:30:00.5Z", "2013-01-01T04:59:59.75Z"];

#[test]
fn late_rows_keep_their_columns_in_every_pair_of_formats() {
    let dir = tempfile::tempdir().unwrap();
    let late = |name: &str, input: &str| {
        let path = dir.path().join(name);
        let job = ["run", "-", "--time", "t", "--window", "tumbling:1h", "--max-delay", "30m", "--late"];
        stdout(&feed(&[&job[..], &[path.to_str().unwrap()]].concat(), input.as_bytes()));
        fs::read_to_string(path).unwrap()
    };
    let [a, b, c] = LATE;
    let csv = format!("t,\"x, y\",n\n{a},,1\n{b},,2\n{c},\"q\"\"\",007\n");
    let ndjson = format!(
        "{{\"t\":\"{a}\",\"n\":1,\"x, y\":null}}\n{{\"t\":\"{b}\"}}\n{{\"t\": \"{c}\", \"n\": 12345678901234567890123, \"x, y\":{{\"z\":[1]}}}}\n"
    );
    let added = r#""watermark":"2013-01-01T07:00:00.500Z","late_by":7200.75,"reason":"disorder"}"#;
    assert_eq!(late("a.ndjson", &csv), format!("{{\"t\":\"{c}\",\"x, y\":\"q\\\"\",\"n\":\"007\",{added}\n"));
    assert_eq!(
        late("b.csv", &csv),
        format!(
            "t,\"x, y\",n,watermark,late_by,reason\n{c},\"q\"\"\",007,2013-01-01T07:00:00.500Z,7200.75,disorder\n"
        )
    );
    let original = format!("{{\"t\": \"{c}\", \"n\": 12345678901234567890123, \"x, y\":{{\"z\":[1]}}");
    assert_eq!(late("c.ndjson", &ndjson), format!("{original},{added}\n"));
    assert_eq!(
        late("d.csv", &ndjson),
        format!(
            "t,n,\"x, y\",watermark,late_by,reason\n{c},12345678901234567890123,\"{{\"\"z\"\":[1]}}\",2013-01-01T07:00:00.500Z,7200.75,disorder\n"
        )
    );
}

#[test]
fn rows_that_no_window_takes_are_given_back_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let late = dir.path().join("late.csv");
    let job =
        ["run", "-", "--time", "t", "--window", "sliding:10m/1h", "--max-delay", "0s", "--time-unit", "us"];
    let skew = ["--max-future-skew", "1d", "--suspect", "reject", "--late", late.to_str().unwrap()];
    let rows = "t\n3600000000\n1800000000\n9223372036854775807\n999999999999999\n";
    let output = feed(&[&job[..], &skew].concat(), rows.as_bytes());
    assert!(
        stderr(&output).contains("1 accepted, 0 partly late, 0 late, 1 unassigned, 2 rejected"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        fs::read_to_string(&late).unwrap(),
        "t,watermark,late_by,reason\n\
         1800000000,1970-01-01T01:00:00Z,,no_window\n\
         9223372036854775807,1970-01-01T01:00:00Z,,out_of_range\n\
         999999999999999,1970-01-01T01:00:00Z,,too_far_ahead\n"
    );
}

#[test]
fn a_partition_that_falls_silent_is_given_up_on_the_wall_clock() {
    let job =
        ["run", "-", "--time", "t", "--partition", "p", "--window", "tumbling:1m", "--max-delay", "0s", "-q"];
    let idle = ["--idle-timeout", "100ms"];
    let mut child =
        floodmark(&[&job[..], &idle].concat()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"t,p\n2013-01-01T00:00:00Z,a\n2013-01-01T00:05:00Z,b\n").unwrap();
    // Partition a never says more, and the pipe stays open.
    let line = Lines::of(child.stdout.take().unwrap()).next();
    assert!(line.contains(r#""window_start":"2013-01-01T00:00:00Z""#), "{line}");
    drop(stdin);
    child.wait().unwrap();
    let refused = floodmark(&[&job[..], &idle, &["--checkpoint", "x", "-o", "y"]].concat()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn what_is_open_is_closed_when_no_row_comes_on_the_wall_clock() {
    let job = ["run", "-", "--time", "t", "--window", "tumbling:1m", "--max-delay", "1h"];
    let job = [&job[..], &["--close-after-quiet", "100ms"]].concat();
    let mut command = floodmark(&job);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = Lines::of(child.stdout.take().unwrap());
    stdin.write_all(b"t\n2013-01-01T00:00:00Z\n2013-01-01T00:00:30Z\n").unwrap();
    let is = |line: String, start: &str, count: &str| {
        assert!(line.contains(start) && line.contains(count), "{line}")
    };
    is(lines.next(), r#""window_start":"2013-01-01T00:00:00Z""#, r#""count":2,"#);
    // The pipe stays open, and what comes for the minute that was closed is late.
    stdin.write_all(b"2013-01-01T00:00:40Z\n2013-01-01T00:01:10Z\n").unwrap();
    is(lines.next(), r#""window_start":"2013-01-01T00:01:00Z""#, r#""count":1,"#);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(stderr(&output).contains("3 accepted, 0 partly late, 1 late"), "{}", stderr(&output));
    let refused = floodmark(&[&job[..], &["--checkpoint", "x", "-o", "y"]].concat()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("--close-after-quiet"), "{}", stderr(&refused));
}

#[test]
fn the_reader_of_standard_output_may_leave() {
    let input = january();
    let mut command = floodmark(&["run", input.to_str().unwrap()]);
    let mut child = command.args(MAIN_JOB).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
}

#[test]
fn wrong_usage_exits_2_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.csv");
    fs::write(&input, january_rows(3)).unwrap();
    let before = fs::read(&input).unwrap();
    let path = input.to_str().unwrap();
    let job = ["run", path, "--time", "departed_at", "--window", "tumbling:1h"];
    for (extra, why) in [
        (&[][..], "--max-delay"),
        (&["--max-delay", "soon"], "soon"),
        (&["--max-delay", "p99.9"], "'p99.9' for '--max-delay <DURATION|pN:LONGEST>': and how long at most?"),
        (&["--max-delay", "1h", "--output", path], "would be overwritten"),
        (&["--max-delay", "1h", "--late", "-"], "given twice"),
        (&["--max-delay", "1h", "--key", "count"], "two fields of the results would be called `count`"),
        (&["--max-delay", "1h", "--aggregate", "median:distance_mi"], "no aggregate is called \"median\""),
        (&["--max-delay", "1h", "--on-error", "side"], "--errors"),
        (&["--max-delay", "1h", "--window", "session"], "'session' for '--window <WINDOW>': how long?"),
        (&["--max-delay", "1h", "--window", "calendar:1d@New_York"], "there is no time zone \"New_York\""),
        (
            &["--max-delay", "1h", "--window", "tumbling:60m"],
            "--window tumbling:1h and tumbling:60m are the same",
        ),
        (&["--max-delay", "1h", "--window", "global", "--key", "window"], "would be called `window`"),
        (&["--max-delay", "1h", "--early", "10m"], "expected events:100, every:10m"),
        (&["--max-delay", "1h", "--early", "every:1h,every:2h"], "--early every:1h and every:2h do not go"),
        (&["--max-delay", "1h", "--accumulate", "retracting", "--output", "x.csv"], "write NDJSON"),
        (&["--max-delay", "1h", "--accumulate", "retracting", "--key", "retracts"], "called `retracts`"),
        (
            &["--max-delay", "1h", "--fill", "1h", "--early", "every:1h"],
            "--fill and --early every:1h do not go",
        ),
        (
            &["--max-delay", "1h", "--fill", "1h", "--accumulate", "discarding"],
            "--accumulate accumulating only",
        ),
        (&["--max-delay", "1h", "--resume"], "--checkpoint"),
    ] {
        let output = floodmark(&[&job[..], extra].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{extra:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
    let job = ["run", path, "--time", "departed_at", "--max-delay", "1h", "--window", "count:9"];
    let output = floodmark(&[&job[..], &["--early", "events:3"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("group by --window global"), "{}", stderr(&output));
    let job = ["run", path, "--time", "departed_at", "--max-delay", "1h", "--fill", "1h"];
    for window in ["session:30m", "global", "count:9"] {
        let output = floodmark(&[&job[..], &["--window", window]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("no session, global or count window"), "{}", stderr(&output));
    }
    assert_eq!(fs::read(&input).unwrap(), before);
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_without_its_feature_says_how_to_get_it() {
    let output = feed(&[&["run", "-", "--format", "parquet"], &MAIN_JOB[..]].concat(), b"PAR1");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--features parquet"), "{}", stderr(&output));
}
