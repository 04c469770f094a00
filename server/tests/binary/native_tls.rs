//! The native protocol over TLS: everything that it has, by a door of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use client::{Options, ProducerOptions, StreamStart, Tls};
use frame::Quotas;
use rustls::pki_types::ServerName;
use server::client::{Client, Fault, Timeouts};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::access::secret_file;
use crate::gateway::connect;
use crate::native::options;
use crate::rig::{PATIENCE, SMALL, Server, directory, millstream, read_all, run, store};
use crate::tls::{connect_as, trusting};
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

/// A server of two reactors.
fn two_reactors(data: &Path) -> Server {
    let flags = ["--tls-self-signed", "--native-tls", "127.0.0.1:0", "--reactors", "2", "--memory-bytes", "256MiB"];
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "off"]);
    command.args(&SMALL[..4]).args(flags).arg("--data").arg(data);
    Server::start_command(data, command)
}

#[test]
fn all_that_is_native_comes_over_tls_from_several_reactors() {
    let directory = directory();
    let server = two_reactors(&directory.path().join("data"));
    let tunnel = Tunnel::to(server.native_tls.unwrap(), server.certificate.as_ref().unwrap());
    let mut clients = [tunnel.client(), tunnel.client()];
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
    let secret = secret.to_str().unwrap();
    let flags = ["--native-secret-file", secret, "--tls-self-signed", "--native-tls", "0.0.0.0:0"];
    let server = Server::start_with(&directory.path().join("data"), &flags);
    let door = SocketAddr::from(([127, 0, 0, 1], server.native_tls.unwrap().port()));
    let tunnel = Tunnel::to(door, server.certificate.as_ref().unwrap());
    let address = tunnel.address.to_string();
    let list = |more: &[&str]| {
        let mut command = millstream(["streams", "--native", &address]);
        command.args(more);
        run(command, b"")
    };
    list(&["--native-secret-file", secret]).good();
    assert!(list(&[]).refusal().contains("secret"));
    // Who proves nothing is let go, by the reactor.
    let config = trusting(server.certificate.as_ref().unwrap(), &[]);
    let mut silent = connect_as(&config, door, "localhost").unwrap();
    assert_eq!(silent.read_to_end(&mut Vec::new()).unwrap(), 0);
    server.stop();
}

#[test]
fn clear_text_is_not_taken_there() {
    let directory = directory();
    let flags = ["--tls-self-signed", "--native-tls", "127.0.0.1:0"];
    let mut server = Server::start_with(&directory.path().join("data"), &flags);
    let door = server.native_tls.unwrap();
    assert!(Client::connect(door, Timeouts { connect: PATIENCE, answer: PATIENCE }).is_err());
    let mut stream = connect(door);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() != ErrorKind::WouldBlock));
    let config = Arc::clone(&trusting(server.certificate.as_ref().unwrap(), &["h2"]));
    // A client that has a protocol to choose finds none here that it knows.
    let chosen = connect_as(&config, door, "localhost").unwrap();
    assert_eq!(chosen.conn.alpn_protocol(), None);
    server.assert_well();
    server.stop();
}

#[test]
fn commands_speak_tls_to_whom_they_trust_alone() {
    let directory = directory();
    let flags = ["--tls-self-signed", "--native-tls", "127.0.0.1:0"];
    let server = Server::start_with(&directory.path().join("data"), &flags);
    let certificate = server.certificate.as_ref().unwrap().to_str().unwrap();
    let other = Pair::good(directory.path(), "other");
    let (clear, door) = (server.address.to_string(), server.native_tls.unwrap());
    let by_name = format!("localhost:{}", door.port());
    let command = |words: &[&str], address: &str, certificate: &str| {
        let mut command = millstream(words.iter().copied());
        command.args(["--native", address, "--tls-ca", certificate]);
        command
    };
    run(command(&["streams", "create", "s", "--quotas", "none"], &by_name, certificate), b"").good();
    let lines: String = (0..20_000).map(|line| format!("line {line} of some more\n")).collect();
    run(command(&["put", "s"], &door.to_string(), certificate), lines.as_bytes()).good();
    let read = run(command(&["tail", "s"], &by_name, certificate), b"").good();
    assert!(read.text() == lines);
    for (address, certificate) in [(&by_name, other.certificate.to_str().unwrap()), (&clear, certificate)] {
        let line = run(command(&["streams"], address, certificate), b"").refusal();
        assert!(line.contains("can't be trusted over TLS") && line.contains("--tls-ca"), "{line}");
    }
    let finished = run(command(&["streams"], &by_name, other.key.to_str().unwrap()), b"");
    assert!(finished.status.code() == Some(2) && finished.err.contains("holds no certificate"), "{}", finished.err);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_other_programs_speaks_tls_with_several_reactors() {
    let directory = directory();
    let server = two_reactors(&directory.path().join("data"));
    let config = trusting(server.certificate.as_ref().unwrap(), &[]);
    let tls = Tls { config, name: ServerName::try_from("localhost").unwrap() };
    let options = Options { tls: Some(tls.clone()), ..options(server.native_tls.unwrap()) };
    let client = client::Client::connect(options.clone()).await.unwrap();
    client.create_stream("s", 4, Quotas::NONE).await.unwrap();
    let producer = client.producer("s", ProducerOptions::default()).await.unwrap();
    let mut records = client.subscribe_stream("s", StreamStart::Oldest).await.unwrap();
    // Some that are more than one record of TLS, and more than a socket takes at once.
    let sizes = [1, 100, 20_000, 900_000];
    for number in 0..200_usize {
        let data = vec![number as u8; sizes[number % sizes.len()]];
        drop(producer.send(&number.to_le_bytes(), &data).await.unwrap());
    }
    producer.close().await.unwrap();
    let mut seen = vec![0; 200];
    for _ in 0..200 {
        let record = tokio::time::timeout(PATIENCE, records.next()).await.unwrap().unwrap().unwrap();
        let number = usize::from_le_bytes(record.key[..].try_into().unwrap());
        assert!(record.data == vec![number as u8; sizes[number % sizes.len()]]);
        seen[number] += 1;
    }
    assert!(seen.iter().all(|&times| times == 1));
    // Somebody else, and somebody without TLS.
    let named = Tls { name: ServerName::try_from("example.org").unwrap(), ..tls };
    for options in
        [Options { tls: Some(named), ..options.clone() }, Options { address: server.address, ..options.clone() }]
    {
        let error = client::Client::connect(options).await.err().unwrap();
        assert!(error.fault() == Fault::Caller && error.to_string().contains("can't be trusted"), "{error}");
    }
    server.stop();
}
