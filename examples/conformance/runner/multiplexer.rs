//! Outputs combined into one: partitions whose watermarks the host sets, of which none is left out for
//! being behind ([`Resume::Hold`]).
//!
//! After a report through an *immediate* output the host looks at the combined watermark, after one through
//! a *deferred* output it does not. Between two looks the order of reports does not matter (W6), which is
//! what makes "deferred" a matter of looking alone.

use std::collections::HashMap;

use floodmark::{Count, Partition, Resume};
use floodmark_oracle::valve::Output;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::flink::{self, Clockwork, Downstream};
use super::report::{Outcome, difference};

#[derive(Deserialize)]
struct Case {
    input: Vec<Step>,
    emitted: Vec<Vec<Output>>,
}

#[derive(Deserialize)]
enum Step {
    #[serde(rename = "reg")]
    Register(String),
    #[serde(rename = "unreg")]
    Unregister(String),
    #[serde(rename = "imm")]
    Immediate(String, i64),
    #[serde(rename = "def")]
    Deferred(String, i64),
    #[serde(rename = "imm_idle")]
    ImmediateIdle(String),
    #[serde(rename = "imm_active")]
    ImmediateActive(String),
    #[serde(rename = "def_idle")]
    DeferredIdle(String),
    #[serde(rename = "def_active")]
    DeferredActive(String),
    #[serde(rename = "p")]
    Periodic(IgnoredAny),
}

pub(super) fn replay(line: &str) -> serde_json::Result<Outcome> {
    let case: Case = serde_json::from_str(line)?;
    Ok(match run(&case) {
        Ok(ours) => {
            difference(&flink::translate(&case.emitted), &ours).map_or(Outcome::Passed, Outcome::Failed)
        }
        Err(error) => Outcome::Failed(error),
    })
}

fn run(case: &Case) -> Result<Vec<Vec<Output>>, String> {
    let mut multiplexer = Multiplexer::new();
    let mut downstream = Downstream::new();
    let mut step = |step: &Step| {
        if !take(&mut multiplexer, step, downstream.watermark())? {
            return Ok(Vec::new());
        }
        let (watermark, idle) = multiplexer.look();
        Ok(downstream.tell(watermark, idle))
    };
    case.input.iter().map(&mut step).collect()
}

/// Takes a step, and says whether it is one to look after.
fn take(multiplexer: &mut Multiplexer, step: &Step, emitted: i64) -> Result<bool, String> {
    match step {
        Step::Register(id) => multiplexer.register(id),
        Step::Unregister(id) => multiplexer.unregister(id)?,
        Step::Deferred(id, w) => _ = multiplexer.report(id, flink::watermark(*w))?,
        Step::DeferredIdle(id) => multiplexer.idle(id)?,
        Step::DeferredActive(id) => multiplexer.activate(id)?,
        Step::Immediate(id, w) => {
            // Only what is new, and ahead of what has been emitted, makes Flink look.
            let w = flink::watermark(*w);
            return Ok(multiplexer.report(id, w)? && w > emitted);
        }
        Step::ImmediateIdle(id) => return multiplexer.idle(id).map(|()| true),
        Step::ImmediateActive(id) => return multiplexer.activate(id).map(|()| true),
        Step::Periodic(_) => return Ok(true),
    }
    Ok(false)
}

/// Outputs under names, as partitions of a kernel.
pub(super) struct Multiplexer {
    kernel: Clockwork,
    outputs: HashMap<String, Registered>,
}

struct Registered {
    partition: Partition,
    /// Kept here too: to ask the kernel would be to look.
    watermark: i64,
}

impl Multiplexer {
    pub(super) fn new() -> Self {
        let config = flink::clockwork().resume(Resume::Hold);
        Self { kernel: config.build(Count).expect("the windows are valid"), outputs: HashMap::new() }
    }

    pub(super) fn register(&mut self, id: &str) {
        let partition = self.kernel.add_partition();
        self.outputs.insert(id.to_owned(), Registered { partition, watermark: i64::MIN });
    }

    pub(super) fn unregister(&mut self, id: &str) -> Result<(), String> {
        let output = self.outputs.remove(id).ok_or_else(|| unregistered(id))?;
        self.kernel.remove_partition(output.partition).map_err(|error| error.to_string())
    }

    /// Takes an output's watermark, in our words, and says whether it is higher than before.
    pub(super) fn report(&mut self, id: &str, watermark: i64) -> Result<bool, String> {
        // Who emits a watermark is active: so says the contract of Flink's outputs, whatever the watermark.
        // With us only one that is higher than before says so by itself.
        self.activate(id)?;
        let output = self.outputs.get_mut(id).ok_or_else(|| unregistered(id))?;
        let before = output.watermark;
        output.watermark = before.max(watermark);
        let set = self.kernel.set_watermark(output.partition, floodmark::Watermark::from_micros(watermark));
        set.map(|()| watermark > before).map_err(|error| error.to_string())
    }

    pub(super) fn idle(&mut self, id: &str) -> Result<(), String> {
        self.kernel.mark_idle(self.partition(id)?).map_err(|error| error.to_string())
    }

    fn activate(&mut self, id: &str) -> Result<(), String> {
        self.kernel.mark_active(self.partition(id)?).map_err(|error| error.to_string())
    }

    /// The combined watermark, and whether all outputs are idle.
    pub(super) fn look(&mut self) -> (i64, bool) {
        (flink::observe(&mut self.kernel), flink::all_idle(&self.kernel))
    }

    fn partition(&self, id: &str) -> Result<Partition, String> {
        self.outputs.get(id).map(|output| output.partition).ok_or_else(|| unregistered(id))
    }
}

fn unregistered(id: &str) -> String {
    format!("output {id} is not registered")
}
