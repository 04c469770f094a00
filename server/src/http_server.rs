//! A server of HTTP/1.1 and, by prior knowledge or as TLS says, HTTP/2 on a listener, within bounds: how many connections, how
//! long a head may be and take, how long a client may take nothing of what it is sent, what one of HTTP/2 may begin and take
//! back. What is answered is the caller's.

mod connection;
mod security;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use self::connection::Connection;
pub(crate) use self::security::Security;
use self::security::{Secured, secure};
use crate::door::{Door, Listener, SEND_TIMEOUT};

/// How long a connection may take for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client of HTTP/2 has to close, once all is said.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of a request's head. What goes on past them, in however many frames, ends its connection.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Requests of one connection of HTTP/2 at once.
const STREAMS_MAX: u32 = 256;

/// Requests of one connection of HTTP/2 that its client took back before they were looked at. The next ends the connection:
/// nobody who means well begins so many to take them back.
const RESETS_MAX: usize = 32;

/// Requests of one connection of HTTP/2 that were ended for what its client did wrong. The next ends the connection.
const ERRORS_MAX: usize = 256;

/// What a client of HTTP/2 may send of one body, and over one connection, before it is read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// What waits to be sent of one answer over HTTP/2.
const SEND_BYTES_MAX: usize = 256 << 10;

/// A silent connection of HTTP/2 is asked after this long whether anybody is there.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// A running server. Dropping it ends it at once.
pub(crate) struct HttpServer(Door);

impl HttpServer {
    /// Answers what connects to `listener`, in clear or as `security` says, so many connections at once, on so many threads of
    /// this name.
    pub(crate) fn start<A, F, B>(
        listener: TcpListener,
        security: Option<Security>,
        name: (&'static str, usize),
        connections_max: usize,
        answer: A,
    ) -> io::Result<HttpServer>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Error = Infallible> + Send + 'static,
        B::Data: Send,
    {
        Door::open(listener, name, |listener| serve(listener, security, connections_max, answer)).map(HttpServer)
    }

    /// Has something done on its threads, until the server ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }

    /// Takes no more requests, and waits a while for those in progress. Whether all have ended.
    pub(crate) fn stop(self) -> bool {
        self.0.stop()
    }
}

async fn serve<A, F, B>(listener: Listener, security: Option<Security>, connections_max: usize, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error = Infallible> + Send + 'static,
    B::Data: Send,
{
    let (name, stopped) = (listener.name, listener.stopped.clone());
    let graceful = GracefulShutdown::new();
    let (builder, security) = (Arc::new(builder()), security.map(Arc::new));
    let take = |stream, place| {
        let (builder, security, answer) = (Arc::clone(&builder), security.clone(), answer.clone());
        let (watcher, mut stopped) = (graceful.watcher(), stopped.clone());
        tokio::spawn(async move {
            let secured = tokio::select! {
                secured = secure(stream, security.as_deref()) => secured,
                _ = stopped.changed() => return,
            };
            // What a client does wrong ends its connection and nothing else.
            let ended = match secured {
                Ok(Secured::Clear(stream)) => converse(&builder, stream, watcher, answer).await,
                Ok(Secured::Tls(stream)) => converse(&builder, *stream, watcher, answer).await,
                Ok(Secured::Refused) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, door = name, "a connection over HTTP ended");
            }
            drop(place);
        });
    };
    listener.take_each(Arc::new(Semaphore::new(connections_max)), take).await;
    graceful.shutdown().await;
}

/// Speaks HTTP of either version to the end of a connection.
async fn converse<S, A, F, B>(
    builder: &auto::Builder<TokioExecutor>,
    stream: S,
    watcher: Watcher,
    answer: A,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Error = Infallible> + Send + 'static,
    B::Data: Send,
{
    let service = service_fn(move |request| {
        // A connection has room for one such future for as long as it is there: a pointer is enough while nothing is asked.
        let answer = Box::pin(answer(request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let stream = TokioIo::new(Connection::new(stream, HEAD_TIMEOUT, CLOSE_TIMEOUT));
    watcher.watch(builder.serve_connection(stream, service).into_owned()).await
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(SEND_TIMEOUT);
    builder
}
