//! What the generator itself costs: it produces to a sink that acknowledges at once and drops every byte unread.
//!
//! Prints processor time of the generator's core for a record and a batch, the kernel's share of sending included. Run
//! with `cargo bench -p loadgen --bench produce`; words after `--` choose loads by their names. The sink takes the first
//! core and the generator the last. Under `cargo test` each load is driven once with little data.

use std::collections::HashMap;
use std::error::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use frame::proto::{
    APPEND_FIXED_BYTES, Ack, AckResult, HEADER_BYTES, Kind, Server, ServerEvent, ServerLimits, ShardDescription,
    StreamDescription,
};
use frame::{Quotas, RequestId, Sequence, ShardId, StreamId};
use loadgen::native::{Consumers, Pace, Plan, Producers, Shared, Target, prepare_streams, produce};
use loadgen::schedule::Arrivals;
use loadgen::workload::{Keys, Recipe, Sizes};
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::time::{ClockId, clock_gettime};

/// An Append's bytes before its frames: all that the sink looks at.
const HEAD_BYTES: usize = HEADER_BYTES + APPEND_FIXED_BYTES;

/// Shards of the sink's stream, a power of two.
const SHARDS: u32 = 8;

/// One load.
struct Load {
    name: &'static str,
    connections: u32,
    batch_records: u32,
    record_bytes: usize,
    pace: Pace,
}

const fn closed(name: &'static str, connections: u32, inflight: u32, batch_records: u32) -> Load {
    Load { name, connections, batch_records, record_bytes: 1024, pace: Pace::Closed { inflight } }
}

const LOADS: [Load; 6] = [
    closed("large", 1, 8, 1000),
    closed("medium", 4, 4, 500),
    closed("small", 16, 1, 10),
    closed("single", 1, 1, 1),
    Load {
        name: "constant",
        connections: 4,
        batch_records: 100,
        record_bytes: 1024,
        pace: Pace::Open { records_per_s: 300_000.0, arrivals: Arrivals::Constant },
    },
    Load {
        name: "poisson",
        connections: 4,
        batch_records: 100,
        record_bytes: 1024,
        pace: Pace::Open { records_per_s: 300_000.0, arrivals: Arrivals::Poisson },
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let test = !arguments.iter().any(|argument| argument == "--bench");
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    let (&first, &last) = cores.first().zip(cores.last()).ok_or("no core may be used")?;
    let (duration, bytes_max) =
        if test { (Duration::from_secs(2), 4 << 20) } else { (Duration::from_secs(3), u64::MAX) };
    for load in LOADS.iter().filter(|load| names.is_empty() || names.iter().any(|name| *name == load.name)) {
        let target = Target::new(start_sink(first)?);
        let producers = Producers {
            streams: prepare_streams(&target, &["sink".to_owned()], (SHARDS, None), last)?.streams,
            connections: load.connections,
            batch_records: load.batch_records,
            pace: load.pace,
            bytes_max,
            recipe: Recipe::new(Sizes::Fixed(load.record_bytes), Keys::Distinct, 1),
        };
        let plan = Plan {
            target,
            producers: vec![producers],
            warmup: Duration::ZERO,
            start_at: None,
            duration: Some(duration),
            cores: vec![last],
            seed: 1,
            is_shared: false,
            consumers: Consumers::default(),
        };
        println!("{}", measure(load, &plan)?);
    }
    Ok(())
}

/// Drives one load and tells what it took, in one line.
fn measure(load: &Load, plan: &Plan) -> Result<String, Box<dyn Error>> {
    let (process_before, sink_before) = (clock_ns(ClockId::ProcessCPUTime), sink_ns());
    let produced = produce(plan, None, &Shared::new())?;
    let sink = sink_ns() - sink_before;
    let generator = clock_ns(ClockId::ProcessCPUTime) - process_before - sink;
    let group = &produced.groups[0];
    let (records, batches) = (group.recorder.total().records, group.batches);
    if records == 0 || !produced.lost.is_empty() || produced.ledger.acknowledged() != records {
        return Err(format!("{}: {records} records, lost {:?}", load.name, produced.lost).into());
    }
    let seconds = group.recorder.last_ack_ns() as f64 / 1e9;
    let p50_ns = group.recorder.latency().value_at_percentile(50.0);
    let late = group.lateness.judge(p50_ns);
    Ok(format!(
        "{:9} {:4.0} ns a record, {:6.2} us a batch, {:4.0} % busy, sink {:3.0} %, {:9.0} records/s, {:7.0} batches/s, p50 {:5.1} us, {:.2} % late, at most {:.1} us",
        load.name,
        generator / records as f64,
        generator / batches as f64 / 1e3,
        generator / seconds / 1e7,
        sink / seconds / 1e7,
        records as f64 / seconds,
        batches as f64 / seconds,
        p50_ns as f64 / 1e3,
        late.share() * 100.0,
        late.max_ns as f64 / 1e3,
    ))
}

fn clock_ns(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Processor time of the sinks, from the kernel's account of the threads of that name.
fn sink_ns() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_sink = tasks.filter(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        name.trim() == "sink"
    });
    let ran = of_sink.filter_map(|task| {
        let account = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        account.split(' ').next()?.parse::<f64>().ok()
    });
    ran.sum()
}

/// Starts the sink on `core`; it ends with the process.
fn start_sink(core: usize) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("sink".to_owned()).spawn(move || {
        core_affinity::set_for_current(core_affinity::CoreId { id: core });
        serve(&listener).expect("the sink can poll its sockets");
    })?;
    Ok(address)
}

fn serve(listener: &TcpListener) -> std::io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let mut connections = HashMap::new();
    let mut next = 1;
    let mut next_numbers = [1; SHARDS as usize];
    let mut events = Vec::with_capacity(64);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let id = event.data.u64();
            if id == 0 {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                epoll::add(&poll, &stream, epoll::EventData::new_u64(next), epoll::EventFlags::IN)?;
                connections.insert(next, Connection::new(stream));
                next += 1;
            } else if let Some(connection) = connections.get_mut(&id)
                && connection.receive(&mut next_numbers).is_none()
            {
                connections.remove(&id);
            }
        }
    }
}

/// One connection of the sink.
struct Connection {
    stream: TcpStream,
    server: Server,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Bytes of the Append under way that are still to be dropped.
    left: usize,
    out: Vec<u8>,
    scratch: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let (head, out, scratch) = ([0; HEAD_BYTES], Vec::new(), vec![0; 4 << 20]);
        Self { stream, server: Server::new(), head, head_bytes: 0, left: 0, out, scratch }
    }

    /// Takes what has come; `None` at the end.
    fn receive(&mut self, next_numbers: &mut [u64; SHARDS as usize]) -> Option<()> {
        loop {
            let got = if self.left > 0 {
                // TCP drops what is received so, and copies nothing.
                let most = self.left.min(self.scratch.len());
                recv(self.stream.as_fd(), &mut self.scratch[..most], RecvFlags::TRUNC)
            } else {
                recv(self.stream.as_fd(), &mut self.head[self.head_bytes..], RecvFlags::empty())
            };
            let bytes = match got {
                Ok((_, 0)) => return None,
                Ok((_, bytes)) => bytes,
                Err(rustix::io::Errno::AGAIN) => return Some(()),
                Err(_) => return None,
            };
            if self.left > 0 {
                self.left -= bytes;
                if self.left == 0 {
                    self.acknowledge(next_numbers)?;
                }
            } else {
                self.head_bytes += bytes;
                self.take_head()?;
            }
        }
    }

    /// Looks at the start of a message: Appends are counted and dropped, all else is short and answered.
    fn take_head(&mut self) -> Option<()> {
        let head = &self.head[..self.head_bytes];
        if self.head_bytes > 4 && head[4] != Kind::Append as u8 {
            let mut at = 0;
            while let Some(event) = self.server.step(head, &mut at).ok()? {
                match event {
                    ServerEvent::Hello(request) => {
                        let limits = ServerLimits { window_bytes: 32 << 20, window_batches: 1024 };
                        self.server.welcome(&mut self.out, request, 1, limits);
                    }
                    ServerEvent::CreateStream(request, made) => {
                        Server::stream(&mut self.out, request, &describe(made.name, made.shards));
                    }
                    _ => return None,
                }
            }
            self.head_bytes = 0;
            return self.flush();
        }
        if self.head_bytes == HEAD_BYTES {
            self.left = u32::from_le_bytes(*head.first_chunk()?) as usize - HEAD_BYTES;
        }
        Some(())
    }

    fn acknowledge(&mut self, next_numbers: &mut [u64; SHARDS as usize]) -> Option<()> {
        let request = RequestId(u64::from_le_bytes(*self.head[8..].first_chunk()?));
        let length = u32::from_le_bytes(*self.head.first_chunk()?);
        let records = u32::from_le_bytes(*self.head[HEADER_BYTES + 4..].first_chunk()?);
        self.server.settled(u64::from(length));
        let credit = self.server.grant(32 << 20);
        // A record's shard is chosen without routing, but as scattered as routing makes it.
        let mut result = |index: u32| {
            let shard = index.wrapping_mul(0x9e37_79b9) >> (32 - SHARDS.trailing_zeros());
            let next = &mut next_numbers[shard as usize];
            *next += 1;
            (index, AckResult::Durable(ShardId(shard + 1), Sequence(*next - 1)))
        };
        let mut ack = Ack::begin(&mut self.out, credit);
        ack.batch(request, (0..records as usize).map(|index| result(index as u32)));
        ack.finish();
        self.head_bytes = 0;
        self.flush()
    }

    fn flush(&mut self) -> Option<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match send(self.stream.as_fd(), &self.out[sent..], SendFlags::NOSIGNAL) {
                Ok(bytes) => sent += bytes,
                Err(rustix::io::Errno::AGAIN) => thread::yield_now(),
                Err(_) => return None,
            }
        }
        self.out.clear();
        Some(())
    }
}

fn describe(name: String, shards: u32) -> StreamDescription {
    let shard = |index: u32| ShardDescription {
        shard: ShardId(index + 1),
        reactor: 0,
        hash_start: 0,
        hash_end: u128::MAX,
        trim: Sequence(1),
        tip: Sequence(1),
        parent: None,
        adjacent_parent: None,
        created_ms: 0,
        children: None,
    };
    StreamDescription {
        stream: StreamId(1),
        name,
        created_ms: 0,
        quotas: Quotas::NONE,
        retention: frame::Retention::NONE,
        shards: (0..shards).map(shard).collect(),
    }
}
