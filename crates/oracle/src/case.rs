//! The case format: what is configured, and what happens, step by step.
//!
//! A case is data, so that somebody who does not read Rust can check it:
//!
//! ```json
//! {"name": "boundary",
//!  "config": {"windows": [{"kind": {"sliding": {"size": 10, "slide": 10}}}]},
//!  "steps": ["add",
//!            {"event": {"p": 0, "time": 9, "key": 1, "value": 7}},
//!            {"set_watermark": {"p": 0, "w": 10}},
//!            "finish"]}
//! ```

mod windows;

use serde::{Deserialize, Serialize};

pub use windows::{Accumulation, Base, Kind, LateFiring, Trigger, Windows};

/// A configuration and the timeline to run under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case is about; generated cases have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The configuration the steps run under.
    pub config: Config,
    /// The calls, in order.
    pub steps: Vec<Step>,
}

/// Windows and watermarks. Only `windows` has no default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The definitions of windows, at least one. Where an order is needed between
    /// them, it is this.
    pub windows: Vec<Windows>,
    /// Where the partitions' watermarks come from.
    #[serde(default)]
    pub generator: Generator,
    /// A partition silent for longer than this (by ticks) is idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<i64>,
    /// What a partition that comes back behind the watermark does to it.
    #[serde(default)]
    pub resume: Resume,
    /// The guard against events from the far future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_future_skew: Option<FutureSkew>,
    /// If nobody was heard of for longer than this (by ticks), at least 0, the
    /// watermark goes to the end of what is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_after_quiet: Option<i64>,
}

/// Where a partition's watermark comes from (W2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Generator {
    /// Only from the host.
    #[default]
    Host,
    /// The largest event time less `bound`, or the host's if that is higher.
    /// Ascending is `bound` 0.
    Bounded {
        /// The disorder allowed for, at least 0.
        bound: i64,
    },
    /// Like `Bounded`, with a bound that so many in a million of a partition's
    /// events have kept to.
    Learned {
        /// How many in a million, at least 1.
        ppm: i64,
        /// The least that the bound can be, at least 0.
        at_least: i64,
        /// The most that it can be, at least `at_least`.
        at_most: i64,
        /// Until so many events, at least 0, it is `at_most`.
        warm_up: i64,
        /// At so many events, at least 2, half of what was learned is forgotten.
        memory: i64,
    },
}

/// What a partition that resumes behind the watermark does to it (W4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// It doesn't count until it has caught up.
    #[default]
    Exclude,
    /// It holds the watermark still until it has caught up.
    Hold,
}

/// The guard against a clock that lies (W7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FutureSkew {
    /// How far ahead an event may be, at least 0.
    pub skew: i64,
    /// What becomes of one that is further ahead.
    pub policy: SkewPolicy,
}

/// What becomes of a suspect event (W7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkewPolicy {
    /// It is windowed, but moves no watermark.
    Admit,
    /// It is rejected.
    Reject,
}

/// One call. Partitions are named by the ordinal of their [`Step::Add`], from 0;
/// naming one that is gone or never was is legal and is answered by an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Adds the next partition.
    Add,
    /// Removes a partition: it is gone, and says nothing about the end of input.
    Remove {
        /// Which partition.
        p: u32,
    },
    /// Ends a partition: it is gone because its input is complete.
    End {
        /// Which partition.
        p: u32,
    },
    /// Offers an event.
    Event {
        /// The partition it comes from.
        p: u32,
        /// When it happened.
        time: i64,
        /// Whom it is about.
        key: u32,
        /// What it says.
        value: i64,
        /// How long it keeps a session open, if not as long as the definition says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gap: Option<i64>,
    },
    /// The host sets a partition's watermark.
    SetWatermark {
        /// Which partition.
        p: u32,
        /// Nothing with time `< w` will come.
        w: i64,
    },
    /// The host declares a partition idle.
    Idle {
        /// Which partition.
        p: u32,
    },
    /// The host declares a partition active.
    Active {
        /// Which partition.
        p: u32,
    },
    /// The host's processing time.
    Tick {
        /// The time.
        now: i64,
    },
    /// End of input for all partitions.
    Finish,
}

impl Config {
    /// One definition of windows, and every other setting at its default.
    #[must_use]
    pub fn of(windows: Windows) -> Self {
        Self {
            windows: vec![windows],
            generator: Generator::Host,
            idle_timeout: None,
            resume: Resume::Exclude,
            max_future_skew: None,
            close_after_quiet: None,
        }
    }

    /// Tumbling windows with every setting at its default.
    #[must_use]
    pub fn tumbling(size: i64) -> Self {
        Self::of(Windows::tumbling(size))
    }

    /// Sliding windows with every setting at its default.
    #[must_use]
    pub fn sliding(size: i64, slide: i64) -> Self {
        Self::of(Windows::sliding(size, slide))
    }

    /// Whether some panes wait for the host's drain, so that what comes out
    /// depends on when that is.
    #[must_use]
    pub fn fires_once_per_drain(&self) -> bool {
        self.windows.iter().any(|windows| windows.late_firing == LateFiring::OncePerDrain)
    }

    /// Whether something other than idleness depends on ticks, so that each is an
    /// observation.
    #[must_use]
    pub fn observes_ticks(&self) -> bool {
        let by_ticks = |windows: &Windows| windows.trigger.early_ticks.is_some();
        self.close_after_quiet.is_some() || self.windows.iter().any(by_ticks)
    }

    /// Whether the configuration is legal.
    ///
    /// # Errors
    /// Says in words which setting is not.
    pub fn check(&self) -> Result<(), String> {
        if self.windows.is_empty() {
            return Err("there are no windows".to_string());
        }
        for (number, windows) in self.windows.iter().enumerate() {
            windows.check().map_err(|why| format!("windows[{number}]: {why}"))?;
        }
        self.generator.check()?;
        let skew = self.max_future_skew.map_or(0, |guard| guard.skew);
        at_least(&[
            ("idle_timeout", self.idle_timeout.unwrap_or(0), 0),
            ("skew", skew, 0),
            ("close_after_quiet", self.close_after_quiet.unwrap_or(0), 0),
        ])
    }
}

impl Generator {
    fn check(self) -> Result<(), String> {
        match self {
            Self::Host => Ok(()),
            Self::Bounded { bound } => at_least(&[("bound", bound, 0)]),
            Self::Learned { ppm: 1_000_001.., .. } => Err("ppm is above a million".to_string()),
            Self::Learned { ppm, at_least: lowest, at_most, warm_up, memory } => at_least(&[
                ("ppm", ppm, 1),
                ("at_least", lowest, 0),
                ("at_most", at_most, lowest),
                ("warm_up", warm_up, 0),
                ("memory", memory, 2),
            ]),
        }
    }
}

/// Names the first setting that is below its minimum.
fn at_least(settings: &[(&str, i64, i64)]) -> Result<(), String> {
    match settings.iter().find(|(_, given, minimum)| given < minimum) {
        Some((name, given, minimum)) => Err(format!("{name} is {given}, the minimum is {minimum}")),
        None => Ok(()),
    }
}

impl Case {
    /// Reads a case from JSON and checks its configuration.
    ///
    /// # Errors
    /// When the text is not a case, or its configuration is not legal.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let case: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        case.config.check()?;
        Ok(case)
    }

    /// Writes the case as one line of JSON.
    ///
    /// # Panics
    /// Never: nothing in a case is without a JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a case is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_case_written_by_hand() {
        let case = Case::from_json(
            r#"{"name": "by hand",
                "config": {"windows": [{"kind": {"sliding": {"size": 10, "slide": 5, "offset": -3}},
                                        "late_firing": "once_per_drain"}],
                           "generator": {"bounded": {"bound": 2}},
                           "max_future_skew": {"skew": 9, "policy": "reject"},
                           "resume": "hold"},
                "steps": ["add", {"event": {"p": 0, "time": -1, "key": 4, "value": 5}},
                          {"set_watermark": {"p": 0, "w": 9223372036854775807}},
                          {"idle": {"p": 0}}, {"tick": {"now": 3}}, "finish"]}"#,
        )
        .unwrap();
        let windows = Windows {
            late_firing: LateFiring::OncePerDrain,
            ..Windows::of(Kind::Sliding { size: 10, slide: 5, offset: -3 })
        };
        let config = Config {
            generator: Generator::Bounded { bound: 2 },
            max_future_skew: Some(FutureSkew { skew: 9, policy: SkewPolicy::Reject }),
            resume: Resume::Hold,
            ..Config::of(windows)
        };
        assert_eq!(case.config, config);
        assert_eq!(case.steps.len(), 6);
        assert_eq!(case.steps[1], Step::Event { p: 0, time: -1, key: 4, value: 5, gap: None });
        assert_eq!(case.steps[2], Step::SetWatermark { p: 0, w: i64::MAX }, "extremes survive JSON exactly");
        assert_eq!(Case::from_json(&case.to_json()).unwrap(), case);
    }

    #[test]
    fn reads_every_kind_of_windows() {
        let case = Case::from_json(
            r#"{"config": {"windows": [
                    {"kind": {"cumulative": {"step": 2, "max": 6, "offset": 1}},
                     "trigger": {"early_events": 2, "early_time": 3, "early_ticks": 4},
                     "accumulation": "retracting"},
                    {"kind": {"session": {"gap": 5, "max_length": 9}}, "lateness": 7,
                     "trigger": {"base": {"continuous": {"every": 3}}}},
                    {"kind": "global", "trigger": {"base": {"count": {"n": 3}}},
                     "accumulation": "discarding"},
                    {"kind": {"edges": {"edges": [0, 1, 5]}}}]},
                "steps": [{"event": {"p": 0, "time": 1, "key": 0, "value": 5, "gap": 3}}]}"#,
        )
        .unwrap();
        let early =
            Trigger { base: Base::OnTime, early_events: Some(2), early_time: Some(3), early_ticks: Some(4) };
        let windows = [
            Windows {
                trigger: early,
                accumulation: Accumulation::Retracting,
                ..Windows::of(Kind::Cumulative { step: 2, max: 6, offset: 1 })
            },
            Windows {
                lateness: 7,
                trigger: Trigger::on(Base::Continuous { every: 3 }),
                ..Windows::of(Kind::Session { gap: 5, max_length: Some(9) })
            },
            Windows {
                trigger: Trigger::on(Base::Count { n: 3 }),
                accumulation: Accumulation::Discarding,
                ..Windows::global()
            },
            Windows::edges(&[0, 1, 5]),
        ];
        assert_eq!(case.config.windows, windows);
        assert_eq!(case.steps, [Step::Event { p: 0, time: 1, key: 0, value: 5, gap: Some(3) }]);
        assert_eq!(Case::from_json(&case.to_json()).unwrap(), case);
    }

    #[test]
    fn refuses_what_is_not_a_legal_case() {
        let bad = |windows: &str| {
            let text = format!(r#"{{"config": {{"windows": [{windows}]}}, "steps": []}}"#);
            Case::from_json(&text).unwrap_err()
        };
        let kind = |kind: &str| bad(&format!(r#"{{"kind": {{{kind}}}}}"#));
        let of_minimum = |what: &str, minimum: i64| format!("windows[0]: {what}, the minimum is {minimum}");
        assert_eq!(bad(""), "there are no windows");
        assert_eq!(kind(r#""sliding": {"size": 0, "slide": 1}"#), of_minimum("size is 0", 1));
        assert_eq!(kind(r#""sliding": {"size": 1, "slide": -1}"#), of_minimum("slide is -1", 1));
        assert_eq!(kind(r#""session": {"gap": 0}"#), of_minimum("gap is 0", 1));
        assert_eq!(kind(r#""session": {"gap": 1, "max_length": 0}"#), of_minimum("max_length is 0", 1));
        assert_eq!(kind(r#""edges": {"edges": [1]}"#), of_minimum("there are 1 edges", 2));
        assert_eq!(kind(r#""edges": {"edges": [1, 5, 5]}"#), "windows[0]: edge 5 comes after edge 5");
        let uneven = kind(r#""cumulative": {"step": 3, "max": 10}"#);
        assert_eq!(uneven, "windows[0]: max is 10, not a multiple of step, which is 3");
        assert!(bad(r#"{"kind": "global", "latness": 1}"#).contains("latness"));
    }

    #[test]
    fn reads_what_is_learned_filled_and_closed() {
        let case = Case::from_json(
            r#"{"config": {"windows": [{"kind": {"sliding": {"size": 10, "slide": 10}}, "fill": 30}],
                           "generator": {"learned": {"ppm": 990000, "at_least": 1, "at_most": 60,
                                                     "warm_up": 5, "memory": 100}},
                           "close_after_quiet": 7},
                "steps": []}"#,
        )
        .unwrap();
        let config = Config {
            generator: Generator::Learned { ppm: 990_000, at_least: 1, at_most: 60, warm_up: 5, memory: 100 },
            close_after_quiet: Some(7),
            ..Config::of(Windows { fill: Some(30), ..Windows::tumbling(10) })
        };
        assert_eq!(case.config, config);
        assert_eq!(Case::from_json(&case.to_json()).unwrap(), case);
        let plain = Case { name: None, config: Config::tumbling(1), steps: vec![] };
        for unset in ["fill", "close_after_quiet"] {
            assert!(!plain.to_json().contains(unset), "says nothing of what is not set");
        }
        let negative = Config { close_after_quiet: Some(-1), ..Config::tumbling(1) };
        assert_eq!(negative.check().unwrap_err(), "close_after_quiet is -1, the minimum is 0");
    }

    #[test]
    fn refuses_to_learn_what_makes_no_sense() {
        let check = |ppm, at_least, at_most, warm_up, memory| {
            let generator = Generator::Learned { ppm, at_least, at_most, warm_up, memory };
            Config { generator, ..Config::tumbling(1) }.check()
        };
        let of_minimum = |what: &str, minimum: i64| Err(format!("{what}, the minimum is {minimum}"));
        assert_eq!(check(1, 0, 0, 0, 2), Ok(()));
        assert_eq!(check(1_000_000, 5, 5, 9, 9), Ok(()));
        assert_eq!(check(0, 0, 0, 0, 2), of_minimum("ppm is 0", 1));
        assert_eq!(check(1_000_001, 0, 0, 0, 2), Err("ppm is above a million".to_string()));
        assert_eq!(check(1, -1, 0, 0, 2), of_minimum("at_least is -1", 0));
        assert_eq!(check(1, 5, 4, 0, 2), of_minimum("at_most is 4", 5));
        assert_eq!(check(1, 0, 0, -1, 2), of_minimum("warm_up is -1", 0));
        assert_eq!(check(1, 0, 0, 0, 1), of_minimum("memory is 1", 2));
    }

    #[test]
    fn refuses_triggers_that_make_no_sense() {
        let bad = |trigger: &str| {
            let windows = format!(r#"{{"kind": "global", "trigger": {{{trigger}}}}}"#);
            let text = format!(r#"{{"config": {{"windows": [{windows}]}}, "steps": []}}"#);
            Case::from_json(&text).unwrap_err()
        };
        let zero = |name: &str| format!("windows[0]: {name} is 0, the minimum is 1");
        assert_eq!(bad(r#""base": {"count": {"n": 0}}"#), zero("n"));
        assert_eq!(bad(r#""base": {"continuous": {"every": 0}}"#), zero("every"));
        for name in ["early_events", "early_time", "early_ticks"] {
            assert_eq!(bad(&format!(r#""{name}": 0"#)), zero(name));
            let both = bad(&format!(r#""{name}": 1, "base": {{"count": {{"n": 2}}}}"#));
            assert!(both.contains("early panes go with on_time only"), "{both}");
        }
        let endless = bad(r#""base": {"continuous": {"every": 5}}"#);
        assert_eq!(endless, "windows[0]: a global window that fires continuously never ends");
    }
}
