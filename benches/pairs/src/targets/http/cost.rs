//! What a server of ours does with each request and record beside keeping it, against the same load without: signatures that are
//! verified, and streams that are encrypted.

use super::load;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::http::{Duties, HttpLoad, READ_RECORDS_PER_S};
use crate::load::{MACHINE_NS_PER_RECORD, RECORDS_PER_S};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Part, Parts, Plan};
use crate::targets::Findings;

/// With neither.
const NONE: Duties = Duties { verifies: false, encrypts: false };

/// Bytes that PutRecord writes: each record takes a block.
const SINGLE_BYTES_MAX: u64 = 512 << 20;

pub(in crate::targets) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let many = HttpLoad { duties: NONE, ..load(bench, "put-records", 4) };
    let single = HttpLoad { bytes: many.bytes.min(SINGLE_BYTES_MAX), operation: "put-record", connections: 64, ..many };
    let verifies = Duties { verifies: true, ..NONE };
    let encrypts = Duties { encrypts: true, ..NONE };
    let read =
        Measure::ratio("read", "records a second read back, encrypted by plain", READ_RECORDS_PER_S, Bound::Unset);
    let encrypted = [
        Measure::ratio("encrypted", "records a second, encrypted by plain", RECORDS_PER_S, Bound::Unset),
        Measure::ratio(
            "encrypted-cpu",
            "processor time of a record, encrypted by plain",
            MACHINE_NS_PER_RECORD,
            Bound::Unset,
        ),
        read,
    ];
    let mut parts = Parts::new(bench);
    let verified = ("verified", "not verified");
    parts.add(|| beside(bench, "PutRecords, signatures", verified, (many, verifies), signed("many", "many-cpu")));
    parts.add(|| beside(bench, "PutRecord, signatures", verified, (single, verifies), signed("one", "one-cpu")));
    let plain = ("encrypted", "plain");
    parts.add(|| beside(bench, "PutRecords, encryption", plain, (many, encrypts), encrypted.into()));
    Ok(Findings {
        goal: "What verifying signatures and encryption at rest cost; no target says what they may.",
        notes: vec![
            "The generator signs every request on both sides, from one core; what is not verified is not looked at. PutRecords of 500 records of 1 KiB over 4 connections, PutRecord over 64. Our acknowledgements are durable, and no quotas hold.".to_owned(),
            "Processor time is the whole machine's by the records acknowledged, the generator's included: what a side has more of it than the other is what the work costs. `stolen %` is not in it.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: parts.all(),
    })
}

fn signed(rate: &'static str, cpu: &'static str) -> Vec<Measure> {
    vec![
        Measure::ratio(rate, "records a second, verified by not", RECORDS_PER_S, Bound::Unset),
        Measure::ratio(cpu, "processor time of a record, verified by not", MACHINE_NS_PER_RECORD, Bound::Unset),
    ]
}

/// A load on a server with duties, and on one without.
fn beside(
    bench: &Bench,
    title: &'static str,
    (name_a, name_b): (&'static str, &'static str),
    (load, duties): (HttpLoad, Duties),
    measures: Vec<Measure>,
) -> Part {
    let with = HttpLoad { duties, ..load };
    let plan = Plan { title, name_a, name_b, measures };
    pair::run(bench, plan, &mut || with.on_server(bench), &mut || load.on_server(bench))
}
