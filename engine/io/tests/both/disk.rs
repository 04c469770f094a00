//! Reads, writes and file operations.

use io::{DirEntry, DirId, FileId, FileOp, Io, Op, Payload};

use super::rig::Rig;

const FILE_BYTES: u64 = 1 << 20;

fn allocated(rig: &mut Rig, name: &str, bytes: u64) -> FileId {
    let file = rig.open(name, true);
    assert_eq!(rig.file(FileOp::Allocate { file, bytes }), 0);
    file
}

#[test]
fn what_is_written_reads_back() {
    let mut rig = Rig::new();
    let file = allocated(&mut rig, "a", FILE_BYTES);
    for (index, bytes) in [4096, 65536, 512 << 10].into_iter().enumerate() {
        let offset = 4096 * index as u64;
        let buf = rig.buffer(bytes, index as u8);
        let expected = buf.to_vec();
        assert_eq!(rig.write(file, offset, buf, true), bytes as i32);
        let (result, read) = rig.read(file, offset, bytes);
        assert_eq!(result, bytes as i32);
        assert!(read[..] == expected[..], "{bytes} bytes differ");
    }
    assert_eq!(rig.file(FileOp::Close(file)), 0);
    assert_eq!(rig.io.pool().used_bytes(), 0, "every buffer came back");
}

#[test]
fn a_read_past_the_end_is_short() {
    let mut rig = Rig::new();
    let file = allocated(&mut rig, "a", 8192);
    let buf = rig.buffer(8192, 1);
    let expected = buf.to_vec();
    assert_eq!(rig.write(file, 0, buf, false), 8192);
    let (result, read) = rig.read(file, 4096, 65536);
    assert_eq!(result, 4096);
    assert_eq!(read[..4096], expected[4096..]);
    assert_eq!(rig.read(file, 8192, 4096).0, 0);
}

#[test]
fn errors_come_as_the_kernel_gives_them() {
    let mut rig = Rig::new();
    let file = allocated(&mut rig, "a", 8192);
    let buf = rig.buffer(4096, 1);
    assert_eq!(rig.write(file, 1 << 62, buf, true), -libc::EFBIG);
    let buf = rig.buffer(4096, 1);
    assert_eq!(rig.write(file, 100, buf, true), -libc::EINVAL, "not aligned");
    assert_eq!(rig.file(FileOp::Allocate { file, bytes: 1 << 62 }), -libc::EFBIG);
    assert_eq!(rig.file(FileOp::Open { dir: DirId(0), name: "a".to_owned(), create: true }), -libc::EEXIST);
    assert_eq!(rig.file(FileOp::Open { dir: DirId(0), name: "b".to_owned(), create: false }), -libc::ENOENT);
    assert_eq!(rig.file(FileOp::Remove { dir: DirId(0), name: "b".to_owned() }), -libc::ENOENT);
}

#[test]
fn closed_files_are_refused_and_keep_their_buffers_safe() {
    let mut rig = Rig::new();
    let file = allocated(&mut rig, "a", 8192);
    assert_eq!(rig.file(FileOp::Close(file)), 0);
    let buf = rig.buffer(4096, 1);
    assert_eq!(rig.write(file, 0, buf, true), -libc::EBADF);
    let (result, buf) = rig.read(file, 0, 4096);
    assert_eq!((result, buf[0]), (-libc::EBADF, 0xEE));
    assert_eq!(rig.file(FileOp::Sync(file)), -libc::EBADF);
    assert_eq!(rig.file(FileOp::Close(file)), -libc::EBADF);
}

#[test]
fn a_file_closes_after_the_writes_submitted_before() {
    let mut rig = Rig::new();
    let file = allocated(&mut rig, "a", FILE_BYTES);
    let writes: Vec<_> = (0..16_u64)
        .map(|index| {
            let buf = rig.buffer(4096, index as u8).freeze();
            rig.submit(Op::Write { file, offset: index * 4096, buf, durable: true })
        })
        .collect();
    let close = rig.submit(Op::File(FileOp::Close(file)));
    let late = rig.buffer(4096, 0).freeze();
    let late = rig.submit(Op::Write { file, offset: 0, buf: late, durable: true });
    assert_eq!(rig.next(close).result, 0);
    for write in writes {
        assert_eq!(rig.next(write).result, 4096);
    }
    assert_eq!(rig.next(late).result, -libc::EBADF);
}

#[test]
fn names_are_of_files_in_the_directory() {
    let mut rig = Rig::new();
    for name in ["", ".", "..", "a/b", "/etc/passwd", "a/", "../a", "lock", "a\0b"] {
        let open = FileOp::Open { dir: DirId(0), name: name.to_owned(), create: true };
        assert_eq!(rig.file(open), -libc::EINVAL, "{name:?}");
        assert_eq!(rig.file(FileOp::Remove { dir: DirId(0), name: name.to_owned() }), -libc::EINVAL, "{name:?}");
        let rename = FileOp::Rename { dir: DirId(0), from: name.to_owned(), to: "b".to_owned() };
        assert_eq!(rig.file(rename), -libc::EINVAL, "{name:?}");
    }
    std::os::unix::fs::symlink("/etc/passwd", rig.path.join("link")).unwrap();
    assert_eq!(rig.file(FileOp::Open { dir: DirId(0), name: "link".to_owned(), create: false }), -libc::ELOOP);
    let long = "x".repeat(300);
    assert_eq!(rig.file(FileOp::Open { dir: DirId(0), name: long, create: true }), -libc::ENAMETOOLONG);
}

#[test]
fn files_are_listed_renamed_and_removed() {
    let mut rig = Rig::new();
    let a = allocated(&mut rig, "a", 8192);
    let b = allocated(&mut rig, "b", 4096);
    std::fs::create_dir(rig.path.join("directory")).unwrap();
    assert_eq!(listed(&mut rig), [entry("a", 8192), entry("b", 4096)]);
    assert_eq!(rig.file(FileOp::Rename { dir: DirId(0), from: "a".to_owned(), to: "b".to_owned() }), 0);
    assert_eq!(rig.file(FileOp::SyncDir(DirId(0))), 0);
    assert_eq!(listed(&mut rig), [entry("b", 8192)]);
    assert_eq!(rig.file(FileOp::Truncate { file: a, bytes: 4096 }), 0);
    assert_eq!(listed(&mut rig), [entry("b", 4096)]);
    assert_eq!(rig.file(FileOp::Sync(a)), 0);
    for file in [a, b] {
        assert_eq!(rig.file(FileOp::Close(file)), 0);
    }
    assert_eq!(rig.file(FileOp::Remove { dir: DirId(0), name: "b".to_owned() }), 0);
    assert_eq!(listed(&mut rig), []);
    assert!(rig.file(FileOp::FreeMib(DirId(0))) > 0);
}

fn entry(name: &str, bytes: u64) -> DirEntry {
    DirEntry { name: name.to_owned(), bytes }
}

fn listed(rig: &mut Rig) -> Vec<DirEntry> {
    let completion = rig.run(Op::File(FileOp::List(DirId(0))));
    let Payload::Entries(mut entries) = completion.payload else { panic!("{completion:?}") };
    assert_eq!(completion.result, entries.len() as i32);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}
