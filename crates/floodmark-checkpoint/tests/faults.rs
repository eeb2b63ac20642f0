//! Whatever fails, and wherever a write stops: nothing is lost, nothing is done twice, and what was stored stays.

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;

use common::{Fault, Faulty, Job, Operation, undisturbed};
use floodmark_checkpoint::{Resumed, Store};

fn store(objects: &Faulty) -> Store {
    let keep = NonZeroUsize::new(2).unwrap();
    Store::over(Arc::new(objects.clone()), "a/job").unwrap().keep(keep).changes(2)
}

/// Runs until the end, or, where the fault is fatal, until the first error; then what is left of it.
struct Outcome {
    written: Vec<String>,
    /// The last checkpoint that was said to be stored, and how far that was.
    saved: Option<(u64, u64)>,
    is_complete: bool,
}

fn run(objects: &Faulty, is_fatal: bool) -> Outcome {
    let mut outcome = Outcome { written: Vec::new(), saved: None, is_complete: false };
    // What cannot even begin has done nothing.
    let Ok(mut writer) = store(objects).begin() else { return outcome };
    let mut job = Job::new();
    while !job.is_at_end() {
        job.go();
        match job.save(&mut writer) {
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
    // Once more, so that there is something to sweep with.
    let last = job.save(&mut writer).unwrap().number;
    assert_eq!(store(objects).numbers().unwrap(), [last - 1, last], "{context}");
    let Resumed { checkpoint, damaged, .. } = store(objects).resume().unwrap();
    assert_eq!((checkpoint.unwrap().number, damaged), (last, vec![]), "{context}");
    assert_eq!(job.finish(), undisturbed(), "{context}");
}

/// What a person would do who is told that nothing is intact: clear the place.
fn panic_free_restart(objects: &Faulty) -> Resumed {
    let everything = futures_executor::block_on(async {
        use futures_util::TryStreamExt;
        use object_store::ObjectStore;
        objects.inner.list(None).try_collect::<Vec<_>>().await.unwrap()
    });
    for object in everything {
        futures_executor::block_on(object_store::ObjectStoreExt::delete(&objects.inner, &object.location))
            .unwrap();
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
            [Fault::Nothing, Fault::Done].into_iter().chain(torn).collect()
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
    for (at, fault) in faults {
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
        if outcome.is_complete {
            assert_eq!(outcome.written, undisturbed(), "{context}");
        }
        objects.heal();
        let Resumed { checkpoint, damaged, .. } = store(&objects).resume().unwrap();
        let (number, read) = outcome.saved.unwrap_or_default();
        // Only the last attempt can have become a checkpoint without being told so.
        let found = checkpoint.map_or((0, 0), |checkpoint| {
            (checkpoint.number, u64::from_le_bytes(checkpoint.source.try_into().unwrap()))
        });
        assert!(found >= (number, read), "{context}: {found:?} after {number}, {read}");
        assert!(damaged.len() <= 1, "{context}: {damaged:?}");
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
