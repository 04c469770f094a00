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
    /// The commit that this program was built from, as far as can be told: see [`commit_of`].
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
            commit: std::env::current_exe().map_or_else(|_| UNKNOWN.to_owned(), |program| commit_of(&program)),
        }
    }
}

/// The value of `name: value` in a file of such lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

/// What is said where no commit can be told.
const UNKNOWN: &str = "unknown";

/// What the programs are made of, as git names files.
const SOURCES: [&str; 9] = [
    ":(glob)engine/**/src/**",
    ":(glob)server/src/**",
    ":(glob)server/wire/src/**",
    ":(glob)server/client/src/**",
    ":(glob)server/devices/src/**",
    ":(glob)loadgen/src/**",
    ":(glob)**/Cargo.toml",
    "Cargo.lock",
    ":(exclude)benches",
];

/// The commit that a program was built from: that of the source tree, with `-dirty` where its sources differ from it, and
/// `-stale` where they have changed since the program was built.
pub fn commit_of(program: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    commit_in(root, program).unwrap_or_else(|| UNKNOWN.to_owned())
}

fn commit_in(root: &Path, program: &Path) -> Option<String> {
    let git = |arguments: &[&str], paths: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).args(paths).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"], &[])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--"], &SOURCES)?;
    let files = git(&["ls-files", "-z", "--"], &SOURCES)?;
    let changed_at = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let newest = files.split_terminator('\0').filter_map(|file| changed_at(&root.join(file))).max();
    let state = match () {
        () if newest > changed_at(program) => "-stale",
        () if !changed.is_empty() => "-dirty",
        () => "",
    };
    Some(format!("{commit}{state}"))
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

    #[test]
    fn a_program_is_as_old_as_its_source_or_said_not_to_be() {
        let root = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
            let output =
                Command::new("git").arg("-C").arg(root.path()).args(identity).args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let write = |name: &str, contents: &str| fs::write(root.path().join(name), contents).unwrap();
        fs::create_dir_all(root.path().join("loadgen/src")).unwrap();
        fs::create_dir_all(root.path().join("loadgen/tests")).unwrap();
        let program = root.path().join("program");
        let set = |name: &str, age_s: u64| {
            let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age_s);
            fs::File::options().write(true).open(root.path().join(name)).unwrap().set_modified(time).unwrap();
        };
        for name in ["loadgen/src/main.rs", "loadgen/tests/a.rs", "README.md"] {
            write(name, "a");
        }
        git(&["init", "--quiet"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "a"]);
        write("program", "b");
        let told = || commit_in(root.path(), &program).unwrap();
        let commit = told();
        assert!(commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
        // What is no source of it may change.
        for name in ["loadgen/tests/a.rs", "README.md"] {
            write(name, "c");
        }
        set("program", 60);
        set("loadgen/src/main.rs", 120);
        assert_eq!(told(), commit);
        write("loadgen/src/main.rs", "d");
        set("loadgen/src/main.rs", 90);
        assert_eq!(told(), format!("{commit}-dirty"));
        set("loadgen/src/main.rs", 30);
        assert_eq!(told(), format!("{commit}-stale"));
        assert_eq!(commit_in(&root.path().join("nowhere"), &program), None);
    }
}
