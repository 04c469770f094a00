//! Data directories that a server can't or must not take, and those that are damaged.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use frame::proto::ErrorCode;
use frame::{Quotas, Sequence, ShardId};
use server::client::{Client, Fault};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rig::{Finished, Server, directory, millstream, read_all, refusal, run, store};

const BLOCK: u64 = 4096;

/// A data directory with `records` records of about 1 KiB under one key in stream `s`, from a life that ended as told.
pub(crate) fn filled(records: u32, clean: bool) -> (TempDir, PathBuf) {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    fill(&mut server.client(), records);
    if clean {
        server.stop()
    } else {
        server.kill()
    }
    (directory, data)
}

fn fill(client: &mut Client, records: u32) {
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
    let all: Vec<Vec<u8>> = (1..=records).map(record).collect();
    for batch in all.chunks(100) {
        store(client, stream.stream, "k", batch);
    }
}

pub(crate) fn record(number: u32) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(1000)).into_bytes()
}

pub(crate) fn segment(data: &Path, number: u32) -> PathBuf {
    data.join(format!("0000-{number:010}.segment"))
}

/// Flips a bit at `offset`.
pub(crate) fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// Where `text` stands in a file.
pub(crate) fn find(path: &Path, text: &[u8]) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes.windows(text.len()).position(|window| window == text).unwrap() as u64
}

fn inspect(data: &Path) -> Finished {
    let mut command = millstream(["inspect", "--verify"]);
    command.arg(data);
    run(command, b"")
}

/// Every record that `tail` prints, and how it ended.
pub(crate) fn tail(server: &Server) -> (Vec<Vec<u8>>, Finished) {
    let finished = run(server.command(["tail", "s"]), b"");
    let lines = finished.out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    (lines, finished)
}

#[test]
fn a_newer_version_is_refused() {
    let (_directory, data) = filled(1, true);
    let superblock = data.join("superblock");
    let mut bytes = fs::read(&superblock).unwrap();
    for copy in bytes.chunks_mut(BLOCK as usize) {
        copy[8] = 3;
        let sum = xxh3_64_with_seed(&copy[..80], u64::from_le_bytes(*b"MSSUPER1"));
        copy[80..88].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(&superblock, bytes).unwrap();
    let line = refusal(&data, &[]);
    assert!(line.contains("version 3") && line.contains("newer"), "{line}");
    let line = inspect(&data).refusal();
    assert!(line.contains("version 3") && line.contains("newer"), "{line}");
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = Server::start(&data);
    let line = refusal(&data, &[]);
    let process = format!("({})", server.pid().as_raw_nonzero());
    let advice = "is using it; stop that one or name another directory";
    assert!(line.contains(advice) && line.contains(&process), "{line}");
    server.assert_well();
    let looked = inspect(&data).good();
    assert!(looked.text().contains("in use by process"), "{}", looked.text());
    server.stop();
}

#[test]
fn a_missing_superblock_is_named() {
    let (_directory, data) = filled(1, true);
    fs::remove_file(data.join("superblock")).unwrap();
    let line = refusal(&data, &[]);
    assert!(line.contains("superblock") && line.contains("segment"), "{line}");
    let looked = inspect(&data);
    assert!(!looked.status.success() && looked.text().contains("damage: superblock"), "{}", looked.text());
    assert!(segment(&data, 1).exists(), "nothing was made anew over what is there");
}

#[test]
fn two_copies_of_the_superblock_are_enough_and_one_is_not() {
    for (damaged, opens) in [(1, true), (2, true), (3, false), (4, false)] {
        let (_directory, data) = filled(50, true);
        for copy in 0..damaged {
            flip(&data.join("superblock"), copy * BLOCK + 40);
        }
        let looked = inspect(&data);
        let named = (0..damaged).all(|copy| looked.text().contains(&format!("copy {copy} of the superblock")));
        assert!(named && looked.status.code() == Some(1), "{}", looked.text());
        if opens {
            let server = Server::start(&data);
            let (records, finished) = tail(&server);
            assert!(finished.status.success() && records.len() == 50);
            server.stop();
            inspect(&data).good();
        } else {
            let line = refusal(&data, &[]);
            assert!(line.contains("superblock"), "{line}");
        }
    }
}

/// Also a regression test. Bug: records after a damaged one could not be read. Mechanism: a read walked an extent from its
/// start and stopped at the first damage, also where that lay before what was wanted. Fix: it looks for the next intact frame.
#[test]
fn damage_in_a_sealed_segment_takes_only_its_records() {
    let (_directory, data) = filled(9_000, true);
    let first = segment(&data, 1);
    inspect(&data).good();
    // Data of one record; the header of another, so that its length is not to be believed; the key of a third.
    flip(&first, find(&first, b"record 777 ") + 50);
    flip(&first, find(&first, b"record 1500 ") - 1 - 48);
    flip(&first, find(&first, b"record 2001 ") - 1);
    let looked = inspect(&data);
    assert_eq!(looked.status.code(), Some(1));
    for number in [777, 1500, 2001] {
        let named = format!("(shard 1, records {number} to {number})");
        assert!(looked.text().contains(&named), "{number} is not named: {}", looked.text());
    }
    assert_eq!(looked.text().matches("(shard 1, records").count(), 3, "others are named: {}", looked.text());

    let server = Server::start(&data);
    let (records, finished) = tail(&server);
    let expected: Vec<Vec<u8>> = (1..=9_000).filter(|number| ![777, 1500, 2001].contains(number)).map(record).collect();
    assert!(records == expected, "{} records of {}", records.len(), expected.len());
    assert_eq!(finished.status.code(), Some(1));
    for number in [777, 1500, 2001] {
        let named = format!("records {number} to {number} of shard 1 are passed over: damaged on disk");
        assert!(finished.err.contains(&named), "{}", finished.err);
    }
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    let error = client.read(stream.stream, ShardId(1), Sequence(777), 1).unwrap_err();
    assert_eq!((error.code(), error.fault()), (Some(ErrorCode::Damaged), Fault::Storage));
    assert!(error.to_string().contains("read on from 778"), "{error}");
    assert_eq!(store(&mut client, stream.stream, "k", ["after"]), [(ShardId(1), Sequence(9_001))]);
    server.stop();
}

/// What a stream was set to may be lost with a command of the catalog: the start says so, and goes on with what is left.
#[test]
fn a_damaged_command_of_the_catalog_is_told() {
    let (_directory, data) = {
        let directory = directory();
        let data = directory.path().join("data");
        let server = Server::start(&data);
        let mut client = server.client();
        fill(&mut client, 200);
        client.create_stream("a-stream-that-will-be-lost", 1, Quotas::NONE).unwrap();
        let stream = client.describe_stream("s").unwrap();
        store(&mut client, stream.stream, "k", ["after"]);
        server.kill();
        (directory, data)
    };
    let open = segment(&data, 1);
    flip(&open, find(&open, b"a-stream-that-will-be-lost") + 5);
    let server = Server::start(&data);
    assert!(server.log_text().contains("commands of the catalog are among them"), "{}", server.log_text());
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    assert!(client.describe_stream("a-stream-that-will-be-lost").is_err());
    let placed = store(&mut client, stream.stream, "k", ["more"]);
    assert!(placed[0].0 == ShardId(1) && placed[0].1 > Sequence(201), "{placed:?}");
    server.stop();
}

/// Also a regression test. Bug: a reader was never told of records that recovery had found damaged. Mechanism: only a read
/// that began within them was refused; one that began before reached over them. Fix: a read ends where damage begins.
///
/// And bug: `inspect` named the bytes of such a batch and not its records. Mechanism: only a footer told it which those are.
/// Fix: what comes after the batch tells as well.
#[test]
fn damage_in_the_open_segment_takes_only_its_batch() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let mut client = server.client();
    fill(&mut client, 1_000);
    let stream = client.describe_stream("s").unwrap();
    server.kill();
    let open = segment(&data, 1);
    flip(&open, find(&open, b"record 450 ") + 50);
    let looked = inspect(&data);
    assert_eq!(looked.status.code(), Some(1));
    assert!(looked.text().contains("payload differs from its checksum"), "{}", looked.text());

    let server = Server::start(&data);
    assert!(server.log_text().contains("damaged records shard=1"), "{}", server.log_text());
    let (records, finished) = tail(&server);
    assert_eq!(finished.status.code(), Some(1));
    // Batches are of at most a hundred records here: the others are all there.
    let lost: Vec<u32> = (1..=1_000).filter(|number| !records.contains(&record(*number))).collect();
    assert!(lost.contains(&450) && lost.len() <= 100 && records.len() == 1_000 - lost.len(), "lost: {lost:?}");
    let (from, to) = (lost[0], lost[lost.len() - 1]);
    assert_eq!(to - from + 1, lost.len() as u32, "one run");
    let named = format!("records {from} to {to} of shard 1 are passed over: damaged on disk");
    assert!(finished.err.contains(&named), "{}", finished.err);
    let named = format!("records of a damaged batch (shard 1, records {from} to {to})");
    assert!(looked.text().contains(&named) && looked.text().matches("(shard ").count() == 1, "{}", looked.text());
    // No number is given again.
    let placed = store(&mut server.client(), stream.stream, "k", ["after"]);
    assert!(placed[0].1 > Sequence(1_000), "{placed:?}");
    server.stop();
}

#[test]
fn a_torn_tail_is_no_damage() {
    let (_directory, data) = filled(100, false);
    inspect(&data).good();
    let server = Server::start(&data);
    assert_eq!(tail(&server).0.len(), 100);
    server.kill();
    inspect(&data).good();
}

/// Also a regression test. Bug: behind a damaged footer all its records were refused, also after the restart that the
/// refusal asked for. Mechanism: only the trailers of older segments were looked at. Fix: their footers are.
#[test]
fn a_footer_that_is_damaged_is_made_again() {
    let (_directory, data) = filled(9_000, true);
    let first = segment(&data, 1);
    let bytes = fs::read(&first).unwrap();
    let trailer = &bytes[bytes.len() - BLOCK as usize..];
    let footer = u64::from(u32::from_le_bytes(trailer[48..52].try_into().unwrap()));
    flip(&first, footer + 100);
    let looked = inspect(&data);
    assert!(!looked.status.success() && looked.text().contains("the footer differs"), "{}", looked.text());
    // Without every checksum too: what is looked at is damaged.
    let mut without = millstream(["inspect"]);
    without.arg(&data);
    let looked = run(without, b"");
    assert_eq!(
        (looked.status.code(), looked.text().contains("the footer differs")),
        (Some(1), true),
        "{}",
        looked.text()
    );
    let server = Server::start(&data);
    assert_eq!(tail(&server).0.len(), 9_000, "it is made again from the batches");
    server.stop();
}

#[test]
fn what_was_never_a_data_directory_is_said() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(refusal(&file, &[]).contains("not a directory"));
    assert!(inspect(directory.path()).refusal().contains("holds no log"));
    assert!(inspect(&directory.path().join("none")).refusal().contains("can't be read"));
    // All of a life's records can be read by another: nothing depends on the process that wrote them.
    let (_directory, data) = filled(10, true);
    let server = Server::start(&data);
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    assert_eq!(read_all(&mut client, &stream, ShardId(1)).len(), 10);
    server.stop();
}

/// Starts a server of two reactors on these directories.
fn start_on(home: &Path, directories: &[&Path]) -> Server {
    Server::start_command(home, serve_on(directories))
}

fn serve_on(directories: &[&Path]) -> std::process::Command {
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "off", "--reactors", "2"]);
    command.args(["--segment-bytes", "4MiB", "--segments-ready", "1"]);
    for directory in directories {
        command.arg("--data").arg(directory);
    }
    command
}

#[test]
fn a_log_lies_in_several_directories() {
    let directory = directory();
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    let server = start_on(&one, &[&one]);
    let stream = server.client().create_stream("s", 2, Quotas::NONE).unwrap();
    let mut stored = Vec::new();
    let mut more = |server: &Server| {
        for key in ["a", "b", "c", "d"] {
            let records: Vec<Vec<u8>> = (1..=1000).map(|at| [key.as_bytes(), &record(at)].concat()).collect();
            stored.extend(store(&mut server.client(), stream.stream, key, &records).into_iter().zip(records));
        }
    };
    more(&server);
    server.kill();
    // The second one is added, and its order is of no matter.
    let server = start_on(&one, &[&two, &one]);
    more(&server);
    server.kill();
    let names = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let holds = |path: &Path, start: &str| names(path).iter().any(|name| name.to_string_lossy().starts_with(start));
    assert!(holds(&one, "0000-") && holds(&one, "0001-") && holds(&two, "0001-") && !holds(&two, "0000-"));
    let refused = run(serve_on(&[&one]), b"").refusal();
    assert!(refused.contains("2 data directories") && refused.contains("--data"), "{refused}");
    let server = start_on(&one, &[&one, &two]);
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    for shard in &stream.shards {
        let found = read_all(&mut client, &stream, shard.shard);
        let put = stored.iter().filter(|((put, _), _)| *put == shard.shard);
        assert!(
            found.iter().eq(put.map(|((_, sequence), record)| (*sequence, record.clone())).collect::<Vec<_>>().iter())
        );
    }
    server.stop();
    let mut both = millstream(["inspect", "--verify"]);
    both.args([&one, &two]);
    let text = run(both, b"").good();
    assert!(text.text().contains("two"), "{}", text.text());
    let line = inspect(&one).refusal();
    assert!(line.contains("2 data directories"), "{line}");
}

#[test]
fn files_of_others_are_left_alone() {
    let directory = directory();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let (theirs, ours) = (data.join("letter.new"), data.join("0000-0000000009.segment.new"));
    fs::write(&theirs, "to whom it may concern").unwrap();
    fs::write(&ours, "unfinished").unwrap();
    Server::start(&data).stop();
    assert!(theirs.exists() && !ours.exists());
}
