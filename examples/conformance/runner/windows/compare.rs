//! Ours against what was recorded, step by step.

use serde::Deserialize;

use super::super::flink::Translation;
use super::super::report::{Outcome, difference};
use super::Step;
use super::setup::Supported;

const GAP: &str = "gap element is unassigned (A1)";
const WRAP: &str = "arithmetic does not wrap (T2)";

/// A record of a vector's output.
#[derive(Deserialize)]
pub(super) enum Record {
    #[serde(rename = "fire")]
    Fire(Fire),
    #[serde(rename = "late")]
    Late(i64, i64, i64),
    #[serde(rename = "w")]
    Watermark(i64),
    #[serde(rename = "error")]
    Error(String),
}

/// Key, start, end, value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Fire(pub(super) i64, pub(super) i64, pub(super) i64, pub(super) Fired);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub(super) enum Fired {
    Number(i64),
    List(Vec<i64>),
}

/// What the kernel answered to a step.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) given: Given,
    /// In the order of polling.
    pub(super) fires: Vec<Fire>,
    /// If it rose.
    pub(super) watermark: Option<i64>,
}

/// What a step gave back.
#[derive(Debug)]
pub(super) enum Given {
    Nothing,
    Late(i64, i64, i64),
    Unassigned,
    Rejected(String),
}

/// What is compared of a step.
#[derive(Debug, Default, PartialEq)]
struct Effect {
    /// Sorted: as a multiset.
    fires: Vec<Fire>,
    late: Vec<(i64, i64, i64)>,
    watermarks: Vec<i64>,
    error: Option<String>,
}

pub(super) fn judge(
    setup: &Supported,
    input: &[Step],
    output: Vec<Vec<Record>>,
    mut ours: Vec<Answer>,
) -> Outcome {
    if let Some(wrong) = input.iter().zip(&ours).enumerate().find_map(|(at, (s, o))| check(setup, at, s, o)) {
        return Outcome::Failed(wrong);
    }
    let mut rules = Vec::new();
    if retell_gaps(setup, input, &mut ours) {
        rules.push(GAP);
    }
    let rejection = ours.iter().find_map(|answer| answer.rejection());
    let (recorded, ours) = (translate(output), ours.into_iter().map(Answer::effect).collect::<Vec<_>>());
    if let Some(why) = difference(&recorded, &ours).or(rejection) {
        if !input.iter().any(|step| step.wraps(setup)) {
            return Outcome::Failed(why);
        }
        rules.push(WRAP);
    }
    if rules.is_empty() { Outcome::Passed } else { Outcome::Deviation(rules) }
}

/// What is wrong with an answer whatever was recorded.
fn check(setup: &Supported, at: usize, step: &Step, answer: &Answer) -> Option<String> {
    match *step {
        Step::Element(_, time, _) => {
            let unassigned = matches!(answer.given, Given::Unassigned);
            let contradiction = unassigned != setup.is_gap(time) && answer.rejection().is_none();
            contradiction.then(|| format!("step {at}: {time} is in no window, or unassigned, but not both"))
        }
        Step::Watermark(_) => {
            let ordered = answer.fires.is_sorted_by_key(|Fire(_, _, end, _)| end);
            (!ordered)
                .then(|| format!("step {at}: fires are not in the order of window ends: {:?}", answer.fires))
        }
    }
}

/// Retells of gap elements what Flink's rule says: nothing, or that they are late (finding 7). Whether it says
/// so of any.
fn retell_gaps(setup: &Supported, input: &[Step], ours: &mut [Answer]) -> bool {
    let mut any = false;
    let mut watermark = i64::MIN;
    for (step, answer) in input.iter().zip(ours) {
        match *step {
            Step::Watermark(w) => watermark = watermark.max(w),
            Step::Element(key, time, value) => {
                let unassigned = matches!(answer.given, Given::Unassigned);
                if unassigned && setup.flink_calls_gap_late(time, watermark) {
                    answer.given = Given::Late(key, time, value);
                    any = true;
                }
            }
        }
    }
    any
}

fn translate(output: Vec<Vec<Record>>) -> Vec<Effect> {
    let mut translation = Translation::new();
    let mut translate = |records: Vec<Record>| {
        let mut effect = Effect::default();
        for record in records {
            match record {
                Record::Fire(fire) => effect.fires.push(fire),
                Record::Late(key, time, value) => effect.late.push((key, time, value)),
                Record::Watermark(f) => effect.watermarks.extend(translation.next(f)),
                Record::Error(error) => effect.error = Some(error),
            }
        }
        effect.fires.sort();
        effect
    };
    output.into_iter().map(&mut translate).collect()
}

impl Answer {
    fn effect(mut self) -> Effect {
        self.fires.sort();
        let late = match self.given {
            Given::Late(key, time, value) => vec![(key, time, value)],
            Given::Nothing | Given::Unassigned | Given::Rejected(_) => Vec::new(),
        };
        Effect { fires: self.fires, late, watermarks: self.watermark.into_iter().collect(), error: None }
    }

    fn rejection(&self) -> Option<String> {
        match &self.given {
            Given::Rejected(why) => Some(why.clone()),
            _ => None,
        }
    }
}

impl Step {
    fn wraps(&self, setup: &Supported) -> bool {
        matches!(*self, Self::Element(_, time, _) if setup.wraps(time))
    }
}
