//! One JSON object a line.

use std::sync::Arc;

use arrow_array::{StringArray, cast::AsArray};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder as ArrowDecoder;
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value};

use super::records::{Cut, Decoder, MOST_ROWS};
use super::{Fault, Header, Kind, Source};
use crate::error::Stop;

pub(super) struct NdjsonDecoder<'a> {
    source: &'a Source<'a>,
    /// None in the beginning, and after an error, which leaves a decoder in the middle of an object.
    arrow: Option<ArrowDecoder>,
}

impl<'a> NdjsonDecoder<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        Self { source, arrow: None }
    }

    /// The needed keys as text, numbers as they are written; a missing key is null.
    fn try_decode(&mut self, text: &[u8], rows: usize) -> Option<Vec<StringArray>> {
        let needed = &self.source.plan.needed;
        if self.arrow.is_none() {
            let fields = needed.iter().map(|column| Field::new(column, DataType::Utf8, true));
            let schema = Schema::new(fields.collect::<Vec<_>>());
            let builder = ReaderBuilder::new(Arc::new(schema)).with_coerce_primitive(true);
            self.arrow = builder.with_batch_size(MOST_ROWS).build_decoder().ok();
        }
        let arrow = self.arrow.as_mut()?;
        if arrow.decode(text).ok()? != text.len() {
            return None;
        }
        let batch = arrow.flush().ok()??;
        (batch.num_rows() == rows).then(|| batch.columns().iter().map(|c| c.as_string().clone()).collect())
    }
}

impl Decoder for NdjsonDecoder<'_> {
    const QUOTES: bool = false;
    const IS_JSON: bool = true;

    /// The first object that can be read says what the columns are; until there is one, all rows are bad.
    fn header(&mut self, text: &[u8], cut: &mut Vec<Cut>) -> Result<Header, Stop> {
        let first = cut.iter().find_map(|cut| serde_json::from_slice(&text[cut.text.clone()]).ok());
        let first: Map<String, Value> = first.unwrap_or_default();
        let kind = |column: &String| match first.get(column) {
            Some(Value::Number(_)) => Kind::Number,
            Some(Value::Bool(_)) => Kind::Bool,
            _ => Kind::Text,
        };
        Ok(Header {
            file: self.source.name.clone(),
            columns: first.keys().cloned().collect(),
            decoded: self.source.plan.needed.iter().map(|column| (column.clone(), kind(column))).collect(),
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
        let record = record.trim_ascii();
        let shown = String::from_utf8_lossy(record);
        match serde_json::from_slice(record) {
            Ok(Value::Object(object)) => {
                let is_nested =
                    |column: &&String| object.get(*column).is_some_and(|v| v.is_object() || v.is_array());
                match self.source.plan.needed.iter().find(is_nested) {
                    Some(column) => Fault::of_column(
                        column,
                        format!("cannot use {}, which is not a single value", object[column]),
                    ),
                    None => Fault::of_row(format!("cannot be read as one JSON object: {shown:?}")),
                }
            }
            Ok(_) => Fault::of_row(format!("not a JSON object: {shown:?}")),
            Err(error) => {
                // There is only one line here, so its number inside the record says nothing.
                let error = error.to_string().replace(" at line 1 column", " at column");
                Fault::of_row(format!("not a JSON object ({error}): {shown:?}"))
            }
        }
    }
}
