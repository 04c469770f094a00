//! Connections that other threads have accepted, for a reactor to take up: to it they come as from a socket that listens.
//!
//! What is handed over must end by itself where its other side takes nothing for [`SEND_TIMEOUT`](crate::SEND_TIMEOUT), as
//! [`look_after`](crate::look_after) has it.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::bell::Bell;

/// Connections that may wait to be taken up: as many as at a socket that listens.
const WAITING_MAX: usize = 1024;

/// Where other threads hand connections over to a reactor. Clones lead to the same one.
#[derive(Clone)]
pub struct AcceptQueue {
    waiting: SyncSender<OwnedFd>,
    bell: Arc<Bell>,
    nonblocking: bool,
}

/// A queue, and what the reactor's thread takes from it once the bell has rung. Sockets come out `nonblocking` or not.
pub(crate) fn accept_queue(bell: &Arc<Bell>, nonblocking: bool) -> (AcceptQueue, Receiver<OwnedFd>) {
    let (waiting, accepted) = sync_channel(WAITING_MAX);
    (AcceptQueue { waiting, bell: Arc::clone(bell), nonblocking }, accepted)
}

impl AcceptQueue {
    /// Hands over a connected stream socket, of any family. Where as many wait as may it comes back.
    ///
    /// # Errors
    /// The reactor is gone: the connection is closed.
    pub fn push(&self, socket: OwnedFd) -> std::io::Result<Option<OwnedFd>> {
        rustix::io::ioctl_fionbio(&socket, self.nonblocking)?;
        match self.waiting.try_send(socket) {
            Ok(()) => self.bell.ring(),
            Err(TrySendError::Full(socket)) => return Ok(Some(socket)),
            Err(TrySendError::Disconnected(_)) => return Err(ErrorKind::NotConnected.into()),
        }
        Ok(None)
    }
}

impl std::fmt::Debug for AcceptQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AcceptQueue")
    }
}
