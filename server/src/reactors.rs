//! The threads of the reactors: started together, stopped together.
//!
//! The first opens the log with its own `Io`, and hands the others their seats. None accepts connections before all have taken
//! theirs. The end of one, however it comes, is the end of all: the others shut down cleanly.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use engine::limits::{CONNECTIONS_MAX, Memory, RECEIVE_BUFFER_BYTES};
use engine::{Handle, Reactor, Seat, Status};
use io::{AcceptQueue, DataDir, IoConfig, IoKind, ListenerId, Ring, SystemIo, Threads, Waker};

use crate::config::ServeConfig;
use crate::native_tls::NativeDoor;
use crate::serve::{ServeError, log_recovery};

/// How often ports that follow each other are looked for, where any will do.
const PORT_TRIES_MAX: usize = 100;

/// Among these: below those that Linux by default gives to connections, of which a busy machine has one beside almost every free one.
const PORTS_LOOKED_THROUGH: Range<u16> = 10_000..32_000;

/// A socket, and where it listens; with TLS it is not the reactor that listens there.
type Listening = (Option<OwnedFd>, SocketAddr);

/// How all reactors are stopped.
#[derive(Default)]
pub(crate) struct Reactors {
    stop: AtomicBool,
    /// Whether one has ended by itself: the others need not wait for it.
    has_failed: AtomicBool,
    /// Whether all have taken their seats, and may accept connections.
    are_ready: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Reactors {
    /// Asks all for a clean shutdown.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Lets all accept connections. What each takes up for the others is there by then.
    pub(crate) fn open(&self) {
        self.are_ready.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Waker::wake);
    }

    fn add(&self, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }
}

/// Stops all when one ends, by a panic too.
struct EndOfOne {
    reactors: Arc<Reactors>,
    is_good: bool,
}

impl Drop for EndOfOne {
    fn drop(&mut self) {
        self.reactors.has_failed.fetch_or(!self.is_good, Ordering::SeqCst);
        self.reactors.stop();
    }
}

/// What the server knows once all could accept connections, which [`Reactors::open`] lets them.
pub(crate) struct Started {
    pub(crate) handle: Handle,
    /// Where each listens.
    pub(crate) native: Vec<SocketAddr>,
    /// With TLS what listens there in their place, and where each takes connections from.
    pub(crate) doors: Vec<NativeDoor>,
}

/// What a reactor's thread says once it could accept connections.
struct Ready {
    number: usize,
    handle: Handle,
    native: SocketAddr,
    queue: Option<AcceptQueue>,
}

/// What all but the first wait for.
type Taken = (Seat, Vec<DataDir>);

/// The threads.
pub(crate) struct Running {
    reactors: Arc<Reactors>,
    threads: Vec<JoinHandle<Result<(), ServeError>>>,
}

impl Running {
    /// Starts them, on that kind of `Io` and these directories. Without [`Started`] one has failed, which [`Running::join`] tells.
    pub(crate) fn start(
        config: ServeConfig,
        kind: IoKind,
        directories: Vec<DataDir>,
    ) -> Result<(Running, Option<Started>), ServeError> {
        let count = config.reactors;
        // Before any thread starts: nobody else gets a port meanwhile.
        let mut native = listen(config.native, count)?;
        let secured = native.iter_mut().filter_map(|(socket, _)| socket.take_if(|_| config.tls.is_some()));
        let secured: Vec<TcpListener> = secured.map(TcpListener::from).collect();
        let config = Arc::new(config);
        let mut running = Running { reactors: Arc::default(), threads: Vec::new() };
        let (tell, ready) = mpsc::channel();
        let (seats, mut inboxes): (Vec<_>, Vec<_>) = (1..count).map(|_| mpsc::channel::<Taken>()).unzip();
        let mut first = Some((directories, seats));
        // The first comes last: nothing is opened before there is a thread for each.
        for (number, listening) in native.into_iter().enumerate().rev() {
            let reactors = Arc::clone(&running.reactors);
            let (config, tell, inbox) =
                (Arc::clone(&config), tell.clone(), if number == 0 { None } else { inboxes.pop() });
            let own = if number == 0 { first.take() } else { None };
            let thread = std::thread::Builder::new().name(format!("reactor-{number}"));
            let work = move || {
                let mut end = EndOfOne { reactors: Arc::clone(&reactors), is_good: false };
                let site = Site { config: &config, reactors: &reactors, number };
                let outcome = match kind {
                    IoKind::Ring => site.run::<Ring>(listening, own, inbox.as_ref(), &tell),
                    IoKind::Threads => site.run::<Threads>(listening, own, inbox.as_ref(), &tell),
                };
                end.is_good = outcome.is_ok();
                outcome
            };
            match thread.spawn(work) {
                Ok(thread) => running.threads.push(thread),
                Err(error) => {
                    // The others wait for their seats, and hear that none come.
                    drop(first);
                    let _ = running.join();
                    return Err(ServeError::Thread(error));
                }
            }
        }
        drop(tell);
        running.threads.reverse();
        let mut all: Vec<Ready> = ready.iter().take(count).collect();
        if all.len() < count {
            return Ok((running, None));
        }
        all.sort_by_key(|ready| ready.number);
        let native = all.iter().map(|ready| ready.native).collect();
        let queues = all.iter_mut().filter_map(|ready| ready.queue.take());
        let doors = secured.into_iter().zip(queues).collect();
        let handle = Handle::join(all.into_iter().map(|ready| ready.handle).collect());
        Ok((running, Some(Started { handle, native, doors })))
    }

    /// How they are stopped.
    pub(crate) fn reactors(&self) -> Arc<Reactors> {
        Arc::clone(&self.reactors)
    }

    /// Waits until all have ended. What the first says that failed is the reason: the others may have failed because of it.
    pub(crate) fn join(self) -> Result<(), ServeError> {
        let outcomes = self.threads.into_iter().map(|thread| thread.join().unwrap_or(Err(ServeError::Reactor)));
        let failures: Vec<ServeError> = outcomes.filter_map(Result::err).collect();
        failures.into_iter().next().map_or(Ok(()), Err)
    }
}

/// Each reactor's socket, at ports that follow each other. Where any port will do for the first, some that are free.
fn listen(first: SocketAddr, count: usize) -> Result<Vec<Listening>, ServeError> {
    let refused = |error| ServeError::Listen { setting: "native", address: first, error };
    if first.port() != 0 || count == 1 {
        return listen_from(first, count);
    }
    let mut tries_left = PORT_TRIES_MAX;
    loop {
        tries_left -= 1;
        let port = rand::random_range(PORTS_LOOKED_THROUGH);
        match listen_from(SocketAddr::new(first.ip(), port), count) {
            Err(ServeError::Listen { error, .. }) if tries_left == 0 => return Err(refused(error)),
            Err(ServeError::Listen { error, .. }) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
}

fn listen_from(first: SocketAddr, count: usize) -> Result<Vec<Listening>, ServeError> {
    let refused = |address, error| ServeError::Listen { setting: "native", address, error };
    let listen = |number| {
        let port = u16::try_from(usize::from(first.port()) + number).map_err(|_| {
            let text = format!("there is no port for each of {count} reactors from {} on", first.port());
            refused(first, std::io::Error::new(std::io::ErrorKind::AddrNotAvailable, text))
        })?;
        let address = SocketAddr::new(first.ip(), port);
        let (socket, address) = io::listen(address).map_err(|error| refused(address, error))?;
        Ok((Some(socket), address))
    };
    (0..count).map(listen).collect()
}

/// What a reactor's connections come from, and where clients make them.
struct Entry {
    listener: ListenerId,
    native: SocketAddr,
    /// Where they are handed over, unless it listens there itself.
    queue: Option<AcceptQueue>,
}

/// One reactor's thread.
struct Site<'a> {
    config: &'a ServeConfig,
    reactors: &'a Reactors,
    number: usize,
}

impl Site<'_> {
    fn run<I: SystemIo>(
        &self,
        listening: Listening,
        first: Option<(Vec<DataDir>, Vec<mpsc::Sender<Taken>>)>,
        inbox: Option<&mpsc::Receiver<Taken>>,
        tell: &mpsc::Sender<Ready>,
    ) -> Result<(), ServeError> {
        match (first, inbox) {
            (Some((directories, seats)), _) => self.run_first::<I>(listening, &directories, &seats, tell),
            (None, Some(inbox)) => self.run_other::<I>(listening, inbox, tell),
            (None, None) => Ok(()),
        }
    }

    /// The first opens the log, for all.
    fn run_first<I: SystemIo>(
        &self,
        listening: Listening,
        directories: &[DataDir],
        others: &[mpsc::Sender<Taken>],
        tell: &mpsc::Sender<Ready>,
    ) -> Result<(), ServeError> {
        let core = self.pin()?;
        let (mut io, entry) = self.start_io::<I>(listening, directories)?;
        let (seats, recovered) =
            engine::open(&mut io, &self.config.engine, self.config.reactors).map_err(ServeError::Open)?;
        let config = self.config;
        log_recovery(&recovered, config.chooses_segment_bytes.then_some(config.engine.segment_bytes));
        let mut seats = seats.into_iter();
        let seat = seats.next().ok_or(ServeError::Reactor)?;
        for (other, seat) in others.iter().zip(seats) {
            // One that has failed meanwhile ends this one as well.
            let _ = other.send((seat, directories.to_vec()));
        }
        self.serve(core, directories, (io, entry), seat, tell)
    }

    /// The others wait for their seats.
    fn run_other<I: SystemIo>(
        &self,
        listening: Listening,
        inbox: &mpsc::Receiver<Taken>,
        tell: &mpsc::Sender<Ready>,
    ) -> Result<(), ServeError> {
        let core = self.pin()?;
        // The first has failed, and says why.
        let Ok((seat, directories)) = inbox.recv() else { return Ok(()) };
        let (io, entry) = self.start_io::<I>(listening, &directories)?;
        self.serve(core, &directories, (io, entry), seat, tell)
    }

    fn start_io<I: SystemIo>(
        &self,
        (socket, native): Listening,
        directories: &[DataDir],
    ) -> Result<(I, Entry), ServeError> {
        let memory = Memory::share(self.config.engine.memory_bytes / self.config.reactors);
        let buffers = (memory.receive_bytes / RECEIVE_BUFFER_BYTES).next_power_of_two();
        let mut io = I::start(IoConfig {
            pool_bytes: memory.pool_bytes,
            receive_buffers: u16::try_from(buffers).unwrap_or(1 << 15),
            receive_buffer_bytes: RECEIVE_BUFFER_BYTES as u32,
            sockets_max: CONNECTIONS_MAX as u32,
            ..IoConfig::new(directories.to_vec())
        })
        .map_err(ServeError::Io)?;
        let (listener, queue) = match socket {
            Some(socket) => (io.accept_from(socket).map_err(ServeError::Io)?, None),
            None => {
                let (listener, queue) = io.accept_queue();
                (listener, Some(queue))
            }
        };
        Ok((io, Entry { listener, native, queue }))
    }

    fn serve<I: SystemIo>(
        &self,
        core: usize,
        directories: &[DataDir],
        (io, Entry { listener, native, queue }): (I, Entry),
        seat: Seat,
        tell: &mpsc::Sender<Ready>,
    ) -> Result<(), ServeError> {
        let (waker, registered) = (io.waker(), io.buffers_registered());
        let mut reactor = Reactor::take(io, self.config.engine.clone(), seat).map_err(ServeError::Open)?;
        let (durable, number) = (directories.iter().all(DataDir::durable), self.number);
        let own = reactor.directory().0 as usize;
        let directory = &directories[own];
        let (path, file_system) = (directory.path().display(), directory.file_system());
        let io = I::KIND.name();
        tracing::info!(reactor = number, core, io, registered, %path, %file_system, durable, "reactor started");
        if let Some(directory) = directories.iter().find(|directory| !directory.durable()) {
            let (path, file_system) = (directory.path().display(), directory.file_system());
            tracing::warn!(%path, %file_system, "what is acknowledged here is not durable: results are marked");
            reactor.tell_not_durable();
        }
        if I::KIND == IoKind::Threads {
            reactor.tell_threads();
        }
        if let Some(first) = native.port().checked_sub(number as u16) {
            reactor.tell_ports(first);
        }
        if let Some(secret) = &self.config.secret {
            reactor.require(secret.clone());
        }
        if let Some(keys) = &self.config.keys {
            reactor.use_keyring(Arc::clone(&keys.keyring));
        }
        self.reactors.add(waker.clone());
        let handle = reactor.handle(move || waker.wake());
        let _ = tell.send(Ready { number, handle, native, queue });
        let mut listener = Some(listener);
        let mut was_poisoned = false;
        loop {
            if self.reactors.are_ready.load(Ordering::SeqCst)
                && let Some(listener) = listener.take()
            {
                reactor.listen(listener);
            }
            if self.reactors.stop.load(Ordering::SeqCst) {
                reactor.shut_down();
            }
            if self.reactors.has_failed.load(Ordering::SeqCst) {
                reactor.wait_for_no_other();
            }
            if reactor.turn() == Status::Stopped {
                let stats = reactor.stats();
                let (records, batches, refused) = (stats.records, stats.batches, stats.refused);
                tracing::info!(reactor = number, records, batches, refused, "stopped");
                return Ok(());
            }
            if !was_poisoned && reactor.stats().poisoned.is_some() {
                was_poisoned = true;
                tracing::error!(reactor = number, "this reactor refuses appends until a restart");
            }
        }
    }

    /// Pins this thread.
    fn pin(&self) -> Result<usize, ServeError> {
        let available = io::available_cores();
        let core = core_of(&available, self.config.core, self.number);
        if io::pin(core) { Ok(core) } else { Err(ServeError::Core { core, available }) }
    }
}

/// The core of a reactor: the first has the one that is named, by default the first available, the others those that follow
/// it. So cores that are left over are left to clients on the same machine.
pub(crate) fn core_of(available: &[usize], first: Option<usize>, number: usize) -> usize {
    let first = first.or(available.first().copied()).unwrap_or(0);
    let at = available.iter().position(|&core| core == first);
    at.map_or(first, |at| available[(at + number) % available.len()])
}
