//! What the kernel says of disks, schedulers and interrupts, in its own words, and what the doctor makes of it.

#[path = "../../devices/tests/devices/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use devices::{Device, Disk, Interrupts, Network, WriteCache};

use super::placement::{Placed, Seats, findings};
use super::{Finding, Health, descriptors, scheduler};
use tree::{NVME, NVME0, Tree, VDA, VIRTIO, machine, virtual_machine};

#[test]
fn with_tls_a_connection_takes_three_descriptors_and_each_reactor_has_its_own() {
    assert_eq!(descriptors(1), 2 * 16_384 + 2 * 4096 + 4096);
    assert_eq!(descriptors(2) - descriptors(1), 2 * 16_384);
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
    assert!(health != Health::Fair || finding.advice.is_some(), "{text}");
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
fn a_reactor_may_share_its_core_with_the_disk_and_nothing_else_should() {
    let tree = virtual_machine();
    let devices = [Placed::disk(&disk(&tree, VDA), &tree.all(VIRTIO))];
    let advice = "-> each durable write is finished on core 1: a reactor may share it, what else is busy should run";
    let elsewhere = &findings(&devices, &seats(2, 1, None))[0];
    assert_says(elsewhere, Health::Good, &["vda: on core 1; the reactor would be on core 0", advice]);
    let there = &findings(&devices, &seats(2, 1, Some(1)))[0];
    assert_says(there, Health::Good, &["vda: on core 1; the reactor would be on core 1", advice]);
    let both = &findings(&devices, &seats(2, 2, None))[0];
    assert_says(both, Health::Good, &["vda: on core 1; the reactors would be on cores 0-1", advice]);
}

#[test]
fn the_networks_interrupts_on_a_reactors_core_are_told_with_what_to_change() {
    let tree = virtual_machine();
    let all = tree.all(VIRTIO);
    let mut devices = vec![Placed::disk(&disk(&tree, VDA), &all)];
    devices.extend(Network::all(&tree.path("sys")).iter().map(|network| Placed::network(network, &all)));
    let of = |devices: &[Placed], seats: &Seats| findings(devices, seats).remove(1);

    // A reactor on core 0, where half of the network's are: they can be moved, and no core has none.
    let found = of(&devices, &seats(2, 1, None));
    let change = "echo 1 > /proc/irq/39/smp_affinity_list";
    let text = "eth0: on cores 0-1; 39 (virtio2-output.0) on core 0";
    assert_says(&found, Health::Fair, &[text, change, "IRQBALANCE_BANNED_CPULIST=0"]);
    assert!(!found.to_string().contains("--core"), "{found}");

    // Three cores: the last one has none.
    let found = of(&devices, &seats(3, 1, None));
    assert_says(&found, Health::Fair, &["start the server with --core 2; or as root: echo 1-2 > "]);
    // With two reactors all are in the way of one, and two can be moved at once.
    let found = of(&devices, &seats(3, 2, None));
    let change = "for i in 38 39; do echo 2 > /proc/irq/$i/smp_affinity_list; done";
    assert_says(&found, Health::Fair, &[change, "where the reactors would be"]);
    // There is no other core.
    assert_says(&of(&devices, &seats(2, 2, None)), Health::Fair, &["more cores, or start fewer reactors"]);

    // One that can't be moved: the reactor is. That the disk's land there is in nobody's way.
    let fixed = tree.path("proc/irq/39/smp_affinity_list");
    fs::set_permissions(fixed, fs::Permissions::from_mode(0o444)).unwrap();
    devices[1] = Placed::network(&Network::all(&tree.path("sys"))[0], &all);
    let found = of(&devices, &seats(2, 1, None));
    assert_says(&found, Health::Fair, &["lets nobody move 39", "start the server with --core 1"]);
    assert!(!found.to_string().contains("smp_affinity"), "{found}");
}

#[test]
fn a_queue_for_each_core_is_as_it_should_be() {
    let tree = machine();
    let devices = [Placed::disk(&disk(&tree, NVME0), &tree.all(NVME))];
    let found = findings(&devices, &seats(4, 3, None));
    assert_says(&found[0], Health::Good, &["nvme0n1: on cores 0-3", "a queue for each core", "on 0-2"]);
    // With a queue for two cores at a time, a write is finished on either.
    for (queue, cores) in [(0, "0, 1"), (1, "2, 3")] {
        tree.file(&format!("{NVME0}/mq/{queue}/cpu_list"), cores);
    }
    for queue in [2, 3] {
        fs::remove_dir_all(tree.path(&format!("{NVME0}/mq/{queue}"))).unwrap();
    }
    let devices = [Placed::disk(&disk(&tree, NVME0), &tree.all(NVME))];
    let found = &findings(&devices, &seats(4, 3, None))[0];
    assert_says(found, Health::Good, &["nvme0n1: on cores 0-3; the reactors would be on cores 0-2"]);
    assert!(found.advice.is_none(), "{found}");
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
    let spread = NVME.replace(" 0 ", " 80000 ");
    assert_says(&of(NVME0, &spread), Health::Untold, &["nvme0n1: where they land can't be read"]);
    assert_says(&of(NVME0, ""), Health::Untold, &["nvme0n1: which ones"]);
    fs::remove_file(tree.path("proc/interrupts")).unwrap();
    assert!(Interrupts::read(&tree.path("proc")).is_err());
}
