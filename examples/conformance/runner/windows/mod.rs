//! The window operator: one partition, whose watermarks the host sets.

use chrono::TimeDelta;
use floodmark::{Admission, Aggregate, ConfigError, Count, Max, Min, Partition, Sum, Timestamp, Windowing};
use serde::Deserialize;

mod compare;
mod list;
mod setup;
mod shapes;

use super::flink::{self, Rising};
use super::report::Outcome;
use compare::{Answer, Fire, Fired, Given, Record};
use list::List;
use setup::{Aggregation, Setup};

#[derive(Deserialize)]
struct Case {
    config: Setup,
    input: Vec<Step>,
    output: Vec<Vec<Record>>,
}

#[derive(Clone, Copy, Deserialize)]
enum Step {
    #[serde(rename = "e")]
    Element(Element),
    #[serde(rename = "w")]
    Watermark(i64),
}

/// Key, time, value, and the gap after it where that is the element's own.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct Element(i64, i64, i64, #[serde(default)] Option<i64>);

/// What the kernel takes for the value: that, the step it came at, and the gap.
#[derive(Debug)]
struct Payload {
    step: usize,
    value: i64,
    gap: Option<i64>,
}

pub(super) fn replay(line: &str) -> serde_json::Result<Outcome> {
    let Case { config: setup, input, output } = serde_json::from_str(line)?;
    Ok(match run(&setup, &input) {
        Ok(ours) => compare::judge(&setup, &input, output, ours),
        Err(error) => Outcome::Failed(error.to_string()),
    })
}

fn run(setup: &Setup, input: &[Step]) -> Result<Vec<Answer>, ConfigError> {
    let value = |payload: &Payload| payload.value;
    let config = setup.config();
    Ok(match setup.aggregation {
        Aggregation::Sum => run_with(config.build(Sum::of(value))?, input, Fired::Number),
        Aggregation::Min => run_with(config.build(Min::of(value))?, input, Fired::Number),
        Aggregation::Max => run_with(config.build(Max::of(value))?, input, Fired::Number),
        Aggregation::Count => {
            run_with(config.build(Count)?, input, |count| Fired::Number(count.cast_signed()))
        }
        Aggregation::List => run_with(config.build(List)?, input, Fired::List),
    })
}

fn run_with<A: Aggregate<Payload>>(
    kernel: Windowing<i64, Payload, A>,
    input: &[Step],
    fired: fn(A::Output) -> Fired,
) -> Vec<Answer> {
    let mut kernel = kernel.gap_by(|payload| payload.gap.map(TimeDelta::microseconds));
    let partition = kernel.add_partition();
    let mut rising = Rising::new();
    let mut step = |(index, step): (usize, &Step)| {
        let given = take(&mut kernel, partition, index, *step);
        let fires = drain(&mut kernel, fired);
        let watermark = kernel.watermark().as_micros();
        Answer { given, fires, watermark: rising.rises_to(watermark).then_some(watermark) }
    };
    input.iter().enumerate().map(&mut step).collect()
}

fn take<A: Aggregate<Payload>>(
    kernel: &mut Windowing<i64, Payload, A>,
    partition: Partition,
    index: usize,
    step: Step,
) -> Given {
    match step {
        Step::Watermark(w) => {
            let set = kernel.set_watermark(partition, flink::into_kernel(w));
            set.expect("the partition is there to the end");
            Given::Nothing
        }
        Step::Element(Element(key, time, value, gap)) => {
            let payload = Payload { step: index, value, gap };
            match kernel.push(partition, Timestamp::from_micros(time), key, payload) {
                Ok(Admission::Late(late)) => {
                    let event = late.event;
                    let Payload { value, gap, .. } = event.value;
                    Given::Late(Element(event.key, event.time.as_micros(), value, gap))
                }
                Ok(Admission::Unassigned(_)) => Given::Unassigned,
                Ok(_) => Given::Nothing,
                Err(rejected) => Given::Rejected(rejected.to_string()),
            }
        }
    }
}

fn drain<A: Aggregate<Payload>>(
    kernel: &mut Windowing<i64, Payload, A>,
    fired: fn(A::Output) -> Fired,
) -> Vec<Fire> {
    let mut fires = Vec::new();
    while let Some(pane) = kernel.poll() {
        let (start, end) = (pane.window.start.as_micros(), pane.window.end.as_micros());
        fires.push(Fire(*pane.key, Some(start), Some(end), fired(pane.value)));
    }
    fires
}
