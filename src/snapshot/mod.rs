//! The whole state as bytes, and back (S1-S3).
//!
//! # Format, version 1
//!
//! All integers of the frame are little-endian; payloads are [postcard](https://postcard.jamesmunns.com/wire-format).
//!
//! ```text
//! magic    8 bytes  "FLOODMRK"
//! version  u16      1
//! then sections, in this order, each
//!   tag      u8
//!   length   u64      of the payload
//!   payload
//!   checksum u32      CRC-32 (IEEE) of tag, length and payload
//!
//! tag 1  configuration   once: `Description`
//! tag 2  progress        once: partitions, watermark, counters
//! tag 3  slice           once for each slice, earliest first: ordinal, number of entries, entries
//! tag 4  firing          once: the cursor, and late events not reached yet
//! tag 0  end             once, empty; nothing follows
//! ```
//!
//! The configuration stands first and in full, so that a mismatch can be named; its checksum serves as
//! its fingerprint. A slice is a section of its own, so that it can be copied, skipped and checked alone.
//! What follows from other state (running partials of sliding windows, the tree of watermarks) is not
//! stored but made again.

mod frame;
mod read;
mod write;

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::config::{LateFiring, Resume, Suspect};
use crate::error::{RestoreError, RestoreErrorKind};
use crate::operator::Windowing;
use crate::slice::{Combine, Positions};
use crate::stats::Counters;
use crate::watermark::Saved;

/// The newest version of the format, and the only one so far.
const VERSION: u16 = 1;

/// Everything that must be the same for a state to mean the same.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    size: i64,
    slide: i64,
    anchor: i64,
    allowed_lateness: i64,
    bound: Option<i64>,
    idle_timeout: Option<i64>,
    hold: bool,
    skew: Option<(i64, bool)>,
    once_per_drain: bool,
    ordered: bool,
    subtract_on_evict: bool,
    aggregate: String,
}

impl Description {
    fn of<K, V, A: Aggregate<V>>(windows: &Windowing<K, V, A>) -> Self {
        let settings = &windows.settings;
        let (size, slide, anchor) = settings.grid.shape();
        Self {
            size,
            slide,
            anchor,
            allowed_lateness: settings.lateness.allowed,
            bound: settings.rules.bound,
            idle_timeout: settings.rules.idle_timeout,
            hold: settings.rules.resume == Resume::Hold,
            skew: settings.rules.skew.map(|(skew, suspect)| (skew, suspect == Suspect::Admit)),
            once_per_drain: settings.late_firing == LateFiring::OncePerDrain,
            ordered: windows.plan.order.is_some(),
            subtract_on_evict: matches!(windows.firing.combine, Combine::SubtractOnEvict(_)),
            aggregate: windows.aggregate.name(),
        }
    }

    /// An error that names the first difference, if there is one.
    fn check(&self, configured: &Self) -> Result<(), RestoreError> {
        macro_rules! same {
            ($($field:ident $what:literal)+) => {
                $(if self.$field != configured.$field {
                    return Err(RestoreErrorKind::Configuration {
                        what: $what,
                        snapshot: alloc::format!("{:?}", self.$field),
                        configured: alloc::format!("{:?}", configured.$field),
                    }
                    .into());
                })+
            };
        }
        same! {
            size "a window size in µs of"
            slide "a window slide in µs of"
            anchor "a window offset in µs of"
            allowed_lateness "an allowed lateness in µs of"
            bound "a bound of disorder in µs of"
            idle_timeout "an idle timeout in µs of"
            hold "the watermark held for partitions that resume:"
            skew "an allowed skew into the future in µs, and suspects admitted:"
            once_per_drain "late firing once per drain:"
            ordered "ordered output:"
            subtract_on_evict "subtract-on-evict:"
            aggregate "the aggregate"
        }
        Ok(())
    }
}

/// The section 'progress'.
#[derive(Serialize, Deserialize)]
struct ProgressSection {
    progress: Saved,
    counters: Counters,
}

/// The fixed part of the section 'firing'; sequences follow it.
#[derive(Serialize, Deserialize)]
struct Cursor {
    next: i64,
    positions: Positions,
    /// The window being drained.
    draining: Option<i64>,
}
