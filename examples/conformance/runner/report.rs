//! What came of the cases of a file.

use std::collections::BTreeMap;
use std::fmt;

/// What came of a case.
#[derive(Debug)]
pub(super) enum Outcome {
    Passed,
    /// It differs, by these rules of the design and by nothing else.
    Deviation(Vec<&'static str>),
    /// It differs, and no rule says why. Says where first.
    Failed(String),
    /// It asks for something that is not there yet.
    Skipped,
}

/// The cases of a file, counted. Each counts once, but a deviation counts under each of its rules.
#[derive(Debug)]
pub(crate) struct Report {
    name: String,
    pub(crate) passed: usize,
    /// The failed cases, each with its first difference.
    pub(crate) failures: Vec<String>,
    deviations: usize,
    rules: BTreeMap<&'static str, usize>,
    skipped: usize,
}

impl Report {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            passed: 0,
            failures: Vec::new(),
            deviations: 0,
            rules: BTreeMap::new(),
            skipped: 0,
        }
    }

    pub(super) fn count(&mut self, id: &str, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Failed(why) => self.failures.push(format!("{id}: {why}")),
            Outcome::Deviation(rules) => {
                self.deviations += 1;
                for rule in rules {
                    *self.rules.entry(rule).or_default() += 1;
                }
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, passed, failures, deviations, rules, skipped } = self;
        write!(f, "{name}: {passed} passed, {} failed, {deviations} deviations", failures.len())?;
        if !rules.is_empty() {
            let rules: Vec<String> = rules.iter().map(|(rule, count)| format!("{rule}: {count}")).collect();
            write!(f, " ({})", rules.join("; "))?;
        }
        write!(f, ", {skipped} skipped")
    }
}

/// The first step where two outputs differ, in words.
pub(super) fn difference<T: PartialEq + fmt::Debug>(recorded: &[T], ours: &[T]) -> Option<String> {
    if recorded.len() != ours.len() {
        return Some(format!("{} steps of output are recorded for {} of input", recorded.len(), ours.len()));
    }
    let at = recorded.iter().zip(ours).position(|(theirs, ours)| theirs != ours)?;
    Some(format!("step {at}: recorded {:?}, ours {:?}", recorded[at], ours[at]))
}
