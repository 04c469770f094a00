//! Directories in which no server can be started: each is told in one line, with what to change, and nothing is left there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;
use crate::mounts::{LoopDisk, Mounted};

/// What a run says that can't start its server there.
#[track_caller]
fn refusal(within: &Path, arguments: &[&str]) -> String {
    let results = directory();
    let output = load(results.path(), arguments).arg("--dir").arg(within).args(SMALL_SERVER).output().unwrap();
    let message = message(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let own: Vec<&str> = message.lines().filter(|line| line.starts_with("millstream-load: ")).collect();
    let [line] = own[..] else { panic!("not one line: {message}") };
    assert!(message.ends_with(&format!("{line}\n")), "{message}");
    line.to_owned()
}

#[track_caller]
fn assert_refused(within: &Path, arguments: &[&str], parts: &[&str]) {
    let line = refusal(within, arguments);
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
}

#[test]
fn memory_is_told_by_name() {
    let Some(memory) = Mounted::new("ramfs", "size=1m") else { return };
    assert_refused(&memory.path, &["--bytes", "1MB"], &["it is on ramfs, which", "--not-durable"]);
}

#[test]
fn a_file_system_without_direct_access_is_told() {
    // With its journal for data too, ext4 takes no direct writes.
    let Some(disk) = LoopDisk::new(1 << 30, &[], "loop,data=journal") else { return };
    let arguments = ["--bytes", "1MB"];
    assert_refused(&disk.path, &arguments, &["ext4 refuses direct access (O_DIRECT)", "--not-durable"]);
}

#[test]
fn a_read_only_disk_is_told() {
    let Some(disk) = LoopDisk::new(1 << 30, &[], "loop") else { return };
    disk.remount_read_only();
    assert_refused(&disk.path, &["--bytes", "1MB"], &["Read-only file system", "name another one with --dir"]);
}

#[test]
fn a_full_disk_is_told() {
    let Some(disk) = LoopDisk::new(64 << 20, &["-O", "^has_journal"], "loop") else { return };
    assert_refused(
        &disk.path,
        &["--bytes", "200MB"],
        &["free and this run may need", "choose another disk with --dir, or lower --bytes"],
    );
    let free = rustix::fs::statvfs(&disk.path).unwrap();
    fs::write(disk.path.join("ballast"), vec![1; (free.f_bavail * free.f_frsize) as usize - (4 << 20)]).unwrap();
    assert_refused(&disk.path, &["--bytes", "1MB"], &["free and this run may need", "choose another disk with --dir"]);
}

#[test]
fn a_newer_data_directory_and_one_in_use_are_told() {
    let scratch = directory();
    let used = scratch.path().join("used");
    let mut server = Command::new(server_program());
    forget_settings(&mut server);
    server.arg("serve").arg("--data").arg(&used).args(SMALL).arg(LITTLE_MEMORY).arg("--until-stdin-ends");
    server.args(["--native", "127.0.0.1:0", "--http", "off", "--admin", "off"]);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("ready "), "{ready}");
    // Of a run's server it would be the second directory.
    let passed = format!("--server-arg=--data={}", used.display());
    let process = format!("({})", server.id());
    let parts = ["the server did not start: ", &process, "is using it; stop that one or name another directory"];
    assert_refused(scratch.path(), &["--bytes", "1MB", &passed], &parts);
    drop(server.stdin.take());
    assert!(server.wait().unwrap().success());
    let superblock = used.join("superblock");
    let mut bytes = fs::read(&superblock).unwrap();
    for copy in bytes.chunks_mut(4096) {
        copy[8] = 3;
        let sum = xxh3_64_with_seed(&copy[..80], u64::from_le_bytes(*b"MSSUPER1"));
        copy[80..88].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(&superblock, bytes).unwrap();
    assert_refused(scratch.path(), &["--bytes", "1MB", &passed], &["the server did not start: ", "version 3", "newer"]);
}
