//! The files of a run: complete, readable by the standard tools, and small.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::sample::report;
use super::*;
use crate::recorder::BatchTimes;

const MS: u64 = 1_000_000;

/// A run of so many seconds, with a tail and a stall.
fn recorded(seconds: u64) -> Recorder {
    let mut random = StdRng::seed_from_u64(3);
    let mut recorder = Recorder::new(1000 * MS, seconds * 1000 * MS);
    let step = (seconds / 20).max(1);
    for ms in (0..seconds * 1000).step_by(step as usize) {
        let stalled = (7000..7300).contains(&ms);
        for _ in 0..4 {
            let service = 200_000 + (random.random::<f64>().powi(12) * 9e6) as u64;
            let wait = if stalled { (7300 - ms) * MS } else { random.random_range(0..20_000) };
            let intended_ns = ms * MS;
            let sent_ns = intended_ns + wait;
            recorder.acknowledged(
                BatchTimes { intended_ns, sent_ns, acked_ns: sent_ns + service },
                100 * step,
                102_400 * step,
            );
        }
    }
    recorder
}

#[test]
fn a_folder_holds_everything_and_is_small() {
    let results = tempfile::tempdir().unwrap();
    let recorder = recorded(20);
    let report = report(&recorder);
    let folder = write_folder(results.path(), &report, &recorder, SystemTime::now()).unwrap();
    assert_eq!(folder.path.file_name().unwrap(), "20261124-023005-bench-1-open-1KiB");
    for file in ["result.json", "result.txt", "latency.hlog", "latency.svg", "throughput.svg"] {
        assert!(folder.path.join(file).metadata().unwrap().len() > 500, "{file}");
    }
    assert!(folder.bytes < RESULT_BYTES_MAX / 4, "{}", folder.bytes);
    let json = std::fs::read_to_string(folder.path.join("result.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["marks"][0]["mark"], "partial");
    assert_eq!(value["throughput"]["bytes_per_s"].as_array().unwrap().len(), report.throughput.bytes_per_s.len());
    assert!(json.lines().count() < 300, "numbers stand side by side");
    let text = std::fs::read_to_string(folder.path.join("result.txt")).unwrap();
    for part in ["** partial: stopped by Ctrl-C", "p99.9", "goal", "reactor-0 61 %", "$ millstream-load --rate 400000"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let again = write_folder(results.path(), &report, &recorder, SystemTime::now()).unwrap();
    assert!(again.path.ends_with("20261124-023005-bench-1-open-1KiB-2"), "nothing is overwritten");
}

#[test]
fn a_long_run_stays_small_too() {
    let results = tempfile::tempdir().unwrap();
    let recorder = recorded(24 * 3600);
    let folder = write_folder(results.path(), &report(&recorder), &recorder, SystemTime::now()).unwrap();
    assert!(folder.bytes < RESULT_BYTES_MAX, "{}", folder.bytes);
}

#[test]
fn the_histogram_log_adds_up() {
    let recorder = recorded(20);
    let log = super::histogram_log::histogram_log(&recorder, SystemTime::now(), "test");
    let (mut sum, mut all) = (0, 0);
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let bytes = decode_base64(interval.encoded_histogram());
        let histogram: hdrhistogram::Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        match interval.tag() {
            None => {
                sum += histogram.len();
                assert_eq!(interval.duration(), Duration::from_secs(1));
            }
            Some(_) => all = histogram.len(),
        }
    }
    assert_eq!((sum, all), (recorder.latency().len(), recorder.latency().len()));
}

fn decode_base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for symbol in text.bytes().filter(|&b| b != b'=') {
        let value = alphabet.iter().position(|&a| a == symbol).unwrap() as u32;
        (bits, held) = (bits << 6 | value, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn an_empty_run_is_reported_too() {
    let results = tempfile::tempdir().unwrap();
    let recorder = Recorder::new(0, u64::MAX);
    let folder = write_folder(results.path(), &report(&recorder), &recorder, SystemTime::now()).unwrap();
    assert!(folder.path.join("latency.svg").exists());
}
