//! What the machine spent on a measurement: processor time and flushes of the device.

use serde::Serialize;

use crate::cpu;
use crate::device::Device;

/// Counters at one moment, or what they grew by between two.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// Processor time of the whole process, the ring's kernel workers included.
    pub(crate) process_cpu_s: f64,
    /// Busy time of all processors, with this and with everything else; the kernel counts it in ticks of 1 to 10 ms.
    pub(crate) machine_cpu_s: Option<f64>,
    /// Flushes of the device, for whomever; none where the kernel does not count them.
    pub(crate) flushes: Option<u64>,
}

impl Usage {
    /// The counters as they stand.
    pub(crate) fn now(device: Option<&Device>) -> Self {
        Self {
            process_cpu_s: cpu::process_cpu_s(),
            machine_cpu_s: cpu::machine_cpu_s(),
            flushes: device.and_then(Device::flushes),
        }
    }

    /// What was spent since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            process_cpu_s: self.process_cpu_s - earlier.process_cpu_s,
            machine_cpu_s: self.machine_cpu_s.zip(earlier.machine_cpu_s).map(|(now, before)| now - before),
            flushes: self.flushes.zip(earlier.flushes).map(|(now, before)| now - before),
        }
    }
}
