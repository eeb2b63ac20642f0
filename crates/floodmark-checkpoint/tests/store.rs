//! What is read of what was stored: retention, damage, compaction, savepoints.

mod common;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use common::{Job, undisturbed};
use floodmark_checkpoint::{Checkpoint, Resumed, Saved, State, Store, Writer};

/// A folder with the checkpoints of a job, and the job.
struct Place {
    folder: tempfile::TempDir,
    store: Store,
    job: Job,
    writer: Writer,
}

fn place(keep: usize, changes: usize) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::folder(folder.path()).unwrap().keep(NonZeroUsize::new(keep).unwrap()).changes(changes);
    let writer = store.begin().unwrap();
    Place { folder, store, job: Job::new(), writer }
}

impl Place {
    fn save(&mut self) -> u64 {
        self.job.go();
        let Saved { number, undeleted } = self.job.save(&mut self.writer).unwrap();
        assert!(undeleted.is_none(), "{undeleted:?}");
        number
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names in a folder, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Goes on to the end from a checkpoint, with what was written until then.
fn completes(checkpoint: &Checkpoint) {
    let all = undisturbed();
    let length = u64::from_le_bytes(checkpoint.sink.as_slice().try_into().unwrap()) as usize;
    let mut job = Job::resumed(checkpoint, all[..length].to_vec());
    while !job.is_at_end() {
        job.go();
    }
    assert_eq!(job.finish(), all);
}

#[test]
fn the_last_checkpoints_are_kept_and_nothing_else() {
    let mut place = place(2, 1);
    let of = |names: &[String]| names.iter().map(|name| name[18..20].to_owned()).collect::<Vec<_>>();
    // Two stand on each full snapshot, and one more than that is kept, so that one stands on another.
    for (data, kept) in [
        (&["01"][..], &["01"][..]),
        (&["01", "02"], &["01", "02"]),
        (&["01", "02", "03"], &["01", "02", "03"]),
        (&["01", "02", "03", "04"], &["02", "03", "04"]),
        (&["03", "04", "05"], &["03", "04", "05"]),
        (&["03", "04", "05", "06"], &["04", "05", "06"]),
    ] {
        place.save();
        assert_eq!(of(&place.names("data")), data);
        assert_eq!(of(&place.names("checkpoints")), kept);
    }
    completes(&place.store.checkpoint(4).unwrap());
    let checkpoint = place.store.resume().unwrap().checkpoint.unwrap();
    assert_eq!((checkpoint.number, checkpoint.snapshots(0).len()), (6, 2));
    completes(&checkpoint);
    assert!(place.store.checkpoint(3).unwrap_err().is_nothing());
}

#[test]
fn what_dead_processes_have_left_is_swept_and_what_is_none_of_ours_is_not() {
    let mut place = place(3, 0);
    place.save();
    let left = [
        "data/00000000000000000002-0000000000000007-1-0",
        "data/00000000000000000001-0000000000000007-1-0#1",
        "checkpoints/00000000000000000002#3",
    ];
    // Of a number that is to come, somebody else may be writing it.
    let others = [
        "data/00000000000000000003-0000000000000007-1-0",
        "data/00000000000000000003-0000000000000007-1-0#1",
        "checkpoints/00000000000000000003#1",
        "data/notes.txt",
        "checkpoints/README",
        "own",
    ];
    for name in left.iter().chain(&others) {
        fs::write(place.path(name), "x").unwrap();
    }
    let Resumed { writer, checkpoint, damaged } = place.store.resume().unwrap();
    assert!(damaged.is_empty());
    place.writer = writer;
    completes(&checkpoint.unwrap());
    assert_eq!(place.save(), 2);
    assert!(left.iter().all(|name| !place.path(name).exists()), "{:?}", place.names("data"));
    assert!(others.iter().all(|name| place.path(name).exists()));
}

#[test]
fn a_flipped_bit_or_a_missing_end_anywhere_falls_back_to_the_checkpoint_before_and_says_so() {
    let mut place = place(3, 0);
    for _ in 0..3 {
        place.save();
    }
    let newest = [place.path("checkpoints/00000000000000000003"), data_of(&place, 3)];
    for path in newest {
        let bytes = fs::read(&path).unwrap();
        let cuts = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        let flips = (0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        });
        for damaged in cuts.chain(flips).chain([[&bytes[..], b"x"].concat()]) {
            fs::write(&path, damaged).unwrap();
            let resumed = place.store.resume().unwrap();
            assert_eq!(resumed.checkpoint.unwrap().number, 2);
            assert_eq!(resumed.damaged.len(), 1);
            assert_eq!(resumed.damaged[0].name, "checkpoints/00000000000000000003");
        }
        fs::remove_file(&path).unwrap();
        let resumed = place.store.resume().unwrap();
        assert_eq!(resumed.checkpoint.unwrap().number, 2);
        fs::write(&path, bytes).unwrap();
        assert_eq!(place.store.resume().unwrap().checkpoint.unwrap().number, 3);
    }
}

/// What a checksum would hide: bytes that somebody has made up.
#[test]
fn whatever_a_sound_frame_holds_it_is_read_or_refused() {
    let mut place = place(3, 2);
    (0..3).for_each(|_| _ = place.save());
    let path = place.path("checkpoints/00000000000000000003");
    let manifest = fs::read(&path).unwrap();
    let (mut read, mut refused) = (0, 0);
    for bit in 22 * 8..manifest.len() * 8 {
        let mut bytes = manifest.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let checksum = crc32fast::hash(&[&bytes[..18], &bytes[22..]].concat());
        bytes[18..22].copy_from_slice(&checksum.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let resumed = place.store.resume().unwrap();
        let number = resumed.checkpoint.unwrap().number;
        assert_eq!((number, resumed.damaged.len()), if number == 3 { (3, 0) } else { (2, 1) });
        *(if number == 3 { &mut read } else { &mut refused }) += 1;
    }
    // Not all is of consequence to whether it can be read: when it was taken, what the host has said.
    assert!(read > 100 && refused > 500, "{read} read, {refused} refused");
}

fn data_of(place: &Place, number: u64) -> PathBuf {
    let start = format!("{number:020}-");
    let names = place.names("data");
    place.path("data").join(names.iter().find(|name| name.starts_with(&start)).unwrap())
}

#[test]
fn who_falls_back_goes_on_with_a_new_number_and_the_damaged_one_goes_in_its_time() {
    let mut place = place(2, 0);
    for _ in 0..3 {
        place.save();
    }
    fs::write(data_of(&place, 3), "rot").unwrap();
    let Resumed { writer, checkpoint, damaged } = place.store.resume().unwrap();
    let checkpoint = checkpoint.unwrap();
    assert_eq!(checkpoint.number, 2);
    assert!(damaged[0].to_string().contains("has 3 bytes and should have"), "{}", damaged[0]);
    (place.writer, place.job) = (writer, Job::resumed(&checkpoint, undisturbed().to_vec()));
    assert_eq!(place.save(), 4);
    // It does not count: there are two that are intact.
    assert_eq!(place.store.numbers().unwrap(), [2, 3, 4]);
    place.save();
    assert_eq!(place.store.numbers().unwrap(), [4, 5]);
    assert_eq!(place.names("data").len(), 2);
}

#[test]
fn where_nothing_is_intact_it_is_an_error_and_no_beginning() {
    let mut place = place(2, 2);
    for _ in 0..3 {
        place.save();
    }
    fs::remove_file(data_of(&place, 1)).unwrap();
    let error = place.store.resume().unwrap_err();
    assert!(error.is_damaged(), "{error}");
    let said = error.to_string();
    for what in ["checkpoints/00000000000000000003 is damaged", "00000000000000000002", "is not there"] {
        assert!(said.contains(what), "{said}");
    }
    assert!(place.store.begin().unwrap_err().is_not_empty());
}

#[test]
fn a_checkpoint_of_a_later_release_is_refused_rather_than_passed_over() {
    let mut place = place(3, 0);
    place.save();
    place.save();
    let path = place.path("checkpoints/00000000000000000002");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    let checksum = crc32fast::hash(&[&bytes[..18], &bytes[22..]].concat());
    bytes[18..22].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let error = place.store.resume().unwrap_err();
    assert!(error.is_version(), "{error}");
    assert!(error.to_string().contains("is of version 9"), "{error}");
}

#[test]
fn a_manifest_under_another_name_is_damage() {
    let mut place = place(3, 0);
    place.save();
    let path = |number: u64| place.path(&format!("checkpoints/{number:020}"));
    fs::copy(path(1), path(5)).unwrap();
    let Resumed { checkpoint, damaged, .. } = place.store.resume().unwrap();
    assert_eq!(checkpoint.unwrap().number, 1);
    assert!(damaged[0].why.contains("it is that of checkpoint 1"), "{}", damaged[0]);
    let manifest = fs::read(path(1)).unwrap();
    let error = Checkpoint::of_savepoint(&manifest).unwrap_err();
    assert!(error.to_string().contains("and no savepoint"), "{error}");
}

#[test]
fn a_number_that_none_can_follow_is_an_error() {
    let mut place = place(1, 0);
    place.save();
    fs::write(place.path("checkpoints/09223372036854775807"), "junk").unwrap();
    let error = place.store.resume().unwrap_err();
    assert!(error.to_string().contains("checkpoints/09223372036854775807: remove it"), "{error}");
    assert_eq!(place.store.newest().unwrap().0.unwrap().number, 1);
}

#[test]
fn a_chain_is_compacted_with_and_without_a_writer() {
    let mut place = place(1, 9);
    for _ in 0..4 {
        place.save();
    }
    let before = place.store.checkpoint(4).unwrap();
    assert_eq!(before.snapshots(0).len(), 4);
    let saved = place.writer.compact().unwrap().unwrap();
    assert_eq!(saved.number, 5);
    let after = place.store.checkpoint(5).unwrap();
    assert_eq!((after.snapshots(0).len(), &after.source, &after.sink), (1, &before.source, &before.sink));
    completes(&after);
    assert!(place.writer.compact().unwrap().is_none(), "it is short already");
    // The kernel has not been told, and goes on with what has changed.
    assert_eq!(place.save(), 6);
    let changed = place.store.checkpoint(6).unwrap();
    assert_eq!(changed.snapshots(0).len(), 2);
    completes(&changed);

    assert_eq!(place.store.compact().unwrap().unwrap().number, 7);
    assert!(place.store.compact().unwrap().is_none());
    completes(&place.store.checkpoint(7).unwrap());
    assert_eq!(place.store.numbers().unwrap(), [1, 2, 3, 4, 5, 6, 7]);
    // The writer that was at work has lost.
    place.job.go();
    assert!(place.job.save(&mut place.writer).unwrap_err().is_conflict());
    // One that has resumed compacts what it has found.
    let Resumed { writer, checkpoint, .. } = place.store.resume().unwrap();
    (place.writer, place.job) = (writer, Job::resumed(&checkpoint.unwrap(), undisturbed().to_vec()));
    (0..2).for_each(|_| _ = place.save());
    assert_eq!(place.store.resume().unwrap().writer.compact().unwrap().unwrap().number, 10);
    // What is damaged is not passed over by who only compacts.
    fs::write(place.path("checkpoints/00000000000000000010"), "").unwrap();
    assert!(place.store.compact().unwrap_err().is_damaged());
}

#[test]
fn a_snapshot_that_does_not_follow_is_refused_and_nothing_is_stored() {
    let mut place = place(3, 9);
    place.save();
    let since = place.writer.since(0);
    place.job.go();
    let skipped = place.job.state(since);
    place.job.go();
    let state = place.job.state(Some(floodmark::snapshot::Link::read(&skipped.kernels[0]).unwrap().id));
    let error = place.writer.save(state).unwrap_err();
    assert!(error.to_string().contains("holds the changes since another"), "{error}");
    let damaged = State { kernels: vec![b"nonsense".to_vec()], ..State::default() };
    assert!(place.writer.save(damaged).unwrap_err().to_string().contains("snapshot of kernel 0"));
    assert_eq!((place.store.numbers().unwrap(), place.names("data").len()), (vec![1], 1));
    // A full one always follows.
    assert_eq!(place.save(), 2);
}

#[test]
fn several_kernels_have_a_chain_each() {
    let store = Store::memory().changes(5);
    let mut writer = store.begin().unwrap();
    let mut jobs = [Job::new(), Job::new(), Job::new()];
    for round in 0..3 {
        let mut state = State::default();
        for (kernel, job) in jobs.iter_mut().enumerate() {
            (0..=kernel + round).for_each(|_| job.step());
            // One of them begins anew each time.
            let since = writer.since(kernel).filter(|_| kernel != 1);
            let of_one = job.state(since);
            state.kernels.extend(of_one.kernels);
            state.source.extend(of_one.source);
        }
        let _ = writer.save(state).unwrap();
    }
    let checkpoint = store.resume().unwrap().checkpoint.unwrap();
    let lengths: Vec<usize> = (0..4).map(|kernel| checkpoint.snapshots(kernel).len()).collect();
    assert_eq!((checkpoint.kernels(), lengths), (3, vec![3, 1, 3, 0]));
    assert!(checkpoint.chain(3).is_err());
    for (kernel, job) in jobs.iter_mut().enumerate() {
        let now = job.state(None);
        let compacted = checkpoint.chain(kernel).unwrap().compact();
        let summary = |bytes: &[u8]| {
            let chain = floodmark::snapshot::Chain::read(&[bytes]).unwrap();
            (chain.summary().unwrap().to_string(), chain.slices().collect::<Vec<_>>())
        };
        let ((_, slices), (_, expected)) = (summary(&compacted), summary(&now.kernels[0]));
        assert_eq!(slices, expected, "kernel {kernel}");
    }
}

#[test]
fn who_resumes_goes_on_with_changes() {
    let mut place = place(2, 3);
    (0..2).for_each(|_| _ = place.save());
    let Resumed { writer, checkpoint, .. } = place.store.resume().unwrap();
    (place.writer, place.job) = (writer, Job::resumed(&checkpoint.unwrap(), undisturbed().to_vec()));
    let lengths = (0..3).map(|_| {
        let number = place.save();
        let checkpoint = place.store.checkpoint(number).unwrap();
        completes(&checkpoint);
        checkpoint.snapshots(0).len()
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [3, 4, 1]);
}

#[cfg(feature = "lz4")]
#[test]
fn compressed_and_plain_snapshots_follow_each_other() {
    let mut plain = place(2, 9);
    plain.save();
    let first = plain.store.checkpoint(1).unwrap().snapshots(0)[0].len();
    let Place { folder, store, mut job, .. } = plain;
    let store = store.compressed();
    let Resumed { mut writer, .. } = store.resume().unwrap();
    let sizes: Vec<usize> = (0..2)
        .map(|_| {
            job.go();
            let state = job.state(writer.since(0));
            let length = state.kernels[0].len();
            let _ = writer.save(state).unwrap();
            length
        })
        .collect();
    let checkpoint = store.resume().unwrap().checkpoint.unwrap();
    completes(&checkpoint);
    assert_eq!(
        checkpoint.snapshots(0).iter().map(|snapshot| snapshot.len()).collect::<Vec<_>>(),
        [first, sizes[0], sizes[1]]
    );
    let stored = |number: u64| {
        let entries = fs::read_dir(folder.path().join("data")).unwrap().map(Result::unwrap);
        let of =
            |entry: &fs::DirEntry| entry.file_name().to_str().unwrap().starts_with(&format!("{number:020}"));
        entries.filter(of).map(|entry| entry.metadata().unwrap().len()).sum::<u64>()
    };
    assert!(stored(2) < sizes[0] as u64 && stored(3) < sizes[1] as u64, "{} of {sizes:?}", stored(2));
    store.create_savepoint("s", &checkpoint).unwrap();
    let compacted = checkpoint.chain(0).unwrap().compact();
    assert_eq!(store.savepoint("s").unwrap().snapshots(0), [compacted.as_slice()]);
}

#[test]
fn savepoints_stay_need_nothing_else_and_are_resumed_from() {
    let mut place = place(1, 9);
    place.save();
    place.save();
    let of = place.store.resume().unwrap().checkpoint.unwrap();
    place.store.create_savepoint("before-the-move.1", &of).unwrap();
    let taken = place.store.create_savepoint("before-the-move.1", &of).unwrap_err();
    assert!(taken.to_string().contains("there is a savepoint of this name"), "{taken}");
    for _ in 0..3 {
        place.save();
    }
    let listed = place.store.savepoints().unwrap();
    let bytes = fs::read(place.path("savepoints/before-the-move.1")).unwrap();
    assert_eq!(listed, [(String::from("before-the-move.1"), bytes.len() as u64)]);

    let Resumed { mut writer, checkpoint, damaged } =
        place.store.resume_from_savepoint("before-the-move.1").unwrap();
    let savepoint = checkpoint.unwrap();
    // It is stored as the newest one first.
    assert_eq!((savepoint.number, savepoint.label.as_deref()), (6, Some("before-the-move.1")));
    assert_eq!(place.store.newest().unwrap().0.unwrap().source, of.source);
    assert_eq!((&savepoint.source, &savepoint.sink, damaged.len()), (&of.source, &of.sink, 0));
    completes(&savepoint);
    // Copied out, it is the same, and another place can begin with it.
    let copy = Checkpoint::of_savepoint(&bytes).unwrap();
    assert_eq!((&copy, copy.number), (&place.store.savepoint("before-the-move.1").unwrap(), 2));
    let elsewhere = Store::memory();
    assert_eq!(elsewhere.resume_from(copy).unwrap().checkpoint.unwrap().number, 1);
    completes(&elsewhere.newest().unwrap().0.unwrap());
    // What goes on from it is newer than what was there.
    let mut job = Job::resumed(&savepoint, undisturbed().to_vec());
    job.go();
    assert_eq!(job.save(&mut writer).unwrap().number, 7);
    assert_eq!(place.store.resume().unwrap().checkpoint.unwrap().source, job.read.to_le_bytes());

    place.store.delete_savepoint("before-the-move.1").unwrap();
    assert!(place.store.savepoints().unwrap().is_empty());
    assert!(place.store.delete_savepoint("before-the-move.1").unwrap_err().is_nothing());
    assert!(place.store.resume_from_savepoint("before-the-move.1").unwrap_err().is_nothing());
}

#[test]
fn a_damaged_savepoint_is_an_error_at_every_bit() {
    let mut place = place(1, 0);
    place.save();
    place.store.create_savepoint("s", &place.store.checkpoint(1).unwrap()).unwrap();
    let path = place.path("savepoints/s");
    let bytes = fs::read(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Checkpoint::of_savepoint(&flipped).unwrap_err().is_damaged(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Checkpoint::of_savepoint(&bytes[..length]).unwrap_err().is_damaged(), "cut to {length}");
    }
    fs::write(&path, &bytes[..9]).unwrap();
    assert!(place.store.resume_from_savepoint("s").unwrap_err().is_damaged());
}

#[test]
fn labels_are_plain() {
    let mut place = place(1, 0);
    place.save();
    let of = place.store.checkpoint(1).unwrap();
    for label in ["", ".", "..", ".hidden", "a/b", "a b", "ä", "a#1", &"x".repeat(101)] {
        let error = place.store.create_savepoint(label, &of).unwrap_err();
        assert!(error.to_string().contains("cannot be the label"), "{label}: {error}");
    }
    assert_eq!(place.names("savepoints"), [""; 0]);
    place.store.create_savepoint(&"x".repeat(100), &of).unwrap();
}

#[test]
fn a_place_that_cannot_be_made_is_said_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::folder(file.path().join("below")).unwrap_err();
    assert!(error.is_storage() && error.to_string().contains("below"), "{error}");
    let missing = tempfile::tempdir().unwrap();
    let store = Store::folder(missing.path().join("a/b")).unwrap();
    assert!(store.resume().unwrap().checkpoint.is_none() && Path::new(&missing.path().join("a/b")).is_dir());
}
