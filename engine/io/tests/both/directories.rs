//! Data directories: made, locked, and refused.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use io::{DataDir, DirError, DirId, FileOp, FileSystem};

use super::rig::{Rig, directory, skip};

#[test]
fn a_missing_directory_is_made_for_its_owner_alone() {
    let directory = directory();
    let path = directory.path().join("a/b/c");
    let data_dir = DataDir::open(&path, false).unwrap();
    assert!(data_dir.durable());
    assert_eq!(data_dir.path(), path);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
    let alignment = data_dir.alignment().unwrap();
    assert!(alignment.memory_bytes.is_power_of_two() && alignment.memory_bytes <= 4096, "{alignment:?}");
    assert!(alignment.offset_bytes.is_power_of_two() && alignment.offset_bytes <= 4096, "{alignment:?}");
    let left: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"], "the probe is gone");
}

#[test]
fn one_process_has_a_directory_at_a_time() {
    let directory = directory();
    let first = DataDir::open(directory.path(), false).unwrap();
    let error = DataDir::open(directory.path(), false).unwrap_err();
    let own = std::process::id();
    assert!(matches!(error, DirError::InUse { process: Some(process), .. } if process == own), "{error:?}");
    assert!(error.to_string().contains(&own.to_string()), "{error}");
    drop(first);
    DataDir::open(directory.path(), false).unwrap();
}

#[test]
fn one_keeps_its_directory_locked_until_it_is_dropped() {
    let rig = Rig::new();
    let path = rig.path.clone();
    assert!(matches!(DataDir::open(&path, false), Err(DirError::InUse { .. })));
    drop(rig.io);
    DataDir::open(&path, false).unwrap();
}

#[test]
fn what_is_no_directory_is_refused() {
    let directory = directory();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = DataDir::open(&path, false).unwrap_err();
        assert!(matches!(error, DirError::NotADirectory { .. }), "{error:?}");
    }
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let thread = std::thread::spawn(|| {
        let directory = directory();
        let closed = directory.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
        let all = rustix::thread::capabilities(None).unwrap();
        let mut fewer = all;
        // What lets root pass over permissions.
        fewer.effective.remove(rustix::thread::CapabilitySet::DAC_OVERRIDE);
        rustix::thread::set_capabilities(None, fewer).unwrap();
        for path in [closed.clone(), closed.join("below")] {
            let error = DataDir::open(&path, false).unwrap_err();
            assert!(matches!(error, DirError::Forbidden { .. }), "{error:?}");
        }
        rustix::thread::set_capabilities(None, all).unwrap();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn memory_is_refused_by_name_and_taken_when_losses_are_allowed() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return skip("/dev/shm can't be written to") };
    let error = DataDir::open(memory.path(), false).unwrap_err();
    assert!(matches!(error, DirError::NotDurable { file_system: FileSystem::Tmpfs, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("tmpfs") && text.contains("--not-durable") && !text.contains('\n'), "{text}");
    assert_eq!(std::fs::read_dir(memory.path()).unwrap().count(), 0, "nothing was left in it");

    let data_dir = DataDir::open(memory.path(), true).unwrap();
    assert!(!data_dir.durable());
    assert_eq!(data_dir.file_system(), FileSystem::Tmpfs);
    let mut rig = Rig::of(data_dir, |_| {});
    let file = rig.open("a", true);
    let buf = rig.buffer(8192, 1);
    assert_eq!(rig.write(file, 0, buf, true), 8192);
}

#[test]
fn a_file_system_of_unknown_kind_is_refused() {
    let error = DataDir::open(Path::new("/proc"), false).unwrap_err();
    assert!(matches!(error, DirError::NotDurable { file_system: FileSystem::Other(_), .. }), "{error:?}");
    assert!(error.to_string().contains("0x9fa0"), "{error}");
}

#[test]
fn big_files_are_removed_and_cut_between_other_operations() {
    let mut rig = Rig::new();
    const BYTES: u64 = 1 << 30;
    let file = rig.open("big", true);
    let kept = rig.open("kept", true);
    for file in [file, kept] {
        assert_eq!(rig.file(FileOp::Allocate { file, bytes: BYTES }), 0);
    }
    let buf = rig.buffer(4096, 7);
    let expected = buf.to_vec();
    assert_eq!(rig.write(kept, 0, buf, false), 4096);
    assert_eq!(rig.file(FileOp::Close(file)), 0);

    // The name is gone before the space is, and other requests don't wait for all of it.
    let removing = rig.submit(io::Op::File(FileOp::Remove { dir: DirId(0), name: "big".to_owned() }));
    let again = rig.submit(io::Op::File(FileOp::Open { dir: DirId(0), name: "big".to_owned(), create: true }));
    assert!(rig.next(again).result >= 0, "its name is free");
    assert!(!rig.has(removing), "the space is still being freed");
    assert_eq!(rig.next(removing).result, 0);

    // Removed but open: it goes on until it is closed.
    assert_eq!(rig.file(FileOp::Remove { dir: DirId(0), name: "kept".to_owned() }), 0);
    let (result, read) = rig.read(kept, 0, 4096);
    assert_eq!((result, &read[..]), (4096, &expected[..]));

    // An operation on a file that is being cut waits for the end of it.
    let cutting = rig.submit(io::Op::File(FileOp::Truncate { file: kept, bytes: 8192 }));
    let extending = rig.submit(io::Op::File(FileOp::Truncate { file: kept, bytes: 16384 }));
    let closing = rig.submit(io::Op::File(FileOp::Close(kept)));
    assert_eq!(rig.next(extending).result, 0);
    assert!(rig.has(cutting));
    assert_eq!(rig.next(cutting).result, 0);
    assert_eq!(rig.next(closing).result, 0);
}
