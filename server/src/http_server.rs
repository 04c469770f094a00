//! A server of HTTP/1.1 and, by prior knowledge, HTTP/2 on a listener, within bounds: how many connections, how long a head may be
//! and take, how long a client
//! may take nothing of what it is sent. What is answered is the caller's.

mod opening;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

use self::opening::Opening;

/// A client that takes nothing of what it is sent for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may take for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Requests of one connection of HTTP/2 at once.
const STREAMS_MAX: u32 = 256;

/// What a client of HTTP/2 may send of one body, and over one connection, before it is read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// What waits to be sent of one answer over HTTP/2.
const SEND_BYTES_MAX: usize = 256 << 10;

/// A silent connection of HTTP/2 is asked after this long whether anybody is there.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// How long requests in progress have when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// After no connection could be accepted, for want of descriptors say, it is tried again after this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A running server. Dropping it ends it at once.
pub(crate) struct HttpServer {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<()>,
}

impl HttpServer {
    /// Answers what connects to `listener`, so many connections at once, on so many threads of this name.
    pub(crate) fn start<A, F, B>(
        listener: TcpListener,
        (name, threads): (&'static str, usize),
        connections_max: usize,
        answer: A,
    ) -> io::Result<HttpServer>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Error = Infallible> + Send + 'static,
        B::Data: Send,
    {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_io()
            .enable_time()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let done = runtime.spawn(serve(listener, name, connections_max, answer, stopped));
        Ok(HttpServer { runtime, stop, done })
    }

    /// Has something done on its threads, until the server ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Takes no more requests, and waits a while for those in progress. Whether all have ended.
    pub(crate) fn stop(self) -> bool {
        let _ = self.stop.send(true);
        let ended = self.runtime.block_on(async { tokio::time::timeout(STOP_TIMEOUT, self.done).await });
        self.runtime.shutdown_background();
        ended.is_ok()
    }
}

/// Binds an address, before anything else is started.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve<A, F, B>(
    listener: tokio::net::TcpListener,
    name: &'static str,
    connections_max: usize,
    answer: A,
    mut stopped: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error = Infallible> + Send + 'static,
    B::Data: Send,
{
    let connections = Arc::new(Semaphore::new(connections_max));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(SEND_TIMEOUT);
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
                tracing::warn!(%error, door = name, "a connection over HTTP could not be accepted; trying again soon");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // Neither fails on a connected socket; a client that hung up meanwhile is found out below.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, SEND_TIMEOUT.as_millis() as u32);
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let stream = TokioIo::new(Opening::new(stream, HEAD_TIMEOUT));
        let connection = graceful.watch(builder.serve_connection(stream, service).into_owned());
        tokio::spawn(async move {
            // What a client does wrong ends its connection and nothing else.
            if let Err(error) = connection.await {
                tracing::debug!(%error, door = name, "a connection over HTTP ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
