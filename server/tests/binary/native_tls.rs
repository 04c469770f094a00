//! The native port where there is TLS: everything that it has, over TLS and in clear.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::path::Path;

use client::{Options, ProducerOptions, StreamStart, Tls};
use frame::Quotas;
use frame::proto::ErrorCode;
use rustls::pki_types::ServerName;
use server::client::{Client, Fault, Timeouts};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::access::secret_file;
use crate::admin::{samples, total};
use crate::deaf::hold_nobody_up;
use crate::gateway::connect;
use crate::native::{give, options};
use crate::rig::{PATIENCE, SMALL, Server, directory, millstream, read_all, run, store};
use crate::tls::{connect_as, is_open, trusting};
use crate::tls_files::Pair;

/// Takes clear text and passes it on over TLS, as programs do that have none of their own; where it is, as long as the runtime
/// lives.
pub(crate) struct Tunnel {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Tunnel {
    pub(crate) fn to(address: SocketAddr, certificate: &Path) -> Tunnel {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connector = TlsConnector::from(trusting(certificate, &[]));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let here = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move {
                    let far = TcpStream::connect(address).await.unwrap();
                    let name = ServerName::try_from("localhost").unwrap();
                    let Ok(mut far) = connector.connect(name, far).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Tunnel { address: here, _runtime: runtime }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address, Timeouts { connect: PATIENCE, answer: PATIENCE }).unwrap()
    }
}

/// Only over TLS, by a certificate of its own.
const TLS_ALONE: [&str; 3] = ["--tls-self-signed", "--native-plaintext", "false"];

/// A server of two reactors, which clients find again when it has ended.
fn two_reactors(data: &Path, port: u16, more: &[&str]) -> Server {
    let native = format!("127.0.0.1:{port}");
    let mut command = millstream(["serve", "--native", &native, "--http", "off", "--reactors", "2"]);
    command.args(&SMALL[..4]).args(["--memory-bytes", "256MiB"]).args(TLS_ALONE).args(more).arg("--data").arg(data);
    Server::start_command(data, command)
}

/// How programs with TLS of their own reach it.
fn secure(server: &Server) -> Options {
    let config = trusting(server.certificate.as_ref().unwrap(), &[]);
    Options { tls: Some(Tls { config, name: ServerName::try_from("localhost").unwrap() }), ..options(server.address) }
}

/// Records of some lengths, more than one record of TLS among them, and more than a socket takes at once. Those of a key in order.
async fn to_owners(server: &Server) {
    let client = client::Client::connect(secure(server)).await.unwrap();
    client.create_stream("s", 4, Quotas::NONE).await.unwrap();
    let producer = client.producer("s", ProducerOptions::default()).await.unwrap();
    let mut records = client.subscribe_stream("s", StreamStart::Oldest).await.unwrap();
    let sizes = [1, 100, 20_000, 900_000];
    for number in 0..200_usize {
        let data = vec![number as u8; sizes[number % sizes.len()]];
        drop(producer.send(&number.to_le_bytes(), &data).await.unwrap());
    }
    producer.close().await.unwrap();
    let (mut seen, mut shards) = (vec![0; 200], BTreeSet::new());
    for _ in 0..200 {
        let record = tokio::time::timeout(PATIENCE, records.next()).await.unwrap().unwrap().unwrap();
        let number = usize::from_le_bytes(record.key[..].try_into().unwrap());
        assert!(record.data == vec![number as u8; sizes[number % sizes.len()]]);
        seen[number] += 1;
        shards.insert(record.shard);
    }
    assert!(seen.iter().all(|&times| times == 1));
    assert_eq!(shards.len(), 4, "each reactor has some");
    let samples = samples(server);
    assert_eq!(total(&samples, "millstream_handed_records_total"), 0.0, "all went to their owners");
    for reactor in 0..2 {
        let accepted = format!("millstream_accepted_connections_total{{reactor=\"{reactor}\"}}");
        assert!(samples[&accepted] >= 2.0, "the producer's and the subscription's: {samples:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_too_what_concerns_a_shard_goes_to_its_owner() {
    for kind in ["ring", "threads"] {
        let directory = directory();
        let server = two_reactors(&directory.path().join("data"), 0, &["--io", kind]);
        to_owners(&server).await;
        // Somebody else, and somebody without TLS.
        let good = secure(&server);
        let named = Tls { name: ServerName::try_from("example.org").unwrap(), ..good.tls.clone().unwrap() };
        let error = client::Client::connect(Options { tls: Some(named), ..good }).await.err().unwrap();
        assert!(error.fault() == Fault::Caller && error.to_string().contains("can't be trusted"), "{error}");
        let error = client::Client::connect(options(server.address)).await.err().unwrap();
        assert!(error.fault() == Fault::Caller && error.to_string().contains("TLS alone"), "{error}");
        server.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_over_tls_find_a_server_again_that_was_killed() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = two_reactors(&data, 0, &[]);
    let port = server.address.port();
    let client = client::Client::connect(secure(&server)).await.unwrap();
    client.create_stream("once", 4, Quotas::NONE).await.unwrap();
    let producer = client.producer("once", ProducerOptions::named("orders")).await.unwrap();
    let mut records = client.subscribe_stream("once", StreamStart::Oldest).await.unwrap();
    const RECORDS: usize = 3000;
    for step in 0..3 {
        let mut given = give(&producer, RECORDS * step / 3..RECORDS * (step + 1) / 3).await.into_iter();
        for pending in given.by_ref().take(100) {
            pending.await.unwrap();
        }
        server.kill();
        server = two_reactors(&data, port, &[]);
        for pending in given {
            pending.await.unwrap();
        }
    }
    producer.close().await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < RECORDS {
        let record = tokio::time::timeout(PATIENCE, records.next()).await.unwrap().unwrap().unwrap();
        let number = String::from_utf8(record.data).unwrap().split(' ').next().unwrap().to_owned();
        assert!(seen.insert(number), "no record comes twice");
    }
    let certificate = server.certificate.as_ref().unwrap().to_str().unwrap();
    let read = run(server.command(["tail", "once", "--tls-ca", certificate]), b"").good();
    assert_eq!(read.text().lines().count(), RECORDS);
    server.stop();
}

#[test]
fn all_that_is_native_comes_over_tls_from_several_reactors() {
    let directory = directory();
    let server = two_reactors(&directory.path().join("data"), 0, &[]);
    let certificate = server.certificate.as_ref().unwrap();
    // To each a client of its own, who sends to the owners of none.
    assert_eq!(server.reactors.len(), 2);
    let tunnels = [0, 1].map(|reactor| Tunnel::to(server.reactors[reactor], certificate));
    let mut clients = [tunnels[0].client(), tunnels[1].client()];
    let stream = clients[0].create_stream("s", 2, Quotas::NONE).unwrap();
    // Records of all lengths up to some that take many pieces, both ways, by each reactor.
    let datas: Vec<Vec<u8>> = (0..40).map(|at| vec![at as u8; 1 << (at % 20)]).collect();
    for client in &mut clients {
        for data in &datas {
            store(client, stream.stream, "k", [data]);
        }
    }
    let [shard] =
        [stream.shards.iter().map(|shard| read_all(&mut clients[1], &stream, shard.shard)).max_by_key(Vec::len)];
    let read: Vec<Vec<u8>> = shard.unwrap().into_iter().map(|(_, data)| data).collect();
    assert!(read == [&datas[..], &datas[..]].concat());
    // A server stops with connections open, and they end.
    server.stop();
    assert!(clients.iter_mut().all(|client| client.ping().is_err()));
}

#[test]
fn the_secret_is_asked_for_over_tls_too_and_beyond_loopback_needs_no_other_word() {
    let directory = directory();
    let secret = secret_file(directory.path(), "0123456789abcdef", 0o600);
    let elsewhere = crate::rig::directory();
    let other = secret_file(elsewhere.path(), "0123456789abcdeg", 0o600);
    let (secret, other) = (secret.to_str().unwrap(), other.to_str().unwrap());
    let data = directory.path().join("data");
    let flags = ["--native", "0.0.0.0:0", "--http", "off", "--native-secret-file", secret, "--tls-self-signed"];
    let mut command = millstream(["serve"]);
    command.args(SMALL).args(flags).arg("--data").arg(&data);
    let server = Server::start_command(&data, command);
    let certificate = server.certificate.as_ref().unwrap();
    let address = format!("localhost:{}", server.address.port());
    let list = |more: &[&str]| {
        let mut command = millstream(["streams", "--native", &address]);
        command.args(more);
        run(command, b"")
    };
    let trusted = ["--tls-ca", certificate.to_str().unwrap()];
    list(&[&trusted[..], &["--native-secret-file", secret]].concat()).good();
    assert!(list(&trusted).refusal().contains("wants to hear a secret"));
    let line = list(&[&trusted[..], &["--native-secret-file", other]].concat()).refusal();
    assert!(line.contains("secret is another one"), "{line}");
    // In clear nothing is taken there, whoever knows it.
    let line = list(&["--native-secret-file", secret]).refusal();
    assert!(line.contains("TLS alone") && line.contains("--tls-ca"), "{line}");
    // Who proves nothing is let go, by the reactor.
    let here = SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    let mut silent = connect_as(&trusting(certificate, &[]), here, "localhost").unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);
    server.stop();
}

#[test]
fn clear_text_is_taken_beside_tls_on_loopback_by_the_reactor_itself() {
    let directory = directory();
    for kind in ["ring", "threads"] {
        let data = directory.path().join(kind);
        let mut server = Server::start_with(&data, &["--tls-self-signed", "--io", kind]);
        let mut clear = server.client();
        let tunnel = Tunnel::to(server.address, server.certificate.as_ref().unwrap());
        let stream = clear.create_stream("s", 1, Quotas::NONE).unwrap();
        let mut secure = tunnel.client();
        let datas: Vec<Vec<u8>> = (0..21).map(|at| vec![at as u8; 1 << at]).collect();
        for data in &datas {
            store(&mut clear, stream.stream, "k", [&data[..data.len().min(1 << 19)]]);
            store(&mut secure, stream.stream, "k", [&data[..data.len().min(1 << 19)]]);
        }
        let shard = stream.shards[0].shard;
        let read = read_all(&mut clear, &stream, shard);
        assert!(read.len() == 2 * datas.len() && read == read_all(&mut secure, &stream, shard));
        server.assert_well();
        server.stop();
        assert!(clear.ping().is_err() && secure.ping().is_err());
    }
}

#[test]
fn clear_text_is_told_where_it_is_not_taken() {
    let directory = directory();
    let server = Server::start_with(&directory.path().join("data"), &TLS_ALONE);
    let timeouts = Timeouts { connect: PATIENCE, answer: PATIENCE };
    let error = Client::connect(server.address, timeouts).unwrap_err();
    assert_eq!((error.fault(), error.code()), (Fault::Caller, Some(ErrorCode::TlsRequired)), "{error}");
    let line = run(server.command(["tail", "s"]), b"").refusal();
    assert!(line.contains("TLS alone") && line.contains("--tls-ca"), "{line}");
    let mut stream = connect(server.address);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() != ErrorKind::WouldBlock));
    // A client that has a protocol to choose finds none here that it knows.
    let config = trusting(server.certificate.as_ref().unwrap(), &["h2"]);
    let chosen = connect_as(&config, server.address, "localhost").unwrap();
    assert_eq!(chosen.conn.alpn_protocol(), None);
    server.stop();
}

#[test]
fn who_only_sends_over_tls_holds_nobody_up() {
    let directory = directory();
    let server = Server::start_with(&directory.path().join("data"), &["--tls-self-signed"]);
    let tunnel = Tunnel::to(server.address, server.certificate.as_ref().unwrap());
    hold_nobody_up(server, |_| tunnel.address);
}

/// Bug: 1024 who said nothing kept everybody else from a reactor for 10 s. Mechanism: there were no more places for those of whom
/// it is not known what they speak. Fix: there are as many as a reactor takes connections.
#[test]
fn who_says_nothing_is_gone_after_a_while_and_holds_up_nobody() {
    let directory = directory();
    let mut server = Server::start_with(&directory.path().join("data"), &["--tls-self-signed"]);
    let silent: Vec<Blocking> = (0..1200).map(|_| connect(server.address)).collect();
    let tunnel = Tunnel::to(server.address, server.certificate.as_ref().unwrap());
    tunnel.client().ping().unwrap();
    server.client().ping().unwrap();
    server.assert_well();
    assert!(is_open(&silent[0]), "it is waited for still");
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed");
    }
    server.stop();
}

#[test]
fn commands_speak_tls_to_whom_they_trust_alone() {
    let directory = directory();
    let server = Server::start_with(&directory.path().join("data"), &["--tls-self-signed"]);
    let without = Server::start(&directory.path().join("without"));
    let certificate = server.certificate.as_ref().unwrap().to_str().unwrap();
    let other = Pair::good(directory.path(), "other");
    let by_name = format!("localhost:{}", server.address.port());
    let command = |words: &[&str], address: &str, certificate: &str| {
        let mut command = millstream(words.iter().copied());
        command.args(["--native", address, "--tls-ca", certificate]);
        command
    };
    run(command(&["streams", "create", "s", "--quotas", "none"], &by_name, certificate), b"").good();
    let lines: String = (0..20_000).map(|line| format!("line {line} of some more\n")).collect();
    run(command(&["put", "s"], &server.address.to_string(), certificate), lines.as_bytes()).good();
    let read = run(command(&["tail", "s"], &by_name, certificate), b"").good();
    assert!(read.text() == lines);
    let clear = without.address.to_string();
    for (address, certificate) in [(&by_name, other.certificate.to_str().unwrap()), (&clear, certificate)] {
        let line = run(command(&["streams"], address, certificate), b"").refusal();
        assert!(line.contains("can't be trusted over TLS") && line.contains("--tls-ca"), "{line}");
    }
    let finished = run(command(&["streams"], &by_name, other.key.to_str().unwrap()), b"");
    assert!(finished.status.code() == Some(2) && finished.err.contains("holds no certificate"), "{}", finished.err);
    server.stop();
    without.stop();
}
