//! Pinning, and the processor time that threads and the process have used.

use crate::error::LimitError;

/// Fails, naming the cores there are, unless this process may run on `core`.
pub(crate) fn check_core(core: usize) -> Result<(), LimitError> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.iter().any(|id| id.id == core) {
        return Ok(());
    }
    let names: Vec<String> = cores.iter().map(|id| id.id.to_string()).collect();
    Err(LimitError::argument(
        format!("core {core} is not available to this process"),
        format!("choose among {}", names.join(", ")),
    ))
}

/// Pins the calling thread to `core`.
pub(crate) fn pin(core: usize) -> Result<(), LimitError> {
    check_core(core)?;
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    Err(LimitError::argument(format!("this thread could not be pinned to core {core}"), "see the process's cpuset"))
}

/// Seconds of processor time that the calling thread has used, user and kernel.
pub(crate) fn thread_cpu_s() -> f64 {
    clock_s(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Seconds of processor time that the process has used, the ring's kernel workers included.
pub(crate) fn process_cpu_s() -> f64 {
    clock_s(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Seconds that all processors together were busy since the machine started, with whatever it was. Where it grows by more than
/// this process's own time, the kernel's threads and interrupts or other programs took part.
pub(crate) fn machine_cpu_s() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    // SAFETY: sysconf reads a constant of the system.
    let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Some(parse_busy_ticks(stat.lines().next()?)? as f64 / ticks_per_s as f64)
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, and more that is not this machine's.
fn parse_busy_ticks(line: &str) -> Option<u64> {
    let ticks: Vec<u64> = line.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

fn clock_s(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call; the kernel only writes into it.
    let code = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(code, 0, "the processor clocks exist on every Linux");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_out_idle_and_waiting() {
        assert_eq!(parse_busy_ticks("cpu  1 2 4 1000 2000 8 16 4000 0 0"), Some(31));
        assert_eq!(parse_busy_ticks("cpu  1 2"), None);
    }

    #[test]
    fn work_uses_processor_time() {
        let (thread_s, process_s) = (thread_cpu_s(), process_cpu_s());
        let mut sum = 0_u64;
        while thread_cpu_s() - thread_s < 0.01 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(process_cpu_s() - process_s >= 0.01, "the thread is part of the process");
    }
}
