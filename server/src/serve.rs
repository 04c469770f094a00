//! `millstream serve`: reactors, each on a pinned thread of its own, the gateway beside them, until a signal asks for a clean
//! shutdown. Where one of them ends otherwise, the others end cleanly too.
//!
//! ```text
//!   reactor 0: opens the data directory, takes the first seat -- a seat each --> reactors 1 ..
//! ```

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use engine::encryption::Keyring;
use engine::{Handle, OpenError, Recovered};
use frame::ShardId;
use io::{DataDir, DirError, IoError, RingError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use wire::name::Place;

use crate::admin::{Admin, Watched};
use crate::config::{ConfigError, LogFormat, ServeArguments, ServeConfig, TlsConfig};
use crate::credentials::CredentialsFile;
use crate::door;
use crate::gateway::{Access, Gateway, Terms};
use crate::native_tls::{NativeDoor, NativeTls};
use crate::reactors::{Reactors, Running, Started};
use crate::tls::{Security, Source, Tls, TlsError};

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
    /// One that is named before.
    SameDirectory {
        /// By what name.
        path: PathBuf,
        /// And by what before.
        before: PathBuf,
    },
    /// What files and connections are reached by.
    Io(IoError),
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
    /// Certificate and key.
    Tls(TlsError),
    /// Starting a thread.
    Thread(std::io::Error),
    /// A reactor's thread ended by a panic, which it has printed.
    Reactor,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Config(error) => error.fmt(f),
            ServeError::Log(error) => {
                write!(
                    f,
                    "--log is not a filter: {error}; write error, warn, info, debug or trace, or such as info,engine=debug"
                )
            }
            ServeError::Directory(error) => error.fmt(f),
            ServeError::SameDirectory { path, before } => {
                write!(f, "data directories {} and {} are the same; name each once", before.display(), path.display())
            }
            ServeError::Io(IoError::Ring(error)) if error.is_lasting() => {
                write!(f, "{error}, or do without it (--io threads)")
            }
            ServeError::Io(error) => error.fmt(f),
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
            ServeError::Tls(error) => error.fmt(f),
            ServeError::Thread(error) => {
                write!(f, "a thread can't be started: {error}; raise the limit on threads (ulimit -u)")
            }
            ServeError::Reactor => {
                f.write_str("a reactor failed, its last words are above; start the server again, and report them")
            }
        }
    }
}

impl std::error::Error for ServeError {}

/// What was opened beside the reactors.
#[derive(Default)]
struct Opened {
    gateway: Option<Gateway>,
    /// Passes on what reactors say over TLS, to their end.
    native_tls: Option<NativeTls>,
    admin: Option<Admin>,
    /// It is over, for what is still to be opened too.
    is_stopped: bool,
}

/// Asks for a clean shutdown: of the gateway, whose requests in progress the reactors still answer, then of the reactors. Who
/// watches sees it to the end.
struct Stopper {
    opened: Mutex<Opened>,
    reactors: Arc<Reactors>,
}

impl Stopper {
    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let gateway = {
            let mut opened = self.opened();
            opened.is_stopped = true;
            opened.gateway.take()
        };
        if let Some(gateway) = gateway {
            gateway.stop();
        }
        self.reactors.stop();
        let admin = self.opened().admin.take();
        if let Some(admin) = admin {
            admin.stop();
        }
    }
}

/// Runs the server until it is told to stop.
pub fn run(arguments: ServeArguments) -> Result<(), ServeError> {
    let started = Instant::now();
    let mut config = arguments.resolve().map_err(ServeError::Config)?;
    start_log(&config)?;
    config.engine.files_max = raise_open_files();
    io::keep_free_memory();
    let mut signals = Signals::new(signals_to_stop()).map_err(ServeError::Signals)?;
    let handle = signals.handle();
    let doors = Doors {
        tls: config.tls.clone(),
        until_stdin_ends: config.until_stdin_ends,
        place: config.place.clone(),
        credentials: config.credentials.clone(),
        keyring: config.keys.as_ref().map(|keys| Arc::clone(&keys.keyring)),
        terms: Terms {
            quotas: config.quotas,
            api_rates: config.api_rates.clone(),
            limits: config.api_limits.clone(),
            past_damage: config.past_damage,
        },
        directories: config.data.clone(),
        memory_bytes: config.engine.memory_bytes,
        gateway_threads: config.gateway_threads,
        started,
    };
    let (kind, refused) = config.io.settle();
    if let Some(reason) = refused {
        log_threads(&reason);
    }
    if let Some(keys) = &config.keys {
        keys.watch().map_err(ServeError::Thread)?;
    }
    let stopping: Arc<OnceLock<Arc<Stopper>>> = Arc::default();
    let told = Arc::clone(&stopping);
    let watcher = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || watch_signals(&mut signals, &told))
        .map_err(ServeError::Thread)?;
    // A process that was killed keeps its ports as long as the lock on its data: that is waited for first.
    let directories = lock(&config)?;
    let listen =
        |setting, address| door::listen(address).map_err(|error| ServeError::Listen { setting, address, error });
    let http = config.http.map(|address| listen("http", address)).transpose()?;
    let admin = config.admin.map(|address| listen("admin", address)).transpose()?;
    let (running, started) = Running::start(config, kind, directories)?;
    let Some(Started { handle: engine, native, doors: native_doors }) = started else { return running.join() };
    let stopper = Arc::new(Stopper { opened: Mutex::default(), reactors: running.reactors() });
    let _ = stopping.set(Arc::clone(&stopper));
    // Whoever is heard from here on is answered before a stop.
    stopper.reactors.open();
    let address = |door: &Option<(TcpListener, SocketAddr)>| door.as_ref().map(|(_, address)| *address);
    let addresses = [("http", address(&http)), ("admin", address(&admin))];
    let listeners = [http, admin].map(|door| door.map(|(listener, _)| listener));
    let certificate = match doors.open(listeners, native_doors, engine, &stopper) {
        Ok(certificate) => certificate,
        Err(error) => {
            stopper.stop();
            let _ = running.join();
            return Err(error);
        }
    };
    if stopper.opened().is_stopped {
        stopper.stop();
    }
    announce(&native, &addresses, certificate.as_deref());
    let outcome = running.join();
    let native_tls = stopper.opened().native_tls.take();
    if let Some(door) = native_tls {
        door.stop();
    }
    handle.close();
    let _ = watcher.join();
    outcome
}

/// Opens the data directories as such, and so locks them.
fn lock(config: &ServeConfig) -> Result<Vec<DataDir>, ServeError> {
    let mut opened = Vec::with_capacity(config.data.len());
    for path in &config.data {
        if let Some(before) = config.data[..opened.len()].iter().find(|before| is_same(before, path)) {
            return Err(ServeError::SameDirectory { path: path.clone(), before: before.clone() });
        }
        opened.push(DataDir::open(path, config.not_durable).map_err(ServeError::Directory)?);
    }
    Ok(opened)
}

/// Whether both are there, and one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    place(one).is_some_and(|found| place(other) == Some(found))
}

/// What stands beside the reactors, and what it needs to know.
struct Doors {
    tls: Option<TlsConfig>,
    until_stdin_ends: bool,
    place: Place,
    credentials: Option<CredentialsFile>,
    keyring: Option<Arc<Keyring>>,
    terms: Terms,
    directories: Vec<PathBuf>,
    memory_bytes: usize,
    /// Of the gateway, and as many of the native port where there is TLS.
    gateway_threads: usize,
    started: Instant,
}

impl Doors {
    /// Starts it. What comes back is the certificate, if the server made it: clients have to be given it.
    fn open(
        self,
        [http, admin]: [Option<TcpListener>; 2],
        native: Vec<NativeDoor>,
        engine: Handle,
        stopper: &Arc<Stopper>,
    ) -> Result<Option<PathBuf>, ServeError> {
        let Doors {
            tls: config,
            until_stdin_ends,
            place,
            credentials,
            keyring,
            terms,
            directories,
            memory_bytes,
            gateway_threads: threads,
            started,
        } = self;
        let start = |config: &TlsConfig| Tls::start(config.source.clone(), &directories).map_err(ServeError::Tls);
        let tls = config.as_ref().map(start).transpose()?;
        let security = |plaintext: fn(&TlsConfig) -> bool| {
            let (tls, config) = (tls.clone()?, config.as_ref()?);
            Some(Security { tls, plaintext: plaintext(config) })
        };
        let for_http = security(|config| config.http_plaintext);
        let access = Access::new(place, credentials);
        let start = |door| {
            Gateway::start((door, for_http, threads), engine.clone(), access, keyring, terms, &directories)
                .map_err(ServeError::Thread)
        };
        let gateway = http.map(start).transpose()?;
        let figures = gateway.as_ref().map(Gateway::figures);
        stopper.opened().gateway = gateway;
        if let Some(security) = security(|config| config.native_plaintext) {
            let doors = NativeTls::start((native, threads), security).map_err(ServeError::Thread)?;
            stopper.opened().native_tls = Some(doors);
        }
        let watched = Watched { handle: engine, figures, directories, memory_bytes, started };
        let admin = admin.map(|door| Admin::start(door, watched).map_err(ServeError::Thread)).transpose()?;
        stopper.opened().admin = admin;
        if until_stdin_ends {
            stop_at_end_of_stdin(Arc::clone(stopper)).map_err(ServeError::Thread)?;
        }
        let is_own = config.is_some_and(|config| config.source == Source::SelfSigned);
        Ok(tls.filter(|_| is_own).map(|tls| tls.certificate().to_owned()))
    }
}

/// Those that ask for the end: of a terminal too, unless whoever started this wants it to outlive that, as `nohup` does.
fn signals_to_stop() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let outlives_terminal = ignored & 1 << (SIGHUP - 1) != 0;
    [SIGINT, SIGTERM].into_iter().chain((!outlives_terminal).then_some(SIGHUP)).collect()
}

/// Stops cleanly at the first signal, at once at the second.
fn watch_signals(signals: &mut Signals, stopper: &OnceLock<Arc<Stopper>>) {
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
        let Some(stopper) = stopper.get() else {
            tracing::info!(signal, "told to stop before all was open; nothing is lost");
            std::process::exit(128 + signal);
        };
        tracing::info!(signal, "shutting down; once more ends at once");
        // On a thread of its own, so that the next signal is heard meanwhile.
        let stopping = Arc::clone(stopper);
        let stop = std::thread::Builder::new().name("stop".to_owned()).spawn(move || stopping.stop());
        if stop.is_err() {
            stopper.reactors.stop();
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

/// Shells start programs with a limit of about a thousand open files, and let them raise it: each connection is one, and each segment.
/// Tells how many there may be.
fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit on open files stays low: fewer clients can connect (ulimit -n)");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// A word alone is a level. The library takes any other for a module, and where there is none by that name nothing is logged.
fn log_filter(text: &str) -> Result<EnvFilter, ServeError> {
    let unknown = |word: &&str| !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err();
    if let Some(word) = text.split(',').map(str::trim).find(unknown) {
        return Err(ServeError::Log(format!("{word:?} is not a level, and of a module one is to be told")));
    }
    EnvFilter::try_new(text).map_err(|error| ServeError::Log(error.to_string()))
}

fn start_log(config: &ServeConfig) -> Result<(), ServeError> {
    let subscriber = tracing_subscriber::fmt().with_env_filter(log_filter(&config.log)?).with_writer(std::io::stderr);
    // A log that takes no more lines, as on a full disk, is no reason to end.
    let subscriber = subscriber.log_internal_errors(false);
    match config.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Plain => subscriber.with_ansi(false).with_target(false).init(),
    }
    Ok(())
}

/// The one line on standard output that says where to connect: `native` is the first reactor's address; with several, those
/// of all follow the other doors; a certificate that clients have to be given is last.
fn announce(native: &[SocketAddr], doors: &[(&str, Option<SocketAddr>)], certificate: Option<&Path>) {
    let mut line = format!("ready native={}", native[0]);
    for (door, address) in doors {
        line += &address.map_or_else(String::new, |address| format!(" {door}={address}"));
    }
    if native.len() > 1 {
        let all: Vec<String> = native.iter().map(SocketAddr::to_string).collect();
        line += &format!(" reactors={}", all.join(","));
    }
    line += &certificate.map_or_else(String::new, |path| format!(" certificate={}", path.display()));
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn log_threads(reason: &RingError) {
    tracing::warn!(%reason, "io_uring is not to be had here: plain threads do its work, which is slower");
}

pub(crate) fn log_recovery(recovered: &Recovered, asked_segment_bytes: Option<u32>) {
    let Recovered { epoch, fresh, clean, segments, segment_bytes, scanned_bytes, elapsed_ns, .. } = recovered;
    let elapsed_ms = elapsed_ns / 1_000_000;
    tracing::info!(
        epoch = epoch.0,
        fresh,
        clean,
        segments,
        segment_bytes,
        scanned_bytes,
        elapsed_ms,
        "data directory open"
    );
    if let Some(asked) = asked_segment_bytes.filter(|asked| asked != segment_bytes) {
        tracing::warn!(asked, segment_bytes, "the log has segments of another length already, and goes on with that");
    }
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
    if let Some(by_ms) = recovered.clock_differs_ms {
        tracing::error!(
            by_s = by_ms / 1000,
            "the wall clock is far from what it should be by the time that has passed: nothing expires until it agrees; \
             set it right, or start with --accept-clock if it is"
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
    if recovered.damage.records.iter().any(|records| records.shard == ShardId::CATALOG) {
        tracing::error!(
            "commands of the catalog are among them: streams may be missing, or be as they were set before, so that records of \
             one that was encrypted may be stored plainly; set anew what differs from what you set"
        );
    }
}
