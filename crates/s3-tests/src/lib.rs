//! An S3 server on loopback, in this process, that can be told to fail.

#![forbid(unsafe_code)]
#![cfg(feature = "server")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// The only bucket there is.
pub const BUCKET: &str = "bucket";
/// Who may use it.
pub const KEY: &str = "somebody";
/// With this secret.
pub const SECRET: &str = "something that nobody knows";

/// How often a client asks before it gives up.
pub const TRIES: usize = 4;

/// A server; it is gone when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    faults: Arc<Faults>,
    /// None while it is stopped.
    runtime: Option<Runtime>,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and this status is the answer.
    Refused(u16),
    /// It is done, and this status is the answer all the same.
    Done(u16),
    /// It is done, and the connection ends without an answer.
    Cut,
    /// It is done, and answered only after [`Server::release`].
    Held,
}

#[derive(Debug, Default)]
struct Faults {
    /// Two that write on a condition at the same time must not both find it true, which the server itself does not see to.
    writing: tokio::sync::Mutex<()>,
    plan: Mutex<Option<Plan>>,
    holds: Notify,
    released: Notify,
}

/// So many requests to come have a fault: those of a method, with this in their path.
#[derive(Debug)]
struct Plan {
    method: &'static str,
    path: &'static str,
    left: usize,
    fault: Fault,
}

impl Server {
    /// Starts one with an empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("there is room for a folder");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = Self { address, folder, faults: Arc::default(), runtime: None };
        server.start_again();
        server
    }

    /// Starts it where it was, with what it had.
    pub fn start_again(&mut self) {
        let runtime = Runtime::new().expect("threads can be started");
        let listener = runtime.block_on(TcpListener::bind(self.address)).expect("the port is free");
        self.address = listener.local_addr().expect("it is bound");
        runtime.spawn(serve(listener, service(self.folder.path()), Arc::clone(&self.faults)));
        self.runtime = Some(runtime);
    }

    /// Stops it: connections end, and none can be made.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that gives up soon.
    pub fn client(&self) -> AmazonS3 {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(5),
            max_backoff: Duration::from_millis(20),
            base: 2.0,
        };
        let retry = RetryConfig { backoff, max_retries: TRIES - 1, retry_timeout: Duration::from_secs(5) };
        let builder = AmazonS3Builder::new().with_endpoint(self.endpoint()).with_bucket_name(BUCKET);
        let builder = builder.with_access_key_id(KEY).with_secret_access_key(SECRET).with_region("us-east-1");
        builder.with_allow_http(true).with_retry(retry).build().expect("all of it is given")
    }

    /// The names of the objects in a folder of the bucket, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let (client, folder) = (self.client(), object_store::path::Path::from(folder));
        let listed = self.wait(client.list_with_delimiter(Some(&folder))).expect("it can be listed");
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Waits for what a client does.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is not stopped").block_on(future)
    }

    /// So many requests to come have a fault: those of a method, with `path` in their path. (An empty text is in all.)
    pub fn plan(&self, method: &'static str, path: &'static str, times: usize, fault: Fault) {
        *self.faults.plan() = Some(Plan { method, path, left: times, fault });
    }

    /// Ends what was planned, and says how many requests it was still to happen to.
    pub fn heal(&self) -> usize {
        self.faults.plan().take().map_or(0, |plan| plan.left)
    }

    /// Waits for a request that is [`Fault::Held`].
    pub fn wait_until_held(&self) {
        self.wait(self.faults.holds.notified());
    }

    /// Has it answered.
    pub fn release(&self) {
        self.faults.released.notify_one();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Connections that clients keep open would be waited for otherwise.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Option<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, request: &Request<Incoming>) -> Option<Fault> {
        let mut plan = self.plan();
        let Plan { method, path, left, fault } = plan.as_mut()?;
        let is_meant = request.method().as_str().contains(*method) && request.uri().path().contains(*path);
        *left = left.checked_sub(1).filter(|_| is_meant)?;
        Some(*fault)
    }
}

fn service(folder: &Path) -> S3Service {
    let files = s3s_fs::FileSystem::new(folder).expect("the folder is there");
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    builder.build()
}

async fn serve(listener: TcpListener, service: S3Service, faults: Arc<Faults>) {
    while let Ok((socket, _)) = listener.accept().await {
        // Answers would wait for one another otherwise.
        let _ = socket.set_nodelay(true);
        let (service, faults) = (service.clone(), Arc::clone(&faults));
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(service.clone(), Arc::clone(&faults), request));
            let connections = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no matter.
            let _ = connections.serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

/// An error ends the connection.
async fn answer(
    service: S3Service,
    faults: Arc<Faults>,
    request: Request<Incoming>,
) -> io::Result<Response<s3s::Body>> {
    let fault = faults.next(&request);
    if let Some(Fault::Refused(status)) = fault {
        return Ok(empty(status));
    }
    let is_write = request.method() == Method::PUT;
    let writing = if is_write { Some(faults.writing.lock().await) } else { None };
    let answer = service.call(request.map(s3s::Body::from)).await;
    drop(writing);
    match fault {
        Some(Fault::Done(status)) => return Ok(empty(status)),
        Some(Fault::Cut) => return Err(io::Error::other("on purpose")),
        Some(Fault::Held) => {
            faults.holds.notify_one();
            faults.released.notified().await;
        }
        Some(Fault::Refused(_)) | None => {}
    }
    answer.map_err(|error| io::Error::other(format!("{error:?}")))
}

fn empty(status: u16) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).expect("it is a status");
    response
}
