//! File systems that a server must not take, those that it takes when told to, and those that are full or read-only.

use std::fs;
use std::path::{Path, PathBuf};

use cutdisk::{CutDisk, require_or_skip};

use crate::mounts::{LoopDisk, Mounted};
use crate::rig::{Server, directory, millstream, refusal, run, skip};

/// A disk whose power can be cut, and where its ext4 is mounted; nothing, after saying why, where that can't be had.
pub(crate) fn cut_disk(below: &Path) -> Option<(CutDisk, PathBuf)> {
    let mut disk = require_or_skip(CutDisk::start(below, 256 << 20, 1))?;
    disk.mkfs().unwrap();
    let path = disk.mount().unwrap().to_owned();
    Some((disk, path))
}

/// Refused by its name, with nothing left on it, whether the data directory is there or would have to be made.
#[track_caller]
fn assert_refused(place: &Path, name: &str) {
    let before = fs::read_dir(place).unwrap().count();
    for data in [place.to_owned(), place.join("not/yet/there")] {
        let line = refusal(&data, &[]);
        assert!(line.contains(&format!("it is on {name}, which")) && line.contains("--not-durable"), "{line}");
    }
    assert_eq!(fs::read_dir(place).unwrap().count(), before, "something was left on it");
}

/// Also a regression test. Bug: whoever wrote to such a server could not see it. Mechanism: only its log said so. Fix: it says
/// so to every client, and what clients print is marked.
#[test]
fn tmpfs_is_refused_by_name_and_marked_when_taken() {
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return skip("no tmpfs to write to at /dev/shm") };
    assert_refused(directory.path(), "tmpfs");
    assert_taken_and_marked(&directory.path().join("data"));
}

/// A server that is told to take it does, and says so in its log and to clients.
#[track_caller]
fn assert_taken_and_marked(data: &Path) {
    let server = Server::start_with(data, &["--not-durable"]);
    assert!(server.log_text().contains("not durable"), "{}", server.log_text());
    assert!(!server.client().welcome().is_durable());
    let put = run(server.command(["put", "s", "--create", "1", "a", "b"]), b"").good();
    assert!(put.text().starts_with("2 records stored, not durably: "), "{}", put.text());
    assert_eq!(run(server.command(["tail", "s"]), b"").good().out, b"a\nb\n");
    server.stop();
}

#[test]
fn a_local_file_system_is_not_marked() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    assert!(server.client().welcome().is_durable());
    let put = run(server.command(["put", "s", "--create", "1", "a"]), b"").good();
    assert_eq!(put.text(), "1 record stored\n");
    server.stop();
}

#[test]
fn ramfs_is_refused_by_name() {
    let Some(mounted) = Mounted::new("ramfs", "size=1m") else { return };
    assert_refused(&mounted.path, "ramfs");
}

#[test]
fn an_overlay_is_refused_by_name() {
    let layers = directory();
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| layers.path().join(name));
    [&lower, &upper, &work].into_iter().for_each(|layer| fs::create_dir(layer).unwrap());
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let Some(mounted) = Mounted::new("overlay", &options) else { return };
    assert_refused(&mounted.path, "overlayfs");
}

/// Bug: where nothing could be made on it, the message named an error of the system and not the file system. Mechanism: the
/// directory was made before anybody looked where. Fix: what there is of the path is looked at first.
#[test]
fn fuse_is_refused_by_name() {
    let directory = directory();
    let Some(disk) = require_or_skip(CutDisk::start(directory.path(), 8 << 20, 1)) else { return };
    assert_refused(disk.path().parent().unwrap(), "FUSE");
}

#[test]
fn a_file_system_without_direct_access_is_refused() {
    // With its journal for data too, ext4 takes no direct writes.
    let Some(disk) = LoopDisk::new(64 << 20, &[], "loop,data=journal") else { return };
    let data = disk.path.join("data");
    let line = refusal(&data, &[]);
    assert!(line.contains("ext4 refuses direct access (O_DIRECT)") && line.contains("--not-durable"), "{line}");
    assert_taken_and_marked(&data);
}

#[test]
fn a_full_or_read_only_disk_is_said_in_one_line() {
    let Some(disk) = LoopDisk::new(24 << 20, &["-O", "^has_journal"], "loop") else { return };
    // No room for a segment.
    let data = disk.path.join("data");
    let ballast = disk.path.join("ballast");
    fs::write(&ballast, vec![1; 20 << 20]).unwrap();
    let line = refusal(&data, &[]);
    assert!(line.contains("no segment could be allocated") && line.contains("free space"), "{line}");
    // A server that fills the disk refuses, and goes on when there is room.
    fs::write(&ballast, vec![1; 6 << 20]).unwrap();
    let server = Server::start(&data);
    let stored = run(server.command(["put", "s", "--create", "1", "--quotas", "none", "--key", "k"]), &lines(20_000));
    assert_eq!(stored.status.code(), Some(1));
    assert!(stored.err.contains("disk budget used up") || stored.err.contains("free space"), "{}", stored.err);
    let kept = tailed(&server);
    assert!((2_000..20_000).contains(&kept), "{kept} records");
    fs::remove_file(&ballast).unwrap();
    let deadline = std::time::Instant::now() + crate::rig::PATIENCE;
    while !run(server.command(["put", "s", "--key", "k", "more"]), b"").status.success() {
        assert!(std::time::Instant::now() < deadline, "appends do not resume though space is free");
    }
    server.stop();
    disk.remount_read_only();
    let line = refusal(&data, &[]);
    assert!(line.contains("mounted read-only; mount it read-write or name another one"), "{line}");
    let mut inspect = millstream(["inspect", "--verify"]);
    inspect.arg(&data);
    assert!(run(inspect, b"").good().text().contains("whole"));
}

/// How many records `tail` prints.
fn tailed(server: &Server) -> usize {
    let printed = run(server.command(["tail", "s"]), b"").good();
    printed.out.iter().filter(|byte| **byte == b'\n').count()
}

fn lines(count: u32) -> Vec<u8> {
    (1..=count).flat_map(|number| format!("record {number} {}\n", "x".repeat(1000)).into_bytes()).collect()
}
