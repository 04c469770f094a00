//! A server of HTTP/1.1 and, by prior knowledge or as TLS says, HTTP/2 on a listener, within bounds: how many connections, how
//! long a head may be and take, how long a client may take nothing of what it is sent, what one of HTTP/2 may begin and take
//! back. What is answered is the caller's.

mod connection;
mod silence;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::server::TlsStream;

use self::connection::Connection;
pub(crate) use self::silence::Answer;
use self::silence::Ending;
use crate::door::{Door, Listener};
use crate::tls::{Protocol, Secured, Security};

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

/// What a client of HTTP/2 may send before it is read: of one body, and over one connection. It is in no other bound, as bodies may
/// wait for room. So only so many connections may send much, 256 MiB together, which takes a PutRecords over a distance in one go;
/// all others together 1 GiB.
const WIDE: [u32; 2] = [1 << 20, 4 << 20];
const WIDE_MAX: usize = 64;
const NARROW: [u32; 2] = [256 << 10, 256 << 10];

/// What waits to be sent of one answer over HTTP/2.
const SEND_BYTES_MAX: usize = 256 << 10;

/// The memory that so many connections gave back as they fell silent is given back to the system: 100 KiB each.
const SILENCED_AT_ONCE: usize = 64;

/// What is remembered of the heads of a connection of HTTP/2: nothing. Most of one is a signature, which never comes twice; by
/// default up to 4 KiB of them would be kept for each connection, also of one that only listens.
const HEADS_BYTES: u32 = 0;

/// A silent connection of HTTP/2 is asked after this long whether anybody is there.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// What is said in clear where that is not taken.
const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
                       This port takes TLS alone: ask it by https://.\n";

/// Why a connection, or an answer's body, ended early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

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
        B: Answer<Error: Into<Failure>> + Send + Unpin + 'static,
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
    B: Answer<Error: Into<Failure>> + Send + Unpin + 'static,
    B::Data: Send,
{
    let (name, stopped) = (listener.name, listener.stopped.clone());
    let graceful = GracefulShutdown::new();
    let (versions, security) = (Arc::new(Versions::new()), security.map(Arc::new));
    let take = |stream, place| {
        let (versions, security, answer) = (Arc::clone(&versions), security.clone(), answer.clone());
        let (watcher, mut stopped) = (graceful.watcher(), stopped.clone());
        tokio::spawn(async move {
            let begun = tokio::select! {
                // Boxed: of its size, mostly the handshake's, a connection has no more need once it has begun.
                begun = Box::pin(begin(stream, security.as_deref())) => begun,
                _ = stopped.changed() => return,
            };
            // What a client does wrong ends its connection and nothing else.
            let ended: Result<(), Failure> = match begun {
                Ok(Begun::Clear(connection)) => {
                    versions.converse(connection, (watcher, stopped), answer).await.map_err(Into::into)
                }
                Ok(Begun::Tls(connection)) => {
                    versions.converse(connection, (watcher, stopped), answer).await.map_err(Into::into)
                }
                Ok(Begun::Refused) => Ok(()),
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

/// A connection of which it is known what it speaks.
enum Begun {
    Clear(Connection<TcpStream>),
    Tls(Connection<Box<TlsStream<TcpStream>>>),
    /// It has ended.
    Refused,
}

async fn begin(stream: TcpStream, security: Option<&Security>) -> io::Result<Begun> {
    let secured = match security {
        None => Secured::Clear(stream),
        Some(security) => security.begin(stream, Protocol::Http, HEAD_TIMEOUT, REFUSAL.as_bytes()).await?,
    };
    Ok(match secured {
        Secured::Clear(stream) => Begun::Clear(Connection::begin(stream, HEAD_TIMEOUT, CLOSE_TIMEOUT).await?),
        Secured::Tls(stream) => Begun::Tls(Connection::begin(stream, HEAD_TIMEOUT, CLOSE_TIMEOUT).await?),
        Secured::Refused => Begun::Refused,
    })
}

/// How each version of HTTP is spoken.
struct Versions {
    http1: http1::Builder,
    /// Connections of that version that fell silent.
    silenced: AtomicUsize,
    /// For connections that may send much, of which there are so many more.
    wide: http2::Builder<TokioExecutor>,
    wide_free: Semaphore,
    /// For all others.
    narrow: http2::Builder<TokioExecutor>,
}

impl Versions {
    fn new() -> Versions {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
        let (wide, narrow) = (http2(WIDE), http2(NARROW));
        Versions { http1, silenced: AtomicUsize::new(0), wide, wide_free: Semaphore::new(WIDE_MAX), narrow }
    }

    /// Speaks HTTP to the end of a connection, for which the server waits as long as there is its `watcher`.
    async fn converse<S, A, F, B>(
        &self,
        mut connection: Connection<S>,
        (watcher, mut stopped): (Watcher, watch::Receiver<bool>),
        answer: A,
    ) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Answer<Error: Into<Failure>> + Send + Unpin + 'static,
        B::Data: Send,
    {
        let activity = Arc::clone(connection.activity());
        let beside = Arc::clone(&activity);
        let service = service_fn(move |request| {
            let begun = beside.begin();
            // There is room for such a future for as long as the connection, or the answer, goes on: a pointer is enough.
            let answer = Box::pin(answer(request));
            let beside = Arc::clone(&beside);
            async move {
                let answer = answer.await;
                beside.sends(answer.body());
                Ok::<_, Infallible>(answer.map(|body| Ending { body, _request: begun }))
            }
        });
        let conversation = async {
            if connection.is_http2() {
                let is_wide = self.wide_free.try_acquire().ok();
                let http2 = if is_wide.is_some() { &self.wide } else { &self.narrow };
                return watcher.watch(http2.serve_connection(TokioIo::new(connection), service)).await;
            }
            loop {
                let mut conversation = self.http1.serve_connection(TokioIo::new(connection), &service);
                let is_silent = tokio::select! {
                    ended = &mut conversation => return ended,
                    _ = stopped.changed() => false,
                    () = activity.falls_silent() => true,
                };
                if !is_silent {
                    Pin::new(&mut conversation).graceful_shutdown();
                    return conversation.await;
                }
                let parts = conversation.into_parts();
                connection = parts.io.into_inner();
                connection.read_again(&parts.read_buf);
                drop(parts.read_buf);
                if self.silenced.fetch_add(1, Ordering::Relaxed) % SILENCED_AT_ONCE == SILENCED_AT_ONCE - 1 {
                    tokio::task::spawn_blocking(::io::give_back_free_memory);
                }
            }
        };
        tokio::select! {
            ended = conversation => ended,
            () = activity.holds_up_others() => {
                tracing::warn!("a client takes little of an answer whose room others wait for; its connection is ended");
                Ok(())
            }
        }
    }
}

/// How HTTP/2 is spoken, with these windows of a body and a connection.
fn http2([stream_bytes, connection_bytes]: [u32; 2]) -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .header_table_size(HEADS_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .initial_stream_window_size(stream_bytes)
        .initial_connection_window_size(connection_bytes)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(::io::SEND_TIMEOUT);
    http2
}
