//! Parquet, its columns turned into text.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::records::shorter_than_before;
use super::{Block, Header, Kind, Record, Source};
use crate::error::Stop;

/// Rows of a block.
const BATCH: usize = 4096;

pub(super) fn read(source: &Source<'_>) -> Result<(), Stop> {
    if source.path == Path::new("-") {
        return Err(Stop::Usage(String::from(
            "Parquet is read from its end, so it cannot come through a pipe: give the file",
        )));
    }
    let unreadable =
        |error: &dyn std::fmt::Display| Stop::Failed(format!("cannot read {}: {error}", source.name));
    let file = File::open(source.path).map_err(|error| unreadable(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(&error))?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
    if rows < source.skip {
        return Err(shorter_than_before(source, source.skip - rows));
    }
    let schema = Arc::clone(builder.schema());
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let wanted = source.wanted(&columns)?;
    let header = Arc::new(header(source, &schema, columns, &wanted));
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    // A file of pages never holds more rows than memory could.
    let skip = usize::try_from(source.skip).unwrap_or(usize::MAX);
    let batches = builder.with_projection(mask).with_batch_size(BATCH).with_offset(skip).build();
    let mut line = source.skip;
    for batch in batches.map_err(|error| unreadable(&error))? {
        let batch = batch.map_err(|error| unreadable(&error))?;
        let texts = batch.columns().iter().zip(&header.decoded).map(|(column, (name, _))| {
            text(column).map_err(|error| unreadable(&format!("column `{name}`: {error}")))
        });
        let arrays = texts.collect::<Result<Vec<StringArray>, Stop>>()?;
        let record = |row| Record { line: line + row as u64 + 1, text: 0..0, row: Ok(row) };
        let records = (0..batch.num_rows()).map(record).collect();
        let header = Arc::clone(&header);
        if !source.send(Block {
            header,
            file: source.index,
            records,
            arrays,
            text: Vec::new(),
            is_json: false,
        }) {
            break;
        }
        line += batch.num_rows() as u64;
    }
    Ok(())
}

fn header(source: &Source<'_>, schema: &Schema, columns: Vec<String>, wanted: &[usize]) -> Header {
    let kind = |place: usize| match schema.field(place).data_type() {
        DataType::Boolean => Kind::Bool,
        // Decimals too.
        number if number.is_numeric() => Kind::Number,
        _ => Kind::Text,
    };
    let decoded = wanted.iter().map(|&place| (columns[place].clone(), kind(place))).collect();
    Header { file: source.name.clone(), columns, decoded }
}

/// Instants as RFC 3339 in UTC; those of no time zone without an offset.
fn text(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let utc = match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            Some(cast(column, &DataType::Timestamp(*unit, Some(Arc::from("+00:00"))))?)
        }
        _ => None,
    };
    Ok(cast(utc.as_ref().unwrap_or(column), &DataType::Utf8)?.as_string().clone())
}
