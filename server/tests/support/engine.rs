//! The engine on threads of the test's own, one a reactor, so that a test may stand between it and its `Io`.
//!
//! The first thread opens the data directory and hands the others their seats. They serve clients over TCP once all have theirs, and
//! end when told to; then they say what they have done. A panic on one is the test's.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use engine::limits::{Memory, RECEIVE_BUFFER_BYTES};
use engine::{Config, OpenError, Reactor, Recovered, Seat, Stats, Status};
use io::{DataDir, Io, IoConfig, ListenerId, SystemIo, Waker};

/// An engine that accepts clients.
pub(crate) struct Opened {
    /// Of the first reactor.
    pub(crate) address: SocketAddr,
    pub(crate) recovered: Recovered,
}

/// What the threads are told, once they are told anything.
const LISTEN: u8 = 1;
const SHUT_DOWN: u8 = 2;
const LEAVE: u8 = 3;

/// What all but the first wait for.
type Taken = (Seat, DataDir);

/// Ports of several reactors follow each other: some are looked for among these, below those that Linux gives to connections.
const PORTS_LOOKED_THROUGH: std::ops::Range<u16> = 10_000..32_000;

/// An engine on its threads.
pub(crate) struct Engine {
    opening: Receiver<Result<Option<Recovered>, String>>,
    orders: Arc<Orders>,
    address: SocketAddr,
    threads: Vec<JoinHandle<Option<Stats>>>,
    ended: Receiver<()>,
}

/// What was ordered, and who is to hear of it.
#[derive(Default)]
struct Orders {
    order: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
}

impl Orders {
    fn give(&self, order: u8) {
        self.order.store(order, Ordering::SeqCst);
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Waker::wake);
    }

    /// What was ordered before is heard by who asks after this, and later orders wake it.
    fn add(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    fn heard(&self) -> u8 {
        self.order.load(Ordering::SeqCst)
    }
}

impl Engine {
    /// Begins to open the data directory at `path`, on what `wrap` makes of the system's `Io`, with so many reactors.
    pub(crate) fn begin<S: SystemIo, I: Io>(
        path: &Path,
        (config, reactors): (Config, usize),
        wrap: impl Fn(S) -> I + Clone + Send + 'static,
    ) -> Engine {
        let (tell, opening) = channel();
        let (end, ended) = channel();
        let orders = Arc::<Orders>::default();
        let sockets = listen(reactors);
        let address = sockets[0].1;
        let (seats, mut inboxes): (Vec<_>, Vec<_>) = (1..reactors).map(|_| channel::<Taken>()).unzip();
        let mut first = Some(seats);
        let mut threads = Vec::new();
        for (number, (socket, address)) in sockets.into_iter().enumerate().rev() {
            let site = Site {
                path: path.to_owned(),
                config: config.clone(),
                reactors,
                first_port: address.port() - number as u16,
                orders: Arc::clone(&orders),
            };
            let (own, inbox) = if number == 0 { (first.take(), None) } else { (None, inboxes.pop()) };
            let (wrap, tell, end) = (wrap.clone(), tell.clone(), end.clone());
            threads.push(std::thread::spawn(move || {
                let _end = end;
                site.run(socket, wrap, own, inbox, &tell)
            }));
        }
        Engine { opening, orders, address, threads, ended }
    }

    /// Waits until the directory is open and clients may come.
    pub(crate) fn opened(&mut self, patience: Duration) -> Result<Opened, String> {
        let mut recovered = None;
        for _ in 0..self.threads.len() {
            match self.opening.recv_timeout(patience) {
                Ok(Ok(found)) => recovered = recovered.or(found),
                Ok(Err(why)) => {
                    self.leave();
                    return Err(why);
                }
                Err(RecvTimeoutError::Timeout) => panic!("opening hangs: nothing was heard for {patience:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("opening panicked; its words are above"),
            }
        }
        self.orders.give(LISTEN);
        Ok(Opened { address: self.address, recovered: recovered.expect("the first tells") })
    }

    /// Asks for a clean shutdown.
    pub(crate) fn shut_down(&self) {
        self.orders.give(SHUT_DOWN);
    }

    /// Tells it to drop everything where it stands.
    pub(crate) fn leave(&self) {
        self.orders.give(LEAVE);
    }

    /// Waits for its end, after it was told to end. What each reactor has done that ever served.
    pub(crate) fn end(self, patience: Duration) -> Vec<Stats> {
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(patience) {
            panic!("the engine hangs: it did not end within {patience:?}");
        }
        let outcomes = self.threads.into_iter().map(|thread| match thread.join() {
            Ok(stats) => stats,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        outcomes.flatten().collect()
    }
}

/// A socket for each reactor, at ports that follow each other.
fn listen(reactors: usize) -> Vec<(OwnedFd, SocketAddr)> {
    let at = |port: u16| io::listen(SocketAddr::from(([127, 0, 0, 1], port)));
    if reactors == 1 {
        return vec![at(0).expect("a port is free")];
    }
    let all = |first: u16| (0..reactors as u16).map(|number| at(first + number)).collect::<Result<Vec<_>, _>>();
    let tries = (0..100).map(|_| rand::random_range(PORTS_LOOKED_THROUGH));
    tries.into_iter().find_map(|first| all(first).ok()).expect("ports that follow each other are free")
}

/// One reactor's thread.
struct Site {
    path: std::path::PathBuf,
    config: Config,
    reactors: usize,
    first_port: u16,
    orders: Arc<Orders>,
}

impl Site {
    fn run<S: SystemIo, I: Io>(
        &self,
        socket: OwnedFd,
        wrap: impl Fn(S) -> I,
        others: Option<Vec<Sender<Taken>>>,
        inbox: Option<Receiver<Taken>>,
        tell: &Sender<Result<Option<Recovered>, String>>,
    ) -> Option<Stats> {
        let taken = match inbox.map(|inbox| inbox.recv()) {
            // The first has failed, and says why.
            Some(Err(_)) => return None,
            Some(Ok((seat, directory))) => self.take(socket, directory, wrap, |_| Ok((seat, None))),
            None => DataDir::open(&self.path, false).map_err(|error| error.to_string()).and_then(|directory| {
                self.take(socket, directory.clone(), wrap, |io| {
                    let (seats, recovered) = engine::open(io, &self.config, self.reactors)?;
                    let mut seats = seats.into_iter();
                    let own = seats.next().expect("there is a seat for each reactor");
                    // One that has failed meanwhile ends this one as well.
                    for (other, seat) in others.into_iter().flatten().zip(seats) {
                        let _ = other.send((seat, directory.clone()));
                    }
                    Ok((own, Some(recovered)))
                })
            }),
        };
        match taken {
            Ok((reactor, listener, recovered)) => {
                // Nobody listens any more if the test has failed meanwhile.
                let _ = tell.send(Ok(recovered));
                Some(self.serve(reactor, listener))
            }
            Err(why) => {
                let _ = tell.send(Err(why));
                None
            }
        }
    }

    fn take<S: SystemIo, I: Io>(
        &self,
        socket: OwnedFd,
        directory: DataDir,
        wrap: impl Fn(S) -> I,
        seat: impl FnOnce(&mut I) -> Result<(Seat, Option<Recovered>), OpenError>,
    ) -> Result<(Reactor<I>, ListenerId, Option<Recovered>), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let memory = Memory::share(self.config.memory_bytes / self.reactors);
        let mut io = S::start(IoConfig {
            pool_bytes: memory.pool_bytes,
            receive_buffers: (memory.receive_bytes / RECEIVE_BUFFER_BYTES).next_power_of_two() as u16,
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES as u32,
            ..IoConfig::new(vec![directory])
        })
        .map_err(|error| words(&error))?;
        let listener = io.accept_from(socket).map_err(|error| words(&error))?;
        let waker = io.waker();
        let mut io = wrap(io);
        let (seat, recovered) = seat(&mut io).map_err(|error| words(&error))?;
        let mut reactor = Reactor::take(io, self.config.clone(), seat).map_err(|error| words(&error))?;
        reactor.tell_ports(self.first_port);
        self.orders.add(waker.clone());
        // Others wake it by this.
        drop(reactor.handle(move || waker.wake()));
        Ok((reactor, listener, recovered))
    }

    fn serve<I: Io>(&self, mut reactor: Reactor<I>, listener: ListenerId) -> Stats {
        let mut listener = Some(listener);
        loop {
            match self.orders.heard() {
                LEAVE => break,
                SHUT_DOWN => reactor.shut_down(),
                LISTEN => listener.take().into_iter().for_each(|listener| reactor.listen(listener)),
                _ => {}
            }
            if reactor.turn() == Status::Stopped {
                break;
            }
        }
        reactor.stats()
    }
}
