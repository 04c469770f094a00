//! The native protocol: both ends, fed with anything, in arbitrary pieces.
//!
//! ```text
//!   0 mode: bit 0 the client's end, bit 1 a conversation made of parts, bit 2 repaired | 1 seed of the cuts, 8 bytes
//!   | made: messages, as many as byte 9 says, then edits | else: a stream
//! ```
//!
//! However a stream is cut, an end says the same. It takes every byte, or says what is wrong; it never spins. A conversation
//! as the protocol has it is understood, and what it carries arrives.

use std::num::{NonZeroU32, NonZeroU64};

use frame::RequestId;
use frame::proto::{
    Ack, AckResult, Children, Client, ClientEvent, Credit, ErrorCode, Failure, Read, ReadResult, Server, ServerEvent,
    ServerLimits, ShardDescription, Start, StreamDescription, StreamList, Subscribe,
};
use frame::{QUOTAS_BYTES, Quotas, Retention, Sequence, Settings, ShardId, StreamId};

use crate::Random;
use crate::checksum::repair_messages;
use crate::program::{Program, edit};

const CLIENT: u8 = 1;
const MADE: u8 = 2;
const REPAIRED: u8 = 4;
const LIMITS: ServerLimits = ServerLimits { window_bytes: 1 << 20, window_batches: 64 };

/// What an end made of a stream, one event after the other, with what each points to.
type Heard = Vec<String>;

/// Judges one input.
pub fn run(input: &[u8]) {
    let mut program = Program(input);
    let (mode, cuts) = (program.byte(), program.long());
    let hear = if mode & CLIENT != 0 { heard_by_client } else { heard_by_server };
    let mut stream = if mode & MADE != 0 {
        let (mut stream, messages) = if mode & CLIENT != 0 { answers(&mut program) } else { requests(&mut program) };
        let heard = hear(&stream, &mut |left| left);
        let understood = heard.iter().filter(|event| !event.starts_with("frame")).count();
        assert_eq!(understood, messages, "a lawful conversation is understood: {heard:?}");
        edit(&mut stream, program);
        stream
    } else {
        program.0.to_vec()
    };
    if mode & REPAIRED != 0 {
        repair_messages(&mut stream);
    }
    let whole = hear(&stream, &mut |left| left);
    let mut random = Random::new(cuts);
    let cut = hear(&stream, &mut |left| 1 + random.skewed(left));
    assert_eq!(whole, cut, "another tale for other cuts");
    if stream.len() <= 2048 {
        assert_eq!(whole, hear(&stream, &mut |_| 1), "another tale byte by byte");
    }
}

/// Hands `stream` to `step` in pieces of the lengths that `cut` chooses, until it ends or `step` refuses to go on.
fn feed(stream: &[u8], cut: &mut dyn FnMut(usize) -> usize, mut step: impl FnMut(&[u8], &mut usize) -> Option<bool>) {
    let (mut rest, mut steps) = (stream, 0);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(cut(rest.len()).clamp(1, rest.len()));
        let mut at = 0;
        loop {
            steps += 1;
            assert!(steps <= 3 * stream.len() + 16, "it spins");
            match step(piece, &mut at) {
                Some(true) => assert!(at <= piece.len()),
                Some(false) => break,
                None => return,
            }
        }
        assert_eq!(at, piece.len(), "bytes are left that it did not take");
        rest = after;
    }
}

fn heard_by_server(stream: &[u8], cut: &mut dyn FnMut(usize) -> usize) -> Heard {
    let mut server = Server::new();
    let mut heard = Heard::new();
    feed(stream, cut, |piece, at| {
        let event = match server.step(piece, at) {
            Ok(Some(event)) => event,
            Ok(None) => return Some(false),
            Err(violation) => {
                heard.push(format!("violation: {violation}"));
                return None;
            }
        };
        match event {
            ServerEvent::Hello(request) => server.welcome(&mut Vec::new(), request, 1, LIMITS),
            ServerEvent::AppendEnd { bytes, .. } => {
                server.settled(bytes);
                server.grant(LIMITS.window_bytes);
            }
            _ => {}
        }
        heard.push(match event {
            ServerEvent::Record(span) => format!("frame {:?}", server.bytes(&span, piece)),
            ServerEvent::AppendEnd { .. } => format!("frames end: {event:?}"),
            event => format!("{event:?}"),
        });
        Some(true)
    });
    heard
}

fn heard_by_client(stream: &[u8], cut: &mut dyn FnMut(usize) -> usize) -> Heard {
    let mut client = Client::new(&mut Vec::new());
    let mut heard = Heard::new();
    feed(stream, cut, |piece, at| {
        let event = match client.step(piece, at) {
            Ok(Some(event)) => event,
            Ok(None) => return Some(false),
            Err(violation) => {
                heard.push(format!("violation: {violation}"));
                return None;
            }
        };
        heard.push(match event {
            ClientEvent::Record(span) => format!("frame {:?}", client.bytes(&span, piece)),
            ClientEvent::ReadEnd(_) => format!("frames end: {event:?}"),
            ClientEvent::Ack(span) => {
                let batches = client.acks(&span, piece);
                let results: Vec<_> =
                    batches.map(|batch| (batch.request, batch.results().collect::<Vec<_>>())).collect();
                format!("acks {results:?}")
            }
            event => format!("{event:?}"),
        });
        // Neither overflows, whatever a server grants.
        assert!(client.credit_left().bytes == 0 || client.credit_left().batches == 0 || client.may_append(1));
        Some(true)
    });
    heard
}

fn text(program: &mut Program<'_>) -> String {
    let length = usize::from(program.byte() % 32);
    program.bytes(length).iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

fn frames(program: &mut Program<'_>) -> (Vec<u8>, u32) {
    let (mut frames, records, mut count) = (Vec::new(), u32::from(program.byte() % 5) + 1, 0);
    for _ in 0..records {
        let (key, data_bytes) = (text(program), usize::from(program.byte()));
        // Now and then a record in parts: to both ends it is frames like others.
        let each = if data_bytes % 5 == 4 { data_bytes.div_ceil(3) } else { data_bytes };
        let data = vec![5; data_bytes];
        count +=
            frame::parts::encode_cut(&mut frames, key.as_bytes(), None, [&data], each).expect("short parts").frames;
    }
    (frames, count)
}

/// What a client says, and in how many messages.
fn requests(program: &mut Program<'_>) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut client = Client::new(&mut out);
    let messages = usize::from(program.byte() % 16);
    for _ in 0..messages {
        let request = match program.byte() % 13 {
            0 => {
                let (name, shards) = (text(program), program.word());
                let settings = Settings { quotas: quotas(program), retention: retention(program) };
                client.create_stream(&mut out, &name, shards, settings)
            }
            1 => client.describe_stream(&mut out, &text(program)),
            2 => client.list_streams(&mut out, &text(program), program.word()),
            3 => {
                let (stream, shard) = (StreamId(program.word()), ShardId(program.word()));
                let (start, bytes_max) = (start(program), program.word());
                client.read(&mut out, &Read { stream, shard, start, bytes_max })
            }
            4 => client.ping(&mut out),
            7 => client.set_quotas(&mut out, &text(program), quotas(program)),
            8 => {
                let (shard, at) = (ShardId(program.word()), u128::from(program.long()));
                client.split_shard(&mut out, &text(program), shard, at)
            }
            9 => {
                let (shard, adjacent) = (ShardId(program.word()), ShardId(program.word()));
                client.merge_shards(&mut out, &text(program), shard, adjacent)
            }
            12 => client.delete_stream(&mut out, &text(program)),
            11 => client.set_retention(&mut out, &text(program), retention(program)),
            5 => {
                let (stream, shard, granted) = (StreamId(program.word()), ShardId(program.word()), program.long());
                let start = start(program);
                client.subscribe(&mut out, &Subscribe { stream, shard, start, granted })
            }
            6 => {
                let subscription = RequestId(program.long() | 1);
                if program.byte() & 1 == 0 {
                    Client::grant(&mut out, subscription, program.long());
                } else {
                    Client::unsubscribe(&mut out, subscription);
                }
                subscription
            }
            _ => {
                let (frames, records) = frames(program);
                client.append(&mut out, StreamId(program.word()), records, &frames)
            }
        };
        assert!(request.0 > 0, "0 is the connection's own");
    }
    (out, messages + 1)
}

fn retention(program: &mut Program<'_>) -> Retention {
    Retention { seconds: NonZeroU32::new(program.word()), bytes: NonZeroU64::new(program.long()) }
}

fn quotas(program: &mut Program<'_>) -> Quotas {
    let mut bytes = [0; QUOTAS_BYTES];
    bytes.fill_with(|| program.byte());
    Quotas::decode(&bytes)
}

fn start(program: &mut Program<'_>) -> Start {
    match program.byte() % 3 {
        0 => Start::Latest,
        1 => Start::At(Sequence(program.long())),
        _ => Start::Since(program.long()),
    }
}

/// What a server says, and in how many messages.
fn answers(program: &mut Program<'_>) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    Server::new().welcome(&mut out, RequestId(0), program.long(), LIMITS);
    let messages = usize::from(program.byte() % 16);
    for _ in 0..messages {
        let request = RequestId(program.long());
        match program.byte() % 6 {
            0 => Server::stream(&mut out, request, &description(program)),
            1 => {
                let names = (0..program.byte() % 4).map(|_| text(program)).collect();
                Server::stream_list(&mut out, request, &StreamList { names, more: program.byte() & 1 != 0 });
            }
            2 => ack(&mut out, request, program),
            3 => {
                let (frames, records) = frames(program);
                let result = ReadResult {
                    shard: ShardId(program.word()),
                    records,
                    next: Sequence(program.long()),
                    tip: Sequence(program.long()),
                    tip_arrival_ms: program.long(),
                    children: children(program),
                    trim: Sequence(program.long()),
                    encrypted: program.byte() & 1 != 0,
                };
                result.encode(&mut out, request, frames.len());
                out.extend_from_slice(&frames);
            }
            4 => Server::pong(&mut out, request),
            _ => {
                let (code, detail) = (ErrorCode::from_number(program.short() % 14), text(program));
                let from = Sequence(program.long());
                let damaged = from..Sequence(from.0.saturating_add(u64::from(program.byte())));
                let failure =
                    if damaged.is_empty() { Failure::new(code, detail) } else { Failure::damaged(damaged, detail) };
                Server::failure(&mut out, request, &failure);
            }
        }
    }
    (out, messages + 1)
}

fn children(program: &mut Program<'_>) -> Option<Children> {
    let first = ShardId(program.word() % 4);
    (first != ShardId::CATALOG).then(|| Children { first, count: u32::from(program.byte() % 2) + 1 })
}

fn description(program: &mut Program<'_>) -> StreamDescription {
    let shards = (0..program.byte() % 4).map(|_| ShardDescription {
        shard: ShardId(program.word()),
        reactor: 0,
        hash_start: u128::from(program.long()),
        hash_end: u128::from(program.long()),
        trim: Sequence(program.long()),
        tip: Sequence(program.long()),
        parent: Some(ShardId(program.word())),
        adjacent_parent: None,
        created_ms: program.long(),
        children: children(program),
    });
    let shards = shards.collect();
    let (stream, name, created_ms) = (StreamId(program.word()), text(program), program.long());
    StreamDescription { stream, name, created_ms, quotas: quotas(program), retention: retention(program), shards }
}

fn ack(out: &mut Vec<u8>, request: RequestId, program: &mut Program<'_>) {
    let mut ack = Ack::begin(out, Credit { bytes: program.long(), batches: program.long() });
    for _ in 0..program.byte() % 3 {
        let results: Vec<(u32, AckResult)> = (0..u32::from(program.byte() % 4))
            .map(|index| match program.byte() & 1 {
                0 => (index, AckResult::Durable(ShardId(u32::from(program.short())), Sequence(program.long()))),
                _ => (index, AckResult::Refused(ErrorCode::Checksum)),
            })
            .collect();
        ack.batch(request, results.into_iter());
    }
    ack.finish();
}

/// Conversations of both sides, made of parts and as bytes.
pub fn starts() -> Vec<(&'static str, Vec<u8>)> {
    // Each kind of message in turn, with parts that are not all alike.
    let parts: Vec<u8> = (0..400_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let made = |mode: u8, program: &[u8]| [&[mode, 1, 2, 3, 4, 5, 6, 7, 8], program].concat();
    let with_count = |count: u8| [&[count], &parts[..]].concat();
    let bytes = |mode: u8, stream: &[u8]| [&[mode, 8, 7, 6, 5, 4, 3, 2, 1], stream].concat();
    let (requested, _) = requests(&mut Program(&with_count(9)));
    let (answered, _) = answers(&mut Program(&parts));
    vec![
        ("requests", made(MADE, &with_count(9))),
        ("requests-repaired", made(MADE | REPAIRED, &with_count(5))),
        ("requests-bytes", bytes(0, &requested)),
        ("requests-bytes-repaired", bytes(REPAIRED, &requested)),
        ("answers", made(CLIENT | MADE, &parts)),
        ("answers-repaired", made(CLIENT | MADE | REPAIRED, &parts[16..])),
        ("answers-bytes", bytes(CLIENT, &answered)),
        ("answers-bytes-repaired", bytes(CLIENT | REPAIRED, &answered)),
    ]
}
