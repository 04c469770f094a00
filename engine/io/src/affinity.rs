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
