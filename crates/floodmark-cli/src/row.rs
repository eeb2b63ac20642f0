//! A row of text columns into an event: its time, partition, key and aggregated values.

use arrow_array::{Array, StringArray};

use crate::aggregate::{Cell, Number, Row, Token};
use crate::args::{AggregateSpec, RunArgs};
use crate::error::say;
use crate::input::{Block, Fault, Header, Kind};
use crate::output::json_token;
use crate::time::{TimeReader, Unit};
use floodmark::Timestamp;

/// The values of the key columns. An empty value (None) is not an empty text, and comes first.
pub(crate) type Key = Vec<Option<Box<str>>>;

/// The name of a partition; None where its column is empty, or where there is no such column.
pub(crate) type PartitionName = Option<Box<str>>;

/// Reads when and where rows happened.
#[derive(Debug)]
pub(crate) struct Clock {
    time: String,
    partition: Option<String>,
    times: TimeReader,
}

impl Clock {
    pub(crate) fn new(args: &crate::args::InputArgs, unit: Unit) -> Self {
        Self {
            time: args.time.clone(),
            partition: args.partition.clone(),
            times: TimeReader::new(unit, args.assume_utc),
        }
    }

    pub(crate) fn unit(&self) -> Unit {
        self.times.unit()
    }

    /// The row's time and partition.
    pub(crate) fn read<'a>(
        &mut self,
        block: &'a Block,
        row: usize,
    ) -> Result<(Timestamp, Option<&'a str>), Fault> {
        let Some(text) = value(column(block, &self.time), row) else {
            return Err(Fault::of_column(&self.time, "empty, but every row needs a time"));
        };
        let time = self.times.read(text).map_err(|problem| {
            Fault::of_column(&self.time, format!("cannot read {text:?} as a time: {problem}"))
        })?;
        let partition = self.partition.as_deref().and_then(|name| value(column(block, name), row));
        Ok((time, partition))
    }
}

/// Where the columns of a run are in the blocks of one file, and what their values are.
#[derive(Debug)]
pub(crate) struct RowReader {
    keys: Vec<usize>,
    aggregates: Vec<(AggregateSpec, usize, Kind)>,
}

impl RowReader {
    /// For the blocks with this header. What the values are goes by `kinds`, those of the first file, so
    /// that the files are one stream.
    pub(crate) fn new(args: &RunArgs, header: &Header, kinds: &[(String, Kind)]) -> Self {
        let place = |name: &str| header.decoded.iter().position(|(n, _)| n == name).unwrap_or_default();
        let aggregates = args.aggregate.iter().map(|spec| match &spec.column {
            Some(name) => (spec.clone(), place(name), kind_of(kinds, name)),
            None => (spec.clone(), 0, Kind::Untyped),
        });
        Self { keys: args.key.iter().map(|name| place(name)).collect(), aggregates: aggregates.collect() }
    }

    /// The row's key and aggregated values.
    pub(crate) fn read(&self, block: &Block, row: usize) -> Result<(Key, Row), Fault> {
        let key = self.keys.iter().map(|&i| value(&block.arrays[i], row).map(Box::from)).collect();
        let cell = |(spec, i, kind): &(AggregateSpec, usize, Kind)| match &spec.column {
            None => Ok(Cell::Row),
            Some(name) => match value(&block.arrays[*i], row) {
                None => Ok(Cell::Null),
                Some(text) if spec.function.is_numeric() => Number::parse(text)
                    .map(Cell::Number)
                    .ok_or_else(|| Fault::of_column(name, format!("cannot read {text:?} as a number"))),
                Some(text) => Ok(Cell::Token(token(text, *kind))),
            },
        };
        let row = self.aggregates.iter().map(cell).collect::<Result<Row, Fault>>()?;
        Ok((key, row))
    }
}

/// What the values of a column are; text, in files where it has none.
pub(crate) fn kind_of(kinds: &[(String, Kind)], name: &str) -> Kind {
    kinds.iter().find(|(n, _)| n == name).map_or(Kind::Untyped, |(_, kind)| *kind)
}

/// A value that is only passed on, as JSON. CSV does not say what is a number: what is written as one is.
fn token(text: &str, kind: Kind) -> Token {
    let kind = if kind == Kind::Untyped { Kind::Number } else { kind };
    json_token(text, kind).into_boxed_str()
}

fn column<'a>(block: &'a Block, name: &str) -> &'a StringArray {
    // Every header holds every needed column.
    let place = block.header.decoded.iter().position(|(n, _)| n == name).unwrap_or_default();
    &block.arrays[place]
}

fn value(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// Warns of a column that has shown no value: most often a mistyped name in NDJSON, where keys may miss.
#[derive(Debug)]
pub(crate) struct NeverSeen(Vec<String>);

impl NeverSeen {
    pub(crate) fn new(columns: Vec<String>) -> Self {
        Self(columns)
    }

    pub(crate) fn look(&mut self, block: &Block) {
        self.0.retain(|name| {
            let array = column(block, name);
            array.null_count() == array.len()
        });
    }

    pub(crate) fn warn(&self) {
        for column in &self.0 {
            say(format!("column `{column}` was empty or missing in every row"));
        }
    }
}
