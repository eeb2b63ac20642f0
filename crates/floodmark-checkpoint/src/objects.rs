//! Objects with names below a prefix, read and written by calls that wait.

use std::fmt;
use std::io::{self, ErrorKind::NotFound};
use std::path::Path as FilePath;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::Error;

/// Objects of more bytes than this are written in parts of so many: services take only so much in one request (S3 five gigabytes).
const PART: usize = if cfg!(test) { 1000 } else { 64 << 20 };

/// Where objects are.
#[derive(Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The folder, if it is a local one.
    folder: Option<PathBuf>,
    waiting: Waiting,
}

/// Who drives what takes time.
#[derive(Clone)]
enum Waiting {
    /// The thread that waits.
    Here,
    /// Threads of its own, because connections want to be looked after.
    #[cfg(feature = "tokio")]
    Elsewhere(Arc<Threads>),
}

#[cfg(feature = "tokio")]
struct Threads(Option<tokio::runtime::Runtime>);

/// What came of writing an object that must not be there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Done,
    /// There is one.
    Taken,
}

impl Objects {
    pub(crate) fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, Error> {
        let prefix = Path::parse(prefix.trim_matches('/')).map_err(|error| Error::place(prefix, &error))?;
        #[cfg(feature = "tokio")]
        let waiting = Waiting::Elsewhere(Arc::new(Threads::start()?));
        #[cfg(not(feature = "tokio"))]
        let waiting = Waiting::Here;
        Ok(Self { store, prefix, folder: None, waiting })
    }

    pub(crate) fn memory() -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { store, prefix: Path::default(), folder: None, waiting: Waiting::Here }
    }

    /// A folder, made if it is not there. What is written is on the disk when the call returns: the file and its name.
    #[cfg(feature = "fs")]
    pub(crate) fn folder(folder: &FilePath) -> Result<Self, Error> {
        make_folder(folder).map_err(|error| Error::folder(folder, &error))?;
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| Error::storage("open", &folder.display().to_string(), error))?
            .with_fsync(true);
        let folder = Some(folder.to_owned());
        Ok(Self { store: Arc::new(store), prefix: Path::default(), folder, waiting: Waiting::Here })
    }

    fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        match &self.waiting {
            Waiting::Here => pollster::block_on(future),
            #[cfg(feature = "tokio")]
            Waiting::Elsewhere(threads) => threads.wait(future),
        }
    }

    fn path(&self, name: &str) -> Result<Path, Error> {
        let below = Path::parse(name).map_err(|error| Error::place(name, &error))?;
        Ok(self.prefix.parts().chain(below.parts()).collect())
    }

    /// The object, if it is there. It is not read if it has not as many bytes as `expected`, if that is known.
    pub(crate) fn get(&self, name: &str, expected: Option<u64>) -> Result<Option<Got>, Error> {
        let (store, path) = (Arc::clone(&self.store), self.path(name)?);
        let got = self.wait(async move {
            let got = store.get(&path).await?;
            match expected {
                Some(bytes) if bytes != got.meta.size => Ok(Got::Size(got.meta.size)),
                _ => got.bytes().await.map(|bytes| Got::Bytes(bytes.into())),
            }
        });
        match got {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            got => got.map(Some).map_err(|error| Error::storage("read", name, error)),
        }
    }

    /// Writes an object, in the place of one that is there.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let path = self.path(name)?;
        // (A file gets its name when all of it is there.)
        let put = match self.folder.is_none() && bytes.len() > PART {
            true => self.put_in_parts(path, bytes),
            false => self.put_in(PutMode::Overwrite, path, bytes),
        };
        put.map_err(|error| Error::storage("write", name, error))
    }

    /// Writes an object that is not there yet: of two who do this at the same time, one finds it taken.
    pub(crate) fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<Put, Error> {
        match self.put_in(PutMode::Create, self.path(name)?, bytes) {
            Ok(()) => Ok(Put::Done),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Put::Taken)
            }
            Err(error) => Err(Error::storage("write", name, error)),
        }
    }

    fn put_in(&self, mode: PutMode, path: Path, bytes: Vec<u8>) -> Result<(), object_store::Error> {
        let store = Arc::clone(&self.store);
        let options = PutOptions::from(mode);
        self.wait(async move { store.put_opts(&path, PutPayload::from(bytes), options).await.map(drop) })
    }

    fn put_in_parts(&self, path: Path, bytes: Vec<u8>) -> Result<(), object_store::Error> {
        let store = Arc::clone(&self.store);
        self.wait(async move {
            let mut upload = store.put_multipart(&path).await?;
            let parts = async {
                for part in bytes.chunks(PART) {
                    upload.put_part(PutPayload::from(part.to_vec())).await?;
                }
                upload.complete().await.map(drop)
            };
            let put = parts.await;
            if put.is_err() {
                // What has come of it would be kept, and paid for. (That it went wrong is what is told.)
                let _ = upload.abort().await;
            }
            put
        })
    }

    pub(crate) fn is_there(&self, name: &str) -> Result<bool, Error> {
        let (store, path) = (Arc::clone(&self.store), self.path(name)?);
        match self.wait(async move { store.head(&path).await }) {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::storage("look for", name, error)),
        }
    }

    /// Deletes an object, if it is there.
    pub(crate) fn delete(&self, name: &str) -> Result<(), Error> {
        let (store, path) = (Arc::clone(&self.store), self.path(name)?);
        match self.wait(async move { store.delete(&path).await }) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::storage("delete", name, error)),
        }
    }

    /// The names in a folder, in no order.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>, Error> {
        match &self.folder {
            // Not as `list` does it, which looks at each file and passes over those that have gone meanwhile: where all have, the
            // place would look empty while a writer is at work.
            Some(root) => names_in(&root.join(folder)),
            None => Ok(self.list(folder)?.into_iter().map(|(name, _)| name).collect()),
        }
    }

    /// The names in a folder, each with its bytes, in no order; some may be missing that come or go meanwhile.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, Error> {
        let (store, path) = (Arc::clone(&self.store), self.path(folder)?);
        let listed = self.wait(async move { store.list_with_delimiter(Some(&path)).await });
        let objects = listed.map_err(|error| Error::storage("list", folder, error))?.objects;
        Ok(objects
            .into_iter()
            .filter_map(|object| Some((object.location.filename()?.to_owned(), object.size)))
            .collect())
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Deletes what processes that died have left half written, which is nothing but in a local folder: those that
    /// `is_over` says of by the name of the object.
    pub(crate) fn delete_half_written(
        &self,
        folder: &str,
        is_over: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let Some(root) = &self.folder else { return Ok(()) };
        let path = root.join(folder);
        for name in names_in(&path)? {
            // `LocalFileSystem` writes NAME#NUMBER and renames it.
            if name.split_once('#').is_some_and(|(of, _)| is_over(of)) {
                match std::fs::remove_file(path.join(name)) {
                    Err(error) if error.kind() != NotFound => return Err(Error::folder(&path, &error)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The names in a local folder; none if it is not there.
fn names_in(folder: &FilePath) -> Result<Vec<String>, Error> {
    let names =
        || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    match names() {
        Ok(names) => Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect()),
        Err(error) if error.kind() == NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::folder(folder, &error)),
    }
}

/// An object that is there.
#[derive(Debug)]
pub(crate) enum Got {
    Bytes(Vec<u8>),
    /// It has so many bytes, which are not as many as expected.
    Size(u64),
}

/// Makes a folder and those above it that are not there. The name of each is on the disk when the folder above it is.
#[cfg(feature = "fs")]
fn make_folder(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let folder = std::path::absolute(folder)?;
    if let Some(above) = folder.parent() {
        make_folder(above)?;
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => {
                return Err(error);
            }
            _ => sync_folder(above)?,
        }
    }
    Ok(())
}

#[cfg(feature = "fs")]
fn sync_folder(folder: &FilePath) -> io::Result<()> {
    // Elsewhere a folder cannot be opened, nor need it be.
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "{}", folder.display()),
            None => write!(f, "{}/{}", self.store, self.prefix),
        }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({self})")
    }
}

#[cfg(feature = "tokio")]
impl Threads {
    fn start() -> Result<Self, Error> {
        // One worker: it waits for the network, and does nothing else.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(|error| Error::threads(&error))
    }

    /// Waits on a channel rather than in the runtime, which would panic where the caller is in one itself.
    fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (done, outcome) = std::sync::mpsc::sync_channel(1);
        let task = async move {
            // Nobody stops listening before it has come.
            let _ = done.send(future.await);
        };
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
        outcome.recv().expect("the task ends with what it has found")
    }
}

#[cfg(feature = "tokio")]
impl Drop for Threads {
    fn drop(&mut self) {
        // Dropping a runtime within another one panics; this does not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(all(test, feature = "fs"))]
mod tests {
    use super::*;

    #[test]
    fn large_objects_are_written_in_parts() {
        let objects = Objects::memory();
        for bytes in [0, 1, PART - 1, PART, PART + 1, 2 * PART, 5 * PART / 2] {
            let written: Vec<u8> = (0..bytes).map(|place| (place % 251) as u8).collect();
            objects.put("one", written.clone()).unwrap();
            let Some(Got::Bytes(read)) = objects.get("one", Some(bytes as u64)).unwrap() else { panic!() };
            assert!(read == written, "{bytes} bytes");
        }
        assert_eq!(objects.names("").unwrap(), ["one"]);
    }

    #[test]
    fn what_is_written_to_a_folder_is_synced() {
        let above = tempfile::tempdir().unwrap();
        let objects = Objects::folder(&above.path().join("a/b/c")).unwrap();
        assert!(format!("{:?}", objects.store).contains("fsync: true"), "{:?}", objects.store);
        assert!(above.path().join("a/b/c").is_dir());
        let file = above.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Objects::folder(&file).is_err() && Objects::folder(&file.join("below")).is_err());
    }
}
