//! A disk that is really full: appends are refused with what to do about it, all else goes on, also over `kill -9`, and appends
//! resume by themselves once something is let go of. Nothing that was acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc;

use frame::proto::{AckResult, ErrorCode, Start, StreamDescription};
use frame::{Frame, Quotas, Retention, Sequence, Settings};
use serde_json::json;
use server::client::{Batch, Client, ClientError};

use crate::admin::{health, samples};
use crate::gateway::good;
use crate::mounts::LoopDisk;
use crate::retention::until;
use crate::rig::{PATIENCE, Server, millstream, run, serve};

const DISK_BYTES: u64 = 256 << 20;
/// As the rig's servers have them.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Of an append: about a megabyte.
const RECORDS: u64 = 20;
const RECORD_BYTES: usize = 50_000;
/// More appends than what a full disk may still have room for.
const APPENDS_THAT_NEED_SPACE: usize = 20;

/// What was sent to the one shard of a stream, each record with a number of its own.
struct Account {
    stream: StreamDescription,
    next: u64,
    stored: BTreeMap<Sequence, u64>,
    /// What the server was killed over.
    unknown: BTreeSet<u64>,
}

impl Account {
    fn new(client: &mut Client, name: &str, retention: Retention) -> Account {
        let stream = client.create_stream(name, 1, Settings { quotas: Quotas::NONE, retention }).unwrap();
        Account { stream, next: 0, stored: BTreeMap::new(), unknown: BTreeSet::new() }
    }

    /// Appends some more. How many were stored; the others were refused, as the disk is full.
    fn append(&mut self, client: &mut Client) -> Result<u64, ClientError> {
        let numbers = self.next..self.next + RECORDS;
        self.next = numbers.end;
        let mut batch = Batch::new();
        for number in numbers.clone() {
            assert!(batch.push(b"k", &data(number)).unwrap(), "one batch holds them");
        }
        self.unknown.extend(numbers.clone());
        let results = client.append(self.stream.stream, &batch)?;
        let mut stored = 0;
        for (number, result) in numbers.zip(results) {
            assert!(self.unknown.remove(&number));
            match result {
                AckResult::Durable(_, sequence) => {
                    assert_eq!(self.stored.insert(sequence, number), None);
                    stored += 1;
                }
                AckResult::Refused(ErrorCode::DiskFull) => {}
                AckResult::Refused(code) | AckResult::Throttled(code, _) => {
                    panic!("refused for another reason: {code}")
                }
            }
        }
        Ok(stored)
    }

    /// Appends until there is no room for a single record more.
    fn fill(&mut self, client: &mut Client, disk: &Path) {
        while self.append(client).unwrap() > 0 {}
        let space = rustix::fs::statvfs(disk).unwrap();
        let free_bytes = space.f_bavail * space.f_frsize;
        // Room for one segment is kept, so that a full disk can be compacted.
        assert!(free_bytes < 2 * SEGMENT_BYTES, "refused although {free_bytes} bytes are free");
    }

    /// Takes a record that was read: it is one that was stored there, or one of unknown fate.
    fn take(&mut self, frame: &Frame<'_>) {
        let number = u64::from_le_bytes(frame.data()[..8].try_into().unwrap());
        assert!(frame.data() == data(number), "the contents of {} changed", frame.sequence());
        if self.unknown.remove(&number) {
            assert_eq!(self.stored.insert(frame.sequence(), number), None);
        }
        assert_eq!(self.stored.get(&frame.sequence()), Some(&number), "{} was never stored there", frame.sequence());
    }

    /// Reads all of it: nothing is missing, and nothing is there that was not sent.
    fn compare(&mut self, client: &mut Client) {
        let (mut from, mut seen) = (Sequence(1), 0);
        loop {
            let records = client.read(self.stream.stream, self.stream.shards[0].shard, from, 4 << 20).unwrap();
            records.iter().for_each(|frame| self.take(&frame));
            seen += records.len();
            from = records.result.next;
            if from >= records.result.tip {
                break;
            }
        }
        assert_eq!(seen, self.stored.len(), "of `{}` records are missing", self.stream.name);
        // What was not found now must never be.
        self.unknown.clear();
    }

    /// Has everything pushed that was stored from `from` on, and no more of it than it takes at once.
    fn follow(&mut self, client: &mut Client, from: Sequence) {
        let subscription = client.subscribe(self.stream.stream, self.stream.shards[0].shard, Start::At(from), 1 << 20);
        let subscription = subscription.unwrap();
        let mut missing = self.stored.range(from..).count();
        while missing > 0 {
            let records = client.next_pushed().unwrap().unwrap().outcome.unwrap();
            records.iter().for_each(|frame| self.take(&frame));
            missing -= records.len();
            client.grant(subscription, 1 << 20).unwrap();
        }
        client.unsubscribe(subscription).unwrap();
        while client.next_pushed().unwrap().is_some() {}
    }
}

/// Contents that no other record has.
fn data(number: u64) -> Vec<u8> {
    let mut data = vec![number as u8; RECORD_BYTES];
    data[..8].copy_from_slice(&number.to_le_bytes());
    data
}

/// A server on a disk; its log goes to another.
fn start(data: &Path, log: &Path) -> Server {
    Server::start_command(log, serve(data, &[]))
}

/// Kills a server amid appends that it refuses, whose account comes back.
fn kill_amid_refusals(server: Server, mut account: Account) -> Account {
    let (told, refusals) = mpsc::channel();
    let mut client = server.client();
    let appender = std::thread::spawn(move || {
        while let Ok(stored) = account.append(&mut client) {
            if stored < RECORDS {
                let _ = told.send(());
            }
        }
        account
    });
    for _ in 0..3 {
        refusals.recv_timeout(PATIENCE).unwrap();
    }
    server.kill();
    appender.join().unwrap()
}

/// The disk is full, and something was let go of: appends that need what comes free are stored.
fn assert_resumes(kept: &mut Account, client: &mut Client) {
    for _ in 0..APPENDS_THAT_NEED_SPACE {
        until("appends go on by themselves", || kept.append(client).unwrap() == RECORDS);
    }
}

#[test]
fn a_full_disk_refuses_appends_and_loses_nothing() {
    let Some(disk) = LoopDisk::new(DISK_BYTES, &[], "loop") else { return };
    let logs = crate::rig::directory();
    let (data, log) = (disk.path.join("data"), logs.path().join("server"));
    let mut server = start(&data, &log);
    let mut client = server.client();
    let mut kept = Account::new(&mut client, "kept", Retention::NONE);
    let mut bulk = Account::new(&mut client, "bulk", Retention::NONE);
    client.create_stream("other", 1, Quotas::NONE).unwrap();
    assert_eq!(kept.append(&mut client).unwrap(), RECORDS);
    // What the file system frees a little later may make one segment more.
    let more = "more".repeat(20_000);
    let mut refusal = None;
    until("a command is told what to do", || {
        bulk.fill(&mut client, &disk.path);
        let put = run(server.command(["put", "other", "--key", "k", &more]), b"");
        refusal = (!put.status.success()).then(|| put.refusal());
        refusal.is_some()
    });
    let refusal = refusal.unwrap_or_default();
    assert!(refusal.contains("free space or raise the server's --disk-bytes"), "{refusal}");
    // A restart mends nothing: whoever watches is told, and is not to restart it.
    let (status, told) = health(&server);
    assert_eq!(
        (status, &told["status"], &told["reactors"][0]["state"]),
        (200, &json!("out_of_space"), &json!("out_of_space"))
    );
    assert_eq!(samples(&server)["millstream_out_of_space{reactor=\"0\"}"], 1.0);
    assert!(server.log_text().contains("appends are refused until there is room"), "{}", server.log_text());
    for life in 0..4 {
        // Readers and subscribers go on, in every life.
        kept.compare(&mut client);
        bulk.compare(&mut client);
        bulk.follow(&mut client, Sequence(1));
        bulk.fill(&mut client, &disk.path);
        if life % 2 == 0 {
            bulk = kill_amid_refusals(server, bulk);
        } else {
            server.stop();
        }
        server = start(&data, &log);
        client = server.client();
    }
    bulk.fill(&mut client, &disk.path);
    let end = kept.stored.last_key_value().unwrap().0.next();
    good(server.http.unwrap(), "DeleteStream", &json!({"StreamName": "bulk"}));
    assert_resumes(&mut kept, &mut client);
    assert_eq!(health(&server), (200, json!({"status": "ok", "reactors": [{"reactor": 0, "state": "ok"}]})));
    assert_eq!(samples(&server)["millstream_out_of_space{reactor=\"0\"}"], 0.0);
    assert!(server.log_text().contains("there is room again"), "{}", server.log_text());
    kept.follow(&mut client, end);

    let mut expiring = Account::new(&mut client, "expiring", Retention::of_seconds(3600));
    expiring.fill(&mut client, &disk.path);
    client.set_retention("expiring", Retention::of_seconds(1)).unwrap();
    assert_resumes(&mut kept, &mut client);
    for _ in 0..2 {
        kept.compare(&mut client);
        server.stop();
        server = start(&data, &log);
        client = server.client();
    }
    kept.compare(&mut client);
    server.stop();
    run(millstream(["inspect", data.to_str().unwrap(), "--verify"]), b"").good();
}
