//! A key and a certificate of the server's own, signed by itself, in the data directory: for clients on this machine, and for
//! those elsewhere that are given the certificate.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::NamedTempFile;

use super::files::{Files, TlsError};

/// Inside of a data directory, which only its owner reads.
const DIRECTORY: &str = "tls";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

const VALID_YEARS: i64 = 10;

/// Letters of a line of PEM.
const PEM_LINE: usize = 64;

/// Those in one of these directories, else new ones in the first.
pub(super) fn find_or_make(data: &[PathBuf]) -> Result<Files, TlsError> {
    let mut places = data.iter().map(|data| data.join(DIRECTORY));
    let first = places.clone().next().unwrap_or_default();
    let place = places.find(|place| place.join(CERTIFICATE).exists()).unwrap_or(first);
    let files = Files { certificate: place.join(CERTIFICATE), key: place.join(KEY) };
    if !files.certificate.exists() {
        make(&place, &files)?;
        let (certificate, names) = (files.certificate.display(), names().join(", "));
        tracing::info!(%certificate, names, "made a certificate; clients that are given it trust this server");
    }
    Ok(files)
}

/// The certificate's name appears last: where it is, its key is.
fn make(place: &Path, files: &Files) -> Result<(), TlsError> {
    let (certificate, key) = generate().map_err(TlsError::Unmade)?;
    let written =
        |path: &Path, outcome: io::Result<()>| outcome.map_err(|error| TlsError::Unwritten(path.to_owned(), error));
    let made = match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    };
    written(place, made)?;
    written(&files.key, write(place, &files.key, "PRIVATE KEY", &key, 0o600))?;
    written(&files.certificate, write(place, &files.certificate, "CERTIFICATE", &certificate, 0o644))?;
    written(place, File::open(place).and_then(|place| place.sync_all()))
}

fn write(place: &Path, path: &Path, label: &str, der: &[u8], mode: u32) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(place)?;
    file.write_all(pem(label, der).as_bytes())?;
    fs::set_permissions(file.path(), Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn pem(label: &str, der: &[u8]) -> String {
    let letters = STANDARD.encode(der);
    let lines = letters.as_bytes().chunks(PEM_LINE).map(|line| String::from_utf8_lossy(line) + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

/// Certificate and key.
fn generate() -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let mut params = CertificateParams::new(names())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Millstream");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks of clients may be behind.
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8);
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(VALID_YEARS.years()));
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

/// By which clients may call this server.
fn names() -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let host = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let is_name = host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(legal);
    if is_name && !names.contains(&host) {
        names.push(host);
    }
    names
}
