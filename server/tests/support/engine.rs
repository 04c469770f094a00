//! The engine on a thread of the test's own, so that a test may stand between it and its `Io`.
//!
//! The thread opens the data directory, serves clients over TCP, and ends when told to; it then says what it has done. A
//! panic on it is the test's.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use engine::limits::{Memory, RECEIVE_BUFFER_BYTES};
use engine::{Config, Reactor, Recovered, Stats, Status};
use io::{DataDir, Io, IoConfig, ListenerId, SystemIo, Waker};

/// An engine that accepts clients.
pub(crate) struct Opened {
    pub(crate) address: SocketAddr,
    pub(crate) recovered: Recovered,
    waker: Waker,
}

const RUN: u8 = 0;
const SHUT_DOWN: u8 = 1;
const LEAVE: u8 = 2;

/// An engine on its thread.
pub(crate) struct Engine {
    opening: Receiver<Result<Opened, String>>,
    ended: Receiver<Stats>,
    order: Arc<AtomicU8>,
    waker: Option<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Begins to open the data directory at `path`, on what `wrap` makes of the system's `Io`.
    pub(crate) fn begin<S: SystemIo, I: Io>(
        path: &Path,
        config: Config,
        wrap: impl FnOnce(S) -> I + Send + 'static,
    ) -> Engine {
        let (tell, opening) = channel();
        let (end, ended) = channel();
        let order = Arc::new(AtomicU8::new(RUN));
        let (path, its_order) = (path.to_owned(), Arc::clone(&order));
        let thread = std::thread::spawn(move || match open(&path, config, wrap) {
            Ok((reactor, listener, opened)) => serve(reactor, listener, opened, &its_order, &tell, &end),
            Err(why) => drop(tell.send(Err(why))),
        });
        Engine { opening, ended, order, waker: None, thread: Some(thread) }
    }

    /// Waits until the directory is open and clients may come.
    pub(crate) fn opened(&mut self, patience: Duration) -> Result<Opened, String> {
        match self.opening.recv_timeout(patience) {
            Ok(Ok(opened)) => {
                self.waker = Some(opened.waker.clone());
                Ok(opened)
            }
            Ok(Err(why)) => Err(why),
            Err(RecvTimeoutError::Timeout) => panic!("opening hangs: nothing was heard for {patience:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("opening panicked; its words are above"),
        }
    }

    /// Asks for a clean shutdown.
    pub(crate) fn shut_down(&self) {
        self.tell(SHUT_DOWN);
    }

    /// Tells it to drop everything where it stands.
    pub(crate) fn leave(&self) {
        self.tell(LEAVE);
    }

    fn tell(&self, order: u8) {
        self.order.store(order, Ordering::Release);
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    /// Waits for its end, after it was told to end. What it has done, if it ever served.
    pub(crate) fn end(mut self, patience: Duration) -> Option<Stats> {
        let stats = match self.ended.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => panic!("the engine hangs: it did not end within {patience:?}"),
            other => other.ok(),
        };
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        stats
    }
}

fn open<S: SystemIo, I: Io>(
    path: &Path,
    config: Config,
    wrap: impl FnOnce(S) -> I,
) -> Result<(Reactor<I>, ListenerId, Opened), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let memory = Memory::share(config.memory_bytes);
    let directory = DataDir::open(path, false).map_err(|error| words(&error))?;
    let mut io = S::start(IoConfig {
        pool_bytes: memory.pool_bytes,
        receive_buffers: (memory.receive_bytes / RECEIVE_BUFFER_BYTES).next_power_of_two() as u16,
        receive_buffer_bytes: RECEIVE_BUFFER_BYTES as u32,
        ..IoConfig::new(vec![directory])
    })
    .map_err(|error| words(&error))?;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let (socket, address) = io::listen(anywhere).map_err(|error| words(&error))?;
    let listener = io.accept_from(socket).map_err(|error| words(&error))?;
    let waker = io.waker();
    let (reactor, recovered) = Reactor::open(wrap(io), config).map_err(|error| words(&error))?;
    Ok((reactor, listener, Opened { address, recovered, waker }))
}

fn serve<I: Io>(
    mut reactor: Reactor<I>,
    listener: ListenerId,
    opened: Opened,
    order: &AtomicU8,
    tell: &Sender<Result<Opened, String>>,
    end: &Sender<Stats>,
) {
    reactor.listen(listener);
    // Nobody listens any more if the test has failed meanwhile.
    let _ = tell.send(Ok(opened));
    loop {
        match order.load(Ordering::Acquire) {
            LEAVE => break,
            SHUT_DOWN => reactor.shut_down(),
            _ => {}
        }
        if reactor.turn() == Status::Stopped {
            break;
        }
    }
    let stats = reactor.stats();
    drop(reactor);
    let _ = end.send(stats);
}
