//! `limit http`.

use std::net::SocketAddr;
use std::thread;

use serde::Serialize;

use super::Record;
use crate::args::HttpArgs;
use crate::error::LimitError;
use crate::http::{self, Served};
use crate::report::Output;
use crate::usage::Usage;

#[derive(Serialize)]
struct HttpParameters {
    address: SocketAddr,
    threads: usize,
    records: u32,
    shards: u32,
}

#[derive(Serialize)]
struct Found {
    requests: u64,
    body_bytes: u64,
    #[serde(flatten)]
    usage: Usage,
}

/// `limit http`: serves limit (e) until standard input ends; whoever loads it measures.
pub(crate) fn http(args: HttpArgs, output: Output) -> Result<(), LimitError> {
    // As many as serve big requests best.
    let spare = || thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
    let threads = args.threads.map_or_else(spare, usize::from);
    let served = Served { address: args.address, threads, records: args.records, shards: args.shards };
    let before = Usage::now(None);
    let taken = http::run(served, std::io::stdin(), |address| output.line(&format!("ready http={address}")))?;
    let usage = Usage::now(None).since(before);
    output.line(&format!(
        "{} requests with {} bytes, {:.2} s of processor time",
        taken.requests, taken.body_bytes, usage.process_cpu_s
    ));
    let parameters = HttpParameters { address: args.address, threads, records: args.records, shards: args.shards };
    let found = Found { requests: taken.requests, body_bytes: taken.body_bytes, usage };
    output.result(&Record::new("http", parameters, None, found));
    Ok(())
}
