//! Where the server is, and how long to wait for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use frame::proto::{Fault, Secret};
use rustix::rand::{GetRandomFlags, getrandom};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::Instant;

/// The pause before something is tried again, which doubles.
const PAUSE: Duration = Duration::from_millis(20);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The longest that anything waits for a point in time: as good as for ever, and no clock overflows.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Whom to trust over TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificates, versions, ciphers.
    pub config: Arc<ClientConfig>,
    /// The name that the server's certificate has to have.
    pub name: ServerName<'static>,
}

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is. Of a server with several reactors, any: it tells the others' ports, at the same address.
    pub address: SocketAddr,
    /// Where else it may be, none by default: these are tried in turn where `address` does not answer.
    pub more_addresses: Vec<SocketAddr>,
    /// What both sides prove to know. With one, no server is spoken to that does not ask for it.
    pub secret: Option<Secret>,
    /// With it TLS is spoken, which a server takes that has a certificate. None by default.
    pub tls: Option<Tls>,
    /// How long making a connection to one address may take, the handshake included. 5 seconds by default.
    pub connect_timeout: Duration,
    /// A connection on which nothing was heard for so long is asked for a sign of life, and given up after as long again. 15
    /// seconds by default.
    pub silence: Duration,
    /// How long a lost connection is tried to be made again, and records are sent again that the server does not take, before
    /// that is an error. 2 minutes by default.
    pub patience: Duration,
}

impl Options {
    /// A server without a secret and TLS, and the usual times.
    pub fn new(address: SocketAddr) -> Options {
        Options {
            address,
            more_addresses: Vec::new(),
            secret: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            patience: Duration::from_secs(120),
        }
    }

    /// All places where the server may be, in the order in which they are tried.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.address).chain(self.more_addresses.iter().copied())
    }
}

/// Pauses that grow, until patience ends. Each is drawn from the upper half of what it may be, so that clients that lost a server
/// at one moment don't come back at one.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    began: Option<Instant>,
    patience: Duration,
}

impl Backoff {
    pub(crate) fn new(patience: Duration) -> Backoff {
        Backoff { pause: PAUSE, began: None, patience }
    }

    /// How long to wait before the next attempt; nothing if there should be none.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let pause = self.pause;
        self.pause = (2 * pause).min(PAUSE_MAX);
        (began.elapsed() < self.patience).then(|| pause / 2 + (pause / 2).mul_f64(drawn()))
    }

    /// The same after a failure: what fails again whenever it is tried is not tried again.
    pub(crate) fn pause_after(&mut self, fault: Fault) -> Option<Duration> {
        if matches!(fault, Fault::Caller | Fault::Bug) { None } else { self.pause() }
    }

    /// There was progress.
    pub(crate) fn reset(&mut self) {
        *self = Backoff::new(self.patience);
    }
}

/// A number from 0 to 1.
fn drawn() -> f64 {
    let mut bytes = [0; 4];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(_) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Where there is none, the whole pause.
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_end_with_patience() {
        let mut backoff = Backoff::new(Duration::MAX);
        let pauses: Vec<Duration> = (0..20).filter_map(|_| backoff.pause()).collect();
        let within = |pause: Duration, most: Duration| assert!((most / 2..=most).contains(&pause), "{pause:?}");
        for (pause, doublings) in pauses.iter().zip(0..) {
            within(*pause, (PAUSE * (1 << doublings)).min(PAUSE_MAX));
        }
        // Of so many at the bound no two are the same by chance.
        assert!(pauses.windows(2).all(|two| two[0] != two[1]), "{pauses:?}");
        backoff.reset();
        within(backoff.pause().expect("patience is endless"), PAUSE);
        assert_eq!(Backoff::new(Duration::ZERO).pause(), None);
    }
}
