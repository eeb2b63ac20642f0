//! Changes to a case that must not change its results (metamorphic tests).

use std::collections::BTreeSet;

use crate::case::{Accumulation, Case, Generator, Kind, Step, Trigger, Windows};

/// Replaces each rise of a partition's watermark by up to `pieces` finer ones.
///
/// The panes, verdicts and final watermark are the same, in the same order. The
/// first watermark of a partition is left alone: until then the partition is
/// fresh and holds the watermark (W5), and a finer first report could end that
/// while the partition is still behind, and excluded. So is a rise to the end of
/// time if windows are filled: the end of input fills less than any time before.
#[must_use]
pub fn split_watermarks(case: &Case, pieces: u32) -> Case {
    let mut known = Known::default();
    let mut steps = Vec::new();
    for step in &case.steps {
        let before = known.see(step);
        if let Step::SetWatermark { p, w } = *step
            && let Some(from) = before
            && from < w
            && !is_end_that_fills_less(case, w)
        {
            let (from, rise) = (i128::from(from), i128::from(w) - i128::from(from));
            let mut last = from;
            for piece in 1..i128::from(pieces) {
                let finer = from + rise * piece / i128::from(pieces);
                if last < finer && finer < i128::from(w) {
                    let w = i64::try_from(finer).expect("between two i64");
                    steps.push(Step::SetWatermark { p, w });
                    last = finer;
                }
            }
        }
        steps.push(step.clone());
    }
    with_steps(case, steps)
}

/// Merges runs of consecutive watermarks of the same partition into the highest.
///
/// The panes, verdicts and final watermark are the same, in the same order. As
/// in [`split_watermarks`], a partition's first watermark is left alone, and so is
/// the end of time if windows are filled.
#[must_use]
pub fn coarsen_watermarks(case: &Case) -> Case {
    let mut known = Known::default();
    let mut steps: Vec<Step> = Vec::new();
    let mut mergeable = false;
    for step in &case.steps {
        let reported_before = known.see(step).is_some();
        if let Step::SetWatermark { p, w } = *step {
            if let Some(Step::SetWatermark { p: last_p, w: last }) = steps.last_mut()
                && mergeable
                && *last_p == p
                && !is_end_that_fills_less(case, w)
            {
                *last = w.max(*last);
                continue;
            }
            mergeable = reported_before;
        }
        steps.push(step.clone());
    }
    with_steps(case, steps)
}

fn is_end_that_fills_less(case: &Case, w: i64) -> bool {
    w == i64::MAX && case.config.windows.iter().any(|windows| windows.fill.is_some())
}

/// Shuffles neighbouring events between which the watermark cannot move.
///
/// Each event keeps its verdict, each window its contents, though in another
/// order of arrival, and each on-time pane its place; late panes show
/// intermediate contents, which do change. Cases whose events move watermarks,
/// are judged by what came before them (a generator, a guard against skew,
/// sessions), or fire otherwise than on time and accumulating come back as they
/// are.
#[must_use]
pub fn permute_events(case: &Case, seed: u64) -> Case {
    let mut steps = case.steps.clone();
    let unmoved = case.config.generator == Generator::Host && case.config.max_future_skew.is_none();
    if unmoved && case.config.windows.iter().all(arrival_matters_not) {
        let is_event = |step: &Step| matches!(step, Step::Event { .. });
        for (number, run) in (0..).zip(steps.chunk_by_mut(|a, b| is_event(a) && is_event(b))) {
            let run = after_all_have_spoken(run);
            let mut keyed: Vec<(u64, Step)> = (0..)
                .zip(run.iter().cloned())
                .map(|(at, step)| (scramble(seed ^ scramble(number) ^ at), step))
                .collect();
            keyed.sort_by_key(|&(key, _)| key);
            run.clone_from_slice(&keyed.into_iter().map(|(_, step)| step).collect::<Vec<_>>());
        }
    }
    with_steps(case, steps)
}

fn arrival_matters_not(windows: &Windows) -> bool {
    let is_session = matches!(windows.kind, Kind::Session { .. });
    let is_plain = windows.trigger == Trigger::default();
    !is_session && is_plain && windows.accumulation == Accumulation::Accumulating
}

/// The part of a run of events in which no partition appears for the first
/// time. A first event may end its partition's idleness or freshness, and so
/// move the watermark, even if the host alone sets it.
fn after_all_have_spoken(run: &mut [Step]) -> &mut [Step] {
    let mut spoken = BTreeSet::new();
    let mut from = 0;
    for (at, step) in run.iter().enumerate() {
        if let Step::Event { p, .. } = step
            && spoken.insert(*p)
        {
            from = at + 1;
        }
    }
    &mut run[from..]
}

/// The highest watermark the host has set for each partition.
#[derive(Default)]
struct Known(Vec<Option<i64>>);

impl Known {
    /// Notes a step; for a report, returns the highest one before it.
    fn see(&mut self, step: &Step) -> Option<i64> {
        match *step {
            Step::Add => {
                self.0.push(None);
                None
            }
            // A report to a partition not yet added is no report.
            Step::SetWatermark { p, w } => {
                let known = self.0.get_mut(p as usize)?;
                known.replace(known.map_or(w, |before| before.max(w)))
            }
            _ => None,
        }
    }
}

/// `SplitMix64`: a fixed, seedable scramble, so that failures replay.
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn with_steps(case: &Case, steps: Vec<Step>) -> Case {
    Case { name: case.name.clone(), config: case.config.clone(), steps }
}
