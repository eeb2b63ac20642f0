//! The run: blocks in, events through the kernel, records out, and a checkpoint now and then.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::TimeDelta;
use floodmark::{
    Admission, Config, Late, LateReason, LearnedDisorder, Timestamp, Watermark, Windowing, Windows,
};

use crate::aggregate::{Functions, Row};
use crate::args::{Every, MaxDelay, OutputFormat, RunArgs, Suspect};
use crate::bad_rows::BadRows;
use crate::checkpoint::{Frozen, Input, Loaded, Progress, Saver, Written};
use crate::error::{Stop, say};
use crate::input::{Block, Blocks, Fault, Header, Next, Plan, Position, Record};
use crate::interrupt;
use crate::output::{GivenBack, LateTable, Table};
use crate::partitions::Partitions;
use crate::results::Records;
use crate::row::{Clock, Key, NeverSeen, RowReader};
use crate::summary::{Bar, Summary};
use crate::time::Unit;
use crate::windows::{Accumulate, Early, WindowSpec};

/// How long the loop waits for input before it looks at the clock and for Ctrl-C.
const WAIT: Duration = Duration::from_millis(50);

pub(crate) type Kernel = Windowing<Key, Row, Functions>;

/// `floodmark run`.
pub(crate) fn run(args: RunArgs) -> Result<(), Stop> {
    check(&args)?;
    interrupt::listen()?;
    match Run::start(args)? {
        Some(run) => run.finish(),
        None => Ok(()),
    }
}

/// What clap cannot check: that the windows go with what is asked of them, that the inputs are there before an
/// output is emptied, that no output overwrites an input or another output, and that a checkpoint can cut them
/// all back.
fn check(args: &RunArgs) -> Result<(), Stop> {
    args.fields()?;
    check_windows(args)?;
    Input::all(&args.input)?;
    let pipe = Path::new("-");
    let mut taken: Vec<&Path> =
        args.input.files.iter().map(PathBuf::as_path).filter(|path| *path != pipe).collect();
    let outputs = [Some(&args.output), args.late.as_ref(), args.input.errors.as_ref()];
    for output in outputs.into_iter().flatten().map(PathBuf::as_path) {
        let is_file = output != pipe && (output.is_file() || !output.exists());
        if args.checkpoint.is_some() && !is_file {
            return Err(Stop::Usage(format!(
                "--checkpoint needs outputs that can be cut back to what was saved, which {output} is not: give it a \
                 file",
                output = if output == Path::new("-") {
                    "standard output".into()
                } else {
                    output.to_string_lossy()
                }
            )));
        }
        // Devices like /dev/null may be shared.
        if (is_file || output == pipe) && taken.iter().any(|path| is_same(path, output)) {
            return Err(Stop::Usage(format!(
                "{} is given twice, and would be overwritten",
                output.display()
            )));
        }
        taken.push(output);
    }
    Ok(())
}

fn check_windows(args: &RunArgs) -> Result<(), Stop> {
    let refuse = |why: String| Err(Stop::Usage(why));
    let early = &args.early;
    if let Some((one, again)) = pairs(&args.window).find(|(one, other)| one.is_same(other)) {
        return refuse(format!("--window {} and {} are the same: leave one out", one.given, again.given));
    }
    if let Some((one, other)) = pairs(early).find(|(one, other)| one.is_like(other)) {
        return refuse(format!("--early {one} and {other} do not go together: leave one out"));
    }
    if !early.is_empty() && args.window.iter().all(WindowSpec::is_count) {
        return refuse(String::from(
            "--early adds results before the end of a window, but count windows have theirs when they are full: \
             leave it out, or group by --window global",
        ));
    }
    let clock = early.iter().find(|early| matches!(early, Early::Clock(_)));
    if let (Some(clock), Some(_)) = (clock, &args.checkpoint) {
        return refuse(format!(
            "--early {clock} makes results depend on when rows arrive, so a run with --checkpoint would not go on as \
             it was: leave one of them out, or take --early every: or events:"
        ));
    }
    if args.retracts() && args.output_format() == OutputFormat::Csv {
        return refuse(String::from(
            "--accumulate retracting gives each result a list of those that it replaces, which CSV has no place for: \
             write NDJSON (--output-format ndjson)",
        ));
    }
    check_fill(args)
}

fn check_fill(args: &RunArgs) -> Result<(), Stop> {
    let refuse = |why: String| Err(Stop::Usage(why));
    if args.fill.is_none() {
        return Ok(());
    }
    if !args.window.iter().any(WindowSpec::is_on_a_grid) {
        return refuse(String::from(
            "--fill gives results of windows without rows, but no session, global or count window is ever without \
             any: leave it out, or add windows like --window tumbling:1h",
        ));
    }
    if let Some(early) = args.early.first() {
        return refuse(format!(
            "--fill and --early {early} do not go together, because windows that are filled have one result, at \
             their end: leave one out"
        ));
    }
    if args.accumulate != Accumulate::Accumulating {
        return refuse(String::from(
            "--fill goes with --accumulate accumulating only, which is what there is without it: leave one out",
        ));
    }
    Ok(())
}

/// Each with all that come after it.
fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    all.iter().enumerate().flat_map(|(i, one)| all[i + 1..].iter().map(move |other| (one, other)))
}

fn is_same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    place(a) == place(b)
}

fn kernel(args: &RunArgs) -> Result<Kernel, Stop> {
    let windows = args.window.iter().map(|spec| windows(args, spec)).collect::<Result<Vec<_>, _>>()?;
    let config = Config::windows(windows).allowed_lateness(args.allowed_lateness.delta());
    let mut config = match args.max_delay {
        MaxDelay::Bound(bound) => config.max_disorder(bound.delta()),
        MaxDelay::Learned { percentile, longest } => config
            .learned_disorder(LearnedDisorder::percentile(MaxDelay::percent(percentile), longest.delta())),
    };
    if let Some(timeout) = args.idle_timeout {
        config = config.idle_timeout(timeout.delta());
    }
    if let Some(quiet) = args.close_after_quiet {
        config = config.close_after_quiet(quiet.delta());
    }
    if let Some(skew) = args.max_future_skew {
        let suspect = match args.suspect {
            Suspect::Admit => floodmark::Suspect::Admit,
            Suspect::Reject => floodmark::Suspect::Reject,
        };
        config = config.max_future_skew(skew.delta(), suspect);
    }
    let functions = Functions(args.aggregate.iter().map(|aggregate| aggregate.function).collect());
    let kernel = config.build(functions).map_err(|error| Stop::Usage(error.to_string()))?;
    Ok(kernel.ordered())
}

fn windows(args: &RunArgs, spec: &WindowSpec) -> Result<Windows, Stop> {
    let windows = spec.windows().map_err(|error| Stop::Usage(error.to_string()))?;
    let windows = match spec.is_count() {
        true => windows,
        false => windows.trigger(Early::trigger(&args.early)).accumulation(args.accumulate.into()),
    };
    Ok(match args.fill {
        Some(horizon) if spec.is_on_a_grid() => windows.fill(horizon.delta()),
        _ => windows,
    })
}

/// A run under way.
struct Run {
    args: RunArgs,
    records: Records,
    kernel: Kernel,
    clock: Clock,
    partitions: Partitions,
    /// Reads the rows of blocks with this header.
    rows: Option<(Arc<Header>, RowReader)>,
    never_seen: NeverSeen,
    progress: Progress,
    outputs: Outputs,
    saving: Option<Saving>,
    blocks: Blocks,
    bar: Bar,
    started: Instant,
    /// Rows of this process, not of those that it resumes.
    rows_read: u64,
}

/// A row as an event.
struct RowRead<'a> {
    /// Where in the block's arrays.
    place: usize,
    time: Timestamp,
    partition: Option<&'a str>,
    key: Key,
    value: Row,
}

struct Outputs {
    panes: Table,
    late: Option<LateTable>,
    bad_rows: BadRows,
}

/// When a run is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// While it goes on.
    Between,
    /// Before it ends too early.
    Stopped,
    /// After the last row.
    Complete,
}

/// How the run saves itself.
struct Saving {
    saver: Saver,
    settings: Vec<(String, String)>,
    inputs: Vec<Input>,
    last: Instant,
    rows_since: u64,
}

impl Run {
    /// Starts afresh or where a checkpoint says; None when that says that there is nothing left to do.
    fn start(args: RunArgs) -> Result<Option<Self>, Stop> {
        let (saving, saved) = Saving::open(&args)?;
        if let Some(saved) = &saved
            && saved.frozen.done
        {
            say("the run that this checkpoint belongs to was complete: nothing left to do");
            return Ok(None);
        }
        let mut kernel = kernel(&args)?;
        if let Some(saved) = &saved {
            let restored = saved.checkpoint.chain(0).and_then(|chain| kernel.restore_chain(&chain));
            kernel =
                restored.map_err(|error| Stop::Failed(format!("cannot restore the checkpoint: {error}")))?;
        }
        let progress = saved.as_ref().map_or_else(
            || Progress {
                position: Position::default(),
                bad_rows: 0,
                unit: args.input.time_unit,
                kinds: None,
            },
            |saved| saved.frozen.progress.clone(),
        );
        let columns = args.columns();
        let plan = Plan {
            all_columns: args.late.is_some(),
            start: progress.position,
            ..Plan::new(&args.input, columns.clone())
        };
        let mixed = args.output == Path::new("-") && io::stdout().is_terminal();
        let bar = Bar::new(&plan, args.input.quiet || mixed);
        Ok(Some(Self {
            records: Records::new(&args)?,
            outputs: Outputs::open(&args, saved.as_ref().map(|saved| &saved.written))?,
            clock: Clock::new(&args.input, progress.unit),
            partitions: Partitions::from(saved.map(|saved| saved.frozen.partitions).unwrap_or_default()),
            rows: None,
            never_seen: NeverSeen::new(columns),
            progress,
            kernel,
            saving,
            blocks: plan.read(),
            bar,
            started: Instant::now(),
            rows_read: 0,
            args,
        }))
    }

    fn finish(mut self) -> Result<(), Stop> {
        let outcome = self.read_all();
        self.bar.clear();
        match outcome {
            Ok(()) => self.complete(),
            Err(Stop::Interrupted(_)) => self.interrupted(),
            Err(Stop::BadRow(message)) => self.stopped(message),
            // Something may be half written: the last checkpoint is the one to go on from.
            Err(stop) => Err(stop),
        }
    }

    fn read_all(&mut self) -> Result<(), Stop> {
        loop {
            // What is due is handed on before waiting.
            let next = match self.blocks.next(Duration::ZERO)? {
                Next::Nothing => {
                    self.outputs.flush()?;
                    self.blocks.next(WAIT)?
                }
                next => next,
            };
            match next {
                Next::Block(block) => self.take_block(&block)?,
                Next::End => return Ok(()),
                Next::Nothing => {}
            }
            self.between_blocks()?;
        }
    }

    /// What depends on the clock on the wall.
    fn between_blocks(&mut self) -> Result<(), Stop> {
        if interrupt::asked() {
            return Err(Stop::Interrupted(String::new()));
        }
        if self.args.goes_by_the_clock() {
            self.kernel.tick(now());
            self.drain()?;
            self.outputs.flush()?;
        }
        if self.saving.as_ref().is_some_and(|saving| saving.is_time(&self.args)) {
            self.save(When::Between)?;
        }
        Ok(())
    }

    fn take_block(&mut self, block: &Block) -> Result<(), Stop> {
        self.see_header(block)?;
        if block.file != self.progress.position.file {
            self.progress.position = Position { file: block.file, rows: 0 };
        }
        for record in &block.records {
            if interrupt::asked() {
                return Err(Stop::Interrupted(String::new()));
            }
            let row = self.read_row(block, record);
            self.note_unit(block, record);
            match row {
                Ok(row) => self.offer(block, record, row)?,
                Err(fault) => {
                    self.outputs.bad_rows.take(block, record, &fault)?;
                    self.progress.bad_rows += 1;
                }
            }
            self.progress.position.rows += 1;
            self.rows_read += 1;
            if self.saving.as_mut().is_some_and(|saving| saving.count_row(&self.args)) {
                self.save(When::Between)?;
            }
        }
        self.bar.show(self.rows_read);
        Ok(())
    }

    fn see_header(&mut self, block: &Block) -> Result<(), Stop> {
        self.never_seen.look(block);
        if let Some(late) = &mut self.outputs.late {
            late.see(block)?;
        }
        if self.rows.as_ref().is_none_or(|(header, _)| !Arc::ptr_eq(header, &block.header)) {
            if self.progress.kinds.is_none() && !block.header.columns.is_empty() {
                self.progress.kinds = Some(block.header.decoded.clone());
            }
            let kinds = self.progress.kinds.as_deref().unwrap_or(&block.header.decoded);
            self.rows = Some((Arc::clone(&block.header), RowReader::new(&self.args, &block.header, kinds)));
        }
        Ok(())
    }

    /// Reads a row. A bad one changes nothing.
    fn read_row<'b>(&mut self, block: &'b Block, record: &Record) -> Result<RowRead<'b>, Fault> {
        let place = *record.row.as_ref().map_err(Fault::clone)?;
        let (time, partition) = self.clock.read(block, place)?;
        let (key, value) = match &self.rows {
            Some((_, rows)) => rows.read(block, place)?,
            None => return Err(Fault::of_row("there is no header yet")),
        };
        Ok(RowRead { place, time, partition, key, value })
    }

    /// Offers a row to the kernel, and writes what comes back of it and what it makes due.
    fn offer(&mut self, block: &Block, record: &Record, row: RowRead<'_>) -> Result<(), Stop> {
        let partition = self.partitions.get(row.partition, &mut self.kernel);
        let given_back = match self.kernel.push(partition, row.time, row.key, row.value) {
            Ok(Admission::Accepted | Admission::PartlyLate(_)) => None,
            Ok(Admission::Late(late)) => Some(late_fields(&late)),
            Ok(_) => Some(self.other_fields("no_window")),
            Err(rejected) if rejected.is_future_skew() => Some(self.other_fields("too_far_ahead")),
            Err(_) => Some(self.other_fields("out_of_range")),
        };
        if let (Some(given_back), Some(late)) = (given_back, &mut self.outputs.late) {
            late.write(block, record, row.place, &given_back)?;
        }
        self.drain()
    }

    /// Keeps the unit that the first integer time decided on, and says so once.
    fn note_unit(&mut self, block: &Block, record: &Record) {
        if self.progress.unit != Unit::Auto || self.clock.unit() == Unit::Auto {
            return;
        }
        self.progress.unit = self.clock.unit();
        if !self.args.input.quiet {
            say(format!(
                "{}:{}: column `{}` is read as integer epochs in {unit}; --time-unit {unit} says so without guessing",
                block.header.file,
                record.line,
                self.args.input.time,
                unit = self.progress.unit
            ));
        }
    }

    /// What is added to a row that is not late and yet in no window.
    fn other_fields(&self, reason: &'static str) -> GivenBack<'static> {
        GivenBack { watermark: watermark_json(self.kernel.watermark()), late_by: None, reason }
    }

    /// Writes everything that is due.
    fn drain(&mut self) -> Result<(), Stop> {
        let kinds = self.progress.kinds.as_deref().unwrap_or_default();
        while let Some(pane) = self.kernel.poll() {
            self.records.write(pane, kinds, &mut self.outputs.panes)?;
        }
        Ok(())
    }

    fn complete(mut self) -> Result<(), Stop> {
        let summary = Summary::of(&self.args, &self.kernel, &self.partitions);
        self.kernel.finish();
        self.drain()?;
        self.save(When::Complete)?;
        self.outputs.flush()?;
        self.tell(&summary);
        Ok(())
    }

    fn interrupted(mut self) -> Result<(), Stop> {
        self.save(When::Stopped)?;
        self.outputs.flush()?;
        let summary = Summary::of(&self.args, &self.kernel, &self.partitions);
        self.tell(&summary);
        Err(Stop::Interrupted(match &self.saving {
            Some(_) => format!("interrupted and saved; go on with\n  {}", resume_command()),
            None => String::from(
                "interrupted; nothing was saved, and windows that were still open are lost (--checkpoint DIR saves)",
            ),
        }))
    }

    /// A bad row ends the run between two rows, so that it can be gone on with.
    fn stopped(mut self, message: String) -> Result<(), Stop> {
        self.save(When::Stopped)?;
        self.outputs.flush()?;
        Err(Stop::BadRow(match &self.saving {
            Some(_) => format!(
                "{message}\nall before it is saved; to go on without it, give the same arguments with --resume \
                 --on-error skip"
            ),
            None => message,
        }))
    }

    fn tell(&self, summary: &Summary) {
        if !self.args.input.quiet {
            summary.print(&self.kernel, self.progress.bad_rows, self.rows_read, self.started.elapsed());
            if self.rows_read > 0 {
                self.never_seen.warn();
            }
        }
    }

    /// Saves the run as it is between two rows, if it is one that saves.
    fn save(&mut self, when: When) -> Result<(), Stop> {
        let Some(saving) = &mut self.saving else { return Ok(()) };
        let frozen = Frozen {
            done: when == When::Complete,
            settings: saving.settings.clone(),
            inputs: saving.inputs.clone(),
            progress: self.progress.clone(),
            partitions: self.partitions.to_vec(),
        };
        let lengths = self.outputs.sync()?;
        let late_columns = self.outputs.late.as_ref().and_then(|late| late.columns().cloned());
        saving.saver.save(
            &mut self.kernel,
            (&frozen, &Written { lengths, late_columns }),
            when != When::Between,
        )?;
        (saving.last, saving.rows_since) = (Instant::now(), 0);
        Ok(())
    }
}

impl Outputs {
    fn open(args: &RunArgs, written: Option<&Written>) -> Result<Self, Stop> {
        let [panes, late, errors] = written.map_or([0; 3], |written| written.lengths);
        let mut outputs = Self {
            panes: Table::open(&args.output, args.output_format(), panes)?,
            late: None,
            bad_rows: BadRows::open(&args.input, errors)?,
        };
        if panes == 0 {
            outputs.panes.header(args.fields()?.iter().map(String::as_str))?;
        }
        if let Some(path) = &args.late {
            // A header that was not saved is written again.
            let columns = written.filter(|_| late > 0).and_then(|written| written.late_columns.clone());
            outputs.late = Some(LateTable::open(path, late, columns)?);
        }
        Ok(outputs)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        self.panes.flush()?;
        self.late.as_mut().map_or(Ok(()), LateTable::flush)?;
        self.bad_rows.flush()
    }

    /// Puts everything on the disk and says how long it is.
    fn sync(&mut self) -> Result<[u64; 3], Stop> {
        Ok([self.panes.sync()?, self.late.as_mut().map_or(Ok(0), LateTable::sync)?, self.bad_rows.sync()?])
    }
}

impl Saving {
    /// The place, if one was given, and what is to be resumed from it.
    fn open(args: &RunArgs) -> Result<(Option<Self>, Option<Loaded>), Stop> {
        let Some(place) = &args.checkpoint else { return Ok((None, None)) };
        let (settings, inputs) = (args.settings(), Input::all(&args.input)?);
        let check = |frozen: &Frozen| frozen.check(place, &settings, &inputs);
        let (saver, saved) = Saver::open(args, place, check)?;
        let saving = Self { saver, settings, inputs, last: Instant::now(), rows_since: 0 };
        Ok((Some(saving), saved))
    }

    /// Counts a row; true if a checkpoint is due by their number.
    fn count_row(&mut self, args: &RunArgs) -> bool {
        self.rows_since += 1;
        matches!(args.checkpoint_every, Every::Rows(rows) if self.rows_since >= rows)
    }

    /// Whether a checkpoint is due by the clock, and there is something new to save.
    fn is_time(&self, args: &RunArgs) -> bool {
        let every = args.checkpoint_every;
        self.rows_since > 0 && matches!(every, Every::Elapsed(time) if self.last.elapsed() >= time)
    }
}

fn late_fields(late: &Late<floodmark::Event<Key, Row>>) -> GivenBack<'static> {
    GivenBack {
        watermark: watermark_json(late.watermark),
        late_by: Some(seconds(late.late_by)),
        reason: match late.reason {
            LateReason::Disorder { .. } => "disorder",
            _ => "partition_behind",
        },
    }
}

/// None where nothing is known yet.
fn watermark_json(watermark: Watermark) -> Option<String> {
    (watermark != Watermark::MIN).then(|| format!("\"{watermark}\""))
}

/// A decimal number with the digits it needs: 3600, 0.25.
fn seconds(delta: TimeDelta) -> String {
    let micros = delta.num_microseconds().unwrap_or(i64::MAX).unsigned_abs();
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The command line that was given, quoted for a shell, with `--resume`.
fn resume_command() -> String {
    let mut words: Vec<String> = std::env::args().collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push(String::from("--resume"));
    }
    // Only words with a zero byte cannot be quoted, and arguments have none.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_the_digits_they_need() {
        for (micros, text) in
            [(3_600_000_000, "3600"), (250_000, "0.25"), (1, "0.000001"), (0, "0"), (10_000_000, "10")]
        {
            assert_eq!(seconds(TimeDelta::microseconds(micros)), text);
        }
    }
}
