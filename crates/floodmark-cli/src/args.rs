//! What a person may ask for, parsed into values that need no further checks of their own.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono::TimeDelta;
use clap::{Parser, Subcommand, ValueEnum};

use crate::aggregate::Function;
use crate::checkpoint::Place;
use crate::error::Stop;
use crate::time::Unit;
use crate::windows::{Accumulate, Early, WindowSpec};

/// Event-time windows over files and pipes of rows.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Group rows into windows of event time and write a record for each result
    #[command(after_help = crate::windows::HELP)]
    Run(Box<RunArgs>),
    /// Measure how far out of order a stream is, so that --max-delay can be chosen
    Disorder(DisorderArgs),
    /// Look at snapshots of the kernel's state, and compact, split or merge them
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Keep a checkpoint under a name until it is deleted: a copy that needs nothing else
    #[command(subcommand)]
    Savepoint(SavepointCommand),
}

/// What to do with savepoints.
#[derive(Debug, Subcommand)]
pub(crate) enum SavepointCommand {
    /// Make one of the newest checkpoint; a run may be at work there
    Create {
        /// Folder or s3://BUCKET/PREFIX of `run --checkpoint`
        place: Place,
        /// Letters, digits, dashes, underscores and dots
        label: String,
    },
    /// List them, with their bytes
    List {
        /// Folder or s3://BUCKET/PREFIX of `run --checkpoint`
        place: Place,
    },
    /// Delete one
    Delete {
        /// Folder or s3://BUCKET/PREFIX of `run --checkpoint`
        place: Place,
        /// Which one
        label: String,
    },
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Say what is in them: watermarks, partitions, windows, keys and bytes
    Inspect(SnapshotFiles),
    /// Check that they are sound and belong together
    Verify(SnapshotFiles),
    /// Make one of a snapshot and those of the changes since
    Compact {
        #[command(flatten)]
        files: SnapshotFiles,
        /// File to write, which must not be there yet. Without it, a new checkpoint is stored in the place, where no run must
        /// be at work
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Split them by key into parts for as many kernels
    Split {
        #[command(flatten)]
        files: SnapshotFiles,
        /// How many
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
        parts: u32,
        /// Files to write: this, a dot and a number from 0 on
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Make one of the snapshots of kernels that have gone on side by side
    Merge {
        #[command(flatten)]
        files: SnapshotFiles,
        /// File to write, which must not be there yet
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// Snapshots.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotFiles {
    /// Snapshots: one and those of the changes since, in their order. Or a savepoint, or a folder or s3://BUCKET/PREFIX with
    /// checkpoints, of which the newest intact one is taken
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<Place>,

    /// Which kernel's, where a checkpoint is of several
    #[arg(long, value_name = "N")]
    pub(crate) kernel: Option<usize>,
}

/// Where rows come from and which column says when they happened.
#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// Files to read one after another, in this order; `-` is standard input. Gzip is recognised
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Format of the input [default: by extension, else by the first byte]
    #[arg(long, value_enum)]
    pub(crate) format: Option<InputFormat>,

    /// Column of the event time: RFC 3339, or an integer epoch. Digits finer than a microsecond are cut
    /// off toward the past
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time: String,

    /// Unit of integer epochs; `auto` goes by the magnitude of the first one and says so
    #[arg(long, value_enum, default_value_t = Unit::Auto)]
    pub(crate) time_unit: Unit,

    /// Read times that have no offset (2013-01-01 10:59:00) as UTC instead of refusing them
    #[arg(long)]
    pub(crate) assume_utc: bool,

    /// Column that names a row's partition: an input with a progress of its own (a topic partition, a
    /// device, an airport). Partitions are discovered as they appear [default: one partition]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) partition: Option<String>,

    /// What to do with a row that cannot be read: stop, skip and count it, or write it to --errors
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    pub(crate) on_error: OnError,

    /// Where `--on-error side` puts rows that cannot be read: .csv, or else NDJSON
    #[arg(long, value_name = "FILE", required_if_eq("on_error", "side"))]
    pub(crate) errors: Option<PathBuf>,

    /// Say nothing on standard error but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// Columns to group by; repeat it or separate with commas. Values are told apart by their text
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(crate) key: Vec<String>,

    /// Windows to group by (see below); repeat it for several at once, which the field `window` of the results
    /// then tells apart
    #[arg(long, value_name = "WINDOW", required = true, allow_hyphen_values = true)]
    pub(crate) window: Vec<WindowSpec>,

    /// How far rows may arrive behind the latest one of their partition: results wait that long.
    /// `floodmark disorder` helps to choose. Or learned from the rows of each partition: p99.9:10m waits for
    /// 99.9 % of them, as far as those before tell, but never longer than 10m, which it does for the first
    /// thousand
    #[arg(long, value_name = "DURATION|pN:LONGEST")]
    pub(crate) max_delay: MaxDelay,

    /// How long a result is kept for rows that come even later; each of them gives a further record
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub(crate) allowed_lateness: Span,

    /// Results of a window before its end too: each time that so many rows of a key have come (events:100),
    /// at the multiples of a length of event time from the window's start on (every:10m), or so long after a
    /// new row on the wall clock (clock:10s). Results by the clock depend on when rows arrive, so it does not
    /// go with --checkpoint. Repeat it or separate with commas. Not for count windows
    #[arg(long, value_name = "EARLY", value_delimiter = ',')]
    pub(crate) early: Vec<Early>,

    /// What a window's results hold when it has several, early or late ones: all rows so far, those since its
    /// result before, or all so far and in `retracts` the results that this one replaces. Not for count windows
    #[arg(long, value_enum, default_value_t = Accumulate::Accumulating)]
    pub(crate) accumulate: Accumulate,

    /// Results of windows without rows too: for keys that have rows in a window which ended at most so long
    /// before. There count is 0 and everything else null. Not for sessions, global and count windows, and not
    /// with --early or another --accumulate
    #[arg(long, value_name = "DURATION")]
    pub(crate) fill: Option<Span>,

    /// count, or sum, min, max, mean, variance (of a sample), first, last (by event time), collect, or
    /// topN (top3), each as NAME:COLUMN; repeat it or separate with commas. Empty values are passed over
    #[arg(long, value_name = "AGGREGATE", value_delimiter = ',', default_value = "count")]
    pub(crate) aggregate: Vec<AggregateSpec>,

    /// Stop waiting for a partition that has been silent for this long on the wall clock. Results then
    /// depend on when rows arrive, so it does not go with --checkpoint
    #[arg(long, value_name = "DURATION", conflicts_with = "checkpoint")]
    pub(crate) idle_timeout: Option<Span>,

    /// When no row at all has come for this long on the wall clock, give the results of all windows that have
    /// rows; what comes for them afterwards is late, or within --allowed-lateness. Results then depend on when
    /// rows arrive, so it does not go with --checkpoint
    #[arg(long, value_name = "DURATION", conflicts_with = "checkpoint")]
    pub(crate) close_after_quiet: Option<Span>,

    /// Distrust rows this far ahead of the latest one of their partition: they do not move the watermark
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_future_skew: Option<Span>,

    /// What to do with rows beyond --max-future-skew
    #[arg(long, value_enum, default_value_t = Suspect::Admit, requires = "max_future_skew")]
    pub(crate) suspect: Suspect,

    /// Where results go; `-` is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,

    /// Format of the results [default: .csv by extension, else NDJSON]
    #[arg(long, value_enum)]
    pub(crate) output_format: Option<OutputFormat>,

    /// Where rows go that no result contains, with `watermark`, `late_by` (seconds) and `reason` (disorder,
    /// partition_behind, no_window, out_of_range, too_far_ahead) added: .csv, or else NDJSON
    #[arg(long, value_name = "FILE")]
    pub(crate) late: Option<PathBuf>,

    /// Where to save state, input position and output lengths as the run goes on: a folder, or s3://BUCKET/PREFIX (feature
    /// `s3`; the rest comes from AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT …)
    #[arg(long, value_name = "PLACE")]
    pub(crate) checkpoint: Option<Place>,

    /// How often to save: a duration, or a number of rows
    #[arg(long, value_name = "10s|N", default_value = "10s", requires = "checkpoint")]
    pub(crate) checkpoint_every: Every,

    /// How many checkpoints are kept, so that there is another one when the last is damaged
    #[arg(long, value_name = "N", default_value = "6", requires = "checkpoint")]
    pub(crate) checkpoint_keep: NonZeroUsize,

    /// Go on from the last checkpoint; start afresh where there is none
    #[arg(long, requires = "checkpoint")]
    pub(crate) resume: bool,

    /// Go on from this savepoint instead: one of that place, or a file (with a slash in its path). It is stored there as the newest
    /// checkpoint first
    #[arg(long, value_name = "LABEL|PATH", requires = "resume")]
    pub(crate) savepoint: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DisorderArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    Csv,
    Ndjson,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Ndjson,
    Csv,
}

impl OutputFormat {
    /// CSV where the name says so.
    pub(crate) fn of(path: &Path) -> Self {
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if is_csv { Self::Csv } else { Self::Ndjson }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    Stop,
    Skip,
    Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suspect {
    Admit,
    Reject,
}

/// The value of a setting that was not given.
pub(crate) const NOT_GIVEN: &str = "(not given)";

impl RunArgs {
    pub(crate) fn output_format(&self) -> OutputFormat {
        self.output_format.unwrap_or_else(|| OutputFormat::of(&self.output))
    }

    /// Whether results say which they replace.
    pub(crate) fn retracts(&self) -> bool {
        self.accumulate == Accumulate::Retracting
    }

    /// Whether results depend on the clock on the wall.
    pub(crate) fn goes_by_the_clock(&self) -> bool {
        self.idle_timeout.is_some()
            || self.close_after_quiet.is_some()
            || self.early.iter().any(|early| matches!(early, Early::Clock(_)))
    }

    /// The columns that the run reads, without repetition.
    pub(crate) fn columns(&self) -> Vec<String> {
        let aggregated = self.aggregate.iter().filter_map(|aggregate| aggregate.column.clone());
        let mut columns = self.input.columns();
        for column in self.key.iter().cloned().chain(aggregated) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// The fields of a result, in order; refused when two would have the same name.
    pub(crate) fn fields(&self) -> Result<Vec<String>, Stop> {
        let mut fields = Vec::new();
        fields.extend((self.window.len() > 1).then(|| String::from("window")));
        fields.extend([String::from("window_start"), String::from("window_end")]);
        fields.extend(self.key.iter().cloned());
        fields.extend(self.aggregate.iter().map(AggregateSpec::field));
        fields.extend([String::from("timing"), String::from("pane")]);
        fields.extend(self.retracts().then(|| String::from("retracts")));
        match fields.iter().enumerate().find(|(i, field)| fields[..*i].contains(field)) {
            Some((_, field)) => Err(Stop::Usage(format!(
                "two fields of the results would be called `{field}`: leave one of the columns or aggregates out, \
                 or rename the column"
            ))),
            None => Ok(fields),
        }
    }

    /// Everything that decides what the results are, by the name of the argument. A run is only resumed
    /// with the same. (--on-error is not among them, so that a run that a bad row stopped can go on.)
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let absolute = |path: &Path| {
            let absolute =
                if path == Path::new("-") { Ok(path.to_owned()) } else { std::path::absolute(path) };
            absolute.unwrap_or_else(|_| path.to_owned()).display().to_string()
        };
        let list = |items: Vec<String>| items.join(",");
        let or_none = |value: Option<String>| value.unwrap_or_else(|| String::from(NOT_GIVEN));
        let input = &self.input;
        let early = list(self.early.iter().map(ToString::to_string).collect());
        let windows = match &self.window[..] {
            [window] => window.to_string(),
            // The results say them as they were given.
            several => list(several.iter().map(|window| window.given.clone()).collect()),
        };
        [
            ("format", or_none(input.format.map(|format| format!("{format:?}").to_lowercase()))),
            ("time", input.time.clone()),
            ("time-unit", input.time_unit.to_string()),
            ("assume-utc", input.assume_utc.to_string()),
            ("partition", or_none(input.partition.clone())),
            ("key", list(self.key.clone())),
            ("window", windows),
            ("max-delay", self.max_delay.to_string()),
            ("allowed-lateness", self.allowed_lateness.to_string()),
            ("aggregate", list(self.aggregate.iter().map(ToString::to_string).collect())),
            ("max-future-skew", or_none(self.max_future_skew.map(|skew| skew.to_string()))),
            ("suspect", format!("{:?}", self.suspect).to_lowercase()),
            ("output", absolute(&self.output)),
            ("output-format", format!("{:?}", self.output_format()).to_lowercase()),
            ("late", or_none(self.late.as_deref().map(absolute))),
            ("errors", or_none(input.errors.as_deref().map(absolute))),
            ("early", or_none((!self.early.is_empty()).then_some(early))),
            ("accumulate", format!("{:?}", self.accumulate).to_lowercase()),
            ("fill", or_none(self.fill.map(|horizon| horizon.to_string()))),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

impl InputArgs {
    /// The columns that say when and where a row happened.
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut columns = vec![self.time.clone()];
        columns.extend(self.partition.clone().filter(|partition| *partition != self.time));
        columns
    }
}

/// A duration of whole microseconds, not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(Duration);

impl Span {
    /// The most that fits the kernel's 64 bits of microseconds.
    const MAX: Duration = Duration::from_micros(i64::MAX as u64);

    pub(crate) fn delta(self) -> TimeDelta {
        // Cannot be cut short: `from_str` lets nothing longer in.
        TimeDelta::microseconds(i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX))
    }

    pub(crate) fn from_micros(micros: u64) -> Self {
        Self(Duration::from_micros(micros))
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// For a part that is not 0.
    pub(crate) fn is_multiple_of(self, part: Self) -> bool {
        self.0.as_micros().is_multiple_of(part.0.as_micros())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_calendar = |unit: &str| unit == "M" || unit.starts_with("mo") || unit.starts_with('y');
        if text.split(|c: char| !c.is_alphabetic()).any(is_calendar) {
            return Err(String::from("months and years have no one length; write days or weeks"));
        }
        let duration = humantime::parse_duration(text)
            .map_err(|error| format!("{error}; write durations like 250ms, 10s, 5m, 1h30m, 1d or 1w"))?;
        if !duration.subsec_nanos().is_multiple_of(1000) {
            return Err(String::from("times are kept in microseconds: nothing finer can be told apart"));
        }
        if duration > Self::MAX {
            return Err(String::from("more than 292,000 years"));
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Span {
    /// Exact and without spaces: `1h30m`. Only units of fixed length, never months.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u128, &str); 7] = [
            (604_800_000_000, "w"),
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "m"),
            (1_000_000, "s"),
            (1000, "ms"),
            (1, "us"),
        ];
        let mut rest = self.0.as_micros();
        if rest == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        for (length, unit) in UNITS {
            if rest >= length {
                text += &format!("{}{unit}", rest / length);
                rest %= length;
            }
        }
        f.pad(&text)
    }
}

/// How far behind the latest row of its partition another may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxDelay {
    Bound(Span),
    /// A percentile, in ten thousandths of a percent, of the delays that there have been.
    Learned {
        percentile: u32,
        longest: Span,
    },
}

impl MaxDelay {
    const WHOLE: u32 = 1_000_000;

    /// For a percentile that is written in percent.
    pub(crate) fn percent(percentile: u32) -> f64 {
        f64::from(percentile) / 10_000.0
    }
}

impl FromStr for MaxDelay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(learned) = text.strip_prefix('p') else { return text.parse().map(Self::Bound) };
        let (percent, longest) = learned.split_once(':').ok_or_else(|| {
            format!(
                "and how long at most? Write {text}:10m, or another duration that is never waited longer for"
            )
        })?;
        let is_decimal = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let parts = percent.parse().ok().filter(|_| is_decimal).map(|percent: f64| percent * 10_000.0);
        let percentile =
            parts.map(f64::round).filter(|whole| parts.is_some_and(|p| (p - whole).abs() < 1e-6));
        match percentile.map(|percentile| percentile as u32) {
            Some(percentile @ 1..=Self::WHOLE) => Ok(Self::Learned { percentile, longest: longest.parse()? }),
            _ => Err(format!(
                "{percent:?} is no percentage of more than 0 and at most 100, with at most four decimals: p99.9:10m"
            )),
        }
    }
}

impl fmt::Display for MaxDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(bound) => bound.fmt(f),
            Self::Learned { percentile, longest } => write!(f, "p{}:{longest}", Self::percent(*percentile)),
        }
    }
}

/// `count`, `mean:dep_delay_min`, `top3:distance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AggregateSpec {
    pub(crate) function: Function,
    /// None only for `count`.
    pub(crate) column: Option<String>,
}

impl AggregateSpec {
    /// The name of the field in the results.
    pub(crate) fn field(&self) -> String {
        match &self.column {
            Some(column) => format!("{}_{column}", self.function),
            None => self.function.to_string(),
        }
    }
}

impl FromStr for AggregateSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (function, column) = match text.split_once(':') {
            Some((function, column)) => (function.parse()?, Some(column.to_owned())),
            None => (text.parse()?, None),
        };
        match (function, &column) {
            (Function::Count, Some(_)) => Err(String::from("count counts rows and takes no column")),
            (Function::Count, None) => Ok(Self { function, column }),
            (_, Some(column)) if !column.is_empty() => Ok(Self { function, column: Some(column.clone()) }),
            _ => Err(format!("which column? Write {function}:COLUMN")),
        }
    }
}

impl fmt::Display for AggregateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "{}:{column}", self.function),
            None => write!(f, "{}", self.function),
        }
    }
}

/// How often a checkpoint is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Every {
    Rows(u64),
    Elapsed(Duration),
}

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err(String::from("a checkpoint every 0 rows?")),
            Ok(rows) => Ok(Self::Rows(rows)),
            Err(_) => text.parse::<Span>().map(|span| Self::Elapsed(span.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_are_written_as_they_are_read() {
        for text in ["count", "mean:dep_delay_min", "top3:distance", "collect:a:b"] {
            assert_eq!(text.parse::<AggregateSpec>().unwrap().to_string(), text);
        }
        assert_eq!("top3:distance".parse::<AggregateSpec>().unwrap().field(), "top3_distance");
        for text in ["count:a", "mean", "mean:", "median:a", "top:a", "top0:a", ""] {
            assert!(text.parse::<AggregateSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn delays_are_written_as_they_are_read() {
        for text in ["0s", "8h", "1h30m", "p99.9:10m", "p50:0s", "p0.0001:1s", "p100:1d", "p99.9999:250ms"] {
            assert_eq!(text.parse::<MaxDelay>().unwrap().to_string(), text);
        }
        assert_eq!("p099.90:600s".parse::<MaxDelay>().unwrap().to_string(), "p99.9:10m");
        for (text, why) in [
            ("p99.9", "and how long at most? Write p99.9:10m"),
            ("p99.9:", "durations like"),
            ("p99.9:soon", "durations like"),
            ("p99.9:1M", "months and years"),
            ("p0:1s", "\"0\" is no percentage of more than 0"),
            ("p0.00001:1s", "at most four decimals"),
            ("p100.1:1s", "at most 100"),
            ("p-1:1s", "is no percentage"),
            ("p1e1:1s", "is no percentage"),
            ("pinf:1s", "is no percentage"),
            ("p:1s", "is no percentage"),
            ("99.9:1s", "durations like"),
        ] {
            let said = text.parse::<MaxDelay>().expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn checkpoints_go_by_rows_or_by_time() {
        assert_eq!("500".parse(), Ok(Every::Rows(500)));
        assert_eq!("10s".parse(), Ok(Every::Elapsed(Duration::from_secs(10))));
        assert!("0".parse::<Every>().is_err());
    }
}
