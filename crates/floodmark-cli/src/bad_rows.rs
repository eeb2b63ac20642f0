//! What becomes of rows that cannot be read: `--on-error`.

use crate::args::{InputArgs, OnError, OutputFormat};
use crate::error::Stop;
use crate::input::{Block, Fault, Record};
use crate::output::Table;

const FIELDS: [&str; 4] = ["file", "line", "error", "row"];

#[derive(Debug)]
pub(crate) struct BadRows {
    policy: OnError,
    aside: Option<Table>,
}

impl BadRows {
    /// Opens the file of bad rows, cut to the first `keep` bytes, if there is to be one.
    pub(crate) fn open(args: &InputArgs, keep: u64) -> Result<Self, Stop> {
        let mut aside = match &args.errors {
            Some(path) => Some(Table::open(path, OutputFormat::of(path), keep)?),
            None => None,
        };
        if let Some(table) = aside.as_mut().filter(|_| keep == 0) {
            table.header(FIELDS.into_iter())?;
        }
        Ok(Self { policy: args.on_error, aside })
    }

    /// Passes over a row, or ends the run because of it.
    pub(crate) fn take(&mut self, block: &Block, record: &Record, fault: &Fault) -> Result<(), Stop> {
        let file = &block.header.file;
        match (self.policy, &mut self.aside) {
            (OnError::Stop, _) => Err(Stop::BadRow(format!("{file}:{}: {fault}", record.line))),
            (OnError::Side, Some(table)) => {
                let row = String::from_utf8_lossy(block.text(record));
                table.text(FIELDS[0], file)?;
                table.json(FIELDS[1], &record.line.to_string())?;
                table.text(FIELDS[2], &fault.to_string())?;
                table.text(FIELDS[3], row.trim_end_matches(['\r', '\n']))?;
                table.end()
            }
            (OnError::Skip | OnError::Side, _) => Ok(()),
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        self.aside.as_mut().map_or(Ok(()), Table::flush)
    }

    /// Puts the file on the disk and says how long it is.
    pub(crate) fn sync(&mut self) -> Result<u64, Stop> {
        self.aside.as_mut().map_or(Ok(0), Table::sync)
    }
}
