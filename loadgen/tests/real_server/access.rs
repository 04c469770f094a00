//! A server with a secret, and connections that come to nothing: each ends in one line that says what to change.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use frame::proto::{Client, ClientEvent, NONCE_BYTES, Secret};

use super::http::CERTIFICATE;
use super::*;

const SECRET: &str = "0123456789abcdef";

fn secret_file(scratch: &Path, name: &str, secret: &str, mode: u32) -> String {
    let path = scratch.join(name);
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The one line with which a run ends that can't begin.
fn refusal(scratch: &Path, address: SocketAddr, arguments: &[&str]) -> String {
    let address = address.to_string();
    let output = load(scratch, &["--target", &address, "--bytes", "1MB"]).args(arguments).output().unwrap();
    let message = message(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    let line = message.trim_end();
    assert!(line.starts_with("millstream-load: ") && line.lines().count() == 1, "{message}");
    line.to_owned()
}

#[test]
fn a_server_with_a_secret_is_driven_by_who_knows_it() {
    let scratch = directory();
    let secret = secret_file(scratch.path(), "secret", SECRET, 0o600);
    let other = secret_file(scratch.path(), "other", "0123456789abcdeg", 0o600);
    let secret_file = format!("--native-secret-file={secret}");
    let watched = Watched::start_with(scratch.path(), &["--reactors=2", "--memory-bytes=256MiB", &secret_file]);
    let address = watched.address().to_string();
    let config = scratch.path().join("load.toml");
    fs::write(&config, format!("native-secret-file = {secret:?}\n")).unwrap();
    let command = || load(scratch.path(), &["--target", &address, "--bytes", "2MB", "--workload", "mixed"]);
    let mut commands = [command(), command(), command()];
    commands[0].args(["--native-secret-file", &secret]);
    commands[1].env("MILLSTREAM_NATIVE_SECRET_FILE", &secret);
    commands[2].arg("--config").arg(&config);
    for mut command in commands {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", message(&output));
        assert_eq!(report(&output)["verification"]["good"], true);
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &message(&output);
        assert!(!told.contains(SECRET), "{told}");
    }
    let line = refusal(scratch.path(), watched.address(), &[]);
    assert!(line.contains("wants to hear a secret") && line.contains("--native-secret-file"), "{line}");
    let line = refusal(scratch.path(), watched.address(), &["--native-secret-file", &other]);
    assert!(line.contains("secret is another one"), "{line}");
    watched.server.stop().unwrap();
}

#[test]
fn a_server_started_here_wants_the_secret_too() {
    let scratch = directory();
    let secret = secret_file(scratch.path(), "secret", SECRET, 0o600);
    let output = run(scratch.path(), &["--bytes", "1MB", "--native-secret-file", &secret]);
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    let command = &report(&output)["server"]["command"];
    assert!(command.as_str().unwrap().contains("--native-secret-file"), "{command}");
}

/// Bug: a server started here took settings from the environment of whoever ran the generator, and the result said nothing of
/// them. Fix: it is told by its arguments alone, which the result shows.
#[test]
fn a_server_started_here_has_no_settings_of_the_environment() {
    let scratch = directory();
    let mut command = load(scratch.path(), &["--bytes", "1MB"]);
    command.env("MILLSTREAM_CONFIG", "/nowhere.toml").env("MILLSTREAM_REACTORS", "none");
    let output = command.arg("--dir").arg(scratch.path()).args(SMALL_SERVER).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
}

#[test]
fn a_server_that_does_not_prove_itself_is_given_nothing() {
    let scratch = directory();
    let secret = secret_file(scratch.path(), "secret", SECRET, 0o600);
    let open = Watched::start(scratch.path());
    let line = refusal(scratch.path(), open.address(), &["--native-secret-file", &secret]);
    assert!(line.contains("does not ask for the secret"), "{line}");
    open.server.stop().unwrap();
    // One that knows no more than what the server said to somebody else.
    let watched = Watched::start_with(scratch.path(), &[LITTLE_MEMORY, &format!("--native-secret-file={secret}")]);
    let overheard = handshake(watched.address());
    let liar = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = liar.local_addr().unwrap();
    let told = std::thread::spawn(move || {
        let mut client = liar.accept().unwrap().0;
        client.write_all(&overheard).unwrap();
        let mut said = Vec::new();
        client.read_to_end(&mut said).unwrap();
    });
    let line = refusal(scratch.path(), address, &["--native-secret-file", &secret]);
    assert!(line.contains("secret is another one"), "{line}");
    told.join().unwrap();
    watched.server.stop().unwrap();
}

/// What a server with the secret says to a client that knows it, up to its welcome.
fn handshake(server: SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).unwrap();
    let (mut out, mut heard, mut at) = (Vec::new(), Vec::new(), 0);
    let mut client = Client::new(&mut out);
    client.require(Secret::new(SECRET.as_bytes()).unwrap(), [7; NONCE_BYTES]);
    loop {
        stream.write_all(&std::mem::take(&mut out)).unwrap();
        let mut some = [0; 4096];
        let bytes = stream.read(&mut some).unwrap();
        assert!(bytes > 0, "the server closed it");
        heard.extend_from_slice(&some[..bytes]);
        while let Some(event) = client.step(&heard, &mut at).unwrap() {
            match event {
                ClientEvent::Challenge => assert!(client.prove(&mut out)),
                ClientEvent::Welcome(_) => return heard,
                _ => {}
            }
        }
    }
}

#[test]
fn a_secret_is_long_and_its_owners_alone() {
    let scratch = directory();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let of = |path: &str| refusal(scratch.path(), nobody, &["--native-secret-file", path]);
    assert!(of(&secret_file(scratch.path(), "open", SECRET, 0o640)).contains("chmod 600"));
    let line = of(&secret_file(scratch.path(), "empty", "", 0o600));
    assert!(line.contains("it has 0 bytes, and 16 to 1024 are allowed"), "{line}");
    let line = of("/nowhere");
    assert!(line.contains("the secret /nowhere can't be read"), "{line}");
}

#[test]
fn tls_is_spoken_with_whom_is_trusted_and_where_it_is_taken() {
    let scratch = directory();
    let secure = Watched::start_with(scratch.path(), &[LITTLE_MEMORY, "--tls-self-signed", "--native-plaintext=false"]);
    let clear = Watched::start(scratch.path());
    for address in [secure.address(), clear.address()] {
        let line = refusal(scratch.path(), address, &["--tls-ca", CERTIFICATE]);
        assert!(line.contains("can't be trusted over TLS") && line.contains("--tls-ca"), "{line}");
    }
    let line = refusal(scratch.path(), secure.address(), &[]);
    assert!(line.contains("TLS alone") && line.contains("--tls-ca"), "{line}");
    let line = refusal(scratch.path(), secure.address(), &["--tls-ca", "/nowhere"]);
    assert!(line.contains("--tls-ca /nowhere"), "{line}");
    secure.server.stop().unwrap();
    clear.server.stop().unwrap();
}

/// Bug: a run against a target that accepts connections and never answers them hung for good. Mechanism: nobody looked at the
/// clock while a handshake was waited for. Fix: an opening has its time.
#[test]
fn who_never_answers_is_given_up() {
    let scratch = directory();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for io in ["ring", "epoll"] {
        let begun = Instant::now();
        let line = refusal(scratch.path(), mute.local_addr().unwrap(), &["--open-timeout", "300ms", "--io", io]);
        assert!(line.contains("did not answer for 0.3 s") && line.contains("--open-timeout"), "{line}");
        assert!(begun.elapsed() > Duration::from_millis(300));
    }
}

#[test]
fn a_server_that_is_stopped_is_given_up() {
    let scratch = directory();
    let watched = Watched::start(scratch.path());
    signal(watched.server.pid(), Signal::STOP);
    let line = refusal(scratch.path(), watched.address(), &["--open-timeout", "300ms"]);
    signal(watched.server.pid(), Signal::CONT);
    assert!(line.contains("did not answer for 0.3 s"), "{line}");
    watched.server.stop().unwrap();
}
