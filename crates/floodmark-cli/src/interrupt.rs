//! Ctrl-C as a flag that the loops look at between two rows.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Stop;

static ASKED: AtomicBool = AtomicBool::new(false);

/// The first Ctrl-C asks to stop between two rows, a second one ends the process at once.
pub(crate) fn listen() -> Result<(), Stop> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
    })
    .map_err(|error| Stop::Failed(format!("cannot listen for Ctrl-C: {error}")))
}

/// Whether Ctrl-C was pressed.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
