//! Runs the real binary in a directory of its own under `target/`, and reads its JSON.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory on the disk, removed with its contents at the end of a test.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new directory; the name is the test's.
    pub(crate) fn new(name: &str) -> Self {
        let id = std::process::id();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{id}"));
        fs::create_dir_all(&path).expect("target/ can be written to");
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        self.path.to_str().expect("target/ has a plain name")
    }

    /// The names of the files in it.
    pub(crate) fn files(&self) -> Vec<String> {
        fs::read_dir(&self.path)
            .expect("it exists until the end")
            .map(|entry| {
                let entry = entry.expect("nobody else changes it");
                entry.file_name().to_string_lossy().into_owned()
            })
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Runs `limit` with these arguments.
pub(crate) fn limit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_limit")).args(arguments).output().expect("cargo built the binary")
}

/// Runs `limit --json`, and reads the one object that it prints. None, said in one line, where this machine lacks what the
/// program needs.
pub(crate) fn measure(arguments: &[&str]) -> Option<Value> {
    let output = limit(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lacking =
            errors.lines().find(|line| line.contains("io_uring is not permitted") || line.contains("no io_uring"));
        let missing = lacking.unwrap_or_else(|| panic!("limit {arguments:?} failed: {errors}"));
        skip(missing);
        return None;
    }
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    assert_eq!(text.lines().count(), 1, "one object on one line: {text}");
    Some(serde_json::from_str(&text).expect("it is JSON"))
}

/// Says what is missing, in one line, past what the test harness captures. Where CI is set that is a failure.
pub(crate) fn skip(missing: &str) {
    assert!(std::env::var_os("CI").is_none(), "a skip is a failure where CI is set: {missing}");
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
}

/// The arguments that put the two threads on the first and the last core that this process has.
pub(crate) fn cores() -> [String; 4] {
    let cores = core_affinity::get_core_ids().expect("Linux tells");
    let first = cores.first().expect("there is one").id;
    let last = cores.last().expect("there is one").id;
    let [a, b] = [first.to_string(), last.to_string()];
    ["--core".into(), a, "--client-core".into(), b]
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Checks that the figures of one point agree with each other and with its size.
pub(crate) fn check_figures(point: &Value) {
    let figures = &point["figures"];
    let (ops, bytes) = (number(&figures["ops"]), number(&figures["bytes"]));
    let seconds = number(&figures["seconds"]);
    assert!(ops > 0.0 && seconds > 0.0, "{point}");
    assert_eq!(ops * number(&point["size_bytes"]), bytes, "{point}");
    assert!((number(&figures["ops_per_s"]) * seconds / ops - 1.0).abs() < 1e-6);
    assert!((number(&figures["mb_per_s"]) * 1e6 * seconds / bytes - 1.0).abs() < 1e-6);
    let latency = &figures["latency_us"];
    let order: Vec<f64> = ["p50", "p99", "p999", "max"].iter().map(|name| number(&latency[name])).collect();
    assert!(order[0] > 0.0 && order.is_sorted(), "{latency}");
    if let Some(depth) = point["depth"].as_f64() {
        // No more than these were in flight at a time, so their latencies bound the rate.
        let in_flight = number(&latency["mean"]) * ops / 1e6 / seconds;
        assert!(in_flight > 0.0 && in_flight <= depth * 1.001, "{point}");
    }
    assert!(number(&figures["process_cpu_s"]) > 0.0, "{point}");
}

/// Checks that durable operations reached the device, where the kernel counts flushes for it.
pub(crate) fn check_flushes(point: &Value, flushes_per_op: f64) {
    let figures = &point["figures"];
    if figures["flushes"].is_null() {
        assert!(point["device"].is_null(), "a device has a counter: {point}");
        return;
    }
    let flushes = number(&figures["flushes"]);
    assert!(flushes > 0.0, "durable writes flush: {point}");
    assert!(flushes >= flushes_per_op * number(&figures["ops"]), "{point}");
}
