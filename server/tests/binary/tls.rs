//! TLS on the port of the Kinesis API: both versions of HTTP, beside clear text, within bounds.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion};
use serde_json::json;

use crate::gateway::{answer, ask_on, connect, good, send};
use crate::rig::{PATIENCE, Server, directory};

/// A connection over TLS.
pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts this certificate and no other, and speaks these protocols.
pub(crate) fn trusting(certificate: &Path, protocols: &[&str]) -> Arc<ClientConfig> {
    trusting_by(certificate, protocols, rustls::ALL_VERSIONS)
}

fn trusting_by(
    certificate: &Path,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Connects, under that name, and shakes hands.
pub(crate) fn connect_as(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> std::io::Result<Secure> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), connect(address));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A server that made its certificate.
fn self_signed(data: &Path, more: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start_with(data, &[&["--tls-self-signed", "--quotas", "none"], more].concat());
    let address = server.http.unwrap();
    (server, address)
}

#[test]
fn http_1_and_2_come_over_tls_and_in_clear_on_one_port() {
    let directory = directory();
    let (server, address) = self_signed(&directory.path().join("data"), &[]);
    let certificate = server.certificate.clone().unwrap();
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let put = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "AAH/" });
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = trusting_by(&certificate, &["http/1.1"], &[version]);
        for name in ["localhost", "127.0.0.1", "::1"] {
            let mut stream = connect_as(&config, address, name).unwrap();
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            for _ in 0..2 {
                assert_eq!(ask_on(&mut stream, "PutRecord", &put).0, 200, "{name}");
            }
        }
    }
    // No protocol said: HTTP/1.1 is spoken.
    let mut stream = connect_as(&trusting(&certificate, &[]), address, "localhost").unwrap();
    assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(ask_on(&mut stream, "PutRecord", &put).0, 200);
    over_http_2(&server, &trusting(&certificate, &["h2", "http/1.1"]));
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let page = good(address, "GetRecords", &json!({ "ShardIterator": iterator }));
    assert_eq!(page["Records"].as_array().unwrap().len(), 12 + 1 + 100);
    server.stop();
}

/// Many requests at once on one connection, which a client that may choose gets as HTTP/2.
fn over_http_2(server: &Server, config: &Arc<ClientConfig>) {
    let address = server.http.unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let requests = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for number in 0..100 {
            let request = http::Request::post(format!("https://{address}/"))
                .header("content-type", "application/x-amz-json-1.1")
                .header("x-amz-target", "Kinesis_20131202.PutRecord");
            sender = sender.ready().await.unwrap();
            let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            let record = json!({ "StreamName": "s", "PartitionKey": format!("{number}"), "Data": "" });
            body.send_data(record.to_string().into(), true).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, requests).await }).unwrap();
}

#[test]
fn who_speaks_in_clear_where_that_is_not_taken_is_told_so() {
    let directory = directory();
    let (server, address) = self_signed(&directory.path().join("data"), &["--http-plaintext", "false"]);
    let mut stream = connect(address);
    send(&mut stream, "POST", &[("x-amz-target", "Kinesis_20131202.ListStreams")], b"{}");
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("ask it by https://"), "{said}");
    let config = trusting(server.certificate.as_ref().unwrap(), &["http/1.1"]);
    let mut stream = connect_as(&config, address, "localhost").unwrap();
    assert_eq!(ask_on(&mut stream, "ListStreams", &json!({})).0, 200);
    // A server stops with connections open, and tells who is on TLS that this was all.
    server.stop();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap(), 0);
}

#[test]
fn what_is_no_handshake_ends_its_connection_and_nothing_else() {
    let directory = directory();
    let (mut server, address) = self_signed(&directory.path().join("data"), &[]);
    let config = trusting(server.certificate.as_ref().unwrap(), &["smtp"]);
    assert!(connect_as(&config, address, "localhost").is_err(), "no protocol in common");
    let elsewhere = trusting(server.certificate.as_ref().unwrap(), &[]);
    let error = connect_as(&elsewhere, address, "example.org").unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    // A record that is as long as may be, of anything; one that is longer; one of an application, too early.
    for (head, bytes) in [([0x16, 3, 1, 0x40, 0], 1 << 14), ([0x16, 3, 1, 0xff, 0xff], 0xffff), ([0x17, 3, 3, 0, 9], 9)]
    {
        let mut stream = connect(address);
        let _ = stream.write_all(&head).and_then(|()| stream.write_all(&vec![7; bytes]));
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() != ErrorKind::WouldBlock), "{head:?}");
    }
    server.assert_well();
    assert_eq!(good(address, "ListStreams", &json!({}))["StreamNames"], json!([]));
}

/// Whether the server has neither closed it nor said anything.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let is_open = stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    is_open
}

/// The beginning of a greeting, of 512 bytes by its own word, and no more of it.
fn unfinished(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
    stream
}

/// Bug: 512 clients of one port that never finished their handshakes held up those of the other for 10 s. Mechanism: both ports
/// shared the places for handshakes. Fix: each has its own.
#[test]
fn handshakes_that_never_finish_on_one_port_hold_up_none_on_the_other() {
    let directory = directory();
    let (server, http) = self_signed(&directory.path().join("data"), &[]);
    let config = trusting(server.certificate.as_ref().unwrap(), &[]);
    for (port, other) in [(server.address, http), (http, server.address)] {
        let unfinished: Vec<TcpStream> = (0..600).map(|_| unfinished(port)).collect();
        connect_as(&config, other, "localhost").unwrap();
        assert!(is_open(unfinished.last().unwrap()), "they wait still, or have their places");
    }
    server.stop();
}

/// Bug: 512 clients of a port that never finished their handshakes held up others there for 10 s. Mechanism: a place was free only once
/// its handshake was given up. Fix: the oldest makes room after a second.
#[test]
fn who_never_finishes_a_handshake_holds_up_nobody_on_its_port_for_long() {
    let directory = directory();
    let (server, http) = self_signed(&directory.path().join("data"), &[]);
    let config = trusting(server.certificate.as_ref().unwrap(), &[]);
    for port in [http, server.address] {
        // More than there are handshakes at once.
        let began = Instant::now();
        let unfinished: Vec<TcpStream> = (0..600).map(|_| unfinished(port)).collect();
        // Whoever speaks in clear does not wait for them.
        good(http, "ListStreams", &json!({}));
        let came = Instant::now();
        let _newcomer = connect_as(&config, port, "localhost").unwrap();
        assert!(came.elapsed().as_secs() < 5, "{:?}", came.elapsed());
        // No more than had to for those who came after them.
        let gone = unfinished.iter().filter(|stream| !is_open(stream)).count();
        assert!((1..=100).contains(&gone), "{gone} are gone");
        for mut stream in unfinished {
            let ended = stream.read_to_end(&mut Vec::new());
            assert!(ended.is_ok_and(|bytes| bytes == 0), "it is closed");
        }
        assert!(began.elapsed().as_secs() >= 9, "who is in nobody's way has ten seconds");
    }
    let mut stream =
        connect_as(&trusting(server.certificate.as_ref().unwrap(), &["http/1.1"]), http, "localhost").unwrap();
    send(&mut stream, "GET", &[], b"");
    assert_eq!(answer(&mut stream).0, 404);
    server.stop();
}
