//! The native protocol over TLS: a door of its own, on threads of its own, as ciphers must not hold up a reactor.
//!
//! ```text
//!   client -- TLS -- here: decrypted, not looked at -- loopback -- a reactor's own port
//! ```
//!
//! Reactors take turns: each of them serves everything. The secret, where there is one, is proven to the reactor.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::door::{Door, Listener};
use crate::tls::{Protocol, Tls};

/// Connections at once. The next wait in the listener's queue.
const CONNECTIONS_MAX: u32 = 1024;

/// What is passed on at once, each way; two records of TLS.
const PIECE_BYTES: usize = 32 << 10;

/// The open door. Dropping it ends it at once.
pub(crate) struct NativeTls(Door);

impl NativeTls {
    /// Passes what connects to `listener` on to the reactors, which listen there, by so many threads.
    pub(crate) fn start(
        (listener, threads): (TcpListener, usize),
        tls: Arc<Tls>,
        reactors: &[SocketAddr],
    ) -> io::Result<NativeTls> {
        let reactors = reactors.iter().copied().map(reachable).collect();
        Door::open(listener, ("native-tls", threads), |listener| serve(listener, tls, reactors)).map(NativeTls)
    }

    /// Waits a while until all that the reactors said last is passed on.
    pub(crate) fn stop(self) {
        if !self.0.stop() {
            tracing::warn!("native connections over TLS had not taken everything; they are closed");
        }
    }
}

/// Where this machine reaches what listens at `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

async fn serve(listener: Listener, tls: Arc<Tls>, reactors: Vec<SocketAddr>) {
    let stopped = listener.stopped.clone();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let mut turns = reactors.into_iter().cycle();
    let take = |stream, place| {
        let Some(reactor) = turns.next() else { return };
        let (tls, mut stopped) = (Arc::clone(&tls), stopped.clone());
        tokio::spawn(async move {
            let accepted = tokio::select! {
                accepted = tls.accept(Protocol::Native, stream) => accepted,
                _ = stopped.changed() => return,
            };
            let ended = match accepted {
                Ok(stream) => pass_on(stream, reactor).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a native connection over TLS ended");
            }
            drop(place);
        });
    };
    listener.take_each(Arc::clone(&places), take).await;
    let _ = places.acquire_many(CONNECTIONS_MAX).await;
}

/// Until the reactor ends the connection: it knows whom to let go, and answers who says nothing more. A client that is gone is
/// the end too.
async fn pass_on(client: impl AsyncRead + AsyncWrite, reactor: SocketAddr) -> io::Result<()> {
    let mut reactor = TcpStream::connect(reactor).await?;
    reactor.set_nodelay(true)?;
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
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut piece).await.map_err(Failed::Reading)?;
        if read == 0 {
            return to.shutdown().await.map_err(Failed::Writing);
        }
        to.write_all(&piece[..read]).await.map_err(Failed::Writing)?;
        to.flush().await.map_err(Failed::Writing)?;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Bug, found on reading: a client lost acknowledgements of a reactor that ended its connection. Mechanism: what the client went on
    /// sending could not be passed on, and that ended both directions. Fix: it ends its own.
    #[tokio::test]
    async fn what_the_reactor_says_last_is_passed_on_beside_a_client_that_goes_on_sending() {
        const LAST_WORDS: usize = 32 << 10;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reactor = listener.local_addr().unwrap();
        let (client, mut door) = tokio::io::duplex(4096);
        let (mut from_door, mut to_door) = tokio::io::split(client);
        let passing = tokio::spawn(async move { pass_on(&mut door, reactor).await });
        let (mut accepted, _) = listener.accept().await.unwrap();
        let sending = tokio::spawn(async move { while to_door.write_all(&[7; 4096]).await.is_ok() {} });
        accepted.read_exact(&mut [0; 4096]).await.unwrap();
        accepted.write_all(&vec![1; LAST_WORDS]).await.unwrap();
        // With input that it has not read: its end is a reset.
        drop(accepted);
        let mut heard = Vec::new();
        let _ = from_door.read_to_end(&mut heard).await;
        assert_eq!(heard.len(), LAST_WORDS);
        drop(from_door);
        let _ = passing.await.unwrap();
        sending.abort();
    }
}
