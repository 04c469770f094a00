//! Whether interrupts of disks and network devices land on cores that reactors would be pinned to, and what to change.
//!
//! An interrupt takes its time from the reactor on whose core it lands. Where a disk has a queue for each core, those that
//! land there are of the core's own requests: they are where they should be.

use std::fs;
use std::path::Path;

use super::Finding;
use super::cores::Cores;
use super::device::{Disk, entries, name};
use super::interrupts::{Interrupt, Interrupts};
use crate::reactors::core_of;

const WHAT: &str = "interrupts";

/// Which cores there are, and which of them reactors take.
#[derive(Debug)]
pub(super) struct Seats {
    /// Those that this process may run on.
    pub(super) available: Vec<usize>,
    /// All that are there, for interrupts.
    pub(super) online: Cores,
    /// How many reactors there would be.
    pub(super) reactors: usize,
    /// The first one's core, if one is named.
    pub(super) first: Option<usize>,
}

impl Seats {
    /// The cores that reactors take.
    pub(super) fn taken(&self) -> Cores {
        self.from(self.first)
    }

    fn from(&self, first: Option<usize>) -> Cores {
        (0..self.reactors).map(|number| core_of(&self.available, first, number)).collect()
    }
}

/// A disk or network device.
#[derive(Debug)]
pub(super) struct Placed {
    name: String,
    /// Nothing of metal, nor of a host's.
    is_virtual: bool,
    interrupts: Vec<Interrupt>,
    /// Cores with a queue that is theirs alone.
    own: Cores,
}

impl Placed {
    pub(super) fn disk(disk: &Disk, all: &Interrupts) -> Placed {
        let list = |queue: &Path| Cores::parse(&fs::read_to_string(queue.join("cpu_list")).ok()?);
        let queues = entries(&disk.folder.join("mq")).filter_map(|queue| list(&queue));
        let own: Cores = queues.filter(|cores| cores.0.len() == 1).flat_map(|cores| cores.0).collect();
        let placed = Placed::device(disk.name.clone(), &disk.folder, all);
        // The only core's only queue is just that.
        Placed { own: if own.0.len() > 1 { own } else { Cores::default() }, ..placed }
    }

    /// Network devices that are up and no mere software.
    pub(super) fn networks(sys: &Path, all: &Interrupts) -> Vec<Placed> {
        let is_up =
            |device: &Path| fs::read_to_string(device.join("operstate")).is_ok_and(|state| state.trim() == "up");
        let mut devices: Vec<_> = entries(&sys.join("class/net")).filter(|device| is_up(device)).collect();
        devices.sort();
        let below = |device: &Path| Some((name(device), fs::canonicalize(device.join("device")).ok()?));
        let found = devices.iter().filter_map(|device| below(device));
        found.map(|(name, folder)| Placed::device(name, &folder, all)).collect()
    }

    fn device(name: String, folder: &Path, all: &Interrupts) -> Placed {
        let interrupts = all.of(folder);
        let is_virtual = interrupts.is_empty() && folder.iter().any(|part| part == "virtual");
        Placed { name, is_virtual, interrupts, own: Cores::default() }
    }

    /// Interrupts that take time from reactors on these cores.
    fn clashes(&self, taken: &Cores) -> Vec<&Interrupt> {
        let others = taken.without(&self.own);
        self.interrupts.iter().filter(|interrupt| !interrupt.cores.and(&others).is_empty()).collect()
    }
}

/// What there is to say of these devices.
pub(super) fn findings(devices: &[Placed], seats: &Seats) -> Vec<Finding> {
    devices.iter().map(|device| finding(device, devices, seats)).collect()
}

fn finding(device: &Placed, all: &[Placed], seats: &Seats) -> Finding {
    let (name, taken) = (&device.name, seats.taken());
    let cores: Cores = device.interrupts.iter().map(|interrupt| &interrupt.cores).collect();
    if device.is_virtual {
        return Finding::good(WHAT, format!("{name}: it is virtual and has none"));
    }
    if device.interrupts.is_empty() {
        return Finding::untold(WHAT, format!("{name}: which ones are its own is not told"));
    }
    if cores.is_empty() {
        return Finding::untold(WHAT, format!("{name}: where they land can't be read in /proc/irq"));
    }
    let clashes = device.clashes(&taken);
    let (lands, whose) = (cores.named(), if seats.reactors == 1 { "the reactor" } else { "the reactors" });
    if clashes.is_empty() && cores.and(&taken).is_empty() {
        return Finding::good(WHAT, format!("{name}: on {lands}; {whose} would be on {}", taken.named()));
    }
    if clashes.is_empty() {
        let text = format!("{name}: on {lands}, of a queue for each core: {whose} on {taken} would have their own");
        return Finding::good(WHAT, text);
    }
    let named: Vec<String> =
        clashes.iter().map(|Interrupt { number, name, .. }| format!("{number} ({name})")).collect();
    let shared: Cores = clashes.iter().map(|interrupt| &interrupt.cores).collect();
    let shared = shared.and(&taken.without(&device.own)).named();
    let text = format!("{name}: on {lands}; {} on {shared}, where {whose} would be", named.join(", "));
    Finding::fair(WHAT, text, &advice(&clashes, all, seats))
}

/// How the reactors' cores are rid of these.
fn advice(clashes: &[&Interrupt], all: &[Placed], seats: &Seats) -> String {
    let numbers = |is_movable: bool| {
        let chosen = clashes.iter().filter(|interrupt| interrupt.is_movable == is_movable);
        chosen.map(|interrupt| interrupt.number.to_string()).collect::<Vec<_>>()
    };
    let (movable, fixed) = (numbers(true), numbers(false));
    let (taken, mut ways) = (seats.taken(), Vec::new());
    let elsewhere = seats.online.without(&taken);
    if let Some(first) = better_first(all, seats, !fixed.is_empty()) {
        ways.push(format!("start the server with --core {first}"));
    }
    if fixed.is_empty() && !elsewhere.is_empty() {
        let file = |number: &str| format!("/proc/irq/{number}/smp_affinity_list");
        let command = match &movable[..] {
            [one] => format!("echo {elsewhere} > {}", file(one)),
            several => format!("for i in {}; do echo {elsewhere} > {}; done", several.join(" "), file("$i")),
        };
        ways.push(format!("as root: {command} (irqbalance moves them back, unless IRQBALANCE_BANNED_CPULIST={taken})"));
    }
    if ways.is_empty() {
        let fewer = if seats.reactors > 1 { ", or start fewer reactors" } else { "" };
        ways.push(format!("give the process more cores{fewer}"));
    }
    let kept = match &fixed[..] {
        [] => String::new(),
        fixed => format!(", and the kernel lets nobody move {}", fixed.join(", ")),
    };
    format!("an interrupt takes time from the reactor on its core{kept}; {}", ways.join("; or "))
}

/// A core for the first reactor with which no interrupt is in the way of any; or, where that is worth something already, none
/// that can't be moved.
fn better_first(all: &[Placed], seats: &Seats, is_worth: bool) -> Option<usize> {
    let with = |is_clash: &dyn Fn(&Interrupt) -> bool| {
        let is_free = |first: &&usize| {
            let taken = seats.from(Some(**first));
            !all.iter().flat_map(|device| device.clashes(&taken)).any(is_clash)
        };
        seats.available.iter().find(is_free).copied()
    };
    with(&|_| true).or_else(|| with(&|interrupt| !interrupt.is_movable).filter(|_| is_worth))
}
