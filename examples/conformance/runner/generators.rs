//! Watermark generators: one partition whose watermark follows its events.
//!
//! A Flink generator speaks at periodic calls only, so those are where the kernel is looked at.

use chrono::TimeDelta;
use floodmark::{Count, Partition, Timestamp};
use floodmark_oracle::valve::Output;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::flink::{self, Clockwork, Downstream};
use super::report::{Outcome, difference};

#[derive(Deserialize)]
struct Case {
    config: Settings,
    input: Vec<Step>,
    emitted: Vec<Vec<Output>>,
}

/// What a generator is made from.
#[derive(Deserialize)]
pub(super) struct Settings {
    /// None for ascending timestamps.
    delay: Option<i64>,
    idle_timeout: Option<i64>,
    /// What the host's clock reads at first.
    #[serde(default)]
    clock_start: Option<i64>,
}

#[derive(Deserialize)]
enum Step {
    #[serde(rename = "e")]
    Event(i64),
    #[serde(rename = "p")]
    Periodic(IgnoredAny),
    #[serde(rename = "clock")]
    Clock(i64),
}

pub(super) fn replay(line: &str) -> serde_json::Result<Outcome> {
    let case: Case = serde_json::from_str(line)?;
    Ok(judge(&case.config, &case.emitted, |make| run(&case, make)))
}

fn run(case: &Case, make: &Make) -> Result<Vec<Vec<Output>>, String> {
    let mut generator = make(&case.config);
    let mut clock = case.config.clock_start();
    let mut downstream = Downstream::new();
    let mut step = |step: &Step| {
        match *step {
            Step::Event(time) => generator.event(time)?,
            Step::Clock(by) => clock += by,
            Step::Periodic(_) => {
                let (watermark, idle) = generator.periodic(clock);
                return Ok(downstream.tell(watermark, idle));
            }
        }
        Ok(Vec::new())
    };
    case.input.iter().map(&mut step).collect()
}

const CLOCK_ZERO: &str = "a clock reading of 0 is a reading (Flink takes it for not started)";

/// Judges a case with generators in it, which `run` replays with those that it is given the maker of.
///
/// Flink's reading of 0 (finding 18) is to blame for a difference if generators as in Flink give what was
/// recorded, and the same without that one peculiarity what we give.
pub(super) fn judge(
    settings: &Settings,
    recorded: &[Vec<Output>],
    run: impl Fn(&Make) -> Result<Vec<Vec<Output>>, String>,
) -> Outcome {
    let recorded = flink::translate(recorded);
    let ours = match run(&|settings| Box::new(InKernel::new(settings))) {
        Ok(ours) => ours,
        Err(error) => return Outcome::Failed(error),
    };
    let Some(difference) = difference(&recorded, &ours) else { return Outcome::Passed };
    let model = |zero| run(&move |settings| Box::new(Model::new(settings, zero)));
    let by_clock_zero = settings.idle_timeout.is_some()
        && model(ZeroReads::NotStarted).as_ref() == Ok(&recorded)
        && model(ZeroReads::Zero) == Ok(ours);
    if by_clock_zero { Outcome::Deviation(vec![CLOCK_ZERO]) } else { Outcome::Failed(difference) }
}

impl Settings {
    pub(super) fn clock_start(&self) -> i64 {
        self.clock_start.unwrap_or(0)
    }
}

/// Something that makes generators.
pub(super) type Make = dyn Fn(&Settings) -> Box<dyn Generator>;

/// A source of watermarks that is asked for them periodically.
pub(super) trait Generator {
    /// Takes an event.
    fn event(&mut self, time: i64) -> Result<(), String>;

    /// Ends idleness.
    fn wake(&mut self);

    /// The watermark, and whether the source is idle.
    fn periodic(&mut self, clock: i64) -> (i64, bool);
}

/// Ours: a kernel with a single partition.
struct InKernel {
    kernel: Clockwork,
    partition: Partition,
}

impl InKernel {
    fn new(settings: &Settings) -> Self {
        let config = flink::clockwork();
        let config = match settings.delay {
            Some(delay) => config.max_disorder(TimeDelta::microseconds(delay)),
            None => config.ascending(),
        };
        let config = match settings.idle_timeout {
            Some(timeout) => config.idle_timeout(TimeDelta::microseconds(timeout)),
            None => config,
        };
        let mut kernel: Clockwork = config.build(Count).expect("neither delay nor timeout is negative");
        let partition = kernel.add_partition();
        Self { kernel, partition }
    }
}

impl Generator for InKernel {
    fn event(&mut self, time: i64) -> Result<(), String> {
        // Late or not: what matters here is only that it came.
        let taken = self.kernel.push(self.partition, Timestamp::from_micros(time), (), ());
        taken.map(|_| ()).map_err(|rejected| rejected.to_string())
    }

    fn wake(&mut self) {
        self.kernel.mark_active(self.partition).expect("the partition is there to the end");
    }

    fn periodic(&mut self, clock: i64) -> (i64, bool) {
        self.kernel.tick(Timestamp::from_micros(clock));
        (flink::observe(&mut self.kernel), flink::all_idle(&self.kernel))
    }
}

/// What a generator of Flink's takes a clock that reads 0 for when it begins to count the quiet.
#[derive(Clone, Copy, PartialEq)]
enum ZeroReads {
    NotStarted,
    Zero,
}

/// Flink's, with its idleness timer (findings 17 and 18).
struct Model {
    zero: ZeroReads,
    delay: i64,
    idle_timeout: Option<i64>,
    max_time: Option<i64>,
    spoke: bool,
    quiet_since: Option<i64>,
}

impl Model {
    fn new(settings: &Settings, zero: ZeroReads) -> Self {
        Self {
            zero,
            delay: settings.delay.unwrap_or(0),
            idle_timeout: settings.idle_timeout,
            max_time: None,
            spoke: false,
            quiet_since: None,
        }
    }

    fn is_idle(&mut self, timeout: i64, clock: i64) -> bool {
        if std::mem::take(&mut self.spoke) {
            self.quiet_since = None;
            return false;
        }
        let forgets = self.zero == ZeroReads::NotStarted;
        match self.quiet_since.filter(|&since| since != 0 || !forgets) {
            Some(since) => clock - since > timeout,
            None => {
                self.quiet_since = Some(clock);
                false
            }
        }
    }
}

impl Generator for Model {
    fn event(&mut self, time: i64) -> Result<(), String> {
        self.max_time = self.max_time.max(Some(time));
        self.spoke = true;
        Ok(())
    }

    // Every event does.
    fn wake(&mut self) {}

    fn periodic(&mut self, clock: i64) -> (i64, bool) {
        let idle = self.idle_timeout.is_some_and(|timeout| self.is_idle(timeout, clock));
        (self.max_time.map_or(i64::MIN, |max| max.saturating_sub(self.delay)), idle)
    }
}
