//! Durable checkpoints for the [floodmark] kernel: its snapshots, the positions of the sources and the state of the sinks,
//! stored together or not at all.
//!
//! A [`Store`] is a place: a local folder, a bucket, memory. A [`Writer`] stores numbered checkpoints there, and the newest intact one
//! is what a process that died [resumes](Store::resume) from.
//!
//! ```
//! use chrono::TimeDelta;
//! use floodmark::{Config, Count, Timestamp};
//! use floodmark_checkpoint::{Resumed, State, Store};
//!
//! let store = Store::memory(); // or `Store::folder("state")?`, `Store::s3("s3://bucket/job")?`
//! let config = Config::tumbling(TimeDelta::minutes(1)).ascending();
//!
//! let mut windows = config.clone().build::<u32, (), _>(Count)?;
//! let mut writer = store.begin()?;
//! let input = windows.add_partition();
//! for offset in 0..100_u32 {
//!     windows.push(input, Timestamp::from_micros(i64::from(offset) * 1_000_000), offset % 3, ())?;
//!     if offset % 40 == 39 {
//!         let state = State { kernels: vec![windows.snapshot()], source: offset.to_le_bytes().into(), sink: vec![] };
//!         writer.save(state)?;
//!     }
//! }
//!
//! // The process dies, and another one goes on.
//! let Resumed { writer, checkpoint, damaged } = store.resume()?;
//! let checkpoint = checkpoint.expect("two were stored");
//! assert_eq!((checkpoint.number, &checkpoint.source[..], damaged.len()), (2, &79_u32.to_le_bytes()[..], 0));
//! let windows = config.build::<u32, (), _>(Count)?.restore_chain(&checkpoint.chain(0)?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//!
//! - A checkpoint that is half written is never seen: its manifest is written last, as one object, if and only if it is
//!   not there yet.
//! - Of two writers only one wins. The other is told ([`Error::is_conflict`]), however long it has slept.
//! - When the newest checkpoint is damaged, the newest one before it that is intact is resumed from, and [`Resumed::damaged`] says so. A
//!   storage that does not answer is no damage: that is an error, and nothing is lost by trying again.
//! - Retention deletes what no checkpoint needs that is kept, and what dead processes have left. [Savepoints](Store::create_savepoint) stay
//!   until they are deleted.
//!
//! The format is documented byte by byte in [`mod@format`].
//!
//! # Limits
//!
//! Snapshots of more than 64 MB are written in parts of that size (of which S3 takes 10,000). A savepoint as a whole is written by one request, so
//! that no other has its name, and must not be larger than the storage allows for that (5 GB in S3).
//! Calls wait for the storage: who must not wait hands the [`Writer`] to a thread ([`Background`]).

#![forbid(unsafe_code)]

mod background;
mod checkpoint;
mod error;
mod manifest;
mod objects;
mod store;
mod writer;

#[doc = include_str!("format.md")]
pub mod format {}

pub use background::Background;
pub use checkpoint::{Checkpoint, Damaged};
pub use error::Error;
/// For [`Store::over`].
pub use object_store;
pub use store::{Found, Resumed, State, Store};
pub use writer::{Saved, Writer};
