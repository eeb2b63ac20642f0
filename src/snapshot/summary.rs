//! What a snapshot says to who does not know its types.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use chrono::TimeDelta;

use super::chain::{Chain, SliceSummary, SnapshotId, whole};
use super::frame::Section;
use super::{Description, ProgressSection, WindowsDescription};
use crate::config::{Resume, Suspect};
use crate::error::RestoreError;
use crate::stats::Counters;
use crate::time::Watermark;
use crate::watermark::{PartitionStatus, Progress, Rules};

/// What is in a snapshot, or in a chain of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Which snapshot it is.
    pub id: SnapshotId,
    /// The aggregate's [name](crate::Aggregate::name).
    pub aggregate: String,
    /// The watermark.
    pub watermark: Watermark,
    /// The partitions, without the bounds that they have learned.
    pub partitions: Vec<PartitionStatus>,
    /// What became of all events and windows so far.
    pub counters: Counters,
    /// The definitions of windows.
    pub definitions: Vec<DefinitionSummary>,
    /// Slices of time that hold something, earliest first.
    pub slices: Vec<SliceSummary>,
    /// Late events and panes that wait to be polled.
    pub waiting: u64,
}

/// A definition of windows in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DefinitionSummary {
    /// What its windows are, in words.
    pub windows: String,
    /// Its allowed lateness.
    pub allowed_lateness: TimeDelta,
    /// Windows that single keys have of their own, where it is one of those definitions, and the bytes that they take in
    /// the snapshot.
    pub own: Option<(u64, usize)>,
}

impl Chain<'_> {
    /// What is in it.
    ///
    /// # Errors
    ///
    /// When it contradicts itself.
    pub fn summary(&self) -> Result<Summary, RestoreError> {
        let description: Description = whole(self.head.configuration, Section::Configuration)?;
        let ProgressSection { mut progress, counters } = whole(self.head.progress, Section::Progress)?;
        // What partitions have learned is read by kernels that learn only: it takes room.
        progress.forget_learned();
        let progress = Progress::load(description.rules(), progress)
            .map_err(|why| RestoreError::unreadable(Section::Progress.name(), why))?;
        let definitions = (0..).zip(&description.definitions).map(|(number, definition)| {
            let mut keyed = self.head.keyed.iter().zip(&self.cells);
            let own = keyed.find(|(head, _)| head.definition == number).map(|(_, cells)| {
                let bytes = cells.iter().map(|cell| cell.key.len() + cell.rest.len()).sum();
                (cells.len() as u64, bytes)
            });
            DefinitionSummary {
                windows: alloc::format!("{}", definition.windows),
                allowed_lateness: TimeDelta::microseconds(definition.allowed_lateness),
                own,
            }
        });
        Ok(Summary {
            id: self.id(),
            watermark: Watermark::from_micros(progress.watermark()),
            partitions: progress.statuses().collect(),
            counters,
            definitions: definitions.collect(),
            slices: self.slices().collect(),
            waiting: self.head.queue,
            aggregate: description.aggregate,
        })
    }
}

impl Description {
    fn rules(&self) -> Rules {
        Rules {
            bound: self.bound,
            learning: None,
            idle_timeout: self.idle_timeout,
            close_after_quiet: self.close_after_quiet,
            resume: if self.hold { Resume::Hold } else { Resume::Exclude },
            skew: self.skew.map(|(skew, admit)| (skew, if admit { Suspect::Admit } else { Suspect::Reject })),
            beyond: i64::MAX,
        }
    }
}

impl fmt::Display for WindowsDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |micros: i64| TimeDelta::microseconds(micros);
        match self {
            Self::Sliding { size, slide, offset } => {
                match size == slide {
                    true => write!(f, "tumbling, {}", span(*size))?,
                    false => write!(f, "sliding, {} every {}", span(*size), span(*slide))?,
                }
                if *offset != 0 { write!(f, ", offset {}", span(*offset)) } else { Ok(()) }
            }
            Self::Cumulative { step, max, offset } => {
                write!(f, "cumulative, up to {} by {}", span(*max), span(*step))?;
                if *offset != 0 { write!(f, ", offset {}", span(*offset)) } else { Ok(()) }
            }
            Self::Session { gap, max_length } => {
                write!(f, "sessions, gap {}", span(*gap))?;
                max_length.map_or(Ok(()), |length| write!(f, ", at most {}", span(length)))
            }
            Self::Global => f.write_str("global"),
            Self::Own { name } => write!(f, "own grid, {name}"),
        }
    }
}

/// Over many lines, for people.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, aggregate, watermark, partitions, counters, definitions, slices, waiting } = self;
        writeln!(f, "snapshot {id}")?;
        writeln!(f, "aggregate {aggregate}")?;
        for (number, definition) in definitions.iter().enumerate() {
            let DefinitionSummary { windows, allowed_lateness, own } = definition;
            write!(f, "windows {number}: {windows}; allowed lateness {allowed_lateness}")?;
            if let Some((count, bytes)) = own {
                write!(f, "; {count} of single keys in {bytes} bytes")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "watermark {watermark}")?;
        for PartitionStatus { partition, watermark, state, last_event, .. } in partitions {
            write!(f, "{partition}: {state:?}, watermark {watermark}")?;
            match last_event {
                Some(time) => writeln!(f, ", latest event {time}")?,
                None => writeln!(f, ", no event yet")?,
            }
        }
        let Counters { accepted, late, .. } = counters;
        writeln!(f, "events: {accepted} accepted, {late} late; {waiting} wait to be polled")?;
        for SliceSummary { instant, end, entries, bytes } in slices {
            writeln!(f, "slice {} to {}: {entries} keys in {bytes} bytes", instant, end)?;
        }
        let (entries, bytes) = slices
            .iter()
            .fold((0_u64, 0), |(n, b), slice| (n.saturating_add(slice.entries), b + slice.bytes));
        write!(f, "{} slices, {entries} entries in {bytes} bytes", slices.len())
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
