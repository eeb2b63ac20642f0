//! What Floodmark *should* do, written so that it can be checked by reading.
//!
//! This crate knows nothing of the kernel. It keeps every event, looks at every
//! window and recomputes every watermark from scratch, so that each rule is one
//! visible line rather than the result of bookkeeping. Tests run a [`Case`]
//! through the [`Model`] and through the kernel and compare.
//!
//! | module | what it holds |
//! |---|---|
//! | [`case`] | the case format: a configuration and a timeline, as JSON |
//! | [`watermark`] | partitions and the kernel's watermark (W1–W8) |
//! | [`window`] | windows of every kind, lateness, triggers, panes (T2, T3, A1, A2, F1–F7, L1, L2) |
//! | [`model`] | the two together: one [`Outcome`] per step |
//! | [`valve`] | Apache Flink's `StatusWatermarkValve`, for comparison |
//! | [`generate`] | timelines: from bytes, random, exhaustive, and transforms |
//!
//! Times are plain `i64` ticks. Ids such as W4 or L2 name the lines of the
//! design's section 3.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod case;
pub mod generate;
pub mod model;
pub mod valve;
pub mod watermark;
pub mod window;

pub use case::{
    Accumulation, Base, Case, Config, FutureSkew, Generator, Kind, LateFiring, Resume, SkewPolicy, Step,
    Trigger, Windows,
};
pub use model::{Counters, Model, Outcome, Reason, Verdict};
pub use window::{Contribution, Pane, Retracted, Timing};
