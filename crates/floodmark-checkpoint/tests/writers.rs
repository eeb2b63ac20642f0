//! Two writers for one place: one wins, and the other one is told.

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{Faulty, Job};
use floodmark_checkpoint::{Background, Resumed, State, Store, Writer};

fn keep(store: Store, checkpoints: usize) -> Store {
    store.keep(NonZeroUsize::new(checkpoints).unwrap())
}

fn source(writer: &mut Writer, source: &[u8]) -> Result<u64, floodmark_checkpoint::Error> {
    let state = State { source: source.to_vec(), ..State::default() };
    writer.save(state).map(|saved| saved.number)
}

fn both(test: impl Fn(Store)) {
    test(Store::memory());
    let folder = tempfile::tempdir().unwrap();
    test(Store::folder(folder.path()).unwrap());
}

#[test]
fn of_two_that_resume_from_the_same_checkpoint_the_first_to_store_wins() {
    both(|store| {
        let mut first = store.begin().unwrap();
        source(&mut first, b"1").unwrap();
        let Resumed { writer: mut second, checkpoint, .. } = store.resume().unwrap();
        assert_eq!(checkpoint.unwrap().source, b"1");
        assert_eq!(source(&mut second, b"2 of the second").unwrap(), 2);
        for _ in 0..3 {
            let error = source(&mut first, b"2 of the first").unwrap_err();
            assert!(error.is_conflict(), "{error}");
            assert!(error.to_string().contains("has stored checkpoint 2"), "{error}");
        }
        assert_eq!(source(&mut second, b"3").unwrap(), 3);
        assert_eq!(store.resume().unwrap().checkpoint.unwrap().source, b"3");
    });
}

#[test]
fn one_that_has_slept_until_its_number_is_free_again_is_told_so() {
    both(|store| {
        let store = keep(store, 2);
        let mut sleeper = store.begin().unwrap();
        source(&mut sleeper, b"1").unwrap();
        let mut other = store.resume().unwrap().writer;
        for _ in 0..8 {
            source(&mut other, b"other").unwrap();
        }
        assert_eq!(store.numbers().unwrap(), [8, 9]);
        for _ in 0..3 {
            let error = source(&mut sleeper, b"stale").unwrap_err();
            assert!(error.is_conflict(), "{error}");
            assert!(error.to_string().contains("has stored checkpoint 8"), "{error}");
            assert_eq!(store.numbers().unwrap(), [8, 9]);
        }
        assert_eq!(store.resume().unwrap().checkpoint.unwrap().source, b"other");
    });
}

#[test]
fn who_has_lost_to_a_checkpoint_that_is_damaged_since_has_lost_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::folder(folder.path()).unwrap();
    let (mut one, mut other) = (store.begin().unwrap(), store.begin().unwrap());
    source(&mut one, b"1").unwrap();
    std::fs::write(folder.path().join("checkpoints/00000000000000000001"), "rot").unwrap();
    for _ in 0..3 {
        assert!(source(&mut other, b"1").unwrap_err().is_conflict());
    }
    assert_eq!(store.numbers().unwrap(), [1]);
}

#[test]
fn who_has_lost_leaves_no_data_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = keep(Store::folder(folder.path()).unwrap(), 1);
    let (mut one, mut other) = (store.begin().unwrap(), store.begin().unwrap());
    let mut job = Job::new();
    job.go();
    let _ = job.save(&mut one).unwrap();
    assert!(job.save(&mut other).unwrap_err().is_conflict());
    assert_eq!(std::fs::read_dir(folder.path().join("data")).unwrap().count(), 1);
}

#[test]
fn in_a_race_no_number_is_won_twice_and_whoever_reads_finds_something_whole() {
    both(|store| {
        let store = keep(store, 2);
        let won = Mutex::new(BTreeMap::<u64, Vec<usize>>::new());
        thread::scope(|scope| {
            for me in 0..4_usize {
                let (store, won) = (store.clone(), &won);
                scope.spawn(move || {
                    let mut job = Job::new();
                    job.go();
                    for _ in 0..40 {
                        let Resumed { mut writer, checkpoint, damaged } = store.resume().unwrap();
                        assert!(damaged.is_empty(), "{damaged:?}");
                        assert!(checkpoint.is_none_or(|checkpoint| checkpoint.kernels() == 1));
                        // Two in a row, so that one may overtake another in between.
                        for _ in 0..2 {
                            match job.save(&mut writer) {
                                Ok(saved) => won.lock().unwrap().entry(saved.number).or_default().push(me),
                                Err(error) if error.is_conflict() => break,
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                });
            }
        });
        let won = won.into_inner().unwrap();
        assert!(won.values().all(|winners| winners.len() == 1), "{won:?}");
        // (Who is overtaken so far that its checkpoint is deleted before it has looked is told that it has lost.)
        let newest = *won.last_key_value().unwrap().0;
        assert!(won.len() > 40 && won.len() as u64 * 10 >= newest * 9, "{} of {newest}", won.len());
        assert_eq!(store.numbers().unwrap(), [newest - 1, newest]);
    });
}

#[test]
fn who_is_gone_on_from_before_it_has_looked_has_won_and_whose_number_was_free_again_has_lost() {
    for (saves, wins) in [(1, true), (2, true), (3, false)] {
        let objects = Faulty::new();
        let store = keep(Store::over(Arc::new(objects.clone()), "").unwrap(), 2);
        let mut writer = store.begin().unwrap();
        source(&mut writer, b"1").unwrap();
        let others = store.clone();
        // After the manifest, before the list.
        objects.meanwhile(1, move || {
            let Resumed { mut writer, checkpoint, .. } = others.resume().unwrap();
            assert_eq!(checkpoint.unwrap().source, b"2");
            (0..saves).for_each(|_| _ = source(&mut writer, b"others").unwrap());
        });
        match source(&mut writer, b"2") {
            Ok(number) => assert!(wins && number == 2),
            Err(error) => assert!(!wins && error.is_conflict(), "{saves}: {error}"),
        }
        let newest = 2 + saves;
        assert_eq!(store.numbers().unwrap(), [newest - 1, newest]);
        assert!(source(&mut writer, b"3").unwrap_err().is_conflict());
    }
}

#[test]
fn a_place_never_looks_empty_while_a_writer_is_at_work() {
    let folder = tempfile::tempdir().unwrap();
    let store = keep(Store::folder(folder.path()).unwrap(), 1);
    let mut writer = store.begin().unwrap();
    source(&mut writer, b"first").unwrap();
    thread::scope(|scope| {
        let working = scope.spawn(|| (0..400).for_each(|_| _ = source(&mut writer, b"more").unwrap()));
        while !working.is_finished() {
            assert!(store.newest().unwrap().0.is_some());
            assert!(store.begin().unwrap_err().is_not_empty());
        }
    });
}

#[test]
fn on_a_thread_of_its_own_it_saves_while_the_job_goes_on() {
    let objects = Faulty::new();
    let store = Store::over(Arc::new(objects.clone()), "").unwrap().changes(3);
    let mut saving = Background::new(store.begin().unwrap()).unwrap();
    let mut job = Job::new();
    for number in 1..=8 {
        job.go();
        let state = job.state(saving.since(0));
        // The storage does not answer before the job has gone on.
        let (answer, waits) = mpsc::channel::<()>();
        objects.meanwhile(1, move || waits.recv().unwrap());
        saving.save(state).unwrap();
        let refused = saving.save(State::default()).unwrap_err();
        assert!(refused.to_string().contains("another checkpoint is being saved"), "{refused}");
        job.step();
        assert!(!saving.is_idle() && saving.poll().is_none());
        assert!(saving.wait_for(Duration::from_millis(1)).is_none());
        answer.send(()).unwrap();
        assert_eq!(saving.wait().unwrap().unwrap().number, number);
        assert!(saving.is_idle() && saving.poll().is_none() && saving.wait().is_none());
    }
    let length = |number| store.checkpoint(number).unwrap().snapshots(0).len();
    assert_eq!([5, 6, 7, 8].map(length), [1, 2, 3, 4], "changes follow each other");
    let state = job.state(saving.since(0));
    saving.save(state).unwrap();
    let mut writer = saving.into_writer().unwrap();
    assert_eq!(job.save(&mut writer).unwrap().number, 10);
}
