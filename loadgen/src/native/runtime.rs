//! Pinned `tokio-uring` runtimes, and whether io_uring is permitted at all.

use std::fs;
use std::future::Future;
use std::io;
use std::str::FromStr;
use std::thread;

use super::NativeError;

/// Entries of each core's ring.
const RING_ENTRIES: u32 = 1024;

/// What the generator's connections run on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Io {
    /// The best that is permitted.
    Auto,
    /// io_uring.
    Ring,
}

impl FromStr for Io {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "ring" => Ok(Self::Ring),
            "epoll" => Err("epoll is not built yet; give ring, or auto where io_uring is permitted".to_owned()),
            other => Err(format!("{other:?} is not a kind of I/O; give auto or ring")),
        }
    }
}

/// Finds out whether io_uring may be used, before anything is started; returns the name for the result.
pub fn check_io(io: Io) -> Result<&'static str, NativeError> {
    match io {
        Io::Auto | Io::Ring => ring().map(|_| "ring"),
    }
}

fn ring() -> Result<tokio_uring::Runtime, NativeError> {
    tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES)).map_err(NativeError::Ring)
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

/// Runs a future on a thread of its own, pinned to `core`, with a ring of its own, and waits for it: the caller's thread,
/// and what it starts later, stay where they are.
///
/// The future must end every operation it began before it returns: the driver frees the buffers of those left.
pub(super) fn run_pinned<F: Future>(core: usize, future: impl FnOnce() -> F + Send) -> Result<F::Output, NativeError>
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
    Ok(ring()?.block_on(future))
}
