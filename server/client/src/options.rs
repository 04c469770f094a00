//! Where the server is, and how long to wait for it.

use std::net::SocketAddr;
use std::time::Duration;

use frame::proto::Secret;
use tokio::time::Instant;

use crate::error::Fault;

/// The pause before something is tried again, which doubles.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The longest that anything waits for a point in time: as good as for ever, and no clock overflows.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is. Of a server with several reactors, any: it tells the others' ports, at the same address.
    pub address: SocketAddr,
    /// What both sides prove to know. With one, no server is spoken to that does not ask for it.
    pub secret: Option<Secret>,
    /// How long making a connection may take, the handshake included. 5 seconds by default.
    pub connect_timeout: Duration,
    /// A connection on which nothing was heard for so long is asked for a sign of life, and given up after as long again. 15
    /// seconds by default.
    pub silence: Duration,
    /// How long a lost connection is tried to be made again, and records are sent again that the server does not take, before
    /// that is an error. 2 minutes by default.
    pub patience: Duration,
}

impl Options {
    /// A server without a secret, and the usual times.
    pub fn new(address: SocketAddr) -> Options {
        Options {
            address,
            secret: None,
            connect_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(15),
            patience: Duration::from_secs(120),
        }
    }
}

/// Pauses that grow, until patience ends.
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
        (began.elapsed() < self.patience).then_some(pause)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_end_with_patience() {
        let mut backoff = Backoff::new(Duration::MAX);
        let pauses: Vec<Duration> = (0..20).filter_map(|_| backoff.pause()).collect();
        assert_eq!((pauses[0], pauses[1], pauses[19]), (PAUSE, 2 * PAUSE, PAUSE_MAX));
        backoff.reset();
        assert_eq!(backoff.pause(), Some(PAUSE));
        assert_eq!(Backoff::new(Duration::ZERO).pause(), None);
    }
}
