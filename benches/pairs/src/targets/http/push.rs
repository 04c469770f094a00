//! SubscribeToShard over HTTP/2 with the service's own SDK for Rust: from a record put to the same received.

use std::collections::BTreeMap;

use super::{durable_write, latency};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::http::{self, Duties};
use crate::measure::{Bound, Compare, Measure};
use crate::pair::{self, Part, Parts, Plan};
use crate::side::{P50_US, P99_US, P999_US, Side, number};
use crate::targets::Findings;

/// What a p99 may have beyond that of a durable write.
const MARGIN_US: f64 = 5000.0;

/// Seconds that are counted, and what is put a second.
const SECONDS: f64 = 10.0;
const BYTES_PER_S: u64 = 1_000_000;

const RECEIVED: &str = "records received";

pub(in crate::targets) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let mut parts = Parts::new(bench);
    parts.add(|| beside(bench, "one consumer", "one", 1));
    parts.add(|| beside(bench, "20 consumers", "twenty", 20));
    Ok(Findings {
        goal: "SubscribeToShard, record put to record received: p99 under 5 ms plus the disk's own write p99, over HTTP/2 with the Rust SDK, for 1 and for 20 consumers at 1 MB/s.",
        notes: vec![
            "An open loop of a hundred PutRecords of ten records a second; each record counts from when it was due, by the clock of the one process that puts and receives. Each consumer has a client and a connection of its own, and received each record once. Over TLS, which HTTP/2 is agreed on by; the SDK's program runs where the kernel puts it.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: parts.all(),
    })
}

fn beside(bench: &Bench, title: &'static str, slug: &'static str, consumers: u32) -> Part {
    let more = "p99 from put to received, less that of a durable 4 KiB write, in microseconds";
    let measure = Measure::ratio(slug, more, P99_US, Bound::AtMost(MARGIN_US));
    let plan = Plan {
        title,
        name_a: "SDK",
        name_b: "a write",
        measures: vec![Measure { compare: Compare::Difference, ..measure }],
    };
    pair::run(bench, plan, &mut || pushed(bench, consumers), &mut || written(bench))
}

fn pushed(bench: &Bench, consumers: u32) -> Result<Side, PairsError> {
    let seconds = if bench.options.quick { bench.seconds() } else { bench.options.seconds.unwrap_or(SECONDS) };
    let bytes = BYTES_PER_S * (seconds as u64 + 2);
    let tls = ["--tls-self-signed", "--http-plaintext=false"].map(str::to_owned);
    http::on_server(bench, bytes, Duties::USUAL, &tls, |server, directory| {
        let certificate = directory.join("data/tls/certificate.pem");
        let endpoint = format!("https://{}", server.door("http"));
        let arguments = [&*endpoint, "latency", &consumers.to_string(), &seconds.to_string()].map(str::to_owned);
        let (command, detail) = bench.rust_sdk(&arguments, &certificate)?;
        let of = |path: &str| {
            let missing = || PairsError::Result { command: command.clone(), missing: path.to_owned() };
            number(&detail, path).ok_or_else(missing)
        };
        let figures = BTreeMap::from([
            (P50_US, of("/latency_us/p50")?),
            (P99_US, of("/latency_us/p99")?),
            (P999_US, of("/latency_us/p99.9")?),
            (RECEIVED, of("/received")?),
        ]);
        let command = format!("{}; {command}", bench.without_directory(server.command()));
        Ok(Side { command, figures, marks: Vec::new(), detail })
    })
}

fn written(bench: &Bench) -> Result<Side, PairsError> {
    let (command, detail) = durable_write(bench)?;
    let figures = [(P50_US, "p50"), (P99_US, "p99")]
        .into_iter()
        .map(|(name, percentile)| Ok((name, latency(&command, &detail, percentile)?)))
        .collect::<Result<_, PairsError>>()?;
    Ok(Side { command, figures, marks: Vec::new(), detail })
}
