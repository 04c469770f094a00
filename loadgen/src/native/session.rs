//! One connection that asks and waits for answers: the handshake, streams, reading.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use frame::proto::{Client, ClientEvent, Failure, Nonce, Span, Welcome};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::core::SILENCE_MAX;
use super::socket::TcpStream;
use super::{NativeError, Target};

/// Bytes received at once.
pub(super) const RECEIVE_BYTES: usize = 256 * 1024;

/// A connection after its handshake.
pub(super) struct Session {
    pub(super) target: SocketAddr,
    pub(super) stream: Rc<TcpStream>,
    pub(super) client: Client,
    pub(super) received: Received,
}

/// Bytes received, and how far they were used.
pub(super) struct Received {
    pub(super) buffer: Vec<u8>,
    pub(super) filled: usize,
    pub(super) at: usize,
}

impl Session {
    /// Connects to where the server was told to be, and shakes hands.
    pub(super) async fn open(target: &Target) -> Result<(Self, Welcome), NativeError> {
        Self::open_at(target, target.address).await
    }

    /// The same where one of its reactors listens.
    pub(super) async fn open_at(target: &Target, address: SocketAddr) -> Result<(Self, Welcome), NativeError> {
        Self::open_unless(target, address, std::future::pending()).await
    }

    /// The same unless there is a reason not to, before.
    pub(super) async fn open_unless(
        target: &Target,
        address: SocketAddr,
        reason: impl Future<Output = NativeError>,
    ) -> Result<(Self, Welcome), NativeError> {
        let refused = |source: io::Error| match address == target.address {
            _ if source.kind() == ErrorKind::InvalidData => NativeError::Untrusted { target: address, source },
            true => NativeError::Connect { target: address, source },
            false => NativeError::ConnectToOwner { owner: address, told_by: target.address, source },
        };
        let until = Instant::now() + target.open_within;
        let given_up = async {
            select! {
                reason = reason => reason,
                () = sleep_until(until) => NativeError::Silent { target: address, waited: target.open_within },
            }
        };
        let mut given_up = std::pin::pin!(given_up);
        let stream = select! {
            stream = TcpStream::connect(address, target.trust.as_ref()) => stream.map_err(refused)?,
            reason = &mut given_up => return Err(reason),
        };
        let mut hello = Vec::new();
        let mut client = Client::new(&mut hello);
        if let Some(secret) = &target.secret {
            let mut nonce = Nonce::default();
            getrandom(&mut nonce, GetRandomFlags::empty()).map_err(|errno| NativeError::Random(errno.into()))?;
            client.require(secret.clone(), nonce);
        }
        let received = Received { buffer: vec![0; RECEIVE_BYTES], filled: 0, at: 0 };
        let mut session = Self { target: address, stream: Rc::new(stream), client, received };
        let stream = Rc::clone(&session.stream);
        let welcome = or_end(&stream, given_up, session.shake_hands(hello)).await??;
        Ok((session, welcome))
    }

    /// Says hello, and proves what is to be proven.
    async fn shake_hands(&mut self, hello: Vec<u8>) -> Result<Welcome, NativeError> {
        let mut out = self.send(hello).await?;
        loop {
            match self.event().await? {
                ClientEvent::Challenge if self.client.prove(&mut out) => out = self.send(out).await?,
                ClientEvent::Challenge => return Err(NativeError::NoSecret { target: self.target }),
                ClientEvent::Proven => {}
                ClientEvent::Welcome(welcome) => return Ok(welcome),
                ClientEvent::Error(_, failure) => return Err(refused("open a connection", failure)),
                other => return Err(self.unexpected(&other)),
            }
        }
    }

    /// Sends all of `bytes` and returns the buffer, empty.
    pub(super) async fn send(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, NativeError> {
        let (sent, mut bytes) = self.stream.write_all(bytes).await;
        bytes.clear();
        match sent {
            Ok(()) => Ok(bytes),
            Err(error) => Err(NativeError::Broken { target: self.target, reason: error.to_string() }),
        }
    }

    /// Waits for the next event. Its spans hold until the next call.
    pub(super) async fn event(&mut self) -> Result<ClientEvent, NativeError> {
        loop {
            let Received { buffer, filled, at } = &mut self.received;
            if let Some(event) = self.client.step(&buffer[..*filled], at).map_err(NativeError::Protocol)? {
                return Ok(event);
            }
            (*filled, *at) = (0, 0);
            let reading = self.stream.read(std::mem::take(buffer));
            let broken = |reason: String| NativeError::Broken { target: self.target, reason };
            let silent = async {
                sleep_until(Instant::now() + SILENCE_MAX).await;
                broken(format!("nothing came for {} s", SILENCE_MAX.as_secs()))
            };
            let (read, buffer) = or_end(&self.stream, silent, reading).await?;
            self.received = Received { buffer, filled: 0, at: 0 };
            self.received.filled = match read {
                Ok(0) => return Err(broken("the server closed it".to_owned())),
                Ok(bytes) => bytes,
                Err(error) => return Err(broken(error.to_string())),
            };
        }
    }

    /// The bytes of a span of the last event.
    pub(super) fn bytes(&self, span: &Span) -> &[u8] {
        self.client.bytes(span, &self.received.buffer[..self.received.filled])
    }

    /// The connection is of no use any more.
    pub(super) fn broken(&self, reason: String) -> NativeError {
        NativeError::Broken { target: self.target, reason }
    }

    /// An answer that was not asked for.
    pub(super) fn unexpected(&self, event: &ClientEvent) -> NativeError {
        self.broken(format!("the server answered what was not asked: {event:?}"))
    }

    /// Ends the connection, so that nothing of it is left in the ring.
    pub(super) fn close(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// What comes over a connection, which is ended where there is a reason not to wait for it, before.
pub(super) async fn or_end<T, R>(
    stream: &TcpStream,
    reason: impl Future<Output = R>,
    coming: impl Future<Output = T>,
) -> Result<T, R> {
    let mut coming = std::pin::pin!(coming);
    let reason = select! {
        come = &mut coming => return Ok(come),
        reason = reason => reason,
    };
    // What it waits for ends with the connection: nothing of it is left in the ring.
    let _ = stream.shutdown(Shutdown::Both);
    let _ = coming.await;
    Err(reason)
}

/// Connections to the reactors of a server, each made when it is first wanted.
pub(super) struct Sessions {
    target: Target,
    open: BTreeMap<SocketAddr, Session>,
}

impl Sessions {
    pub(super) fn new(target: Target) -> Self {
        Self { target, open: BTreeMap::new() }
    }

    /// The one to an address.
    pub(super) async fn at(&mut self, address: SocketAddr) -> Result<&mut Session, NativeError> {
        if let Entry::Vacant(place) = self.open.entry(address) {
            place.insert(Session::open_at(&self.target, address).await?.0);
        }
        Ok(self.open.get_mut(&address).expect("it was made"))
    }

    pub(super) fn close(self) {
        self.open.into_values().for_each(Session::close);
    }
}

pub(super) fn refused(request: &str, failure: Failure) -> NativeError {
    NativeError::Refused { request: request.to_owned(), failure }
}
