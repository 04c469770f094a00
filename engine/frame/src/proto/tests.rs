//! Tests of the native protocol: both ends against each other, cut anywhere, flipped anywhere.

use proptest::prelude::*;

use super::*;
use crate::id::{Sequence, ShardId, StreamId};
use crate::{Frame, Quotas, frame};

const LIMITS: ServerLimits = ServerLimits { window_bytes: 1 << 20, window_batches: 4 };

/// Feeds `bytes` in pieces and returns the events, with the data of records.
fn serve(server: &mut Server, bytes: &[u8], piece: usize) -> Result<Vec<(ServerEvent, Vec<u8>)>, Violation> {
    let mut events = Vec::new();
    for input in bytes.chunks(piece) {
        let mut at = 0;
        loop {
            // Both ways that there are to a record, in turn.
            let short = (events.len() % 2 == 1).then(|| server.frame_within(input, &mut at)).flatten();
            let event = match short {
                Some(range) => ServerEvent::Record(Span::Input(range)),
                None => match server.step(input, &mut at)? {
                    Some(event) => event,
                    None => break,
                },
            };
            let data = match &event {
                ServerEvent::Record(span) => {
                    Frame::parse(server.bytes(span, input)).map_err(Violation::Frame)?.data().to_vec()
                }
                _ => Vec::new(),
            };
            events.push((event, data));
        }
        assert_eq!(at, input.len(), "everything is taken before more is asked for");
    }
    Ok(events)
}

fn greeted() -> (Client, Server, Vec<u8>) {
    let mut out = Vec::new();
    let mut client = Client::new(&mut out);
    let mut server = Server::new();
    let mut at = 0;
    assert_eq!(server.step(&out, &mut at), Ok(Some(ServerEvent::Hello(RequestId(0)))));
    let mut answer = Vec::new();
    server.welcome(&mut answer, RequestId(0), 3, LIMITS);
    let mut at = 0;
    assert!(matches!(client.step(&answer, &mut at), Ok(Some(ClientEvent::Welcome(welcome))) if welcome.epoch == 3));
    out.clear();
    (client, server, out)
}

fn frames(datas: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    datas.iter().for_each(|data| frame::encode(&mut out, b"key", None, data).expect("within limits"));
    out
}

#[test]
fn a_conversation_survives_any_cut() {
    for piece in [1, 2, 3, 7, 23, 24, 25, 64, 1000] {
        let (mut client, mut server, mut out) = greeted();
        client.create_stream(&mut out, "orders", 4, Quotas::NONE);
        let append = client.append(&mut out, StreamId(1), 2, &frames(&[b"one", b"two"]));
        let read = Read { stream: StreamId(1), shard: ShardId(2), start: Start::Since(1 << 41), bytes_max: 100 };
        client.read(&mut out, &read);
        client.ping(&mut out);
        let at = Subscribe { stream: StreamId(1), shard: ShardId(2), start: Start::At(Sequence(7)), granted: 1 << 40 };
        let latest = Subscribe { start: Start::Latest, ..at };
        let subscription = client.subscribe(&mut out, &at);
        let other = client.subscribe(&mut out, &latest);
        Client::grant(&mut out, subscription, u64::MAX);
        Client::unsubscribe(&mut out, other);
        let events = serve(&mut server, &out, piece).expect("valid");
        assert_eq!(events.len(), 11, "cut every {piece}");
        let rest: Vec<_> = events[7..].iter().map(|(event, _)| event.clone()).collect();
        let expected = [
            ServerEvent::Subscribe(subscription, at),
            ServerEvent::Subscribe(other, latest),
            ServerEvent::Grant(subscription, Grant { granted: u64::MAX }),
            ServerEvent::Unsubscribe(other),
        ];
        assert_eq!(rest, expected);
        assert!(matches!(&events[0].0, ServerEvent::CreateStream(_, c) if c.name == "orders" && c.shards == 4));
        assert_eq!(events[1].0, ServerEvent::AppendBegin(append, Append { stream: StreamId(1), records: 2 }));
        assert_eq!((&events[2].1[..], &events[3].1[..]), (&b"one"[..], &b"two"[..]));
        assert!(matches!(events[4].0, ServerEvent::AppendEnd { request, .. } if request == append));
        assert!(matches!(events[5].0, ServerEvent::Read(_, r) if r == read));
        assert!(matches!(events[6].0, ServerEvent::Ping(_)));
    }
}

#[test]
fn acks_carry_results_and_credit() {
    let (mut client, mut server, mut out) = greeted();
    let results = [
        AckResult::Durable(ShardId(3), Sequence(9)),
        AckResult::Refused(ErrorCode::DiskFull),
        AckResult::Throttled(ErrorCode::WriteBytesExceeded, ShardId(0)),
        AckResult::Throttled(ErrorCode::WriteRecordsExceeded, ShardId(u32::MAX - 1)),
    ];
    let request = client.append(&mut out, StreamId(1), 2, &frames(&[b"one", b"two"]));
    let before = client.credit_left();
    server.settled(out.len() as u64);
    let credit = server.grant(LIMITS.window_bytes);
    let mut answer = Vec::new();
    let mut ack = Ack::begin(&mut answer, credit);
    ack.batch(request, results.iter().enumerate().map(|(index, &result)| (index as u32, result)));
    ack.batch(RequestId(77), [].into_iter());
    ack.finish();
    let mut at = 0;
    let Ok(Some(ClientEvent::Ack(span))) = client.step(&answer, &mut at) else { panic!("an ack") };
    let batches: Vec<_> = client.acks(&span, &answer).collect();
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[0].request, request);
    assert_eq!(batches[0].results().map(|(_, result)| result).collect::<Vec<_>>(), results);
    assert_eq!(batches[1].count(), 0);
    assert_eq!(client.credit_left().batches, before.batches + 1);
}

#[test]
fn read_results_carry_frames() {
    let (mut client, _, _) = greeted();
    let body = frames(&[b"one", b"two"]);
    let result = ReadResult {
        shard: ShardId(1),
        records: 2,
        next: Sequence(3),
        tip: Sequence(8),
        tip_arrival_ms: 5,
        children: None,
        trim: Sequence(2),
        encrypted: true,
    };
    let mut bytes = Vec::new();
    result.encode(&mut bytes, RequestId(6), body.len());
    bytes.extend_from_slice(&body);
    let (mut at, mut events) = (0, Vec::new());
    while let Some(event) = client.step(&bytes, &mut at).expect("valid") {
        events.push(event);
    }
    assert_eq!(events[0], ClientEvent::ReadBegin(RequestId(6), result));
    assert_eq!(events.len(), 4);
    assert_eq!(events[3], ClientEvent::ReadEnd(RequestId(6)));
}

#[test]
fn errors_name_what_is_damaged() {
    let (mut client, _, _) = greeted();
    let failures = [
        Failure::new(ErrorCode::UnknownStream, "there is none"),
        Failure::damaged(Sequence(7)..Sequence(1 << 40), "those"),
        Failure::damaged(Sequence(u64::MAX - 1)..Sequence(u64::MAX), "the last"),
    ];
    let mut bytes = Vec::new();
    failures.iter().for_each(|failure| Server::failure(&mut bytes, RequestId(6), failure));
    let mut at = 0;
    for failure in failures {
        assert_eq!(client.step(&bytes, &mut at), Ok(Some(ClientEvent::Error(RequestId(6), failure))));
    }
    assert_eq!(at, bytes.len());
    // Numbers that are none are no word of a server.
    for (start, end) in [(7, 7), (8, 7), (7, 0)] {
        let malformed =
            Failure { damaged: Some(Sequence(start)..Sequence(end)), ..Failure::new(ErrorCode::Damaged, "") };
        let mut bytes = Vec::new();
        Server::failure(&mut bytes, RequestId(6), &malformed);
        assert!(matches!(client.step(&bytes, &mut 0), Err(Violation::Malformed(_))), "{start} to {end}");
    }
}

/// Whoever speaks another version is told so before a message of it is taken for one of this.
#[test]
fn an_error_of_another_version_is_not_misread() {
    for version in [VERSION - 1, VERSION + 1] {
        let (mut client, _, _) = greeted();
        let mut bytes = Vec::new();
        Server::failure(&mut bytes, RequestId(6), &Failure::new(ErrorCode::Damaged, ""));
        bytes[5] = version as u8;
        assert_eq!(client.step(&bytes, &mut 0), Err(Violation::Version(version)));
    }
}

#[test]
fn credit_is_enforced() {
    let (mut client, mut server, mut out) = greeted();
    for _ in 0..LIMITS.window_batches {
        assert!(client.may_append(100));
        client.append(&mut out, StreamId(1), 1, &frames(&[b"x"]));
    }
    assert!(!client.may_append(100));
    assert!(serve(&mut server, &out, 4096).is_ok());
    out.clear();
    client.append(&mut out, StreamId(1), 1, &frames(&[b"x"]));
    assert_eq!(serve(&mut server, &out, 4096).expect_err("refused"), Violation::Credit);
}

#[test]
fn one_append_may_always_be_sent() {
    let (mut client, mut server, mut out) = greeted();
    let large = frames(&[&[7; 600_000], &[7; 600_000]]);
    assert!(large.len() as u64 > LIMITS.window_bytes && client.may_append(large.len()));
    client.append(&mut out, StreamId(1), 2, &large);
    assert!(!client.may_append(1), "another is unanswered");
    assert!(serve(&mut server, &out, 4096).is_ok());
    // The window has shrunk meanwhile.
    server.settled(out.len() as u64);
    let mut answer = Vec::new();
    Ack::begin(&mut answer, server.grant(1000)).finish();
    client.step(&answer, &mut 0).expect("an ack");
    out.clear();
    assert_eq!((client.credit_left().bytes, client.may_append(1001)), (1000, true));
    client.append(&mut out, StreamId(1), 1, &frames(&[&[7; 900]]));
    assert_eq!(client.credit_left().bytes, 8, "of the window");
    assert!(!client.may_append(9) && client.may_append(8));
    assert!(serve(&mut server, &out, 4096).is_ok());
    out.clear();
    client.append(&mut out, StreamId(1), 1, &frames(&[&[7; 900]]));
    assert_eq!(serve(&mut server, &out, 4096).expect_err("refused"), Violation::Credit);
}

#[test]
fn nothing_before_hello() {
    let (mut client, _, mut out) = greeted();
    client.ping(&mut out);
    assert_eq!(serve(&mut Server::new(), &out, 4096).expect_err("refused"), Violation::Handshake);
    assert!(serve(&mut Server::new(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 4096).is_err());
}

#[test]
fn wrong_versions_are_named() {
    let mut out = Vec::new();
    super::message::Control::encode(&Hello { version_min: 7, version_max: 9, features: 0 }, &mut out, RequestId(0));
    assert_eq!(serve(&mut Server::new(), &out, 4096).expect_err("refused"), Violation::Version(9));
}

#[test]
fn a_wrong_number_of_frames_is_noticed() {
    for said in [1, 3] {
        let (mut client, mut server, mut out) = greeted();
        client.append(&mut out, StreamId(1), said, &frames(&[b"one", b"two"]));
        assert_eq!(serve(&mut server, &out, 4096).expect_err("refused"), Violation::FrameCount { said: said as usize });
    }
}

#[test]
fn a_frame_past_its_message_is_refused() {
    let (mut client, mut server, mut out) = greeted();
    let mut body = frames(&[b"one"]);
    body[0] += 8;
    client.append(&mut out, StreamId(1), 1, &body);
    assert!(matches!(serve(&mut server, &out, 4096), Err(Violation::Frame(_))));
}

#[test]
fn every_flipped_bit_outside_frames_is_noticed() {
    let (mut client, _, mut out) = greeted();
    client.create_stream(&mut out, "orders", 4, Quotas::NONE);
    for bit in 0..out.len() * 8 {
        let (_, mut server, _) = greeted();
        let mut flipped = out.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let outcome = serve(&mut server, &flipped, 4096);
        assert!(outcome.as_ref().map_or(true, Vec::is_empty), "bit {bit}: {outcome:?}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
        let (mut client, mut server, _) = greeted();
        let _ = serve(&mut server, &bytes, piece);
        let mut at = 0;
        while let Ok(Some(_)) = client.step(&bytes, &mut at) {}
    }
}

/// A stream with a split and a merge, and a read that came to the end of a closed shard.
#[test]
fn lineage_is_told_as_it_is() {
    let (mut client, _, _) = greeted();
    let open = ShardDescription {
        shard: ShardId(7),
        reactor: 1,
        hash_start: 0,
        hash_end: u128::MAX,
        trim: Sequence(1),
        tip: Sequence(1),
        parent: Some(ShardId(4)),
        adjacent_parent: Some(ShardId(5)),
        created_ms: 1 << 41,
        children: None,
    };
    let children = Some(Children { first: ShardId(7), count: 1 });
    let closed = ShardDescription { shard: ShardId(4), parent: None, adjacent_parent: None, children, ..open };
    assert_eq!(open.parents().collect::<Vec<_>>(), [ShardId(4), ShardId(5)]);
    assert_eq!(closed.children.into_iter().flat_map(Children::shards).collect::<Vec<_>>(), [ShardId(7)]);
    let described = StreamDescription {
        stream: StreamId(1),
        name: "orders".to_owned(),
        created_ms: 5,
        quotas: Quotas::NONE,
        retention: crate::Retention::NONE,
        shards: vec![closed, open],
    };
    let mut bytes = Vec::new();
    Server::stream(&mut bytes, RequestId(3), &described);
    let result = ReadResult {
        shard: ShardId(4),
        records: 0,
        next: Sequence(8),
        tip: Sequence(8),
        tip_arrival_ms: 5,
        trim: Sequence(1),
        children,
        encrypted: false,
    };
    result.encode(&mut bytes, RequestId(6), 0);
    let mut at = 0;
    assert_eq!(client.step(&bytes, &mut at), Ok(Some(ClientEvent::Stream(RequestId(3), described))));
    assert_eq!(client.step(&bytes, &mut at), Ok(Some(ClientEvent::ReadBegin(RequestId(6), result))));
}

#[test]
fn reshardings_and_deletions_are_asked_for() {
    let (mut client, mut server, mut out) = greeted();
    let split = client.split_shard(&mut out, "orders", ShardId(3), 1 << 100);
    let merge = client.merge_shards(&mut out, "orders", ShardId(4), ShardId(5));
    let moved = client.move_shard(&mut out, "orders", ShardId(6), 2);
    let delete = client.delete_stream(&mut out, "orders");
    let events = serve(&mut server, &out, 7).expect("valid");
    let name = || "orders".to_owned();
    let expected = [
        ServerEvent::SplitShard(split, SplitShard { name: name(), shard: ShardId(3), at: 1 << 100 }),
        ServerEvent::MergeShards(merge, MergeShards { name: name(), shard: ShardId(4), adjacent: ShardId(5) }),
        ServerEvent::MoveShard(moved, MoveShard { name: name(), shard: ShardId(6), reactor: 2 }),
        ServerEvent::DeleteStream(delete, DeleteStream { name: name() }),
    ];
    assert!(events.iter().map(|(event, _)| event).eq(&expected), "{events:?}");
    let mut bytes = Vec::new();
    Server::deleted(&mut bytes, delete);
    assert_eq!(client.step(&bytes, &mut 0), Ok(Some(ClientEvent::Deleted(delete))));
}
