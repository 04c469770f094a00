//! Records of up to 10 MiB: stored in parts, seen whole or not at all.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use frame::limits::LARGE_RECORD_BYTES_MAX;
use frame::parts::{self, Joiner};
use frame::proto::{AckResult, Append, Client as Proto, ClientEvent, ErrorCode, Failure, Start, StreamDescription};
use frame::{Frame, Quotas, RequestId, Sequence, ShardId, StreamId};
use serde_json::{Value, json};
use server::client::{Batch, Client, ClientError};

use crate::gateway::good;
use crate::rig::{PATIENCE, Server, directory, run, store};

/// Data that is nowhere twice, and holds no line's end.
fn data(seed: u64, bytes: usize) -> Vec<u8> {
    let mut word = seed | 1;
    let mut data = Vec::with_capacity(bytes + 8);
    while data.len() < bytes {
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ seed;
        data.extend_from_slice(format!("{word:016x}").as_bytes());
    }
    data.truncate(bytes);
    data
}

/// A record of a shard: its first number, its number, its data.
type Whole = (u64, u64, Vec<u8>);

/// All records of a shard that are whole, and how many parts there are of others.
fn read_whole(client: &mut Client, stream: StreamId, shard: ShardId) -> (Vec<Whole>, usize) {
    let (mut joiner, mut whole, mut parts) = (Joiner::new(), Vec::new(), 0);
    let mut from = Sequence(1);
    loop {
        let records = client.read(stream, shard, from, 1 << 20).unwrap();
        for frame in records.iter() {
            parts += usize::from(frame.is_part());
            let Some(record) = joiner.push(&frame) else { continue };
            parts -= if frame.is_part() { (record.sequence.0 - record.first.0) as usize + 1 } else { 0 };
            whole.push((record.first.0, record.sequence.0, record.data.to_vec()));
        }
        from = records.result.next;
        if from >= records.result.tip {
            return (whole, parts);
        }
    }
}

#[test]
fn a_record_of_10_mib_is_put_and_tailed() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let largest = data(1, LARGE_RECORD_BYTES_MAX - 3);
    let input = [&b"one\n"[..], &largest, b"\nthree\n"].concat();
    let put = ["put", "s", "--create", "1", "--quotas", "none", "--key", "key", "--verbose"];
    let told = run(server.command(put), &input).good();
    let numbers: Vec<&str> = told.text().lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["1", "12", "13"], "it has eleven parts, and the number of the last");
    assert!(run(server.command(["tail", "s"]), b"").good().out == input);
    for from in ["2", "7", "12"] {
        let told = run(server.command(["tail", "s", "--from", from, "--limit", "1"]), b"").good();
        assert!(told.out == [&largest[..], b"\n"].concat(), "from {from} on");
    }
    let followed = run(server.command(["tail", "s", "--follow", "--from", "5", "--limit", "2"]), b"").good();
    assert!(followed.out == [&largest[..], b"\nthree\n"].concat());
    let told = run(server.command(["tail", "s", "--from", "13", "--verbose"]), b"").good();
    assert!(told.text().ends_with("\tkey\tthree\n"));

    let too_large = [&data(2, LARGE_RECORD_BYTES_MAX + 1)[..], b"\nfour\n"].concat();
    let refused = run(server.command(["put", "s", "--key", "key"]), &too_large);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.err.contains("10485760") && refused.text().starts_with("1 record stored, 1 refused"),
        "{refused:?}"
    );
    server.stop();
}

#[test]
fn subscribers_get_it_within_their_credit() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0].shard;
    let mut subscriber = server.client();
    let subscription = subscriber.subscribe(stream.stream, shard, Start::At(Sequence(1)), 1).unwrap();
    let records = [data(1, 3 << 20), b"small".to_vec(), data(2, 4 << 20)];
    records.iter().for_each(|record| drop(store(&mut client, stream.stream, "k", [record])));
    let (mut joiner, mut got) = (Joiner::new(), Vec::new());
    while got.len() < records.len() {
        let pushed = subscriber.next_pushed().unwrap().unwrap().outcome.unwrap();
        for frame in pushed.iter() {
            got.extend(joiner.push(&frame).map(|record| record.data.to_vec()));
        }
        // A byte at a time is a frame at a time.
        subscriber.grant(subscription, pushed.iter().map(|frame| frame.length() as u64).sum()).unwrap();
    }
    assert!(got == records);
    server.stop();
}

#[test]
fn get_records_gives_it_whole() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let http = server.http.unwrap();
    let mut client = server.client();
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
    let records = [data(1, 6 << 20), b"small".to_vec(), data(2, 6 << 20), data(3, LARGE_RECORD_BYTES_MAX - 1)];
    records.iter().for_each(|record| drop(store(&mut client, stream.stream, "k", [record])));
    let blobs: Vec<Value> = records.iter().map(|record| json!(BASE64_STANDARD.encode(record))).collect();
    let iterator = |kind: &str, number: Option<&Value>| {
        let mut body = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": kind });
        if let Some(number) = number {
            body["StartingSequenceNumber"] = number.clone();
        }
        good(http, "GetShardIterator", &body)["ShardIterator"].clone()
    };
    let page = |iterator: &Value, limit: u32| {
        let body = json!({ "ShardIterator": iterator, "Limit": limit });
        let answer = good(http, "GetRecords", &body);
        let data = answer["Records"].as_array().unwrap().iter().map(|record| record["Data"].clone());
        let numbers = answer["Records"].as_array().unwrap().iter().map(|record| record["SequenceNumber"].clone());
        (data.collect::<Vec<_>>(), numbers.collect::<Vec<_>>(), answer["NextShardIterator"].clone())
    };
    for limit in [100, 1] {
        let (mut got, mut numbers, mut at) = (Vec::new(), Vec::new(), iterator("TRIM_HORIZON", None));
        let mut pages = Vec::new();
        while got.len() < records.len() {
            let (data, more, next) = page(&at, limit);
            pages.push(data.len());
            got.extend(data);
            numbers.extend(more);
            at = next;
        }
        assert!(got == blobs, "limit {limit}");
        // 10 MiB end within the second large record: it comes with the next page.
        assert_eq!(pages, if limit == 1 { vec![1; 4] } else { vec![2, 1, 1] });
        assert!(page(&at, limit).0.is_empty(), "nothing comes after it");
        let (data, _, _) = page(&iterator("AT_SEQUENCE_NUMBER", Some(&numbers[2])), 1);
        assert!(data == blobs[2..3], "its number is its last part's");
        let (data, _, _) = page(&iterator("AFTER_SEQUENCE_NUMBER", Some(&numbers[1])), 1);
        assert!(data == blobs[2..3]);
    }
    server.stop();
}

/// Cuts a journal off between two parts of a record: waits until the first one is on disk, and kills.
fn kill_amid(server: Server, segments: &Path, stream: StreamId, record: &[u8]) -> Option<(ShardId, Sequence)> {
    let mut client = server.client();
    let mut batch = Batch::new();
    assert!(batch.push(b"k", record).unwrap());
    client.send(stream, &batch).unwrap();
    let first = Frame::parse(batch.frames()).unwrap();
    let place = (frame::batch::HEADER_BYTES + first.key_range().end) as u64;
    let head = &first.data()[..64];
    let files: Vec<File> = std::fs::read_dir(segments)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "segment"))
        .map(|path| File::open(path).unwrap())
        .collect();
    let is_there = || {
        files.iter().any(|file| {
            let blocks = file.metadata().unwrap().len() / 4096;
            let mut found = [0; 64];
            (1..blocks).any(|block| file.read_exact_at(&mut found, block * 4096 + place).is_ok() && found == head)
        })
    };
    let begun = std::time::Instant::now();
    while !is_there() {
        // A segment that was made meanwhile is not looked at.
        if begun.elapsed() > PATIENCE / 60 {
            break;
        }
    }
    server.kill();
    match client.next_appended() {
        Ok(Some(appended)) => match appended.outcome.unwrap()[..] {
            [AckResult::Durable(shard, sequence)] => Some((shard, sequence)),
            ref other => panic!("{other:?}"),
        },
        _ => None,
    }
}

#[test]
fn kill_9_between_parts_shows_nothing_of_it() {
    let directory = directory();
    let data_path = directory.path().join("data");
    let mut was_cut = 0;
    let mut acknowledged: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut tried: Vec<Vec<u8>> = Vec::new();
    for attempt in 0..100 {
        let server = Server::start(&data_path);
        let mut client = server.client();
        let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
        let (whole, fragments) = read_whole(&mut client, stream.stream, stream.shards[0].shard);
        for (number, record) in &acknowledged {
            let found = whole.iter().filter(|(_, sequence, _)| sequence == number).collect::<Vec<_>>();
            assert!(found.len() == 1 && found[0].2 == *record, "record {number} was acknowledged");
        }
        let known = |record: &Vec<u8>| tried.contains(record) || acknowledged.iter().any(|(_, other)| other == record);
        assert!(whole.iter().all(|(.., record)| known(record)), "what is shown was appended, whole");
        assert!(whole.is_sorted_by(|one, two| one.1 < two.0));
        was_cut = was_cut.max(usize::from(fragments > 0));
        let small = format!("small {attempt}").into_bytes();
        acknowledged
            .extend(store(&mut client, stream.stream, "k", [&small]).into_iter().map(|(_, n)| (n.0, small.clone())));
        if was_cut > 0 && attempt > 3 {
            // What the crash left is passed over, whoever reads.
            let tailed = run(server.command(["tail", "s"]), b"").good();
            let (whole, _) = read_whole(&mut client, stream.stream, stream.shards[0].shard);
            let due = whole.iter().flat_map(|(.., record)| [&record[..], b"\n"].concat()).collect::<Vec<u8>>();
            assert!(tailed.out == due);
            return server.stop();
        }
        let record = data(attempt + 10, LARGE_RECORD_BYTES_MAX - 1);
        match kill_amid(server, &data_path, stream.stream, &record) {
            Some((_, sequence)) => acknowledged.push((sequence.0, record)),
            None => tried.push(record),
        }
    }
    panic!("a hundred kills, and none came between two parts");
}

/// A connection by hand.
struct Raw {
    socket: TcpStream,
    proto: Proto,
}

impl Raw {
    fn connect(server: &Server) -> Raw {
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut hello = Vec::new();
        let proto = Proto::new(&mut hello);
        socket.write_all(&hello).unwrap();
        let mut raw = Raw { socket, proto };
        assert!(matches!(raw.event(), Some(ClientEvent::Welcome(_))));
        raw
    }

    /// What comes next; nothing at the end.
    fn event(&mut self) -> Option<ClientEvent> {
        let mut byte = [0];
        loop {
            match self.socket.read(&mut byte) {
                Ok(1) => {}
                _ => return None,
            }
            if let Some(event) = self.proto.step(&byte, &mut 0).unwrap() {
                return Some(event);
            }
        }
    }

    /// Sends an append of these frames, its first bytes only if `bytes` says so.
    fn append(&mut self, stream: StreamId, frames: &[&[u8]], bytes: usize) {
        let mut message = Vec::new();
        let request = self.proto.next_request();
        let start = Append::begin(&mut message, request);
        frames.iter().for_each(|frame| message.extend_from_slice(frame));
        Append { stream, records: frames.len() as u32 }.finish(&mut message, start);
        // The server may end the connection before it has taken all.
        let _ = self.socket.write_all(&message[..bytes.min(message.len())]);
    }

    /// Why the server ends the connection.
    fn last_words(mut self) -> Failure {
        match self.event() {
            Some(ClientEvent::Error(RequestId(0), failure)) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// The frames of a record, each by itself.
fn frames_of(key: &[u8], data: &[u8], each: usize) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    parts::encode_cut(&mut bytes, key, None, [data], each).unwrap();
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let rest = bytes.split_off(Frame::parse(&bytes).unwrap().length());
        frames.push(std::mem::replace(&mut bytes, rest));
    }
    frames
}

#[test]
fn frames_that_are_no_records_parts_end_their_connection() {
    let directory = directory();
    let mut server = Server::start(&directory.path().join("data"));
    let stream = server.client().create_stream("s", 1, Quotas::NONE).unwrap();
    let parts = frames_of(b"k", &data(1, 30_000), 10_000);
    let other = frames_of(b"K", &data(1, 30_000), 10_000);
    let small = frames_of(b"k", b"small", 100);
    let [a, b, c] = [&parts[0][..], &parts[1], &parts[2]];
    let wrong: [(&[&[u8]], &str); 6] = [
        (&[a, b], "a record of 3 parts was cut off before part 2"),
        (&[a, c], "part 2 of a record came where part 1 was due"),
        (&[b, c], "part 1 of a record came where part 0 was due"),
        (&[a, &small[0], b, c], "a record of 3 parts was cut off before part 1"),
        (&[a, a], "part 0 of a record came where part 1 was due"),
        (&[a, &other[1], c], "part 1 of a record differs from the first"),
    ];
    for (frames, why) in wrong {
        let mut raw = Raw::connect(&server);
        raw.append(stream.stream, frames, usize::MAX);
        let failure = raw.last_words();
        assert!(failure.code == ErrorCode::Protocol && failure.detail.contains(why), "{why}: {failure}");
    }
    // One that says it is larger than any may be.
    let mut huge = parts[0].clone();
    let total = huge.iter().position(|&byte| byte == 0x30).filter(|&at| at < 64);
    assert_eq!(total, Some(52), "30,000 in the extension");
    huge[52..56].copy_from_slice(&(LARGE_RECORD_BYTES_MAX as u32).to_le_bytes());
    let mut raw = Raw::connect(&server);
    raw.append(stream.stream, &[&huge], usize::MAX);
    let failure = raw.last_words();
    assert!(failure.code == ErrorCode::Protocol && failure.detail.contains("a record of 10485761 bytes"), "{failure}");
    server.assert_well();
    let mut client = server.client();
    assert_eq!(read_whole(&mut client, stream.stream, stream.shards[0].shard), (Vec::new(), 0), "nothing was stored");
    server.stop();
}

#[test]
fn a_record_waits_for_room_and_holds_nobody_up() {
    let directory = directory();
    // Its least memory has room for one record of the largest size.
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
    let record = data(1, LARGE_RECORD_BYTES_MAX - 1);
    let frames = frames_of(b"k", &record, 1_000_000);
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut slow = Raw::connect(&server);
    slow.append(stream.stream, &frames, 3_000_000);
    // Its answer says that the server has come so far.
    let mut behind = Raw::connect(&server);
    let mut waiting = server.client();
    let mut batch = Batch::new();
    assert!(batch.push(b"k", &record).unwrap());
    // It may be first, if the server hears of it first: then it is stored, and the other waits.
    behind.append(stream.stream, &frames, 2_000_000);
    for number in 0..3 {
        store(&mut client, stream.stream, "k", [format!("small {number}")]);
    }
    drop(behind);
    drop(slow);
    waiting.send(stream.stream, &batch).unwrap();
    let appended = waiting.next_appended().unwrap().unwrap();
    assert!(matches!(appended.outcome.unwrap()[..], [AckResult::Durable(..)]));
    // What never became whole took no number.
    let (whole, fragments) = read_whole(&mut client, stream.stream, stream.shards[0].shard);
    assert_eq!((whole.len(), fragments), (4, 0));
    assert!(whole.last().is_some_and(|(first, last, data)| (*first, *last) == (4, 14) && *data == record));
    server.stop();
}

#[test]
fn records_take_turns_where_there_is_room_for_one() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let stream = server.client().create_stream("s", 4, Quotas::NONE).unwrap();
    let producers: Vec<_> = (0..4_u64)
        .map(|producer| {
            let (mut client, stream) = (server.client(), stream.stream);
            std::thread::spawn(move || {
                let mut stored = Vec::new();
                for number in 0..3 {
                    let record = data(producer * 10 + number, LARGE_RECORD_BYTES_MAX - 9);
                    let key = format!("k{producer}");
                    let placed = store(&mut client, stream, &key, [&record])[0];
                    stored.push((placed, record));
                }
                stored
            })
        })
        .collect();
    let stored: Vec<_> = producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect();
    let mut client = server.client();
    let all: Vec<(ShardId, Whole)> = shards(&stream)
        .flat_map(|shard| read_whole(&mut client, stream.stream, shard).0.into_iter().map(move |whole| (shard, whole)))
        .collect();
    assert_eq!(all.len(), stored.len());
    for ((shard, sequence), record) in &stored {
        let found = all.iter().find(|(other, (_, number, _))| other == shard && *number == sequence.0);
        assert!(found.is_some_and(|(_, (.., data))| data == record), "{sequence} of shard {shard}");
    }
    server.stop();
}

fn shards(stream: &StreamDescription) -> impl Iterator<Item = ShardId> {
    stream.shards.iter().map(|shard| shard.shard)
}

#[test]
fn a_part_that_changed_on_its_way_refuses_its_record_alone() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
    let mut batch = Batch::new();
    let records = [b"before".to_vec(), data(1, 3 << 20), b"after".to_vec()];
    records.iter().for_each(|record| assert!(batch.push(b"k", record).unwrap()));
    let end = batch.frames().len();
    // The last part of the second record: before the third one's frame.
    batch.frames_mut()[end - 100] ^= 1;
    let results = client.append(stream.stream, &batch).unwrap();
    let durable = |number| AckResult::Durable(stream.shards[0].shard, Sequence(number));
    assert_eq!(results, [durable(1), AckResult::Refused(ErrorCode::Checksum), durable(5)]);
    let (whole, fragments) = read_whole(&mut client, stream.stream, stream.shards[0].shard);
    assert_eq!((whole, fragments), (vec![(1, 1, b"before".to_vec()), (5, 5, b"after".to_vec())], 3));
    assert!(run(server.command(["tail", "s"]), b"").good().out == b"before\nafter\n");
    let error = client.read(stream.stream, stream.shards[0].shard, Sequence(7), 1).unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
    server.stop();
}
