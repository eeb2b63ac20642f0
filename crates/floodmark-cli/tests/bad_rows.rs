//! A bad row names file, line, column and value, and does what --on-error says.

mod common;

use std::fs;

use common::{feed, floodmark, stderr, stdout};
use serde_json::Value;

const JOB: [&str; 12] = [
    "run",
    "-",
    "--time",
    "departed_at",
    "--key",
    "carrier",
    "--window",
    "tumbling:1h",
    "--max-delay",
    "1h",
    "--aggregate",
    "count,sum:delay",
];

/// A good row before and after `bad`, which is on line 3.
fn csv(bad: &[u8]) -> Vec<u8> {
    let before = b"departed_at,carrier,delay\n2013-01-01T00:00:00Z,B6,1\n";
    [before, bad, b"\n2013-01-01T00:00:02Z,B6,3\n"].concat()
}

fn ndjson(bad: &[u8]) -> Vec<u8> {
    let row = |second, delay| {
        format!(r#"{{"departed_at":"2013-01-01T00:00:0{second}Z","carrier":"B6","delay":{delay}}}"#)
    };
    [row(0, 1).as_bytes(), b"\n\n", bad, b"\r\n", row(2, 3).as_bytes()].concat()
}

const NO_TIME: &str = "expected RFC 3339, like 2013-01-01T10:59:00Z, or an integer epoch";

fn cases() -> Vec<(Vec<u8>, String)> {
    let time = |value| format!("column `departed_at`: cannot read {value:?} as a time: {NO_TIME}");
    let mut cases: Vec<(Vec<u8>, String)> = Vec::new();
    for (bad, why) in [
        ("yesterday,B6,2", time("yesterday")),
        ("2013-01-01,B6,2", time("2013-01-01")),
        (
            "2013-01-01 00:00:01,B6,2",
            "column `departed_at`: cannot read \"2013-01-01 00:00:01\" as a time: no offset; write Z or +01:00 after it, \
             or read such times as UTC with --assume-utc"
                .into(),
        ),
        (",B6,2", "column `departed_at`: empty, but every row needs a time".into()),
        ("2013-01-01T00:00:01Z,B6,ten", "column `delay`: cannot read \"ten\" as a number".into()),
        ("2013-01-01T00:00:01Z,B6,NaN", "column `delay`: cannot read \"NaN\" as a number".into()),
        ("2013-01-01T00:00:01Z,B6", "2 fields where the header has 3: \"2013-01-01T00:00:01Z,B6\"".into()),
        ("2013-01-01T00:00:01Z,B6,2,\"x\"", "4 fields where the header has 3: \"2013-01-01T00:00:01Z,B6,2,\\\"x\\\"\"".into()),
    ] {
        cases.push((csv(bad.as_bytes()), why));
    }
    cases.push((
        csv(b"2013-01-01T00:00:01Z,B\xff,2"),
        "column `carrier`: cannot read \"B\u{fffd}\" as UTF-8 text".into(),
    ));
    for (bad, why) in [
        (r#"{"departed_at":"noon","carrier":"B6","delay":2}"#, time("noon")),
        (r#"{"carrier":"B6","delay":2}"#, "column `departed_at`: empty, but every row needs a time".into()),
        (r#"{"departed_at":1.5,"delay":2}"#, time("1.5")),
        (
            r#"{"departed_at":"2013-01-01T00:00:01Z","delay":"ten"}"#,
            "column `delay`: cannot read \"ten\" as a number".into(),
        ),
        (
            r#"{"departed_at":"2013-01-01T00:00:01Z","delay":true}"#,
            "column `delay`: cannot read \"true\" as a number".into(),
        ),
        (
            r#"{"departed_at":"2013-01-01T00:00:01Z","delay":[2]}"#,
            "column `delay`: cannot use [2], which is not a single value".into(),
        ),
        ("[1]", "not a JSON object: \"[1]\"".into()),
        ("nonsense", "not a JSON object (expected ident at column 2): \"nonsense\"".into()),
        (
            r#"{"departed_at":"#,
            "not a JSON object (EOF while parsing a value at column 15): \"{\\\"departed_at\\\":\"".into(),
        ),
        ("{} {}", "not a JSON object (trailing characters at column 4): \"{} {}\"".into()),
    ] {
        cases.push((ndjson(bad.as_bytes()), why));
    }
    cases
}

#[test]
fn each_kind_of_bad_row_stops_the_run_with_its_place_and_value() {
    for (input, why) in cases() {
        let output = feed(&JOB, &input);
        assert_eq!(output.status.code(), Some(1), "{why}");
        assert_eq!(stderr(&output), format!("floodmark: standard input:3: {why}\n"));
    }
}

#[test]
fn skipped_rows_are_counted_and_the_others_kept() {
    for (input, why) in cases() {
        let output = feed(&[&JOB[..], &["--on-error", "skip"]].concat(), &input);
        let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&result["count"], &result["sum_delay"]), (&2.into(), &4.into()), "{why}");
        assert!(stderr(&output).contains("2 events offered"), "{}", stderr(&output));
        assert!(stderr(&output).contains("; 1 bad rows left out"), "{}", stderr(&output));
    }
}

#[test]
fn rows_put_aside_are_written_with_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let errors = dir.path().join("errors.ndjson");
    for (input, why) in cases() {
        let side = ["--on-error", "side", "--errors", errors.to_str().unwrap()];
        let output = feed(&[&JOB[..], &side].concat(), &input);
        assert!(stdout(&output).contains(r#""count":2,"sum_delay":4"#));
        let written: Value = serde_json::from_str(&fs::read_to_string(&errors).unwrap()).unwrap();
        let row = String::from_utf8_lossy(input.split(|b| *b == b'\n').nth(2).unwrap()).into_owned();
        let expected = serde_json::json!({
            "file": "standard input",
            "line": 3,
            "error": why,
            "row": row.trim_end_matches('\r'),
        });
        assert_eq!(written, expected);
    }
}

#[test]
fn lines_are_counted_through_quotes_blank_lines_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.csv"), dir.path().join("b.csv"));
    fs::write(&first, "t,v\n2013-01-01T00:00:00Z,\"two\nlines\"\n\nnever,1\n").unwrap();
    fs::write(&second, "v,t\r\n1,2013-01-01T00:00:00Z\r\n1,soon\r\n").unwrap();
    let errors = dir.path().join("errors.csv");
    let job =
        ["--time", "t", "--window", "tumbling:1h", "--max-delay", "0s", "--on-error", "side", "--errors"];
    let output = floodmark(&["run"]).args([&first, &second]).args(job).arg(&errors).output().unwrap();
    stdout(&output);
    let path = |path: &std::path::Path| path.display().to_string();
    let problem = |value| format!("\"column `t`: cannot read \"\"{value}\"\" as a time: {NO_TIME}\"");
    assert_eq!(
        fs::read_to_string(&errors).unwrap(),
        format!(
            "file,line,error,row\n{},5,{},\"never,1\"\n{},3,{},\"1,soon\"\n",
            path(&first),
            problem("never"),
            path(&second),
            problem("soon")
        )
    );
}

#[test]
fn a_file_without_the_column_names_those_it_has() {
    let output = feed(&[&JOB[..], &["--on-error", "skip"]].concat(), b"departed,carrier,delay\n1,2,3\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "floodmark: standard input has no column `departed_at`; it has departed, carrier, delay\n"
    );
    let output = feed(&[&JOB[..], &["--aggregate", "max:dealy"]].concat(), &ndjson(b""));
    assert!(
        stderr(&output).contains("column `dealy` was empty or missing in every row"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_missing_file_is_named_before_any_output_is_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let precious = dir.path().join("results.ndjson");
    fs::write(&precious, "of an earlier run").unwrap();
    let mut command = floodmark(&["run", "/no/such/file.csv"]);
    let output = command.args(&JOB[2..]).arg("--output").arg(&precious).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("floodmark: cannot read /no/such/file.csv: "), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "of an earlier run");
}

#[test]
fn disorder_treats_bad_rows_alike() {
    let args = ["disorder", "-", "--time", "departed_at"];
    let output = feed(&args, &csv(b"noon,B6,2"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("standard input:3: column `departed_at`: cannot read \"noon\""));
    let output = feed(&[&args[..], &["--on-error", "skip"]].concat(), &csv(b"noon,B6,2"));
    assert!(stdout(&output).contains("1 bad rows left out"));
}
