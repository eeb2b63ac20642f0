//! Replays the vectors in `tests/conformance` with the code of the example of that name.

use std::path::{Path, PathBuf};

#[path = "../examples/conformance/runner/mod.rs"]
mod runner;

/// Every case passes, or deviates by a rule of the design.
#[test]
fn conformance_of_all_vectors_that_come_with_the_crate() {
    let files = vectors();
    assert!(!files.is_empty(), "no vectors in tests/conformance");
    for file in files {
        let report = runner::replay_file(&file).expect("a file just listed can be read");
        println!("{report}");
        assert!(report.failures.is_empty(), "{report}\n{}", report.failures.join("\n"));
        assert!(report.passed > 0, "{report}");
    }
}

fn vectors() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let entries = folder.read_dir().expect("tests/conformance comes with the crate");
    let files = entries.map(|entry| entry.expect("a folder just opened can be listed").path());
    let mut vectors: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    vectors.sort();
    vectors
}
