//! The disk by itself: what a power cut may and may not take.

use io::{DirId, Pool};

use super::*;

const NO_FAULTS: DiskFaults = DiskFaults {
    write_error: 0.0,
    write_short: 0.0,
    cancelled: 0.0,
    read_error: 0.0,
    read_short: 0.0,
    sync_error: 0.0,
    name_error: 0.0,
    allocate_full: 0.0,
    copy_full: 0.0,
    sticky: 0.0,
    slow: 0.0,
};

struct Bench {
    disk: Disk,
    pool: Pool,
    trace: Trace,
    now_ns: u64,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let disk = Disk::new(Dice::new(seed, 0, "disk"), NO_FAULTS, 1 << 30);
        Bench { disk, pool: Pool::new(1 << 20).unwrap(), trace: Trace::default(), now_ns: 0 }
    }

    fn start(&mut self, op: DiskOp) {
        self.disk.start(self.now_ns, Token(1), op, &mut self.trace);
    }

    fn run(&mut self, op: DiskOp) -> Completion {
        self.start(op);
        self.now_ns += 1_000_000_000;
        self.disk.complete(self.now_ns, &mut self.trace).expect("due")
    }

    fn file(&mut self, op: FileOp) -> i32 {
        self.run(DiskOp::File(op)).result
    }

    fn create(&mut self, name: &str) -> FileId {
        FileId(self.file(FileOp::Open { dir: DirId(0), name: name.to_owned(), create: true }) as u32)
    }

    fn write(&mut self, file: FileId, offset: u64, byte: u8, blocks: usize, durable: bool) -> DiskOp {
        let mut buf = self.pool.take(blocks * 4096).unwrap();
        buf.fill(byte);
        DiskOp::Write { file, offset, buf: buf.freeze(), durable }
    }

    fn read(&mut self, file: FileId, offset: u64, blocks: usize) -> Vec<u8> {
        let buf = self.pool.take(blocks * 4096).unwrap();
        let completion = self.run(DiskOp::Read { file, offset, buf });
        let Payload::Buf(buf) = completion.payload else { panic!("a read brings its buffer") };
        buf[..completion.result as usize].to_vec()
    }

    fn reopen(&mut self, name: &str) -> Option<FileId> {
        let result = self.file(FileOp::Open { dir: DirId(0), name: name.to_owned(), create: false });
        (result >= 0).then_some(FileId(result as u32))
    }

    /// A file of 16 blocks whose name and length are flushed.
    fn settled_file(&mut self, name: &str) -> FileId {
        let file = self.create(name);
        assert_eq!(self.file(FileOp::Allocate { file, bytes: 16 * 4096 }), 0);
        assert_eq!(self.file(FileOp::Sync(file)), 0);
        assert_eq!(self.file(FileOp::SyncDir(DirId(0))), 0);
        file
    }
}

#[test]
fn a_completed_durable_write_survives_every_cut() {
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        let file = bench.settled_file("a");
        let plain = bench.write(file, 0, 1, 2, false);
        bench.run(plain);
        let durable = bench.write(file, 4096, 2, 2, true);
        assert_eq!(bench.run(durable).result, 8192);
        bench.disk.cut_power(&mut bench.trace);
        let file = bench.reopen("a").expect("its name was flushed");
        assert_eq!(bench.read(file, 4096, 2), [2; 8192], "seed {seed}");
    }
}

#[test]
fn unflushed_writes_are_lost_kept_and_torn() {
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..300 {
        let mut bench = Bench::new(seed);
        let file = bench.settled_file("a");
        let write = bench.write(file, 0, 7, 2, seed % 2 == 0);
        if seed % 2 == 0 {
            bench.start(write);
        } else {
            bench.run(write);
        }
        bench.disk.cut_power(&mut bench.trace);
        let file = bench.reopen("a").expect("its name was flushed");
        let bytes = bench.read(file, 0, 2);
        match bytes.chunks(512).filter(|sector| sector.iter().all(|&byte| byte == 7)).count() {
            0 => lost += 1,
            16 => kept += 1,
            _ => torn += 1,
        }
        let whole = |sector: &[u8]| sector.iter().all(|&byte| byte == sector[0]);
        assert!(bytes.chunks(512).all(whole), "sectors are never torn");
    }
    assert!(lost > 20 && kept > 20 && torn > 20, "lost {lost}, kept {kept}, torn {torn}");
}

#[test]
fn a_flush_covers_what_was_complete_when_it_began() {
    let mut escaped = 0;
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        let file = bench.settled_file("a");
        let before = bench.write(file, 0, 1, 1, false);
        bench.run(before);
        let beside = bench.write(file, 8192, 2, 1, false);
        bench.start(beside);
        bench.start(DiskOp::File(FileOp::Sync(file)));
        bench.now_ns += 1_000_000_000;
        while bench.disk.complete(bench.now_ns, &mut bench.trace).is_some() {}
        bench.disk.cut_power(&mut bench.trace);
        let file = bench.reopen("a").expect("its name was flushed");
        assert_eq!(bench.read(file, 0, 1), [1; 4096], "seed {seed}");
        escaped += usize::from(bench.read(file, 8192, 1) != [2; 4096]);
    }
    assert!(escaped > 20, "a write in flight is not flushed: {escaped}");
}

#[test]
fn names_and_lengths_are_volatile_until_flushed() {
    let (mut missing, mut short, mut there) = (0, 0, 0);
    for seed in 0..300 {
        let mut bench = Bench::new(seed);
        let file = bench.create("a.new");
        bench.file(FileOp::Allocate { file, bytes: 16 * 4096 });
        bench.file(FileOp::Rename { dir: DirId(0), from: "a.new".to_owned(), to: "a".to_owned() });
        bench.disk.cut_power(&mut bench.trace);
        match bench.reopen("a") {
            None => missing += 1,
            Some(file) if bench.read(file, 0, 1).is_empty() => short += 1,
            Some(_) => there += 1,
        }
    }
    assert!(missing > 20 && short > 20 && there > 20, "missing {missing}, short {short}, there {there}");
}

#[test]
fn a_killed_process_leaves_the_cache_alone() {
    for seed in 0..100 {
        let mut bench = Bench::new(seed);
        let file = bench.create("a");
        let write = bench.write(file, 0, 9, 1, false);
        bench.run(write);
        bench.disk.kill(&mut bench.trace);
        let file = bench.reopen("a").expect("the name is there while the machine runs");
        assert_eq!(bench.read(file, 0, 1), [9; 4096]);
    }
}

#[test]
fn a_failed_flush_may_lose_what_a_later_one_calls_flushed() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        let file = bench.settled_file("a");
        let write = bench.write(file, 0, 5, 1, false);
        bench.run(write);
        bench.disk.set_faults(DiskFaults { sync_error: 1.0, ..NO_FAULTS }, 1 << 30);
        assert!(bench.file(FileOp::Sync(file)) < 0);
        bench.disk.set_faults(NO_FAULTS, 1 << 30);
        assert_eq!(bench.file(FileOp::Sync(file)), 0);
        bench.disk.cut_power(&mut bench.trace);
        let file = bench.reopen("a").expect("its name was flushed");
        lost += usize::from(bench.read(file, 0, 1) != [5; 4096]);
    }
    assert!(lost > 20, "lost {lost}");
}

/// Bug: a life could read, and rely on, what a failed flush of the life before had lost. Mechanism: only a power cut took it
/// out of what reads show. Fix: the end of a process does too, as the files are opened anew, past the cache.
#[test]
fn the_next_process_does_not_see_what_a_failed_flush_lost() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut bench = Bench::new(seed);
        let file = bench.settled_file("a");
        let write = bench.write(file, 0, 5, 1, false);
        bench.run(write);
        bench.disk.set_faults(DiskFaults { sync_error: 1.0, ..NO_FAULTS }, 1 << 30);
        assert!(bench.file(FileOp::Sync(file)) < 0);
        bench.disk.set_faults(NO_FAULTS, 1 << 30);
        bench.disk.kill(&mut bench.trace);
        let file = bench.reopen("a").expect("its name was flushed");
        let seen = bench.read(file, 0, 1);
        assert_eq!(bench.file(FileOp::Sync(file)), 0);
        bench.disk.cut_power(&mut bench.trace);
        let file = bench.reopen("a").expect("its name was flushed");
        assert_eq!(bench.read(file, 0, 1), seen, "seed {seed}: it was seen and flushed, and is another");
        lost += usize::from(seen != [5; 4096]);
    }
    assert!(lost > 20, "lost {lost}");
}

#[test]
fn allocation_stops_at_the_end_of_the_disk() {
    let mut bench = Bench::new(1);
    let file = bench.create("a");
    bench.disk.set_faults(NO_FAULTS, 1 << 20);
    assert_eq!(bench.file(FileOp::FreeMib(DirId(0))), 1);
    assert_eq!(bench.file(FileOp::Allocate { file, bytes: 2 << 20 }), errno::NO_SPACE);
    assert_eq!(bench.file(FileOp::Allocate { file, bytes: 1 << 20 }), 0);
    assert_eq!(bench.file(FileOp::FreeMib(DirId(0))), 0);
}

#[test]
#[should_panic(expected = "overlap")]
fn overlapping_writes_in_flight_are_a_bug() {
    let mut bench = Bench::new(1);
    let file = bench.settled_file("a");
    let first = bench.write(file, 0, 1, 2, true);
    let second = bench.write(file, 4096, 1, 1, true);
    bench.start(first);
    bench.start(second);
}
