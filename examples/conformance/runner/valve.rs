//! The minimum over channels: partitions whose watermarks the host sets.

use floodmark::{Count, Partition};
use floodmark_oracle::valve::{Input, Output, Status, Switches, Valve};
use serde::Deserialize;

use super::flink::{self, Clockwork, Rising};
use super::report::{Outcome, difference};

const MAXIMUM: &str = "all idle: maximum over all (W4, finding 14)";
const RETURN: &str = "return ahead counts at once (W6, finding 15)";

#[derive(Deserialize)]
struct Case {
    channels: usize,
    input: Vec<Input>,
    output: Vec<Vec<Output>>,
}

pub(super) fn replay(line: &str) -> serde_json::Result<Outcome> {
    let case: Case = serde_json::from_str(line)?;
    let ours = kernel(&case);
    // The model speaks for Flink below, so it has to give what was recorded.
    if let Some(difference) = difference(&case.output, &model(&case, Switches::default())) {
        return Ok(Outcome::Failed(format!("the model of Flink's valve is wrong: {difference}")));
    }
    Ok(match difference(&flink::translate(&case.output), &ours) {
        None => Outcome::Passed,
        Some(difference) => explain(&case, &ours).map_or(Outcome::Failed(difference), Outcome::Deviation),
    })
}

/// The fewest rules that turn what was recorded into exactly ours.
fn explain(case: &Case, ours: &[Vec<Output>]) -> Option<Vec<&'static str>> {
    let maximum = Switches { flush_max_on_all_idle: true, emit_on_return: false };
    let back = Switches { flush_max_on_all_idle: false, emit_on_return: true };
    let both = Switches { flush_max_on_all_idle: true, emit_on_return: true };
    [(maximum, vec![MAXIMUM]), (back, vec![RETURN]), (both, vec![MAXIMUM, RETURN])]
        .into_iter()
        .find(|&(switches, _)| flink::translate(&model(case, switches)) == ours)
        .map(|(_, rules)| rules)
}

fn model(case: &Case, switches: Switches) -> Vec<Vec<Output>> {
    let mut valve = Valve::new(case.channels, switches);
    case.input.iter().map(|&input| valve.input(input)).collect()
}

fn kernel(case: &Case) -> Vec<Vec<Output>> {
    let mut channels = Channels::new(case.channels);
    case.input.iter().map(|&input| channels.step(input)).collect()
}

struct Channels {
    kernel: Clockwork,
    partitions: Vec<Partition>,
    /// As the host has declared them.
    statuses: Vec<Status>,
    rising: Rising,
    status: Status,
}

impl Channels {
    fn new(channels: usize) -> Self {
        let mut kernel: Clockwork = flink::clockwork().build(Count).expect("the windows are valid");
        let partitions = (0..channels).map(|_| kernel.add_partition()).collect();
        let statuses = vec![Status::Active; channels];
        Self { kernel, partitions, statuses, rising: Rising::new(), status: Status::Active }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.declare(input);
        let watermark = flink::observe(&mut self.kernel);
        let status = if flink::all_idle(&self.kernel) { Status::Idle } else { Status::Active };
        let mut output = Vec::new();
        if self.rising.rises_to(watermark) {
            output.push(Output::Watermark(watermark));
        }
        if std::mem::replace(&mut self.status, status) != status {
            output.push(Output::Status(status));
        }
        output
    }

    fn declare(&mut self, input: Input) {
        let known = match input {
            // The valve neither heeds nor remembers the watermarks of an idle channel (finding 16). With us a
            // report that raises a partition's watermark makes it active, so a host that wants the valve's
            // contract keeps such reports to itself.
            Input::Watermark(channel, _) if self.statuses[channel] == Status::Idle => return,
            Input::Watermark(channel, w) => {
                self.kernel.set_watermark(self.partitions[channel], flink::into_kernel(w))
            }
            Input::Status(channel, status) => {
                self.statuses[channel] = status;
                match status {
                    Status::Idle => self.kernel.mark_idle(self.partitions[channel]),
                    Status::Active => self.kernel.mark_active(self.partitions[channel]),
                }
            }
        };
        known.expect("every channel is there to the end");
    }
}
