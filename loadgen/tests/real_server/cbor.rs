//! Records over HTTP in CBOR, against the real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::http::{between, good, over_http, server};
use super::*;

#[test]
fn records_go_and_come_back_in_cbor() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let maps = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&maps);
    let counted = between(address, move |body| {
        seen.fetch_add(usize::from(body.first().is_some_and(|first| first >> 5 == 5)), Ordering::Relaxed);
        body
    });
    for (more, operation) in [
        (&["--bytes", "4MB", "--batch-records", "40"][..], "PutRecords"),
        (&["--operation", "put-record", "--bytes", "100kB", "--connections", "4"], "PutRecord"),
    ] {
        let arguments = ["--wire", "cbor", "--record-bytes", "uniform:0..3000", "--streams", "2"];
        let report = good(&over_http(scratch.path(), &counted, &[&arguments[..], more].concat()).output().unwrap());
        let verification = &report["verification"];
        assert!(verification["acknowledged"].as_u64() > Some(50), "{verification}");
        assert_eq!(verification["acknowledged"], verification["read"]);
        assert_eq!(report["load"]["protocol"], format!("HTTP/1.1, CBOR, {operation}"));
        assert!(maps.swap(0, Ordering::Relaxed) > 20, "answers were not in CBOR");
    }
    let mixed = ["--wire", "cbor", "--workload", "mixed", "--rate", "1000", "--duration", "1s"];
    let report = good(&over_http(scratch.path(), &endpoint, &mixed).output().unwrap());
    assert_eq!(report["pushed"]["records_total"], report["verification"]["acknowledged"], "{report}");
    assert!(report["caught_up"]["records_total"].as_u64() > Some(0), "{report}");
    watched.server.stop().unwrap();
}

#[test]
fn refusals_are_told_by_their_names_in_cbor_too() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none,write-records=20"]);
    for operation in ["put-record", "put-records"] {
        let arguments = ["--wire", "cbor", "--operation", operation, "--rate", "400", "--duration", "1s"];
        let more = ["--record-bytes", "50", "--batch-records", "10", "--connections", "4"];
        let output = over_http(scratch.path(), &endpoint, &[&arguments[..], &more].concat()).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 4)), "{}", message(&output));
        let report = report(&output);
        assert_eq!(marks(&report), ["refused"], "{}", report["marks"]);
        let refused = &report["verification"]["refused_by_reason"];
        assert_eq!(refused[0][0], "ProvisionedThroughputExceededException", "{refused}");
        assert!(refused[0][1].as_u64() > Some(50), "{refused}");
    }
    watched.server.stop().unwrap();
}
