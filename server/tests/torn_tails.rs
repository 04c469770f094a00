//! Recoveries that had to cut, and reads after them: found by the crash tests, pinned here without chance.

#[path = "support/engine.rs"]
mod process;

use std::error::Error;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use engine::Config;
use engine::limits::CUT_COPIES_MAX;
use frame::proto::StreamDescription;
use frame::{Quotas, Sequence, ShardId};
use io::{Ring, SystemIo, Threads};
use process::Engine;
use server::client::{Batch, Client, Timeouts};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(60);
const SEGMENT_BYTES: u32 = 4 << 20;
const BLOCK_BYTES: usize = 4096;

fn config() -> Config {
    Config { segment_bytes: SEGMENT_BYTES, memory_bytes: 128 << 20, ..Config::default() }
}

/// A key of each of two shards.
const KEYS: [&str; 2] = ["a", "b"];

/// Appends a record of `bytes` to the shard of that key.
fn append(client: &mut Client, stream: &StreamDescription, key: &str, bytes: usize) -> Outcome {
    let mut batch = Batch::new();
    batch.push(key.as_bytes(), &vec![7; bytes])?;
    client.append(stream.stream, &batch)?;
    Ok(())
}

/// Appends until a segment more has been filled.
fn fill_segment(client: &mut Client, stream: &StreamDescription, key: &str) -> Outcome {
    (0..5).try_for_each(|_| append(client, stream, key, 1_000_000))
}

fn count(client: &mut Client, stream: &StreamDescription, shard: ShardId) -> Outcome<u64> {
    let (mut count, mut from) = (0, Sequence(1));
    loop {
        let records = client.read(stream.stream, shard, from, 1 << 20)?;
        count += records.len() as u64;
        from = records.result.next;
        if from >= records.result.tip {
            return Ok(count);
        }
    }
}

/// Puts what no batch looks like behind the last batch of the journal's first segment, as a torn write leaves it.
fn tear_after_the_end(data: &Path) -> Outcome {
    let path = data.join("0000-0000000001.segment");
    let bytes = fs::read(&path)?;
    let used = bytes.chunks(BLOCK_BYTES).rposition(|block| block.iter().any(|&byte| byte != 0));
    let end = used.ok_or("the segment has a header")? + 1;
    let file = fs::File::options().write(true).open(&path)?;
    file.write_all_at(&[0xa5; BLOCK_BYTES], (end * BLOCK_BYTES) as u64)?;
    file.sync_all()?;
    Ok(())
}

/// Bug: a reader went past acknowledged records. Mechanism: it asked a sealed segment for the first of the numbers that
/// recovery had skipped there, got nothing, and went on in the open segment, past the sealed ones between. Fix: it goes on
/// in the next segment that has numbers of the shard.
fn a_reader_crosses_skipped_numbers_into_the_next_sealed_segment<I: SystemIo + 'static>() -> Outcome {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let data = scratch.path().join("data");
    let mut first = Engine::begin(&data, (config(), 1), |io: I| io);
    let mut client = Client::connect(first.opened(PATIENCE)?.address, Timeouts::default())?;
    let stream = client.create_stream("s", 2, Quotas::NONE)?;
    let [hot, cold] = KEYS;
    append(&mut client, &stream, cold, 10)?;
    drop(client);
    first.leave();
    first.end(PATIENCE);
    tear_after_the_end(&data)?;

    let mut second = Engine::begin(&data, (config(), 1), |io: I| io);
    let opened = second.opened(PATIENCE)?;
    assert!(opened.recovered.skipped > 0, "the test needs numbers that recovery skipped");
    let mut client = Client::connect(opened.address, Timeouts::default())?;
    fill_segment(&mut client, &stream, hot)?;
    append(&mut client, &stream, cold, 10)?;
    fill_segment(&mut client, &stream, hot)?;
    append(&mut client, &stream, cold, 10)?;
    let counts: Vec<u64> =
        stream.shards.iter().map(|shard| count(&mut client, &stream, shard.shard)).collect::<Outcome<_>>()?;
    assert!(counts.contains(&3) && counts.contains(&10), "records read by shard: {counts:?}");
    drop(client);
    second.shut_down();
    second.end(PATIENCE);
    Ok(())
}

/// Bug: every crash under load took up to 8 MiB of the disk for good. Mechanism: the copies of what recovery cut were never
/// removed. Fix: the newest ones are kept.
fn only_the_newest_copies_of_what_was_cut_are_kept<I: SystemIo + 'static>() -> Outcome {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let data = scratch.path().join("data");
    let mut copies = Vec::new();
    for life in 0..CUT_COPIES_MAX + 3 {
        let mut engine = Engine::begin(&data, (config(), 1), |io: I| io);
        let cut = engine.opened(PATIENCE)?.recovered.cuts.into_iter().next();
        assert_eq!(cut.is_some(), life > 0, "each life but the first finds a torn tail");
        copies.extend(cut.and_then(|cut| cut.copy));
        engine.leave();
        engine.end(PATIENCE);
        tear_after_the_end(&data)?;
    }
    let mut kept: Vec<String> = fs::read_dir(&data)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Outcome<_>>()?;
    kept.retain(|name| name.starts_with("cut-"));
    kept.sort_unstable();
    assert_eq!(kept, copies[copies.len() - CUT_COPIES_MAX..]);
    Ok(())
}

#[test]
fn on_the_ring_a_reader_crosses_skipped_numbers() -> Outcome {
    a_reader_crosses_skipped_numbers_into_the_next_sealed_segment::<Ring>()
}

#[test]
fn on_threads_a_reader_crosses_skipped_numbers() -> Outcome {
    a_reader_crosses_skipped_numbers_into_the_next_sealed_segment::<Threads>()
}

#[test]
fn on_the_ring_only_the_newest_copies_are_kept() -> Outcome {
    only_the_newest_copies_of_what_was_cut_are_kept::<Ring>()
}

#[test]
fn on_threads_only_the_newest_copies_are_kept() -> Outcome {
    only_the_newest_copies_of_what_was_cut_are_kept::<Threads>()
}
