//! What of a process is in memory, as the kernel tells.

use std::fs;
use std::path::PathBuf;

use crate::error::PairsError;

/// One look at a process. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Resident {
    /// In memory now.
    pub(crate) now: f64,
    /// The most that ever was.
    pub(crate) peak: f64,
    /// Kept there for the kernel: buffers that are registered with a ring.
    pub(crate) pinned: f64,
    /// In memory now, where shared pages count by their share.
    pub(crate) proportional: f64,
}

impl Resident {
    /// Looks. It walks the process's tables, which holds it up a little.
    pub(crate) fn of(pid: u32) -> Result<Self, PairsError> {
        let (status, rollup) = (read(pid, "status")?, read(pid, "smaps_rollup")?);
        let [now, peak, pinned] = ["VmRSS:", "VmHWM:", "VmPin:"].map(|name| field(&status, name));
        Ok(Self { now, peak, pinned, proportional: field(&rollup, "Pss:") })
    }

    /// The highest of both, each by itself.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            now: self.now.max(other.now),
            peak: self.peak.max(other.peak),
            pinned: self.pinned.max(other.pinned),
            proportional: self.proportional.max(other.proportional),
        }
    }
}

fn read(pid: u32, name: &str) -> Result<String, PairsError> {
    let path = PathBuf::from(format!("/proc/{pid}/{name}"));
    fs::read_to_string(&path).map_err(|source| PairsError::File { path, source })
}

/// A line such as `VmRSS:     1234 kB`; no number where there is none.
fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_is_seen() {
        let before = Resident::of(std::process::id()).expect("this process is there");
        let touched = vec![7_u8; 64 << 20];
        let after = Resident::of(std::process::id()).expect("it still is");
        let grown = after.now - before.now;
        assert!((60e6..90e6).contains(&grown), "{grown} bytes more for {}", touched.len());
        assert!(after.peak >= after.now && after.proportional - before.proportional > 60e6, "{after:?}");
        assert!(after.pinned >= 0.0);
        assert!(field("VmRSS: 12 kB\nVmPin: 0 kB\n", "VmHWM:").is_nan());
    }
}
