//! Files and pipes into blocks of text columns, whatever the format.
//!
//! A thread of its own reads, unpacks and decodes, so that the run loop can save, stop or flush while a
//! pipe is silent. Text formats are cut at complete records as they come in ([`records`]): a pipe that
//! pauses delivers what it has at once, each record keeps its line number, and a bad record is set aside
//! without its neighbours. How the bytes were cut into reads can be seen in the blocks, never in the rows.

mod csv;
mod ndjson;
#[cfg(feature = "parquet")]
mod parquet;
mod records;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use arrow_array::StringArray;
use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use crate::args::{InputArgs, InputFormat};
use crate::error::Stop;

/// How many blocks may wait for the run loop.
const BLOCKS_AHEAD: usize = 4;

/// What the values of a column were before they were text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// CSV does not say.
    #[default]
    Untyped,
    Text,
    Number,
    Bool,
}

/// The columns of one file.
#[derive(Debug)]
pub(crate) struct Header {
    /// The file, as messages name it.
    pub(crate) file: String,
    /// All columns of the file: CSV and Parquet name them, for NDJSON they are those of the first object.
    pub(crate) columns: Vec<String>,
    /// Those of the arrays in the blocks, with what they were.
    pub(crate) decoded: Vec<(String, Kind)>,
}

/// Some consecutive rows of one file.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Arc<Header>,
    /// Which of the files.
    pub(crate) file: usize,
    /// Every row, the bad ones too.
    pub(crate) records: Vec<Record>,
    /// The good rows, column by column as in `header.decoded`.
    pub(crate) arrays: Vec<StringArray>,
    /// The bytes of the records; empty for Parquet.
    pub(crate) text: Vec<u8>,
    /// Whether a row's original is its text (NDJSON) rather than its columns.
    pub(crate) is_json: bool,
}

/// One row, good or bad.
#[derive(Debug)]
pub(crate) struct Record {
    /// Line of the text formats, row of Parquet, from 1.
    pub(crate) line: u64,
    /// Where in the block's text.
    pub(crate) text: Range<usize>,
    /// Where in the block's arrays, or why not.
    pub(crate) row: Result<usize, Fault>,
}

impl Block {
    pub(crate) fn text(&self, record: &Record) -> &[u8] {
        &self.text[record.text.clone()]
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    column: Option<String>,
    problem: String,
}

impl Fault {
    pub(crate) fn of_row(problem: impl Into<String>) -> Self {
        Self { column: None, problem: problem.into() }
    }

    pub(crate) fn of_column(column: &str, problem: impl Into<String>) -> Self {
        Self { column: Some(column.to_owned()), problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column `{column}`: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

/// How far the input has been consumed: everything before `file`, and `rows` of it, the bad ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) file: usize,
    pub(crate) rows: u64,
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) format: Option<InputFormat>,
    /// The columns that the arguments name.
    pub(crate) needed: Vec<String>,
    /// Whether the other columns are wanted too, for the late file.
    pub(crate) all_columns: bool,
    pub(crate) start: Position,
    /// Bytes read so far, as they are in the files.
    pub(crate) bytes_read: Arc<AtomicU64>,
}

impl Plan {
    /// From the beginning, `needed` columns only.
    pub(crate) fn new(args: &InputArgs, needed: Vec<String>) -> Self {
        Self {
            files: args.files.clone(),
            format: args.format,
            needed,
            all_columns: false,
            start: Position::default(),
            bytes_read: Arc::default(),
        }
    }

    /// Starts reading.
    pub(crate) fn read(self) -> Blocks {
        let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
        thread::spawn(move || {
            let end = self.read_files(&sender).map(|()| None);
            // Where nobody listens any more, nobody needs to know.
            let _ = sender.send(end);
        });
        Blocks { receiver }
    }

    fn read_files(&self, sender: &Sender) -> Result<(), Stop> {
        for (index, path) in self.files.iter().enumerate().skip(self.start.file) {
            let skip = if index == self.start.file { self.start.rows } else { 0 };
            let file = Source { plan: self, index, name: name_of(path), path, skip, sender };
            file.read()?;
        }
        Ok(())
    }
}

type Sender = SyncSender<Result<Option<Block>, Stop>>;

/// The blocks of all files, as they are read.
#[derive(Debug)]
pub(crate) struct Blocks {
    receiver: Receiver<Result<Option<Block>, Stop>>,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Next {
    Block(Block),
    /// The last file has ended.
    End,
    /// Nothing came in the time given.
    Nothing,
}

impl Blocks {
    /// The next block, if one comes within `wait`.
    pub(crate) fn next(&self, wait: Duration) -> Result<Next, Stop> {
        match self.receiver.recv_timeout(wait) {
            Ok(next) => Ok(next?.map_or(Next::End, Next::Block)),
            Err(RecvTimeoutError::Timeout) => Ok(Next::Nothing),
            // The end of the input is said: this is not it.
            Err(RecvTimeoutError::Disconnected) => {
                Err(Stop::Failed(String::from("reading the input ended in a fault of the program")))
            }
        }
    }
}

/// One file being read.
struct Source<'a> {
    plan: &'a Plan,
    index: usize,
    name: String,
    path: &'a Path,
    /// Rows that an earlier run has consumed.
    skip: u64,
    sender: &'a Sender,
}

impl Source<'_> {
    fn read(&self) -> Result<(), Stop> {
        let mut bytes = self.open()?;
        let format = match self.plan.format.or_else(|| format_by_name(self.path)) {
            Some(format) => format,
            None => format_by_content(&mut bytes).map_err(|error| self.unreadable(&error))?,
        };
        match format {
            InputFormat::Csv => records::read(self, bytes, csv::CsvDecoder::new(self)),
            InputFormat::Ndjson => records::read(self, bytes, ndjson::NdjsonDecoder::new(self)),
            InputFormat::Parquet => self.read_parquet(),
        }
    }

    /// The bytes, unpacked if they are gzip, of any number of members.
    fn open(&self) -> Result<Box<dyn BufRead>, Stop> {
        let raw: Box<dyn Read> = match self.path.to_str() {
            Some("-") => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(self.path).map_err(|error| self.unreadable(&error))?),
        };
        let count = Arc::clone(&self.plan.bytes_read);
        let mut raw = BufReader::with_capacity(records::READ_BYTES, Counted { raw, count });
        let first = raw.fill_buf().map_err(|error| self.unreadable(&error))?;
        // 1f is no character of any text format, so the second byte need not be waited for.
        Ok(if first.first() == Some(&0x1f) {
            Box::new(BufReader::with_capacity(records::READ_BYTES, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        })
    }

    #[cfg(feature = "parquet")]
    fn read_parquet(&self) -> Result<(), Stop> {
        parquet::read(self)
    }

    #[cfg(not(feature = "parquet"))]
    fn read_parquet(&self) -> Result<(), Stop> {
        Err(Stop::Usage(format!(
            "{} is Parquet, which this build leaves out; build with `--features parquet`",
            self.name
        )))
    }

    fn unreadable(&self, error: &io::Error) -> Stop {
        Stop::Failed(format!("cannot read {}: {error}", self.name))
    }

    /// Hands a block on; false when nobody wants more.
    fn send(&self, block: Block) -> bool {
        self.sender.send(Ok(Some(block))).is_ok()
    }

    /// The places of the wanted columns among those of the file.
    fn wanted(&self, columns: &[String]) -> Result<Vec<usize>, Stop> {
        for needed in &self.plan.needed {
            match columns.iter().filter(|column| *column == needed).count() {
                0 => {
                    return Err(Stop::Failed(format!(
                        "{} has no column `{needed}`; it has {}",
                        self.name,
                        columns.join(", ")
                    )));
                }
                1 => {}
                n => return Err(Stop::Failed(format!("{} has {n} columns called `{needed}`", self.name))),
            }
        }
        let is_wanted = |column| self.plan.all_columns || self.plan.needed.contains(column);
        Ok((0..columns.len()).filter(|&i| is_wanted(&columns[i])).collect())
    }
}

struct Counted<R> {
    raw: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.raw.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The file as messages name it.
pub(crate) fn name_of(path: &Path) -> String {
    if path == Path::new("-") { String::from("standard input") } else { path.display().to_string() }
}

fn format_by_name(path: &Path) -> Option<InputFormat> {
    let extension = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
    let mut path = path.to_owned();
    if extension(&path).as_deref() == Some("gz") {
        path.set_extension("");
    }
    match extension(&path)?.as_str() {
        "csv" => Some(InputFormat::Csv),
        "ndjson" | "jsonl" | "json" => Some(InputFormat::Ndjson),
        "parquet" => Some(InputFormat::Parquet),
        _ => None,
    }
}

/// An object is NDJSON, Parquet begins with its name, all else is CSV.
fn format_by_content(bytes: &mut impl BufRead) -> io::Result<InputFormat> {
    let first = bytes.fill_buf()?;
    let text = first.strip_prefix(records::BYTE_ORDER_MARK).unwrap_or(first);
    Ok(match text.trim_ascii_start().first() {
        Some(b'{') => InputFormat::Ndjson,
        _ if text.starts_with(b"PAR1") => InputFormat::Parquet,
        _ => InputFormat::Csv,
    })
}
