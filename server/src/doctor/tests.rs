//! What the kernel says of disks, schedulers and interrupts, in its own words, and what the doctor makes of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::cores::Cores;
use super::device::{Device, Disk, WriteCache};
use super::interrupts::Interrupts;
use super::placement::{Placed, Seats, findings};
use super::{Finding, Health, descriptors, scheduler};

#[test]
fn with_tls_a_connection_takes_three_descriptors_and_each_reactor_has_its_own() {
    assert_eq!(descriptors(1), 2 * 16_384 + 2 * 4096 + 4096);
    assert_eq!(descriptors(2) - descriptors(1), 2 * 16_384);
}

/// A virtual machine with one queue for its disk, which is virtio1, and its network, which is virtio2.
const VIRTIO: &str = "\
           CPU0       CPU1       \n \
 26:          0         15  IO-APIC   4-edge      ttyS0\n \
 31:          0       2931 PCI-MSIX-0000:00:01.0   3-edge      virtio0-stats\n \
 35:          0          1 PCI-MSIX-0000:00:02.0   0-edge      virtio1-config\n \
 36:          0    4130844 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\n \
 37:          0          0 PCI-MSIX-0000:00:03.0   0-edge      virtio2-config\n \
 38:          0       3743 PCI-MSIX-0000:00:03.0   1-edge      virtio2-input.0\n \
 39:       3125          0 PCI-MSIX-0000:00:03.0   2-edge      virtio2-output.0\n\
NMI:          0          0   Non-maskable interrupts\n\
LOC:    3688327    3476030   Local timer interrupts\n\
ERR:          0\n";

/// A machine with a queue for each core in its NVMe disk, and one line that several devices are wired to.
const NVME: &str = "\
            CPU0       CPU1       CPU2       CPU3       \n  \
  0:          9          0          0          0  IR-IO-APIC    2-edge      timer\n  \
 16:          0          0         70          0  IR-IO-APIC   16-fasteoi   ahci[0000:00:1f.2], i801_smbus\n \
 131:         24          0          0          0  IR-PCI-MSIX-0000:01:00.0    0-edge      nvme0q0\n \
 132:      80211          0          0          0  IR-PCI-MSIX-0000:01:00.0    1-edge      nvme0q1\n \
 133:          0      79120          0          0  IR-PCI-MSIX-0000:01:00.0    2-edge      nvme0q2\n \
 134:          0          0      81904          0  IR-PCI-MSIX-0000:01:00.0    3-edge      nvme0q3\n \
 135:          0          0          0      78733  IR-PCI-MSIX-0000:01:00.0    4-edge      nvme0q4\n";

/// Files and links as in /sys and /proc.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(path)
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A link from one place to the other, by a relative path as the kernel has them.
    fn link(&self, from: &str, to: &str) {
        let path = self.path(from);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(Path::new(&"../".repeat(from.matches('/').count())).join(to), path).unwrap();
    }

    /// A whole disk with its scheduler, and a queue for each of these lists of cores.
    fn disk(&self, folder: &str, scheduler: &str, queues: &[&str]) {
        self.file(&format!("{folder}/queue/scheduler"), scheduler);
        self.file(&format!("{folder}/queue/rotational"), "0\n");
        self.file(&format!("{folder}/queue/write_cache"), "write back\n");
        fs::create_dir_all(self.path(&format!("{folder}/slaves"))).unwrap();
        for (number, cores) in queues.iter().enumerate() {
            self.file(&format!("{folder}/mq/{number}/cpu_list"), &format!("{cores}\n"));
        }
    }

    /// A device's interrupts, where each lands, and whether the kernel lets root move it.
    fn interrupts(&self, device: &str, placed: &[(u32, &str, bool)]) {
        self.file(&format!("{device}/irq"), "0\n");
        for (number, cores, is_movable) in placed {
            self.file(&format!("{device}/msi_irqs/{number}"), "msix\n");
            self.file(&format!("proc/irq/{number}/effective_affinity_list"), &format!("{cores}\n"));
            let may = self.file(&format!("proc/irq/{number}/smp_affinity_list"), "0-1\n");
            fs::set_permissions(may, fs::Permissions::from_mode(if *is_movable { 0o644 } else { 0o444 })).unwrap();
        }
    }

    fn all(&self, interrupts: &str) -> Interrupts {
        self.file("proc/interrupts", interrupts);
        Interrupts::read(&self.path("proc")).unwrap()
    }
}

const VDA: &str = "sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda";
const NVME0: &str = "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1";

/// The virtual machine: the disk's interrupts are the kernel's to place, those of the network root's.
fn virtual_machine() -> Tree {
    let tree = Tree::new();
    tree.disk(VDA, "none [mq-deadline] kyber bfq \n", &["0, 1"]);
    tree.interrupts("sys/devices/pci0000:00/0000:00:02.0", &[(35, "0", true), (36, "1", false)]);
    tree.interrupts("sys/devices/pci0000:00/0000:00:03.0", &[(37, "0", true), (38, "1", true), (39, "0", true)]);
    tree.file("sys/devices/pci0000:00/0000:00:03.0/virtio2/net/eth0/operstate", "up\n");
    tree.link(
        "sys/devices/pci0000:00/0000:00:03.0/virtio2/net/eth0/device",
        "sys/devices/pci0000:00/0000:00:03.0/virtio2",
    );
    tree.link("sys/class/net/eth0", "sys/devices/pci0000:00/0000:00:03.0/virtio2/net/eth0");
    tree.file("sys/devices/virtual/net/lo/operstate", "unknown\n");
    tree.link("sys/class/net/lo", "sys/devices/virtual/net/lo");
    tree
}

/// The other machine.
fn machine() -> Tree {
    let tree = Tree::new();
    tree.disk(NVME0, "[none] mq-deadline kyber bfq \n", &["0", "1", "2", "3"]);
    let placed = [(131, "0", true), (132, "0", false), (133, "1", false), (134, "2", false), (135, "3", false)];
    tree.interrupts("sys/devices/pci0000:00/0000:01:00.0", &placed);
    tree
}

fn seats(cores: usize, reactors: usize, first: Option<usize>) -> Seats {
    Seats { available: (0..cores).collect(), online: (0..cores).collect(), reactors, first }
}

fn disk(tree: &Tree, folder: &str) -> Disk {
    let disks = Device::at(&tree.path(folder)).unwrap().disks;
    assert_eq!(disks.len(), 1);
    disks[0].clone()
}

#[track_caller]
fn assert_says(finding: &Finding, health: Health, words: &[&str]) {
    let text = finding.to_string();
    assert_eq!(finding.health, health, "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    assert_eq!(finding.advice.is_some(), health == Health::Fair, "{text}");
}

#[test]
fn lists_of_cores_are_read_and_written() {
    let lists =
        [("0\n", "0"), ("0, 1", "0-1"), ("0-3,8", "0-3,8"), ("7,5,6,1", "1,5-7"), ("\n", ""), ("0-65535", "0-65535")];
    for (text, written) in lists {
        assert_eq!(Cores::parse(text).unwrap().to_string(), written, "{text:?}");
    }
    for text in ["ff", "0-", "-1", "0-65536", "0-99999999999"] {
        assert_eq!(Cores::parse(text), None, "{text:?}");
    }
}

#[test]
fn the_scheduler_is_the_one_in_brackets() {
    for (text, name) in [
        ("none [mq-deadline] kyber bfq \n", Some("mq-deadline")),
        ("[none] mq-deadline \n", Some("none")),
        ("none\n", Some("none")),
        ("mq-deadline none\n", None),
        ("\n", None),
    ] {
        assert_eq!(scheduler::current(text), name, "{text:?}");
    }
}

#[test]
fn a_scheduler_that_holds_requests_back_is_told_with_what_to_change() {
    let tree = Tree::new();
    let of = |name: &str, scheduler: &str, rotates: &str| {
        let folder = format!("sys/devices/virtual/block/{name}");
        tree.disk(&folder, scheduler, &[]);
        tree.file(&format!("{folder}/queue/rotational"), rotates);
        scheduler::finding(&disk(&tree, &folder))
    };
    assert_says(&of("a", "[none] mq-deadline kyber bfq\n", "0\n"), Health::Good, &["a: none"]);
    assert_says(&of("b", "none [mq-deadline] kyber bfq\n", "0\n"), Health::Good, &["b: mq-deadline"]);
    let change = "echo none > /sys/block/c/queue/scheduler";
    assert_says(&of("c", "none mq-deadline kyber [bfq]\n", "0\n"), Health::Fair, &["c: bfq", change, "KERNEL==\"c\""]);
    assert_says(&of("d", "none mq-deadline [kyber] bfq\n", "0\n"), Health::Fair, &["d: kyber", "holds writes back"]);
    assert_says(&of("e", "none mq-deadline [bfq]\n", "1\n"), Health::Fair, &["echo none > /sys/block/e/"]);
    let rotating = "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda";
    tree.disk(rotating, "none mq-deadline [bfq]\n", &[]);
    tree.file(&format!("{rotating}/queue/rotational"), "1\n");
    let change = "echo mq-deadline > /sys/block/sda/";
    assert_says(&scheduler::finding(&disk(&tree, rotating)), Health::Fair, &[change]);
    assert_says(&of("f", "none mq-deadline [newer]\n", "0\n"), Health::Fair, &["f: newer", "not known"]);
    assert_says(&of("g", "mq-deadline none\n", "0\n"), Health::Untold, &["g: ", "names none"]);
    let unreadable = disk(&tree, "sys/devices/virtual/block/a");
    fs::remove_file(unreadable.folder.join("queue/scheduler")).unwrap();
    assert_says(&scheduler::finding(&unreadable), Health::Untold, &["a: it can't be read: No such file"]);
}

#[test]
fn a_mapped_device_is_told_by_the_disks_below_it() {
    let tree = virtual_machine();
    tree.disk(NVME0, "[none] mq-deadline \n", &["0", "1"]);
    tree.file(&format!("{NVME0}/nvme0n1p2/partition"), "2\n");
    // A mirror of a disk and a partition, with an encrypted device on it, and a partition on that.
    tree.disk("sys/devices/virtual/block/md0", "none\n", &[]);
    tree.link("sys/devices/virtual/block/md0/slaves/vda", VDA);
    tree.link("sys/devices/virtual/block/md0/slaves/nvme0n1p2", &format!("{NVME0}/nvme0n1p2"));
    tree.disk("sys/devices/virtual/block/dm-0", "none\n", &[]);
    tree.link("sys/devices/virtual/block/dm-0/slaves/md0", "sys/devices/virtual/block/md0");
    tree.file("sys/devices/virtual/block/dm-0/dm-0p1/partition", "1\n");
    tree.link("sys/dev/block/253:0", "sys/devices/virtual/block/dm-0/dm-0p1");
    // The same two disks by another way count once.
    tree.link("sys/devices/virtual/block/dm-0/slaves/vda", VDA);

    let device = Device::at(&tree.path("sys/dev/block/253:0")).unwrap();
    assert_eq!((device.describe().as_str(), device.write_cache), ("dm-0p1 on vda and nvme0n1", WriteCache::Back));
    let found: Vec<String> = device.disks.iter().map(|disk| scheduler::finding(disk).text).collect();
    assert_eq!(found, ["vda: mq-deadline", "nvme0n1: none"]);

    let partition = Device::at(&tree.path(&format!("{NVME0}/nvme0n1p2"))).unwrap();
    assert_eq!(partition.describe(), "nvme0n1p2 on nvme0n1");
    assert_eq!(Device::at(&tree.path(VDA)).unwrap().describe(), "vda");
    assert!(Device::at(&tree.path("sys/dev/block/7:7")).is_none());
}

#[test]
fn interrupts_are_told_by_the_device_that_they_are_of() {
    let tree = virtual_machine();
    let of = |interrupts: &Interrupts, folder: &str| -> Vec<(u32, String, String)> {
        let found = interrupts.of(&tree.path(folder)).into_iter();
        found.map(|found| (found.number, found.name, found.cores.to_string())).collect()
    };
    let one = |number, name: &str, cores: &str| (number, name.to_owned(), cores.to_owned());
    let all = tree.all(VIRTIO);
    // The configuration's own came once.
    assert_eq!(of(&all, VDA), [one(36, "virtio1-req.0", "1")]);
    assert!(!all.of(&tree.path(VDA))[0].is_movable);
    assert_eq!(
        of(&all, "sys/devices/pci0000:00/0000:00:03.0/virtio2"),
        [one(38, "virtio2-input.0", "1"), one(39, "virtio2-output.0", "0")]
    );
    // Where the kernel does not tell where it lands: where it may.
    fs::write(tree.path("proc/irq/36/effective_affinity_list"), "\n").unwrap();
    assert_eq!(of(&all, VDA), [one(36, "virtio1-req.0", "0-1")]);
    // A virtio device on no bus that signals by messages: by its name alone, and by all of it.
    let bare = "           CPU0       CPU1       \n \
                24:         11         12    GICv3  47 Edge      virtio10\n \
                25:         13         14    GICv3  48 Edge      virtio1\n";
    tree.file("proc/irq/25/smp_affinity_list", "0-1\n");
    assert_eq!(
        of(&tree.all(bare), "sys/devices/platform/a003e00.virtio_mmio/virtio1/block/vdb"),
        [one(25, "virtio1", "0-1")]
    );

    // One that is wired to a line, which it shares.
    tree.file("sys/devices/pci0000:00/0000:00:1f.2/irq", "16\n");
    tree.file("proc/irq/16/smp_affinity_list", "2\n");
    let sata = "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda";
    assert_eq!(of(&tree.all(NVME), sata), [one(16, "i801_smbus", "2")]);

    // A namespace that is reached by two controllers.
    for (controller, number) in [("0000:01:00.0", 132), ("0000:02:00.0", 135)] {
        tree.interrupts(&format!("sys/devices/pci0000:00/{controller}"), &[(number, "3", false)]);
    }
    let subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
    tree.disk(&format!("{subsystem}/nvme0n1"), "[none] mq-deadline\n", &[]);
    for (name, controller) in [("nvme0", "0000:01:00.0"), ("nvme1", "0000:02:00.0")] {
        let folder = format!("sys/devices/pci0000:00/{controller}/nvme/{name}");
        tree.file(&format!("{folder}/state"), "live\n");
        tree.link(&format!("{subsystem}/{name}"), &folder);
    }
    let both = of(&tree.all(NVME), &format!("{subsystem}/nvme0n1"));
    assert_eq!(both, [one(132, "nvme0q1", "3"), one(135, "nvme0q4", "3")]);
}

#[test]
fn interrupts_on_a_reactors_core_are_told_with_what_to_change() {
    let tree = virtual_machine();
    let all = tree.all(VIRTIO);
    let mut devices = vec![Placed::disk(&disk(&tree, VDA), &all)];
    devices.extend(Placed::networks(&tree.path("sys"), &all));

    // A reactor on core 0, where half of the network's are: they can be moved, and no core has none.
    let found = findings(&devices, &seats(2, 1, None));
    assert_says(&found[0], Health::Good, &["vda: on core 1; the reactor would be on core 0"]);
    let change = "echo 1 > /proc/irq/39/smp_affinity_list";
    let text = "eth0: on cores 0-1; 39 (virtio2-output.0) on core 0";
    assert_says(&found[1], Health::Fair, &[text, change, "IRQBALANCE_BANNED_CPULIST=0"]);
    assert!(!found[1].to_string().contains("--core"), "{}", found[1]);
    assert_eq!(found.len(), 2);

    // A reactor on core 1: the disk's can't be moved, and what lands on core 0 can.
    let found = findings(&devices, &seats(2, 1, Some(1)));
    let words = ["36 (virtio1-req.0) on core 1", "lets nobody move 36", "start the server with --core 0"];
    assert_says(&found[0], Health::Fair, &words);
    assert!(!found[0].to_string().contains("smp_affinity"), "{}", found[0]);

    // Three cores: the last one has none.
    let found = findings(&devices, &seats(3, 1, None));
    assert_says(&found[1], Health::Fair, &["start the server with --core 2; or as root: echo 1-2 > "]);
    // With two reactors all are in the way of one, and two can be moved at once.
    let found = findings(&devices, &seats(3, 2, None));
    let change = "for i in 38 39; do echo 2 > /proc/irq/$i/smp_affinity_list; done";
    assert_says(&found[1], Health::Fair, &[change, "where the reactors would be"]);
    // There is no other core.
    for found in findings(&devices, &seats(2, 2, None)) {
        assert_says(&found, Health::Fair, &["more cores, or start fewer reactors"]);
    }
}

#[test]
fn a_queue_for_each_core_is_as_it_should_be() {
    let tree = machine();
    let devices = [Placed::disk(&disk(&tree, NVME0), &tree.all(NVME))];
    let found = findings(&devices, &seats(4, 3, None));
    assert_says(&found[0], Health::Good, &["nvme0n1: on cores 0-3", "a queue for each core", "on 0-2"]);
    // With a queue for two cores at a time, those of one land on the other.
    for (queue, cores) in [(0, "0, 1"), (1, "2, 3")] {
        tree.file(&format!("{NVME0}/mq/{queue}/cpu_list"), cores);
    }
    for queue in [2, 3] {
        fs::remove_dir_all(tree.path(&format!("{NVME0}/mq/{queue}"))).unwrap();
    }
    let devices = [Placed::disk(&disk(&tree, NVME0), &tree.all(NVME))];
    assert_says(&findings(&devices, &seats(4, 3, None))[0], Health::Fair, &["132 (nvme0q1), 133 (nvme0q2)"]);
}

#[test]
fn what_is_not_told_is_said() {
    let tree = machine();
    let seats = seats(4, 1, None);
    let of = |folder: &str, interrupts: &str| {
        let devices = [Placed::disk(&disk(&tree, folder), &tree.all(interrupts))];
        findings(&devices, &seats).remove(0)
    };
    tree.disk("sys/devices/virtual/block/loop0", "[none]\n", &["0, 1, 2, 3"]);
    assert_says(&of("sys/devices/virtual/block/loop0", NVME), Health::Good, &["loop0: it is virtual"]);
    tree.disk("sys/devices/vbd-768/block/xvda", "[none]\n", &[]);
    assert_says(&of("sys/devices/vbd-768/block/xvda", NVME), Health::Untold, &["xvda: which ones"]);
    // A container may not see where they land, or nothing that it knows to read.
    fs::remove_dir_all(tree.path("proc/irq")).unwrap();
    assert_says(&of(NVME0, NVME), Health::Untold, &["nvme0n1: where they land can't be read"]);
    assert_says(&of(NVME0, ""), Health::Untold, &["nvme0n1: which ones"]);
    fs::remove_file(tree.path("proc/interrupts")).unwrap();
    assert!(Interrupts::read(&tree.path("proc")).is_err());
}
