//! The load over HTTP: against the real server, and against endpoints that answer wrongly, or not at all.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use loadgen::native::{Begin, Target, find_streams, prepare_streams};

use super::*;

const HTTP: &str = "--http=127.0.0.1:0";

/// A server that serves the API, and its address.
pub(crate) fn server(scratch: &Path, more: &[&str]) -> (Watched, String) {
    let watched = Watched::start_with(scratch, &[&[LITTLE_MEMORY, HTTP][..], more].concat());
    let endpoint = format!("http://{}", watched.server.http().unwrap());
    (watched, endpoint)
}

/// Loads an endpoint. Credentials of whoever runs the tests must not reach the program, and none are wanted on loopback.
pub(crate) fn over_http(scratch: &Path, endpoint: &str, arguments: &[&str]) -> Command {
    over_http_to("2", scratch, endpoint, arguments)
}

/// The same to streams of so many shards.
fn over_http_to(shards: &str, scratch: &Path, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = load(scratch, &["--endpoint", endpoint, "--shards", shards]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

pub(crate) fn good(output: &Output) -> Value {
    // A busy machine may make the generator late, which these tests are not about.
    assert!(
        matches!(output.status.code(), Some(0 | 4)),
        "{}\n{}",
        message(output),
        String::from_utf8_lossy(&output.stdout)
    );
    let report = report(output);
    assert_eq!((&report["verification"]["good"], marks(&report)), (&Value::Bool(true), vec![]));
    report
}

/// The streams that a server has.
fn streams(endpoint: &str) -> String {
    ask(endpoint, "ListStreams", "{}")
}

/// What a server answers.
fn ask(endpoint: &str, operation: &str, body: &str) -> String {
    let (address, length) = (endpoint.trim_start_matches("http://"), body.len());
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The consumers of a stream.
fn consumers(endpoint: &str, stream: &str) -> String {
    let summary = ask(endpoint, "DescribeStreamSummary", &format!("{{\"StreamName\":\"{stream}\"}}"));
    let arn = summary.split_once("\"StreamARN\":\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
    ask(endpoint, "ListStreamConsumers", &format!("{{\"StreamARN\":\"{arn}\"}}"))
}

#[test]
fn whatever_way_records_go_over_http_they_are_verified() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let closed = ["--record-bytes", "uniform:0..3000", "--streams", "2", "--keys", "zipf:50,1.1"];
    for more in [
        &["--http", "1", "--bytes", "4MB"][..],
        &["--http", "2", "--bytes", "4MB", "--inflight", "3", "--connections", "2"],
        &["--operation", "put-record", "--bytes", "200kB", "--connections", "8"],
    ] {
        let arguments = [&closed[..], more].concat();
        let report = good(&over_http(scratch.path(), &endpoint, &arguments).output().unwrap());
        let verification = &report["verification"];
        assert!(verification["acknowledged"].as_u64().unwrap() > 50, "{verification}");
        assert_eq!(verification["acknowledged"], verification["read"]);
        let told = report["load"]["protocol"].as_str().unwrap();
        assert_eq!(told.contains("HTTP/2"), more.contains(&"2"), "{told}");
        assert_eq!(told.ends_with("PutRecord"), more.contains(&"put-record"), "{told}");
    }
    let open = ["--rate", "2000", "--duration", "1s", "--batch-records", "20", "--connections", "8"];
    let report = good(&over_http(scratch.path(), &endpoint, &open).output().unwrap());
    let acknowledged = report["verification"]["acknowledged"].as_u64().unwrap();
    assert!((1900..=2000).contains(&acknowledged), "{acknowledged}");
    assert!(report["measured"]["latency_ns"]["at"][0][1].as_u64().unwrap() > 0);
    assert!(streams(&endpoint).contains("\"StreamNames\":[]"), "{}", streams(&endpoint));
    watched.server.stop().unwrap();
}

/// The rate of the load beside is its own, its streams are removed too, and what either was acknowledged is there.
#[test]
fn a_load_beside_has_figures_of_its_own_over_http_too() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let cores = core_affinity::get_core_ids().unwrap();
    let cores = [&cores[..1], &cores[..]].map(|cores| cores.iter().map(|core| core.id.to_string()).collect::<Vec<_>>());
    for (http, connections, cores) in [("1", 3, &cores[0]), ("2", 1, &cores[1])] {
        let beside = &*format!("connections={connections},record-bytes=20KiB,rate=40,shards=1,streams=2");
        let cores = cores.join(",");
        let arguments = [
            "--http",
            http,
            "--rate",
            "2000",
            "--duration",
            "1s",
            "--batch-records",
            "20",
            "--beside",
            beside,
            "--cores",
            &cores,
        ];
        let report = good(&over_http(scratch.path(), &endpoint, &arguments).output().unwrap());
        let records = |of: &Value| of["measured"]["records_total"].as_u64().unwrap();
        let (own, others) = (records(&report), records(&report["beside"]));
        assert!((500..=2000).contains(&own) && (10..=40).contains(&others), "{own} and {others}");
        assert_eq!(report["beside"]["measured"]["bytes_total"], others * (20 * 1024 + 16));
        assert_eq!(
            (&report["verification"]["read"], &report["load"]["beside"]),
            (&(own + others).into(), &beside.into())
        );
    }
    // In one stream, that was there before.
    let one = ["--stream", "one", "--bytes", "200kB", "--batch-records", "10", "--connections", "2"];
    let arguments = [&one[..], &["--beside", "stream=one,shards=2,bytes=1GiB,batch-records=5"]].concat();
    for _ in 0..2 {
        let report = good(&over_http(scratch.path(), &endpoint, &arguments).output().unwrap());
        assert!(report["beside"]["measured"]["records_total"].as_u64() > Some(5), "{}", report["beside"]);
        assert_eq!(report["verification"]["read"], report["verification"]["acknowledged"]);
    }
    // Who reads meanwhile reads the main load's.
    let arguments = ["--workload", "mixed", "--rate", "1000", "--duration", "1s", "--beside", "rate=50"];
    let report = good(&over_http(scratch.path(), &endpoint, &arguments).output().unwrap());
    assert_eq!(report["pushed"]["records_total"], report["measured"]["records_total"]);
    assert!(streams(&endpoint).contains("\"StreamNames\":[\"one\"]"), "{}", streams(&endpoint));
    // The load beside can't begin.
    let output = over_http(scratch.path(), &endpoint, &["--beside", "stream=one,shards=7"]).output().unwrap();
    assert!(output.status.code() == Some(1) && message(&output).contains("one"), "{}", message(&output));
    assert!(streams(&endpoint).contains("\"StreamNames\":[\"one\"]"), "{}", streams(&endpoint));
    watched.server.stop().unwrap();
}

#[test]
fn streams_are_encrypted_where_a_key_is_named() {
    let scratch = directory();
    let keys = scratch.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    let private = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::write(keys.join("mine"), "7a".repeat(32)).unwrap();
    private(&keys, 0o700);
    private(&keys.join("mine"), 0o600);
    let (watched, endpoint) =
        server(scratch.path(), &["--quotas=none", &format!("--key-directory={}", keys.display())]);
    let arguments = ["--bytes", "1MB", "--encryption", "alias/mine"];
    let report = good(&over_http(scratch.path(), &endpoint, &arguments).output().unwrap());
    let verification = &report["verification"];
    assert!(verification["acknowledged"].as_u64().unwrap() > 500, "{verification}");
    assert_eq!(
        (&verification["read"], &report["load"]["encryption"]),
        (&verification["acknowledged"], &"alias/mine".into())
    );
    let output =
        over_http(scratch.path(), &endpoint, &["--bytes", "1MB", "--encryption", "alias/other"]).output().unwrap();
    assert!(
        output.status.code() == Some(1) && message(&output).contains("KMSNotFoundException"),
        "{}",
        message(&output)
    );
    assert!(streams(&endpoint).contains("\"StreamNames\":[]"), "{}", streams(&endpoint));
    watched.server.stop().unwrap();
}

#[test]
fn what_is_not_to_be_read_back_is_not_and_the_result_says_so() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let arguments = ["--bytes", "1MB", "--no-read-back"];
    let output = over_http(scratch.path(), &endpoint, &arguments).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", message(&output));
    let report = report(&output);
    let verification = &report["verification"];
    assert!(verification["acknowledged"].as_u64().unwrap() > 500, "{verification}");
    assert_eq!((&verification["read"], &verification["good"]), (&0.into(), &true.into()), "{verification}");
    let said = report["marks"].to_string();
    assert!(said.contains("nothing was to be read back"), "{said}");
    watched.server.stop().unwrap();
}

#[test]
fn rows_go_over_http_as_they_stand() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights-600.json");
    let arguments = ["--input", example, "--key", "origin", "--time", "date", "--speed", "400000"];
    let report = good(&over_http(scratch.path(), &endpoint, &arguments).output().unwrap());
    assert_eq!(report["verification"]["read"], 600);
    watched.server.stop().unwrap();
}

/// The API has no quotas to set, so they are given to what it made over the native protocol.
#[test]
fn quotas_over_http_are_set_at_the_native_address() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let native = watched.address().to_string();
    let limited = ["--target", &native, "--quotas", "none,write-records=20", "--rate", "400", "--duration", "1s"];
    let limited = [&limited[..], &["--batch-records", "10", "--beside", "rate=100"]].concat();
    let output = over_http(scratch.path(), &endpoint, &limited).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", message(&output));
    let limited = report(&output);
    let told = limited["load"]["quotas"].to_string();
    assert!(marks(&limited) == ["refused"] && told.contains("write-records=20"), "{}, {told}", limited["marks"]);
    let refused = &limited["verification"]["refused_by_reason"];
    assert_eq!(refused[0][0], "ProvisionedThroughputExceededException", "{refused}");
    // Two shards of the main load take what comes in their first second, and one of that beside it.
    let acknowledged = limited["verification"]["acknowledged"].as_u64().unwrap();
    assert!((20..=200).contains(&acknowledged), "{acknowledged}");
    // At a server that does not have the stream nothing is made, and what was made for the run is removed.
    let other = Watched::start(scratch.path());
    let native = other.address().to_string();
    let output = over_http(scratch.path(), &endpoint, &["--target", &native, "--quotas", "none"]).output().unwrap();
    assert!(
        output.status.code() == Some(1) && message(&output).contains("describe stream load-"),
        "{}",
        message(&output)
    );
    assert!(streams(&endpoint).contains("\"StreamNames\":[]"), "{}", streams(&endpoint));
    other.server.stop().unwrap();
    watched.server.stop().unwrap();
}

/// Bug, found on reading: quotas were given to whatever stream of the name another server had. Fix: what both say of it is compared
/// before any is set.
#[test]
fn quotas_are_for_the_stream_that_the_api_tells_of() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let other = Watched::start(scratch.path());
    let make = |watched: &Watched, name: &str, shards| {
        prepare_streams(&Target::new(watched.address()), &[name.to_owned()], (shards, None), watched.core).unwrap();
    };
    make(&watched, "same", 2);
    make(&watched, "wide", 2);
    make(&other, "same", 2);
    make(&other, "wide", 3);
    let run = |target: &Watched, stream| {
        let native = target.address().to_string();
        let arguments = ["--target", &native, "--quotas", "none", "--stream", stream];
        let arguments = [&arguments[..], &["--bytes", "100kB", "--batch-records", "10"]].concat();
        over_http(scratch.path(), &endpoint, &arguments).output().unwrap()
    };
    for (stream, differs) in [("same", "it was made at "), ("wide", "it has 3 open shards, and 2 there")] {
        let output = run(&other, stream);
        let told = message(&output);
        assert!(output.status.code() == Some(1) && told.contains(differs), "{told}");
        assert!(told.contains(&format!("{stream} at {} is not the stream", other.address())), "{told}");
        good(&run(&watched, stream));
    }
    other.server.stop().unwrap();
    watched.server.stop().unwrap();
}

/// Bug, found on reading: Ctrl-C was not heard while quotas were given. Fix: it is, and what was made is removed.
#[test]
fn ctrl_c_ends_the_wait_for_quotas_and_removes_the_stream() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    for says_hello in [false, true] {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let native = silent.local_addr().unwrap().to_string();
        let arguments = ["--target", &native, "--quotas", "none", "--open-timeout", "1h", "--bytes", "100kB"];
        let child = over_http(scratch.path(), &endpoint, &arguments).spawn().unwrap();
        let mut asked = silent.accept().unwrap().0;
        let mut some = [0; 1 << 10];
        let read = asked.read(&mut some).unwrap();
        if says_hello {
            let mut server = TcpStream::connect(watched.address()).unwrap();
            server.write_all(&some[..read]).unwrap();
            let read = server.read(&mut some).unwrap();
            asked.write_all(&some[..read]).unwrap();
            assert!(asked.read(&mut some).unwrap() > 0, "it asks for the stream");
        }
        signal(child.id(), Signal::INT);
        let output = child.wait_with_output().unwrap();
        let told = message(&output);
        assert!(
            output.status.code() == Some(1) && told.contains("stopped by a signal before the load began"),
            "{told}"
        );
        assert!(streams(&endpoint).contains("\"StreamNames\":[]"), "{}", streams(&endpoint));
    }
    watched.server.stop().unwrap();
}

#[test]
fn throttles_are_counted_by_kind_and_the_rest_is_there() {
    let scratch = directory();
    // As the service has them: 1,000 records a second of each shard.
    let (watched, endpoint) = server(scratch.path(), &["--quotas=service"]);
    let arguments = ["--rate", "6000", "--duration", "1500ms", "--record-bytes", "50", "--batch-records", "50"];
    let output = over_http(scratch.path(), &endpoint, &arguments).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 4)), "{}", message(&output));
    let report = report(&output);
    assert_eq!(marks(&report), ["refused"]);
    let verification = &report["verification"];
    let refused = &verification["refused_by_reason"];
    assert_eq!(refused[0][0], "ProvisionedThroughputExceededException", "{refused}");
    assert!(refused[0][1].as_u64().unwrap() > 1000, "{refused}");
    assert_eq!((&verification["read"], refused.as_array().unwrap().len()), (&verification["acknowledged"], 1));
    watched.server.stop().unwrap();
}

#[test]
fn consumers_are_pushed_or_read_over_http() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let mixed =
        ["--workload", "mixed", "--rate", "1000", "--duration", "1s", "--batch-records", "10", "--subscribers", "2"];
    let report = good(&over_http(scratch.path(), &endpoint, &mixed).output().unwrap());
    let acknowledged = report["verification"]["acknowledged"].as_u64().unwrap();
    assert_eq!(
        (&report["pushed"]["records_total"], &report["pushed"]["faults"]),
        (&(2 * acknowledged).into(), &0.into())
    );
    let p50_ns = report["pushed"]["latency_ns"]["at"][0][1].as_u64().unwrap();
    assert!((1_000..30_000_000_000).contains(&p50_ns), "{p50_ns}");
    assert_eq!((&report["caught_up"]["readers"], &report["caught_up"]["faults"]), (&1.into(), &0.into()));
    // A stream by its name stays, and is written again.
    let named = ["--stream", "kept", "--bytes", "1MB"];
    let mut written = 0;
    for _ in 0..2 {
        let report = good(&over_http(scratch.path(), &endpoint, &named).output().unwrap());
        written += report["verification"]["acknowledged"].as_u64().unwrap();
    }
    assert!(streams(&endpoint).contains("\"kept\""));
    for by in ["read", "push"] {
        let consume = ["--stream", "kept", "--workload", "consume", "--by", by];
        let report = good(&over_http(scratch.path(), &endpoint, &consume).output().unwrap());
        assert_eq!(report["measured"]["records_total"], written, "{by}");
    }
    let output = over_http(scratch.path(), &endpoint, &["--stream", "kept", "--subscribers", "1"]).output().unwrap();
    assert!(message(&output).contains("kept was there before"), "{}", message(&output));
    let output = over_http(scratch.path(), &endpoint, &["--stream", "kept", "--shards", "3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    watched.server.stop().unwrap();
}

/// Passes bytes on between whoever connects and the server, as `alter` leaves those that the server sends. An answer of which it
/// leaves nothing is an error of the server's.
pub(crate) fn between(server: SocketAddr, alter: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let alter = Arc::new(alter);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let alter = Arc::clone(&alter);
            std::thread::spawn(move || {
                let server = TcpStream::connect(server).unwrap();
                let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from_client, &mut to_server);
                    let _ = to_server.shutdown(Shutdown::Write);
                });
                pass_answers(server, client, &*alter);
            });
        }
    });
    endpoint
}

/// Each answer with a length is altered as a whole.
fn pass_answers(mut server: TcpStream, mut client: TcpStream, alter: &dyn Fn(Vec<u8>) -> Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 1 << 16];
        match server.read(&mut some) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&some[..read]),
            _ => return,
        }
        while let Some((head, body)) = whole_answer(&bytes) {
            let rest = bytes.split_off(head + body);
            let altered = alter(bytes.split_off(head));
            let head = String::from_utf8(bytes).unwrap();
            let (old, new) = (format!("content-length: {body}\r"), format!("content-length: {}\r", altered.len()));
            let status = if altered.is_empty() && body > 0 { "500 Internal Server Error" } else { "200 OK" };
            let head = head.replace(&old, &new).replace("200 OK", status);
            if client.write_all(head.as_bytes()).and_then(|()| client.write_all(&altered)).is_err() {
                return;
            }
            bytes = rest;
        }
    }
}

/// Bytes of the head and of the body of the first answer, once it is there.
fn whole_answer(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let body = length.trim().parse().ok()?;
    (bytes.len() >= head + body).then_some((head, body))
}

/// Verification has teeth: what is dropped, changed or doubled on the way back is found.
#[test]
fn a_record_that_is_not_as_acknowledged_makes_the_run_void() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let arguments = ["--bytes", "200kB", "--record-bytes", "200"];
    let drop_one = |records: &mut Vec<Value>| drop(records.remove(records.len() / 2));
    let double_one = |records: &mut Vec<Value>| records.insert(1, records[0].clone());
    let change_one = |records: &mut Vec<Value>| records[0]["PartitionKey"] = "another".into();
    type Alter = fn(&mut Vec<Value>);
    let alterations: [(&str, Alter); 3] = [
        ("was acknowledged and is not there", drop_one),
        ("was read after", double_one),
        ("differ from those acknowledged", change_one),
    ];
    for (fault, alter) in alterations {
        let done = AtomicBool::new(false);
        let endpoint = between(address, move |body| {
            let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else { return body };
            let is_read = answer.get("MillisBehindLatest").is_some();
            match answer["Records"].as_array_mut().filter(|records| is_read && records.len() > 2) {
                Some(records) if !done.swap(true, Ordering::Relaxed) => alter(records),
                _ => return body,
            }
            serde_json::to_vec(&answer).unwrap()
        });
        let output = over_http(scratch.path(), &endpoint, &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{fault}: {}", message(&output));
        let report = report(&output);
        let told = report["verification"]["faults_told"].to_string();
        assert!(told.contains(fault) && marks(&report).contains(&"void".to_owned()), "{fault}: {told}");
    }
    watched.server.stop().unwrap();
}

/// Records of answers that were lost are of unknown fate, and there at most once.
#[test]
fn what_a_lost_answer_told_is_unknown_and_the_run_goes_on() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let done = AtomicBool::new(false);
    let endpoint = between(address, move |body| {
        let is_put = body.starts_with(b"{\"FailedRecordCount\"");
        if is_put && !done.swap(true, Ordering::Relaxed) { b"<html>no".to_vec() } else { body }
    });
    let arguments = ["--bytes", "200kB", "--batch-records", "10", "--connections", "2"];
    let output = over_http(scratch.path(), &endpoint, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let report = report(&output);
    let verification = &report["verification"];
    assert_eq!(marks(&report), ["connection-lost", "partial"]);
    assert_eq!((&verification["unknown"], &verification["unknown_present"]), (&10.into(), &10.into()));
    assert!(report["marks"].to_string().contains("does not answer as the Kinesis API does"), "{}", report["marks"]);
    watched.server.stop().unwrap();
}

/// Bug, found on reading: a server that failed at half of what it was sent met a goal with the latency of the other half, and nothing said
/// so. Mechanism: what it failed at was of unknown fate, and counted nowhere else. Fix: it counts as unanswered to the end of the run.
#[test]
fn what_the_server_fails_at_counts_as_unanswered() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    for fails_whole in [false, true] {
        let answers = AtomicUsize::new(0);
        let endpoint = between(address, move |body| {
            if !body.starts_with(b"{\"FailedRecordCount\"") {
                return body;
            }
            let is_odd = answers.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            if fails_whole {
                return if is_odd { Vec::new() } else { body };
            }
            let mut answer: Value = serde_json::from_slice(&body).unwrap();
            for outcome in answer["Records"].as_array_mut().unwrap().iter_mut().step_by(2) {
                *outcome = serde_json::json!({"ErrorCode": "InternalFailure", "ErrorMessage": "failed"});
            }
            serde_json::to_vec(&answer).unwrap()
        });
        let arguments = ["--rate", "400", "--batch-records", "10", "--duration", "2s", "--expect", "p99<900ms"];
        let output = over_http(scratch.path(), &endpoint, &arguments).output().unwrap();
        let report = report(&output);
        let (verification, told) = (&report["verification"], report["marks"].to_string());
        assert_eq!(verification["good"], true, "{}", message(&output));
        assert_eq!(verification["unknown"].as_u64(), verification["unknown_present"].as_u64());
        assert!(verification["unknown"].as_u64() > Some(100), "{verification}");
        assert!(marks(&report).contains(&"partial".to_owned()), "{told}");
        assert!(["50.0 % of", "49.", "50."].iter().any(|share| told.contains(share)), "{told}");
        assert_eq!(report["goals"][0]["met"], false, "{}", report["goals"]);
    }
    watched.server.stop().unwrap();
}

/// Bug, found on reading: what was acknowledged in a shard that a split, a merge or the server made during the run was not read back.
/// Mechanism: shards were those of the start, and such records of unknown fate. Fix: a shard that is told is one of the run's.
#[test]
fn what_is_acknowledged_in_shards_that_are_born_meanwhile_is_read_back() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let cores: Vec<String> = core_affinity::get_core_ids().unwrap().iter().map(|core| core.id.to_string()).collect();
    let cores = cores.join(",");
    let records = |shards: &mut dyn FnMut(u32) -> bool| {
        let found = find_streams(&Target::new(watched.address()), &["grows".to_owned()], Begin::Oldest, watched.core);
        let all = found.map(|found| found.streams[0].shards.clone()).unwrap_or_default();
        let records = (0..).zip(&all).filter(|(at, _)| shards(*at)).map(|(_, shard)| shard.tip.0 - shard.oldest.0);
        records.sum::<u64>()
    };
    // A stream that the run makes, and then the same, which is there.
    for (split, shards, more) in [(0, "2", &["--subscribers", "1"][..]), (1, "3", &[])] {
        let before = records(&mut |_| true);
        let load = ["--stream", "grows", "--cores", &cores, "--connections", "4"];
        let rate = ["--rate", "1000", "--batch-records", "20", "--duration", "4s"];
        let arguments = [&load[..], &rate, more].concat();
        let child = over_http_to(shards, scratch.path(), &endpoint, &arguments).spawn().unwrap();
        wait_for("records", || (records(&mut |_| true) > before + 200).then_some(()));
        // In the midst of the half of all keys that it has.
        let middle = (split << 127) + (1_u128 << 126);
        let names = format!("\"StreamName\":\"grows\",\"ShardToSplit\":\"shardId-00000000000{split}\"");
        let answer = ask(&endpoint, "SplitShard", &format!("{{{names},\"NewStartingHashKey\":\"{middle}\"}}"));
        assert!(answer.contains("200 OK"), "{answer}");
        let output = child.wait_with_output().unwrap();
        let (report, told) = (report(&output), message(&output));
        let verification = &report["verification"];
        assert!(matches!(output.status.code(), Some(0 | 4)) && verification["good"] == true, "{told}{verification}");
        assert_eq!((&verification["unknown"], &verification["read"]), (&0.into(), &verification["acknowledged"]));
        let children = 2 + 2 * split as u32..;
        assert!(records(&mut |at| children.contains(&at)) > 200, "nothing was written to what was split");
        assert_eq!(verification["read"], records(&mut |_| true) - before, "{verification}");
        let is_told = report["marks"].to_string().contains("of 2 shards that were born during the run");
        assert_eq!(is_told, !more.is_empty(), "{}", report["marks"]);
    }
    watched.server.stop().unwrap();
}

/// Bug, found on reading: requests that were due and never sent, as the one before them had no answer, had no latency.
#[test]
fn requests_that_are_never_sent_count() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let answers = AtomicUsize::new(0);
    let endpoint = between(address, move |body| {
        // The sixth comes after the end.
        if body.starts_with(b"{\"FailedRecordCount\"") && answers.fetch_add(1, Ordering::Relaxed) == 5 {
            std::thread::sleep(Duration::from_secs(2));
        }
        body
    });
    let arguments = ["--rate", "200", "--batch-records", "10", "--connections", "1", "--duration", "1s"];
    let output = over_http(scratch.path(), &endpoint, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", message(&output));
    let report = report(&output);
    assert!(report["measured"]["latency_ns"]["at"][0][1].as_u64() > Some(500_000_000), "{}", report["measured"]);
    watched.server.stop().unwrap();
}

/// Bug: over HTTP too an open loop of more than a core can hand out sent nothing, and kept each time in memory. Mechanism and fix: as
/// over the native protocol.
#[test]
fn an_open_loop_that_nobody_keeps_sends_what_it_can() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let late = late_marks(scratch.path(), &endpoint, &["--rate", "50M", "--duration", "300ms"]);
    assert!(late.contains("the generator itself could not keep up"), "{late}");
    watched.server.stop().unwrap();
}

/// An open loop of records that are due sooner than they are taken; what marks it.
fn late_marks(scratch: &Path, endpoint: &str, more: &[&str]) -> String {
    let arguments = [&["--operation", "put-record", "--record-bytes", "16"][..], more].concat();
    let output = over_http(scratch, endpoint, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", message(&output));
    let report = report(&output);
    assert!(report["measured"]["records"].as_u64() > Some(5), "{}", report["measured"]);
    let late = report["marks"].to_string();
    assert!(late.contains("records were not sent by the end"), "{late}");
    late
}

/// The same of a server that takes less than is due: it is not the generator that is late.
#[test]
fn an_open_loop_that_the_server_holds_up_is_handed_out_in_time() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let answers = AtomicUsize::new(0);
    let endpoint = between(address, move |body| {
        if body.starts_with(b"{\"ShardId\"") && answers.fetch_add(1, Ordering::Relaxed) >= 8 {
            std::thread::sleep(Duration::from_secs(3));
        }
        body
    });
    let late = late_marks(scratch.path(), &endpoint, &["--rate", "200k", "--duration", "3s", "--connections", "4"]);
    assert!(late.contains("the generator itself kept up: what waited did so for the server"), "{late}");
    watched.server.stop().unwrap();
}

/// Bug, found on reading: over HTTP/2 a slow server's fault was the generator's. Mechanism: nobody waited for a server that answered others
/// over the same connection meanwhile. Fix: those do who still wait once all that was there was read.
#[test]
fn over_http_2_too_it_is_the_server_that_is_late() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut server = TcpStream::connect(address).unwrap();
            client.set_nodelay(true).unwrap();
            let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                // From the first answers to records on, a byte at a time, for longer than the load goes on.
                let (mut passed, mut slow) = (0, None);
                let mut some = [0; 1 << 16];
                loop {
                    let is_slow =
                        passed > 8 << 10 && slow.get_or_insert_with(Instant::now).elapsed() < Duration::from_secs(4);
                    let room = if is_slow { 1 } else { some.len() };
                    let Ok(read @ 1..) = server.read(&mut some[..room]) else { break };
                    if client.write_all(&some[..read]).is_err() {
                        break;
                    }
                    passed += read;
                }
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    let more = ["--rate", "200k", "--duration", "3s", "--connections", "1", "--http", "2"];
    let late = late_marks(scratch.path(), &endpoint, &more);
    assert!(late.contains("the generator itself kept up: what waited did so for the server"), "{late}");
    watched.server.stop().unwrap();
}

/// Bug, found on reading: the second of repeated runs failed where a stream that is removed is there for a while. Mechanism: all of
/// them had the streams of one name. Fix: each makes streams of its own.
#[test]
fn each_repetition_makes_streams_of_its_own() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let output = over_http(scratch.path(), &endpoint, &["--bytes", "100kB", "--batch-records", "10", "--repeat", "2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let told = message(&output);
    let made: Vec<&str> = told.lines().filter(|line| line.contains(" is made for this run")).collect();
    assert!(made.len() == 2 && made[0] != made[1], "{told}");
    assert!(streams(&endpoint).contains("\"StreamNames\":[]"), "{}", streams(&endpoint));
    watched.server.stop().unwrap();
}

/// Bug, found on reading: Ctrl-C was not heard while a stream was made, and a second one left it there. Fix: it is, and what was made
/// is removed.
#[test]
fn ctrl_c_ends_the_wait_for_a_stream_and_removes_it() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let slow = between(address, |body| String::from_utf8(body).unwrap().replace("ACTIVE", "CREATING").into_bytes());
    let mut child = over_http(scratch.path(), &slow, &["--bytes", "100kB"]).spawn().unwrap();
    let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert!(line.contains(" is made for this run") && !streams(&endpoint).contains("\"StreamNames\":[]"), "{line}");
    signal(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    told.read_to_string(&mut line).unwrap();
    assert!(output.status.code() == Some(1) && line.contains("stopped by a signal before the load began"), "{line}");
    assert!(streams(&endpoint).contains("\"StreamNames\":[]"), "{}", streams(&endpoint));
    watched.server.stop().unwrap();
}

/// Bug, found on reading: the first Ctrl-C was not heard once the load was over, and the second threw away the result. Fix: it ends the
/// reading back, and the result says so.
#[test]
fn ctrl_c_ends_the_reading_back_and_keeps_the_result() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let is_reading = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_reading);
    let endless = between(address, move |body| {
        let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else { return body };
        if answer["MillisBehindLatest"].is_u64() {
            seen.store(true, Ordering::Relaxed);
            (answer["Records"], answer["MillisBehindLatest"]) = (Vec::<Value>::new().into(), 1000.into());
        }
        serde_json::to_vec(&answer).unwrap()
    });
    let child = over_http(scratch.path(), &endless, &["--bytes", "100kB", "--batch-records", "10"]).spawn().unwrap();
    wait_for("the reading back", || is_reading.load(Ordering::Relaxed).then_some(()));
    signal(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    let report = report(&output);
    assert_eq!((output.status.code(), marks(&report)), (Some(1), vec!["partial".to_owned()]), "{}", message(&output));
    assert!(report["marks"].to_string().contains("not verified to the end"), "{}", report["marks"]);
    assert!(report["verification"]["acknowledged"].as_u64() > Some(50) && report["verification"]["read"] == 0);
    assert!(streams(&endpoint).contains("\"StreamNames\":[]"), "{}", streams(&endpoint));
    watched.server.stop().unwrap();
}

/// Bug: the first Ctrl-C was not heard by who waited for an answer: half a minute. Fix: what is not answered a second after it is
/// of unknown fate.
#[test]
fn ctrl_c_ends_the_wait_for_answers() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    for more in [&[][..], &["--catch-up", "1"]] {
        let answers = Arc::new(AtomicUsize::new(0));
        let (seen, catches_up) = (Arc::clone(&answers), more.contains(&"--catch-up"));
        let slow = between(address, move |body| {
            let text = String::from_utf8_lossy(&body);
            let is_slow =
                if catches_up { text.contains("MillisBehindLatest") } else { text.contains("FailedRecordCount") };
            if is_slow && seen.fetch_add(1, Ordering::Relaxed) == 1 {
                std::thread::sleep(Duration::from_secs(25));
            }
            body
        });
        let arguments = [&["--batch-records", "10", "--rate", "1000", "--duration", "1h"][..], more].concat();
        let child = over_http(scratch.path(), &slow, &arguments).spawn().unwrap();
        wait_for("an answer that does not come", || (answers.load(Ordering::Relaxed) > 1).then_some(()));
        let asked = Instant::now();
        signal(child.id(), Signal::INT);
        let output = child.wait_with_output().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(12), "{more:?}: {:?}", asked.elapsed());
        let report = report(&output);
        assert_eq!(report["verification"]["good"], true, "{}", message(&output));
        assert_eq!(
            report["verification"]["unknown"].as_u64() > Some(0),
            !catches_up,
            "{more:?}: {}",
            report["verification"]
        );
    }
    watched.server.stop().unwrap();
}

/// Bug: Ctrl-C was not heard by subscribers that lacked something, nor where they took themselves off: half a minute. Fix: they are
/// waited for a second, and held against the account as far as they are.
#[test]
fn ctrl_c_ends_the_wait_of_subscribers() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let made = ["--stream", "kept", "--bytes", "100kB", "--batch-records", "10"];
    good(&over_http(scratch.path(), &endpoint, &made).output().unwrap());
    let mixed = ["--batch-records", "10", "--rate", "1000", "--duration", "1h", "--subscribers", "1"];
    let mixed = [&mixed[..], &["--connections", "1"]].concat();
    let consume = ["--stream", "kept", "--workload", "consume", "--by", "push"];
    for (arguments, begun, times, is_silent) in [
        // Of what has no length nothing is passed on, and so nothing pushed. When the second answer comes the first has been taken.
        (&mixed[..], "FailedRecordCount", 2, false),
        (&consume, "\"ConsumerStatus\":\"ACTIVE\"", 1, true),
    ] {
        let has_begun = Arc::new(AtomicUsize::new(0));
        let (seen, asked) = (Arc::clone(&has_begun), Arc::new(AtomicBool::new(false)));
        let is_over = Arc::clone(&asked);
        let endpoint = between(address, move |body| {
            if is_silent && is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_secs(25));
            }
            seen.fetch_add(usize::from(String::from_utf8_lossy(&body).contains(begun)), Ordering::Relaxed);
            body
        });
        let child = over_http(scratch.path(), &endpoint, arguments).spawn().unwrap();
        wait_for("the load", || (has_begun.load(Ordering::Relaxed) >= times).then_some(()));
        asked.store(true, Ordering::Relaxed);
        let began = Instant::now();
        signal(child.id(), Signal::INT);
        let output = child.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(10), "{arguments:?}: {:?}", began.elapsed());
        let (report, told) = (report(&output), message(&output));
        // The machine may be busy, and the generator late.
        assert!(matches!(output.status.code(), Some(0 | 4)), "{told}");
        let marks = report["marks"].to_string();
        let expected = if is_silent { "may be left on its stream" } else { "before subscribers had all" };
        assert!(marks.contains("stopped by a signal") && marks.contains(expected), "{marks}");
        assert_eq!(report["verification"]["good"], true, "{told}");
    }
    watched.server.stop().unwrap();
}

/// Bug, found on reading: a consumer that was not active a second after the end was left on its stream, and nobody was told. Mechanism:
/// its name was known only once it was. Fix: it is known at once, and taken off; where it is not known that is told.
#[test]
fn consumers_that_are_not_active_by_the_end_are_taken_off_or_told() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let made = ["--stream", "kept", "--streams", "2", "--bytes", "100kB", "--batch-records", "10"];
    good(&over_http(scratch.path(), &endpoint, &made).output().unwrap());
    for is_silent in [false, true] {
        let between = between(address, move |body| {
            let told = String::from_utf8_lossy(&body);
            if !told.contains("\"ConsumerStatus\"") {
                return body;
            }
            if is_silent {
                std::thread::sleep(Duration::from_secs(25));
            }
            told.replace("\"ACTIVE\"", "\"CREATING\"").into_bytes()
        });
        let consume = ["--stream", "kept", "--streams", "2", "--workload", "consume", "--by", "push"];
        let began = Instant::now();
        let consume = [&consume[..], &["--duration", "1s"]].concat();
        let output = over_http(scratch.path(), &between, &consume).output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let (marks, told) = (report(&output)["marks"].to_string(), message(&output));
        let name = "subscriber 0: millstream-load-";
        assert_eq!(
            marks.contains(name) && marks.contains("may be left on its stream kept-0"),
            is_silent,
            "{marks} {told}"
        );
        let left = consumers(&endpoint, "kept-0");
        assert_eq!(left.contains("\"Consumers\":[]"), !is_silent, "{left}");
    }
    watched.server.stop().unwrap();
}

/// Bug, found on reading: of the streams that a consumer could not be taken off only the first was told. Fix: all are tried, and told.
#[test]
fn each_stream_that_a_consumer_may_be_left_on_is_told() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let made = ["--stream", "kept", "--streams", "2", "--bytes", "100kB", "--batch-records", "10"];
    good(&over_http(scratch.path(), &endpoint, &made).output().unwrap());
    let consume = ["--stream", "kept", "--streams", "2", "--workload", "consume", "--by", "push", "--duration", "1s"];
    // The answer to who takes itself off is empty; this one is none of the API's.
    let garbled = between(address, |body| if matches!(&*body, b"" | b"{}") { b"<html>no".to_vec() } else { body });
    let output = over_http(scratch.path(), &garbled, &consume).output().unwrap();
    let marks = report(&output)["marks"].to_string();
    for stream in ["kept-0", "kept-1"] {
        let is_told = |mark: &str| mark.contains(&format!("stream/{stream}/consumer/")) && mark.contains("<html>no");
        assert!(marks.split("subscriber 0: ").any(is_told), "{stream}: {marks}");
    }
    watched.server.stop().unwrap();
}

/// An endpoint that does the same with whoever connects.
fn liar(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
    endpoint
}

/// Reads what there is of a request, and answers it so.
fn say(answer: &'static [u8]) -> String {
    liar(move |mut client| {
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(answer);
    })
}

#[test]
fn endpoints_that_are_none_are_told_in_one_line() {
    let scratch = directory();
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mute = liar(std::mem::forget);
    let endless = liar(|mut client| {
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while client.write_all(b"1000\r\n").and_then(|()| client.write_all(&[b'x'; 0x1000])).is_ok()
            && client.write_all(b"\r\n").is_ok()
        {}
    });
    let mute_tls = mute.replace("http", "https");
    for (endpoint, parts) in [
        (&*nobody, ["cannot connect to", "check its name and port"]),
        ("http://127.0.0.1:1/stage", ["has a path", "give one such as"]),
        (&*mute, ["did not answer for 0.4 s", "--open-timeout"]),
        (&*mute_tls, ["did not answer for 0.4 s", "--open-timeout"]),
        (&*say(b"SSH-2.0-OpenSSH\r\n"), ["the connection to", "invalid HTTP version"]),
        (&*say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"), ["does not answer as the Kinesis API does", "yes"]),
        (&*say(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"half"), ["the connection to", "CreateStream"]),
        (&*say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), ["refused CreateStream", "HTTP 404"]),
        (&*endless, ["does not answer as the Kinesis API does", "more than 1048576 bytes"]),
    ] {
        let begun = Instant::now();
        let output = over_http(scratch.path(), endpoint, &["--open-timeout", "400ms"]).output().unwrap();
        let message = message(&output);
        assert_eq!(output.status.code(), Some(1), "{endpoint}: {message}");
        let line = message.trim_end();
        let is_one = line.starts_with("millstream-load: ") && line.lines().count() == 1;
        assert!(is_one && parts.iter().all(|part| line.contains(part)), "{endpoint}, {parts:?}: {line}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{endpoint}");
    }
    let mut command = over_http(scratch.path(), &nobody, &[]);
    let output = command.env("AWS_ACCESS_KEY_ID", "half").output().unwrap();
    assert!(message(&output).contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{}", message(&output));
}

/// Takes TLS off what goes to the server, for a name that nobody but [`CERTIFICATE`] vouches for.
fn with_tls(server: SocketAddr, protocol: &str) -> String {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_file(CERTIFICATE.replace(".pem", ".key")).unwrap();
    let mut config = builder.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
    endpoint
}

/// Of localhost, made for these tests alone, with the key beside it.
pub(crate) const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_server/localhost.pem");

#[test]
fn by_tls_the_version_is_agreed_on_and_who_is_not_vouched_for_is_told() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    for (protocol, name) in [("h2", "HTTP/2, PutRecords"), ("http/1.1", "HTTP/1.1, PutRecords")] {
        let endpoint = with_tls(address, protocol);
        let mut command = over_http(scratch.path(), &endpoint, &["--bytes", "1MB", "--ca", CERTIFICATE]);
        // The system's name of this host may have another address, which is not loopback then.
        command.envs([("AWS_ACCESS_KEY_ID", "some"), ("AWS_SECRET_ACCESS_KEY", "thing")]);
        let report = good(&command.output().unwrap());
        assert_eq!(report["load"]["protocol"], name);
    }
    let endpoint = with_tls(address, "http/1.1");
    for (arguments, part) in [
        (&["--ca", CERTIFICATE, "--http", "2"][..], "cannot shake hands with"),
        (&["--ca", "/nowhere"], "--ca /nowhere: "),
        (&[], "certificate"),
    ] {
        let output = over_http(scratch.path(), &endpoint, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(message(&output).contains(part), "{arguments:?}: {}", message(&output));
    }
    watched.server.stop().unwrap();
}

/// Bug, found on reading: a request that nothing had left of by the end was of unknown fate. Fix: it was not sent.
#[test]
fn a_request_that_never_left_was_not_sent() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let secure = with_tls(address, "http/1.1");
    let secure: SocketAddr = secure.replace("https://localhost", "127.0.0.1").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    // Once it is to, whoever is in front ends connections, and shakes hands with nobody until one has had enough.
    let (is_mute, has_connected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (mute, connected) = (Arc::clone(&is_mute), Arc::clone(&has_connected));
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            if mute.load(Ordering::Relaxed) {
                connected.store(true, Ordering::Relaxed);
                let _ = std::io::copy(&mut client, &mut std::io::sink());
                mute.store(false, Ordering::Relaxed);
                continue;
            }
            let mut server = TcpStream::connect(secure).unwrap();
            let (mut to_server, mut from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let mute = Arc::clone(&mute);
            std::thread::spawn(move || {
                let mut some = [0; 1 << 16];
                while let Ok(read @ 1..) = server.read(&mut some) {
                    if client.write_all(&some[..read]).is_err() || mute.load(Ordering::Relaxed) {
                        break;
                    }
                }
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    let more = ["--batch-records", "10", "--rate", "40", "--duration", "1h", "--connections", "1", "--ca", CERTIFICATE];
    let named = ["--stream", "named", "--open-timeout", "1h"];
    let mut command = over_http(scratch.path(), &endpoint, &[&more[..], &named].concat());
    command.envs([("AWS_ACCESS_KEY_ID", "some"), ("AWS_SECRET_ACCESS_KEY", "thing")]);
    let child = command.spawn().unwrap();
    let native = Target::new(watched.address());
    wait_for("a record", || {
        let told = prepare_streams(&native, &["named".to_owned()], (2, None), watched.core).ok()?;
        told.streams[0].shards.iter().any(|shard| shard.tip.0 > 1).then_some(())
    });
    is_mute.store(true, Ordering::Relaxed);
    wait_for("another connection", || has_connected.load(Ordering::Relaxed).then_some(()));
    signal(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    let report = report(&output);
    let verification = &report["verification"];
    assert_eq!((&verification["good"], &verification["unknown"]), (&true.into(), &0.into()), "{}", message(&output));
    let marks = report["marks"].to_string();
    assert!(marks.contains("records were due and not sent by the end"), "{marks}");
    watched.server.stop().unwrap();
}

#[test]
fn an_endpoint_that_gives_the_same_again_and_again_is_read_no_further() {
    let scratch = directory();
    let (watched, endpoint) = server(scratch.path(), &["--quotas=none"]);
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let first = std::sync::OnceLock::new();
    let endpoint = between(address, move |body| {
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_read = answer["MillisBehindLatest"].is_u64();
        if is_read && !answer["Records"].as_array().unwrap().is_empty() {
            first.get_or_init(|| body.clone());
        }
        if is_read { first.get().cloned().unwrap_or(body) } else { body }
    });
    let arguments = ["--bytes", "6kB", "--batch-records", "1", "--connections", "1"];
    let output = over_http(scratch.path(), &endpoint, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", message(&output));
    let told = report(&output)["verification"]["faults_told"].to_string();
    assert!(told.contains("an answer ends with"), "{told}");
    watched.server.stop().unwrap();
}
