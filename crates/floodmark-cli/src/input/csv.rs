//! Comma-separated values; the first record names the columns.

use std::sync::Arc;

use arrow_array::{StringArray, cast::AsArray};
use arrow_csv::ReaderBuilder;
use arrow_csv::reader::Decoder as ArrowDecoder;
use arrow_schema::{DataType, Field, Schema};

use super::records::{Cut, Decoder, MOST_ROWS};
use super::{Fault, Header, Kind, Source};
use crate::error::Stop;

pub(super) struct CsvDecoder<'a> {
    source: &'a Source<'a>,
    columns: Vec<String>,
    wanted: Vec<usize>,
    /// None before the header, and after an error, which leaves a decoder in the middle of a record.
    arrow: Option<ArrowDecoder>,
}

impl<'a> CsvDecoder<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        Self { source, columns: Vec::new(), wanted: Vec::new(), arrow: None }
    }

    /// Every column is read as text; empty fields are null.
    fn arrow(&mut self) -> &mut ArrowDecoder {
        self.arrow.get_or_insert_with(|| {
            let fields = self.columns.iter().map(|column| Field::new(column, DataType::Utf8, true));
            let schema = Schema::new(fields.collect::<Vec<_>>());
            ReaderBuilder::new(Arc::new(schema))
                .with_projection(self.wanted.clone())
                .with_batch_size(MOST_ROWS)
                .build_decoder()
        })
    }

    fn try_decode(&mut self, text: &[u8], rows: usize) -> Option<Vec<StringArray>> {
        let arrow = self.arrow();
        let mut rest = text;
        while !rest.is_empty() {
            let used = arrow.decode(rest).ok()?;
            rest = &rest[used..];
            if used == 0 {
                return None;
            }
        }
        let batch = arrow.flush().ok()??;
        (batch.num_rows() == rows).then(|| batch.columns().iter().map(|c| c.as_string().clone()).collect())
    }
}

impl Decoder for CsvDecoder<'_> {
    const QUOTES: bool = true;
    const IS_JSON: bool = false;

    fn header(&mut self, text: &[u8], cut: &mut Vec<Cut>) -> Result<Header, Stop> {
        let first = cut.remove(0);
        let names = split(&text[first.text]);
        self.columns = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        self.wanted = self.source.wanted(&self.columns)?;
        Ok(Header {
            file: self.source.name.clone(),
            columns: self.columns.clone(),
            decoded: self.wanted.iter().map(|&i| (self.columns[i].clone(), Kind::Untyped)).collect(),
        })
    }

    fn decode(&mut self, text: &[u8], rows: usize) -> Option<Vec<StringArray>> {
        let arrays = self.try_decode(text, rows);
        if arrays.is_none() {
            self.arrow = None;
        }
        arrays
    }

    fn diagnose(&self, record: &[u8]) -> Fault {
        let fields = split(record);
        if fields.len() != self.columns.len() {
            return Fault::of_row(format!(
                "{} fields where the header has {}: {:?}",
                fields.len(),
                self.columns.len(),
                String::from_utf8_lossy(record.trim_ascii_end())
            ));
        }
        match fields.iter().zip(&self.columns).find(|(field, _)| str::from_utf8(field).is_err()) {
            Some((field, column)) => Fault::of_column(
                column,
                format!("cannot read {:?} as UTF-8 text", String::from_utf8_lossy(field)),
            ),
            None => Fault::of_row("cannot be read as CSV"),
        }
    }
}

/// The fields of one record.
fn split(record: &[u8]) -> csv::ByteRecord {
    let mut fields = csv::ByteRecord::new();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record);
    // Reading from memory does not fail, and flexible records are never bad.
    let _ = reader.read_byte_record(&mut fields);
    fields
}
