//! The smallest run of the real programs: a server, the load generator and the limit, one pair, a folder of results.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What the program lacks where a test may be skipped.
const LACKING: [&str; 3] = ["io_uring is not permitted", "no io_uring", "which takes root"];

fn pairs(target: &str, within: &Path) -> Output {
    pairs_with(target, within, &[])
}

fn pairs_with(target: &str, within: &Path, more: &[&str]) -> Output {
    command(target, within, more).output().expect("cargo built the binary")
}

fn command(target: &str, within: &Path, more: &[&str]) -> Command {
    let cores = core_affinity::get_core_ids().expect("Linux tells");
    let core = |core: Option<&core_affinity::CoreId>| core.expect("there is one").id.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pairs"));
    command
        .args([target, "--quick", "--keep-free=0", "--keep"])
        .args(["--server-core", &core(cores.first()), "--load-core", &core(cores.last())])
        .args(more)
        .arg("--dir")
        .arg(within.join("work"))
        .arg("--results")
        .arg(within.join("results"));
    // Settings of whoever measures reach neither the server nor the load generator.
    command.env("MILLSTREAM_CONFIG", "/nowhere.toml").env("MILLSTREAM_LOAD_CONFIG", "/nowhere.toml");
    command
}

/// The folder that a run left, or none where this machine can't run it: that is told past what the test harness captures, and a
/// failure where CI is set.
fn folder(output: &Output, within: &Path) -> Option<PathBuf> {
    // Whether a target is reached means nothing in a smoke run.
    folder_of(output, within, &[0, 3])
}

/// The same of a run that ends so.
fn folder_of(output: &Output, within: &Path, expected: &[i32]) -> Option<PathBuf> {
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.code().is_some_and(|code| expected.contains(&code)) {
        let lacking = errors.lines().find(|line| LACKING.iter().any(|lack| line.contains(lack)));
        let missing = lacking.unwrap_or_else(|| panic!("{}: {errors}", output.status));
        assert!(std::env::var_os("CI").is_none(), "a skip is a failure where CI is set: {missing}");
        let _ = writeln!(std::io::stderr(), "skipped: {missing}");
        return None;
    }
    let mut folders = fs::read_dir(within.join("results")).expect("it was made");
    let folder = folders.next().expect("one run, one folder").expect("nobody else changes it").path();
    assert!(folders.next().is_none());
    assert_eq!(fs::read_dir(within.join("work")).expect("it was made").count(), 0, "nothing is left behind");
    assert!(result(&folder)["machine"]["host"].is_string(), "it says where it was measured");
    Some(folder)
}

fn result(folder: &Path) -> Value {
    let json = fs::read(folder.join("result.json")).expect("every folder has one");
    serde_json::from_slice(&json).expect("it is JSON")
}

/// The marks of a side, without that of a hypervisor whose other guests are busy.
fn marks(side: &Value) -> Vec<&str> {
    let marks = side["marks"].as_array().expect("every side has them").iter().filter_map(Value::as_str);
    marks.filter(|mark| !mark.starts_with("disturbed")).collect()
}

/// What a run of a target told, or nothing where this machine can't run it.
fn measured(target: &str) -> Option<Value> {
    let within = temporary();
    let output = pairs(target, within.path());
    folder(&output, within.path()).map(|folder| result(&folder))
}

fn figure(pair: &Value, side: &str, name: &str) -> f64 {
    pair[side]["figures"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {pair}"))
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("target/ can be written to")
}

#[test]
fn ingest_is_a_pair_of_server_and_limit() {
    let within = temporary();
    let output = pairs("ingest", within.path());
    let Some(folder) = folder(&output, within.path()) else { return };
    let result = result(&folder);
    assert_eq!((result["target"].as_str(), result["quick"].as_bool()), (Some("ingest"), Some(true)));
    let part = &result["parts"][0];
    let pair = &part["pairs"][0];
    let rate = |side: &str| pair[side]["figures"]["MB/s"].as_f64().expect("both sides have one");
    let (server, limit) = (rate("a"), rate("b"));
    assert!(server > 0.0 && limit > 0.0, "{pair}");
    let measured = &part["measures"][0];
    let ratio = measured["median"].as_f64().expect("a number");
    assert!((ratio - server / limit).abs() < 1e-9, "{measured}");
    assert_eq!(measured["reached"].as_bool(), Some(ratio >= 0.75));
    assert_eq!(pair["a"]["detail"]["verification"]["good"], true, "{pair}");
    let page = fs::read_to_string(folder.join("README.md")).expect("every folder has one");
    assert!(page.contains("a smoke run") && page.contains("at least 0.75"), "{page}");
    assert!(fs::read_to_string(folder.join("ingest.svg")).expect("a plot of each measure").contains("median"));
    let private = within.path().to_str().expect("target/ has a plain name");
    for file in ["result.json", "README.md"] {
        let text = fs::read_to_string(folder.join(file)).expect("just read");
        assert!(!text.contains(private), "{file} names a directory of this machine: {text}");
    }
}

#[test]
fn two_reactors_are_held_against_one() {
    let within = temporary();
    let output = pairs_with("two-reactors", within.path(), &["--pairs", "3"]);
    let Some(folder) = folder(&output, within.path()) else { return };
    let result = result(&folder);
    let part = &result["parts"][0];
    let pairs = part["pairs"].as_array().expect("there are some");
    assert_eq!(pairs.iter().map(|pair| pair["order"].as_str()).collect::<Vec<_>>(), ["AB", "BA", "AB"].map(Some));
    for side in pairs.iter().flat_map(|pair| [&pair["a"], &pair["b"]]) {
        let rates = side["before"]["rates_mb_per_s"].as_array().expect("it was seen whether the disk was steady");
        assert!(!rates.is_empty() && side["before"]["steady"].is_boolean(), "{side}");
        // What is acknowledged was flushed, where the device counts that.
        assert!(side["figures"].get("device flushes").is_none_or(|flushes| flushes.as_f64() >= Some(0.0)), "{side}");
    }
    let pair = &pairs[0];
    let rate = |side: &str| pair[side]["figures"]["MB/s"].as_f64().expect("both sides have one");
    let command = |side: &str| pair[side]["detail"]["server"]["command"].as_str().expect("it was started");
    assert!(command("a").contains("--reactors=2") && !command("b").contains("--reactors"), "{pair}");
    for side in ["a", "b"] {
        assert_eq!(pair[side]["detail"]["verification"]["good"], true, "{pair}");
    }
    let mut values: Vec<f64> =
        part["measures"][0]["values"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    assert!((values[0] - rate("a") / rate("b")).abs() < 1e-9, "{part}");
    values.sort_by(f64::total_cmp);
    let told = ["worst", "median"].map(|name| part["measures"][0][name].as_f64().expect("a number"));
    assert_eq!(told, [values[0], values[1]], "{part}");
}

#[test]
fn idle_connections_are_weighed_and_still_there_afterwards() {
    let Some(result) = measured("http-idle") else { return };
    let part = &result["parts"][0];
    assert_eq!(part["measures"].as_array().map(Vec::len), Some(5));
    for name in ["kept alive", "after 500 KB", "kept alive, TLS", "subscribed", "subscribed, TLS"] {
        // What so few cost is less than what a server's memory moves by.
        assert!(figure(&part["pairs"][0], "a", &format!("bytes, {name}")).is_finite(), "{part}");
    }
}

#[test]
fn signatures_and_encryption_are_held_against_none() {
    let Some(result) = measured("http-cost") else { return };
    let parts = result["parts"].as_array().expect("there are some");
    assert_eq!(parts.len(), 3);
    let commands =
        parts.iter().map(|part| ["a", "b"].map(|side| part["pairs"][0][side]["command"].as_str().expect("a text")));
    for (number, [with, without]) in commands.enumerate() {
        let more = if number < 2 { "--credentials-file" } else { "--encryption=" };
        assert!(with.contains(more) && !without.contains(more), "{with}; {without}");
    }
    for part in parts {
        let pair = &part["pairs"][0];
        for side in ["a", "b"] {
            assert!(figure(pair, side, "records/s") > 0.0 && figure(pair, side, "read back records/s") > 0.0, "{pair}");
        }
    }
}

#[test]
fn a_killed_server_opens_and_appends() {
    let Some(result) = measured("restart") else { return };
    let pair = &result["parts"][0]["pairs"][0];
    let figure = |name| figure(pair, "a", name);
    assert!(figure("open s") > 0.0 && figure("open after kill s") > 0.0);
    assert!(figure("kill to first append s") > figure("open after kill s"), "{pair}");
    assert_eq!(marks(&pair["a"]), Vec::<&str>::new(), "{pair}");
    assert_eq!(result["parts"][0]["measures"].as_array().map(Vec::len), Some(3));
}

#[test]
fn what_is_pushed_is_measured() {
    let Some(result) = measured("push") else { return };
    let parts = result["parts"].as_array().expect("there are some");
    assert_eq!(parts.len(), 4);
    for part in parts {
        let side = &part["pairs"][0]["a"];
        let figure = |name: &str| side["figures"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {side}"));
        // A run this short may have no whole slot of time to tell a rate of.
        assert!(figure("pushed MB/s") >= 0.0 && figure("pushed p99 us") > 0.0, "{side}");
        let (pushed, verification) = (&side["detail"]["pushed"], &side["detail"]["verification"]);
        let subscribers = pushed["subscribers"].as_u64().expect("it is told");
        let acknowledged = verification["acknowledged"].as_u64().expect("it is told");
        assert_eq!(pushed["records_total"].as_u64(), Some(subscribers * acknowledged), "{side}");
    }
}

#[test]
fn ten_segments_are_dropped_in_the_midst_of_a_load() {
    let Some(result) = measured("drops") else { return };
    let pair = &result["parts"][0]["pairs"][0];
    let figure = |side, name| figure(pair, side, name);
    assert!(figure("a", "segments dropped") >= 10.0 && figure("b", "segments dropped") == 0.0, "{pair}");
    assert!(figure("a", "s until all were") > 0.0 && figure("a", "freed MB") > 0.0, "{pair}");
    for side in ["a", "b"] {
        assert!(figure(side, "p99.9 us") >= figure(side, "p99 us") && figure(side, "p99 us") > 0.0, "{pair}");
        assert!(figure(side, "late batches") >= 0.0, "{pair}");
    }
}

#[test]
fn what_is_in_memory_is_measured() {
    let Some(result) = measured("memory") else { return };
    let part = &result["parts"][0];
    let pair = &part["pairs"][0];
    let figure = |side, name| figure(pair, side, name);
    let (peak, idle, rest) =
        (figure("a", "peak MB"), figure("b", "with all that is idle MB"), figure("b", "at rest MB"));
    assert!(peak > idle && idle > rest && rest > 0.0, "{pair}");
    assert!((figure("a", "peak by budget") - peak / figure("b", "budget MB")).abs() < 1e-9, "{pair}");
    assert!(figure("a", "bytes a connection") > 0.0 && figure("a", "bytes a shard") > 0.0, "{pair}");
    assert!(figure("a", "large MB/s") >= 0.0 && figure("a", "scanned MB/s") >= 0.0, "{pair}");
    // Those that are idle, those that are busy and those with large records were there together.
    assert!(figure("a", "most connections") > 1000.0, "{pair}");
    for measured in part["measures"].as_array().expect("there are some") {
        assert_eq!(measured["reached"], measured["worst_reached"], "the worst decides");
    }
}

#[test]
fn catching_up_beside_ingest_is_held_against_the_limit_at_its_rate() {
    let Some(result) = measured("catch-up-beside") else { return };
    let pair = &result["parts"][0]["pairs"][0];
    let side = &pair["a"];
    let figure = |name| figure(pair, "a", name);
    let points = side["detail"]["limit"]["found"]["around"]["points"].as_array().expect("limit (d) has some");
    assert_eq!(points.len(), 3, "{pair}");
    let asked = points[0]["write_rate"].as_f64().expect("it is told");
    assert!((asked / 1e6 - figure("MB/s")).abs() < 1.0, "the limit writes as much as the server did: {pair}");
    assert!(figure("limit (d) MB/s") > 0.0 && pair["b"]["figures"]["pushed MB/s"].is_null(), "{pair}");
}

#[test]
fn what_streams_take_on_a_disk_is_measured() {
    let Some(result) = measured("space") else { return };
    let pair = &result["parts"][0]["pairs"][0];
    assert_eq!(marks(&pair["a"]), Vec::<&str>::new(), "{pair}");
    let figure = |side, name| figure(pair, side, name);
    let (worst, median) = (figure("a", "worst disk by live"), figure("a", "median disk by live"));
    // What was written lies on the disk, with what is around it; the segments that are held ready too.
    assert!(worst >= median && median > figure("b", "median disk by live") && figure("b", "live GB") > 0.0, "{pair}");
    assert_eq!(figure("a", "refused s"), 0.0, "nothing fills the disk so soon");
    let samples = pair["a"]["detail"]["samples"].as_array().expect("there are some");
    assert!(samples.len() > 2 && figure("a", "written GB") >= figure("a", "live GB"), "{pair}");
}

#[test]
fn put_records_over_http_are_held_against_the_lower_of_two_limits() {
    let Some(result) = measured("http-put-records") else { return };
    let pair = &result["parts"][0]["pairs"][0];
    let figure = |side, name| figure(pair, side, name);
    let (disk, http) = (figure("b", "limit (b) MB/s"), figure("b", "limit (e) MB/s"));
    assert!(disk > 0.0 && http > 0.0 && figure("b", "MB/s") == disk.min(http), "{pair}");
    let ratio = result["parts"][0]["measures"][0]["median"].as_f64().expect("a number");
    assert!((ratio - figure("a", "MB/s") / figure("b", "MB/s")).abs() < 1e-9, "{pair}");
    let verification = &pair["a"]["detail"]["verification"];
    assert_eq!((&verification["good"], &verification["read"]), (&true.into(), &verification["acknowledged"]), "{pair}");
    assert!(pair["a"]["command"].as_str().is_some_and(|command| command.contains("--credentials-file=DIR")), "{pair}");
    assert_eq!(result["parts"].as_array().map(Vec::len), Some(2), "no emulators unless they are named");
}

#[test]
fn one_put_record_over_http_is_held_against_a_write_beside_the_limit() {
    let Some(result) = measured("http-put-record") else { return };
    let pair = &result["parts"][0]["pairs"][0];
    let figure = |side, name| figure(pair, side, name);
    let (http, write) = (figure("b", "limit (e) p50 us"), figure("b", "4 KiB write p50 us"));
    // Not to the last digit: numbers are read from JSON.
    let both = (figure("b", "p50 us") - http - write).abs() < 1e-6;
    assert!(http > 0.0 && write > 0.0 && both, "{pair}");
    assert_eq!(pair["a"]["detail"]["load"]["batch_records"], 1, "{pair}");
}

/// What stands for an emulator is a server of our own, behind the program that one has: how they are found, started on a port,
/// told by their version and ended is the same.
#[test]
fn an_emulator_is_the_other_side() {
    use std::os::unix::fs::PermissionsExt;

    let within = temporary();
    let installed = within.path().join("emulators");
    let program = installed.join("bin/ferrokinesis");
    fs::create_dir_all(installed.join("bin")).expect("it can be made");
    let ours = Path::new(env!("CARGO_BIN_EXE_pairs")).with_file_name("millstream");
    let script = format!(
        "#!/bin/sh\nexec {} serve --data data --segment-bytes=8MiB --native 127.0.0.1:0 --admin off --quotas none --http 127.0.0.1:$2\n",
        ours.display()
    );
    fs::write(&program, script).expect("it can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(installed.join("versions"), "ferrokinesis 0.0.1\n").expect("it can be written");
    let emulators = installed.to_str().expect("target/ has a plain name");
    let output =
        pairs_with("http-get-records", within.path(), &["--emulators", emulators, "--emulator", "ferrokinesis"]);
    let Some(folder) = folder(&output, within.path()) else { return };
    let result = result(&folder);
    let part = &result["parts"][1];
    assert_eq!((part["title"].as_str(), part["name_b"].as_str()), (Some("ferrokinesis"), Some("ferrokinesis")));
    let pair = &part["pairs"][0];
    let rate =
        |side: &str| pair[side]["figures"]["read back records/s"].as_f64().unwrap_or_else(|| panic!("none: {pair}"));
    let ratio = part["measures"][0]["median"].as_f64().expect("a number");
    assert!(rate("b") > 0.0 && (ratio - rate("a") / rate("b")).abs() < 1e-9, "{pair}");
    let command = pair["b"]["command"].as_str().expect("it is told");
    assert!(command.starts_with("ferrokinesis --port ") && command.contains("(ferrokinesis 0.0.1)"), "{command}");
    assert_eq!(pair["b"]["detail"]["verification"]["good"], true, "{pair}");
}

/// Bug: Ctrl-C in a later part threw away the parts before it. Mechanism: it ended the target with an error. Fix: it stops its part,
/// and what there is is written.
#[test]
fn what_was_measured_before_ctrl_c_is_kept() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    let within = temporary();
    let mut command = command("push", within.path(), &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("cargo built the binary");
    let mut errors = BufReader::new(child.stderr.take().expect("it was piped"));
    let (mut told, mut line) = (String::new(), String::new());
    while errors.read_line(&mut line).expect("it tells lines") > 0 && !line.contains("20 subscribers at 20 MB/s, pair")
    {
        told += &std::mem::take(&mut line);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is ours");
    errors.read_to_string(&mut told).expect("it tells text");
    let status = child.wait().expect("it was started");
    let output = Output { status, stdout: Vec::new(), stderr: told.into_bytes() };
    let Some(folder) = folder_of(&output, within.path(), &[2]) else { return };
    let parts = &result(&folder)["parts"];
    assert!(parts[0]["stopped"].is_null() && parts[0]["pairs"].as_array().map(Vec::len) == Some(1), "{parts}");
    assert_eq!(parts[1]["stopped"], "stopped by a signal", "{parts}");
    assert!(parts[2].is_null(), "{parts}");
}
