//! What holds in a folder and in memory holds in a bucket: conditional writes included.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::{env, fs, thread};

use chrono::TimeDelta;
use floodmark::snapshot::SnapshotProgress;
use floodmark::{Config, Count, Partition, Timestamp, Windowing};
use floodmark_checkpoint::{Checkpoint, Error, Resumed, State, Store, Writer};
use floodmark_s3_tests::{BUCKET, KEY, SECRET, Server};

type Kernel = Windowing<u32, (), Count>;

fn kernel() -> Kernel {
    let config = Config::tumbling(TimeDelta::seconds(10)).max_disorder(TimeDelta::seconds(5));
    config.build(Count).unwrap().ordered()
}

fn store(server: &Server, keep: usize) -> Store {
    let store = Store::over(Arc::new(server.client()), "a/job").unwrap();
    store.keep(NonZeroUsize::new(keep).unwrap())
}

/// Stores no kernel, but something to tell one checkpoint from another.
fn save(writer: &mut Writer, source: &str) -> Result<u64, Error> {
    let state = State { source: source.into(), ..State::default() };
    writer.save(state).map(|saved| saved.number)
}

fn newest(store: &Store) -> Checkpoint {
    let Resumed { checkpoint, damaged, .. } = store.resume().unwrap();
    assert_eq!(damaged, []);
    checkpoint.unwrap()
}

/// The names of objects in a folder of the bucket.
fn names(server: &Server, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(server.folder().join("a/job").join(folder)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_kernel_is_stored_by_its_changes_restored_and_compacted() {
    let server = Server::start();
    let store = store(&server, 2).changes(2);
    let (mut windows, mut writer) = (kernel(), store.begin().unwrap());
    let (input, mut panes) = (windows.add_partition(), Vec::new());
    let go = |windows: &mut Kernel, from: i64, panes: &mut Vec<String>| {
        for i in from..from + 20 {
            let time = Timestamp::from_micros((i + i * 7 % 5) * 1_000_000);
            let _ = windows.push(input, time, (i % 3) as u32, ()).unwrap();
        }
        while let Some(pane) = windows.poll() {
            panes.push(format!("{} {} {}", pane.window, pane.key, pane.value));
        }
    };
    for round in 0..6 {
        go(&mut windows, 20 * round, &mut panes);
        let mut snapshot = Vec::new();
        let _ = windows.begin_snapshot(writer.since(0)).unwrap();
        while windows.write_snapshot(3, &mut snapshot) == SnapshotProgress::More {}
        let saved = writer.save(State { kernels: vec![snapshot], ..State::default() }).unwrap();
        assert!(saved.undeleted.is_none(), "{saved:?}");
    }
    // A full one, two of changes, and again.
    let checkpoint = newest(&store);
    assert_eq!((checkpoint.number, checkpoint.snapshots(0).len()), (6, 3));
    // Two more are kept than changes may follow, which stand on both full ones.
    assert_eq!((names(&server, "checkpoints").len(), names(&server, "data").len()), (4, 6));
    assert_eq!(writer.compact().unwrap().map(|saved| saved.number), Some(7));
    assert_eq!(newest(&store).snapshots(0).len(), 1);

    for checkpoint in [checkpoint, newest(&store)] {
        let mut restored = kernel().restore_chain(&checkpoint.chain(0).unwrap()).unwrap();
        let (mut expected, mut found) = (panes.clone(), panes.clone());
        let mut undisturbed = kernel().restore(&windows.snapshot()).unwrap();
        go(&mut undisturbed, 120, &mut expected);
        go(&mut restored, 120, &mut found);
        assert_eq!(found, expected);
    }
    let _: Partition = input;
}

#[test]
fn of_two_writers_the_first_to_store_wins_however_long_the_other_sleeps() {
    let server = Server::start();
    let store = store(&server, 2);
    let (mut first, mut sleeper) = (store.begin().unwrap(), store.begin().unwrap());
    assert_eq!(save(&mut first, "1").unwrap(), 1);
    assert!(save(&mut sleeper, "other 1").unwrap_err().is_conflict());
    for number in 2..7 {
        assert_eq!(save(&mut first, "more").unwrap(), number);
    }
    // Its number is free again.
    assert_eq!(store.numbers().unwrap(), [5, 6]);
    for _ in 0..2 {
        assert!(save(&mut sleeper, "other 1").unwrap_err().is_conflict());
        assert_eq!(store.numbers().unwrap(), [5, 6]);
    }
    assert_eq!(newest(&store).source, b"more");
}

#[test]
fn in_a_race_no_number_is_won_twice() {
    let server = Server::start();
    let won = Mutex::new(BTreeMap::<u64, usize>::new());
    thread::scope(|scope| {
        for me in 0..4 {
            let (store, won) = (store(&server, 3), &won);
            scope.spawn(move || {
                for _ in 0..15 {
                    let Resumed { mut writer, damaged, .. } = store.resume().unwrap();
                    assert_eq!(damaged, []);
                    match save(&mut writer, &format!("{me}")) {
                        Ok(number) => *won.lock().unwrap().entry(number).or_default() += 1,
                        Err(error) => assert!(error.is_conflict(), "{error}"),
                    }
                }
            });
        }
    });
    let won = won.into_inner().unwrap();
    assert!(won.len() > 15 && won.values().all(|&wins| wins == 1), "{won:?}");
}

#[test]
fn a_write_whose_answer_is_lost_finds_itself() {
    let server = Server::start();
    let store = store(&server, 3);
    let mut writer = store.begin().unwrap();
    let state = || State { kernels: vec![kernel().snapshot()], ..State::default() };
    for number in 1..4 {
        // Once the data's, and once that of the manifest, which then is said to be there already.
        server.lose_answers(2);
        assert_eq!(writer.save(state()).unwrap().number, number);
        assert_eq!(newest(&store).number, number);
    }
}

#[test]
fn a_server_that_is_down_is_no_damage_and_nothing_is_lost_by_waiting() {
    let server = Server::start();
    let store = store(&server, 3);
    let mut writer = store.begin().unwrap();
    assert_eq!(save(&mut writer, "1").unwrap(), 1);
    server.set_down(true);
    let error = save(&mut writer, "2").unwrap_err();
    assert!(error.is_storage() && error.to_string().contains("checkpoints/0000"), "{error}");
    let error = store.resume().unwrap_err();
    assert!(error.is_storage(), "{error}");
    server.set_down(false);
    assert_eq!(newest(&store).source, b"1");
    assert_eq!(save(&mut writer, "2").unwrap(), 2);
    // All tries of one write are done, and none is answered: it is not known, and then found.
    server.lose_answers(4);
    assert!(save(&mut writer, "3").unwrap_err().is_storage());
    assert_eq!(newest(&store).source, b"3");
    assert_eq!(save(&mut writer, "4").unwrap(), 4);
    assert_eq!(newest(&store).source, b"4");
}

#[test]
fn savepoints_stay() {
    let server = Server::start();
    let store = store(&server, 1);
    let mut writer = store.begin().unwrap();
    save(&mut writer, "1").unwrap();
    let checkpoint = newest(&store);
    server.lose_answers(1);
    store.create_savepoint("s", &checkpoint).unwrap();
    let taken = store.create_savepoint("s", &checkpoint).unwrap_err();
    assert!(taken.to_string().contains("there is a savepoint of this name"), "{taken}");
    save(&mut writer, "2").unwrap();
    assert_eq!(store.savepoints().unwrap().len(), 1);
    let Resumed { mut writer, checkpoint, .. } = store.resume_from_savepoint("s").unwrap();
    assert_eq!(checkpoint.unwrap().source, b"1");
    assert_eq!((newest(&store).number, save(&mut writer, "4").unwrap()), (3, 4));
    store.delete_savepoint("s").unwrap();
    assert!(store.delete_savepoint("s").unwrap_err().is_nothing());
}

#[test]
fn a_store_may_be_used_and_dropped_within_a_runtime() {
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = runtime.block_on(async {
        let store = store(&server, 1);
        save(&mut store.begin().unwrap(), "within").unwrap();
        newest(&store).source
    });
    assert_eq!(source, b"within");
}

#[test]
fn a_url_that_is_none_is_said_to_be() {
    for url in ["http://x/y", "s3://", "s3:///prefix", "bucket"] {
        let error = Store::s3(url).unwrap_err();
        assert!(error.to_string().contains("s3://BUCKET/PREFIX"), "{error}");
    }
}

/// The command line with S3 built in: that of FLOODMARK_BINARY, or one that is built now.
fn floodmark() -> PathBuf {
    if let Some(binary) = env::var_os("FLOODMARK_BINARY") {
        return fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(binary)).unwrap();
    }
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "-p", "floodmark-cli", "--features", "s3"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    // This test is in the folder `deps` beside it.
    let beside = env::current_exe().unwrap();
    beside.ancestors().nth(2).unwrap().join("floodmark")
}

#[test]
fn the_command_line_keeps_its_checkpoints_in_a_bucket() {
    let (server, binary, folder) = (Server::start(), floodmark(), tempfile::tempdir().unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rows = fs::read_to_string(root.join("tests/data/flights-2013-01.csv")).unwrap();
    let mut lines: Vec<&str> = rows.lines().take(3001).collect();
    let (good, bad) = (folder.path().join("good.csv"), folder.path().join("bad.csv"));
    fs::write(&good, lines.join("\n")).unwrap();
    lines.insert(2500, "bad");
    fs::write(&bad, lines.join("\n")).unwrap();
    let place = format!("s3://{BUCKET}/flights/state");
    let floodmark = |args: &[&str]| -> Output {
        let mut command = Command::new(&binary);
        command.env("AWS_ENDPOINT", server.endpoint()).env("AWS_ALLOW_HTTP", "true");
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.env("AWS_REGION", "us-east-1").args(args).output().unwrap()
    };
    let run = |input: &Path, output: &str, extra: &[&str]| {
        let (input, output) = (input.to_str().unwrap(), folder.path().join(output));
        let job = ["--time", "departed_at", "--partition", "origin", "--key", "carrier"];
        let windows = ["--window", "tumbling:1h", "--max-delay", "6h", "--output", output.to_str().unwrap()];
        let outcome = floodmark(&[&["run", input], &job[..], &windows, extra].concat());
        (outcome, fs::read_to_string(&output).unwrap())
    };
    let (whole, expected) = run(&good, "whole.csv", &[]);
    assert!(whole.status.success() && expected.lines().count() > 100);

    let saved = ["--checkpoint", &place, "--checkpoint-every", "400"];
    let (stopped, _) = run(&bad, "fired.csv", &saved);
    assert_eq!(stopped.status.code(), Some(1), "{}", String::from_utf8_lossy(&stopped.stderr));
    let verified = floodmark(&["snapshot", "verify", &place]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert_eq!(String::from_utf8_lossy(&verified.stdout).lines().count(), 6);
    let (resumed, fired) =
        run(&bad, "fired.csv", &[&saved[..], &["--resume", "--on-error", "skip"]].concat());
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(fired == expected, "the outputs differ");
}
