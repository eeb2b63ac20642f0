//! A reader with a watermark generator for each of its splits.
//!
//! Built as in Flink, and as a host with sources of its own would build it: a kernel for each split, whose
//! watermarks the reader reports to a combining one at each periodic call, and at no other time.

use std::collections::BTreeMap;

use floodmark_oracle::valve::Output;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::flink::Downstream;
use super::generators::{self, Generator, Make, Settings};
use super::multiplexer::Multiplexer;
use super::report::Outcome;

#[derive(Deserialize)]
struct Case {
    config: ReaderSettings,
    input: Vec<Step>,
    emitted: Vec<Vec<Output>>,
}

#[derive(Deserialize)]
struct ReaderSettings {
    inner: Inner,
    #[serde(flatten)]
    generator: Settings,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Inner {
    Bounded,
    Ascending,
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
enum Step {
    #[serde(rename = "add")]
    Add(String),
    #[serde(rename = "rm")]
    Remove(String),
    #[serde(rename = "e")]
    Event(String, i64),
    #[serde(rename = "p")]
    Periodic(IgnoredAny),
    #[serde(rename = "clock")]
    Clock(i64),
}

pub(super) fn replay(line: &str) -> serde_json::Result<Outcome> {
    let case: Case = serde_json::from_str(line)?;
    if case.config.inner == Inner::Unknown {
        return Ok(Outcome::Skipped);
    }
    Ok(generators::judge(&case.config.generator, &case.emitted, |make| run(&case, make)))
}

fn run(case: &Case, make: &Make) -> Result<Vec<Vec<Output>>, String> {
    let settings = &case.config.generator;
    let mut reader = Reader::new(settings, make);
    let mut clock = settings.clock_start();
    let mut step = |step: &Step| {
        match step {
            Step::Add(id) => reader.add(id, make(settings)),
            Step::Remove(id) => reader.remove(id)?,
            Step::Event(id, time) => reader.event(id, *time)?,
            Step::Clock(by) => clock += by,
            Step::Periodic(_) => return reader.periodic(clock),
        }
        Ok(Vec::new())
    };
    case.input.iter().map(&mut step).collect()
}

struct Reader {
    splits: BTreeMap<String, Box<dyn Generator>>,
    combined: Multiplexer,
    /// The splits have nothing to say: all idle, or not a watermark from them since they were (or ever).
    silent: bool,
    /// For what does not belong to a split. Nothing ever comes here, but until it idles neither does the
    /// reader.
    main: Box<dyn Generator>,
    downstream: Downstream,
}

impl Reader {
    fn new(settings: &Settings, make: &Make) -> Self {
        Self {
            splits: BTreeMap::new(),
            combined: Multiplexer::new(),
            silent: true,
            main: make(settings),
            downstream: Downstream::new(),
        }
    }

    fn add(&mut self, id: &str, generator: Box<dyn Generator>) {
        self.splits.insert(id.to_owned(), generator);
        self.combined.register(id);
    }

    fn remove(&mut self, id: &str) -> Result<(), String> {
        self.splits.remove(id);
        self.combined.unregister(id)
    }

    fn event(&mut self, id: &str, time: i64) -> Result<(), String> {
        let split = self.splits.get_mut(id).ok_or_else(|| format!("there is no split {id}"))?;
        // Any event ends the idleness of a split for its reader, as what a split's generator says again at the
        // next periodic call makes its output active. With us it takes one that raises the watermark, which
        // is what an operator downstream sees of a source (finding 19); so the host declares it.
        split.wake();
        split.event(time)
    }

    fn periodic(&mut self, clock: i64) -> Result<Vec<Output>, String> {
        for (id, split) in &mut self.splits {
            let (watermark, idle) = split.periodic(clock);
            if idle {
                self.combined.idle(id)?;
            } else {
                self.combined.report(id, watermark)?;
            }
        }
        let (watermark, idle) = self.combined.look();
        if watermark > self.downstream.watermark() {
            self.silent = false;
        }
        self.silent |= idle;
        let (_, main_idle) = self.main.periodic(clock);
        Ok(self.downstream.tell(watermark, self.silent && main_idle))
    }
}
