//! Text into complete records, and those into blocks.

use std::io::BufRead;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::StringArray;

use super::{Block, Fault, Header, Record, Source};
use crate::error::Stop;

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// No record is longer than this: beyond it a quote was left open, or this is no text.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// Bytes asked for at a time.
pub(super) const READ_BYTES: usize = 1 << 16;

/// More rows than one read can complete, for the decoders that want to know.
pub(super) const MOST_ROWS: usize = READ_BYTES;

/// What the text formats differ in.
pub(super) trait Decoder {
    /// Whether line ends inside double quotes belong to the record.
    const QUOTES: bool;
    /// Whether a row's original is its text.
    const IS_JSON: bool;

    /// Learns the columns from the first records and takes away those that hold no row. A header without
    /// columns is for the bad rows before the first good one.
    fn header(&mut self, text: &[u8], cut: &mut Vec<Cut>) -> Result<Header, Stop>;

    /// Decodes complete records that follow one another, one row each; None if any of them is bad.
    fn decode(&mut self, text: &[u8], rows: usize) -> Option<Vec<StringArray>>;

    /// What is wrong with a record that could not be decoded.
    fn diagnose(&self, record: &[u8]) -> Fault;
}

/// Where a record was found.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) line: u64,
    pub(super) text: Range<usize>,
}

/// Reads a text format to its end.
pub(super) fn read<D: Decoder>(
    source: &Source<'_>,
    mut bytes: Box<dyn BufRead>,
    mut decoder: D,
) -> Result<(), Stop> {
    let mut splitter = Splitter::new(D::QUOTES);
    let mut header: Option<Arc<Header>> = None;
    let mut skip = source.skip;
    loop {
        let chunk = match bytes.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(source.unreadable(&error)),
        };
        let (n, at_end) = (chunk.len(), chunk.is_empty());
        splitter.push(chunk);
        bytes.consume(n);
        if at_end {
            splitter.end();
        }
        if splitter.pending() > MAX_RECORD_BYTES {
            return Err(Stop::Failed(format!(
                "{}:{}: a record of more than {} MiB begins here; was a quote left open?",
                source.name,
                splitter.record_line,
                MAX_RECORD_BYTES >> 20
            )));
        }
        let (text, mut cut) = splitter.take();
        if !cut.is_empty() && header.as_ref().is_none_or(|header| header.columns.is_empty()) {
            header = Some(Arc::new(decoder.header(&text, &mut cut)?));
        }
        let seen = skip.min(cut.len() as u64);
        skip -= seen;
        cut.drain(..seen as usize);
        if let Some(header) = &header
            && !cut.is_empty()
            && !source.send(block(source.index, &mut decoder, header, text, cut))
        {
            return Ok(());
        }
        if at_end {
            return if skip == 0 { Ok(()) } else { Err(shorter_than_before(source, skip)) };
        }
    }
}

/// A run is resumed on an input that ends before the place where it was left.
pub(super) fn shorter_than_before(source: &Source<'_>, missing: u64) -> Stop {
    Stop::Failed(format!(
        "{} ends {missing} rows before the place where the checkpoint was saved: it is not the input that the \
         checkpoint belongs to",
        source.name
    ))
}

/// Decodes all records at once or, if one of them is bad, each on its own.
fn block<D: Decoder>(
    file: usize,
    decoder: &mut D,
    header: &Arc<Header>,
    text: Vec<u8>,
    cut: Vec<Cut>,
) -> Block {
    let from = cut.first().map_or(0, |first| first.text.start);
    let to = cut.last().map_or(0, |last| last.text.end);
    let (arrays, rows) = match decoder.decode(&text[from..to], cut.len()) {
        Some(arrays) => (arrays, (0..cut.len()).map(Ok).collect()),
        None => one_by_one(decoder, header.decoded.len(), &text, &cut),
    };
    let records =
        cut.into_iter().zip(rows).map(|(cut, row)| Record { line: cut.line, text: cut.text, row }).collect();
    Block { header: Arc::clone(header), file, records, arrays, text, is_json: D::IS_JSON }
}

fn one_by_one<D: Decoder>(
    decoder: &mut D,
    columns: usize,
    text: &[u8],
    cut: &[Cut],
) -> (Vec<StringArray>, Vec<Result<usize, Fault>>) {
    let mut good: Vec<Vec<StringArray>> = Vec::new();
    let mut rows = Vec::with_capacity(cut.len());
    for cut in cut {
        let record = &text[cut.text.clone()];
        rows.push(match decoder.decode(record, 1) {
            Some(arrays) => {
                good.push(arrays);
                Ok(good.len() - 1)
            }
            None => Err(decoder.diagnose(record)),
        });
    }
    let value =
        |row: &Vec<StringArray>, column: usize| row[column].iter().next().flatten().map(str::to_owned);
    let arrays = (0..columns).map(|column| good.iter().map(|row| value(row, column)).collect()).collect();
    (arrays, rows)
}

/// Cuts a stream of bytes into records that end with their line, as the bytes come.
#[derive(Debug)]
struct Splitter {
    quotes: bool,
    bytes: Vec<u8>,
    /// How many of them have been looked at.
    scanned: usize,
    state: State,
    /// Whether the last byte was a carriage return, whose line feed is not another line.
    after_return: bool,
    line: u64,
    record_start: usize,
    record_line: u64,
    cut: Vec<Cut>,
    at_start: bool,
}

/// Where in a record; a quote opens only at the beginning of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// After a quote inside quotes: the end of them, or half of a doubled one.
    QuoteInQuoted,
}

impl Splitter {
    fn new(quotes: bool) -> Self {
        Self {
            quotes,
            bytes: Vec::new(),
            scanned: 0,
            state: State::FieldStart,
            after_return: false,
            line: 1,
            record_start: 0,
            record_line: 1,
            cut: Vec::new(),
            at_start: true,
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        if self.at_start {
            if self.bytes.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.bytes) {
                return;
            }
            if self.bytes.starts_with(BYTE_ORDER_MARK) {
                self.bytes.drain(..BYTE_ORDER_MARK.len());
            }
            self.at_start = false;
        }
        while let Some(&byte) = self.bytes.get(self.scanned) {
            self.scanned += 1;
            self.step(byte);
        }
    }

    fn step(&mut self, byte: u8) {
        let is_end = matches!(byte, b'\n' | b'\r');
        self.state = match (self.state, byte) {
            (State::FieldStart, b'"') if self.quotes => State::Quoted,
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::Quoted, _) => State::Quoted,
            (State::QuoteInQuoted, b'"') => State::Quoted,
            (_, b',') => State::FieldStart,
            _ => State::Plain,
        };
        // A return ends a line, a line feed too unless it belongs to the return before it.
        if byte == b'\r' || (byte == b'\n' && !self.after_return) {
            self.line += 1;
        }
        self.after_return = byte == b'\r';
        if is_end && self.state != State::Quoted {
            self.finish_record(self.scanned - 1);
        }
    }

    /// Ends the record, if there is anything in it, before `end`.
    fn finish_record(&mut self, end: usize) {
        if !self.bytes[self.record_start..end].trim_ascii().is_empty() {
            self.cut.push(Cut { line: self.record_line, text: self.record_start..self.scanned });
        }
        self.record_start = self.scanned;
        self.record_line = self.line;
        self.state = State::FieldStart;
    }

    /// The last line may lack its end.
    fn end(&mut self) {
        if self.at_start {
            self.scanned = self.bytes.len();
        }
        if self.record_start < self.bytes.len() {
            self.bytes.push(b'\n');
            self.scanned = self.bytes.len();
            self.finish_record(self.scanned - 1);
        }
    }

    /// Bytes of a record that has not ended yet.
    fn pending(&self) -> usize {
        self.bytes.len() - self.record_start
    }

    /// The complete records and their bytes.
    fn take(&mut self) -> (Vec<u8>, Vec<Cut>) {
        let rest = self.bytes.split_off(self.record_start);
        self.scanned -= self.record_start;
        self.record_start = 0;
        (mem::replace(&mut self.bytes, rest), mem::take(&mut self.cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records with their lines, read in chunks of `size`.
    fn split(text: &str, quotes: bool, size: usize) -> Vec<(u64, String)> {
        let mut splitter = Splitter::new(quotes);
        let mut found = Vec::new();
        let mut chunks: Vec<_> = text.as_bytes().chunks(size).map(Some).collect();
        chunks.push(None);
        for chunk in chunks {
            match chunk {
                Some(chunk) => splitter.push(chunk),
                None => splitter.end(),
            }
            let (bytes, cut) = splitter.take();
            for cut in cut {
                let text = String::from_utf8(bytes[cut.text].to_vec()).unwrap();
                found.push((cut.line, text.trim_end_matches(['\r', '\n']).to_owned()));
            }
        }
        found
    }

    #[test]
    fn records_are_the_same_however_they_are_read() {
        let text = "\u{feff}a,b\r\n1,\"x\r\ny\"\r\n\r\n2,\"say \"\"hi\"\"\n\"\r3,5\" pipe\n4,\"\"\n\n5,é";
        let expected = [
            (1, "a,b"),
            (2, "1,\"x\r\ny\""),
            (5, "2,\"say \"\"hi\"\"\n\""),
            (7, "3,5\" pipe"),
            (8, "4,\"\""),
            (10, "5,é"),
        ]
        .map(|(line, text)| (line, text.to_owned()));
        for size in 1..text.len() + 1 {
            assert_eq!(split(text, true, size), expected, "chunks of {size}");
        }
    }

    #[test]
    fn without_quotes_every_line_is_a_record() {
        let expected =
            [(1, "{\"a\":1}"), (2, "{\"b"), (3, "\"}")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(split("{\"a\":1}\n{\"b\n\"}", false, 3), expected);
        assert_eq!(split("\u{feff}", false, 1), [], "nothing but a byte order mark");
        assert_eq!(split("\u{ef}", false, 1), [(1, String::from("\u{ef}"))]);
    }
}
