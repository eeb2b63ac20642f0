//! An S3 server on loopback, in this process, that can be told to fail.

#![forbid(unsafe_code)]
#![cfg(feature = "server")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, RetryConfig};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The only bucket there is.
pub const BUCKET: &str = "bucket";
/// Who may use it.
pub const KEY: &str = "somebody";
/// With this secret.
pub const SECRET: &str = "something that nobody knows";

/// A server; it is gone when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    faults: Arc<Faults>,
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Two that write on a condition at the same time must not both find it true, which the server itself does not see to.
    writing: tokio::sync::Mutex<()>,
    /// Nothing is done, and all answers are that it is not.
    is_down: AtomicBool,
    /// So many writes to come are done, and said not to be.
    lost: AtomicUsize,
}

impl Server {
    /// Starts one with an empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("there is room for a folder");
        let faults = Arc::new(Faults::default());
        let runtime = Runtime::new().expect("threads can be started");
        let (told, address) = mpsc::channel();
        runtime.spawn(serve(service(folder.path()), Arc::clone(&faults), told));
        let address = address.recv().expect("loopback has a port to spare");
        Self { address, folder, faults, runtime: Some(runtime) }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it keeps the bucket.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// A client that gives up soon.
    pub fn client(&self) -> AmazonS3 {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(5),
            max_backoff: Duration::from_millis(20),
            base: 2.0,
        };
        let retry = RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(5) };
        let builder = AmazonS3Builder::new().with_endpoint(self.endpoint()).with_bucket_name(BUCKET);
        let builder = builder.with_access_key_id(KEY).with_secret_access_key(SECRET).with_region("us-east-1");
        builder.with_allow_http(true).with_retry(retry).build().expect("all of it is given")
    }

    /// From now on nothing is done, or things are done again.
    pub fn set_down(&self, is_down: bool) {
        self.faults.is_down.store(is_down, Ordering::SeqCst);
    }

    /// So many writes to come are done, and their answers are lost.
    pub fn lose_answers(&self, writes: usize) {
        self.faults.lost.store(writes, Ordering::SeqCst);
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

fn service(folder: &Path) -> S3Service {
    let files = s3s_fs::FileSystem::new(folder).expect("the folder is there");
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    builder.build()
}

async fn serve(service: S3Service, faults: Arc<Faults>, address: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port to spare");
    address.send(listener.local_addr().expect("it is bound")).expect("somebody waits for it");
    while let Ok((socket, _)) = listener.accept().await {
        let (service, faults) = (service.clone(), Arc::clone(&faults));
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(service.clone(), Arc::clone(&faults), request));
            let connections = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no matter.
            let _ = connections.serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

async fn answer(
    service: S3Service,
    faults: Arc<Faults>,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, Infallible> {
    if faults.is_down.load(Ordering::SeqCst) {
        return Ok(unavailable());
    }
    let is_write = request.method() == Method::PUT;
    let _writing = if is_write { Some(faults.writing.lock().await) } else { None };
    let answer = service.call(request.map(s3s::Body::from)).await;
    let take = |left: usize| left.checked_sub(1).filter(|_| is_write);
    if faults.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
        return Ok(unavailable());
    }
    Ok(answer.unwrap_or_else(|_| unavailable()))
}

fn unavailable() -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
