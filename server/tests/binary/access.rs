//! Who is heard on the native port: everybody on loopback, unless a secret is named; beyond it nobody without one.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use frame::Quotas;
use frame::proto::{ClientEvent, ErrorCode, Secret};
use server::client::{Client, ClientError, Fault, Timeouts};

use crate::rig::{PATIENCE, SMALL, Server, directory, millstream, refusal, run, store};

const SECRET: &str = "0123456789abcdef";

pub(crate) fn secret_file(directory: &Path, secret: &str, mode: u32) -> PathBuf {
    let path = directory.join("secret");
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn connect(address: SocketAddr, secret: Option<&str>) -> Result<Client, ClientError> {
    let timeouts = Timeouts { connect: PATIENCE, answer: PATIENCE };
    let secret = secret.map(|secret| Secret::new(secret.as_bytes()).unwrap());
    Client::connect_with(address, timeouts, secret, None)
}

#[test]
fn a_server_with_a_secret_hears_those_who_know_it() {
    let directory = directory();
    let file = secret_file(directory.path(), SECRET, 0o600);
    let file = file.to_str().unwrap();
    let server = Server::start_with(&directory.path().join("data"), &["--native-secret-file", file]);
    let mut client = connect(server.address, Some(SECRET)).unwrap();
    let stream = client.create_stream("kept", 1, Quotas::NONE).unwrap();
    store(&mut client, stream.stream, "k", ["one"]);
    let told = run(server.command(["tail", "kept", "--native-secret-file", file]), b"").good();
    assert_eq!(told.text(), "one\n");
    let line = run(server.command(["tail", "kept"]), b"").refusal();
    assert!(line.contains("wants to hear a secret") && line.contains("--native-secret-file"), "{line}");
    let error = connect(server.address, Some("0123456789abcdeg")).unwrap_err();
    assert_eq!((error.fault(), error.code()), (Fault::Caller, Some(ErrorCode::AccessDenied)), "{error}");
    assert!(error.to_string().contains("secret is another one"), "{error}");
    // A client that goes on without a proof is not heard, and the others are.
    let mut raw = TcpStream::connect(server.address).unwrap();
    raw.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = Vec::new();
    let mut proto = frame::proto::Client::new(&mut said);
    proto.list_streams(&mut said, "", 10);
    raw.write_all(&said).unwrap();
    let mut answer = Vec::new();
    raw.read_to_end(&mut answer).unwrap();
    assert!(!answer.windows(4).any(|part| part == b"kept"));
    client.ping().unwrap();
    assert!(!server.log_text().contains(SECRET));
    server.stop();
}

/// What a client says whom the server hears, and what it is told.
fn overheard(server: SocketAddr) -> [Vec<u8>; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let client = thread::spawn(move || connect(here, Some(SECRET)).unwrap().ping().unwrap());
    let ends = [listener.accept().unwrap().0, TcpStream::connect(server).unwrap()];
    let [near, far] = &ends;
    let said = thread::scope(|scope| {
        let pass = |mut from: &TcpStream, mut to: &TcpStream| {
            let (mut all, mut some) = (Vec::new(), [0; 4096]);
            while let Ok(read @ 1..) = from.read(&mut some) {
                all.extend_from_slice(&some[..read]);
                to.write_all(&some[..read]).unwrap();
            }
            let _ = to.shutdown(Shutdown::Write);
            all
        };
        [scope.spawn(move || pass(near, far)), scope.spawn(move || pass(far, near))]
            .map(|passed| passed.join().unwrap())
    });
    client.join().unwrap();
    said
}

#[test]
fn what_a_client_proved_is_worth_nothing_on_another_connection() {
    let directory = directory();
    let file = secret_file(directory.path(), SECRET, 0o600);
    let server = Server::start_with(&directory.path().join("data"), &["--native-secret-file", file.to_str().unwrap()]);
    let [said, told] = overheard(server.address);
    let mut replay = TcpStream::connect(server.address).unwrap();
    replay.set_read_timeout(Some(PATIENCE)).unwrap();
    replay.write_all(&said).unwrap();
    let mut answer = Vec::new();
    replay.read_to_end(&mut answer).unwrap();
    let mut client = frame::proto::Client::new(&mut Vec::new());
    let mut at = 0;
    assert_eq!(client.step(&answer, &mut at), Ok(Some(ClientEvent::Challenge)));
    assert_ne!(answer[..at], told[..at], "each connection has a challenge of its own");
    match client.step(&answer, &mut at) {
        Ok(Some(ClientEvent::Error(_, failure))) => assert_eq!(failure.code, ErrorCode::AccessDenied, "{failure:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(at, answer.len(), "nothing else is said");
    server.stop();
}

/// One that knows no secret can't keep a place either.
#[test]
fn who_proves_nothing_is_gone_after_a_while() {
    let directory = directory();
    let file = secret_file(directory.path(), SECRET, 0o600);
    let server = Server::start_with(&directory.path().join("data"), &["--native-secret-file", file.to_str().unwrap()]);
    let began = Instant::now();
    let mut silent = TcpStream::connect(server.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = Vec::new();
    silent.read_to_end(&mut said).unwrap();
    assert!(said.is_empty(), "it is closed");
    assert!(began.elapsed().as_secs() >= 9, "not before it had its time");
    server.stop();
}

#[test]
fn a_client_with_a_secret_speaks_to_no_server_without() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let error = connect(server.address, Some(SECRET)).unwrap_err();
    assert!(error.to_string().contains("does not ask for the secret"), "{error}");
    connect(server.address, None).unwrap().ping().unwrap();
    server.stop();
}

#[test]
fn beyond_loopback_a_secret_and_a_word_are_needed() {
    let directory = directory();
    let data = directory.path().join("data");
    let secret = secret_file(directory.path(), SECRET, 0o600);
    let secret = secret.to_str().unwrap();
    let serve = |more: &[&str]| {
        let mut command = millstream(["serve", "--native", "0.0.0.0:0", "--http", "off", "--data"]);
        command.arg(&data).args(SMALL).args(more);
        command
    };
    for more in [&[][..], &["--native-plaintext"], &["--native-secret-file", secret]] {
        let line = run(serve(more), b"").refusal();
        assert!(line.contains("--native-plaintext") && line.contains("--native-secret-file"), "{more:?}: {line}");
    }
    assert!(!data.exists());
    let server = Server::start_command(&data, serve(&["--native-plaintext", "--native-secret-file", secret]));
    let address = SocketAddr::from(([127, 0, 0, 1], server.address.port()));
    connect(address, Some(SECRET)).unwrap().create_stream("kept", 1, Quotas::NONE).unwrap();
    for wrong in [None, Some("0123456789abcdeg")] {
        assert_eq!(connect(address, wrong).unwrap_err().fault(), Fault::Caller, "{wrong:?}");
    }
    server.stop();
}

#[test]
fn a_secret_is_long_and_its_owners_alone() {
    let directory = directory();
    let data = directory.path().join("data");
    let of = |secret: &str, mode| {
        let file = secret_file(directory.path(), secret, mode);
        refusal(&data, &["--native-secret-file", file.to_str().unwrap()])
    };
    assert!(of(SECRET, 0o640).contains("chmod 600"));
    assert!(of("short", 0o600).contains("has 5 bytes, and 16 to 1024 are allowed"));
    let line = refusal(&data, &["--native-secret-file", "/nowhere"]);
    assert!(line.contains("the secret /nowhere can't be read"), "{line}");
}
