//! A job that counts events, and a store that fails on purpose.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use chrono::TimeDelta;
use floodmark::snapshot::{SnapshotId, SnapshotProgress};
use floodmark::{Config, Count, Partition, Timestamp, Windowing, Windows};
use floodmark_checkpoint::{Checkpoint, Error, Saved, State, Writer};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

type Kernel = Windowing<u32, (), Count>;

/// Events of two partitions, out of order, some of them late.
pub(crate) const EVENTS: u64 = 60;
/// After so many events each a checkpoint is taken.
pub(crate) const EVERY: u64 = 6;

/// A job between two events: its kernel, how far it has read, and what it has written.
pub(crate) struct Job {
    kernel: Kernel,
    pub(crate) read: u64,
    pub(crate) written: Vec<String>,
}

fn kernel() -> Kernel {
    let windows = [Windows::tumbling(TimeDelta::seconds(10)), Windows::session(TimeDelta::seconds(7))];
    let config = Config::windows(windows).max_disorder(TimeDelta::seconds(1));
    config.allowed_lateness(TimeDelta::seconds(6)).build(Count).unwrap().ordered()
}

fn partitions() -> [Partition; 2] {
    let mut other = kernel();
    [(); 2].map(|()| other.add_partition())
}

impl Job {
    pub(crate) fn new() -> Self {
        let mut kernel = kernel();
        for _ in partitions() {
            kernel.add_partition();
        }
        Self { kernel, read: 0, written: Vec::new() }
    }

    /// As a checkpoint says, with what the process that died has left of the results cut back.
    pub(crate) fn resumed(checkpoint: &Checkpoint, mut written: Vec<String>) -> Self {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let length = number(&checkpoint.sink) as usize;
        assert!(written.len() >= length, "results were there when the checkpoint was stored");
        written.truncate(length);
        let kernel = kernel().restore_chain(&checkpoint.chain(0).unwrap()).unwrap();
        Self { kernel, read: number(&checkpoint.source), written }
    }

    pub(crate) fn step(&mut self) {
        let i = self.read;
        let [seconds, key] = [i + (i * 7) % 11, (i * 5) % 3];
        let time = Timestamp::from_micros(seconds as i64 * 1_000_000);
        let _ = self.kernel.push(partitions()[(i % 2) as usize], time, key as u32, ()).unwrap();
        self.drain();
        self.read += 1;
    }

    fn drain(&mut self) {
        while let Some(pane) = self.kernel.poll() {
            let line =
                format!("{} {} {} {} {}", pane.definition, pane.window, pane.key, pane.value, pane.timing);
            self.written.push(line);
        }
    }

    pub(crate) fn state(&mut self, since: Option<SnapshotId>) -> State {
        let mut snapshot = Vec::new();
        self.kernel.begin_snapshot(since).unwrap();
        while self.kernel.write_snapshot(2, &mut snapshot) == SnapshotProgress::More {}
        let number = |number: u64| number.to_le_bytes().to_vec();
        State { kernels: vec![snapshot], source: number(self.read), sink: number(self.written.len() as u64) }
    }

    pub(crate) fn save(&mut self, writer: &mut Writer) -> Result<Saved, Error> {
        let state = self.state(writer.since(0));
        writer.save(state)
    }

    /// Steps until the next checkpoint is due.
    pub(crate) fn go(&mut self) {
        for _ in 0..EVERY {
            self.step();
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.read >= EVENTS
    }

    pub(crate) fn finish(mut self) -> Vec<String> {
        self.kernel.finish();
        self.drain();
        self.written
    }
}

/// What a job writes that nothing happens to.
pub(crate) fn undisturbed() -> &'static [String] {
    static WRITTEN: LazyLock<Vec<String>> = LazyLock::new(undisturbed_anew);
    &WRITTEN
}

fn undisturbed_anew() -> Vec<String> {
    let mut job = Job::new();
    while !job.is_at_end() {
        job.go();
    }
    let written = job.finish();
    let late = written.iter().filter(|line| line.contains("late")).count();
    assert!(written.len() > 20 && late >= 3, "{written:?}");
    written
}

/// What happens to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and has done nothing.
    Nothing,
    /// It fails, and is done all the same.
    Done,
    /// It fails, and so many bytes are written.
    Torn(usize),
    /// It is done and repeated, because the answer was lost: what is created is then said to be there.
    Repeated,
}

/// An operation as it went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// So many bytes.
    Put(usize),
    Get,
    List,
    Delete,
}

/// A store in memory, an operation of which fails.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    pub(crate) inner: Arc<InMemory>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    seen: Vec<Operation>,
    at: Option<(usize, Fault)>,
    /// Nothing is done any more after it.
    is_fatal: bool,
    /// What somebody else does before an operation.
    meanwhile: Option<(usize, Meanwhile)>,
}

struct Meanwhile(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(InMemory::new()), plan: Arc::default() }
    }

    /// Operation `at`, counted from now on, fails; if it is fatal, so do all after it.
    pub(crate) fn plan(&self, at: usize, fault: Fault, is_fatal: bool) {
        *self.plan.lock().unwrap() = Plan { at: Some((at, fault)), is_fatal, ..Plan::default() };
    }

    /// Somebody else does something before operation `at`, counted from now on.
    pub(crate) fn meanwhile(&self, at: usize, act: impl FnOnce() + Send + 'static) {
        let meanwhile = Some((at, Meanwhile(Box::new(act))));
        *self.plan.lock().unwrap() = Plan { meanwhile, ..Plan::default() };
    }

    /// Writes an object past all plans.
    pub(crate) fn write(&self, name: &str, bytes: Vec<u8>) {
        pollster::block_on(self.inner.put(&Path::from(name), bytes.into())).unwrap();
    }

    /// What is in a folder.
    pub(crate) fn contents(&self, folder: &str) -> Vec<Vec<u8>> {
        pollster::block_on(async {
            let listed = self.inner.list_with_delimiter(Some(&Path::from(folder))).await.unwrap();
            let mut contents = Vec::new();
            for object in listed.objects {
                contents
                    .push(self.inner.get(&object.location).await.unwrap().bytes().await.unwrap().to_vec());
            }
            contents
        })
    }

    pub(crate) fn heal(&self) {
        *self.plan.lock().unwrap() = Plan::default();
    }

    pub(crate) fn seen(&self) -> Vec<Operation> {
        self.plan.lock().unwrap().seen.clone()
    }

    fn next(&self, operation: Operation) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        let place = plan.seen.len();
        if plan.meanwhile.as_ref().is_some_and(|(at, _)| *at == place)
            && let Some((_, Meanwhile(act))) = plan.meanwhile.take()
        {
            drop(plan);
            act();
            plan = self.plan.lock().unwrap();
        }
        plan.seen.push(operation);
        let (at, fault) = plan.at?;
        match place.cmp(&at) {
            std::cmp::Ordering::Equal => Some(fault),
            std::cmp::Ordering::Greater if plan.is_fatal => Some(Fault::Nothing),
            _ => None,
        }
    }
}

fn failure() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "on purpose".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let fault = self.next(Operation::Put(payload.content_length()));
        let payload = match fault {
            Some(Fault::Nothing) => return Err(failure()),
            Some(Fault::Torn(bytes)) => {
                let all: Vec<u8> = payload.iter().flatten().copied().collect();
                // (The random number of a writer takes more bytes or fewer.)
                PutPayload::from(all[..bytes.min(all.len())].to_vec())
            }
            _ => payload,
        };
        let put = self.inner.put_opts(location, payload.clone(), options.clone()).await;
        match fault {
            None => put,
            Some(Fault::Repeated) => self.inner.put_opts(location, payload, options).await,
            Some(_) => Err(failure()),
        }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        unreachable!("objects are written by one request")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        match self.next(Operation::Get) {
            Some(_) => Err(failure()),
            None => self.inner.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> object_store::Result<Vec<bytes::Bytes>> {
        unreachable!("objects are read whole")
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        match self.next(Operation::Delete) {
            Some(Fault::Nothing | Fault::Torn(_)) => futures_util::stream::iter([Err(failure())]).boxed(),
            Some(Fault::Done | Fault::Repeated) => {
                self.inner.delete_stream(locations).map(|_| Err(failure())).boxed()
            }
            None => self.inner.delete_stream(locations),
        }
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        unreachable!("folders are listed one by one")
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        match self.next(Operation::List) {
            Some(_) => Err(failure()),
            None => self.inner.list_with_delimiter(prefix).await,
        }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        unreachable!("nothing is copied")
    }
}
