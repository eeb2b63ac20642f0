//! Records out: results, late rows and bad rows, as NDJSON or CSV, with their length known to the byte.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use arrow_array::Array;
use serde_json::value::RawValue;

use crate::aggregate::Value;
use crate::args::OutputFormat;
use crate::error::Stop;
use crate::input::{Block, Kind, Record};

/// A stream of records in one format to one place.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    writer: Writer,
    /// The record being written, for NDJSON.
    line: Vec<u8>,
    /// Whether the file would still be found if the machine stopped now.
    is_named: bool,
}

#[derive(Debug)]
enum Writer {
    Ndjson(BufWriter<Sink>),
    Csv(Box<csv::Writer<Sink>>),
}

impl Table {
    /// Opens the place, emptied, or cut to the first `keep` bytes of what an earlier run wrote.
    pub(crate) fn open(path: &Path, format: OutputFormat, keep: u64) -> Result<Self, Stop> {
        let sink = Sink::open(path, keep)?;
        let writer = match format {
            OutputFormat::Ndjson => Writer::Ndjson(BufWriter::with_capacity(1 << 16, sink)),
            OutputFormat::Csv => {
                Writer::Csv(Box::new(csv::WriterBuilder::new().buffer_capacity(1 << 16).from_writer(sink)))
            }
        };
        Ok(Self { path: path.to_owned(), writer, line: Vec::new(), is_named: keep > 0 })
    }

    /// The names of the fields, where the format says them once.
    pub(crate) fn header<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<(), Stop> {
        match &mut self.writer {
            Writer::Ndjson(_) => Ok(()),
            Writer::Csv(csv) => csv.write_record(names).map_err(|error| failed(&self.path, error)),
        }
    }

    /// Adds a text to the record.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> Result<(), Stop> {
        match &mut self.writer {
            Writer::Ndjson(_) => {
                push_name(&mut self.line, name);
                push_text(&mut self.line, text);
                Ok(())
            }
            Writer::Csv(csv) => csv.write_field(text).map_err(|error| failed(&self.path, error)),
        }
    }

    /// Adds JSON to the record: a number, `null`, or anything else as it is written.
    pub(crate) fn json(&mut self, name: &str, json: &str) -> Result<(), Stop> {
        match &mut self.writer {
            Writer::Ndjson(_) => {
                push_name(&mut self.line, name);
                self.line.extend_from_slice(json.as_bytes());
                Ok(())
            }
            Writer::Csv(csv) => csv.write_field(plain(json)).map_err(|error| failed(&self.path, error)),
        }
    }

    pub(crate) fn value(&mut self, name: &str, value: &Value) -> Result<(), Stop> {
        let mut json = Vec::new();
        push_value(&mut json, value);
        // JSON is UTF-8; the lossy conversion copies nothing.
        self.json(name, &String::from_utf8_lossy(&json))
    }

    /// Adds the fields of an object, as they are written.
    fn object(&mut self, object: &str) {
        let object = object.trim();
        let fields = object.strip_suffix('}').unwrap_or(object);
        self.line.extend_from_slice(fields.trim_end().as_bytes());
    }

    /// Writes the record.
    pub(crate) fn end(&mut self) -> Result<(), Stop> {
        match &mut self.writer {
            Writer::Ndjson(sink) => {
                self.line.extend_from_slice(b"}\n");
                let written = sink.write_all(&self.line);
                self.line.clear();
                written.map_err(|error| failed_io(&self.path, &error))
            }
            Writer::Csv(csv) => csv.write_record(None::<&[u8]>).map_err(|error| failed(&self.path, error)),
        }
    }

    /// Hands everything on to the file or pipe.
    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        let flushed = match &mut self.writer {
            Writer::Ndjson(sink) => sink.flush(),
            Writer::Csv(csv) => csv.flush(),
        };
        flushed.map_err(|error| failed_io(&self.path, &error))
    }

    /// Puts everything on the disk, and says how long it is.
    pub(crate) fn sync(&mut self) -> Result<u64, Stop> {
        self.flush()?;
        let sink = match &self.writer {
            Writer::Ndjson(sink) => sink.get_ref(),
            Writer::Csv(csv) => csv.get_ref(),
        };
        let synced = match &sink.to {
            To::File(file) if self.is_named => file.sync_data(),
            // The name of a new file is on the disk once its folder is.
            To::File(file) => file.sync_all().and_then(|()| sync_folder(&self.path)),
            To::Stdout(_) => Ok(()),
        };
        synced.map_err(|error| failed_io(&self.path, &error))?;
        self.is_named = true;
        Ok(sink.written)
    }
}

/// Puts the names in the folder of a file on the disk. Folders can be synced where they can be opened: not
/// on Windows, where renaming is enough.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn failed(path: &Path, error: csv::Error) -> Stop {
    failed_io(path, &io::Error::from(error))
}

fn failed_io(path: &Path, error: &io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::OutputClosed,
        _ => Stop::io("write", path, error),
    }
}

/// Where bytes end up, and how many have.
#[derive(Debug)]
struct Sink {
    to: To,
    written: u64,
}

#[derive(Debug)]
enum To {
    File(File),
    Stdout(Stdout),
}

impl Sink {
    fn open(path: &Path, keep: u64) -> Result<Self, Stop> {
        if path == Path::new("-") {
            return Ok(Self { to: To::Stdout(io::stdout()), written: 0 });
        }
        let mut options = OpenOptions::new();
        let options =
            if keep == 0 { options.write(true).create(true).truncate(true) } else { options.append(true) };
        let file = options.open(path).map_err(|error| Stop::io("open", path, &error))?;
        if keep > 0 {
            let length = file.metadata().map_err(|error| Stop::io("look at", path, &error))?.len();
            if length < keep {
                return Err(Stop::Failed(format!(
                    "{} is {length} bytes long, but {keep} were written when the checkpoint was saved: it was \
                     changed since. Remove the checkpoint to start afresh",
                    path.display()
                )));
            }
            file.set_len(keep).map_err(|error| Stop::io("cut", path, &error))?;
        }
        Ok(Self { to: To::File(file), written: keep })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = match &mut self.to {
            To::File(file) => file.write(bytes)?,
            To::Stdout(stdout) => stdout.write(bytes)?,
        };
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::File(file) => file.flush(),
            To::Stdout(stdout) => stdout.flush(),
        }
    }
}

fn push_name(line: &mut Vec<u8>, name: &str) {
    line.push(if line.is_empty() { b'{' } else { b',' });
    push_text(line, name);
    line.push(b':');
}

fn push_text(line: &mut Vec<u8>, text: &str) {
    // Writing into memory does not fail, nor does encoding a text.
    let _ = serde_json::to_writer(line, text);
}

/// Integers and floats in their shortest exact form. JSON has no infinity: a sum beyond all floats is null.
fn push_value(json: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => json.extend_from_slice(b"null"),
        Value::Integer(integer) => json.extend_from_slice(integer.to_string().as_bytes()),
        Value::Float(float) => {
            let _ = serde_json::to_writer(json, float);
        }
        Value::Token(token) => json.extend_from_slice(token.as_bytes()),
        Value::List(values) => {
            json.push(b'[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    json.push(b',');
                }
                push_value(json, value);
            }
            json.push(b']');
        }
    }
}

/// Fields as a JSON object.
pub(crate) fn json_object<'a>(fields: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let mut json = Vec::new();
    for (name, value) in fields {
        push_name(&mut json, name);
        push_value(&mut json, value);
    }
    json.push(b'}');
    // JSON is UTF-8.
    String::from_utf8_lossy(&json).into_owned()
}

/// A text as JSON: a number or truth value if it was one (`kind`) and reads as one, else a string.
pub(crate) fn json_token(text: &str, kind: Kind) -> String {
    let is_plain = match kind {
        Kind::Number => is_json_number(text),
        Kind::Bool => matches!(text, "true" | "false"),
        Kind::Text | Kind::Untyped => false,
    };
    if is_plain { text.to_owned() } else { serde_json::json!(text).to_string() }
}

/// The grammar of JSON's numbers: no leading zeros or plus, no bare dots.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let mantissa = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// JSON as the text of a CSV field: strings without their quotes, null as nothing.
fn plain(json: &str) -> String {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()),
        _ if json == "null" => String::new(),
        _ => json.to_owned(),
    }
}

/// Rows given back: the input columns as they were, and fields added.
#[derive(Debug)]
pub(crate) struct LateTable {
    table: Table,
    /// The input columns of a CSV file, which are fixed by the first block.
    columns: Option<Vec<String>>,
    is_csv: bool,
}

/// What is added to a row that is given back, as JSON.
#[derive(Debug)]
pub(crate) struct GivenBack<'a> {
    pub(crate) watermark: Option<String>,
    /// Seconds.
    pub(crate) late_by: Option<String>,
    pub(crate) reason: &'a str,
}

const ADDED: [&str; 3] = ["watermark", "late_by", "reason"];

impl LateTable {
    pub(crate) fn open(path: &Path, keep: u64, columns: Option<Vec<String>>) -> Result<Self, Stop> {
        let format = OutputFormat::of(path);
        Ok(Self { table: Table::open(path, format, keep)?, columns, is_csv: format == OutputFormat::Csv })
    }

    /// The input columns as the header of the file names them.
    pub(crate) fn columns(&self) -> Option<&Vec<String>> {
        self.columns.as_ref()
    }

    pub(crate) fn sync(&mut self) -> Result<u64, Stop> {
        self.table.sync()
    }

    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        self.table.flush()
    }

    /// Takes note of the columns of a file; those of the first are those of the table.
    pub(crate) fn see(&mut self, block: &Block) -> Result<(), Stop> {
        let header = &block.header;
        if let Some(taken) = header.columns.iter().find(|column| ADDED.contains(&column.as_str())) {
            return Err(Stop::Failed(format!(
                "{} has a column `{taken}`, and --late adds one of that name: rename it",
                header.file
            )));
        }
        if self.columns.is_none() && !header.columns.is_empty() {
            let names = header.columns.iter().map(String::as_str).chain(ADDED);
            self.table.header(names)?;
            self.columns = Some(header.columns.clone());
        }
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        block: &Block,
        record: &Record,
        row: usize,
        given_back: &GivenBack<'_>,
    ) -> Result<(), Stop> {
        match (block.is_json, self.is_csv) {
            (true, false) => self.table.object(&String::from_utf8_lossy(block.text(record))),
            (true, true) => self.write_object(block, record)?,
            (false, _) => self.write_columns(block, row)?,
        }
        let text = |json: &Option<String>| json.as_deref().unwrap_or("null").to_owned();
        self.table.json(ADDED[0], &text(&given_back.watermark))?;
        self.table.json(ADDED[1], &text(&given_back.late_by))?;
        self.table.text(ADDED[2], given_back.reason)?;
        self.table.end()
    }

    fn write_columns(&mut self, block: &Block, row: usize) -> Result<(), Stop> {
        let decoded = &block.header.decoded;
        let value = |place: usize| {
            let (array, kind) = (&block.arrays[place], decoded[place].1);
            if array.is_valid(row) { json_token(array.value(row), kind) } else { String::from("null") }
        };
        if !self.is_csv {
            return (0..decoded.len())
                .try_for_each(|place| self.table.json(&decoded[place].0, &value(place)));
        }
        let columns = self.columns.as_deref().unwrap_or_default();
        if let Some((extra, _)) = decoded.iter().find(|(name, _)| !columns.contains(name)) {
            return Err(no_such_column(&self.table.path, &block.header.file, extra));
        }
        for column in columns {
            let place = decoded.iter().position(|(name, _)| name == column);
            self.table.json(column, &place.map_or_else(|| String::from("null"), value))?;
        }
        Ok(())
    }

    fn write_object(&mut self, block: &Block, record: &Record) -> Result<(), Stop> {
        // It was decoded before, so it is an object.
        let object: BTreeMap<String, &RawValue> =
            serde_json::from_slice(block.text(record)).unwrap_or_default();
        let columns = self.columns.as_deref().unwrap_or_default();
        if let Some(extra) = object.keys().find(|name| !columns.contains(name)) {
            return Err(no_such_column(&self.table.path, &block.header.file, extra));
        }
        for column in columns {
            self.table.json(column, object.get(column).map_or("null", |value| value.get()))?;
        }
        Ok(())
    }
}

/// A CSV file has the columns of the first row; nothing of later ones is to be lost silently.
fn no_such_column(late: &Path, file: &str, extra: &str) -> Stop {
    Stop::Failed(format!(
        "{file} has a column `{extra}` that the first row has not, so {} has no place for it: write late rows to \
         an .ndjson file",
        late.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_json_reads_as_a_number_is_written_as_one() {
        for number in ["0", "-3", "1806", "0.5", "1e5", "1.5E-7", "12345678901234567890123"] {
            assert_eq!(json_token(number, Kind::Number), number);
            assert!(serde_json::from_str::<f64>(number).is_ok());
        }
        for text in ["007", "+1", ".5", "5.", "1e", "", "-", "0x1", "NaN", "1 2"] {
            assert_eq!(json_token(text, Kind::Number), format!("{text:?}"));
        }
        assert_eq!(json_token("5", Kind::Text), "\"5\"");
        assert_eq!(json_token("true", Kind::Bool), "true");
        assert_eq!(json_token("a\"b\n", Kind::Untyped), r#""a\"b\n""#);
    }

    #[test]
    fn values_print_shortest_and_exact() {
        let list =
            Value::List(vec![Value::Null, Value::Integer(1 << 64), Value::Float(0.1), Value::Float(12.0)]);
        let mut json = Vec::new();
        push_value(&mut json, &list);
        assert_eq!(json, b"[null,18446744073709551616,0.1,12.0]");
    }
}
