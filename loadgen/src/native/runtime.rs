//! Pinned `tokio-uring` runtimes, and whether io_uring is permitted at all.

use std::future::Future;
use std::str::FromStr;

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

/// Pins this thread to `core` and runs `future` on a ring of its own.
///
/// The future must end every operation it began before it returns: the driver frees the buffers of those left.
pub(super) fn run_pinned<F: Future>(core: usize, future: F) -> Result<F::Output, NativeError> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Err(NativeError::Core { core });
    }
    Ok(ring()?.block_on(future))
}
