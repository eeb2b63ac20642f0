//! `floodmark`: event-time windows over files and pipes of rows.
//!
//! The files follow the data: [`args`] (with [`windows`]) → [`input`] (blocks of text columns) → [`time`] and
//! [`row`] (a row becomes an event) → [`run`] (the kernel, with [`aggregate`]) → [`results`] and [`output`], with
//! [`checkpoint`] and [`summary`] beside it. [`disorder`] is the second command, [`snapshot`] has the others.

#![forbid(unsafe_code)]

mod aggregate;
mod args;
mod bad_rows;
mod checkpoint;
mod disorder;
mod error;
mod input;
mod interrupt;
mod output;
mod partitions;
mod results;
mod row;
mod run;
mod snapshot;
mod summary;
mod time;
mod windows;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Run(args) => run::run(*args),
        Command::Disorder(args) => disorder::run(&args),
        Command::Snapshot(command) => snapshot::run(&command),
        Command::Savepoint(command) => snapshot::savepoint(&command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stop.report(),
    }
}
