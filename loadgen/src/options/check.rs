//! Settings that contradict each other.

use super::{By, Options, Speed, Workload};
use crate::http::{Operation, RECORDS_MAX};
use crate::native::{Begin, Io, Kind};
use crate::workload::STAMP_BYTES;

/// What is wrong with the settings together, and what to change.
pub(super) fn check(options: &Options) -> Result<(), &'static str> {
    check_server(options)?;
    check_http(options)?;
    check_rhythm(options)?;
    match options.workload {
        Workload::Consume => check_consume(options),
        Workload::Produce | Workload::FanOut | Workload::Mixed => check_produce(options),
    }?;
    check_sweep(options)
}

fn refuse(is_wrong: bool, why: &'static str) -> Result<(), &'static str> {
    if is_wrong { Err(why) } else { Ok(()) }
}

fn check_server(options: &Options) -> Result<(), &'static str> {
    let about_ours = options.server_core.is_some() || !options.server_arg.is_empty() || options.not_durable;
    refuse(
        options.is_elsewhere() && about_ours,
        "--server-core, --server-arg and --not-durable are for a server started here: leave them, or --target and --endpoint, out",
    )?;
    refuse(
        options.io == Io::Only(Kind::Ring) && options.tls_ca.is_some(),
        "--io ring is for what travels in clear: over TLS connections run on epoll",
    )?;
    refuse(
        options.start_at.is_some() && options.repeat > 1,
        "--start-at is one time, and --repeat runs several times: leave one of them out",
    )
}

/// What the API has not, or has otherwise.
fn check_http(options: &Options) -> Result<(), &'static str> {
    if options.endpoint.is_none() {
        return Ok(());
    }
    let beside_records = options.beside.as_ref().map_or(0, |beside| beside.batch_records);
    let batch_records = options.batch_records.max(beside_records);
    refuse(
        options.quotas.is_some() && options.target.is_none(),
        "--quotas are set over the native protocol, as the API has none to set: give the native address of the same server with --target, or leave them out",
    )?;
    refuse(
        options.quotas.is_none() && options.target.is_some(),
        "--target beside --endpoint is for --quotas, and is not loaded: leave one of the two out",
    )?;
    refuse(
        options.stalled > 0 || options.read_back == By::Push,
        "--stalled and --read-back push are for the native protocol: leave them or --endpoint out",
    )?;
    refuse(
        options.by() == By::Push && options.catch_up() > 0,
        "--catch-up readers over HTTP read by requests: leave --by push out",
    )?;
    refuse(
        matches!(options.from, Begin::Number(_)),
        "--from a sequence number is for the native protocol: give oldest, latest or a time",
    )?;
    refuse(
        options.io == Io::Only(Kind::Ring),
        "--io ring is for the native protocol: over HTTP connections run on epoll",
    )?;
    refuse(
        options.operation == Operation::PutRecords && batch_records > RECORDS_MAX,
        "PutRecords takes 500 records at most: lower --batch-records, or batch-records of --beside",
    )
}

fn check_rhythm(options: &Options) -> Result<(), &'static str> {
    let speed = matches!(options.speed, Some(Speed::Times(_)));
    refuse(
        speed && options.time.is_none(),
        "--speed N replays rows by their times: name their column with --time, or give --speed max",
    )?;
    refuse(
        options.rate.is_some() && (speed || (options.time.is_some() && options.speed.is_none())),
        "--rate and a replay by --time are two rhythms: give --speed max beside --rate, or leave --rate out",
    )
}

fn check_produce(options: &Options) -> Result<(), &'static str> {
    refuse(options.from != Begin::Oldest, "--from is for --workload consume: others begin with what they write")?;
    refuse(
        options.by.is_some() && options.catch_up() == 0,
        "--by is for --catch-up readers and --workload consume; how everything is read back is told with --read-back",
    )?;
    refuse(
        options.workload == Workload::FanOut && options.subscribers() == 0,
        "--workload fan-out without subscribers is --workload produce: leave one of them out",
    )?;
    let has_rows = options.input.is_some();
    refuse(
        options.shared && has_rows,
        "--shared tells records apart by what this program makes of them: leave it or --input out",
    )?;
    refuse(
        options.beside.is_some() && has_rows,
        "--beside is a second load of made-up records: leave it or --input out",
    )?;
    let smallest = [Some(options.record_bytes), options.beside.as_ref().map(|beside| beside.record_bytes)];
    let smallest = smallest.into_iter().flatten().map(|sizes| sizes.smallest()).min();
    refuse(
        options.shared && smallest.is_some_and(|bytes| bytes < STAMP_BYTES),
        "--shared tells records apart by their first 16 bytes: give --record-bytes of at least 16",
    )?;
    refuse(
        options.shared && (options.stream.is_none() || !options.is_elsewhere()),
        "--shared is for a stream that others write too: name it with --stream, and its server with --target or --endpoint",
    )
}

fn check_consume(options: &Options) -> Result<(), &'static str> {
    refuse(
        options.stream.is_none() || !options.is_elsewhere(),
        "--workload consume reads a stream that exists: name it with --stream, and its server with --target or --endpoint",
    )?;
    let produces = options.input.is_some() || options.rate.is_some() || options.beside.is_some();
    refuse(produces, "--workload consume writes nothing: leave --input, --rate and --beside out")?;
    refuse(
        options.catch_up() > 0,
        "--workload consume reads from the beginning once: give --from oldest, and leave --catch-up out",
    )?;
    refuse(options.subscribers() == 0, "--workload consume has at least one consumer: give --subscribers 1 or more")?;
    refuse(
        options.stalled > 0 && options.by() == By::Read,
        "--stalled are subscribers that take nothing: give --by push, or leave it out",
    )?;
    refuse(
        options.quotas.is_some() || options.encryption.is_some(),
        "--workload consume leaves streams as they are: leave --quotas and --encryption out",
    )
}

fn check_sweep(options: &Options) -> Result<(), &'static str> {
    if !options.sweep {
        return Ok(());
    }
    refuse(
        options.workload == Workload::Consume || options.input.is_some(),
        "--sweep raises the rate of made-up records: leave --workload consume and --input out",
    )?;
    refuse(
        options.repeat > 1 || options.bytes.is_some() || options.start_at.is_some() || !options.expect.is_empty(),
        "--sweep decides itself what each step sends, and holds it against --p99: leave --repeat, --bytes, --start-at and --expect out",
    )
}
