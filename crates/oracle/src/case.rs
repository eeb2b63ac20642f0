//! The case format: what is configured, and what happens, step by step.
//!
//! A case is data, so that somebody who does not read Rust can check it:
//!
//! ```json
//! {"name": "boundary", "config": {"size": 10, "slide": 10},
//!  "steps": ["add",
//!            {"event": {"p": 0, "time": 9, "key": 1, "value": 7}},
//!            {"set_watermark": {"p": 0, "w": 10}},
//!            "finish"]}
//! ```

use serde::{Deserialize, Serialize};

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

/// Windows, lateness and watermarks. Only `size` and `slide` have no default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Length of a window, at least 1.
    pub size: i64,
    /// Distance between window starts, at least 1; equal to `size` for tumbling.
    pub slide: i64,
    /// Where the grid starts; any value, windows are `[offset + k * slide, + size)`.
    #[serde(default)]
    pub offset: i64,
    /// How long a fired window still accepts events, at least 0.
    #[serde(default)]
    pub lateness: i64,
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
    /// When a window that already fired fires again.
    #[serde(default)]
    pub late_firing: LateFiring,
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

/// When a late but admitted event makes its window fire again (F3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateFiring {
    /// At once, for each event.
    #[default]
    EachEvent,
    /// Once for each window and key when the host drains.
    OncePerDrain,
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
    /// Tumbling windows with every setting at its default.
    #[must_use]
    pub fn tumbling(size: i64) -> Self {
        Self::sliding(size, size)
    }

    /// Sliding windows with every setting at its default.
    #[must_use]
    pub fn sliding(size: i64, slide: i64) -> Self {
        Self {
            size,
            slide,
            offset: 0,
            lateness: 0,
            generator: Generator::Host,
            idle_timeout: None,
            resume: Resume::Exclude,
            max_future_skew: None,
            late_firing: LateFiring::EachEvent,
        }
    }

    /// Whether the configuration is legal.
    ///
    /// # Errors
    /// Says in words which setting is not.
    pub fn check(&self) -> Result<(), String> {
        let bound = match self.generator {
            Generator::Host => 0,
            Generator::Bounded { bound } => bound,
        };
        let skew = self.max_future_skew.map_or(0, |guard| guard.skew);
        for (name, given, minimum) in [
            ("size", self.size, 1),
            ("slide", self.slide, 1),
            ("lateness", self.lateness, 0),
            ("bound", bound, 0),
            ("idle_timeout", self.idle_timeout.unwrap_or(0), 0),
            ("skew", skew, 0),
        ] {
            if given < minimum {
                return Err(format!("{name} is {given}, the minimum is {minimum}"));
            }
        }
        Ok(())
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
                "config": {"size": 10, "slide": 5, "offset": -3,
                           "generator": {"bounded": {"bound": 2}},
                           "max_future_skew": {"skew": 9, "policy": "reject"},
                           "resume": "hold", "late_firing": "once_per_drain"},
                "steps": ["add", {"event": {"p": 0, "time": -1, "key": 4, "value": 5}},
                          {"set_watermark": {"p": 0, "w": 9223372036854775807}},
                          {"idle": {"p": 0}}, {"tick": {"now": 3}}, "finish"]}"#,
        )
        .unwrap();
        let mut config = Config::sliding(10, 5);
        config.offset = -3;
        config.generator = Generator::Bounded { bound: 2 };
        config.max_future_skew = Some(FutureSkew { skew: 9, policy: SkewPolicy::Reject });
        config.resume = Resume::Hold;
        config.late_firing = LateFiring::OncePerDrain;
        assert_eq!(case.config, config);
        assert_eq!(case.steps.len(), 6);
        assert_eq!(case.steps[2], Step::SetWatermark { p: 0, w: i64::MAX }, "extremes survive JSON exactly");
        assert_eq!(Case::from_json(&case.to_json()).unwrap(), case);
    }

    #[test]
    fn refuses_what_is_not_a_legal_case() {
        let bad =
            |config: &str| Case::from_json(&format!(r#"{{"config": {config}, "steps": []}}"#)).unwrap_err();
        assert_eq!(bad(r#"{"size": 0, "slide": 1}"#), "size is 0, the minimum is 1");
        assert_eq!(bad(r#"{"size": 1, "slide": -1}"#), "slide is -1, the minimum is 1");
        assert!(bad(r#"{"size": 1, "slide": 1, "latness": 1}"#).contains("latness"));
    }
}
