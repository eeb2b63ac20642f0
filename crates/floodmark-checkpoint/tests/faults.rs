//! Whatever fails, and wherever a write stops: nothing is lost, nothing is done twice, and what was stored stays.

mod common;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use common::{EVENTS, EVERY, Fault, Faulty, Job, Operation, undisturbed};
use floodmark_checkpoint::{Resumed, Store};

fn store(objects: &Faulty) -> Store {
    let keep = NonZeroUsize::new(2).unwrap();
    Store::over(Arc::new(objects.clone()), "a/job").unwrap().keep(keep).changes(1)
}

/// That there are no data but those that checkpoints need.
fn nothing_is_left_over(objects: &Faulty, context: &str) {
    let store = store(objects);
    let mut needed = BTreeSet::new();
    for number in store.numbers().unwrap() {
        let checkpoint = match store.checkpoint(number) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                assert!(error.is_damaged(), "{context}: {error}");
                continue;
            }
        };
        needed.extend(checkpoint.snapshots(0).into_iter().map(<[u8]>::to_vec));
    }
    let mut found = objects.contents("a/job/data");
    found.sort();
    found.dedup();
    assert_eq!(found, Vec::from_iter(needed), "{context}");
}

/// Runs until the end, or, where the fault is fatal, until the first error; then what is left of it.
struct Outcome {
    written: Vec<String>,
    /// The last checkpoint that was said to be stored, and how far that was.
    saved: Option<(u64, u64)>,
    is_complete: bool,
    /// The last one was stored, and all was deleted that is not needed.
    is_clean: bool,
}

fn run(objects: &Faulty, is_fatal: bool) -> Outcome {
    let mut outcome = Outcome { written: Vec::new(), saved: None, is_complete: false, is_clean: false };
    // What cannot even begin has done nothing.
    let Ok(mut writer) = store(objects).begin() else { return outcome };
    let mut job = Job::new();
    while !job.is_at_end() {
        job.go();
        let saved = job.save(&mut writer);
        outcome.is_clean = saved.as_ref().is_ok_and(|saved| saved.undeleted.is_none());
        match saved {
            Ok(saved) => outcome.saved = Some((saved.number, job.read)),
            Err(error) if is_fatal => {
                assert!(error.is_storage(), "{error}");
                outcome.written = job.written;
                return outcome;
            }
            Err(error) => assert!(error.is_storage(), "{error}"),
        }
    }
    outcome.is_complete = true;
    outcome.written = job.finish();
    outcome
}

/// What a process finds that comes after one that has died, and what it makes of it.
fn go_on(objects: &Faulty, outcome: Outcome, context: &str) {
    let Resumed { mut writer, checkpoint, damaged } = store(objects).resume().unwrap_or_else(|error| {
        // Only where the very first manifest is torn there is nothing to go back to, and it is said so.
        assert!(error.is_damaged() && outcome.saved.is_none(), "{context}: {error}");
        panic_free_restart(objects)
    });
    if let Some((number, read)) = outcome.saved {
        let found = checkpoint.as_ref().expect("one was stored");
        assert!(found.number >= number, "{context}: {} was stored, {found:?} found", number);
        assert!(
            damaged.iter().all(|damaged| damaged.name > format!("checkpoints/{number:020}")),
            "{context}"
        );
        assert!(found.number > number || found.source == read.to_le_bytes(), "{context}");
    }
    let mut job = match &checkpoint {
        Some(checkpoint) => Job::resumed(checkpoint, outcome.written),
        None => Job::new(),
    };
    while !job.is_at_end() {
        job.go();
        let saved = job.save(&mut writer).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(saved.undeleted.is_none(), "{context}: {saved:?}");
    }
    // Until what was damaged has gone, too.
    let last = (0..3).map(|_| job.save(&mut writer).unwrap().number).last().unwrap();
    assert_eq!(store(objects).numbers().unwrap(), [last - 2, last - 1, last], "{context}");
    nothing_is_left_over(objects, context);
    let Resumed { checkpoint, damaged, .. } = store(objects).resume().unwrap();
    assert_eq!((checkpoint.unwrap().number, damaged), (last, vec![]), "{context}");
    assert_eq!(job.finish(), undisturbed(), "{context}");
}

/// What a person would do who is told that nothing is intact: clear the place.
fn panic_free_restart(objects: &Faulty) -> Resumed {
    let everything = pollster::block_on(async {
        use futures_util::TryStreamExt;
        use object_store::ObjectStore;
        objects.inner.list(None).try_collect::<Vec<_>>().await.unwrap()
    });
    for object in everything {
        pollster::block_on(object_store::ObjectStoreExt::delete(&objects.inner, &object.location)).unwrap();
    }
    store(objects).resume().unwrap()
}

/// Each operation of a whole run, and each way in which it can fail.
fn every_fault() -> Vec<(usize, Fault)> {
    let objects = Faulty::new();
    let outcome = run(&objects, false);
    assert_eq!(outcome.written, undisturbed());
    let faults = |operation: &Operation| match operation {
        Operation::Put(bytes) => {
            let torn = (0..=*bytes).map(Fault::Torn);
            [Fault::Nothing, Fault::Done, Fault::Repeated].into_iter().chain(torn).collect()
        }
        Operation::Delete => vec![Fault::Nothing, Fault::Done],
        Operation::Get | Operation::List => vec![Fault::Nothing],
    };
    let seen = objects.seen();
    let puts = seen.iter().filter(|operation| matches!(operation, Operation::Put(_))).count();
    let deletes = seen.iter().filter(|operation| **operation == Operation::Delete).count();
    assert!(puts >= 20 && deletes >= 10, "{seen:?}");
    let all = seen.iter().enumerate();
    all.flat_map(|(at, operation)| faults(operation).into_iter().map(move |fault| (at, fault))).collect()
}

#[test]
fn a_process_that_dies_at_any_byte_of_any_write_is_gone_on_from() {
    let faults = every_fault();
    assert!(faults.len() > 3000, "{}", faults.len());
    // (Who repeats a write has not died.)
    for (at, fault) in faults.into_iter().filter(|(_, fault)| *fault != Fault::Repeated) {
        let objects = Faulty::new();
        objects.plan(at, fault, true);
        let outcome = run(&objects, true);
        objects.heal();
        go_on(&objects, outcome, &format!("operation {at}, {fault:?}, fatal"));
    }
}

#[test]
fn a_process_that_lives_on_after_any_failure_loses_nothing_either() {
    for (at, fault) in every_fault() {
        let context = format!("operation {at}, {fault:?}");
        let objects = Faulty::new();
        objects.plan(at, fault, false);
        let outcome = run(&objects, false);
        objects.heal();
        if !outcome.is_complete {
            assert_eq!(at, 0, "{context}: it could not even begin");
            continue;
        }
        assert_eq!(outcome.written, undisturbed(), "{context}");
        if outcome.is_clean {
            nothing_is_left_over(&objects, &context);
        }
        let Resumed { mut writer, checkpoint, damaged } = store(&objects).resume().unwrap();
        // Only the last attempt can have become a checkpoint without being told so.
        let found = checkpoint.map_or((0, 0), |checkpoint| {
            (checkpoint.number, u64::from_le_bytes(checkpoint.source.try_into().unwrap()))
        });
        assert!(found >= outcome.saved.unwrap(), "{context}: {found:?} after {:?}", outcome.saved);
        assert!(damaged.len() <= 1, "{context}: {damaged:?}");
        if fault == Fault::Repeated {
            assert_eq!(
                outcome.saved,
                Some((EVENTS / EVERY, EVENTS)),
                "{context}: all are stored, and no number is skipped"
            );
        }
        // What is still there was left by the last attempt, and the next writer takes care of it.
        let mut job = Job::new();
        for _ in 0..3 {
            job.go();
            let saved = job.save(&mut writer).unwrap();
            assert!(saved.undeleted.is_none(), "{context}: {saved:?}");
        }
        nothing_is_left_over(&objects, &context);
    }
}

#[test]
fn what_could_not_be_deleted_is_deleted_by_the_same_writer_later() {
    let objects = Faulty::new();
    run(&objects, false);
    let deletes: Vec<usize> = (objects.seen().iter().enumerate())
        .filter_map(|(at, operation)| (*operation == Operation::Delete).then_some(at))
        .collect();
    for at in &deletes[..deletes.len() - 1] {
        let objects = Faulty::new();
        objects.plan(*at, Fault::Nothing, false);
        assert!(run(&objects, false).is_complete);
        nothing_is_left_over(&objects, &format!("operation {at}"));
    }
}

#[test]
fn a_storage_that_does_not_answer_is_no_damage() {
    let objects = Faulty::new();
    let outcome = run(&objects, false);
    objects.plan(usize::MAX, Fault::Nothing, false);
    let Resumed { checkpoint, .. } = store(&objects).resume().unwrap();
    assert_eq!(
        checkpoint.as_ref().map(|checkpoint| checkpoint.number),
        outcome.saved.map(|(number, _)| number)
    );
    let reads = objects.seen().len();
    assert!(reads >= 3);
    for at in 0..reads {
        for is_fatal in [false, true] {
            objects.plan(at, Fault::Nothing, is_fatal);
            let error = store(&objects).resume().unwrap_err();
            assert!(error.is_storage(), "{error}");
        }
    }
}

#[test]
fn who_reads_while_everything_listed_is_deleted_looks_again() {
    let objects = Faulty::new();
    run(&objects, false);
    let before = store(&objects).numbers().unwrap();
    // Reading begins with the list; then the manifests come, newest first.
    for at in 1..3 {
        let (others, oldest) = (objects.clone(), store(&objects).numbers().unwrap()[0]);
        let manifest = objects.contents("a/job/checkpoints").remove(0);
        objects.meanwhile(at, move || {
            let mut writer = store(&others).resume().unwrap().writer;
            (0..5).for_each(|_| _ = Job::new().save(&mut writer).unwrap());
            // One that has slept takes a number that is free again, and has not looked yet.
            others.write(&format!("a/job/checkpoints/{oldest:020}"), manifest);
        });
        let (checkpoint, damaged) = store(&objects).newest().unwrap();
        assert!(checkpoint.unwrap().number > *before.last().unwrap() && damaged.is_empty());
    }
}
