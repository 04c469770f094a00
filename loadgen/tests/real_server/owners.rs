//! A server with two reactors: what concerns a shard goes to the one that owns it, unless told otherwise.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use frame::proto::{Client, ClientEvent};

use super::http::CERTIFICATE;
use super::*;

/// A server with two reactors.
fn two_reactors(scratch: &Path) -> Watched {
    Watched::start_with(scratch, &["--reactors=2", "--memory-bytes=256MiB"])
}

/// A figure of the server by its labels, each line of it.
fn figures(watched: &Watched, name: &str) -> BTreeMap<String, f64> {
    let mut admin = TcpStream::connect(watched.server.admin().unwrap()).unwrap();
    admin.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    admin.read_to_string(&mut answer).unwrap();
    let lines = answer.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let figures: BTreeMap<String, f64> = lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(of, value)| (of.to_owned(), value.parse().unwrap()))
        .collect();
    assert!(!figures.is_empty(), "{name} is not in {answer}");
    figures
}

fn handed_records(watched: &Watched) -> f64 {
    figures(watched, "millstream_handed_records_total").into_values().sum()
}

/// Runs against it, and finds everything in order.
fn run_at(watched: &Watched, scratch: &Path, arguments: &[&str]) -> Value {
    let address = watched.address().to_string();
    let output = load(scratch, &["--target", &address]).args(arguments).output().unwrap();
    // A busy machine may make the generator late.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{arguments:?}: {}", message(&output));
    let report = report(&output);
    assert_eq!(report["verification"]["good"], true, "{arguments:?}");
    // What comes while a shard moves is refused.
    let others: Vec<String> = marks(&report).into_iter().filter(|mark| mark != "refused").collect();
    assert_eq!((others, &report["server"]["reactors"]), (vec![], &2.into()), "{arguments:?}");
    report
}

#[test]
fn nothing_is_handed_on_that_goes_to_its_owner() {
    let scratch = directory();
    let watched = two_reactors(scratch.path());
    let loads: [&[&str]; 5] = [
        &["--bytes", "8MB", "--shards", "5", "--keys", "zipf:1000,1.1", "--subscribers", "2", "--stalled", "1"],
        &[
            "--duration",
            "1s",
            "--rate",
            "20000",
            "--arrivals",
            "poisson",
            "--batch-records",
            "7",
            "--read-back",
            "push",
        ],
        &["--bytes", "8MB", "--streams", "9", "--shards", "1", "--connections", "2", "--keys", "hot:0.3"],
        &["--duration", "1s", "--rate", "2000", "--beside", "connections=2,record-bytes=1500KB,rate=20,shards=2"],
        &["--workload", "mixed", "--by", "push", "--duration", "1s", "--rate", "5000"],
    ];
    for arguments in loads {
        let report = run_at(&watched, scratch.path(), arguments);
        assert_eq!((handed_records(&watched), &report["load"]["route"]), (0.0, &"owners".into()), "{arguments:?}");
        if report["pushed"].is_object() {
            let all = report["verification"]["acknowledged"].as_u64().unwrap()
                * report["pushed"]["subscribers"].as_u64().unwrap();
            assert_eq!((&report["pushed"]["records_total"], &report["pushed"]["faults"]), (&all.into(), &0.into()));
        }
    }
    watched.server.stop().unwrap();
}

/// And so it is over TLS.
#[test]
fn over_tls_nothing_is_handed_on_either() {
    let scratch = directory();
    let certificate = format!("--tls-certificate={CERTIFICATE}");
    let key = format!("--tls-key={}", CERTIFICATE.replace(".pem", ".key"));
    let alone = "--native-plaintext=false";
    let watched =
        Watched::start_with(scratch.path(), &["--reactors=2", "--memory-bytes=256MiB", &certificate, &key, alone]);
    // By its name, which is in the certificate as well as the address.
    let target = format!("localhost:{}", watched.address().port());
    let loads: [&[&str]; 3] = [
        &["--bytes", "8MB", "--shards", "5", "--subscribers", "2", "--read-back", "push"],
        &["--bytes", "15MB", "--record-bytes", "1500KB", "--batch-records", "1", "--shards", "2"],
        &["--workload", "mixed", "--duration", "1s", "--rate", "5000"],
    ];
    for arguments in loads {
        let mut command = load(scratch.path(), &["--target", &target, "--tls-ca", CERTIFICATE]);
        let output = command.args(arguments).output().unwrap();
        // A busy machine may make the generator late.
        assert!(matches!(output.status.code(), Some(0 | 4)), "{arguments:?}: {}", message(&output));
        let report = report(&output);
        assert_eq!(report["verification"]["good"], true, "{arguments:?}");
        assert_eq!((&report["load"]["protocol"], &report["load"]["io"]), (&"native over TLS".into(), &"epoll".into()));
        assert_eq!((handed_records(&watched), &report["load"]["route"]), (0.0, &"owners".into()), "{arguments:?}");
    }
    let accepted = figures(&watched, "millstream_accepted_connections_total");
    assert!(accepted.len() == 2 && accepted.values().all(|&connections| connections > 0.0), "{accepted:?}");
    watched.server.stop().unwrap();
}

#[test]
fn everything_is_handed_on_where_that_is_what_is_measured_or_cannot_be_helped() {
    let scratch = directory();
    let watched = two_reactors(scratch.path());
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights-600.json");
    let loads: [(&[&str], &str); 4] = [
        (&["--bytes", "4MB", "--route", "any", "--subscribers", "1"], "any"),
        (&["--bytes", "4MB", "--connections", "1"], "owners, producers any"),
        (&["--bytes", "4MB", "--beside", "shards=4,rate=100", "--rate", "2000"], "owners, beside any"),
        (&["--input", example, "--key", "origin"], "owners, producers any"),
    ];
    let mut before = 0.0;
    for (arguments, route) in loads {
        let report = run_at(&watched, scratch.path(), arguments);
        let handed = handed_records(&watched);
        assert!(handed > before, "{arguments:?}");
        assert_eq!(report["load"]["route"], route, "{arguments:?}");
        before = handed;
    }
    watched.server.stop().unwrap();
}

/// Of what is read nothing lies with another reactor: consumers ask each for its own.
#[test]
fn consumers_ask_owners_too() {
    let scratch = directory();
    let watched = two_reactors(scratch.path());
    let target = ["--stream", "shared", "--shards", "3"];
    let written = run_at(&watched, scratch.path(), &[&target[..], &["--bytes", "5MB"]].concat());
    let accepted_by_the_second = || {
        let accepted = figures(&watched, "millstream_accepted_connections_total");
        accepted.iter().find(|(of, _)| of.contains("reactor=\"1\"")).map(|(_, &connections)| connections).unwrap()
    };
    for (by, route, connections) in [("read", "owners", 2.0), ("push", "owners", 2.0), ("push", "any", 0.0)] {
        let before = accepted_by_the_second();
        let consume = ["--stream", "shared", "--workload", "consume", "--subscribers", "2"];
        let consume = [&consume[..], &["--by", by, "--route", route]].concat();
        let report = run_at(&watched, scratch.path(), &consume);
        let taken = report["measured"]["records_total"].as_u64().unwrap();
        assert_eq!(Some(taken), written["verification"]["acknowledged"].as_u64().map(|records| 2 * records), "{by}");
        assert_eq!(accepted_by_the_second() - before, connections, "{by}, {route}");
    }
    watched.server.stop().unwrap();
}

#[test]
fn an_owner_that_cannot_be_reached_is_told_with_what_to_change() {
    let scratch = directory();
    let watched = two_reactors(scratch.path());
    // As a forwarded port: of the server's reactors the first alone is reached, at another address.
    let forwarded = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let (address, server) = (forwarded.local_addr().unwrap().to_string(), watched.address());
    std::thread::spawn(move || {
        for from in forwarded.incoming() {
            let (from, to) = (from.unwrap(), TcpStream::connect(server).unwrap());
            for (mut from, mut to) in [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    let output = load(scratch.path(), &["--target", &address, "--bytes", "1MB"]).output().unwrap();
    let message = message(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("one of its reactors listens") && message.contains("--route any"), "{message}");
    let output = load(scratch.path(), &["--target", &address, "--bytes", "1MB", "--route", "any"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", self::message(&output));
    watched.server.stop().unwrap();
}

#[test]
fn shards_may_move_all_the_while() {
    let scratch = directory();
    let watched = two_reactors(scratch.path());
    let is_over = AtomicBool::new(false);
    let mut moves = 0;
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| move_all_the_while(watched.address(), &is_over));
        for _ in 0..3 {
            let arguments = ["--stream", "watched", "--shards", "4", "--subscribers", "4", "--catch-up", "1"];
            let arguments =
                [&arguments[..], &["--duration", "500ms", "--rate", "500", "--batch-records", "1"]].concat();
            run_at(&watched, scratch.path(), &arguments);
        }
        is_over.store(true, Ordering::Relaxed);
        moves = mover.join().unwrap();
    });
    assert!(moves > 10, "{moves}");
    watched.server.stop().unwrap();
}

/// Moves the shards of the stream of that run from reactor to reactor until it is over: how often.
fn move_all_the_while(server: SocketAddr, is_over: &AtomicBool) -> u32 {
    let mut stream = TcpStream::connect(server).unwrap();
    let (mut out, mut moves) = (Vec::new(), 0);
    let mut client = Client::new(&mut out);
    let mut some = vec![0; 64 << 10];
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(&std::mem::take(&mut out)).unwrap();
        let (bytes, mut at) = (stream.read(&mut some).unwrap(), 0);
        assert!(bytes > 0, "the server closed it");
        while let Some(event) = client.step(&some[..bytes], &mut at).unwrap() {
            match event {
                ClientEvent::Stream(_, stream) => {
                    moves += 1;
                    let shard = stream.shards[moves as usize % stream.shards.len()];
                    client.move_shard(&mut out, "watched", shard.shard, 1 - shard.reactor);
                }
                // There is no stream yet, or a shard is still on its way.
                ClientEvent::Welcome(_) | ClientEvent::Error(..) => drop(client.describe_stream(&mut out, "watched")),
                _ => {}
            }
        }
    }
    moves
}
