//! A process that is killed with writes in flight.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use io::{DataDir, DirId, FileOp, Io, Op, Token, Wait};

use super::rig::{PATIENCE, Rig, directory};

/// Names the directory that the test, started again as a process of its own, writes to until it is killed.
const VICTIM: &str = "RING_TEST_VICTIM";
const WRITING: &str = "writing";

#[test]
fn a_directory_opens_again_after_its_process_was_killed() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return write_until_killed(Path::new(&path));
    }
    let directory = directory();
    for _ in 0..5 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "both::killed::a_directory_opens_again_after_its_process_was_killed"])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(WRITING)), "it did not come to writing");
        victim.kill().unwrap();
        victim.wait().unwrap();
        drop(DataDir::open(directory.path(), false).unwrap());
    }
}

fn write_until_killed(path: &Path) {
    let mut rig = Rig::at(path, |_| {});
    let _ = rig.file(FileOp::Remove { dir: DirId(0), name: "a".to_owned() });
    let file = rig.open("a", true);
    assert_eq!(rig.file(FileOp::Allocate { file, bytes: 64 << 20 }), 0);
    let buf = rig.buffer(1 << 20, 1).freeze();
    let deadline = Instant::now() + PATIENCE;
    let mut completions = Vec::new();
    for round in 0_u64.. {
        assert!(Instant::now() < deadline, "nobody killed it");
        for index in 0..16 {
            let write = Op::Write { file, offset: index << 20, buf: buf.clone(), durable: true };
            rig.io.submit(write, Token(1 << 40 | index));
        }
        rig.io.turn(Wait::Forever, &mut completions);
        completions.clear();
        if round == 4 {
            println!("{WRITING}");
        }
    }
}
