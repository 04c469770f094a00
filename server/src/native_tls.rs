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
use std::net::{TcpListener, TcpStream as Blocking};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::io::AcceptQueue;
use engine::limits;
use frame::RequestId;
use frame::proto::{ErrorCode, Failure, Server as Proto};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::door::{Door, Listener};
use crate::seldom::Seldom;
use crate::tls::{Protocol, Secured, Security, turn_away};

/// Connections over TLS at once, to all reactors. More are told that it is busy.
pub(crate) const CONNECTIONS_MAX: usize = 4096;

/// Connections that no reactor has yet, of each: it is not known what they are, they shake hands, it has no room for them, they are
/// told why they must go. The next wait in the listener's queue. As many as a reactor takes, so that who says nothing keeps no more
/// others out than without TLS: each costs a descriptor, and little memory until it shakes hands.
pub(crate) const BEGINNING_MAX: usize = limits::CONNECTIONS_MAX;

/// How long a client may take for its first byte.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection waits for a reactor that has as many waiting as may, or for descriptors: less than the 5 s that clients
/// wait for a server.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(4);

/// After this long it is tried again, by the one that waits longest.
const HAND_OVER_RETRY: Duration = Duration::from_millis(10);

/// After this long without descriptors they are tried for again.
const PAIR_RETRY: Duration = Duration::from_millis(100);

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
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let entrance = Arc::new(Entrance { security, places, turned_away: Seldom::default() });
    let mut all: JoinSet<()> = doors.into_iter().map(|door| let_in(door, Arc::clone(&entrance))).collect();
    while all.join_next().await.is_some() {}
    let _ = entrance.places.acquire_many(CONNECTIONS_MAX as u32).await;
}

/// Lets clients of one reactor in until the door is to close.
async fn let_in((listener, queue): (Listener, AcceptQueue), entrance: Arc<Entrance>) {
    let stopped = listener.stopped.clone();
    let (beginning, queue) = (Arc::new(Semaphore::new(BEGINNING_MAX)), Arc::new(Mutex::new(queue)));
    let take = |stream, place| {
        let (entrance, queue, mut stopped) = (Arc::clone(&entrance), Arc::clone(&queue), stopped.clone());
        tokio::spawn(async move {
            // Boxed: of its size, mostly the handshake's, a connection has no more need once it has begun.
            let begun = Box::pin(entrance.begin(stream, &queue, &mut stopped)).await;
            drop(place);
            let ended = match begun {
                Ok(Some(tunnel)) => pass_on(tunnel.client, tunnel.reactor).await,
                Ok(None) => Ok(()),
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
    turned_away: Seldom,
}

/// A connection over TLS, and the pair whose other end its reactor has.
struct Tunnel {
    client: Box<TlsStream>,
    reactor: UnixStream,
    _place: OwnedSemaphorePermit,
}

impl Entrance {
    /// Sees a connection to its reactor, or out. What is left to do is to pass on.
    async fn begin(
        &self,
        stream: TcpStream,
        queue: &Mutex<AcceptQueue>,
        stopped: &mut watch::Receiver<bool>,
    ) -> io::Result<Option<Tunnel>> {
        let begin = async {
            let refusal = farewell(ErrorCode::TlsRequired, "say whom to trust, by --tls-ca FILE or Options::tls");
            match self.security.begin(stream, Protocol::Native, FIRST_TIMEOUT, &refusal).await? {
                Secured::Clear(stream) => self.clear(stream, queue).await.map(|()| None),
                Secured::Tls(stream) => self.tunnel(stream, queue).await,
                Secured::Refused => Ok(None),
            }
        };
        tokio::select! {
            begun = begin => begun,
            _ = stopped.changed() => Ok(None),
        }
    }

    /// Hands the socket itself to the reactor.
    async fn clear(&self, stream: TcpStream, queue: &Mutex<AcceptQueue>) -> io::Result<()> {
        let mut socket = Some(stream.into_std()?.into());
        if let Ok(ended) = timeout(HAND_OVER_TIMEOUT, hand_over(queue, &mut socket)).await {
            return ended;
        }
        let Some(socket) = socket else { return Ok(()) };
        let stream = Blocking::from(socket);
        stream.set_nonblocking(true)?;
        self.turn_away(TcpStream::from_std(stream)?, REACTOR_BUSY).await
    }

    /// Hands one end of a pair to the reactor.
    async fn tunnel(&self, mut client: Box<TlsStream>, queue: &Mutex<AcceptQueue>) -> io::Result<Option<Tunnel>> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let why = "too many connections over TLS; try again later";
            return self.turn_away(client, why).await.map(|()| None);
        };
        client.get_mut().1.set_buffer_limit(Some(SEND_BYTES_MAX));
        let until = Instant::now() + HAND_OVER_TIMEOUT;
        let (here, there) = match pair(until).await {
            Ok(pair) => pair,
            Err(error) => return self.turn_away(client, &no_sockets(&error)).await.map(|()| None),
        };
        let join = async {
            here.set_nonblocking(true)?;
            hand_over(queue, &mut Some(there.into())).await?;
            UnixStream::from_std(here)
        };
        match timeout_at(until, join).await {
            Ok(reactor) => Ok(Some(Tunnel { client, reactor: reactor?, _place: place })),
            Err(_) => self.turn_away(client, REACTOR_BUSY).await.map(|()| None),
        }
    }

    /// Tells a client that there is no room for it, and the operator once in a while.
    async fn turn_away(&self, client: impl AsyncRead + AsyncWrite + Unpin, why: &str) -> io::Result<()> {
        if let Some(clients) = self.turned_away.count() {
            tracing::warn!(clients, "native clients are turned away: {why}");
        }
        turn_away(client, &farewell(ErrorCode::Busy, why)).await
    }
}

/// What clients are told that could not be handed over.
const REACTOR_BUSY: &str = "the server has too many connections to take up; try again later";

/// Hands over the socket, once the reactor has room for it: until then it is still there. Whoever waits keeps its place among those
/// at their beginning, so that more come to wait in the listener's queue.
async fn hand_over(queue: &Mutex<AcceptQueue>, socket: &mut Option<OwnedFd>) -> io::Result<()> {
    let queue = queue.lock().await;
    while let Some(waiting) = socket.take() {
        *socket = queue.push(waiting)?;
        if socket.is_some() {
            sleep(HAND_OVER_RETRY).await;
        }
    }
    Ok(())
}

/// What clients are told for whom there are no sockets.
fn no_sockets(error: &io::Error) -> String {
    let advice = match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "allow it more open files (ulimit -Hn, LimitNOFILE=) and start it again",
        Some(Errno::NFILE) => "allow its machine more open files (sysctl fs.file-max)",
        _ => "see what its machine is short of",
    };
    format!("the server can't make the sockets that a connection over TLS takes: {error}; {advice}, or try again later")
}

/// A pair of sockets, once there are descriptors for it.
async fn pair(until: Instant) -> io::Result<(Pair, Pair)> {
    loop {
        match Pair::pair() {
            Err(error) if Instant::now() < until => {
                tracing::debug!(%error, "no pair of sockets for a connection over TLS; trying again soon");
            }
            made => return made,
        }
        sleep(PAIR_RETRY).await;
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
    use ::io::{DataDir, Io, IoConfig, ListenerId, Op, SystemIo, Threads, Token, Wait};
    use frame::proto::{Client, ClientEvent};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::AsyncReadExt;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::tls::{Source, Tls, provider};

    /// The reactor's side of a door with so many places, and whom to trust.
    struct Rig {
        _directory: tempfile::TempDir,
        io: Threads,
        listener: ListenerId,
        queue: AcceptQueue,
        entrance: Entrance,
        roots: RootCertStore,
    }

    fn rig(places: usize, plaintext: bool) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let mut io = Threads::start(IoConfig::new(vec![DataDir::open(&data, true).unwrap()])).unwrap();
        let tls = Tls::start(Source::SelfSigned, &[data]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(tls.certificate()).unwrap()).unwrap();
        let (listener, queue) = io.accept_queue();
        let places = Arc::new(Semaphore::new(places));
        let security = Security { tls, plaintext };
        let entrance = Entrance { security, places, turned_away: Seldom::default() };
        Rig { _directory: directory, io, listener, queue, entrance, roots }
    }

    /// Both ends of a connection.
    async fn connected() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    fn assert_busy(hello: Client, heard: &[u8]) {
        let told = { hello }.step(heard, &mut 0).unwrap();
        assert!(matches!(told, Some(ClientEvent::Error(_, failure)) if failure.code == ErrorCode::Busy));
    }

    /// Bug: a client that had sent its Hello could lose what it was told. Mechanism: the connection was closed with that unread,
    /// which resets it. Fix: what comes is read until the client ends too.
    #[tokio::test]
    async fn who_comes_when_there_are_enough_is_told_that_it_is_busy() {
        let Rig { _directory, queue, entrance, roots, .. } = rig(0, false);
        let (client, stream) = connected().await;
        let (_stop, mut stopped) = watch::channel(false);
        let serving = tokio::spawn(async move {
            entrance.begin(stream, &Mutex::new(queue), &mut stopped).await.map(|tunnel| assert!(tunnel.is_none()))
        });
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = TlsConnector::from(Arc::new(config)).connect(name, client).await.unwrap();
        // More than comes with the end of the handshake.
        let mut hello = Vec::new();
        let proto = Client::new(&mut hello);
        hello.resize(32 << 10, 0);
        client.write_all(&hello).await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_busy(proto, &heard);
        client.shutdown().await.unwrap();
        serving.await.unwrap().unwrap();
        assert!(client.get_ref().0.take_error().unwrap().is_none(), "it is not reset");
    }

    /// Bug: where as many waited for the reactor as may, the next were closed without a word. Fix: they wait too, and are told
    /// if that takes long.
    #[tokio::test(start_paused = true)]
    async fn whom_the_reactor_has_no_room_for_waits_a_while_and_is_told() {
        let Rig { _directory, mut io, listener, queue, entrance, .. } = rig(1, true);
        let entrance = Arc::new(entrance);
        let (_near, far) = Pair::pair().unwrap();
        let waiting = (0..).take_while(|_| queue.push(far.try_clone().unwrap().into()).unwrap().is_none()).count();
        let queue = Arc::new(Mutex::new(queue));
        let (_stop, stopped) = watch::channel(false);
        let come = async || {
            let (mut client, stream) = connected().await;
            let mut hello = Vec::new();
            let proto = Client::new(&mut hello);
            client.write_all(&hello).await.unwrap();
            let (entrance, queue, mut stopped) = (Arc::clone(&entrance), Arc::clone(&queue), stopped.clone());
            let begun = async move { entrance.begin(stream, &queue, &mut stopped).await.unwrap().is_none() };
            (client, proto, tokio::spawn(begun))
        };
        let (mut client, proto, begun) = come().await;
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_busy(proto, &heard);
        drop(client);
        assert!(begun.await.unwrap());
        // There is room in time.
        let (_client, _, begun) = come().await;
        sleep(HAND_OVER_TIMEOUT / 2).await;
        assert!(!begun.is_finished());
        io.submit(Op::Accept(listener), Token(1));
        let mut take = || {
            let mut taken = Vec::new();
            io.turn(Wait::No, &mut taken);
            taken.iter().filter(|completion| completion.token == Token(1)).count()
        };
        let mut taken = 0;
        while taken < waiting {
            taken += take();
        }
        assert!(begun.await.unwrap());
        assert_eq!((taken, take()), (waiting, 1));
    }

    /// Bug: where the server was out of descriptors its clients heard of "too many connections or too few descriptors", and that they
    /// may try again. Fix: the two have words of their own, and these say what to change.
    #[test]
    fn who_meets_the_limit_on_open_files_is_told_which_and_how_it_is_raised() {
        for (errno, words) in [
            (Errno::MFILE, ["Too many open files (os error 24)", "ulimit -Hn, LimitNOFILE="]),
            (Errno::NFILE, ["Too many open files in system", "sysctl fs.file-max"]),
            (Errno::NOMEM, ["Cannot allocate memory", "see what its machine is short of"]),
        ] {
            let told = no_sockets(&errno.into());
            assert!(words.iter().all(|words| told.contains(words)), "{told}");
        }
        assert!(!REACTOR_BUSY.contains("descriptors"));
    }

    /// Of those that say nothing there are many.
    #[tokio::test]
    async fn who_says_nothing_costs_little() {
        let Rig { _directory, queue, entrance, .. } = rig(1, true);
        let (_client, stream) = connected().await;
        let (_stop, mut stopped) = watch::channel(false);
        let queue = Mutex::new(queue);
        let bytes = size_of_val(&entrance.begin(stream, &queue, &mut stopped));
        assert!(bytes <= 1024, "{bytes}");
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
