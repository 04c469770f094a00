//! What the run ran on: machine, disk, and how busy the processors were.

mod cpu;
mod disk;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

pub use cpu::{BusyThread, CpuSample, MachineSample, busy_threads};
pub use disk::Disk;

/// The machine and the source that ran on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The host's name.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's model.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The commit of the source this program was built from, with `-dirty` where files differ from it.
    pub commit: String,
}

impl Machine {
    /// Reads it off this machine.
    pub fn here() -> Self {
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpu_info = line("/proc/cpuinfo");
        let memory = line("/proc/meminfo");
        Self {
            host: line("/proc/sys/kernel/hostname"),
            kernel: line("/proc/sys/kernel/osrelease"),
            cpu: field(&cpu_info, "model name").unwrap_or("unknown").to_owned(),
            cores: core_affinity::get_core_ids().map_or(0, |cores| cores.len()),
            memory_bytes: field(&memory, "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib * 1024),
            commit: commit(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// The value of `name: value` in a file of such lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn commit(source: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(source).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-dirty") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here();
        assert!(!machine.kernel.is_empty() && machine.cores > 0 && machine.memory_bytes > 1 << 20);
        assert_eq!(field("a : 1\nmodel name\t: X Y\n", "model name"), Some("X Y"));
    }
}
