//! Certificates and keys in files: made once, read again when they change, and what is wrong with them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use crate::gateway::ask_on;
use crate::native_tls::Tunnel;
use crate::retention::until;
use crate::rig::{Server, directory, millstream, refusal, run};
use crate::tls::{connect_as, trusting};

/// Writes something as PEM, by OpenSSL's line length.
fn write_pem(path: &Path, label: &str, der: &[u8]) {
    use base64::Engine;
    let letters = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = letters.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    // By its name at once, as those do who renew certificates.
    let new = path.with_extension("new");
    fs::write(&new, format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))).unwrap();
    fs::rename(new, path).unwrap();
}

/// Certificate and key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pair {
    /// For localhost, good in these years.
    fn write(directory: &Path, name: &str, (from, until): (i32, i32)) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let pair = Pair {
            certificate: directory.join(format!("{name}.certificate")),
            key: directory.join(format!("{name}.key")),
        };
        write_pem(&pair.certificate, "CERTIFICATE", params.self_signed(&key).unwrap().der());
        write_pem(&pair.key, "PRIVATE KEY", &key.serialize_der());
        pair
    }

    /// Good now.
    pub(crate) fn good(directory: &Path, name: &str) -> Pair {
        Pair::write(directory, name, (2020, 2100))
    }

    pub(crate) fn flags(&self) -> [&str; 4] {
        ["--tls-certificate", self.certificate.to_str().unwrap(), "--tls-key", self.key.to_str().unwrap()]
    }
}

fn is_shown(address: SocketAddr, certificate: &Path) -> bool {
    connect_as(&trusting(certificate, &["http/1.1"]), address, "localhost").is_ok()
}

#[test]
fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_nobody() {
    let directory = directory();
    let [first, second] = ["first", "second"].map(|name| Pair::good(directory.path(), name));
    let used = Pair::good(directory.path(), "used");
    let become_ = |pair: &Pair| {
        // Through files of their own names, so that what is there changes at once; the key a moment later.
        for (from, to) in [(&pair.certificate, &used.certificate), (&pair.key, &used.key)] {
            let new = to.with_extension("new");
            fs::copy(from, &new).unwrap();
            fs::rename(new, to).unwrap();
        }
    };
    become_(&first);
    let server = Server::start_with(&directory.path().join("data"), &used.flags());
    let (address, native) = (server.http.unwrap(), server.address);
    let tunnel = Tunnel::to(native, &first.certificate);
    let mut old_native = tunnel.client();
    let config = trusting(&first.certificate, &["http/1.1"]);
    let mut old = connect_as(&config, address, "localhost").unwrap();
    assert_eq!(ask_on(&mut old, "ListStreams", &json!({})).0, 200);
    become_(&second);
    for door in [address, native] {
        until("the second certificate is shown", || is_shown(door, &second.certificate));
        // Whoever has a session under the old one is shown the new one too.
        assert!(connect_as(&config, door, "localhost").is_err());
    }
    old_native.ping().unwrap();
    assert_eq!(ask_on(&mut old, "ListStreams", &json!({})).0, 200);
    let warnings = || server.log_text().matches("the old certificate stays").count();
    assert_eq!(warnings(), 0, "{}", server.log_text());
    // The key of another; half a file; none.
    fs::copy(&first.key, &used.key).unwrap();
    until("a key of another certificate is warned of", || warnings() == 1);
    fs::write(&used.certificate, &fs::read(&second.certificate).unwrap()[..100]).unwrap();
    until("a broken file is warned of", || warnings() == 2);
    fs::remove_file(&used.certificate).unwrap();
    until("a missing file is warned of", || warnings() == 3);
    assert!([address, native].iter().all(|door| is_shown(*door, &second.certificate)));
    become_(&first);
    for door in [address, native] {
        until("the first certificate is shown again", || is_shown(door, &first.certificate));
    }
    assert_eq!(warnings(), 3);
    server.stop();
}

#[test]
fn what_is_wrong_with_files_is_told_in_one_line_before_anything_is_made() {
    let directory = directory();
    let data = directory.path().join("data");
    let good = Pair::good(directory.path(), "good");
    let other = Pair::good(directory.path(), "other");
    let expired = Pair::write(directory.path(), "expired", (2020, 2021));
    let future = Pair::write(directory.path(), "future", (2100, 2101));
    let with = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let empty = with("empty", "");
    let torn = with("torn", "-----BEGIN CERTIFICATE-----\nMIIB!!\n-----END CERTIFICATE-----\n");
    let no_certificate = with("none", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let no_key = with("no-key", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
    let encrypted =
        with("encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let nowhere = directory.path().join("nowhere");
    for (certificate, key, expected) in [
        (&nowhere, &good.key, "nowhere can't be read for TLS"),
        (&good.certificate, &nowhere, "nowhere can't be read for TLS"),
        (&empty, &good.key, "empty holds no certificate"),
        (&good.key, &good.key, "good.key holds no certificate"),
        (&torn, &good.key, "torn is damaged"),
        (&no_certificate, &good.key, "none can't be used"),
        (&good.certificate, &good.certificate, "good.certificate holds no key"),
        (&good.certificate, &encrypted, "not encrypted"),
        (&good.certificate, &no_key, "no-key can't be used"),
        (&good.certificate, &other.key, "name those that belong together"),
        (&expired.certificate, &expired.key, "expired.certificate expired at 2021-01-01T00:00:00Z; renew it"),
        (&future.certificate, &future.key, "is good from 2100-01-01T00:00:00Z on; check the clock"),
    ] {
        let pair = Pair { certificate: certificate.clone(), key: key.clone() };
        let line = refusal(&data, &pair.flags());
        assert!(line.contains(expected), "{expected}: {line}");
    }
    let flags = good.flags();
    for (more, expected) in [
        (&flags[..2], "--tls-key FILE go together"),
        (&flags[2..], "--tls-key FILE go together"),
        (&[&flags[..], &["--tls-self-signed"]].concat()[..], "leave out one of them"),
        (&["--native-plaintext", "false"], "--native-plaintext false needs TLS"),
        (&["--http-plaintext", "false"], "--http-plaintext false needs TLS"),
    ] {
        let line = refusal(&data, more);
        assert!(line.contains(expected), "{more:?}: {line}");
    }
    assert!(!data.exists());
}

#[test]
fn a_certificate_is_made_once_and_its_key_is_its_owners_alone() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start_with(&data, &["--tls-self-signed"]);
    let certificate = server.certificate.clone().unwrap();
    assert_eq!(certificate, data.join("tls/certificate.pem"));
    assert!(server.log_text().contains("made a certificate"), "{}", server.log_text());
    let key = data.join("tls/key.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let of = |path: &Path| fs::read(path).unwrap();
    let made = (of(&certificate), of(&key));
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let config = trusting(&certificate, &["http/1.1"]);
    connect_as(&config, server.http.unwrap(), &host).unwrap();
    server.kill();
    // Also where another directory comes first.
    let other = directory.path().join("other");
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--tls-self-signed"]);
    command.args(crate::rig::SMALL).arg("--data").arg(&other).arg("--data").arg(&data);
    let server = Server::start_command(&data, command);
    assert_eq!((of(&certificate), of(&key)), made);
    assert!(!other.join("tls").exists());
    connect_as(&config, server.http.unwrap(), "localhost").unwrap();
    server.stop();
    // What is in the way is told, and the log is closed well.
    fs::remove_file(&key).unwrap();
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--tls-self-signed"]);
    command.args(["--log", "error"]).args(crate::rig::SMALL).arg("--data").arg(&other).arg("--data").arg(&data);
    let line = run(command, b"").refusal();
    assert!(line.contains("key.pem can't be read for TLS"), "{line}");
    assert!(CertificateDer::from_pem_file(&certificate).is_ok());
}
