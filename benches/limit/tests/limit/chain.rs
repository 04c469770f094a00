//! `limit chain`.

use std::collections::HashSet;

use serde_json::Value;

use crate::program::{Folder, check_figures, check_flushes, cores, measure, number};

#[test]
fn one_small_message_at_a_time_is_one_flush_each() {
    let folder = Folder::new("chain-one");
    let arguments = "--size 4k --connections 1 --inflight 1 --writes 1 --seconds 0.3 --file-bytes 4m";
    let Some(point) = chain(arguments, Some(&folder)) else {
        return;
    };
    check_figures(&point);
    check_flushes(&point, 0.95);
    let in_flight = number(&point["writes_in_flight"]);
    assert!(in_flight > 0.0 && in_flight < 1.1, "one at a time: {point}");
    let write_us = number(&point["write_us"]["p50"]);
    assert!(write_us < number(&point["figures"]["latency_us"]["p50"]), "a part of the chain: {point}");
    assert!(number(&point["server_cpu_s"]) > 0.0, "{point}");
    assert!(number(&point["client_cpu_s"]) > 0.0, "{point}");
    assert_eq!(folder.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn every_write_on_the_disk_is_a_whole_message() {
    const SIZE: usize = 12 << 10;
    const BLOCKS: usize = 32;
    let folder = Folder::new("chain-disk");
    let arguments = "--size 12k --connections 3 --inflight 4 --writes 4 --seconds 0.3 --file-bytes 384k --keep";
    let Some(point) = chain(arguments, Some(&folder)) else {
        return;
    };
    check_figures(&point);
    check_flushes(&point, 0.0);
    let disk = std::fs::read(folder.path().join("limit-written.dat")).expect("--keep leaves it");
    let written = disk.chunks_exact(SIZE).filter(|block| block[..16] != [0; 16]);
    let mut ids = HashSet::new();
    let mut bodies = HashSet::new();
    for block in written {
        assert_eq!(block[8..12], u32::try_from(SIZE).expect("small").to_le_bytes());
        ids.insert(block[..8].to_vec());
        bodies.insert(block[16..].to_vec());
    }
    let ops = point["figures"]["ops"].as_u64().expect("a count");
    let expected = BLOCKS.min(usize::try_from(ops).expect("a small count"));
    assert!(ids.len() >= expected, "{} blocks of {expected}", ids.len());
    assert_eq!(bodies.len(), 1, "all messages have one body");
}

#[test]
fn without_the_write_nothing_needs_a_directory() {
    // One write in flight and one connection leave two buffers for sixteen messages, so receiving has to wait and go on.
    let arguments = "--no-write --size 64k --connections 1 --inflight 16 --writes 1 --seconds 0.2";
    let Some(point) = chain(arguments, None) else {
        return;
    };
    check_figures(&point);
    assert!(point["device"].is_null() && point["figures"]["flushes"].is_null());
}

#[test]
fn an_open_loop_keeps_its_rate_and_times_from_when_messages_were_due() {
    let arguments = "--no-write --size 4k --connections 2 --rate 1000 --seconds 0.5";
    let Some(point) = chain(arguments, None) else {
        return;
    };
    check_figures(&point);
    assert_eq!(number(&point["figures"]["ops"]), 500.0, "each message that was due");
    // At a rate that nothing reaches, the messages wait for their turn: their latencies show it.
    let arguments = "--no-write --size 4k --connections 1 --rate 10000000 --seconds 0.02 --warmup 0.001";
    let flooded = chain(arguments, None).expect("it could be measured before");
    check_figures(&flooded);
    assert_eq!(number(&flooded["figures"]["ops"]), 200_000.0);
    assert!(number(&flooded["figures"]["seconds"]) > 0.02, "{flooded}");
    assert!(number(&flooded["figures"]["latency_us"]["max"]) > 5_000.0, "{flooded}");
}

#[test]
fn a_backlog_is_counted_with_the_flushes_that_it_took() {
    let folder = Folder::new("chain-backlog");
    let arguments = "--size 4k --connections 1 --writes 1 --rate 5000 --seconds 0.1 --warmup 0.001 --file-bytes 4m";
    let Some(point) = chain(arguments, Some(&folder)) else {
        return;
    };
    check_figures(&point);
    assert_eq!(number(&point["figures"]["ops"]), 500.0);
    check_flushes(&point, 0.95);
}

#[test]
fn allocated_space_is_used_once_and_then_the_run_ends() {
    let folder = Folder::new("chain-allocated");
    let arguments =
        "--size 64k --connections 2 --writes 2 --seconds 30 --warmup 0.001 --file-bytes 16m --prepare allocated";
    let Some(point) = chain(arguments, Some(&folder)) else {
        return;
    };
    check_figures(&point);
    assert_eq!(point["space_used_up"], true);
    assert!(number(&point["figures"]["bytes"]) <= f64::from(16 << 20));
    assert_eq!(folder.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn a_sweep_names_the_best_of_its_points() {
    let arguments = "--no-write --sweep --size 4k,64k --connections 1,2 --writes 2 --seconds 0.05 --warmup 0.01";
    let Some(sweep) = chain(arguments, None) else {
        return;
    };
    let points = sweep["points"].as_array().expect("a list of points");
    assert_eq!(points.len(), 4);
    points.iter().for_each(check_figures);
    let rate = |point: &Value| number(&point["figures"]["mb_per_s"]);
    assert_eq!(rate(&sweep["best"]), points.iter().map(rate).fold(0.0, f64::max));
}

fn chain(arguments: &str, folder: Option<&Folder>) -> Option<Value> {
    let cores = cores();
    let mut words: Vec<&str> = ["chain"].into_iter().chain(arguments.split(' ')).collect();
    words.extend(cores.iter().map(String::as_str));
    if let Some(folder) = folder {
        words.extend(["--dir", folder.text()]);
    }
    measure(&words)
}
