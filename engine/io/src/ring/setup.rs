//! Making a ring, and finding out what the kernel has for it.

use std::fmt;
use std::io;

use io_uring::{IoUring, Parameters, opcode};

use super::error::RingError;
use super::{COMPLETIONS, SUBMISSIONS};
use crate::IoKind;

/// Kernels from here on have what a ring needs: multishot receive and a single issuer.
pub(super) const KERNEL_MIN: &str = "6.0";

const OPERATIONS: [(&str, u8); 10] = [
    ("READ", opcode::Read::CODE),
    ("WRITE", opcode::Write::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
    ("ACCEPT", opcode::AcceptMulti::CODE),
    ("RECV", opcode::RecvMulti::CODE),
    ("SEND", opcode::Send::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel2::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
];

/// A ring of this thread's, and whether it leaves all work to its turns (DEFER_TASKRUN, from Linux 6.1).
pub(super) struct Made {
    pub(super) ring: IoUring,
    pub(super) deferred: bool,
}

/// Makes a ring that belongs to the calling thread.
pub(super) fn make(submissions: u32, completions: u32) -> Result<Made, RingError> {
    let made = match build(submissions, completions, true) {
        Ok(ring) => Made { ring, deferred: true },
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let ring = build(submissions, completions, false).map_err(RingError::of_setup)?;
            Made { ring, deferred: false }
        }
        Err(error) => return Err(RingError::of_setup(error)),
    };
    let missing = missing(&made.ring)?;
    if missing.is_empty() { Ok(made) } else { Err(RingError::Missing { operations: missing, kernel: kernel() }) }
}

fn build(submissions: u32, completions: u32, deferred: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    if deferred {
        builder.setup_defer_taskrun();
    }
    builder.setup_cqsize(completions).setup_clamp().dontfork().build(submissions)
}

fn missing(ring: &IoUring) -> Result<Vec<&'static str>, RingError> {
    let mut probe = io_uring::Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|source| RingError::Failed { step: "asking for its operations", source })?;
    let missing = OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code));
    Ok(missing.map(|(name, _)| *name).collect())
}

/// The release of the running kernel.
pub(super) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// What the running kernel offers, for people to read.
#[derive(Debug)]
pub struct Probe {
    /// Its release.
    pub kernel: String,
    /// Names of what a ring uses and the kernel has.
    pub features: Vec<&'static str>,
    /// Names of operations that a ring needs and the kernel lacks.
    pub missing: Vec<&'static str>,
    /// Bytes that this process may lock, `None` if any number. Below the size of the pool writes pin their memory one by one.
    pub locked_memory_bytes: Option<u64>,
    /// Why there can be no ring.
    pub refused: Option<RingError>,
}

impl Probe {
    /// What does best here: the ring, or threads where it is refused for good. Where something has run out threads would be no
    /// way around it: starting the ring will tell.
    pub fn kind(&self) -> IoKind {
        match &self.refused {
            Some(refused) if refused.is_lasting() => IoKind::Threads,
            _ => IoKind::Ring,
        }
    }
}

/// Looks at what the running kernel offers, by a ring as large as those that work.
pub fn probe() -> Probe {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    let locked_memory_bytes = limit.current;
    let kernel = kernel();
    match make(SUBMISSIONS, COMPLETIONS) {
        Ok(made) => {
            let features = features(made.ring.params(), made.deferred);
            Probe { kernel, features, missing: Vec::new(), locked_memory_bytes, refused: None }
        }
        Err(error) => {
            let missing =
                if let RingError::Missing { operations, .. } = &error { operations.clone() } else { Vec::new() };
            Probe { kernel, features: Vec::new(), missing, locked_memory_bytes, refused: Some(error) }
        }
    }
}

fn features(params: &Parameters, deferred: bool) -> Vec<&'static str> {
    let all = [
        ("SINGLE_ISSUER", params.is_setup_single_issuer()),
        ("DEFER_TASKRUN", deferred),
        ("NODROP", params.is_feature_nodrop()),
        ("EXT_ARG", params.is_feature_ext_arg()),
        ("FAST_POLL", params.is_feature_fast_poll()),
        ("SUBMIT_STABLE", params.is_feature_submit_stable()),
    ];
    all.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}: ", self.kernel)?;
        match &self.refused {
            Some(error) => write!(f, "{error}"),
            None => {
                write!(
                    f,
                    "io_uring with all {} operations that are needed, {}",
                    OPERATIONS.len(),
                    self.features.join(", ")
                )
            }
        }
    }
}
