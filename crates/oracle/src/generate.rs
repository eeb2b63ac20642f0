//! Timelines: decoded from bytes, drawn at random, enumerated, transformed.
//!
//! Bytes and proptest share one decoder (`draw`, `kinds`): a fuzzer mutates the
//! same small numbers that proptest draws and shrinks. All zero is the plainest
//! case (tumbling windows of 10, one partition, one key, nothing but events), so
//! shrinking a number is simplifying a case.
//!
//! *Aligned* cases have one definition of sliding windows, fired on time and
//! accumulating; the others have up to three of any kind, some of them filled, and
//! now and then they learn bounds or close windows after quiet.

mod draw;
mod exhaustive;
mod kinds;
mod transform;

use proptest::array::uniform;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};

use crate::case::{Case, Config, Step};

pub use exhaustive::{Limits, exhaustive};
pub use transform::{coarsen_watermarks, permute_events, split_watermarks};

use draw::{CONFIG_BYTES, DRAW_BYTES, PROFILE_BYTES, Profile};
use kinds::KINDS_BYTES;

/// Most random steps in one aligned case; [`Case::from_bytes`] ignores what is
/// left, so that no input runs for minutes.
pub const MAX_STEPS: usize = 2000;

/// The same for [`Case::from_bytes_any`]: windows that fire for each event show
/// all the others each time.
pub const MAX_STEPS_ANY: usize = 500;

/// No generated configuration has an event in more windows than this: the model
/// stores it in each.
pub const MAX_OVERLAP: i64 = 64;

impl Case {
    /// Decodes any bytes into a legal aligned case; missing bytes read as zero.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (config, rest) = take::<CONFIG_BYTES>(bytes);
        let (profile, rest) = take::<PROFILE_BYTES>(rest);
        build(&draw::aligned_config(config), profile, &draws(rest, MAX_STEPS))
    }

    /// Decodes any bytes into a legal case of any kinds of windows; missing bytes
    /// read as zero.
    #[must_use]
    pub fn from_bytes_any(bytes: &[u8]) -> Self {
        let (config, rest) = take::<CONFIG_BYTES>(bytes);
        let (kinds, rest) = take::<KINDS_BYTES>(rest);
        let (profile, rest) = take::<PROFILE_BYTES>(rest);
        let config = kinds::config(draw::aligned_config(config), kinds);
        build(&config, profile, &draws(rest, MAX_STEPS_ANY))
    }
}

/// Legal aligned configurations, extremes included.
pub fn aligned_config() -> impl Strategy<Value = Config> {
    uniform::<_, CONFIG_BYTES>(any::<u8>()).prop_map(draw::aligned_config)
}

/// Legal configurations of any kinds of windows, extremes included.
pub fn config() -> impl Strategy<Value = Config> {
    let kinds = uniform::<_, KINDS_BYTES>(any::<u8>());
    (aligned_config(), kinds).prop_map(|(aligned, kinds)| kinds::config(aligned, kinds))
}

/// Up to 200 steps to run under a configuration, which only sets the scale of
/// the times. Kinds of step are switched off per case (swarm testing); half of
/// the cases end with [`Step::Finish`].
pub fn steps(config: &Config) -> impl Strategy<Value = Vec<Step>> + use<> {
    let config = config.clone();
    raw_steps().prop_map(move |(profile, draws)| build(&config, profile, &draws).steps)
}

/// Whole aligned cases. They shrink better than those of [`steps`].
pub fn aligned_case() -> impl Strategy<Value = Case> {
    (aligned_config(), raw_steps()).prop_map(|(config, (profile, draws))| build(&config, profile, &draws))
}

/// Whole cases of any kinds of windows. They shrink better than those of [`steps`].
pub fn case() -> impl Strategy<Value = Case> {
    (config(), raw_steps()).prop_map(|(config, (profile, draws))| build(&config, profile, &draws))
}

type RawSteps = ([u8; PROFILE_BYTES], Vec<[u8; DRAW_BYTES]>);

fn raw_steps() -> impl Strategy<Value = RawSteps> {
    let draw = uniform::<_, DRAW_BYTES>(any::<u8>());
    (uniform(any::<u8>()), vec(draw, 0..200))
}

fn build(config: &Config, profile: [u8; PROFILE_BYTES], draws: &[[u8; DRAW_BYTES]]) -> Case {
    Case { name: None, config: config.clone(), steps: Profile::new(profile, config).steps(draws) }
}

fn draws(bytes: &[u8], at_most: usize) -> Vec<[u8; DRAW_BYTES]> {
    bytes.chunks(DRAW_BYTES).take(at_most).map(|chunk| take(chunk).0).collect()
}

/// The first `N` bytes, padded with zeros, and what follows.
fn take<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (head, rest) = bytes.split_at(N.min(bytes.len()));
    let mut taken = [0; N];
    taken[..head.len()].copy_from_slice(head);
    (taken, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Base, Kind, Trigger, Windows};
    use crate::model::{Model, Outcome, Verdict};
    use crate::window::{Pane, Timing};
    use proptest::prelude::*;
    use proptest::test_runner::{RngAlgorithm, TestRng};
    use std::collections::BTreeSet;

    /// Byte strings as a fuzzer would make them, always the same ones.
    fn byte_strings(count: usize) -> impl Iterator<Item = Vec<u8>> {
        let mut rng = TestRng::from_seed(RngAlgorithm::XorShift, &[7; 16]);
        (0..count).map(move |_| {
            let mut bytes = vec![0; (rng.next_u32() % 1500) as usize];
            rng.fill_bytes(&mut bytes);
            bytes
        })
    }

    fn size_and_slide(config: &Config) -> (i64, i64) {
        match config.windows[0].kind {
            Kind::Sliding { size, slide, .. } => (size, slide),
            _ => panic!("not an aligned case: {config:?}"),
        }
    }

    #[test]
    fn no_bytes_are_the_plainest_case() {
        let plainest =
            Case { name: None, config: Config::tumbling(10), steps: vec![Step::Add, Step::Finish] };
        assert_eq!(Case::from_bytes(&[]), plainest);
        assert_eq!(Case::from_bytes_any(&[]), plainest);
        let zeros = Case::from_bytes(&[0; CONFIG_BYTES + PROFILE_BYTES + 1]);
        assert_eq!(zeros.steps.len(), 3, "one byte of a draw is a draw");
        let event = Step::Event { p: 0, time: 0, key: 0, value: -3, gap: None };
        assert_eq!(zeros.steps[1], event);
    }

    fn assert_legal_and_runs(case: Case) {
        case.config.check().unwrap();
        let mut model = Model::new(case.config.clone());
        for step in &case.steps {
            model.step(step);
            model.assert_invariants();
        }
        assert_eq!(Case::from_json(&case.to_json()), Ok(case));
    }

    #[test]
    fn any_bytes_are_a_legal_case_that_runs() {
        for bytes in byte_strings(300) {
            let case = Case::from_bytes(&bytes);
            let (size, slide) = size_and_slide(&case.config);
            let overlap = (size - 1) / slide + 1;
            assert!(overlap <= MAX_OVERLAP, "{:?}", case.config);
            assert_legal_and_runs(case);
            assert_legal_and_runs(Case::from_bytes_any(&bytes));
        }
    }

    /// A generator that never gets somewhere makes every property true there.
    #[test]
    fn everything_there_is_happens_in_some_case() {
        let mut seen = BTreeSet::new();
        for bytes in byte_strings(1000) {
            let case = Case::from_bytes(&bytes);
            let c = &case.config;
            let (size, slide) = size_and_slide(c);
            seen.insert(format!("slide {:?} size", slide.cmp(&size)));
            seen.insert(format!("{:?} {:?}", c.resume, c.windows[0].late_firing));
            seen.insert(format!("huge {}", size > 5000));
            seen.insert(format!("skew {:?}", c.max_future_skew.map(|guard| guard.policy)));
            seen.insert(format!("host {}", c.generator == crate::Generator::Host));
            seen.insert(format!("finish {}", case.steps.last() == Some(&Step::Finish)));
            for (step, outcome) in case.steps.iter().zip(Model::run(&case)) {
                let kind = format!("{step:?}");
                let kind = kind.split(' ').next().unwrap_or_default();
                seen.insert(format!("{kind} error {}", outcome.error));
                seen.insert(match outcome.verdict {
                    Some(Verdict::PartlyLate { .. }) => "partly late".into(),
                    Some(Verdict::Late { .. }) => "late".into(),
                    other => format!("{other:?}"),
                });
                seen.extend(
                    outcome.panes.iter().map(|pane| format!("{:?} {}", pane.timing, pane.index.min(2))),
                );
            }
        }
        for expected in [
            "slide Less size",
            "slide Equal size",
            "slide Greater size",
            "Exclude EachEvent",
            "Exclude OncePerDrain",
            "Hold EachEvent",
            "Hold OncePerDrain",
            "skew None",
            "skew Some(Admit)",
            "skew Some(Reject)",
            "huge true",
            "host true",
            "host false",
            "finish true",
            "finish false",
            "Add error false",
            "Remove error false",
            "Remove error true",
            "End error false",
            "End error true",
            "SetWatermark error false",
            "SetWatermark error true",
            "Idle error false",
            "Idle error true",
            "Active error false",
            "Active error true",
            "Tick error false",
            "Finish error false",
            "Some(Accepted)",
            "partly late",
            "late",
            "Some(Unassigned)",
            "Some(Rejected(UnknownPartition))",
            "Some(Rejected(OutOfRange))",
            "Some(Rejected(Skew))",
            "OnTime 0",
            "Late 0",
            "Late 1",
            "Late 2",
        ] {
            assert!(seen.contains(expected), "never: {expected}; seen: {seen:#?}");
        }
    }

    /// What a definition is, in a word or two.
    fn names(windows: &Windows) -> [String; 3] {
        let kind = match &windows.kind {
            Kind::Sliding { .. } => "sliding",
            Kind::Cumulative { .. } => "cumulative",
            Kind::Session { max_length: None, .. } => "session",
            Kind::Session { .. } => "session of at most",
            Kind::Global => "global",
            Kind::Edges { .. } => "edges",
        };
        let trigger = match windows.trigger {
            Trigger { base: Base::Count { .. }, .. } => "count",
            Trigger { base: Base::Continuous { .. }, .. } => "continuous",
            Trigger { early_events: Some(_), .. } => "every few events",
            Trigger { early_time: Some(_), .. } => "every so often",
            Trigger { early_ticks: Some(_), .. } => "every few ticks",
            _ => "on time",
        };
        [kind.to_string(), trigger.to_string(), format!("{:?}", windows.accumulation)]
    }

    /// What all kinds, with all triggers and accumulations, have panes for.
    #[test]
    fn everything_there_is_happens_with_any_kind() {
        let mut seen = BTreeSet::new();
        for bytes in byte_strings(3000) {
            let case = Case::from_bytes_any(&bytes);
            seen.insert(format!("definitions {}", case.config.windows.len()));
            for outcome in Model::run(&case) {
                seen.extend(outcome.verdict.map(|verdict| format!("{verdict:?}")));
                for pane in outcome.panes {
                    let [kind, trigger, accumulation] = names(&case.config.windows[pane.definition]);
                    seen.insert(format!("{kind}, {accumulation}, {:?}", pane.timing));
                    seen.insert(format!("{kind}, {trigger}, {:?}", pane.timing));
                    seen.insert(format!(
                        "{kind} again {} retracts {}",
                        pane.index > 0,
                        pane.retracts.len().min(2)
                    ));
                }
            }
        }
        let mut expected = vec!["definitions 2".to_string(), "definitions 3".into()];
        expected.push("Rejected(BadGap)".into());
        expected
            .extend(["session", "session of at most"].map(|kind| format!("{kind} again false retracts 2")));
        for kind in ["sliding", "cumulative", "session", "session of at most", "global", "edges"] {
            // Nothing comes late for the global window.
            let timings = ["Early", "OnTime", "Late"].iter().take(if kind == "global" { 2 } else { 3 });
            for (timing, accumulation) in
                timings.flat_map(|t| ["Accumulating", "Discarding", "Retracting"].map(|a| (t, a)))
            {
                expected.push(format!("{kind}, {accumulation}, {timing}"));
            }
            expected.push(format!("{kind} again true retracts 1"));
            for trigger in ["count", "continuous", "every few events", "every so often", "every few ticks"] {
                expected.push(format!("{kind}, {trigger}, Early"));
            }
        }
        expected.retain(|what| what != "global, continuous, Early");
        let never: Vec<_> = expected.iter().filter(|&what| !seen.contains(what)).collect();
        assert!(never.is_empty(), "never: {never:?}; seen: {seen:#?}");
    }

    /// What is filled, learned, and closed after quiet.
    fn happens_by_settings(case: &Case) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let config = &case.config;
        let mut filled = BTreeSet::new();
        let mut watermark = i64::MIN;
        for (step, outcome) in case.steps.iter().zip(Model::run(case)) {
            let rises = watermark < outcome.watermark;
            watermark = outcome.watermark;
            if rises && matches!(step, Step::Tick { .. }) && config.idle_timeout.is_none() {
                seen.insert("closed by a tick".to_string());
            }
            if let crate::Generator::Learned { .. } = config.generator
                && matches!(step, Step::Event { .. })
            {
                let late = matches!(outcome.verdict, Some(Verdict::Late { .. }));
                seen.insert(format!("learned late {late} rises {rises}"));
            }
            for pane in outcome.panes {
                let [kind, ..] = names(&config.windows[pane.definition]);
                let place = (pane.definition, pane.start, pane.end, pane.key);
                if pane.events.is_empty() {
                    seen.insert(format!(
                        "{kind} filled by {}",
                        if step == &Step::Finish { "end" } else { "rise" }
                    ));
                    filled.insert(place);
                } else if pane.timing == Timing::Late && filled.contains(&place) {
                    seen.insert("late after filled".to_string());
                }
            }
        }
        seen
    }

    #[test]
    fn everything_there_is_happens_by_settings() {
        let cases: Vec<Case> = byte_strings(3000).map(|bytes| Case::from_bytes_any(&bytes)).collect();
        let seen: BTreeSet<String> = cases.iter().flat_map(happens_by_settings).collect();
        let mut expected: Vec<String> = Vec::new();
        for kind in ["sliding", "cumulative", "edges"] {
            let how = ["filled by end", "filled by rise"];
            expected.extend(how.map(|how| format!("{kind} {how}")));
        }
        expected.extend(["learned late true rises false", "learned late false rises true"].map(String::from));
        expected.extend(["late after filled", "closed by a tick"].map(String::from));
        let never: Vec<_> = expected.iter().filter(|&what| !seen.contains(what)).collect();
        assert!(never.is_empty(), "never: {never:?}; seen: {seen:#?}");

        let among = |count: usize, all: usize| 100 * count / all;
        let windows = cases.iter().flat_map(|case| &case.config.windows);
        let plain = windows.clone().filter(|windows| windows.is_plain()).count();
        let filled = windows.filter(|windows| windows.fill.is_some()).count();
        assert!((15..25).contains(&among(filled, plain)), "{filled} of {plain} are filled");
        let learns = |case: &&Case| matches!(case.config.generator, crate::Generator::Learned { .. });
        let learned = cases.iter().filter(learns).count();
        assert!((12..22).contains(&among(learned, cases.len())), "{learned} learn");
        let close = cases.iter().filter(|case| case.config.close_after_quiet.is_some()).count();
        assert!((12..22).contains(&among(close, cases.len())), "{close} close after quiet");
    }

    #[test]
    fn aligned_cases_have_none_of_these_settings() {
        for bytes in byte_strings(300) {
            let config = Case::from_bytes(&bytes).config;
            assert!(config.windows[0].fill.is_none() && config.close_after_quiet.is_none());
            assert!(!matches!(config.generator, crate::Generator::Learned { .. }));
        }
    }

    /// Why rises to the end of time are neither split nor merged if windows are filled.
    #[test]
    fn a_finer_rise_to_the_end_of_time_fills_more() {
        let set = |w| Step::SetWatermark { p: 0, w };
        let event = Step::Event { p: 0, time: 1, key: 0, value: 0, gap: None };
        let windows = Windows { fill: Some(50), ..Windows::tumbling(10) };
        let case = |rises: &[Step]| Case {
            name: None,
            config: Config::of(windows.clone()),
            steps: [&[Step::Add, event.clone(), set(0)], rises].concat(),
        };
        let panes = |case: &Case| told(case).1.len();
        let (coarse, fine) = (case(&[set(i64::MAX)]), case(&[set(1000), set(i64::MAX)]));
        assert_eq!((panes(&coarse), panes(&fine)), (1, 6));
        assert_eq!(split_watermarks(&coarse, 4), coarse);
        assert_eq!(coarsen_watermarks(&fine), fine);
    }

    #[test]
    fn exhaustive_yields_what_it_says() {
        let count = |limits: Limits| (limits.count(), exhaustive(limits).count());
        assert_eq!(count(Limits::small(0)), (6, 6));
        assert_eq!(count(Limits::small(1)), (186, 186));
        assert_eq!(count(Limits::small(2)), (5766, 5766));
        assert_eq!(Limits::small(3).count(), 178_746);
        assert_eq!(Limits::small(4).count(), 5_541_126);
        assert_eq!(Limits::tiny(3).count(), 10_368);
        assert_eq!(Limits::tiny(4).count(), 124_416);
        assert_eq!(Limits::tiny(5).count(), 1_492_992);
        let distinct: BTreeSet<String> = exhaustive(Limits::small(2)).map(|c| c.to_json()).collect();
        assert_eq!(distinct.len(), 5766);
    }

    #[test]
    fn exhaustive_small_worlds_keep_the_invariants() {
        for case in exhaustive(Limits::small(2)).chain(exhaustive(Limits::tiny(3))) {
            let mut model = Model::new(case.config.clone());
            for step in case.steps.iter().chain([&Step::Finish]) {
                model.step(step);
                model.drain();
                model.assert_invariants();
            }
            assert_eq!(model.live_windows(), 0, "{case:?}");
        }
    }

    #[test]
    fn transforms_by_hand() {
        let set = |p, w| Step::SetWatermark { p, w };
        let case = |steps: &[Step]| Case {
            name: None,
            config: Config::tumbling(1),
            steps: [&[Step::Add, Step::Add], steps].concat(),
        };
        let coarse = case(&[set(0, 0), set(0, 10), set(1, 5), set(1, 4), set(0, 11)]);
        let fine = case(&[set(0, 0), set(0, 3), set(0, 6), set(0, 10), set(1, 5), set(1, 4), set(0, 11)]);
        assert_eq!(split_watermarks(&coarse, 3), fine);
        assert_eq!(coarsen_watermarks(&fine), coarse, "the first of each stays");
    }

    /// Why the transforms leave a partition's first watermark alone.
    #[test]
    fn w5_a_finer_first_report_is_another_timeline() {
        let set = |p, w| Step::SetWatermark { p, w };
        let run = |first_reports: &[Step]| {
            let held = [Step::Add, set(0, 10), Step::Add, set(0, 30)];
            let mut model = Model::new(Config::tumbling(1));
            let steps = held.iter().chain(first_reports);
            steps.map(|step| model.step(step).watermark).last()
        };
        assert_eq!(run(&[set(1, 20)]), Some(20));
        assert_eq!(run(&[set(1, 5), set(1, 20)]), Some(30));
    }

    /// Why events of sessions are not permuted.
    #[test]
    fn l1_events_of_sessions_in_another_order_are_another_timeline() {
        let event = |time| Step::Event { p: 0, time, key: 0, value: 0, gap: None };
        let steps = [Step::Add, Step::SetWatermark { p: 0, w: 13 }, event(20), event(8), event(2)];
        let case = |steps: &[Step]| Case {
            name: None,
            config: Config::of(Windows::session(10)),
            steps: steps.to_vec(),
        };
        let last = |case: &Case| Model::run(case).pop().unwrap().verdict;
        assert_eq!(last(&case(&steps)), Some(Verdict::Accepted));
        let mut turned = steps.clone();
        turned.swap(3, 4);
        assert!(matches!(Model::run(&case(&turned))[3].verdict, Some(Verdict::Late { .. })));
        for seed in 0..9 {
            assert_eq!(permute_events(&case(&steps), seed), case(&steps));
        }
    }

    /// All that the host can tell one run from another by.
    fn told(case: &Case) -> (Vec<Verdict>, Vec<Pane>, Option<i64>) {
        let outcomes = Model::run(case);
        let verdicts = outcomes.iter().filter_map(|outcome| outcome.verdict.clone());
        let panes = outcomes.iter().flat_map(|outcome| outcome.panes.clone());
        let last = outcomes.last().map(|outcome: &Outcome| outcome.watermark);
        (verdicts.collect(), panes.collect(), last)
    }

    /// Per event its verdict, and each on-time pane, regardless of arrival.
    fn told_regardless_of_arrival(case: &Case) -> (BTreeSet<String>, Vec<Pane>) {
        let events = case.steps.iter().filter(|step| matches!(step, Step::Event { .. }));
        let (verdicts, mut panes, _) = told(case);
        let verdicts = events.zip(verdicts).map(|pair| format!("{pair:?}")).collect();
        panes.retain(|pane| pane.timing == Timing::OnTime);
        for pane in &mut panes {
            pane.events.iter_mut().for_each(|event| event.seq = 0);
            pane.events.sort_by_key(|event| (event.time, event.value));
        }
        (verdicts, panes)
    }

    proptest! {
        #[test]
        fn split_and_coarse_watermarks_tell_the_same(case in case(), pieces in 1..5u32) {
            let split = split_watermarks(&case, pieces);
            prop_assert_eq!(told(&split), told(&case));
            prop_assert_eq!(told(&coarsen_watermarks(&split)), told(&case));
        }

        #[test]
        fn permuted_events_tell_the_same(
            mut case in prop_oneof![aligned_case(), case()],
            seed: u64,
            plain: bool,
        ) {
            // Half of the cases are sure to be ones that are permuted at all.
            if plain {
                case.config.generator = crate::Generator::Host;
                case.config.max_future_skew = None;
            }
            let permuted = permute_events(&case, seed);
            prop_assert_eq!(told_regardless_of_arrival(&permuted), told_regardless_of_arrival(&case));
        }

        #[test]
        fn steps_alone_are_as_legal_as_a_case(
            (config, steps) in config().prop_flat_map(|c| (Just(c.clone()), steps(&c))),
        ) {
            let mut model = Model::new(config);
            for step in &steps {
                model.step(step);
                model.assert_invariants();
            }
            prop_assert_eq!(&steps[0], &Step::Add);
        }
    }

    #[test]
    fn permuting_changes_something() {
        let events = (0..20).map(|value| Step::Event { p: 0, time: value, key: 0, value, gap: None });
        let case = Case {
            name: None,
            config: Config::tumbling(10),
            steps: [Step::Add].into_iter().chain(events).collect(),
        };
        let permuted = permute_events(&case, 1);
        assert_ne!(permuted, case);
        assert_eq!(permuted.steps[..2], case.steps[..2]);
        assert_eq!(permuted, permute_events(&case, 1), "replays");
        assert_ne!(permuted, permute_events(&case, 2));
    }
}
