//! Why a command ends before its input does, and the exit code that says so.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The reason to end early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The arguments ask for something impossible: exit code 2, as for those that do not parse.
    Usage(String),
    /// The input cannot be read or the output cannot be written: exit code 1.
    Failed(String),
    /// A row that cannot be read, and `--on-error stop`: exit code 1.
    BadRow(String),
    /// Ctrl-C: exit code 130.
    Interrupted(String),
    /// Whoever read standard output has seen enough (`| head`): no error.
    OutputClosed,
}

impl Stop {
    /// A failed operation on a file, with what was tried.
    pub(crate) fn io(tried: &str, path: &Path, error: &io::Error) -> Self {
        Self::Failed(format!("cannot {tried} {}: {error}", path.display()))
    }

    /// Tells the person and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::Usage(message) => (2, message),
            Self::Failed(message) | Self::BadRow(message) => (1, message),
            Self::Interrupted(message) => (130, message),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        say(message);
        ExitCode::from(code)
    }
}

/// A line to the person on standard error.
pub(crate) fn say(message: impl Display) {
    eprintln!("floodmark: {message}");
}
