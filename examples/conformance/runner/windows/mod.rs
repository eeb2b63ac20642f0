//! The window operator: one partition, whose watermarks the host sets.

use floodmark::{Admission, Aggregate, ConfigError, Count, Max, Min, Partition, Sum, Timestamp, Windowing};
use serde::Deserialize;

mod compare;
mod list;
mod setup;

use super::flink::{self, Rising};
use super::report::Outcome;
use compare::{Answer, Fire, Fired, Given, Record};
use list::List;
use setup::{Aggregation, Setup, Supported};

#[derive(Deserialize)]
struct Head {
    config: Setup,
}

#[derive(Deserialize)]
struct Case {
    input: Vec<Step>,
    output: Vec<Vec<Record>>,
}

/// A step of a supported case.
#[derive(Clone, Copy, Deserialize)]
enum Step {
    /// Key, time, value.
    #[serde(rename = "e")]
    Element(i64, i64, i64),
    #[serde(rename = "w")]
    Watermark(i64),
}

/// What is aggregated: a value, and which step it came at.
#[derive(Debug)]
struct Element {
    step: usize,
    value: i64,
}

pub(super) fn replay(line: &str) -> serde_json::Result<Outcome> {
    let Head { config: setup } = serde_json::from_str(line)?;
    // The steps of what is not supported may look different, so they are not even read.
    let Some(setup) = setup.supported() else { return Ok(Outcome::Skipped) };
    let Case { input, output } = serde_json::from_str(line)?;
    Ok(match run(&setup, &input) {
        Ok(ours) => compare::judge(&setup, &input, output, ours),
        Err(error) => Outcome::Failed(error.to_string()),
    })
}

fn run(setup: &Supported, input: &[Step]) -> Result<Vec<Answer>, ConfigError> {
    let value = |element: &Element| element.value;
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

fn run_with<A: Aggregate<Element>>(
    mut kernel: Windowing<i64, Element, A>,
    input: &[Step],
    fired: fn(A::Output) -> Fired,
) -> Vec<Answer> {
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

fn take<A: Aggregate<Element>>(
    kernel: &mut Windowing<i64, Element, A>,
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
        Step::Element(key, time, value) => {
            let element = Element { step: index, value };
            match kernel.push(partition, Timestamp::from_micros(time), key, element) {
                Ok(Admission::Late(late)) => {
                    let event = late.event;
                    Given::Late(event.key, event.time.as_micros(), event.value.value)
                }
                Ok(Admission::Unassigned(_)) => Given::Unassigned,
                Ok(_) => Given::Nothing,
                Err(rejected) => Given::Rejected(rejected.to_string()),
            }
        }
    }
}

fn drain<A: Aggregate<Element>>(
    kernel: &mut Windowing<i64, Element, A>,
    fired: fn(A::Output) -> Fired,
) -> Vec<Fire> {
    let mut fires = Vec::new();
    while let Some(pane) = kernel.poll() {
        let (start, end) = (pane.window.start.as_micros(), pane.window.end.as_micros());
        fires.push(Fire(*pane.key, start, end, fired(pane.value)));
    }
    fires
}
