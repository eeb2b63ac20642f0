//! Parquet input gives what CSV gives.

#![cfg(feature = "parquet")]

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::DateTime;
use common::{MAIN_JOB, floodmark, january, stderr, stdout};
use parquet::arrow::ArrowWriter;

/// January with true types, in several row groups.
fn write(path: &Path, zone: Option<&str>) {
    let text = fs::read_to_string(january()).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let texts = |i: usize| Arc::new(rows.iter().map(|row| Some(row[i])).collect::<StringArray>()) as ArrayRef;
    let numbers = |i: usize| {
        Arc::new(rows.iter().map(|row| row[i].parse::<i64>().unwrap()).collect::<Int64Array>()) as ArrayRef
    };
    let micros = |row: &Vec<&str>| row[1].parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros();
    let times: TimestampMicrosecondArray = rows.iter().map(micros).collect::<Vec<_>>().into();
    let batch = RecordBatch::try_from_iter([
        ("dep_delay_min", numbers(6)),
        ("departed_at", Arc::new(times.with_timezone_opt(zone)) as ArrayRef),
        ("carrier", texts(4)),
        ("flight", numbers(5)),
        ("origin", texts(2)),
    ])
    .unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    for from in (0..batch.num_rows()).step_by(7000) {
        writer.write(&batch.slice(from, 7000.min(batch.num_rows() - from))).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn parquet_gives_the_results_that_csv_gives() {
    let dir = tempfile::tempdir().unwrap();
    let (input, late) = (dir.path().join("flights.parquet"), dir.path().join("late.ndjson"));
    let csv = stdout(&floodmark(&["run"]).arg(january()).args(MAIN_JOB).output().unwrap());
    write(&input, Some("UTC"));
    let output = floodmark(&["run"]).arg(&input).args(MAIN_JOB).arg("--late").arg(&late).output().unwrap();
    assert!(stdout(&output) == csv);
    let late = fs::read_to_string(&late).unwrap();
    let first = r#"{"dep_delay_min":-3,"departed_at":"2013-01-01T13:57:00Z","carrier":"HA","flight":51,"origin":"JFK","watermark":"#;
    assert!(late.starts_with(first), "{late}");

    write(&input, None);
    let output = floodmark(&["run"]).arg(&input).args(MAIN_JOB).output().unwrap();
    assert!(stderr(&output).contains("flights.parquet:1: column `departed_at`"), "{}", stderr(&output));
    assert!(stderr(&output).contains("--assume-utc"), "{}", stderr(&output));
    let output = floodmark(&["run"]).arg(&input).args(MAIN_JOB).arg("--assume-utc").output().unwrap();
    assert!(stdout(&output) == csv);
}

#[test]
fn a_row_number_stands_for_the_line_and_a_run_resumes_at_it() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("flights.parquet");
    write(&input, Some("+05:00"));
    let place = |name: &str| dir.path().join(name);
    let run = |name: &str, extra: &[&str]| {
        let mut command = floodmark(&["run"]);
        command.arg(&input).args(MAIN_JOB).arg("--output").arg(place(name)).args(extra);
        command.args(["--checkpoint-every", "100", "--checkpoint"]).arg(place(&format!("{name}.saved")));
        command
    };
    assert!(run("whole", &[]).output().unwrap().status.success());
    for wait in (100..).step_by(50) {
        let mut child = run("parts", &["--resume"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
    }
    assert!(fs::read(place("parts")).unwrap() == fs::read(place("whole")).unwrap());
}
