//! Small worlds: all timelines of a few steps over a tiny alphabet.

use crate::case::{Case, Config, Generator, Kind, LateFiring, Resume, Step, Windows};

/// The world to enumerate.
///
/// It yields `configs.len() * alphabet().len().pow(steps)` cases, all of exactly
/// `steps` steps (after the adding of the partitions): a shorter timeline is the
/// beginning of a longer one, and is checked there if the check is made after
/// every step. [`Limits::small`] has 6 configurations and 31 letters: 186 cases
/// for 1 step, 5,766 for 2, 178,746 for 3, 5,541,126 for 4; [`Limits::tiny`] has
/// the same configurations and 12 letters: 10,368 for 3, 124,416 for 4,
/// 1,492,992 for 5.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The configurations, each with all timelines.
    pub configs: Vec<Config>,
    /// How many partitions are added up front.
    pub partitions: u32,
    /// How many keys there are.
    pub keys: u32,
    /// The times of events.
    pub times: Vec<i64>,
    /// The watermarks set by the host.
    pub watermarks: Vec<i64>,
    /// Whether partitions idle and resume.
    pub idleness: bool,
    /// Whether finishing is a step.
    pub finish: bool,
    /// How many steps.
    pub steps: usize,
}

impl Limits {
    /// Two partitions, two keys, five times, three watermarks, idleness, finish.
    #[must_use]
    pub fn small(steps: usize) -> Self {
        Self {
            configs: configs(),
            partitions: 2,
            keys: 2,
            times: vec![-1, 0, 1, 2, 3],
            watermarks: vec![0, 2, 4],
            idleness: true,
            finish: true,
            steps,
        }
    }

    /// One key, two times, two watermarks, idleness: fewer letters, longer words.
    #[must_use]
    pub fn tiny(steps: usize) -> Self {
        Self { keys: 1, times: vec![-1, 1], watermarks: vec![0, 2], finish: false, ..Self::small(steps) }
    }

    /// The steps to choose from. The value of an event is set by its position.
    #[must_use]
    pub fn alphabet(&self) -> Vec<Step> {
        let mut letters = Vec::new();
        for p in 0..self.partitions {
            for key in 0..self.keys {
                letters.extend(self.times.iter().map(|&time| Step::Event {
                    p,
                    time,
                    key,
                    value: 0,
                    gap: None,
                }));
            }
            let watermarks = self.watermarks.iter();
            letters.extend(watermarks.map(|&w| Step::SetWatermark { p, w }));
            if self.idleness {
                letters.extend([Step::Idle { p }, Step::Active { p }]);
            }
        }
        letters.extend(self.finish.then_some(Step::Finish));
        letters
    }

    /// How many cases there are.
    #[must_use]
    pub fn count(&self) -> usize {
        let words = (0..self.steps).fold(1, |words: usize, _| words.saturating_mul(self.alphabet().len()));
        words.saturating_mul(self.configs.len())
    }
}

/// All cases of a world.
pub fn exhaustive(limits: Limits) -> impl Iterator<Item = Case> {
    let letters = limits.alphabet();
    (0..limits.count()).map(move |number| {
        let config = number % limits.configs.len();
        let mut word = number / limits.configs.len();
        let mut steps = vec![Step::Add; limits.partitions as usize];
        for position in 0..limits.steps {
            let mut step = letters[word % letters.len()].clone();
            word /= letters.len();
            if let Step::Event { value, .. } = &mut step {
                // A power of two each, so that a sum says which events are in it.
                *value = 1 << (position % 62);
            }
            steps.push(step);
        }
        Case { name: None, config: limits.configs[config].clone(), steps }
    })
}

/// One of each: tumbling, late and held, overlapping, uneven, gaps, generated.
fn configs() -> Vec<Config> {
    vec![
        Config::tumbling(2),
        Config { resume: Resume::Hold, ..Config::of(Windows { lateness: 2, ..Windows::tumbling(2) }) },
        Config::of(Windows { lateness: 1, ..Windows::sliding(2, 1) }),
        Config::of(Windows {
            lateness: 2,
            late_firing: LateFiring::OncePerDrain,
            ..Windows::of(Kind::Sliding { size: 3, slide: 2, offset: -1 })
        }),
        Config::sliding(1, 2),
        Config { generator: Generator::Bounded { bound: 1 }, ..Config::tumbling(2) },
    ]
}
