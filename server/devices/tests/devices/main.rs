//! What is made of the kernel's words on cores, disks and interrupts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, what helps it too")]

mod tree;

use std::fs;

use devices::{Cores, Device, Interrupts, Network};
use tree::{NVME, NVME0, VDA, VIRTIO, machine, virtual_machine};

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
    // Where the kernel does not tell where it lands: where it nearly always did, of the cores where it may.
    fs::write(tree.path("proc/irq/36/effective_affinity_list"), "\n").unwrap();
    assert_eq!(of(&all, VDA), [one(36, "virtio1-req.0", "1")]);
    fs::write(tree.path("proc/irq/36/smp_affinity_list"), "0\n").unwrap();
    assert_eq!(of(&all, VDA), [one(36, "virtio1-req.0", "0")], "it was moved since");
    fs::remove_dir_all(tree.path("proc/irq/36")).unwrap();
    assert_eq!(of(&all, VDA), [one(36, "virtio1-req.0", "1")]);
    // A virtio device on no bus that signals by messages: by its name alone, and by all of it.
    let bare = "           CPU0       CPU2       \n \
                24:         11         12    GICv3  47 Edge      virtio10\n \
                25:         13         14    GICv3  48 Edge      virtio1\n";
    tree.file("proc/irq/25/smp_affinity_list", "0-1\n");
    assert_eq!(
        of(&tree.all(bare), "sys/devices/platform/a003e00.virtio_mmio/virtio1/block/vdb"),
        [one(25, "virtio1", "0-1")]
    );
    // Cores have the names that they have there: one between may be off.
    let later = bare.replace(" 14 ", " 14000 ");
    fs::remove_dir_all(tree.path("proc/irq/25")).unwrap();
    assert_eq!(of(&tree.all(&later), "sys/devices/platform/a003e00.virtio_mmio/virtio1"), [one(25, "virtio1", "2")]);

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
fn a_disk_has_a_core_where_all_its_interrupts_land_on_one() {
    let tree = virtual_machine();
    let all = tree.all(VIRTIO);
    let disks = Device::at(&tree.path(VDA)).unwrap().disks;
    assert_eq!((all.core_of(&disks), all.core_of(&[])), (Some(1), None));
    fs::write(tree.path("proc/irq/36/effective_affinity_list"), "0-1\n").unwrap();
    assert_eq!(all.core_of(&disks), None);

    let tree = machine();
    let disks = Device::at(&tree.path(NVME0)).unwrap().disks;
    assert_eq!(tree.all(NVME).core_of(&disks), None, "each core has a queue");
    let beside = "sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda";
    tree.disk(beside, "none [mq-deadline]\n", &["0, 1, 2, 3"]);
    tree.file("sys/devices/pci0000:00/0000:00:1f.2/irq", "16\n");
    let mut both = Device::at(&tree.path(beside)).unwrap().disks;
    assert_eq!(tree.all(NVME).core_of(&both), Some(2));
    both.extend(disks);
    assert_eq!(tree.all(NVME).core_of(&both), None);
}

#[test]
fn devices_of_the_network_are_those_that_are_up_and_no_software() {
    let tree = virtual_machine();
    tree.file("sys/devices/virtual/net/tun0/operstate", "up\n");
    tree.link("sys/class/net/tun0", "sys/devices/virtual/net/tun0");
    let found = Network::all(&tree.path("sys"));
    let found: Vec<_> = found.iter().map(|network| (network.name.as_str(), network.folder.clone())).collect();
    assert_eq!(found, [("eth0", tree.path("sys/devices/pci0000:00/0000:00:03.0/virtio2"))]);
}

/// Whatever this machine is: what is told of it holds.
#[test]
fn this_machine_tells_no_core_that_it_has_not() {
    let disks = Device::of(std::path::Path::new("/")).map_or_else(Vec::new, |device| device.disks);
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok().and_then(|text| Cores::parse(&text));
    if let Some((core, online)) = devices::core_of_interrupts(&disks).zip(online) {
        assert!(!online.and(&Cores::from_iter([core])).is_empty(), "core {core} of {online}");
    }
}
