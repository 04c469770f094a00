//! Which interrupts are a device's, and on which cores they land.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::device::{entries, name};
use crate::{Cores, Disk};

/// One that came on a core with at least this share of its times lands there, where nothing else tells.
const SHARE_MIN: f64 = 0.9;

/// One interrupt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interrupt {
    /// Its number.
    pub number: u32,
    /// What its driver calls it.
    pub name: String,
    /// Where it lands; none if that can't be read.
    pub cores: Cores,
    /// Whether root may move it. Older kernels only tell when it is tried.
    pub is_movable: bool,
}

/// All of the machine's.
#[derive(Debug)]
pub struct Interrupts {
    proc: PathBuf,
    lines: Vec<Line>,
}

/// What `/proc/interrupts` says of one.
#[derive(PartialEq, Eq, Debug)]
struct Line {
    number: u32,
    /// How often it came on each core.
    counts: Vec<(usize, u64)>,
    /// Its drivers' words, behind the controller's.
    words: Vec<String>,
}

impl Interrupts {
    /// Those that procfs tells of, which lies at `proc`.
    ///
    /// # Errors
    /// They can't be read.
    pub fn read(proc: &Path) -> io::Result<Interrupts> {
        let text = fs::read_to_string(proc.join("interrupts"))?;
        let names = text.lines().next().unwrap_or_default().split_whitespace();
        let cores: Vec<usize> = names.filter_map(|name| name.strip_prefix("CPU")?.parse().ok()).collect();
        let lines = text.lines().skip(1).filter_map(|line| Line::parse(line, &cores)).collect();
        Ok(Interrupts { proc: proc.to_owned(), lines })
    }

    /// Those of the device that has this folder in sysfs, without the ones that hardly ever come: they tell of changes to the
    /// device, or answer commands to it.
    pub fn of(&self, folder: &Path) -> Vec<Interrupt> {
        let numbers: BTreeSet<u32> = controllers(folder).iter().flat_map(|folder| numbers(folder)).collect();
        let virtio = folder.iter().filter_map(|part| part.to_str()).find(|part| part.starts_with("virtio"));
        let is_own = |line: &&Line| numbers.contains(&line.number) || virtio.is_some_and(|name| line.is_of(name));
        let own: Vec<&Line> = self.lines.iter().filter(is_own).collect();
        let all: u64 = own.iter().map(|line| line.count()).sum();
        own.into_iter().filter(|line| line.count() >= all / 100).map(|line| self.placed(line)).collect()
    }

    /// The core on which all interrupts of these disks land, if that is one. With a queue for each core there is none: a request
    /// is finished where it was made.
    pub fn core_of(&self, disks: &[Disk]) -> Option<usize> {
        if disks.iter().any(|disk| !disk.cores_with_queues().is_empty()) {
            return None;
        }
        let interrupts: Vec<Interrupt> = disks.iter().flat_map(|disk| self.of(&disk.folder)).collect();
        interrupts.iter().map(|interrupt| &interrupt.cores).collect::<Cores>().only()
    }

    fn placed(&self, line: &Line) -> Interrupt {
        let folder = self.proc.join("irq").join(line.number.to_string());
        let list = |name: &str| Cores::parse(&fs::read_to_string(folder.join(name)).ok()?);
        // Not every kernel tells where it lands, of the cores where it may: then its counts do, or nothing.
        let lands = list("effective_affinity_list").filter(|cores| !cores.is_empty());
        let cores = lands.unwrap_or_else(|| {
            let may = list("smp_affinity_list").unwrap_or_default();
            let came = line.core().map(|core| Cores::from_iter([core]));
            came.filter(|came| may.is_empty() || !may.and(came).is_empty()).unwrap_or(may)
        });
        let mode = fs::metadata(folder.join("smp_affinity_list")).map(|about| about.permissions().mode());
        let is_movable = mode.is_ok_and(|mode| mode & 0o222 != 0);
        Interrupt { number: line.number, name: line.words.last().cloned().unwrap_or_default(), cores, is_movable }
    }
}

impl Line {
    /// ` 36:   0  4130844 PCI-MSIX-0000:00:02.0   1-edge   virtio1-req.0`, with a count for each core.
    fn parse(line: &str, cores: &[usize]) -> Option<Line> {
        let (number, rest) = line.split_once(':')?;
        let number = number.trim().parse().ok()?;
        let mut words = rest.split_whitespace();
        let counts = cores.iter().zip(&mut words).map(|(core, count)| Some((*core, count.parse().ok()?)));
        let counts = counts.collect::<Option<_>>()?;
        Some(Line { number, counts, words: words.map(str::to_owned).collect() })
    }

    fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// The core that it nearly always came on.
    fn core(&self) -> Option<usize> {
        let is_most = |count: u64| count > 0 && count as f64 >= SHARE_MIN * self.count() as f64;
        self.counts.iter().find(|(_, count)| is_most(*count)).map(|(core, _)| *core)
    }

    /// Whether it is of the virtio device of that name, which may have no other sign of its interrupts than this.
    fn is_of(&self, virtio: &str) -> bool {
        let is_own = |rest: &str| rest.is_empty() || rest.starts_with('-');
        self.words.iter().any(|word| word.strip_prefix(virtio).is_some_and(is_own))
    }
}

/// What the device hangs on: itself, or an NVMe subsystem's controllers where it is reached by several.
fn controllers(folder: &Path) -> Vec<PathBuf> {
    match folder.parent() {
        Some(subsystem) if name(subsystem).starts_with("nvme-subsys") => entries(subsystem)
            .filter(|entry| name(entry).starts_with("nvme") && entry.is_symlink())
            .flat_map(fs::canonicalize)
            .collect(),
        _ => vec![folder.to_owned()],
    }
}

/// The interrupts of the nearest device on the way up that has any: message-signalled ones, or else the line it is wired to.
fn numbers(folder: &Path) -> Vec<u32> {
    let number = |text: &str| text.trim().parse().ok().filter(|&number| number != 0);
    for device in folder.ancestors() {
        let signalled: Vec<u32> = entries(&device.join("msi_irqs")).filter_map(|entry| number(&name(&entry))).collect();
        if !signalled.is_empty() {
            return signalled;
        }
        if let Ok(wired) = fs::read_to_string(device.join("irq")) {
            return number(&wired).into_iter().collect();
        }
    }
    Vec::new()
}
