//! What holds in a folder and in memory holds in a bucket: conditional writes included.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::{env, fs, thread};

use chrono::TimeDelta;
use floodmark::snapshot::SnapshotProgress;
use floodmark::{Config, Count, Timestamp, Windowing};
use floodmark_checkpoint::{Checkpoint, Error, Resumed, State, Store, Writer};
use floodmark_s3_tests::{BUCKET, Fault, KEY, SECRET, Server, TRIES};
use object_store::{ObjectStore, PutMode, PutOptions};
use tokio::runtime;

type Kernel = Windowing<u32, (), Count>;

/// A job between two events: its kernel, how far it has read, and what has come out.
struct Job {
    kernel: Kernel,
    read: u64,
    panes: Vec<String>,
}

fn kernel() -> Kernel {
    let config = Config::tumbling(TimeDelta::seconds(10)).max_disorder(TimeDelta::seconds(5));
    config.build(Count).unwrap().ordered()
}

impl Job {
    fn new() -> Self {
        let mut kernel = kernel();
        kernel.add_partition();
        Self { kernel, read: 0, panes: Vec::new() }
    }

    /// As a checkpoint says.
    fn resumed(checkpoint: &Checkpoint) -> Self {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let kernel = kernel().restore_chain(&checkpoint.chain(0).unwrap()).unwrap();
        let panes = undisturbed()[..number(&checkpoint.sink) as usize].to_vec();
        Self { kernel, read: number(&checkpoint.source), panes }
    }

    /// Reads what is to be read before the next checkpoint.
    fn go(&mut self) {
        let input = kernel().add_partition();
        for i in self.read..self.read + 20 {
            let time = Timestamp::from_micros((i + i * 7 % 5) as i64 * 1_000_000);
            let _ = self.kernel.push(input, time, (i % 3) as u32, ()).unwrap();
        }
        self.read += 20;
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(pane) = self.kernel.poll() {
            self.panes.push(format!("{} {} {}", pane.window, pane.key, pane.value));
        }
    }

    fn save(&mut self, writer: &mut Writer) -> Result<u64, Error> {
        let mut snapshot = Vec::new();
        let _ = self.kernel.begin_snapshot(writer.since(0)).unwrap();
        while self.kernel.write_snapshot(3, &mut snapshot) == SnapshotProgress::More {}
        let [source, sink] = [self.read, self.panes.len() as u64].map(|number| number.to_le_bytes().to_vec());
        let saved = writer.save(State { kernels: vec![snapshot], source, sink })?;
        assert!(saved.undeleted.is_none(), "{saved:?}");
        Ok(saved.number)
    }

    fn finish(mut self) -> Vec<String> {
        while self.read < 240 {
            self.go();
        }
        self.kernel.finish();
        self.drain();
        self.panes
    }
}

/// What comes out of a job that nothing happens to.
fn undisturbed() -> Vec<String> {
    Job::new().finish()
}

fn store(server: &Server, keep: usize) -> Store {
    let store = Store::over(Arc::new(server.client()), "a/job").unwrap();
    store.keep(NonZeroUsize::new(keep).unwrap())
}

/// Stores no kernel, but something to tell one checkpoint from another.
fn save(writer: &mut Writer, source: &str) -> Result<u64, Error> {
    let state = State { source: source.into(), ..State::default() };
    let saved = writer.save(state)?;
    assert!(saved.undeleted.is_none(), "{saved:?}");
    Ok(saved.number)
}

fn newest(store: &Store) -> Checkpoint {
    let Resumed { checkpoint, damaged, .. } = store.resume().unwrap();
    assert_eq!(damaged, []);
    checkpoint.unwrap()
}

/// The checkpoints that the data which is there was written for.
fn data(server: &Server) -> Vec<u64> {
    let names = server.names("a/job/data");
    names.iter().map(|name| name.split('-').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_server_lets_one_of_many_create_an_object() {
    let server = Server::start();
    let client = server.client();
    let create = |path: &str| {
        let (options, bytes) = (PutOptions::from(PutMode::Create), path.to_owned().into());
        match server.wait(client.put_opts(&path.into(), bytes, options)) {
            Ok(_) => 1,
            Err(object_store::Error::AlreadyExists { .. }) => 0,
            Err(error) => panic!("{error}"),
        }
    };
    for path in ["a", "b/c", "d", "e", "f"] {
        let made: usize = thread::scope(|scope| {
            let all = [(); 8].map(|()| scope.spawn(|| create(path)));
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(made, 1, "{path}");
    }
}

#[test]
fn a_kernel_is_stored_by_its_changes_restored_and_compacted() {
    let server = Server::start();
    let store = store(&server, 2).changes(2);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    for number in 1..=6 {
        job.go();
        assert_eq!(job.save(&mut writer).unwrap(), number);
    }
    // A full one, two of changes, and again; two more are kept than changes may follow, which stand on both full ones.
    assert_eq!((store.numbers().unwrap(), data(&server)), (vec![3, 4, 5, 6], vec![1, 2, 3, 4, 5, 6]));
    let mut checkpoints = vec![store.checkpoint(5).unwrap(), newest(&store)];
    assert_eq!(writer.compact().unwrap().map(|saved| saved.number), Some(7));
    assert_eq!((store.numbers().unwrap(), data(&server)), (vec![4, 5, 6, 7], vec![4, 5, 6, 7]));
    checkpoints.push(newest(&store));
    // The kernel goes on as if nothing had been compacted.
    for number in 8..=10 {
        job.go();
        assert_eq!(job.save(&mut writer).unwrap(), number);
        checkpoints.push(newest(&store));
    }
    assert_eq!((store.numbers().unwrap(), data(&server)), (vec![7, 8, 9, 10], vec![7, 8, 9, 10]));

    let chains = checkpoints.iter().map(|checkpoint| (checkpoint.number, checkpoint.snapshots(0).len()));
    assert_eq!(chains.collect::<Vec<_>>(), [(5, 2), (6, 3), (7, 1), (8, 2), (9, 3), (10, 1)]);
    for checkpoint in &checkpoints {
        assert_eq!(Job::resumed(checkpoint).finish(), undisturbed(), "{}", checkpoint.number);
    }
}

#[test]
fn a_large_snapshot_is_written_in_parts() {
    let server = Server::start();
    let store = store(&server, 2);
    let fresh = || -> Windowing<String, (), Count> {
        Config::tumbling(TimeDelta::seconds(1)).ascending().build(Count).unwrap()
    };
    let mut kernel = fresh();
    let input = kernel.add_partition();
    for number in 0..70 {
        let key = format!("{number}{}", "x".repeat(1 << 20));
        let _ = kernel.push(input, Timestamp::from_micros(0), key, ()).unwrap();
    }
    let state = || State { kernels: vec![kernel.snapshot()], ..State::default() };
    let mut writer = store.begin().unwrap();
    // A part is not taken, however often it is tried: nothing is left of the others.
    server.plan("PUT", "/data/", TRIES, Fault::Refused(503));
    assert!(writer.save(state()).unwrap_err().is_storage());
    assert_eq!((server.heal(), data(&server)), (0, vec![]));
    // One whose answer is lost is written again.
    server.plan("PUT", "/data/", 1, Fault::Done(500));
    assert_eq!(writer.save(state()).unwrap().number, 1);
    assert_eq!((server.heal(), data(&server).len()), (0, 1));
    let mut restored = fresh().restore_chain(&newest(&store).chain(0).unwrap()).unwrap();
    restored.finish();
    assert_eq!(restored.drain(usize::MAX, |pane| assert_eq!(pane.value, 1)), 70);
}

#[test]
fn of_two_writers_that_resume_from_the_same_checkpoint_the_second_to_store_is_told() {
    let server = Server::start();
    let store = store(&server, 2);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    job.go();
    job.save(&mut writer).unwrap();

    let [mut one, mut other] = [(); 2].map(|()| {
        let Resumed { writer, checkpoint, .. } = store.resume().unwrap();
        (Job::resumed(&checkpoint.unwrap()), writer)
    });
    one.0.go();
    assert_eq!(one.0.save(&mut one.1).unwrap(), 2);
    for _ in 0..2 {
        other.0.go();
        let error = other.0.save(&mut other.1).unwrap_err();
        assert!(error.is_conflict() && !error.is_storage(), "{error}");
        // What it has written is gone.
        assert_eq!((store.numbers().unwrap(), data(&server)), (vec![1, 2], vec![1, 2]));
    }
    assert_eq!(newest(&store).source, one.0.read.to_le_bytes());
    assert_eq!(Job::resumed(&newest(&store)).finish(), undisturbed());
}

#[test]
fn a_writer_that_has_slept_until_its_number_was_free_again_is_told() {
    let server = Server::start();
    let store = store(&server, 2);
    let (mut first, mut fresh) = (store.begin().unwrap(), store.begin().unwrap());
    assert_eq!(save(&mut first, "1").unwrap(), 1);
    let Resumed { writer: mut resumed, .. } = store.resume().unwrap();
    for number in 2..7 {
        assert_eq!(save(&mut first, "more").unwrap(), number);
    }
    assert_eq!(store.numbers().unwrap(), [5, 6]);
    for sleeper in [&mut fresh, &mut resumed] {
        for _ in 0..2 {
            assert!(save(sleeper, "another").unwrap_err().is_conflict());
            assert_eq!(store.numbers().unwrap(), [5, 6]);
        }
    }
    assert_eq!(newest(&store).source, b"more");
    assert_eq!(save(&mut first, "the last").unwrap(), 7);
}

/// Has four writers resume and save, again and again, and counts for each number who was told to have stored it.
fn race(server: &Server, keep: usize) -> BTreeMap<u64, usize> {
    let won = Mutex::new(BTreeMap::<u64, usize>::new());
    let run = || {
        let store = store(server, keep);
        for _ in 0..25 {
            let Resumed { mut writer, damaged, .. } = store.resume().unwrap();
            assert_eq!(damaged, []);
            match Job::new().save(&mut writer) {
                Ok(number) => *won.lock().unwrap().entry(number).or_default() += 1,
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(run)));
    won.into_inner().unwrap()
}

#[test]
fn in_a_race_no_number_is_won_twice() {
    let server = Server::start();
    let won = race(&server, 1);
    assert!(won.len() > 10 && won.values().all(|&wins| wins == 1), "{won:?}");
    assert_eq!(store(&server, 1).numbers().unwrap().last(), won.keys().last());
}

#[test]
fn in_a_race_in_which_nothing_is_deleted_each_number_is_won_once() {
    let server = Server::start();
    let won = race(&server, 100);
    let numbers = store(&server, 100).numbers().unwrap();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(won, numbers.into_iter().map(|number| (number, 1)).collect());
}

#[test]
fn who_is_gone_on_from_before_it_knows_that_it_has_stored_has_stored() {
    let server = Server::start();
    let store = store(&server, 3);
    let mut first = store.begin().unwrap();
    server.plan("PUT", "/checkpoints/", 1, Fault::Held);
    let saved = thread::scope(|scope| {
        let saving = scope.spawn(|| save(&mut first, "first"));
        server.wait_until_held();
        let Resumed { mut writer, checkpoint, .. } = store.resume().unwrap();
        assert_eq!(checkpoint.unwrap().source, b"first");
        assert_eq!(save(&mut writer, "second").unwrap(), 2);
        server.release();
        saving.join().unwrap()
    });
    assert_eq!(saved.unwrap(), 1);
    assert!(save(&mut first, "third").unwrap_err().is_conflict());
    assert_eq!(store.numbers().unwrap(), [1, 2]);
}

#[test]
fn who_reads_a_checkpoint_while_it_is_deleted_gets_the_one_after_it() {
    let server = Server::start();
    let store = store(&server, 1);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    job.save(&mut writer).unwrap();
    server.plan("GET", "/checkpoints/", 1, Fault::Held);
    let read = thread::scope(|scope| {
        let reading = scope.spawn(|| newest(&store));
        server.wait_until_held();
        assert_eq!(job.save(&mut writer).unwrap(), 2);
        assert_eq!((store.numbers().unwrap(), data(&server)), (vec![2], vec![2]));
        server.release();
        reading.join().unwrap()
    });
    assert_eq!(read.number, 2);
}

#[test]
fn a_write_whose_answer_is_lost_finds_itself() {
    let server = Server::start();
    let store = store(&server, 3).changes(5);
    let (mut job, mut writer, mut expected) = (Job::new(), store.begin().unwrap(), 0);
    for fault in [Fault::Done(500), Fault::Done(503), Fault::Cut] {
        for (folder, times) in
            [("/data/", 1), ("/data/", TRIES - 1), ("/checkpoints/", 1), ("/checkpoints/", TRIES - 1)]
        {
            server.plan("PUT", folder, times, fault);
            job.go();
            expected += 1;
            assert_eq!(job.save(&mut writer).unwrap(), expected, "{fault:?} {folder}");
            assert_eq!(server.heal(), 0);
            let checkpoint = newest(&store);
            assert_eq!(checkpoint.number, expected);
            assert_eq!(Job::resumed(&checkpoint).read, job.read);
        }
    }
    assert_eq!(job.finish(), undisturbed());
}

#[test]
fn a_write_none_of_whose_answers_come_may_be_there_and_may_be_saved_after() {
    let server = Server::start();
    let store = store(&server, 2);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    job.go();
    job.save(&mut writer).unwrap();
    // It is done, and who resumes finds it.
    job.go();
    server.plan("PUT", "/checkpoints/", TRIES, Fault::Done(503));
    let error = job.save(&mut writer).unwrap_err();
    assert!(error.is_storage() && !error.is_conflict(), "{error}");
    assert_eq!((server.heal(), newest(&store).number), (0, 2));
    assert_eq!(Job::resumed(&newest(&store)).read, job.read);
    assert_eq!(job.save(&mut writer).unwrap(), 3);
    // It is not done, and its data is not left.
    server.plan("PUT", "/checkpoints/", TRIES, Fault::Refused(503));
    assert!(job.save(&mut writer).unwrap_err().is_storage());
    assert_eq!((server.heal(), newest(&store).number), (0, 3));
    // (That of 3 was written before it was known that there is a 2.)
    assert_eq!(data(&server), [2, 2, 4]);
    assert_eq!(job.save(&mut writer).unwrap(), 4);
    assert_eq!((store.numbers().unwrap(), data(&server)), (vec![3, 4], vec![2, 4]));
    assert_eq!(Job::resumed(&newest(&store)).finish(), undisturbed());
}

/// As S3 answers while another conditional write of the same object, or a delete, has not ended.
#[test]
fn that_something_else_is_under_way_does_not_mean_that_another_has_won() {
    let server = Server::start();
    let store = store(&server, 2);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    for (number, fault) in [(1, Fault::Refused(409)), (2, Fault::Done(409))] {
        job.go();
        server.plan("PUT", "/checkpoints/", 1, fault);
        assert_eq!((job.save(&mut writer).unwrap(), server.heal()), (number, 0), "{fault:?}");
        assert_eq!(newest(&store).number, number);
    }
    server.plan("PUT", "/checkpoints/", usize::MAX, Fault::Refused(409));
    let error = job.save(&mut writer).unwrap_err();
    assert!(error.is_storage() && !error.is_conflict(), "{error}");
    server.heal();
    assert_eq!(job.save(&mut writer).unwrap(), 3);
    assert_eq!(Job::resumed(&newest(&store)).finish(), undisturbed());
}

#[test]
fn a_server_that_dies_is_no_damage_and_nothing_is_lost_by_waiting() {
    let mut server = Server::start();
    let store = store(&server, 3).changes(2);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    for number in 1..=2 {
        job.go();
        assert_eq!(job.save(&mut writer).unwrap(), number);
    }
    server.stop();
    job.go();
    let error = job.save(&mut writer).unwrap_err();
    assert!(error.is_storage() && error.to_string().contains("cannot write data/0000"), "{error}");
    for error in [store.resume().unwrap_err(), store.numbers().unwrap_err(), store.begin().unwrap_err()] {
        assert!(error.is_storage() && !error.is_damaged() && !error.is_nothing(), "{error}");
    }
    server.start_again();
    assert_eq!(newest(&store).number, 2);
    job.go();
    assert_eq!(job.save(&mut writer).unwrap(), 3);
    assert_eq!(Job::resumed(&newest(&store)).finish(), undisturbed());
}

#[test]
fn what_cannot_be_read_is_no_damage_and_nothing_older_is_taken_instead() {
    let server = Server::start();
    let store = store(&server, 3);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    for _ in 0..2 {
        job.go();
        job.save(&mut writer).unwrap();
    }
    store.create_savepoint("s", &newest(&store)).unwrap();
    for status in [500, 503, 403] {
        for folder in ["/checkpoints/", "/data/"] {
            server.plan("GET", folder, TRIES, Fault::Refused(status));
            let error = store.resume().unwrap_err();
            assert!(error.is_storage() && !error.is_damaged(), "{status} {folder}: {error}");
        }
        server.plan("GET", "/savepoints/", TRIES, Fault::Refused(status));
        assert!(store.resume_from_savepoint("s").unwrap_err().is_storage());
    }
    server.heal();
    assert_eq!(newest(&store).number, 2);
    // One answer that is lost is asked for again.
    server.plan("", "", 1, Fault::Cut);
    assert_eq!((newest(&store).number, server.heal()), (2, 0));
}

#[test]
fn what_could_not_be_deleted_is_said_and_deleted_later() {
    let server = Server::start();
    let store = store(&server, 1);
    let mut writer = store.begin().unwrap();
    save(&mut writer, "1").unwrap();
    server.plan("", "", usize::MAX, Fault::Refused(503));
    assert!(save(&mut writer, "2").unwrap_err().is_storage());
    // (A client deletes by a POST.)
    server.plan("POST", "", TRIES, Fault::Refused(503));
    let saved = writer.save(State::default()).unwrap();
    assert!(saved.undeleted.is_some_and(|error| error.is_storage()));
    assert_eq!((saved.number, server.heal(), store.numbers().unwrap()), (2, 0, vec![1, 2]));
    assert_eq!((save(&mut writer, "3").unwrap(), store.numbers().unwrap()), (3, vec![3]));
}

#[test]
fn savepoints_stay() {
    let server = Server::start();
    let store = store(&server, 1);
    let (mut job, mut writer) = (Job::new(), store.begin().unwrap());
    job.go();
    job.save(&mut writer).unwrap();
    let checkpoint = newest(&store);
    for (label, fault) in [("lost", Fault::Done(500)), ("cut", Fault::Cut)] {
        server.plan("PUT", "/savepoints/", 1, fault);
        store.create_savepoint(label, &checkpoint).unwrap();
        assert_eq!(server.heal(), 0);
    }
    job.go();
    job.save(&mut writer).unwrap();
    let taken = store.create_savepoint("cut", &newest(&store)).unwrap_err();
    assert!(taken.to_string().contains("there is a savepoint of this name"), "{taken}");
    assert_eq!((store.numbers().unwrap(), data(&server)), (vec![2], vec![2]));
    // That something else is under way does not mean that there is one.
    server.plan("PUT", "/savepoints/", usize::MAX, Fault::Refused(409));
    let unclear = store.create_savepoint("new", &newest(&store)).unwrap_err();
    assert!(unclear.is_storage(), "{unclear}");
    server.heal();
    let labels = || store.savepoints().unwrap().into_iter().map(|(label, _)| label).collect::<Vec<_>>();
    assert_eq!(labels(), ["cut", "lost"]);
    store.delete_savepoint("lost").unwrap();
    assert_eq!(labels(), ["cut"]);
    assert!(store.delete_savepoint("lost").unwrap_err().is_nothing());
    assert!(store.resume_from_savepoint("lost").unwrap_err().is_nothing());

    let Resumed { mut writer, checkpoint, .. } = store.resume_from_savepoint("cut").unwrap();
    let mut job = Job::resumed(&checkpoint.unwrap());
    assert_eq!((job.read, newest(&store).number), (20, 3));
    assert_eq!(job.save(&mut writer).unwrap(), 4);
    assert_eq!(Job::resumed(&newest(&store)).finish(), undisturbed());
}

#[test]
fn a_store_may_be_used_and_dropped_within_a_runtime() {
    let server = Server::start();
    for mut kind in [runtime::Builder::new_multi_thread(), runtime::Builder::new_current_thread()] {
        let runtime = kind.enable_all().build().unwrap();
        let source = runtime.block_on(async {
            let store = store(&server, 1);
            save(&mut store.resume().unwrap().writer, "within").unwrap();
            newest(&store).source
        });
        assert_eq!(source, b"within");
    }
}

#[test]
fn a_url_that_is_none_is_said_to_be() {
    for url in ["http://x", "http://x/y", "s3://", "s3:///prefix", "bucket", ""] {
        let error = Store::s3(url).unwrap_err();
        assert!(error.to_string().contains("is not of the form s3://BUCKET/PREFIX"), "{error}");
    }
}

/// A command that finds the server by its environment.
fn knowing(server: &Server, mut command: Command) -> Command {
    command.env("AWS_ENDPOINT", server.endpoint()).env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_REGION", "us-east-1");
    command
}

/// The environment is that of a process, so another process has it: this same test.
#[test]
fn a_store_is_opened_as_the_environment_says() {
    const CHILD: &str = "FLOODMARK_S3_TESTS_CHILD";
    if let Some(place) = env::var_os(CHILD) {
        let store = Store::s3(place.to_str().unwrap()).unwrap();
        save(&mut store.begin().unwrap(), "by a child").unwrap();
        return;
    }
    let server = Server::start();
    for (place, prefix) in [("s3://bucket/a/job", "a/job/"), ("s3://bucket/b/", "b/"), ("s3://bucket", "")] {
        let mut child = knowing(&server, Command::new(env::current_exe().unwrap()));
        child.args(["--exact", "a_store_is_opened_as_the_environment_says", "--nocapture"]);
        let Output { status, stdout, stderr } = child.env(CHILD, place).output().unwrap();
        let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(status.success() && said[0].contains("1 passed"), "{said:?}");
        assert_eq!(server.names(&format!("{prefix}checkpoints")).len(), 1, "{place}");
        let store = Store::over(Arc::new(server.client()), prefix).unwrap();
        assert_eq!(newest(&store).source, b"by a child", "{place}");
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
    let floodmark =
        |args: &[&str]| -> Output { knowing(&server, Command::new(&binary)).args(args).output().unwrap() };
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
