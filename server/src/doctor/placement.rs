//! Whether interrupts of disks and network devices land on cores that reactors would be pinned to, and what to change.
//!
//! One of the network takes its time from the reactor on whose core it lands. Those of a disk are a reactor's own work, as each
//! durable write is finished where they land: that waits less for a reactor there than for anything else that is busy. Where a
//! disk has a queue for each core, those that land on one are of its own requests.

use std::path::Path;

use devices::{Cores, Disk, Interrupt, Interrupts, Network};

use super::Finding;
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
    /// Of a disk, the cores with a queue that is theirs alone.
    queues: Option<Cores>,
}

impl Placed {
    pub(super) fn disk(disk: &Disk, all: &Interrupts) -> Placed {
        Placed { queues: Some(disk.cores_with_queues()), ..Placed::device(&disk.name, &disk.folder, all) }
    }

    pub(super) fn network(network: &Network, all: &Interrupts) -> Placed {
        Placed::device(&network.name, &network.folder, all)
    }

    fn device(name: &str, folder: &Path, all: &Interrupts) -> Placed {
        let interrupts = all.of(folder);
        let is_virtual = interrupts.is_empty() && folder.iter().any(|part| part == "virtual");
        Placed { name: name.to_owned(), is_virtual, interrupts, queues: None }
    }

    fn cores(&self) -> Cores {
        self.interrupts.iter().map(|interrupt| &interrupt.cores).collect()
    }

    /// Interrupts that take time from reactors on these cores.
    fn clashes(&self, taken: &Cores) -> Vec<&Interrupt> {
        let clashing = self.interrupts.iter().filter(|interrupt| !interrupt.cores.and(taken).is_empty());
        clashing.filter(|_| self.queues.is_none()).collect()
    }
}

/// What there is to say of these devices.
pub(super) fn findings(devices: &[Placed], seats: &Seats) -> Vec<Finding> {
    devices.iter().map(|device| finding(device, devices, seats)).collect()
}

fn finding(device: &Placed, all: &[Placed], seats: &Seats) -> Finding {
    let (name, cores, taken) = (&device.name, device.cores(), seats.taken());
    if device.is_virtual {
        return Finding::good(WHAT, format!("{name}: it is virtual and has none"));
    }
    if device.interrupts.is_empty() {
        return Finding::untold(WHAT, format!("{name}: which ones are its own is not told"));
    }
    if cores.is_empty() {
        return Finding::untold(WHAT, format!("{name}: where they land can't be read in /proc/irq"));
    }
    let (lands, whose) = (cores.named(), if seats.reactors == 1 { "the reactor" } else { "the reactors" });
    if device.queues.as_ref().is_some_and(|queues| cores.without(queues).is_empty()) {
        let text = format!("{name}: on {lands}, of a queue for each core: {whose} on {taken} would have their own");
        return Finding::good(WHAT, text);
    }
    let placed = format!("{name}: on {lands}; {whose} would be on {}", taken.named());
    if device.queues.is_some() {
        return Finding { advice: cores.only().map(beside_the_disk), ..Finding::good(WHAT, placed) };
    }
    let clashes = device.clashes(&taken);
    if clashes.is_empty() {
        return Finding::good(WHAT, placed);
    }
    let named: Vec<String> =
        clashes.iter().map(|Interrupt { number, name, .. }| format!("{number} ({name})")).collect();
    let shared: Cores = clashes.iter().map(|interrupt| &interrupt.cores).collect();
    let shared = shared.and(&taken).named();
    let text = format!("{name}: on {lands}; {} on {shared}, where {whose} would be", named.join(", "));
    Finding::fair(WHAT, text, &advice(&clashes, all, seats))
}

/// What may run on a disk's core.
fn beside_the_disk(core: usize) -> String {
    format!(
        "each durable write is finished on core {core}: a reactor may share it, what else is busy should run elsewhere"
    )
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
    format!("interrupts of the network take time from the reactor on their core{kept}; {}", ways.join("; or "))
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
