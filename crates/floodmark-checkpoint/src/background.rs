//! Saving while the stream goes on.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use floodmark::snapshot::SnapshotId;

use crate::error::{Error, Kind};
use crate::store::State;
use crate::writer::{Saved, Writer};

/// A [`Writer`] on a thread of its own: who reads the stream does not wait for the storage.
///
/// ```
/// use floodmark_checkpoint::{Background, State, Store};
///
/// let store = Store::memory();
/// let mut saving = Background::new(store.begin()?)?;
/// // Between two events: whether one is done, and whether to give it the next.
/// if saving.is_idle() {
///     saving.save(State { source: b"offset 7".to_vec(), ..State::default() })?;
/// }
/// if let Some(saved) = saving.poll() {
///     saved?;
/// }
/// // Before the end.
/// if let Some(saved) = saving.wait() {
///     assert_eq!(saved?.number, 1);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Background {
    states: Option<SyncSender<State>>,
    outcomes: Receiver<Outcome>,
    thread: Option<JoinHandle<Writer>>,
    is_busy: bool,
    since: Vec<Option<SnapshotId>>,
}

#[derive(Debug)]
struct Outcome {
    saved: Result<Saved, Error>,
    since: Vec<Option<SnapshotId>>,
}

impl Background {
    /// Hands a writer to a thread.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn new(mut writer: Writer) -> Result<Self, Error> {
        let (states, coming) = sync_channel::<State>(1);
        let (done, outcomes) = sync_channel(1);
        let since = writer.all_since();
        let work = move || {
            for state in coming {
                let saved = writer.save(state);
                let since = writer.all_since();
                // Nobody listens any more where it is dropped, which waits for this one all the same.
                let _ = done.send(Outcome { saved, since });
            }
            writer
        };
        let thread = thread::Builder::new().name(String::from("floodmark-checkpoint")).spawn(work);
        let thread = thread.map_err(|error| {
            Error::new(Kind::Other(format!("cannot start a thread that saves checkpoints: {error}")))
        })?;
        Ok(Self { states: Some(states), outcomes, thread: Some(thread), is_busy: false, since })
    }

    /// Whether there is nothing to wait for: the last one is saved, or has failed, and that was asked for.
    pub fn is_idle(&self) -> bool {
        !self.is_busy
    }

    /// Begins to save a checkpoint, and returns at once. [`Writer::save`] says what it means.
    ///
    /// # Errors
    ///
    /// When the outcome of the last one has not been asked for yet.
    pub fn save(&mut self, state: State) -> Result<(), Error> {
        let busy = || {
            Error::new(Kind::Other(String::from("another checkpoint is being saved: wait for that first")))
        };
        let states = self.states.as_ref().filter(|_| !self.is_busy).ok_or_else(busy)?;
        states.send(state).map_err(|_| Error::new(Kind::Other(GONE.into())))?;
        self.is_busy = true;
        Ok(())
    }

    /// How the last one has ended, if it has and this was not asked before.
    pub fn poll(&mut self) -> Option<Result<Saved, Error>> {
        self.is_busy.then(|| self.outcomes.try_recv()).and_then(|outcome| match outcome {
            Err(TryRecvError::Empty) => None,
            outcome => Some(self.take(outcome.ok())),
        })
    }

    /// Waits for the last one to end. None if there is none.
    pub fn wait(&mut self) -> Option<Result<Saved, Error>> {
        self.is_busy.then(|| self.outcomes.recv().ok()).map(|outcome| self.take(outcome))
    }

    /// The same, but not for longer than this.
    pub fn wait_for(&mut self, at_most: Duration) -> Option<Result<Saved, Error>> {
        self.is_busy.then(|| self.outcomes.recv_timeout(at_most)).and_then(|outcome| match outcome {
            Err(RecvTimeoutError::Timeout) => None,
            outcome => Some(self.take(outcome.ok())),
        })
    }

    fn take(&mut self, outcome: Option<Outcome>) -> Result<Saved, Error> {
        self.is_busy = false;
        let Outcome { saved, since } = outcome.ok_or_else(|| Error::new(Kind::Other(GONE.into())))?;
        self.since = since;
        saved
    }

    /// [`Writer::since`]: by the last one whose outcome was asked for.
    pub fn since(&self, kernel: usize) -> Option<SnapshotId> {
        self.since.get(kernel).copied().flatten()
    }

    /// The writer, when the last one has ended, whose outcome is dropped.
    ///
    /// # Errors
    ///
    /// When the thread has died.
    pub fn into_writer(mut self) -> Result<Writer, Error> {
        self.states = None;
        let writer = self.thread.take().and_then(|thread| thread.join().ok());
        writer.ok_or_else(|| Error::new(Kind::Other(GONE.into())))
    }
}

const GONE: &str = "the thread that saves checkpoints has died";

impl Drop for Background {
    /// Waits for what is being saved.
    fn drop(&mut self) {
        self.states = None;
        if let Some(thread) = self.thread.take() {
            // It has said so if it panicked.
            let _ = thread.join();
        }
    }
}
