//! Subscribers: each gets everything, in order, within its credit, and holds nobody up.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use frame::proto::{ErrorCode, Start, StreamDescription};
use frame::{Quotas, RequestId, Sequence, ShardId};
use serde_json::json;
use server::client::{Client, Pushed, Records};

use crate::gateway::good;
use crate::rig::{Server, directory, store as store_batch};

const CREDIT: u64 = 1 << 40;

/// A subscriber of one shard on a connection of its own, which checks that what it gets is everything, in order.
struct Subscriber {
    client: Client,
    subscription: RequestId,
    next: Sequence,
    /// The first record's number; by time it tells where the subscription began.
    first: Option<Sequence>,
    by_time: bool,
    got: Vec<Vec<u8>>,
}

impl Subscriber {
    /// Subscribes, and hears where it begins.
    fn begin(server: &Server, stream: &StreamDescription, shard: ShardId, start: Start, credit: u64) -> Subscriber {
        let mut client = server.client();
        let subscription = client.subscribe(stream.stream, shard, start, credit).unwrap();
        let (by_time, next) = (matches!(start, Start::Since(_)), Sequence(0));
        let mut subscriber = Subscriber { client, subscription, next, first: None, by_time, got: Vec::new() };
        let first = subscriber.pushed();
        assert!(first.is_empty());
        subscriber.next = first.result.next;
        subscriber
    }

    fn pushed(&mut self) -> Records {
        let Pushed { subscription, outcome } = self.client.next_pushed().unwrap().unwrap();
        assert_eq!(subscription, self.subscription);
        outcome.unwrap()
    }

    /// Takes one push.
    fn take(&mut self) -> u64 {
        let records = self.pushed();
        let mut bytes = 0;
        if self.first.is_none() && self.by_time && records.is_empty() {
            // Nothing of that time is there yet.
            self.next = records.result.next;
        }
        for frame in records.iter() {
            if self.first.is_none() && self.by_time {
                self.next = frame.sequence();
            }
            self.first.get_or_insert(frame.sequence());
            assert_eq!(frame.sequence(), self.next, "nothing is left out, and nothing comes twice");
            self.next = self.next.next();
            self.got.push(frame.data().to_vec());
            bytes += frame.length() as u64;
        }
        assert_eq!(records.result.next, self.next);
        bytes
    }

    fn take_until(&mut self, count: usize) {
        while self.got.len() < count {
            self.take();
        }
    }
}

fn store(client: &mut Client, stream: &StreamDescription, records: &[Vec<u8>]) {
    for (number, records) in records.chunks(500).enumerate() {
        store_batch(client, stream.stream, &format!("key {number}"), records);
    }
}

fn datas(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(|number| format!("record {number} {}", "x".repeat(number * 7 % 900)).into_bytes()).collect()
}

#[test]
fn every_subscriber_gets_everything_in_order() {
    let data = directory();
    let server = Server::start(&data.path().join("data"));
    let mut producer = server.client();
    let stream = producer.create_stream("orders", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0].shard;
    // Some records lie in sealed segments, and none of them in memory, when the subscribers come.
    let all = datas(0..30_000);
    store(&mut producer, &stream, &all[..20_000]);
    let mut late = Subscriber::begin(&server, &stream, shard, Start::Latest, CREDIT);
    assert_eq!(late.next, Sequence(20_001));
    let mut middle = Subscriber::begin(&server, &stream, shard, Start::At(Sequence(15_001)), CREDIT);
    let mut early: Vec<Subscriber> =
        (0..5).map(|_| Subscriber::begin(&server, &stream, shard, Start::At(Sequence(0)), CREDIT)).collect();
    let rest = all[20_000..].to_vec();
    let appending = std::thread::spawn(move || store(&mut producer, &stream, &rest));
    for subscriber in &mut early {
        subscriber.take_until(all.len());
        assert!(subscriber.got == all);
    }
    middle.take_until(15_000);
    assert!(middle.got == all[15_000..]);
    late.take_until(10_000);
    assert!(late.got == all[20_000..]);
    appending.join().unwrap();
    server.stop();
}

/// Everything has the arrival that its frame says, and reading by any of them begins with the first of that time.
#[test]
fn a_time_finds_the_first_record_of_it() {
    let data = directory();
    let server = Server::start(&data.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("orders", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0].shard;
    let before = now_ms();
    // Over several segments, so that a time must be found among footers.
    for number in 0..60 {
        store_batch(&mut client, stream.stream, "k", vec![vec![number; 50_000]; 8]);
        std::thread::sleep(Duration::from_millis(2));
    }
    let arrivals: Vec<(Sequence, u64)> = {
        let (mut from, mut all) = (Sequence(1), Vec::new());
        while from <= Sequence(480) {
            let records = client.read(stream.stream, shard, from, 1 << 20).unwrap();
            all.extend(records.iter().map(|frame| (frame.sequence(), frame.arrival_ms())));
            from = records.result.next;
        }
        all
    };
    assert_eq!(arrivals.len(), 480);
    for &(_, time) in arrivals.iter().step_by(7) {
        for since in [time, time + 1] {
            let due = arrivals.iter().find(|arrival| arrival.1 >= since).map(|arrival| arrival.0);
            let read = client.read(stream.stream, shard, Start::Since(since), 1).unwrap();
            assert_eq!(read.iter().next().map(|frame| frame.sequence()), due, "since {since}");
            let Some(due) = due else { continue };
            let mut subscriber = Subscriber::begin(&server, &stream, shard, Start::Since(since), CREDIT);
            subscriber.take();
            assert_eq!(subscriber.first, Some(due), "since {since}");
        }
    }
    let read = client.read(stream.stream, shard, Start::Since(before.min(arrivals[0].1)), 1).unwrap();
    assert_eq!(read.iter().next().unwrap().sequence(), Sequence(1));
    let future = client.read(stream.stream, shard, Start::Since(now_ms() + 60_000), 1).unwrap_err();
    assert!(
        future.code() == Some(ErrorCode::InvalidArgument) && future.to_string().contains("in the future"),
        "{future}"
    );
    // Nothing has arrived since now; what comes does.
    let mut later = Subscriber::begin(&server, &stream, shard, Start::Since(now_ms()), CREDIT);
    std::thread::sleep(Duration::from_millis(2));
    store_batch(&mut client, stream.stream, "k", &[b"late".to_vec()]);
    later.take_until(1);
    assert_eq!((later.first, later.got.as_slice()), (Some(Sequence(481)), &[b"late".to_vec()][..]));
    server.stop();
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

#[test]
fn credit_bounds_what_is_pushed() {
    let data = directory();
    let server = Server::start(&data.path().join("data"));
    let mut producer = server.client();
    let stream = producer.create_stream("orders", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0].shard;
    let all = datas(0..2000);
    store(&mut producer, &stream, &all);
    let mut subscriber = Subscriber::begin(&server, &stream, shard, Start::At(Sequence(1)), 0);
    let (mut granted, mut got) = (0, 0);
    while subscriber.got.len() < all.len() {
        // Nothing comes on its own: the answer to a ping is the next thing heard.
        subscriber.client.ping().unwrap();
        subscriber.client.grant(subscriber.subscription, 10_000).unwrap();
        granted += 10_000;
        while got < granted && subscriber.got.len() < all.len() {
            got += subscriber.take();
        }
        assert!(got < granted + 1100, "pushed {got} of {granted}: more than a record beyond");
    }
    assert!(subscriber.got == all);
    // Without a subscriber's credit, appends and others go on.
    let mut stalled = Subscriber::begin(&server, &stream, shard, Start::Latest, 1);
    let mut other = Subscriber::begin(&server, &stream, shard, Start::Latest, CREDIT);
    store(&mut producer, &stream, &all);
    other.take_until(all.len());
    stalled.take();
    assert_eq!(stalled.got.len(), 1);
    stalled.client.ping().unwrap();
    server.stop();
}

#[test]
fn who_takes_nothing_holds_nobody_up() {
    let data = directory();
    let server = Server::start(&data.path().join("data"));
    let mut producer = server.client();
    let stream = producer.create_stream("orders", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0].shard;
    // Credit for everything, and nobody who reads the socket: what is pushed stays in it, and the rest on the disk.
    let mut deaf = Subscriber::begin(&server, &stream, shard, Start::Latest, CREDIT);
    let mut other = Subscriber::begin(&server, &stream, shard, Start::Latest, CREDIT);
    let all = datas(0..40_000);
    store(&mut producer, &stream, &all);
    other.take_until(all.len());
    assert!(other.got == all);
    // Once it listens it gets the rest.
    deaf.take_until(all.len());
    assert!(deaf.got == all);
    server.stop();
}

#[test]
fn a_subscription_ends_when_it_is_told_to_or_its_stream_does() {
    let data = directory();
    let server = Server::start(&data.path().join("data"));
    let mut producer = server.client();
    let stream = producer.create_stream("orders", 2, Quotas::NONE).unwrap();
    let shard = stream.shards[0].shard;
    let mut subscriber = Subscriber::begin(&server, &stream, shard, Start::Latest, CREDIT);
    subscriber.client.unsubscribe(subscriber.subscription).unwrap();
    assert!(subscriber.client.next_pushed().unwrap().is_none());
    let refused = |client: &mut Client, shard, start| {
        client.subscribe(stream.stream, shard, start, CREDIT).unwrap();
        client.next_pushed().unwrap().unwrap().outcome.unwrap_err().code
    };
    let client = &mut subscriber.client;
    assert_eq!(refused(client, ShardId(99), Start::Latest), ErrorCode::UnknownShard);
    assert_eq!(refused(client, shard, Start::At(Sequence(2))), ErrorCode::UnknownSequence);
    // Others of the connection go on.
    client.subscribe(stream.stream, shard, Start::At(Sequence(1)), CREDIT).unwrap();
    client.subscribe(stream.stream, stream.shards[1].shard, Start::At(Sequence(1)), CREDIT).unwrap();
    assert!(client.next_pushed().unwrap().unwrap().outcome.unwrap().is_empty());
    assert!(client.next_pushed().unwrap().unwrap().outcome.unwrap().is_empty());
    good(server.http.unwrap(), "DeleteStream", &json!({"StreamName": "orders"}));
    for _ in 0..2 {
        let ended = client.next_pushed().unwrap().unwrap().outcome.unwrap_err();
        assert_eq!(ended.code, ErrorCode::UnknownStream, "{ended}");
    }
    assert!(client.next_pushed().unwrap().is_none());
    client.ping().unwrap();
    server.stop();
}

#[test]
fn tail_follows() {
    let data = directory();
    let server = Server::start(&data.path().join("data"));
    let mut producer = server.client();
    let stream = producer.create_stream("orders", 3, Quotas::NONE).unwrap();
    store(&mut producer, &stream, &datas(0..10));
    let mut tail = server.command(["tail", "orders", "--follow", "--limit", "30"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(|line| line.unwrap().into_bytes());
    let mut got: Vec<Vec<u8>> = lines.by_ref().take(10).collect();
    // It waits where the records end; each batch is printed as it comes.
    for from in [10, 20] {
        store(&mut producer, &stream, &datas(from..from + 10));
        got.extend(lines.by_ref().take(10));
    }
    got.sort();
    let mut expected = datas(0..30);
    expected.sort();
    assert!(got == expected);
    assert!(crate::rig::wait(&mut tail).success());
    server.stop();
}
