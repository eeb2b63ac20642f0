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

#[test]
fn a_checkpoint_is_looked_at_compacted_split_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // A run that stops in the middle, and leaves what it has.
    let input = path("input.csv");
    fs::write(&input, january_rows(3000) + "no,row\n").unwrap();
    let mut run = floodmark(&["run"]);
    run.arg(&input).args(MAIN_JOB).args(["--checkpoint-every", "500"]);
    run.arg("--output").arg(path("fired.csv")).arg("--checkpoint").arg(path("saved"));
    assert_eq!(run.output().unwrap().status.code(), Some(1));

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
    assert!(said(&snapshot("verify", &[&saved], &[])).ends_with("bytes in 1 files: sound\n"));

    let compacted = path("compacted");
    let output = ["--output", compacted.to_str().unwrap()];
    said(&snapshot("compact", &[&saved], &output));
    assert_eq!(said(&snapshot("inspect", &[&compacted], &[])), summary);
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
}
