//! A flush fails, on the real server: every journal of the disk refuses appends from then on, although the disk works again;
//! reads go on, and a restart ends it.

#[path = "support/server.rs"]
mod process;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::client::{AppendError, Fault, Options, ProducerOptions, RequestError};
use cutdisk::{CutDisk, require_or_skip};
use frame::proto::{AckResult, ErrorCode, ShardDescription, StreamDescription};
use frame::route::hash_key;
use frame::{Quotas, Sequence, ShardId};
use process::Server;
use server::client::{Batch, Client, ClientError, Timeouts};
use tempfile::TempDir;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const DISK_BYTES: u64 = 256 << 20;
/// How long anything may take before the server counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// Appends that are to go the same way.
const APPENDS: usize = 40;

/// A server of two reactors, whose journals are on a disk that can fail.
struct Bench {
    disk: CutDisk,
    data: PathBuf,
    io: &'static str,
    records: u32,
    acked: Vec<(ShardId, Sequence, String)>,
    // Dropped after the disk.
    _scratch: TempDir,
}

impl Bench {
    fn start(io: &'static str) -> Outcome<Option<Bench>> {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let Some(mut disk) = require_or_skip(CutDisk::start(scratch.path(), DISK_BYTES, 1)) else { return Ok(None) };
        disk.mkfs()?;
        let data = disk.mount()?.join("data");
        Ok(Some(Bench { disk, data, io, records: 0, acked: Vec::new(), _scratch: scratch }))
    }

    /// Into space that is written already, so that a commit is a flush of the device and nothing of the file system's own.
    fn spawn(&self) -> Outcome<(Server, SocketAddr)> {
        let settings = ["--io", self.io, "--reactors", "2", "--segment-bytes", "4MiB", "--prewrite", "true"];
        let mut server = Server::spawn(&self.data, &settings.map(str::to_owned))?;
        let address = server.ready()?;
        Ok((server, address))
    }

    fn serve(&self) -> Outcome<(Server, Client)> {
        let (server, address) = self.spawn()?;
        Ok((server, Client::connect(address, Timeouts::default())?))
    }

    /// Appends a record to a shard. Why it is refused, if it is.
    fn append(
        &mut self,
        client: &mut Client,
        stream: &StreamDescription,
        shard: &ShardDescription,
    ) -> Outcome<Result<(), ErrorCode>> {
        let key = (0..).map(|number| format!("key-{number}")).find(|key| shard.holds(hash_key(key.as_bytes())));
        let data = format!("record {}", self.records);
        self.records += 1;
        let mut batch = Batch::new();
        batch.push(key.ok_or("every shard has keys")?.as_bytes(), data.as_bytes())?;
        match client.append(stream.stream, &batch) {
            Ok(results) => match results[..] {
                [AckResult::Durable(stored_in, sequence)] => {
                    assert_eq!(stored_in, shard.shard);
                    self.acked.push((stored_in, sequence, data));
                    Ok(Ok(()))
                }
                [AckResult::Refused(code)] => Ok(Err(code)),
                ref other => Err(format!("{other:?}").into()),
            },
            // It was in flight, and nobody knows.
            Err(ClientError::Refused(failure)) => Ok(Err(failure.code)),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that was acknowledged is read.
    fn read(&self, client: &mut Client, stream: &StreamDescription) -> Outcome {
        for (shard, sequence, data) in &self.acked {
            let records = client.read(stream.stream, *shard, *sequence, 1)?;
            let found = records.iter().next().map(|frame| (frame.sequence(), frame.data().to_vec()));
            assert_eq!(found, Some((*sequence, data.clone().into_bytes())), "of shard {shard}");
        }
        Ok(())
    }
}

fn a_failed_flush_is_every_journals(io: &'static str) -> Outcome {
    let Some(mut bench) = Bench::start(io)? else { return Ok(()) };
    let (mut server, mut client) = bench.serve()?;
    let stream = client.create_stream("s", 2, Quotas::NONE)?;
    for shard in &stream.shards {
        assert_eq!(bench.append(&mut client, &stream, shard)?, Ok(()));
    }
    assert_ne!(stream.shards[0].reactor, stream.shards[1].reactor, "each is in a journal of its own");

    // One alone, of either journal: the other one hears of it, however well its own flushes go.
    bench.disk.fail_flushes(1);
    for shard in &stream.shards {
        let began = Instant::now();
        while bench.append(&mut client, &stream, shard)? == Ok(()) {
            assert!(began.elapsed() < PATIENCE, "shard {} still takes records in", shard.shard);
        }
    }
    for shard in stream.shards.iter().cycle().take(APPENDS) {
        let outcome = bench.append(&mut client, &stream, shard)?;
        assert_eq!(outcome, Err(ErrorCode::StorageFailed), "the disk works again, and nobody has looked at it");
    }
    let made = client.create_stream("more", 1, Quotas::NONE).map_err(|error| error.code());
    assert_eq!(made.err(), Some(Some(ErrorCode::StorageFailed)));
    bench.read(&mut client, &stream)?;
    let log = server.log_end();
    assert!(log.contains("until a restart"), "the operator is told what to do:\n{log}");

    assert!(server.kill()?);
    bench.disk.cut()?;
    bench.disk.restore()?;
    let (mut server, mut client) = bench.serve()?;
    bench.read(&mut client, &stream)?;
    for shard in &stream.shards {
        assert_eq!(bench.append(&mut client, &stream, shard)?, Ok(()), "it was restarted");
    }
    bench.read(&mut client, &stream)?;
    drop(client);
    server.terminate();
    assert!(server.wait()?.success(), "{}", server.log_end());
    Ok(())
}

#[test]
fn on_the_ring_a_failed_flush_is_every_journals() -> Outcome {
    a_failed_flush_is_every_journals("ring")
}

#[test]
fn on_threads_a_failed_flush_is_every_journals() -> Outcome {
    a_failed_flush_is_every_journals("threads")
}

/// A record that was being written is as unknown as one on a lost connection, but no connection is what failed; those after it
/// are refused.
#[tokio::test]
async fn the_clients_crate_tells_the_failure_as_it_is() -> Outcome {
    let Some(bench) = Bench::start("ring")? else { return Ok(()) };
    let (mut server, address) = bench.spawn()?;
    let options = Options { patience: Duration::from_millis(100), ..Options::new(address) };
    let client = ::client::Client::connect(options).await?;
    client.create_stream("s", 1, Quotas::NONE).await?;
    let producer = client.producer("s", ProducerOptions::default()).await?;
    let numbered = client.producer("s", ProducerOptions::named("numbered")).await?;
    producer.append(b"k", b"first").await?;
    numbered.append(b"k", b"second").await?;
    bench.disk.fail_flushes(1);
    let began = Instant::now();
    let error = loop {
        assert!(began.elapsed() < PATIENCE, "records are still taken in");
        if let Err(error) = producer.append(b"k", b"more").await {
            break error;
        }
    };
    assert_eq!(error.fault(), Fault::Storage, "{error}");
    assert!(
        matches!(&error, AppendError::Unknown(RequestError::Refused(failure)) if failure.code == ErrorCode::StorageFailed),
        "{error:?}"
    );
    assert!(!error.to_string().contains("connection"), "{error}");
    for producer in [&producer, &numbered] {
        let error = producer.append(b"k", b"none").await.expect_err("it is refused");
        assert!(matches!(error, AppendError::Refused(ErrorCode::StorageFailed)), "{error:?}");
    }
    server.kill()?;
    Ok(())
}
