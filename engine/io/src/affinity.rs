//! Which cores this process may use, and pinning a thread to one.

/// Numbers of the cores in this process's CPU set.
pub fn available_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Pins the calling thread. `false` if the core is not available.
pub fn pin(core: usize) -> bool {
    // The crate panics, past unwinding, at a number that no CPU set has room for.
    available_cores().contains(&core) && core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// A thread inherits the core of the one that starts it. This one's work must not take the reactor's, so it goes where the
/// process may; if the kernel says no, it stays.
pub(crate) fn leave_the_core() {
    if let Ok(cores) = rustix::thread::sched_getaffinity(Some(rustix::process::getpid())) {
        let _ = rustix::thread::sched_setaffinity(None, &cores);
    }
}
