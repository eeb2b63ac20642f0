//! Ours against what was recorded, step by step.

use serde::Deserialize;

use super::super::flink::Translation;
use super::super::report::{Outcome, difference};
use super::setup::Setup;
use super::shapes::{self, Loss};
use super::{Element, Step};

const GAP: &str = "gap element is unassigned (A1)";
const WRAP: &str = "arithmetic does not wrap (T2)";
const LOSS: &str = "a session keeps what it has collected (finding 1)";

/// A record of a vector's output.
#[derive(Deserialize)]
pub(super) enum Record {
    #[serde(rename = "fire")]
    Fire(Fire),
    #[serde(rename = "late")]
    Late(Element),
    #[serde(rename = "w")]
    Watermark(i64),
    #[serde(rename = "error")]
    Error(String),
}

/// Key, start, end, value. Global windows have no bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Fire(pub(super) i64, pub(super) Option<i64>, pub(super) Option<i64>, pub(super) Fired);

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
    Late(Element),
    Unassigned,
    Rejected(String),
}

/// What is compared of a step.
#[derive(Debug, Default, PartialEq)]
struct Effect {
    /// Sorted: as a multiset.
    fires: Vec<Fire>,
    late: Vec<Element>,
    watermarks: Vec<i64>,
    error: Option<String>,
}

pub(super) fn judge(
    setup: &Setup,
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
    let ours: Vec<Effect> = ours.into_iter().map(|answer| answer.effect(setup)).collect();
    let recorded = translate(setup, output);
    if let Some(why) = difference(&recorded, &ours).or(rejection) {
        match explain(setup, input, recorded, ours) {
            Some(rule) => rules.push(rule),
            None => return Outcome::Failed(why),
        }
    }
    if rules.is_empty() { Outcome::Passed } else { Outcome::Deviation(rules) }
}

/// The rule by which the two differ.
fn explain(
    setup: &Setup,
    input: &[Step],
    mut recorded: Vec<Effect>,
    mut ours: Vec<Effect>,
) -> Option<&'static str> {
    if input.iter().any(|step| step.wraps(setup)) {
        return Some(WRAP);
    }
    // Nothing may differ but what the sessions concerned hold from there on.
    for loss in shapes::losses(setup, input) {
        let after = recorded[loss.step..].iter_mut().chain(&mut ours[loss.step..]);
        after.for_each(|effect| effect.forget(&loss));
    }
    (recorded == ours).then_some(LOSS)
}

/// What is wrong with an answer whatever was recorded.
fn check(setup: &Setup, at: usize, step: &Step, answer: &Answer) -> Option<String> {
    match *step {
        Step::Element(Element(_, time, ..)) => {
            let unassigned = matches!(answer.given, Given::Unassigned);
            let contradiction = unassigned != setup.is_gap(time) && answer.rejection().is_none();
            contradiction.then(|| format!("step {at}: {time} is in no window, or unassigned, but not both"))
        }
        Step::Watermark(_) => {
            let ordered = answer.fires.is_sorted_by_key(|Fire(_, _, end, _)| end);
            (setup.fires_at_ends() && !ordered)
                .then(|| format!("step {at}: fires are not in the order of window ends: {:?}", answer.fires))
        }
    }
}

/// Retells of gap elements what Flink's rule says: nothing, or that they are late (finding 7). Whether it says
/// so of any.
fn retell_gaps(setup: &Setup, input: &[Step], ours: &mut [Answer]) -> bool {
    let mut any = false;
    let mut watermark = i64::MIN;
    for (step, answer) in input.iter().zip(ours) {
        match *step {
            Step::Watermark(w) => watermark = watermark.max(w),
            Step::Element(element @ Element(_, time, ..)) => {
                let unassigned = matches!(answer.given, Given::Unassigned);
                if unassigned && setup.flink_calls_gap_late(time, watermark) {
                    answer.given = Given::Late(element);
                    any = true;
                }
            }
        }
    }
    any
}

fn translate(setup: &Setup, output: Vec<Vec<Record>>) -> Vec<Effect> {
    let mut translation = Translation::new();
    let mut translate = |records: Vec<Record>| {
        let mut effect = Effect::default();
        for record in records {
            match record {
                Record::Fire(fire) => effect.fires.push(fire),
                Record::Late(element) => effect.late.push(element),
                Record::Watermark(f) => effect.watermarks.extend(translation.next(f)),
                Record::Error(error) => effect.error = Some(error),
            }
        }
        effect.normalise(setup);
        effect
    };
    output.into_iter().map(&mut translate).collect()
}

impl Answer {
    fn effect(self, setup: &Setup) -> Effect {
        let late = match self.given {
            Given::Late(element) => vec![element],
            Given::Nothing | Given::Unassigned | Given::Rejected(_) => Vec::new(),
        };
        let watermarks = self.watermark.into_iter().collect();
        let mut effect = Effect { fires: self.fires, late, watermarks, error: None };
        if setup.is_global() {
            effect.fires.iter_mut().for_each(Fire::unbind);
        }
        effect.normalise(setup);
        effect
    }

    fn rejection(&self) -> Option<String> {
        match &self.given {
            Given::Rejected(why) => Some(why.clone()),
            _ => None,
        }
    }
}

impl Effect {
    /// Leaves out what order does not mean anything.
    fn normalise(&mut self, setup: &Setup) {
        for Fire(.., value) in &mut self.fires {
            if let Fired::List(values) = value
                && !setup.orders_lists()
            {
                values.sort();
            }
        }
        self.fires.sort();
    }

    /// Leaves out what the session that has lost something holds.
    fn forget(&mut self, loss: &Loss) {
        for Fire(key, start, end, value) in &mut self.fires {
            if *key == loss.key && *start <= Some(loss.start) && *end >= Some(loss.end) {
                *value = Fired::List(Vec::new());
            }
        }
        self.fires.sort();
    }
}

impl Fire {
    /// Takes the bounds off, where they are those of all time.
    fn unbind(&mut self) {
        if (self.1, self.2) == (Some(i64::MIN), Some(i64::MAX)) {
            (self.1, self.2) = (None, None);
        }
    }
}

impl Step {
    fn wraps(&self, setup: &Setup) -> bool {
        matches!(*self, Self::Element(Element(_, time, _, gap)) if setup.wraps(time, gap))
    }
}
