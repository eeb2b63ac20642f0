//! What holds of every case, whatever its windows are.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::case::{Accumulation, Base, Kind};
use crate::generate;
use crate::window::Window;

/// A window of a definition, for a key.
type Place = (usize, Window, u32);

fn place(pane: &Pane) -> Place {
    (pane.definition, Window { end: pane.end, start: pane.start }, pane.key)
}

fn seqs(events: &[Contribution]) -> BTreeSet<u64> {
    events.iter().map(|event| event.seq).collect()
}

/// All that happened, with everything drained after each step.
struct Run {
    config: Config,
    /// The events in each window, as they were let in; of sessions the window is
    /// what it was then. And whether its end was ahead.
    entered: Vec<(Place, u64, bool)>,
    /// Every pane, with the watermark after its step.
    panes: Vec<(Pane, i64)>,
}

impl Run {
    /// Runs a case to the end of input; the invariants hold after every step, and
    /// in the end nothing is left.
    fn of(case: &Case) -> Self {
        let mut model = Model::new(case.config.clone());
        let mut run = Self { config: case.config.clone(), entered: Vec::new(), panes: Vec::new() };
        let mut watermark = i64::MIN;
        for step in case.steps.iter().chain([&Step::Finish]) {
            let entered = entered(&model, step);
            let outcome = model.step(step);
            model.assert_invariants();
            if matches!(outcome.verdict, Some(Verdict::Accepted | Verdict::PartlyLate { .. })) {
                run.entered.extend(entered);
            }
            assert!(watermark <= outcome.watermark);
            watermark = outcome.watermark;
            let panes = outcome.panes.into_iter().chain(model.drain());
            run.panes.extend(panes.map(|pane| (pane, watermark)));
        }
        assert_eq!(model.live_windows(), 0);
        assert_eq!(model.output_watermark(), i64::MAX);
        assert_eq!(model.counters().panes_fired, run.panes.len() as u64);
        run
    }

    /// The panes of one definition.
    fn panes_of(&self, definition: usize) -> impl Iterator<Item = &Pane> {
        self.panes.iter().map(|(pane, _)| pane).filter(move |pane| pane.definition == definition)
    }

    /// Those of them that show something.
    fn contents_of(&self, definition: usize) -> impl Iterator<Item = &Pane> {
        self.panes_of(definition).filter(|pane| !pane.events.is_empty())
    }

    /// What entered a definition, by key.
    fn by_key(&self, definition: usize) -> BTreeMap<u32, BTreeSet<u64>> {
        let mut keys: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for &((_, _, key), seq, _) in self.entered.iter().filter(|((of, ..), ..)| *of == definition) {
            keys.entry(key).or_default().insert(seq);
        }
        keys
    }

    /// What entered a definition, by window and key.
    fn by_place(&self, definition: usize) -> BTreeMap<Place, BTreeSet<u64>> {
        let mut places: BTreeMap<Place, BTreeSet<u64>> = BTreeMap::new();
        for &(place, seq, _) in self.entered.iter().filter(|((of, ..), ..)| *of == definition) {
            places.entry(place).or_default().insert(seq);
        }
        places
    }

    /// The definitions whose windows fire at their end, so that all comes out, and
    /// whether they are sessions.
    fn complete(&self) -> Vec<(usize, bool, Accumulation)> {
        let all = self.config.windows.iter().enumerate();
        let complete = all.filter(|(_, windows)| !matches!(windows.trigger.base, Base::Count { .. }));
        let is_session = |kind: &Kind| matches!(kind, Kind::Session { .. });
        complete.map(|(n, windows)| (n, is_session(&windows.kind), windows.accumulation)).collect()
    }
}

/// Where an event is about to go, if it is let in.
fn entered(model: &Model, step: &Step) -> Vec<(Place, u64, bool)> {
    let Step::Event { time, key, gap, .. } = *step else {
        return Vec::new();
    };
    if !model.windows.fits(time, gap) || gap.is_some_and(|gap| gap < 1) {
        return Vec::new();
    }
    let watermark = model.partitions.watermark();
    let (_, open) = model.windows.closed_and_open(key, time, gap);
    let seq = model.counters.offered;
    open.into_iter().map(|(window, of)| ((of, window, key), seq, watermark < window.end)).collect()
}

/// Sums up by window and key what panes without repetition show.
fn union<'a>(panes: impl Iterator<Item = &'a Pane>) -> Result<BTreeMap<Place, BTreeSet<u64>>, TestCaseError> {
    let mut shown: BTreeMap<Place, BTreeSet<u64>> = BTreeMap::new();
    for pane in panes {
        let all = shown.entry(place(pane)).or_default();
        for event in &pane.events {
            prop_assert!(all.insert(event.seq), "{:?} is shown again in {:?}", event, pane);
        }
    }
    Ok(shown)
}

/// The panes that stand in the end, if each withdraws what it replaces.
fn standing<'a>(panes: impl Iterator<Item = &'a Pane>) -> Result<Vec<(Place, BTreeSet<u64>)>, TestCaseError> {
    let mut standing: Vec<(Place, Vec<Contribution>)> = Vec::new();
    for pane in panes {
        let (definition, _, key) = place(pane);
        for (start, end, events) in &pane.retracts {
            let withdrawn = ((definition, Window { end: *end, start: *start }, key), events.clone());
            let at = standing.iter().position(|shown| *shown == withdrawn);
            prop_assert!(at.is_some(), "{:?} withdraws what does not stand: {:?}", pane, withdrawn);
            standing.remove(at.unwrap_or_default());
        }
        standing.push((place(pane), pane.events.clone()));
    }
    Ok(standing.into_iter().map(|(place, events)| (place, seqs(&events))).collect())
}

proptest! {
    /// Each grid's window shows in the end all that entered it, and nothing else.
    #[test]
    fn oracle_every_admitted_event_comes_out(case in generate::case()) {
        let run = Run::of(&case);
        for (definition, _, accumulation) in run.complete().into_iter().filter(|(_, session, _)| !session) {
            let panes = run.contents_of(definition);
            let shown: BTreeMap<Place, BTreeSet<u64>> = match accumulation {
                Accumulation::Accumulating => panes.map(|pane| (place(pane), seqs(&pane.events))).collect(),
                Accumulation::Discarding => union(panes)?,
                Accumulation::Retracting => {
                    let standing = standing(panes)?;
                    let one_each = standing.iter().map(|(place, _)| place).collect::<BTreeSet<_>>().len();
                    prop_assert_eq!(standing.len(), one_each);
                    standing.into_iter().collect()
                }
            };
            prop_assert_eq!(shown, run.by_place(definition));
        }
    }

    /// Each event that entered a session comes out, and what merged stays together.
    #[test]
    fn oracle_every_event_of_a_session_comes_out(case in generate::case()) {
        let run = Run::of(&case);
        for (definition, _, accumulation) in run.complete().into_iter().filter(|(_, session, _)| *session) {
            for (key, expected) in run.by_key(definition) {
                let panes = || run.panes_of(definition).filter(move |pane| pane.key == key);
                let mut shown = Vec::new();
                match accumulation {
                    Accumulation::Accumulating => {
                        // The last panes of what belongs together.
                        let mut last: Vec<BTreeSet<u64>> = Vec::new();
                        for now in panes().map(|pane| seqs(&pane.events)) {
                            last.retain(|before| before.is_disjoint(&now) || {
                                assert!(before.is_subset(&now), "{before:?} came apart in {now:?}");
                                false
                            });
                            last.push(now);
                        }
                        shown.extend(last.into_iter().flatten());
                    }
                    Accumulation::Discarding => {
                        shown.extend(panes().flat_map(|pane| seqs(&pane.events)));
                    }
                    Accumulation::Retracting => {
                        shown.extend(standing(panes())?.into_iter().flat_map(|(_, events)| events));
                    }
                }
                shown.sort();
                prop_assert_eq!(shown, expected.into_iter().collect::<Vec<_>>(), "each once");
            }
        }
    }

    /// F3, F6: panes are counted; at most one is on time, and exactly one if the
    /// end was still ahead of something that would show.
    #[test]
    fn oracle_panes_are_in_order(case in generate::case()) {
        let run = Run::of(&case);
        let mut next: BTreeMap<Place, u32> = BTreeMap::new();
        let mut on_time: BTreeSet<Place> = BTreeSet::new();
        let mut filled: BTreeSet<Place> = BTreeSet::new();
        for (pane, watermark) in &run.panes {
            let at = place(pane);
            let index = next.entry(at).or_default();
            let is_session = matches!(run.config.windows[pane.definition].kind, Kind::Session { .. });
            // The same bounds may be another session's, later.
            prop_assert!(pane.index == *index || is_session && pane.index == 0, "{:?}", pane);
            *index = pane.index + 1;
            if pane.events.is_empty() {
                filled.insert(at);
            }
            prop_assert!(pane.timing == Early || pane.end <= *watermark);
            match pane.timing {
                Early => prop_assert!(!on_time.contains(&at), "{:?} after the end", pane),
                OnTime => prop_assert!(on_time.insert(at), "{:?} is the second", pane),
                Late => {}
            }
        }
        for (definition, is_session, accumulation) in run.complete() {
            if !is_session && accumulation != Accumulation::Discarding {
                let ahead = run.entered.iter().filter(|((of, ..), _, ahead)| *of == definition && *ahead);
                let expected: BTreeSet<Place> = ahead.map(|&(place, ..)| place).collect();
                let on_time = on_time.difference(&filled).filter(|(of, ..)| *of == definition).copied();
                prop_assert_eq!(on_time.collect::<BTreeSet<_>>(), expected);
            }
        }
    }

    /// F7: no pane comes out behind an output watermark announced before.
    #[test]
    fn oracle_output_watermark_is_kept(case in generate::case()) {
        let mut announced = i64::MIN;
        let mut model = Model::new(case.config.clone());
        for step in &case.steps {
            let outcome = model.step(step);
            for pane in outcome.panes.iter().chain(&model.drain()) {
                prop_assert!(pane.end > announced, "{:?} after {}", pane, announced);
            }
            prop_assert!(announced <= outcome.output_watermark);
            announced = outcome.output_watermark;
        }
    }

    /// When late panes fire has no influence on anything else.
    #[test]
    fn differential_on_time_panes_are_the_same_in_both_late_firings(case in generate::aligned_case()) {
        let run = |late_firing| {
            let mut case = case.clone();
            case.config.windows[0].late_firing = late_firing;
            let outcomes = Model::run(&case);
            let panes = outcomes.iter().flat_map(|o| &o.panes).filter(|p| p.timing == OnTime);
            let panes: Vec<Pane> = panes.cloned().map(|p| Pane { index: 0, ..p }).collect();
            let verdicts: Vec<_> = outcomes.into_iter().map(|o| (o.verdict, o.watermark)).collect();
            (panes, verdicts)
        };
        prop_assert_eq!(run(LateFiring::EachEvent), run(LateFiring::OncePerDrain));
    }

    /// A definition gives the same panes, whichever others there are (A3); late
    /// panes that wait for the drain do so for all. Not so what is filled, and what
    /// quiet closes: that looks at all definitions.
    #[test]
    fn differential_definitions_do_not_influence_each_other(mut case in generate::case()) {
        case.config.close_after_quiet = None;
        case.config.windows.iter_mut().for_each(|windows| windows.fill = None);
        let all = Run::of(&case);
        let fits_alike = |windows: &[crate::Windows]| {
            let mut alone = case.clone();
            alone.config.windows = windows.to_vec();
            let rejected = |case: &Case| {
                let verdicts = Model::run(case).into_iter().map(|outcome| outcome.verdict);
                verdicts.map(|v| matches!(v, Some(Verdict::Rejected(_)))).collect::<Vec<_>>()
            };
            (rejected(&alone) == rejected(&case)).then_some(alone)
        };
        for (number, windows) in case.config.windows.iter().enumerate() {
            // What does not fit into one definition is in none.
            let Some(alone) = fits_alike(std::slice::from_ref(windows)) else { continue };
            let panes = all.panes_of(number).cloned().map(|pane| Pane { definition: 0, ..pane });
            let alone: Vec<Pane> = Run::of(&alone).panes.into_iter().map(|(pane, _)| pane).collect();
            prop_assert_eq!(panes.collect::<Vec<_>>(), alone);
        }
    }
}
