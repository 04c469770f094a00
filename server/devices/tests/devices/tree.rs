//! Machines as the kernel tells of them in sysfs and procfs, in its own words.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use devices::Interrupts;
use tempfile::TempDir;

/// A virtual machine with one queue for its disk, which is virtio1, and its network, which is virtio2.
pub(crate) const VIRTIO: &str = "\
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
pub(crate) const NVME: &str = "\
            CPU0       CPU1       CPU2       CPU3       \n  \
  0:          9          0          0          0  IR-IO-APIC    2-edge      timer\n  \
 16:          0          0         70          0  IR-IO-APIC   16-fasteoi   ahci[0000:00:1f.2], i801_smbus\n \
 131:         24          0          0          0  IR-PCI-MSIX-0000:01:00.0    0-edge      nvme0q0\n \
 132:      80211          0          0          0  IR-PCI-MSIX-0000:01:00.0    1-edge      nvme0q1\n \
 133:          0      79120          0          0  IR-PCI-MSIX-0000:01:00.0    2-edge      nvme0q2\n \
 134:          0          0      81904          0  IR-PCI-MSIX-0000:01:00.0    3-edge      nvme0q3\n \
 135:          0          0          0      78733  IR-PCI-MSIX-0000:01:00.0    4-edge      nvme0q4\n";

/// Files and links as in /sys and /proc.
pub(crate) struct Tree(TempDir);

impl Tree {
    pub(crate) fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(path)
    }

    pub(crate) fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A link from one place to the other, by a relative path as the kernel has them.
    pub(crate) fn link(&self, from: &str, to: &str) {
        let path = self.path(from);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(Path::new(&"../".repeat(from.matches('/').count())).join(to), path).unwrap();
    }

    /// A whole disk with its scheduler, and a queue for each of these lists of cores.
    pub(crate) fn disk(&self, folder: &str, scheduler: &str, queues: &[&str]) {
        self.file(&format!("{folder}/queue/scheduler"), scheduler);
        self.file(&format!("{folder}/queue/rotational"), "0\n");
        self.file(&format!("{folder}/queue/write_cache"), "write back\n");
        fs::create_dir_all(self.path(&format!("{folder}/slaves"))).unwrap();
        for (number, cores) in queues.iter().enumerate() {
            self.file(&format!("{folder}/mq/{number}/cpu_list"), &format!("{cores}\n"));
        }
    }

    /// A device's interrupts, where each lands, and whether the kernel lets root move it.
    pub(crate) fn interrupts(&self, device: &str, placed: &[(u32, &str, bool)]) {
        self.file(&format!("{device}/irq"), "0\n");
        for (number, cores, is_movable) in placed {
            self.file(&format!("{device}/msi_irqs/{number}"), "msix\n");
            self.file(&format!("proc/irq/{number}/effective_affinity_list"), &format!("{cores}\n"));
            let may = self.file(&format!("proc/irq/{number}/smp_affinity_list"), "0-1\n");
            fs::set_permissions(may, fs::Permissions::from_mode(if *is_movable { 0o644 } else { 0o444 })).unwrap();
        }
    }

    pub(crate) fn all(&self, interrupts: &str) -> Interrupts {
        self.file("proc/interrupts", interrupts);
        Interrupts::read(&self.path("proc")).unwrap()
    }
}

pub(crate) const VDA: &str = "sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda";
pub(crate) const NVME0: &str = "sys/devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1";

/// The virtual machine: the disk's interrupts are the kernel's to place, those of the network root's.
pub(crate) fn virtual_machine() -> Tree {
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
pub(crate) fn machine() -> Tree {
    let tree = Tree::new();
    tree.disk(NVME0, "[none] mq-deadline kyber bfq \n", &["0", "1", "2", "3"]);
    let placed = [(131, "0", true), (132, "0", false), (133, "1", false), (134, "2", false), (135, "3", false)];
    tree.interrupts("sys/devices/pci0000:00/0000:01:00.0", &placed);
    tree
}
