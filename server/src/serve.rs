//! `millstream serve`: one reactor on its own pinned thread, the gateway beside it, until a signal asks for a clean shutdown.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::limits::{CONNECTIONS_MAX, Memory, RECEIVE_BUFFER_BYTES};
use engine::{Handle, OpenError, Reactor, Recovered, Status};
use frame::Quotas;
use io::{DataDir, DirError, Ring, RingConfig, RingError, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;
use wire::name::Place;

use crate::config::{ConfigError, LogFormat, ServeArguments, ServeConfig};
use crate::gateway::{self, Gateway};

/// Signals this close together are one request to stop.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// Why the server does not run, or ended.
#[derive(Debug)]
pub enum ServeError {
    /// The settings.
    Config(ConfigError),
    /// The log's filter.
    Log(String),
    /// The data directory, as a directory.
    Directory(DirError),
    /// io_uring.
    Ring(RingError),
    /// The data directory, as a log.
    Open(OpenError),
    /// An address.
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What is wrong with it.
        error: std::io::Error,
    },
    /// The core is not one of this process's.
    Core {
        /// The one asked for.
        core: usize,
        /// Those there are.
        available: Vec<usize>,
    },
    /// Handling signals.
    Signals(std::io::Error),
    /// Starting a thread.
    Thread(std::io::Error),
    /// The reactor's thread ended by a panic, which it has printed.
    Reactor,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Config(error) => error.fmt(f),
            ServeError::Log(error) => {
                write!(f, "--log is not a filter: {error}; write for example info or engine=debug")
            }
            ServeError::Directory(error) => error.fmt(f),
            ServeError::Ring(error) => error.fmt(f),
            ServeError::Open(error) => error.fmt(f),
            ServeError::Listen { setting, address, error } => {
                write!(f, "can't listen on {address}: {error}; choose another address with --{setting} ADDR")
            }
            ServeError::Core { core, available } => {
                write!(f, "core {core} is not available to this process; choose --core out of {available:?}")
            }
            ServeError::Signals(error) => {
                write!(f, "signals can't be handled: {error}; raise the limit on open files (ulimit -n)")
            }
            ServeError::Thread(error) => {
                write!(f, "a thread can't be started: {error}; raise the limit on threads (ulimit -u)")
            }
            ServeError::Reactor => {
                f.write_str("the reactor failed, its last words are above; start the server again, and report them")
            }
        }
    }
}

impl std::error::Error for ServeError {}

/// What a reactor's thread says of it once it accepts connections.
struct Started {
    waker: Waker,
    handle: Handle,
    native: SocketAddr,
}

/// Asks for a clean shutdown: of the gateway, whose requests in progress the reactor still answers, then of the reactor.
struct Stopper {
    gateway: Mutex<Option<Gateway>>,
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    fn stop(&self) {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(gateway) = gateway {
            gateway.stop();
        }
        self.stop_reactor();
    }

    fn stop_reactor(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Runs the server until it is told to stop.
pub fn run(arguments: ServeArguments) -> Result<(), ServeError> {
    let config = arguments.resolve().map_err(ServeError::Config)?;
    start_log(&config)?;
    raise_open_files();
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(ServeError::Signals)?;
    let handle = signals.handle();
    let listen =
        |address| gateway::listen(address).map_err(|error| ServeError::Listen { setting: "http", address, error });
    let http = config.http.map(listen).transpose()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (until_stdin_ends, place, quotas) = (config.until_stdin_ends, config.place.clone(), config.quotas);
    let (started, start) = mpsc::channel();
    let reactor = {
        let stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("reactor-0".to_owned());
        thread.spawn(move || react(&config, &stop, &started)).map_err(ServeError::Thread)?
    };
    let Ok(Started { waker, handle: engine, native }) = start.recv() else {
        return reactor.join().map_err(|_| ServeError::Reactor)?;
    };
    let stopper = Arc::new(Stopper { gateway: Mutex::new(None), stop, waker });
    let address = http.as_ref().map(|(_, address)| *address);
    let opened = open_doors(http, engine, (place, quotas), until_stdin_ends, &stopper);
    if let Err(error) = opened {
        stopper.stop();
        let _ = reactor.join();
        return Err(error);
    }
    announce(native, address);
    let watcher = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || watch_signals(&mut signals, &stopper))
        .map_err(ServeError::Thread)?;
    let outcome = reactor.join();
    handle.close();
    let _ = watcher.join();
    outcome.map_err(|_| ServeError::Reactor)?
}

/// Starts what stands beside the reactor.
fn open_doors(
    http: Option<(TcpListener, SocketAddr)>,
    engine: Handle,
    (place, quotas): (Place, Quotas),
    until_stdin_ends: bool,
    stopper: &Arc<Stopper>,
) -> Result<(), ServeError> {
    if let Some((listener, _)) = http {
        let gateway = Gateway::start(listener, engine, place, quotas).map_err(ServeError::Thread)?;
        *stopper.gateway.lock().unwrap_or_else(PoisonError::into_inner) = Some(gateway);
    }
    if until_stdin_ends {
        stop_at_end_of_stdin(Arc::clone(stopper)).map_err(ServeError::Thread)?;
    }
    Ok(())
}

/// Stops cleanly at the first signal, at once at the second.
fn watch_signals(signals: &mut Signals, stopper: &Arc<Stopper>) {
    let mut first: Option<Instant> = None;
    for signal in signals {
        // One request may arrive twice, from a terminal and from a wrapper.
        if first.is_some_and(|first| first.elapsed() < SAME_REQUEST) {
            continue;
        }
        if first.replace(Instant::now()).is_some() {
            tracing::warn!(signal, "told to stop again; ending at once");
            std::process::exit(130);
        }
        tracing::info!(signal, "shutting down; once more ends at once");
        // On a thread of its own, so that the next signal is heard meanwhile.
        let stopping = Arc::clone(stopper);
        let stop = std::thread::Builder::new().name("stop".to_owned()).spawn(move || stopping.stop());
        if stop.is_err() {
            stopper.stop_reactor();
        }
    }
}

/// Asks for a clean shutdown when standard input ends. The thread is not waited for: it may read until the process ends.
fn stop_at_end_of_stdin(stopper: Arc<Stopper>) -> std::io::Result<()> {
    let watch = move || {
        let mut ignored = [0; 512];
        let mut input = std::io::stdin().lock();
        // An input that fails brings no more than one that has ended.
        while matches!(input.read(&mut ignored), Ok(1..)) {}
        tracing::info!("standard input has ended; shutting down");
        stopper.stop();
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(watch).map(drop)
}

/// Shells start programs with a limit of about a thousand open files, and let them raise it: each connection is one.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit on open files stays low: fewer clients can connect (ulimit -n)");
    }
}

fn start_log(config: &ServeConfig) -> Result<(), ServeError> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| ServeError::Log(error.to_string()))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Plain => subscriber.with_ansi(false).with_target(false).init(),
    }
    Ok(())
}

/// The reactor's thread.
fn react(config: &ServeConfig, stop: &AtomicBool, started: &mpsc::Sender<Started>) -> Result<(), ServeError> {
    let core = pin(config.core)?;
    let directory = DataDir::open(&config.data, config.not_durable).map_err(ServeError::Directory)?;
    let (durable, file_system) = (directory.durable(), directory.file_system());
    let memory = Memory::share(config.engine.memory_bytes);
    let buffers = u16::try_from((memory.receive_bytes / RECEIVE_BUFFER_BYTES).next_power_of_two()).unwrap_or(1 << 15);
    let mut ring = Ring::new(RingConfig {
        pool_bytes: memory.pool_bytes,
        receive_buffers: buffers,
        receive_buffer_bytes: RECEIVE_BUFFER_BYTES as u32,
        sockets_max: CONNECTIONS_MAX as u32,
        ..RingConfig::new(directory)
    })
    .map_err(ServeError::Ring)?;
    let (listener, address) = ring.listen(config.native).map_err(|error| ServeError::Listen {
        setting: "native",
        address: config.native,
        error,
    })?;
    let waker = ring.waker();
    let registered = ring.buffers_registered();
    let (mut reactor, recovered) = Reactor::open(ring, config.engine.clone()).map_err(ServeError::Open)?;
    log_recovery(&recovered);
    tracing::info!(core, %file_system, durable, registered, "io_uring");
    if !durable {
        tracing::warn!(%file_system, "what is acknowledged here is not durable: results are marked");
        reactor.tell_not_durable();
    }
    reactor.listen(listener);
    let handle = reactor.handle({
        let waker = waker.clone();
        move || waker.wake()
    });
    let _ = started.send(Started { waker, handle, native: address });
    loop {
        if stop.load(Ordering::Acquire) {
            reactor.shut_down();
        }
        if reactor.turn() == Status::Stopped {
            let stats = reactor.stats();
            tracing::info!(records = stats.records, batches = stats.batches, refused = stats.refused, "stopped");
            return Ok(());
        }
    }
}

/// Pins this thread, by default to the first core, which leaves the others to clients on the same machine.
fn pin(core: Option<usize>) -> Result<usize, ServeError> {
    let available = io::available_cores();
    let core = core.or(available.first().copied()).unwrap_or(0);
    if io::pin(core) { Ok(core) } else { Err(ServeError::Core { core, available }) }
}

/// The one line on standard output that says where to connect.
fn announce(native: SocketAddr, http: Option<SocketAddr>) {
    let http = http.map(|address| format!(" http={address}")).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "ready native={native}{http}").and_then(|()| out.flush());
}

fn log_recovery(recovered: &Recovered) {
    let Recovered { epoch, fresh, clean, segments, scanned_bytes, elapsed_ns, .. } = recovered;
    let elapsed_ms = elapsed_ns / 1_000_000;
    tracing::info!(epoch = epoch.0, fresh, clean, segments, scanned_bytes, elapsed_ms, "data directory open");
    for cut in &recovered.cuts {
        let copy = cut.copy.as_deref().unwrap_or("none, for want of space");
        tracing::warn!(
            journal = cut.journal.0, from = %cut.from, copy, bytes = cut.bytes, skipped = recovered.skipped,
            "the last life ended in the middle of writes that were never acknowledged: they are cut"
        );
    }
    for file in &recovered.remade_headers {
        tracing::error!(
            file,
            "the header of this segment was damaged and is written again; its records are readable: check the disk"
        );
    }
    for stretch in &recovered.damage.stretches {
        tracing::error!(
            from = %stretch.from, to = %stretch.to,
            "durable records are damaged and refused to readers; the rest is readable: check the disk"
        );
    }
    for records in &recovered.damage.records {
        tracing::error!(shard = %records.shard, from = %records.from, to = %records.to, "damaged records");
    }
}
