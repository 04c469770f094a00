//! What reaches the device, and what happens when it is full.

use io::{DataDir, DirError, DirId, FileOp};

use super::mounted::{Mounted, fill};
use super::rig::Rig;

#[test]
fn a_durable_write_flushes_the_device_and_another_does_not() {
    Mounted::run(64 << 20, |mounted| {
        let mut rig = Rig::at(&mounted.path, |_| {});
        let file = rig.open("a", true);
        assert_eq!(rig.file(FileOp::Allocate { file, bytes: 1 << 20 }), 0);
        // Written before, so that no metadata is left to flush.
        for offset in (0..1 << 20).step_by(65536) {
            let buf = rig.buffer(65536, 0);
            assert_eq!(rig.write(file, offset, buf, false), 65536);
        }
        assert_eq!(rig.file(FileOp::Sync(file)), 0);
        let before = mounted.flushes();
        for _ in 0..20 {
            let buf = rig.buffer(4096, 1);
            assert_eq!(rig.write(file, 0, buf, false), 4096);
        }
        let without = mounted.flushes() - before;
        for _ in 0..20 {
            let buf = rig.buffer(4096, 2);
            assert_eq!(rig.write(file, 0, buf, true), 4096);
        }
        let with = mounted.flushes() - before - without;
        // The file system's own journal may flush a few times in between.
        assert!(with >= 20, "{with} flushes for 20 durable writes");
        assert!(without < 10, "{without} flushes for 20 writes that were not to be durable");
    });
}

#[test]
fn a_full_disk_is_told_and_ends() {
    Mounted::run(16 << 20, |mounted| {
        let mut rig = Rig::at(&mounted.path, |_| {});
        let free_mib = rig.file(FileOp::FreeMib(DirId(0)));
        assert!((1..16).contains(&free_mib), "{free_mib}");
        let file = rig.open("a", true);
        assert_eq!(rig.file(FileOp::Allocate { file, bytes: 64 << 20 }), -libc::ENOSPC);
        assert_eq!(rig.file(FileOp::Truncate { file, bytes: 64 << 20 }), 0, "a hole takes no space");
        let mut results = Vec::new();
        for offset in (0..32 << 20).step_by(1 << 20) {
            let buf = rig.buffer(1 << 20, 3);
            results.push(rig.write(file, offset, buf, true));
        }
        assert_eq!(results[0], 1 << 20);
        assert_eq!(results.last(), Some(&-libc::ENOSPC), "{results:?}");
        assert_eq!(rig.file(FileOp::FreeMib(DirId(0))), 0);
        assert_eq!(rig.file(FileOp::Truncate { file, bytes: 0 }), 0);
        let buf = rig.buffer(1 << 20, 3);
        assert_eq!(rig.write(file, 0, buf, true), 1 << 20);
    });
}

#[test]
fn a_full_or_read_only_directory_is_refused() {
    Mounted::run(16 << 20, |mounted| {
        fill(&mounted.path);
        let error = DataDir::open(&mounted.path, false).unwrap_err();
        assert!(matches!(error, DirError::Full { .. }), "{error}");
        std::fs::remove_file(mounted.path.join("filler")).unwrap();
        DataDir::open(&mounted.path, false).unwrap();
        mounted.remount_read_only();
        let error = DataDir::open(&mounted.path, false).unwrap_err();
        assert!(matches!(error, DirError::ReadOnly { .. }), "{error}");
    });
}
