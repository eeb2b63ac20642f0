//! What the command says of snapshots, and what it makes of them.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{MAIN_JOB, floodmark, january_rows, stderr};

fn snapshot(command: &str, paths: &[&Path], extra: &[&str]) -> Output {
    floodmark(&["snapshot", command]).args(paths).args(extra).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A folder with a run that has stopped in the middle, and left what it has in `saved`.
fn stopped() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let input = path("input.csv");
    fs::write(&input, january_rows(3000) + "no,row\n").unwrap();
    let mut run = floodmark(&["run"]);
    run.arg(&input).args(MAIN_JOB).args(["--checkpoint-every", "500"]);
    run.arg("--output").arg(path("fired.csv")).arg("--checkpoint").arg(path("saved"));
    assert_eq!(run.output().unwrap().status.code(), Some(1));
    dir
}

#[test]
fn a_checkpoint_is_looked_at_compacted_split_and_merged() {
    let dir = stopped();
    let path = |name: &str| dir.path().join(name);
    let saved = path("saved");
    let summary = said(&snapshot("inspect", &[&saved], &[]));
    for what in [
        "aggregate floodmark-cli 1: count, mean, max",
        "windows 0: tumbling, PT3600S; allowed lateness PT3600S",
        "partition 2: ",
    ] {
        assert!(summary.contains(what), "{what} in {summary}");
    }
    let (_, total) = summary.trim_end().rsplit_once('\n').unwrap();
    let [slices, entries] = [0, 2].map(|word| total.split(' ').nth(word).unwrap().parse::<usize>().unwrap());
    assert!(slices > 3 && entries > 3 * slices, "{total}");
    let (about, summary) = summary.split_once('\n').unwrap();
    assert!(about.starts_with("checkpoint 7 of 20") && about.contains(": 2 snapshots, "), "{about}");
    let verified = said(&snapshot("verify", &[&saved], &[]));
    assert_eq!(verified.lines().filter(|line| line.ends_with(" bytes: sound")).count(), 6, "{verified}");

    let compacted = path("compacted");
    let output = ["--output", compacted.to_str().unwrap()];
    said(&snapshot("compact", &[&saved], &output));
    assert_eq!(said(&snapshot("inspect", &[&compacted], &[])), summary);
    assert!(said(&snapshot("verify", &[&compacted], &[])).ends_with("bytes in 1 snapshot: sound\n"));
    let again = snapshot("compact", &[&saved], &output);
    assert!(!again.status.success() && stderr(&again).contains("cannot write"), "{}", stderr(&again));

    let part = path("part");
    said(&snapshot("split", &[&saved], &["--parts", "3", "--output", part.to_str().unwrap()]));
    let parts = [path("part.0"), path("part.1"), path("part.2")];
    let parts = [parts[0].as_path(), &parts[1], &parts[2]];
    for part in parts {
        assert!(said(&snapshot("inspect", &[part], &[])).len() < summary.len());
    }
    let merged = path("merged");
    said(&snapshot("merge", &parts, &["--output", merged.to_str().unwrap()]));
    let (_, of_all) = summary.split_once('\n').unwrap();
    assert!(said(&snapshot("inspect", &[&merged], &[])).ends_with(of_all));

    let bytes = fs::read(&compacted).unwrap();
    fs::write(path("cut"), &bytes[..bytes.len() / 2]).unwrap();
    let refused = snapshot("verify", &[&path("cut")], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("cut: the snapshot is truncated in its section"),
        "{}",
        stderr(&refused)
    );
    let alone = snapshot("verify", &[&compacted, &compacted], &[]);
    assert!(stderr(&alone).contains("is a full one"), "{}", stderr(&alone));

    let alone = snapshot("compact", &[&compacted], &[]);
    assert_eq!(alone.status.code(), Some(2), "{}", stderr(&alone));
}

#[test]
fn a_place_is_compacted_and_all_that_is_in_it_verified() {
    let dir = stopped();
    let saved = dir.path().join("saved");
    let inspected = said(&snapshot("inspect", &[&saved], &[]));
    let (_, summary) = inspected.split_once('\n').unwrap();
    let savepoint = |args: &[&str]| said(&floodmark(&["savepoint"]).args(args).output().unwrap());
    savepoint(&["create", saved.to_str().unwrap(), "s"]);
    let file = saved.join("savepoints").join("s");
    let of_savepoint = said(&snapshot("inspect", &[&file], &[]));
    assert!(of_savepoint.starts_with("savepoint s of checkpoint 7 of ") && of_savepoint.ends_with(summary));
    assert!(said(&snapshot("verify", &[&saved], &[])).contains("\nsavepoint s of checkpoint 7 of "));
    assert_eq!(said(&snapshot("compact", &[&saved], &[])), "compacted as checkpoint 8\n");
    assert_eq!(said(&snapshot("compact", &[&saved], &[])), "there is nothing to compact\n");
    let after = said(&snapshot("inspect", &[&saved], &[]));
    assert!(after.starts_with("checkpoint 8 of ") && after.ends_with(summary), "{after}");

    fs::write(&file, "").unwrap();
    let newest = saved.join("checkpoints/00000000000000000008");
    fs::write(newest, "").unwrap();
    let unsound = snapshot("verify", &[&saved], &[]);
    assert_eq!(unsound.status.code(), Some(1));
    assert!(stderr(&unsound).contains("2 of what is in "), "{}", stderr(&unsound));
    assert!(said(&snapshot("inspect", &[&saved], &[])).starts_with("checkpoint 7 of "));
}

#[test]
fn a_bucket_is_a_place_only_where_it_was_built_in() {
    let asked = snapshot("inspect", &[Path::new("s3://bucket/a")], &[]);
    let said = stderr(&asked);
    match cfg!(feature = "s3") {
        true => assert_eq!(asked.status.code(), Some(1), "{said}"),
        false => assert!(asked.status.code() == Some(2) && said.contains("the feature `s3`"), "{said}"),
    }
}
