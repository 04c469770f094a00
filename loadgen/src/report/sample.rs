//! A report for the tests.

use super::*;
use crate::verify::Verdict;

/// The report of an open loop that went well, but was stopped.
pub(crate) fn report(recorder: &Recorder) -> RunReport {
    RunReport {
        format: FORMAT,
        what: "open-1KiB".to_owned(),
        started: "2026-11-24T02:30:05Z".to_owned(),
        started_unix_ms: 1_795_487_405_000,
        command: "millstream-load --rate 400000".to_owned(),
        marks: vec![Mark::Partial("stopped by Ctrl-C".to_owned())],
        load: Load {
            workload: "produce".to_owned(),
            consumes: false,
            kind: "open, poisson".to_owned(),
            records_per_s: Some(400_000.0),
            streams: 1,
            shards: 8,
            quotas: "service".to_owned(),
            connections: 4,
            batch_records: 100,
            inflight: None,
            record_bytes: "1KiB".to_owned(),
            keys: "distinct".to_owned(),
            consumers: [0; 3],
            by: "read".to_owned(),
            beside: None,
            input: None,
            seed: 1,
            seconds_max: Some(20.0),
            bytes_max: 4 << 30,
            warmup_s: 1.0,
            io: "ring".to_owned(),
            protocol: "native".to_owned(),
            route: "owners, beside any".to_owned(),
            cores: vec![1],
        },
        machine: Machine {
            host: "bench 1".to_owned(),
            kernel: "6.18".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_bytes: 1 << 34,
            commit: "0123456789ab".to_owned(),
        },
        server: ServerReport {
            address: "127.0.0.1:4570".to_owned(),
            reactors: 2,
            command: None,
            cores: None,
            is_durable: true,
            io: "threads".to_owned(),
            disk: None,
        },
        measured: Measured::new(recorder, 80_000),
        busy: Busy {
            server: vec![BusyThread { thread: "reactor-0".to_owned(), busy: 0.61 }],
            generator: vec![BusyThread { thread: "load-1".to_owned(), busy: 0.42 }],
            machine: 0.55,
        },
        late: Some(LateReport { batches: 80_000, late: 12, threshold_ns: 100_000, max_ns: 2_000_000 }),
        flushes: Flushes { count: Some(79_000), per_batch: Some(0.9875) },
        beside: None,
        pushed: None,
        caught_up: None,
        server_figures: None,
        verification: VerificationReport::new(&Verdict::default(), vec![("busy".to_owned(), 3)], 2.0, 1 << 30),
        goals: vec![GoalOutcome { goal: "p99<5ms".to_owned(), measured: "4.0 ms".to_owned(), met: true }],
        throughput: Throughput::new(recorder),
    }
}
