//! `millstream doctor`: whether a server can run on this machine and directory, how fast its disk is, and what to change.
//!
//! It measures in a directory of its own inside the one named, removed afterwards, so that a server may run beside it.

mod measure;
mod placement;
mod scheduler;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use devices::{Cores, Device, Interrupts, Network, WriteCache};
use engine::limits::{CONNECTIONS_MAX, Memory};
use io::{DataDir, IoKind, Probe, Ring, Threads, available_cores, probe};
use rustix::process::{Resource, getrlimit};

use crate::config::{Bytes, ConfigError, Reactors, usable_cores};
use crate::connect::Output;
use crate::{gateway, native_tls};
use measure::{Measured, measure};
use placement::{Placed, Seats};

/// File descriptors beside those of connections: segments, the ring, signals.
const FILES_BESIDE: u64 = 1024;

/// A median durable write slower than this is worth a word.
const SLOW_NS: u64 = 5_000_000;

/// Arguments of `millstream doctor`.
#[derive(Args, Debug)]
pub struct DoctorArguments {
    /// The data directory, or where one shall be made; given more than once each is looked at, as for `serve`
    #[arg(long, env = "MILLSTREAM_DATA", value_name = "DIR", value_delimiter = ':', default_value = ".")]
    data: Vec<PathBuf>,
    /// Bytes of a segment file, as for `serve` [default: 256MiB]
    #[arg(long, env = "MILLSTREAM_SEGMENT_BYTES", value_name = "BYTES")]
    segment_bytes: Option<Bytes>,
    /// How many reactors there would be, as for `serve` [default: 1]
    #[arg(long, env = "MILLSTREAM_REACTORS", value_name = "N")]
    reactors: Option<Reactors>,
    /// The core that the first reactor would be pinned to, as for `serve` [default: the first one available]
    #[arg(long, env = "MILLSTREAM_CORE", value_name = "N")]
    core: Option<usize>,
}

impl DoctorArguments {
    fn seats(&self) -> Result<Seats, ConfigError> {
        let wanted = self.reactors.unwrap_or(Reactors::Count(1));
        let memory_bytes = match wanted {
            Reactors::Auto => engine::Config::default().memory_bytes,
            // Whether memory has room for them is for `serve` to say, which knows how much there is.
            Reactors::Count(_) => usize::MAX,
        };
        let reactors = wanted.count(usable_cores(), memory_bytes)?;
        let available = available_cores();
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
        let online = online.and_then(|text| Cores::parse(&text)).unwrap_or(available.iter().copied().collect());
        Ok(Seats { available, online, reactors, first: self.core })
    }
}

/// Why the examination could not be told.
#[derive(Debug)]
pub enum DoctorError {
    /// An argument is none that `serve` would take.
    Config(ConfigError),
    /// Standard output takes no more.
    Output(std::io::Error),
}

impl fmt::Display for DoctorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoctorError::Config(error) => error.fmt(f),
            DoctorError::Output(error) => {
                write!(f, "standard output can't be written to: {error}; send it to another place")
            }
        }
    }
}

impl std::error::Error for DoctorError {}

/// How well something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    Good,
    /// A server runs; something could be better.
    Fair,
    /// Nothing can be known of it here.
    Untold,
    /// No server runs.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    health: Health,
    what: &'static str,
    text: String,
    /// What to change.
    advice: Option<String>,
}

impl Finding {
    fn good(what: &'static str, text: String) -> Finding {
        Finding { health: Health::Good, what, text, advice: None }
    }

    fn fair(what: &'static str, text: String, advice: &str) -> Finding {
        Finding { health: Health::Fair, what, text, advice: Some(advice.to_owned()) }
    }

    fn untold(what: &'static str, text: String) -> Finding {
        Finding { health: Health::Untold, what, text, advice: None }
    }

    fn bad(what: &'static str, text: String) -> Finding {
        Finding { health: Health::Bad, what, text, advice: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.health {
            Health::Good => "ok",
            Health::Fair => "fair",
            Health::Untold => "?",
            Health::Bad => "BAD",
        };
        write!(f, "{mark:4} {:14} {}", self.what, self.text)?;
        match &self.advice {
            Some(advice) => write!(f, "\n     {:14} -> {advice}", ""),
            None => Ok(()),
        }
    }
}

/// Prints what was found; the exit status says whether a server can run.
///
/// # Errors
/// An argument is wrong, or nobody can be told.
pub fn run(arguments: DoctorArguments) -> Result<ExitCode, DoctorError> {
    let probe = probe();
    let seats = arguments.seats().map_err(DoctorError::Config)?;
    let mut findings = vec![ring(&probe), cores(&seats), open_files(seats.reactors)];
    let usual = engine::Config::default();
    let segment_bytes = arguments.segment_bytes.map_or(u64::from(usual.segment_bytes), |bytes| bytes.0);
    let several = arguments.data.len() > 1;
    for data in &arguments.data {
        let place = nearest(data);
        let device = Device::of(&place);
        let mut found = vec![cache(device.as_ref())];
        found.extend(device.iter().flat_map(|device| &device.disks).map(scheduler::finding));
        found.extend(interrupts(device.as_ref(), &seats));
        // Each reactor's journal has segments of its own, and they are spread over the directories.
        let journals = seats.reactors.div_ceil(arguments.data.len()) as u64;
        found.push(space(&place, data, segment_bytes, (journals, usual.segments_ready as u64)));
        found.extend(disk(&place, &probe));
        if several {
            found.iter_mut().for_each(|finding| finding.text.insert_str(0, &format!("{}: ", data.display())));
        }
        findings.append(&mut found);
    }
    let can_run = findings.iter().all(|finding| finding.health != Health::Bad);
    let mut output = Output::new();
    let write = |out: &mut dyn std::io::Write| {
        findings.iter().try_for_each(|finding| writeln!(out, "{finding}"))?;
        let verdict = if can_run { "A server can run here." } else { "A server can't run here: see what is BAD." };
        writeln!(out, "{verdict}")
    };
    output.write(write).and_then(|()| output.flush()).map_err(DoctorError::Output)?;
    Ok(if can_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The directory itself, or the first above it that is there.
fn nearest(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|ancestor| !ancestor.as_os_str().is_empty() && ancestor.exists());
    there.unwrap_or(Path::new(".")).to_owned()
}

fn ring(probe: &Probe) -> Finding {
    let text = match probe.refused {
        // Its words end with what to change.
        Some(_) => probe.to_string(),
        None => format!("{probe}; --io auto takes it"),
    };
    match (probe.kind(), &probe.refused) {
        (IoKind::Threads, _) => {
            Finding::fair("io_uring", text, "as it is, --io auto takes plain threads: a server runs, and is slower")
        }
        (IoKind::Ring, Some(_)) => Finding::bad("io_uring", text),
        (IoKind::Ring, None) if probe.features.contains(&"DEFER_TASKRUN") => Finding::good("io_uring", text),
        (IoKind::Ring, None) => Finding::fair("io_uring", text, "Linux 6.1 or newer takes less CPU for the same work"),
    }
}

fn cores(seats: &Seats) -> Finding {
    let Seats { available: cores, first, .. } = seats;
    let text = format!("{} available to this process: {cores:?}", cores.len());
    if let Some(core) = first.filter(|core| !cores.contains(core)) {
        return Finding::bad("cores", format!("{text}, and not {core}; name one of these with --core"));
    }
    if cores.len() > 1 {
        return Finding::good("cores", text);
    }
    Finding::fair("cores", text, "with one core the server shares it with its clients; give the process two or more")
}

/// What connections to so many reactors and over HTTP may take where there is TLS: one each, as many more of whom it is not known
/// yet what they speak, and for one over TLS the pair of sockets by which it is passed on, of which the reactor counts one end.
fn descriptors(reactors: u64) -> u64 {
    let of_reactors = reactors * (CONNECTIONS_MAX + native_tls::BEGINNING_MAX) as u64;
    of_reactors + 2 * native_tls::CONNECTIONS_MAX as u64 + gateway::CONNECTIONS_MAX as u64
}

fn open_files(reactors: usize) -> Finding {
    let wanted = FILES_BESIDE + descriptors(reactors as u64);
    // The server raises its own limit as far as it may.
    let limit = getrlimit(Resource::Nofile).maximum;
    match limit {
        Some(files) if files < wanted => {
            let text = format!("at most {files}, which is less than the {wanted} that all connections need with TLS");
            Finding::fair("open files", text, "raise it where many clients connect (ulimit -Hn, LimitNOFILE=)")
        }
        Some(files) => Finding::good("open files", format!("at most {files}")),
        None => Finding::good("open files", "any number".to_owned()),
    }
}

/// Of the disks, and of the network.
fn interrupts(device: Option<&Device>, seats: &Seats) -> Vec<Finding> {
    let all = match Interrupts::read(Path::new("/proc")) {
        Ok(all) => all,
        Err(error) => {
            return vec![Finding::untold("interrupts", format!("/proc/interrupts can't be read: {error}"))];
        }
    };
    let disks = device.map_or(&[][..], |device| &device.disks);
    let mut placed: Vec<Placed> = disks.iter().map(|disk| Placed::disk(disk, &all)).collect();
    placed.extend(Network::all(Path::new("/sys")).iter().map(|network| Placed::network(network, &all)));
    placement::findings(&placed, seats)
}

fn cache(device: Option<&Device>) -> Finding {
    let Some(device) = device else {
        let advice = "whether its flushes are honest is for whoever runs the file system to know";
        return Finding::fair("device", "the disk below the file system is not told".to_owned(), advice);
    };
    let name = device.describe();
    match device.write_cache {
        WriteCache::Back => {
            let text = format!("{name}, with a volatile write cache: every commit costs a flush");
            Finding::good("device", text)
        }
        WriteCache::Through => {
            let text = format!("{name}, says that it has no volatile write cache: a commit costs no flush");
            let advice = "if the disk is virtual, see that its host does not cache writes either";
            Finding::fair("device", text, advice)
        }
        WriteCache::Unknown => Finding::good("device", format!("{name}, write cache not told")),
    }
}

/// Whether there is room for the segments that a server makes when it starts, one a journal at least where there is no log yet.
fn space(place: &Path, data: &Path, segment_bytes: u64, (journals, segments_ready): (u64, u64)) -> Finding {
    let free = match rustix::fs::statvfs(place) {
        Ok(system) => system.f_bavail * system.f_frsize,
        Err(error) => return Finding::untold("space", format!("how much is free can't be told: {error}")),
    };
    let text = format!("{} MiB free, a segment takes {}", free >> 20, Bytes(segment_bytes));
    let is_new = !data.join("superblock").exists();
    let least = segment_bytes.saturating_mul(journals);
    if is_new && free < least {
        return Finding::bad("space", format!("{text}: free space, or make segments smaller with --segment-bytes"));
    }
    if free < least.saturating_mul(segments_ready + 1) {
        return Finding::fair("space", text, "appends are refused once it is full: free space, or let streams expire");
    }
    Finding::good("space", text)
}

/// The file system, locked memory and the disk's latency, as far as they can be had.
fn disk(place: &Path, probe: &Probe) -> Vec<Finding> {
    let scratch = match tempfile::Builder::new().prefix("millstream-doctor-").tempdir_in(place) {
        Ok(scratch) => scratch,
        Err(error) => {
            let text = format!("nothing can be made in {}: {error}; name another one with --data", place.display());
            return vec![Finding::bad("directory", text)];
        }
    };
    let directory = match DataDir::open(scratch.path(), false) {
        Ok(directory) => directory,
        Err(error) => {
            // Its own words name the scratch directory, which the reader has not asked about.
            let text = error.to_string().replace(&scratch.path().display().to_string(), &place.display().to_string());
            return vec![Finding::bad("directory", text)];
        }
    };
    let mut findings = vec![alignment(place, &directory)];
    let pool_bytes = Memory::share(engine::Config::default().memory_bytes).pool_bytes;
    let measured = match probe.kind() {
        // Why is told already.
        IoKind::Ring if probe.refused.is_some() => return findings,
        IoKind::Ring => measure::<Ring>(directory, pool_bytes),
        IoKind::Threads => measure::<Threads>(directory, pool_bytes),
    };
    match measured {
        Ok(measured) => {
            if probe.kind() == IoKind::Ring {
                findings.push(locked(probe, measured.registered, pool_bytes));
            }
            findings.push(latency(&measured));
        }
        Err(error) => findings.push(Finding::bad("disk", error.to_string())),
    }
    findings
}

fn alignment(place: &Path, directory: &DataDir) -> Finding {
    let (place, file_system) = (place.display(), directory.file_system());
    match directory.alignment() {
        Some(alignment) => {
            let (memory, offset) = (alignment.memory_bytes, alignment.offset_bytes);
            let text = format!(
                "{place} is on {file_system}, direct access aligned to {memory} in memory and {offset} in files"
            );
            Finding::good("directory", text)
        }
        None => Finding::bad("directory", format!("{place} is on {file_system}, which refuses direct access")),
    }
}

fn locked(probe: &Probe, registered: bool, pool_bytes: usize) -> Finding {
    let limit = probe.locked_memory_bytes.map_or("any amount".to_owned(), |bytes| format!("{} at most", Bytes(bytes)));
    let pool = Bytes(pool_bytes as u64);
    if registered {
        return Finding::good("locked memory", format!("{limit}; the server's pool of {pool} was registered"));
    }
    let text = format!("{limit}; the server's pool of {pool} can't be registered, each write pins its own memory");
    Finding::fair("locked memory", text, "raise the limit to save CPU (ulimit -l, LimitMEMLOCK=)")
}

fn latency(Measured { plain, flush, durable, .. }: &Measured) -> Finding {
    let text = format!("4 KiB written: {plain}; flushed after that: {flush}; both at once: {durable}");
    if durable.p50_ns > SLOW_NS {
        let advice = "every commit waits for this; a local flash disk takes well under a millisecond";
        return Finding::fair("latency", text, advice);
    }
    Finding::good("latency", text)
}
