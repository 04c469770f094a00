//! Pinned runtimes, `tokio-uring` where io_uring is permitted and plain tokio where it is not.

use std::fs;
use std::future::Future;
use std::io;
use std::str::FromStr;
use std::sync::OnceLock;
use std::thread;

use super::NativeError;

/// Entries of each core's ring.
const RING_ENTRIES: u32 = 1024;

/// What the generator's connections are to run on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Io {
    /// The ring, or epoll where it is not permitted.
    Auto,
    /// This and no other.
    Only(Kind),
}

/// What they run on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// io_uring.
    Ring,
    /// Plain tokio, on epoll.
    Epoll,
}

impl Kind {
    /// The name for the result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Epoll => "epoll",
        }
    }
}

impl FromStr for Io {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "ring" => Ok(Self::Only(Kind::Ring)),
            "epoll" => Ok(Self::Only(Kind::Epoll)),
            other => Err(format!("{other:?} is not a kind of I/O; give auto, ring or epoll")),
        }
    }
}

/// One for the whole process, settled before its first connection.
static SETTLED: OnceLock<Kind> = OnceLock::new();

/// What this process's connections run on: the ring, unless it was settled otherwise.
pub(super) fn kind() -> Kind {
    *SETTLED.get_or_init(|| Kind::Ring)
}

/// Finds out whether io_uring may be used, before anything is started: tokio-uring panics where it may not. Where epoll is
/// taken instead, the reason comes along, with what to change. The first answer holds for the process.
pub fn settle_io(io: Io) -> Result<(Kind, Option<String>), NativeError> {
    let (kind, reason) = match (io, ring()) {
        (Io::Only(Kind::Epoll), _) => (Kind::Epoll, None),
        (_, Ok(_)) => (Kind::Ring, None),
        (Io::Auto, Err(NativeError::Ring(error))) if is_refused(&error) => (Kind::Epoll, Some(why_refused(&error))),
        (_, Err(error)) => return Err(error),
    };
    Ok((*SETTLED.get_or_init(|| kind), reason))
}

fn ring() -> Result<tokio_uring::Runtime, NativeError> {
    tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES)).map_err(NativeError::Ring)
}

/// Whether it is a matter of what is permitted, and not of something that has run out.
fn is_refused(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS))
}

/// Why there is no ring, in one line with what to change, by what the kernel answered and says about itself.
pub(super) fn why_refused(error: &io::Error) -> String {
    use rustix::io::Errno;
    let switch = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let filtered = status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"));
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) if !matches!(switch.trim(), "" | "0") => format!(
            "io_uring: the system refuses it (kernel.io_uring_disabled is {}); set it with sysctl kernel.io_uring_disabled=0",
            switch.trim()
        ),
        Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS) if filtered => "io_uring: a seccomp filter refuses it, as \
             container runtimes do by default; allow io_uring_setup, io_uring_enter and io_uring_register in the profile \
             (--security-opt seccomp=PROFILE)"
            .to_owned(),
        Some(Errno::NOSYS) => "io_uring: this kernel does not have it; use Linux 5.11 or newer, built with it".to_owned(),
        Some(Errno::NOMEM) => "io_uring: not enough memory may be locked; raise that limit (ulimit -l)".to_owned(),
        Some(Errno::MFILE | Errno::NFILE) => "io_uring: no file descriptor is left; raise the limit (ulimit -n)".to_owned(),
        _ => format!("io_uring: it can't be set up ({error}); look for a security module that refuses it"),
    }
}

/// Runs a future on a thread of its own, pinned to `core`, with a runtime of its own, and waits for it: the caller's thread,
/// and what it starts later, stay where they are.
///
/// The future must end every operation it began before it returns: the driver frees the buffers of those left.
pub(crate) fn run_pinned<F: Future>(core: usize, future: impl FnOnce() -> F + Send) -> Result<F::Output, NativeError>
where
    F::Output: Send,
{
    thread::scope(|scope| {
        let run = || run_here(core, future());
        let thread = thread::Builder::new().name(format!("load-{core}")).spawn_scoped(scope, run);
        thread.map_err(NativeError::Thread)?.join().expect("a core's thread does not panic")
    })
}

/// The same on this thread, which stays pinned.
pub(super) fn run_here<F: Future>(core: usize, future: F) -> Result<F::Output, NativeError> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Err(NativeError::Core { core });
    }
    match kind() {
        Kind::Ring => Ok(ring()?.block_on(future)),
        Kind::Epoll => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            Ok(tokio::task::LocalSet::new().block_on(&runtime.map_err(NativeError::Thread)?, future))
        }
    }
}
