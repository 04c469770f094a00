//! The admin port: metrics that add up, and health.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use frame::proto::{AckResult, Start};
use frame::{Quotas, QuotasChange, Sequence};
use rustix::process::Signal;
use serde_json::{Value, json};

use server::client::Batch;

use crate::file_systems::cut_disk;
use crate::gateway::{HELLO, good, refused};
use crate::retention::{fill, until};
use crate::rig::{PATIENCE, Server, directory, millstream, serve, store};

/// Status, head and body of an answer.
fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// Every sample by its name and labels.
pub(crate) fn samples(server: &Server) -> BTreeMap<String, f64> {
    let (status, head, body) = ask(server.admin.unwrap(), "GET", "/metrics");
    assert!(status == 200 && head.contains("content-type: application/openmetrics-text"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The status of health, and what it tells.
pub(crate) fn health(server: &Server) -> (u16, Value) {
    let (status, _, body) = ask(server.admin.unwrap(), "GET", "/health");
    (status, serde_json::from_str(&body).unwrap())
}

/// The sum of a family over all its labels.
pub(crate) fn total(samples: &BTreeMap<String, f64>, family: &str) -> f64 {
    let own = samples.iter().filter(|(name, _)| name.split('{').next() == Some(family));
    let values: Vec<f64> = own.map(|(_, value)| *value).collect();
    assert!(!values.is_empty(), "{family} is not told: {samples:?}");
    values.iter().sum()
}

#[test]
fn metrics_add_up() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "off", "--reactors", "2", "--data"]);
    command.arg(&data).args(["--segment-bytes", "4MiB", "--segments-ready", "1"]);
    let server = Server::start_command(&data, command);
    let mut client = server.client();
    let stream = client.create_stream("seen", 4, Quotas::NONE).unwrap();
    for key in 0..8 {
        store(&mut client, stream.stream, &key.to_string(), vec![vec![7; 1000]; 50]);
    }
    // One who subscribes and grants nothing is behind by all there is.
    let mut behind = server.client();
    let described = client.describe_stream("seen").unwrap();
    let shard = described.shards.iter().max_by_key(|shard| shard.tip).unwrap().shard;
    behind.subscribe(stream.stream, shard, Start::At(frame::Sequence(1)), 0).unwrap();
    behind.next_pushed().unwrap();
    // A flush that is under way, such as that of an idle mark, is counted and not timed yet.
    let are_timed =
        |samples: &_| total(samples, "millstream_commit_seconds_count") == total(samples, "millstream_flushes_total");
    let mut looks = (0..100).map(|_| samples(&server));
    let samples = looks.find(are_timed).expect("each flush is timed");
    let tips: u64 = client.describe_stream("seen").unwrap().shards.iter().map(|shard| shard.tip.0 - 1).sum();
    assert_eq!(tips, 400);
    // The catalog's command is a record as well.
    assert_eq!(total(&samples, "millstream_records_total"), 401.0);
    assert!(total(&samples, "millstream_handed_records_total") > 0.0, "half of the shards are the other's");
    let (bytes, flushes) =
        (total(&samples, "millstream_written_bytes_total"), total(&samples, "millstream_flushes_total"));
    assert!(bytes > 400_000.0 && flushes >= 4.0 && bytes % 4096.0 == 0.0, "{bytes} bytes in {flushes} flushes");
    assert_eq!(total(&samples, "millstream_reactor_up"), 2.0);
    assert_eq!(total(&samples, "millstream_subscriptions"), 1.0);
    let lag = format!("millstream_subscriber_lag_records{{stream=\"seen\",shard=\"{shard}\"");
    let lag = samples.iter().find(|(name, _)| name.starts_with(&lag)).unwrap_or_else(|| panic!("{lag}: {samples:?}"));
    let tip = client.describe_stream("seen").unwrap().shards.iter().find(|one| one.shard == shard).unwrap().tip;
    assert_eq!(*lag.1, (tip.0 - 1) as f64, "{lag:?}");
    for (name, used) in samples.iter().filter(|(name, _)| name.starts_with("millstream_memory_bytes{")) {
        let budget = samples[&name.replace("millstream_memory_bytes{", "millstream_memory_use_budget_bytes{")];
        assert!(*used <= budget, "{name} takes {used} of {budget}");
    }
    assert!(total(&samples, "millstream_reactor_cpu_seconds_total") > 0.0);
    assert!(total(&samples, "millstream_resident_bytes") > 1e6);
    assert!(total(&samples, "millstream_disk_free_bytes") <= total(&samples, "millstream_disk_bytes"));
    server.stop();
}

#[test]
fn throttles_and_requests_are_counted() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let http = server.http.unwrap();
    let few: QuotasChange = "none,write-records=1".parse().unwrap();
    let mut client = server.client();
    let stream = client.create_stream("slow", 1, few.of(Quotas::NONE)).unwrap();
    let mut batch = Batch::default();
    (0..5).for_each(|_| assert!(batch.push(b"k", b"x").unwrap()));
    client.append(stream.stream, &batch).unwrap();
    good(http, "ListStreams", &json!({}));
    refused(http, "DescribeStreamSummary", &json!({"StreamName": "none"}));
    refused(http, "NoSuchAction", &json!({}));
    let samples = samples(&server);
    let throttled = samples["millstream_throttles_total{reactor=\"0\",limit=\"write-records\"}"];
    assert_eq!(throttled, 4.0);
    assert_eq!(total(&samples, "millstream_refused_records_total"), 4.0);
    for (labels, count) in [
        ("action=\"ListStreams\",status=\"200\"", 1.0),
        ("action=\"DescribeStreamSummary\",status=\"400\"", 1.0),
        ("action=\"unknown\",status=\"400\"", 1.0),
    ] {
        assert_eq!(samples.get(&format!("millstream_http_requests_total{{{labels}}}")), Some(&count), "{samples:?}");
    }
    assert_eq!(total(&samples, "millstream_http_request_duration_seconds_count"), 3.0);
}

#[test]
fn health_says_that_all_is_well() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let admin = server.admin.unwrap();
    let (status, head, body) = ask(admin, "GET", "/health");
    assert_eq!((status, body.as_str()), (200, "{\"status\":\"ok\",\"reactors\":[{\"reactor\":0,\"state\":\"ok\"}]}\n"));
    assert!(head.contains("application/json"));
    server.stop();
}

#[test]
fn health_says_what_fails_once_a_flush_has() {
    let directory = directory();
    let Some((disk, path)) = cut_disk(directory.path()) else { return };
    // Into space that is written already, so that a commit is a flush of the device and nothing of the file system's own.
    let command = serve(&path.join("data"), &["--prewrite", "true"]);
    let server = Server::start_command(&directory.path().join("data"), command);
    let mut client = server.client();
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
    let refuses = || total(&samples(&server), "millstream_refuses_appends");
    assert_eq!(refuses(), 0.0);
    disk.fail_flushes(1);
    let mut batch = Batch::new();
    assert!(batch.push(b"k", b"x").unwrap());
    until("appends are refused", || {
        let appended = client.append(stream.stream, &batch);
        !appended.is_ok_and(|results| matches!(results[..], [AckResult::Durable(..)]))
    });
    let (status, _, body) = ask(server.admin.unwrap(), "GET", "/health");
    let expected = json!({
        "status": "failing", "reactors": [{ "reactor": 0, "state": "refuses_appends", "errno": 5 }],
    });
    assert_eq!((status, body.parse().ok()), (503, Some(expected)));
    assert_eq!(refuses(), 1.0);
    server.kill();
}

/// A disk that answers nobody keeps all of them filled.
#[test]
fn queues_are_told_while_something_is_in_them() {
    let queues = ["intake_bytes", "commits_in_flight", "reads_waiting", "calls_waiting"];
    let queues = queues.map(|queue| format!("millstream_{queue}"));
    let [_, commits, ..] = &queues;
    let directory = directory();
    let Some((disk, path)) = cut_disk(directory.path()) else { return };
    let start = || {
        let command = serve(&path.join("data"), &["--writes-in-flight", "1"]);
        Server::start_command(&directory.path().join("data"), command)
    };
    let server = start();
    let stream = server.client().create_stream("s", 1, Quotas::NONE).unwrap();
    fill(&mut server.client(), &stream, 20);
    server.stop();
    // Nothing of it is in memory any more.
    let server = start();
    let waiting = || {
        let mut samples = samples(&server);
        // A reactor that had no time to answer tells nothing.
        while total(&samples, "millstream_reactor_up") == 0.0 {
            samples = self::samples(&server);
        }
        queues.iter().filter(|queue| total(&samples, queue) > 0.0).collect::<Vec<_>>()
    };
    let [mut reads, mut first, mut second] = [(); 3].map(|()| server.client());
    until("what a start writes is done", || waiting().is_empty());
    let put = json!({ "StreamName": "s", "PartitionKey": "k", "Data": HELLO });
    thread::scope(|scope| {
        let held = disk.hold();
        let (number, shard) = (stream.stream, stream.shards[0].shard);
        scope.spawn(move || store(&mut first, number, "k", ["stored"]));
        until("a commit is in flight", || waiting().contains(&commits));
        // There is no other.
        scope.spawn(move || store(&mut second, number, "k", ["stored"]));
        scope.spawn(|| good(server.http.unwrap(), "PutRecord", &put));
        scope.spawn(move || assert!(!reads.read(number, shard, Sequence(1), 1 << 20).unwrap().is_empty()));
        until("something is in each of them", || waiting().len() == queues.len());
        drop(held);
    });
    until("all of it is done", || waiting().is_empty());
    server.stop();
}

#[test]
fn other_requests_are_refused_in_words() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let admin = server.admin.unwrap();
    assert_eq!(ask(admin, "GET", "/").0, 200);
    assert_eq!(ask(admin, "HEAD", "/health").0, 200);
    let (status, _, body) = ask(admin, "GET", "/secrets");
    assert!(status == 404 && body.contains("/metrics"), "{body}");
    let (status, head, _) = ask(admin, "POST", "/metrics");
    assert!(status == 405 && head.contains("allow: get"), "{head}");
    server.signal(Signal::TERM);
    server.ended();
    let off = Server::start_with(&directory.path().join("off"), &["--admin", "off"]);
    assert_eq!(off.admin, None);
    off.stop();
}
