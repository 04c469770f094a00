//! A server in memory for the tests: it speaks the native protocol through `frame`, keeps its word, and breaks it on
//! request.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use frame::proto::{
    Ack, AckResult, ErrorCode, Failure, Read, ReadResult, Server, ServerEvent, ServerLimits, ShardDescription, Start,
    StreamDescription,
};
use frame::route::{even_range, hash_key};
use frame::{Frame, Quotas, RequestId, Sequence, ShardId, StreamId};

/// How the server behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manners {
    /// What it breaks.
    pub(super) breaks: Option<Breaks>,
    /// How long it takes over each append.
    pub(super) delay: Duration,
    /// Batches of credit; 64 if 0.
    pub(super) credit_batches: u64,
}

/// Ways to break one's word, each on the record or batch of this number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Breaks {
    LosesRecord(u64),
    StoresTwice(u64),
    ChangesByte(u64),
    RefusesRecord(u64),
    StoresRefused(u64),
    ClosesAfterBatch(u64),
    SwapsRecords(u64),
    /// Of each shard, calls these numbers damaged.
    Damages(u64, u64),
}

type Shards = Vec<(StreamId, ShardId, Vec<Vec<u8>>)>;

#[derive(Default)]
struct Log {
    streams: Vec<(String, StreamId)>,
    shards: Shards,
}

struct Shared {
    log: Mutex<Log>,
    manners: Manners,
    records: AtomicU64,
    batches: AtomicU64,
}

/// Starts it; it ends with the process.
pub(super) fn start(manners: Manners) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (log, records, batches) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
    let shared = Arc::new(Shared { log, manners, records, batches });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || Connection::new(&shared, stream.unwrap()).serve());
        }
    });
    address
}

struct Connection<'a> {
    shared: &'a Shared,
    stream: TcpStream,
    server: Server,
    out: Vec<u8>,
    append: Option<(StreamId, Vec<AckResult>)>,
}

impl<'a> Connection<'a> {
    fn new(shared: &'a Shared, stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { shared, stream, server: Server::new(), out: Vec::new(), append: None }
    }

    fn serve(mut self) {
        let mut input = vec![0; 64 << 10];
        loop {
            let Ok(filled @ 1..) = self.stream.read(&mut input) else { return };
            let mut at = 0;
            while let Some(event) = self.server.step(&input[..filled], &mut at).unwrap() {
                if let ServerEvent::Record(span) = &event {
                    let record = self.server.bytes(span, &input[..filled]).to_vec();
                    self.record(record);
                } else if !self.event(event) {
                    return;
                }
            }
            if self.stream.write_all(&self.out).is_err() {
                return;
            }
            self.out.clear();
        }
    }

    fn event(&mut self, event: ServerEvent) -> bool {
        match event {
            ServerEvent::Hello(request) => {
                let batches =
                    if self.shared.manners.credit_batches == 0 { 64 } else { self.shared.manners.credit_batches };
                let limits = ServerLimits { window_bytes: 32 << 20, window_batches: batches };
                self.server.welcome(&mut self.out, request, 1, limits);
            }
            ServerEvent::CreateStream(request, create) => {
                let description = self.shared.log.lock().unwrap().create(&create.name, create.shards);
                Server::stream(&mut self.out, request, &description);
            }
            ServerEvent::Read(request, read) => self.read(request, read),
            ServerEvent::AppendBegin(_, append) => self.append = Some((append.stream, Vec::new())),
            // Nothing is ever pushed.
            ServerEvent::Subscribe(..) => {}
            ServerEvent::AppendEnd { request, bytes } => return self.append_end(request, bytes),
            _ => Server::failure(&mut self.out, RequestId(0), &Failure::new(ErrorCode::Protocol, "")),
        }
        true
    }

    fn record(&mut self, mut bytes: Vec<u8>) {
        let number = self.shared.records.fetch_add(1, Ordering::Relaxed);
        let (stream, results) = self.append.as_mut().unwrap();
        let frame = Frame::parse(&bytes).unwrap();
        frame.verify_payload().unwrap();
        let key = hash_key(frame.key());
        let mut log = self.shared.log.lock().unwrap();
        let count = log.shards.iter().filter(|shard| shard.0 == *stream).count();
        let index = (0..count).find(|&i| (even_range(i, count).0..=even_range(i, count).1).contains(&key)).unwrap();
        let (_, shard, records) = log.shards.iter_mut().filter(|shard| shard.0 == *stream).nth(index).unwrap();
        let sequence = Sequence(records.len() as u64 + 1);
        let mut result = AckResult::Durable(*shard, sequence);
        let mut copies = 1;
        match self.shared.manners.breaks {
            Some(Breaks::LosesRecord(at)) if at == number => copies = 0,
            Some(Breaks::StoresTwice(at)) if at == number => copies = 2,
            Some(Breaks::RefusesRecord(at)) if at == number => {
                (copies, result) = (0, AckResult::Refused(ErrorCode::Busy))
            }
            Some(Breaks::StoresRefused(at)) if at == number => result = AckResult::Refused(ErrorCode::Busy),
            Some(Breaks::ChangesByte(at)) if at == number => {
                let last = bytes.len() - 9;
                bytes[last] ^= 1;
            }
            _ => {}
        }
        results.push(result);
        for copy in 0..copies {
            frame::frame::stamp(&mut bytes, *shard, Sequence(sequence.0 + copy), 0);
            records.push(bytes.clone());
        }
        if copies == 0 && matches!(self.shared.manners.breaks, Some(Breaks::LosesRecord(_))) {
            // What is lost keeps its number: those after it are given the next ones.
            records.push(Vec::new());
        }
        if matches!(self.shared.manners.breaks, Some(Breaks::SwapsRecords(at)) if at == number) && records.len() > 1 {
            let last = records.len() - 1;
            records.swap(last - 1, last);
            for (at, record) in records.iter_mut().enumerate().skip(last - 1) {
                frame::frame::stamp(record, *shard, Sequence(at as u64 + 1), 0);
            }
        }
    }

    fn append_end(&mut self, request: RequestId, bytes: u64) -> bool {
        let batch = self.shared.batches.fetch_add(1, Ordering::Relaxed);
        thread::sleep(self.shared.manners.delay);
        let (_, results) = self.append.take().unwrap();
        if matches!(self.shared.manners.breaks, Some(Breaks::ClosesAfterBatch(at)) if at == batch) {
            return false;
        }
        self.server.settled(bytes);
        let credit = self.server.grant(32 << 20);
        let mut ack = Ack::begin(&mut self.out, credit);
        // In two parts, as shards of different reactors are acknowledged.
        let rows: Vec<(u32, AckResult)> = (0..).zip(results).collect();
        let (left, right) = rows.split_at(rows.len() / 2);
        for part in [right, left].into_iter().filter(|part| !part.is_empty()) {
            ack.batch(request, part.iter().copied());
        }
        ack.finish();
        true
    }

    fn read(&mut self, request: RequestId, read: Read) {
        let log = self.shared.log.lock().unwrap();
        let (_, _, records) = log.shards.iter().find(|shard| shard.1 == read.shard).unwrap();
        let Start::At(from) = read.start else { return };
        let (mut records, tip) = (&records[..], Sequence(records.len() as u64 + 1));
        if let Some(Breaks::Damages(first, end)) = self.shared.manners.breaks {
            if (first..end).contains(&from.0) {
                let failure = Failure::damaged(from..Sequence(end), "");
                return Server::failure(&mut self.out, request, &failure);
            }
            if from.0 < first {
                records = &records[..(first as usize - 1).min(records.len())];
            }
        }
        let (mut body, mut count, mut next) = (Vec::new(), 0, from.0);
        while let Some(record) = records.get(next as usize - 1) {
            if count > 0 && body.len() + record.len() > read.bytes_max as usize {
                break;
            }
            count += u32::from(!record.is_empty());
            body.extend_from_slice(record);
            next += 1;
        }
        let result = ReadResult {
            shard: read.shard,
            records: count,
            next: Sequence(next),
            tip,
            tip_arrival_ms: 0,
            children: None,
            trim: frame::Sequence(1),
            encrypted: false,
        };
        result.encode(&mut self.out, request, body.len());
        self.out.extend_from_slice(&body);
    }
}

impl Log {
    fn create(&mut self, name: &str, shards: u32) -> StreamDescription {
        let known = self.streams.iter().find(|stream| stream.0 == name).map(|stream| stream.1);
        let stream = known.unwrap_or_else(|| {
            let stream = StreamId(self.streams.len() as u32 + 1);
            self.streams.push((name.to_owned(), stream));
            for _ in 0..shards {
                let shard = ShardId(self.shards.len() as u32 + 10);
                self.shards.push((stream, shard, Vec::new()));
            }
            stream
        });
        let describe = |(index, shard): (usize, &(StreamId, ShardId, Vec<Vec<u8>>))| {
            let (hash_start, hash_end) = even_range(index, shards as usize);
            let tip = Sequence(shard.2.len() as u64 + 1);
            ShardDescription {
                shard: shard.1,
                reactor: 0,
                hash_start,
                hash_end,
                trim: Sequence(1),
                tip,
                parent: None,
                adjacent_parent: None,
                created_ms: 0,
                children: None,
            }
        };
        let of_stream = self.shards.iter().filter(|shard| shard.0 == stream);
        let shards = of_stream.enumerate().map(describe).collect();
        StreamDescription {
            stream,
            name: name.to_owned(),
            created_ms: 0,
            quotas: Quotas::NONE,
            retention: frame::Retention::NONE,
            shards,
        }
    }
}
