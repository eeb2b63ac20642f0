//! Event-time windowing for programs that own their input, their threads and their clocks.
//!
//! A stream arrives out of order, from many partitions, some of them silent. Floodmark groups it into
//! windows of *event* time, decides when a window is complete, hands each result out once, and gives late
//! events back instead of losing them. It does no I/O, reads no clock and spawns nothing: the same calls
//! give the same answers.
//!
//! The [guide] explains event time, watermarks, lateness, triggers and the rest, with examples.
//!
//! # The contract
//!
//! There is one type, [`Windowing`], and four kinds of methods:
//!
//! 1. **Offer** events: [`push`](Windowing::push), or [`push_batch`](Windowing::push_batch) for columns of them. Each is
//!    *accepted*, *partly late*, *late*, *unassigned* or *rejected*, and what is not taken comes back whole.
//! 2. **Declare** what is known of time: [`set_watermark`](Windowing::set_watermark),
//!    [`mark_idle`](Windowing::mark_idle), [`add_partition`](Windowing::add_partition),
//!    [`end_partition`](Windowing::end_partition), [`tick`](Windowing::tick),
//!    [`finish`](Windowing::finish). Neither these nor a push ever emit anything.
//! 3. **Poll** for what is due: [`poll`](Windowing::poll), as often and as far as the host likes. *The
//!    sequence of panes does not depend on when it polls.*
//! 4. **Look**: everything that takes `&self`. [`snapshot`](Windowing::snapshot) is one of them: it may be
//!    taken between any two calls, also in the middle of a drain, and changes nothing.
//!
//! A window `[start, end)` is *due* when the watermark reaches its end: it fires one pane for each key
//! that has something in it (others can be [filled](Windows::fill)), windows in the order of (end, start). It
//! *closes* when the watermark reaches its end plus the allowed lateness; until then each late event makes
//! it fire again.
//!
//! ```
//! use chrono::{DateTime, TimeDelta, Utc};
//! use floodmark::{Admission, Config, Count, Mean};
//!
//! let mut windows = Config::tumbling(TimeDelta::minutes(1))
//!     .max_disorder(TimeDelta::seconds(5))
//!     .build((Count, Mean::of(|celsius: &f64| *celsius)))?;
//! let sensors = windows.add_partition();
//!
//! let mut results = Vec::new();
//! for (time, sensor, celsius) in [
//!     ("2013-01-01T00:00:10Z", "hall", 20.0),
//!     ("2013-01-01T00:00:58Z", "hall", 21.0),
//!     ("2013-01-01T00:01:02Z", "attic", 25.0), // the watermark is at 00:00:57
//!     ("2013-01-01T00:00:59Z", "hall", 22.0),  // out of order, in time
//!     ("2013-01-01T00:02:30Z", "attic", 27.0), // the first two minutes are complete
//!     ("2013-01-01T00:00:30Z", "hall", 99.0),  // late
//! ] {
//!     let time: DateTime<Utc> = time.parse()?;
//!     if let Admission::Late(late) = windows.push(sensors, time, sensor, celsius)? {
//!         assert_eq!(late.event.value, 99.0);
//!     }
//!     while let Some(pane) = windows.poll() {
//!         results.push((pane.window.start.to_string(), *pane.key, pane.value));
//!     }
//! }
//! assert_eq!(results[0], ("2013-01-01T00:00:00Z".into(), "hall", (3, 21.0)));
//! assert_eq!(results[1], ("2013-01-01T00:01:00Z".into(), "attic", (1, 25.0)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

// In the order in which an event passes through.

mod time;
pub use time::{OutOfChronoRange, Timestamp, Watermark, Window};

mod windows;
pub use windows::{Accumulation, Trigger, WindowGrid, Windows};

mod calendar;
pub use calendar::Calendar;
#[cfg(feature = "chrono-tz")]
pub use calendar::UnknownZone;

mod config;
pub use config::{Config, LateFiring, LearnedDisorder, Resume, Suspect};

mod watermark;
pub use watermark::{Partition, PartitionState, PartitionStatus};

mod lateness;

mod grid;

mod lattice;

mod aggregate;
pub use aggregate::{
    Aggregate, Collect, Count, First, Invertible, Last, Max, Mean, Min, Moments, OrElse, Sum, Summand, TopK,
    Variance, laws,
};

mod key;
pub use key::{IndexedKey, ToKey};

mod slice;

mod keyed;

mod fire;

mod queue;

mod output;
pub use output::{Admission, Event, Late, LateReason, Missed, Pane, Retracted, Timing};

mod operator;
pub use operator::Windowing;

mod batch;
pub use batch::{Batch, Exception, Exceptions, Partitions, Times};

mod drain;

pub mod snapshot;

// Beside it.

mod explain;
pub use explain::{Explanation, WindowProgress};

mod stats;
pub use stats::Counters;

mod error;
pub use error::{ConfigError, Rejected, RestoreError, UnequalColumns, UnknownPartition};

pub mod guide;

/// The README's example, compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
