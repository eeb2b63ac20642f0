//! Replays what the fuzz targets start from (`fuzz/corpus`), and what has ever broken them, under plain
//! `cargo test`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::operations;
use crate::shared::restore::{self, input_of};
use crate::shared::worlds::{SCRIPT, WORLDS, World, chain, in_world, specimens};
use floodmark_oracle::{Base, Case, Kind, Model, Trigger, Verdict, Windows};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn replay(target: &str, run: fn(&[u8])) {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder(target)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 24, "only {} files", files.len());
    for file in files {
        println!("{}", file.display());
        run(&fs::read(file).unwrap());
    }
}

#[test]
fn oracle_replays_the_corpus_of_operations() {
    replay("operations", operations::run_in_all_modes);
}

#[test]
fn s3_replays_the_corpus_of_restore() {
    replay("restore", restore::run);
}

/// That a seed reaches the decoder and what comes after it.
#[test]
fn seeds_of_restore_are_restored() {
    fn restored<W: World>(world: u8) {
        for specimen in specimens::<W>() {
            let input = input_of(world, SCRIPT, &specimen);
            assert!(restore::complete_and_run::<W>(world, &input[1..]), "{}", W::NAME);
        }
        let input = input_of(restore::CHANGES | world, SCRIPT, &chain::<W>()[1]);
        assert!(restore::complete_and_run::<W>(input[0], &input[1..]), "{}", W::NAME);
    }
    for world in 0..WORLDS {
        in_world!(world, restored(world));
    }
}

#[test]
#[ignore = "writes the seeds anew; they change only when what bytes mean does"]
fn write_the_seeds() {
    for (target, seeds) in [("operations", seeds_of_operations()), ("restore", seeds_of_restore())] {
        fs::create_dir_all(folder(target)).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder(target).join(format!("seed_{number:02}")), seed).unwrap();
        }
    }
}

fn seeds_of_restore() -> Vec<Vec<u8>> {
    fn of<W: World>(world: u8) -> Vec<Vec<u8>> {
        let specimens = specimens::<W>();
        let mut seeds: Vec<_> = specimens.iter().map(|specimen| input_of(world, SCRIPT, specimen)).collect();
        seeds.push([&[0x80 | world], &specimens[1][..]].concat());
        seeds.push(input_of(restore::CHANGES | world, SCRIPT, &chain::<W>()[1]));
        seeds
    }
    (0..WORLDS).flat_map(|world| in_world!(world, of(world))).collect()
}

/// Of many random byte strings the fewest and shortest in which everything happens.
fn seeds_of_operations() -> Vec<Vec<u8>> {
    let mut rng = TestRng::from_seed(RngAlgorithm::XorShift, &[5; 16]);
    let mut pool: Vec<(Vec<u8>, BTreeSet<String>)> = (0..8000)
        .map(|number| {
            // So many bytes come before the steps.
            let (kind, head) = if number % 2 == 0 { (0, 19) } else { (1, 50) };
            let mut bytes = vec![0; head + 6 * (4 + rng.next_u32() as usize % 56)];
            rng.fill_bytes(&mut bytes);
            bytes[0] = kind;
            let case = operations::case_of(&bytes);
            let happens = if kind == 0 { what_happens(&case) } else { what_happens_with_any_kind(&case) };
            (bytes, happens)
        })
        .collect();
    let mut missing: BTreeSet<String> = pool.iter().flat_map(|(_, happens)| happens.clone()).collect();
    let mut seeds = Vec::new();
    while !missing.is_empty() {
        let news = |(bytes, happens): &(Vec<u8>, BTreeSet<String>)| {
            1000 * happens.intersection(&missing).count() / (100 + bytes.len())
        };
        let best = (0..pool.len()).max_by_key(|&place| news(&pool[place])).unwrap();
        let (bytes, happens) = pool.swap_remove(best);
        if happens.is_disjoint(&missing) {
            break;
        }
        missing.retain(|what| !happens.contains(what));
        seeds.push(bytes);
    }
    seeds
}

fn what_happens(case: &Case) -> BTreeSet<String> {
    let c = &case.config;
    let Kind::Sliding { size, slide, .. } = c.windows[0].kind else { panic!("not aligned: {c:?}") };
    let late_firing = c.windows[0].late_firing;
    let shape = format!("{:?} {}", slide.cmp(&size), size % slide == 0);
    let mut happens = BTreeSet::new();
    happens.insert(format!("guard {:?} {:?}", c.max_future_skew.map(|guard| guard.policy), c.resume));
    happens.insert(format!("huge {} timeout {}", size > 5000, c.idle_timeout.is_some()));
    for (step, outcome) in case.steps.iter().zip(Model::run(case)) {
        let step = format!("{step:?}");
        let kind = step.split(' ').next().unwrap_or_default();
        happens.insert(format!("{kind} {} {}", outcome.error, outcome.panes.len().min(3)));
        if let Some(verdict) = &outcome.verdict {
            let verdict = match verdict {
                Verdict::PartlyLate { .. } => "partly".to_string(),
                Verdict::Late { .. } => "late".to_string(),
                other => format!("{other:?}"),
            };
            happens.insert(format!("{verdict} {shape} {late_firing:?} {:?}", outcome.panes.is_empty()));
        }
        let panes = outcome.panes.iter();
        happens.extend(panes.map(|pane| {
            format!(
                "{:?} {} {} {shape} {late_firing:?}",
                pane.timing,
                pane.index.min(2),
                pane.events.len().min(2)
            )
        }));
    }
    happens
}

fn what_happens_with_any_kind(case: &Case) -> BTreeSet<String> {
    let definitions = &case.config.windows;
    let mut happens = BTreeSet::from([format!("{} definitions", definitions.len())]);
    for outcome in Model::run(case) {
        if let Some(verdict) = &outcome.verdict {
            let verdict = format!("{verdict:?}");
            let verdict = verdict.split(' ').next().unwrap_or_default();
            happens.insert(format!("{verdict} {}", kind_of(&definitions[0])));
        }
        for pane in &outcome.panes {
            let windows = &definitions[pane.definition];
            let (kind, trigger, timing) = (kind_of(windows), trigger_of(&windows.trigger), pane.timing);
            happens.insert(format!("{kind} {:?} {timing:?}", windows.accumulation));
            happens.insert(format!("{kind} {trigger} {timing:?}"));
            happens.insert(format!("{kind} {} {}", pane.index.min(2), pane.retracts.len().min(2)));
            happens.insert(format!("{trigger} {:?} {:?}", windows.accumulation, windows.late_firing));
        }
    }
    happens
}

fn kind_of(windows: &Windows) -> &'static str {
    match windows.kind {
        Kind::Sliding { .. } => "sliding",
        Kind::Cumulative { .. } => "cumulative",
        Kind::Session { max_length: None, .. } => "session",
        Kind::Session { .. } => "session of at most",
        Kind::Global => "global",
        Kind::Edges { .. } => "edges",
    }
}

fn trigger_of(trigger: &Trigger) -> &'static str {
    match trigger {
        Trigger { base: Base::Count { .. }, .. } => "count",
        Trigger { base: Base::Continuous { .. }, .. } => "continuous",
        Trigger { early_events: Some(_), .. } => "every few events",
        Trigger { early_time: Some(_), .. } => "every so often",
        Trigger { early_ticks: Some(_), .. } => "every few ticks",
        _ => "on time",
    }
}
