//! A person's own data: replayed, compared, and left off when the time has come.

use super::*;

#[test]
fn the_example_is_replayed_and_compared() {
    let scratch = directory();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights-600.json");
    let arguments = ["--input", example, "--key", "origin", "--time", "date", "--speed", "400000"];
    let output = run(scratch.path(), &arguments);
    // A busy machine may make the generator late, which this test is not about.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", message(&output));
    let report = report(&output);
    assert_eq!((&report["verification"]["good"], marks(&report)), (&Value::Bool(true), vec![]));
    assert_eq!(report["verification"]["read"], 600);
    let content: u64 = {
        let rows: Vec<&serde_json::value::RawValue> = serde_json::from_slice(EXAMPLE).unwrap();
        rows.iter().map(|row| row.get().len() as u64 + 3).sum()
    };
    assert_eq!(report["measured"]["bytes_total"], content, "each row as it stands, and its key");
    let looped = ["--input", example, "--key", "origin", "--loop", "--speed", "max", "--bytes", "5MB"];
    let output = run(scratch.path(), &looped);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
}

/// Not only by its count and checksums: what a reader of another program is given is the file, row by row.
#[test]
fn what_is_stored_is_the_file() {
    let scratch = directory();
    let watched = Watched::start(scratch.path());
    let address = watched.address().to_string();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights-600.json");
    let arguments =
        ["--target", &address, "--stream", "flights", "--input", example, "--key", "origin", "--speed", "max"];
    let output = load(scratch.path(), &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let tail =
        Command::new(server_program()).args(["tail", "flights", "--native", &address, "--output", "json"]).output();
    let tail = tail.unwrap();
    assert!(tail.status.success(), "{tail:?}");
    let field = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let records = tail.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let records = records.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    let mut stored: Vec<[String; 2]> = records.map(|record| ["key", "data"].map(|name| field(&record, name))).collect();
    let rows: Vec<&serde_json::value::RawValue> = serde_json::from_slice(EXAMPLE).unwrap();
    let row = |row: &&serde_json::value::RawValue| {
        [field(&serde_json::from_str(row.get()).unwrap(), "origin"), row.get().to_owned()]
    };
    let mut rows: Vec<[String; 2]> = rows.iter().map(row).collect();
    stored.sort_unstable();
    rows.sort_unstable();
    assert!(stored == rows, "{} records of {} rows", stored.len(), rows.len());
    watched.server.stop().unwrap();
}

const EXAMPLE: &[u8] = include_bytes!("../../examples/flights-600.json");

#[test]
fn rows_come_from_standard_input_too() {
    let scratch = directory();
    let mut command = load(scratch.path(), &["--input", "-", "--key", "k"]);
    let input = scratch.path().join("rows");
    std::fs::write(&input, "{\"k\":\"a\"}\n{\"k\":\"b\"}\n").unwrap();
    command.arg("--dir").arg(scratch.path()).args(SMALL_SERVER).stdin(std::fs::File::open(&input).unwrap());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), &report(&output)["verification"]["read"]), (Some(0), &Value::from(2)));
}

/// Bug: a replay of slow rows ended neither when its time was over nor by Ctrl-C. Mechanism: whether the run was over was asked
/// for where a batch was full alone, and rows that wait for their time leave in batches of one. Fix: it is asked after each wait.
#[test]
fn a_replay_ends_when_its_time_is_over() {
    let scratch = directory();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights-600.json");
    // Of the 600 rows that would take a day.
    let arguments = ["--input", example, "--time", "date", "--speed", "100", "--loop", "--duration", "300ms"];
    let mut child = load(scratch.path(), &arguments);
    let mut child = child.arg("--dir").arg(scratch.path()).args(SMALL_SERVER).spawn().unwrap();
    let status = wait_for("the end", || child.try_wait().unwrap());
    assert!(matches!(status.code(), Some(0 | 4)), "{status}");
    let report = report(&child.wait_with_output().unwrap());
    assert_eq!((&report["verification"]["good"], marks(&report)), (&Value::Bool(true), vec![]));
}
