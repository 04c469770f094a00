//! The native port where there is TLS: a door for each reactor, at its address, on threads of their own, as ciphers must not
//! hold up a reactor.
//!
//! ```text
//!   client -- TLS ---- here: decrypted, not looked at -- a pair of sockets -- the reactor of that address
//!   client -- clear -- here: its first byte is looked at -------------------> the same, which has its socket from then on
//! ```
//!
//! The secret, where there is one, is proven to the reactor.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::unix::net::UnixStream as Pair;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::io::AcceptQueue;
use frame::RequestId;
use frame::proto::{ErrorCode, Failure, Server as Proto};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::door::{Door, Listener};
use crate::tls::{Protocol, Secured, Security};

/// Connections over TLS at once, to all reactors. More are told that it is busy.
const CONNECTIONS_MAX: usize = 4096;

/// Connections of which it is not known yet what they are, of each reactor. The next wait in the listener's queue.
const BEGINNING_MAX: usize = 1024;

/// How long a client may take for its first byte.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);

/// What is passed on at once, each way: a record of TLS. A connection on which nothing moves holds none.
const PIECE_BYTES: usize = 16 << 10;

/// What waits in TLS to be sent, of a connection: with a piece each way, and a record that has not come whole, 82 KiB beside its state.
const SEND_BYTES_MAX: usize = 32 << 10;

/// Where clients of one reactor connect, and where it takes their connections from.
pub(crate) type NativeDoor = (TcpListener, AcceptQueue);

/// The open doors. Dropping them ends them at once.
pub(crate) struct NativeTls(Door);

impl NativeTls {
    /// Lets clients in to the reactors, by so many threads.
    pub(crate) fn start((doors, threads): (Vec<NativeDoor>, usize), security: Security) -> io::Result<NativeTls> {
        let (listeners, queues): (Vec<_>, Vec<_>) = doors.into_iter().unzip();
        let serve = |listeners: Vec<Listener>| serve(listeners.into_iter().zip(queues).collect(), security);
        Door::open_all(listeners, ("native-tls", threads), serve).map(NativeTls)
    }

    /// Waits a while until all that the reactors said last is passed on.
    pub(crate) fn stop(self) {
        if !self.0.stop() {
            tracing::warn!("native connections over TLS had not taken everything; they are closed");
        }
    }
}

async fn serve(doors: Vec<(Listener, AcceptQueue)>, security: Security) {
    let entrance = Arc::new(Entrance { security, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) });
    let mut all: JoinSet<()> = doors.into_iter().map(|door| let_in(door, Arc::clone(&entrance))).collect();
    while all.join_next().await.is_some() {}
    let _ = entrance.places.acquire_many(CONNECTIONS_MAX as u32).await;
}

/// Lets clients of one reactor in until the door is to close.
async fn let_in((listener, queue): (Listener, AcceptQueue), entrance: Arc<Entrance>) {
    let stopped = listener.stopped.clone();
    let beginning = Arc::new(Semaphore::new(BEGINNING_MAX));
    let take = |stream, place| {
        let (entrance, queue, mut stopped) = (Arc::clone(&entrance), queue.clone(), stopped.clone());
        tokio::spawn(async move {
            // Boxed: of its size, mostly the handshake's, a connection has no more need once it has begun.
            let begun = Box::pin(entrance.begin(stream, &mut stopped)).await;
            drop(place);
            let ended = match begun {
                Ok(Secured::Clear(stream)) => stream.into_std().and_then(|stream| queue.push(stream.into())),
                Ok(Secured::Tls(stream)) => entrance.pass_on(*stream, &queue).await,
                Ok(Secured::Refused) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a native connection through the door of TLS ended");
            }
        });
    };
    listener.take_each(beginning, take).await;
}

/// What all doors share.
struct Entrance {
    security: Security,
    places: Arc<Semaphore>,
}

impl Entrance {
    async fn begin(&self, stream: TcpStream, stopped: &mut watch::Receiver<bool>) -> io::Result<Secured> {
        let refusal = farewell(ErrorCode::TlsRequired, "say whom to trust, by --tls-ca FILE or Options::tls");
        tokio::select! {
            begun = self.security.begin(stream, Protocol::Native, FIRST_TIMEOUT, &refusal) => begun,
            _ = stopped.changed() => Ok(Secured::Refused),
        }
    }

    /// Hands one end of a pair to the reactor, and passes on between the other and the client.
    async fn pass_on(&self, mut client: TlsStream, queue: &AcceptQueue) -> io::Result<()> {
        let Ok(_place) = self.places.try_acquire() else {
            client.write_all(&farewell(ErrorCode::Busy, "too many connections over TLS; try again later")).await?;
            return client.shutdown().await;
        };
        client.get_mut().1.set_buffer_limit(Some(SEND_BYTES_MAX));
        let (here, there) = Pair::pair()?;
        here.set_nonblocking(true)?;
        queue.push(there.into())?;
        pass_on(client, UnixStream::from_std(here)?).await
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// The last message of a connection.
fn farewell(code: ErrorCode, detail: &str) -> Vec<u8> {
    let mut message = Vec::new();
    Proto::failure(&mut message, RequestId(0), &Failure::new(code, detail));
    message
}

/// Until the reactor ends the connection: it knows whom to let go, and answers who says nothing more. A client that is gone is
/// the end too.
async fn pass_on(client: impl AsyncRead + AsyncWrite, mut reactor: UnixStream) -> io::Result<()> {
    let (from_reactor, to_reactor) = reactor.split();
    let (from_client, to_client) = tokio::io::split(client);
    tokio::select! {
        ended = copy(from_reactor, to_client) => ended.map_err(Failed::into_error),
        // A reactor that takes nothing more may still have something to say.
        Err(Failed::Reading(error)) = copy(from_client, to_reactor) => Err(error),
    }
}

/// Which end of a copy failed.
#[derive(Debug)]
enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

impl Failed {
    fn into_error(self) -> io::Error {
        let (Failed::Reading(error) | Failed::Writing(error)) = self;
        error
    }
}

/// Each piece goes out at once: somebody waits for it.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<(), Failed> {
    loop {
        let piece = std::future::poll_fn(|context| poll_piece(Pin::new(&mut from), context));
        let piece = piece.await.map_err(Failed::Reading)?;
        if piece.is_empty() {
            return to.shutdown().await.map_err(Failed::Writing);
        }
        to.write_all(&piece).await.map_err(Failed::Writing)?;
        drop(piece);
        to.flush().await.map_err(Failed::Writing)?;
    }
}

/// What there is, up to a piece; nothing at the end.
fn poll_piece(from: Pin<&mut impl AsyncRead>, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    let mut room = [MaybeUninit::uninit(); PIECE_BYTES];
    let mut room = ReadBuf::uninit(&mut room);
    ready!(from.poll_read(context, &mut room))?;
    Poll::Ready(Ok(room.filled().to_vec()))
}

#[cfg(test)]
mod tests {
    use ::io::{DataDir, IoConfig, SystemIo, Threads};
    use frame::proto::{Client, ClientEvent};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::AsyncReadExt;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::{Source, Tls, provider};

    #[tokio::test]
    async fn who_comes_when_there_are_enough_is_told_that_it_is_busy() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let mut io = Threads::start(IoConfig::new(vec![DataDir::open(&data, true).unwrap()])).unwrap();
        let tls = Tls::start(Source::SelfSigned, &[data]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(tls.certificate()).unwrap()).unwrap();
        let (_, queue) = io.accept_queue();
        let places = Arc::new(Semaphore::new(0));
        let entrance = Entrance { security: Security { tls, plaintext: false }, places };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (_stop, mut stopped) = watch::channel(false);
        let serving = tokio::spawn(async move {
            let Ok(Secured::Tls(stream)) = entrance.begin(stream, &mut stopped).await else { panic!("no TLS") };
            entrance.pass_on(*stream, &queue).await
        });
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = TlsConnector::from(Arc::new(config)).connect(name, client).await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        let told = Client::new(&mut Vec::new()).step(&heard, &mut 0).unwrap();
        assert!(matches!(told, Some(ClientEvent::Error(_, failure)) if failure.code == ErrorCode::Busy));
        serving.await.unwrap().unwrap();
    }

    /// Bug, found on reading: a client lost acknowledgements of a reactor that ended its connection. Mechanism: what the client went on
    /// sending could not be passed on, and that ended both directions. Fix: it ends its own.
    #[tokio::test]
    async fn what_the_reactor_says_last_is_passed_on_beside_a_client_that_goes_on_sending() {
        const LAST_WORDS: usize = 32 << 10;
        let (here, mut reactor) = UnixStream::pair().unwrap();
        let (client, mut door) = tokio::io::duplex(4096);
        let (mut from_door, mut to_door) = tokio::io::split(client);
        let passing = tokio::spawn(async move { pass_on(&mut door, here).await });
        let sending = tokio::spawn(async move { while to_door.write_all(&[7; 4096]).await.is_ok() {} });
        reactor.read_exact(&mut [0; 4096]).await.unwrap();
        reactor.write_all(&vec![1; LAST_WORDS]).await.unwrap();
        // With input that it has not read: its end is a reset.
        drop(reactor);
        let mut heard = Vec::new();
        let _ = from_door.read_to_end(&mut heard).await;
        assert_eq!(heard.len(), LAST_WORDS);
        drop(from_door);
        let _ = passing.await.unwrap();
        sending.abort();
    }
}
