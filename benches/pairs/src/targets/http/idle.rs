//! What a connection costs that says nothing: one that is kept alive, and one over which a shard is subscribed to.

use std::fs;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::error::PairsError;
use crate::kinesis::{Client, Version, trusting};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::resident::Resident;
use crate::server::Server;
use crate::side::Side;
use crate::targets::Findings;

const BYTES_MAX: f64 = 40_000.0;

/// Consumers of the stream, as many as it may have, and its shards: each consumer subscribes to each.
const CONSUMERS: usize = 20;
const SHARDS: usize = 50;

/// Something is pushed to an idle subscription after five seconds: what that takes counts.
const SETTLE: Duration = Duration::from_secs(7);

/// Seconds that a round takes, about.
const ROUND_S: f64 = 40.0;

/// One kind of connection.
struct Row {
    slug: &'static str,
    title: &'static str,
    figure: &'static str,
    version: Version,
    is_tls: bool,
    before: Before,
}

/// What its client did before it fell silent.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Asked,
    Stored,
    Subscribed,
}

const ROWS: [Row; 5] = [
    Row {
        slug: "alive",
        title: "kept alive, HTTP/1.1",
        figure: "bytes, kept alive",
        version: Version::One,
        is_tls: false,
        before: Before::Asked,
    },
    Row {
        slug: "alive-stored",
        title: "kept alive after 500 KB were stored over it, HTTP/1.1",
        figure: "bytes, after 500 KB",
        version: Version::One,
        is_tls: false,
        before: Before::Stored,
    },
    Row {
        slug: "alive-tls",
        title: "kept alive, HTTP/2 over TLS",
        figure: "bytes, kept alive, TLS",
        version: Version::Two,
        is_tls: true,
        before: Before::Asked,
    },
    Row {
        slug: "subscribed",
        title: "SubscribeToShard, HTTP/1.1",
        figure: "bytes, subscribed",
        version: Version::One,
        is_tls: false,
        before: Before::Subscribed,
    },
    Row {
        slug: "subscribed-tls",
        title: "SubscribeToShard, HTTP/2 over TLS, a connection each",
        figure: "bytes, subscribed, TLS",
        version: Version::Two,
        is_tls: true,
        before: Before::Subscribed,
    },
];

pub(in crate::targets) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    bench.announce("http-idle: 1,000 connections of five kinds that say nothing", ROUND_S, 1);
    let measure = |row: &Row| Measure::first(row.slug, row.title, row.figure, Bound::AtMost(BYTES_MAX));
    let measures = ROWS.iter().map(measure).collect();
    let plan = Plan { title: "http-idle", name_a: "server", name_b: "before", measures };
    let part = pair::rounds(bench, plan, &mut || round(bench));
    Ok(Findings {
        goal: "An idle SubscribeToShard or keep-alive connection costs under 40 KB of memory.",
        notes: vec![
            "Resident memory of the server with the connections, less before, for each. Each kind has a server of its own; the worst decides. Socket buffers are the kernel's, and not among it.".to_owned(),
            format!("Kept alive: each asked once for the streams, or stored 500 records of 1 KB once. Subscribed: {CONSUMERS} consumers of {SHARDS} shards, a connection each. Those that stored or subscribed are looked at {} s after the last, so that each has been silent for a while, or was told at least once that there is nothing.", SETTLE.as_secs()),
            "Afterwards each is asked once more, or has been told something, or the run fails.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}

fn round(bench: &Bench) -> Result<(Side, Side), PairsError> {
    let mut side = Side { command: String::new(), figures: [].into(), marks: Vec::new(), detail: json!({}) };
    for row in &ROWS {
        let (command, bytes) = cost(bench, row)?;
        side.figures.insert(row.figure, bytes);
        side.command = command;
    }
    let before = Side { command: "the same".to_owned(), figures: [].into(), marks: Vec::new(), detail: json!({}) };
    Ok((side, before))
}

/// The command of a server of its own, and the bytes that a connection costs it.
fn cost(bench: &Bench, row: &Row) -> Result<(String, f64), PairsError> {
    bench.check_space(8 * bench.segment_bytes())?;
    let directory = bench.path().join("idle");
    let failed = |source| PairsError::File { path: directory.clone(), source };
    fs::create_dir_all(&directory).map_err(failed)?;
    let mut arguments = bench.server_arguments();
    arguments.extend(["--http=127.0.0.1:0", "--quotas=none", "--tls-self-signed"].map(str::to_owned));
    let server = Server::start(&bench.programs.millstream, &directory, bench.cores().server, &arguments)?;
    let tls = row.is_tls.then(|| trusting(&directory.join("data/tls/certificate.pem"))).transpose()?;
    let count = if bench.options.quick { CONSUMERS } else { CONSUMERS * SHARDS };
    let asks = asks(&server, row.before, count)?;
    let bytes = crowd(&server, row, tls.as_ref(), &asks)?;
    let command = bench.without_directory(server.command());
    server.stop()?;
    fs::remove_dir_all(&directory).map_err(failed)?;
    Ok((command, bytes))
}

/// What each connection asks, of a stream that is made for it.
fn asks(server: &Server, before: Before, count: usize) -> Result<Vec<(&'static str, String)>, PairsError> {
    let mut maker = Client::connect(server.door("http"), Version::One, None)?;
    maker.ask("CreateStream", &json!({"StreamName": "idle", "ShardCount": SHARDS}))?;
    let once = |action, body: Value| Ok(vec![(action, body.to_string()); count]);
    match before {
        Before::Asked => once("ListStreams", json!({})),
        Before::Stored => {
            let data = "AAAA".repeat(333);
            let record = |at: usize| json!({"Data": data, "PartitionKey": at.to_string()});
            once("PutRecords", json!({"StreamName": "idle", "Records": (0..500).map(record).collect::<Vec<_>>()}))
        }
        Before::Subscribed => {
            let stream = maker.ask("DescribeStreamSummary", &json!({"StreamName": "idle"}))?;
            let arn = &stream["StreamDescriptionSummary"]["StreamARN"];
            let mut asks = Vec::new();
            for number in 0..CONSUMERS {
                let name = format!("consumer-{number}");
                let made = maker.ask("RegisterStreamConsumer", &json!({"StreamARN": arn, "ConsumerName": name}))?;
                let subscribe = |shard: usize| {
                    let body = json!({
                        "ConsumerARN": made["Consumer"]["ConsumerARN"],
                        "ShardId": format!("shardId-{shard:012}"),
                        "StartingPosition": {"Type": "LATEST"},
                    });
                    ("SubscribeToShard", body.to_string())
                };
                asks.extend((0..count / CONSUMERS).map(subscribe));
            }
            Ok(asks)
        }
    }
}

/// The bytes for each of as many connections as there are things to be asked.
fn crowd(
    server: &Server,
    row: &Row,
    tls: Option<&Arc<ClientConfig>>,
    asks: &[(&'static str, String)],
) -> Result<f64, PairsError> {
    // What is made with the first request of all is not a connection's.
    let mut first = Client::connect(server.door("http"), row.version, tls)?;
    first.ask("ListStreams", &json!({}))?;
    let rest = Resident::of(server.pid())?;
    let mut clients = Vec::new();
    for (action, body) in asks {
        let mut client = Client::connect(server.door("http"), row.version, tls)?;
        client.send(action, body)?;
        match row.before {
            Before::Subscribed => client.hear_event()?,
            Before::Asked | Before::Stored => drop(client.hear_all()?),
        }
        clients.push(client);
    }
    if row.before != Before::Asked {
        sleep(SETTLE);
    }
    let crowded = Resident::of(server.pid())?;
    for client in &mut clients {
        match row.before {
            Before::Subscribed => client.hear_event()?,
            Before::Asked | Before::Stored => drop(client.ask("ListStreams", &json!({}))?),
        }
    }
    Ok((crowded.now - rest.now) / clients.len() as f64)
}
