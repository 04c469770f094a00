//! What a producer that numbers its records does when the connection is lost, or the server can't store now: it sends all that
//! is not answered again, in its order, until it is stored. The server knows what it has.

use std::time::{Duration, Instant};

use frame::proto::ErrorCode;

use super::{Put, Sent, Stop};
use crate::client::{Batch, ClientError, Fault};

/// The pause before a connection is tried again, which doubles up to the second.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A server that does not come back within this time is given up.
const PATIENCE: Duration = Duration::from_secs(120);

impl Put {
    /// Makes a lost connection again; all that was not answered then waits to be sent again.
    ///
    /// # Errors
    /// The records are not numbered, so that nobody could tell what is stored; it is no connection that was lost; or the
    /// server does not come back.
    pub(super) fn connect_again(&mut self, error: ClientError) -> Result<(), Stop> {
        if !self.is_numbered || error.fault() != Fault::Connection {
            return Err(Stop::Client(error));
        }
        eprintln!("millstream: {error}; connecting again");
        for Sent { batch, numbers, .. } in std::mem::take(&mut self.sent) {
            self.wait_again(batch, numbers);
        }
        let began = Instant::now();
        let mut pause = PAUSE;
        loop {
            std::thread::sleep(pause);
            pause = (2 * pause).min(PAUSE_MAX);
            match self.server.connect() {
                Ok(client) => {
                    self.client = client;
                    return Ok(());
                }
                Err(error) if error.fault() != Fault::Connection || began.elapsed() > PATIENCE => {
                    return Err(Stop::Client(error));
                }
                Err(_) => {}
            }
        }
    }

    /// Has records sent again once all is answered that is under way, in the order of their numbers.
    pub(super) fn wait_again(&mut self, batch: Batch, numbers: Vec<u64>) {
        let first = numbers.first().copied();
        let at = self.again.partition_point(|(_, others)| others.first().copied() < first);
        self.again.insert(at, (batch, numbers));
    }

    /// Says once that records wait, and why.
    pub(super) fn tell_waiting(&mut self, code: ErrorCode) {
        if !std::mem::replace(&mut self.is_throttled, true) {
            eprintln!("millstream: {code}: its records wait until the server stores them");
        }
    }
}
