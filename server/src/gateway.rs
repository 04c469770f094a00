//! The gateway: the Kinesis API over HTTP, on threads of its own, apart from the reactors.
//!
//! ```text
//!   accept -> hyper -> http: method, body, target -> action: check, call, answer -> engine::Handle
//! ```
//!
//! Requests are taken unsigned, so it opens on loopback only.

mod action;
mod http;
mod log;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use engine::Handle;
use frame::Quotas;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use wire::name::Place;

use self::log::Log;

/// Connections at once. The next wait in the listener's queue.
const CONNECTIONS_MAX: usize = 4096;

/// Bytes of request bodies at once, over all connections. The next wait.
const BODY_BYTES_IN_PROGRESS_MAX: usize = 128 << 20;

/// Bytes of long answers at once, over all connections, until they are sent. The next wait.
const ANSWER_BYTES_IN_PROGRESS_MAX: usize = 256 << 20;

/// A client that takes nothing of what it is sent for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may take for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long requests in progress have when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// After no connection could be accepted, for want of descriptors say, it is tried again after this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Debug)]
struct Shared {
    log: Log,
    place: Place,
    /// Room for bodies, in bytes.
    bodies: Semaphore,
    /// What shards of new streams take in and give out a second.
    quotas: Quotas,
    /// Room for long answers, in bytes.
    answers: Arc<Semaphore>,
}

/// A running gateway. Dropping it ends it at once.
pub(crate) struct Gateway {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<()>,
}

impl Gateway {
    /// Serves what connects to `listener`.
    pub(crate) fn start(listener: TcpListener, handle: Handle, place: Place, quotas: Quotas) -> io::Result<Gateway> {
        listener.set_nonblocking(true)?;
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("gateway")
            .enable_io()
            .enable_time()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let bodies = Semaphore::new(BODY_BYTES_IN_PROGRESS_MAX);
        let answers = Arc::new(Semaphore::new(ANSWER_BYTES_IN_PROGRESS_MAX));
        let shared = Arc::new(Shared { log: Log::new(handle), place, quotas, bodies, answers });
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let done = runtime.spawn(serve(listener, shared, stopped));
        Ok(Gateway { runtime, stop, done })
    }

    /// Takes no more requests, and waits a while for those in progress.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(true);
        let ended = self.runtime.block_on(async { tokio::time::timeout(STOP_TIMEOUT, self.done).await });
        if ended.is_err() {
            tracing::warn!("requests over HTTP were still in progress; their connections are closed");
        }
        self.runtime.shutdown_background();
    }
}

/// Binds the gateway's address, before anything else is started.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    loop {
        let next = async {
            let permit = Arc::clone(&connections).acquire_owned().await.expect("it is never closed");
            listener.accept().await.map(|(stream, _)| (permit, stream))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = stopped.changed() => break,
        };
        let (permit, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection over HTTP could not be accepted; trying again soon");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // Neither fails on a connected socket; a client that hung up meanwhile is found out below.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, SEND_TIMEOUT.as_millis() as u32);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, std::convert::Infallible>(http::answer(&shared, request).await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // What a client does wrong ends its connection and nothing else.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection over HTTP ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
