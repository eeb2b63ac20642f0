//! How far out of order a stream is, so that a person can choose `--max-delay`.
//!
//! Each event is compared with the latest one before it, in its partition and in the stream as a whole.
//! The figures are exact: memory grows with the number of *distinct* distances, not of events.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use floodmark::Timestamp;
use serde::Serialize;

use crate::args::{DisorderArgs, InputArgs, Span};
use crate::bad_rows::BadRows;
use crate::error::{Stop, say};
use crate::input::{Block, Fault, Next, Plan};
use crate::interrupt;
use crate::row::{Clock, NeverSeen};
use crate::time::Unit;

/// How long to wait for input before looking for Ctrl-C.
const WAIT: Duration = Duration::from_millis(50);

/// `floodmark disorder`.
pub(crate) fn run(args: &DisorderArgs) -> Result<(), Stop> {
    interrupt::listen()?;
    let measured = Measured::read(&args.input)?;
    let report = measured.report();
    if args.json {
        let json = serde_json::to_string_pretty(&report)
            .map_err(|error| Stop::Failed(format!("cannot encode the report: {error}")))?;
        print(&json)
    } else {
        print(&report.tables(args.input.partition.is_some()))
    }
}

fn print(text: &str) -> Result<(), Stop> {
    use std::io::Write;
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Stop::OutputClosed),
        Err(error) => Err(Stop::Failed(format!("cannot write the report: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// How far events came behind the latest one before them, in microseconds, and how often.
#[derive(Debug, Default)]
struct Delays {
    latest: Option<Timestamp>,
    events: u64,
    counts: BTreeMap<u64, u64>,
}

impl Delays {
    fn note(&mut self, time: Timestamp) {
        let latest = self.latest.map_or(time, |latest| latest.max(time));
        self.latest = Some(latest);
        self.events += 1;
        *self.counts.entry(latest.as_micros().abs_diff(time.as_micros())).or_default() += 1;
    }

    /// The smallest delay that at least this share of events do not exceed.
    fn quantile(&self, share: f64) -> u64 {
        let rank = (self.events as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (&delay, &count) in &self.counts {
            seen += count;
            if seen >= rank {
                return delay;
            }
        }
        0
    }

    fn max(&self) -> u64 {
        self.counts.keys().next_back().copied().unwrap_or_default()
    }

    /// Events further behind than this: those that a bound of as much would be too small for.
    fn behind(&self, delay: u64) -> u64 {
        self.counts.range(delay.saturating_add(1)..).map(|(_, count)| count).sum()
    }
}

#[derive(Debug, Default)]
struct Measured {
    partitions: BTreeMap<Option<Box<str>>, Delays>,
    merged: Delays,
    bad_rows: u64,
}

impl Measured {
    fn read(args: &InputArgs) -> Result<Self, Stop> {
        let mut measured = Self::default();
        let mut clock = Clock::new(args, args.time_unit);
        let mut never_seen = NeverSeen::new(args.columns());
        let mut bad_rows = BadRows::open(args, 0)?;
        let blocks = Plan::new(args, args.columns()).read();
        loop {
            match blocks.next(WAIT)? {
                Next::Block(block) => {
                    never_seen.look(&block);
                    measured.take_block(&block, &mut clock, &mut bad_rows)?;
                }
                Next::End => break,
                Next::Nothing => {}
            }
            if interrupt::asked() {
                return Err(Stop::Interrupted(String::from("interrupted")));
            }
        }
        bad_rows.flush()?;
        if !args.quiet && measured.merged.events > 0 {
            never_seen.warn();
            if args.time_unit == Unit::Auto && clock.unit() != Unit::Auto {
                say(format!("column `{}` was read as integer epochs in {}", args.time, clock.unit()));
            }
        }
        Ok(measured)
    }

    fn take_block(&mut self, block: &Block, clock: &mut Clock, bad_rows: &mut BadRows) -> Result<(), Stop> {
        for record in &block.records {
            match record.row.as_ref().map_err(Fault::clone).and_then(|row| clock.read(block, *row)) {
                Ok((time, partition)) => {
                    self.merged.note(time);
                    self.partitions.entry(partition.map(Box::from)).or_default().note(time);
                }
                Err(fault) => {
                    bad_rows.take(block, record, &fault)?;
                    self.bad_rows += 1;
                }
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let name = |name: &Option<Box<str>>| name.as_deref().unwrap_or("(none)").to_owned();
        let partitions = self
            .partitions
            .iter()
            .map(|(partition, delays)| StreamReport::of(name(partition), delays))
            .collect();
        let bounds = bounds(&self.merged).into_iter().map(|bound| BoundReport {
            max_delay: Span::from_micros(bound).to_string(),
            max_delay_s: bound as f64 / 1e6,
            late_merged: self.merged.behind(bound),
            late_by_partition: self.partitions.values().map(|delays| delays.behind(bound)).sum(),
        });
        Report {
            events: self.merged.events,
            bad_rows: self.bad_rows,
            partitions,
            merged: StreamReport::of(String::from("merged"), &self.merged),
            bounds: bounds.collect(),
        }
    }
}

/// Bounds that a person might choose: round ones, from about the median to beyond the maximum.
fn bounds(delays: &Delays) -> Vec<u64> {
    const MS: u64 = 1000;
    const S: u64 = 1000 * MS;
    const M: u64 = 60 * S;
    const H: u64 = 60 * M;
    const D: u64 = 24 * H;
    const ROUND: [u64; 34] = [
        1,
        10,
        100,
        MS,
        10 * MS,
        100 * MS,
        250 * MS,
        500 * MS,
        S,
        2 * S,
        5 * S,
        10 * S,
        30 * S,
        M,
        2 * M,
        5 * M,
        10 * M,
        15 * M,
        30 * M,
        H,
        2 * H,
        3 * H,
        4 * H,
        6 * H,
        8 * H,
        10 * H,
        12 * H,
        D,
        2 * D,
        3 * D,
        7 * D,
        14 * D,
        28 * D,
        56 * D,
    ];
    let from = delays.quantile(0.5).min(delays.max() / 100);
    let to = delays.max();
    let below = |bound: &u64| *bound < to;
    let mut bounds = vec![0];
    bounds.extend(ROUND.into_iter().filter(|bound| *bound >= from).filter(below));
    if to > 0 {
        // The first round one that nothing exceeds, or the maximum itself.
        bounds.push(ROUND.into_iter().find(|bound| *bound >= to).unwrap_or(to));
    }
    bounds
}

#[derive(Debug, Serialize)]
struct Report {
    events: u64,
    bad_rows: u64,
    partitions: Vec<StreamReport>,
    merged: StreamReport,
    bounds: Vec<BoundReport>,
}

/// Delays in seconds.
#[derive(Debug, Serialize)]
struct StreamReport {
    name: String,
    events: u64,
    out_of_order: u64,
    p50_s: f64,
    p90_s: f64,
    p99_s: f64,
    p999_s: f64,
    max_s: f64,
}

impl StreamReport {
    fn of(name: String, delays: &Delays) -> Self {
        let quantile = |share| delays.quantile(share) as f64 / 1e6;
        Self {
            name,
            events: delays.events,
            out_of_order: delays.behind(0),
            p50_s: quantile(0.5),
            p90_s: quantile(0.9),
            p99_s: quantile(0.99),
            p999_s: quantile(0.999),
            max_s: delays.max() as f64 / 1e6,
        }
    }
}

#[derive(Debug, Serialize)]
struct BoundReport {
    max_delay: String,
    max_delay_s: f64,
    /// Each event against the latest one of its own partition.
    late_by_partition: u64,
    /// Each event against the latest one of the whole stream.
    late_merged: u64,
}

impl Report {
    fn tables(&self, by_partition: bool) -> String {
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = self.write_streams(&mut text, by_partition);
        let _ = self.write_bounds(&mut text, by_partition);
        text
    }

    fn write_streams(&self, text: &mut String, by_partition: bool) -> std::fmt::Result {
        writeln!(text, "How far events arrive behind the latest one before them:\n")?;
        let streams = || self.partitions.iter().filter(|_| by_partition).chain([&self.merged]);
        let width = streams().map(|stream| stream.name.chars().count()).max().unwrap_or_default().max(9);
        writeln!(
            text,
            "{:width$}  {:>10}  {:>12}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}",
            "partition", "events", "out of order", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for stream in streams() {
            let span = |seconds: f64| Span::from_micros((seconds * 1e6).round() as u64).to_string();
            writeln!(
                text,
                "{:width$}  {:>10}  {:>12}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}",
                stream.name,
                stream.events,
                share(stream.out_of_order, stream.events),
                span(stream.p50_s),
                span(stream.p90_s),
                span(stream.p99_s),
                span(stream.p999_s),
                span(stream.max_s)
            )?;
        }
        if self.bad_rows > 0 {
            writeln!(text, "\n{} bad rows left out", self.bad_rows)?;
        }
        Ok(())
    }

    fn write_bounds(&self, text: &mut String, by_partition: bool) -> std::fmt::Result {
        writeln!(text, "\nHow many would arrive behind the watermark, at most, with --max-delay:\n")?;
        let [merged, split] = ["as one stream", "with --partition"];
        let split_head = if by_partition { format!("  {split:>22}") } else { String::new() };
        writeln!(text, "{:>11}{split_head}  {merged:>22}", "--max-delay")?;
        for bound in &self.bounds {
            let cell = |late: u64| format!("{late} ({})", share(late, self.events));
            let split =
                if by_partition { format!("  {:>22}", cell(bound.late_by_partition)) } else { String::new() };
            writeln!(text, "{:>11}{split}  {:>22}", bound.max_delay, cell(bound.late_merged))?;
        }
        write!(
            text,
            "\nResults wait for --max-delay: choose the shortest whose late share you can do without. Late events that \
             still find\ntheir window open are not lost, --allowed-lateness keeps it open longer, and --late FILE \
             collects the rest."
        )
    }
}

fn share(part: u64, all: u64) -> String {
    format!("{:.2} %", part as f64 * 100.0 / all.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(times: &[i64]) -> Delays {
        let mut delays = Delays::default();
        times.iter().for_each(|&time| delays.note(Timestamp::from_micros(time)));
        delays
    }

    #[test]
    fn delays_are_measured_against_the_latest_before() {
        let delays = delays(&[10, 5, 12, 12, 2, 11]);
        assert_eq!(delays.counts, BTreeMap::from([(0, 3), (5, 1), (10, 1), (1, 1)]));
        assert_eq!((delays.quantile(0.5), delays.quantile(0.9), delays.max()), (0, 10, 10));
        assert_eq!((delays.behind(0), delays.behind(5), delays.behind(10)), (3, 1, 0));
    }

    #[test]
    fn quantiles_of_nothing_and_of_extremes() {
        assert_eq!(delays(&[]).quantile(0.5), 0);
        assert_eq!(delays(&[i64::MAX, i64::MIN]).max(), u64::MAX);
        assert_eq!(bounds(&delays(&[])), [0]);
        assert_eq!(bounds(&delays(&[7_000_000, 0])).last(), Some(&10_000_000));
    }
}
