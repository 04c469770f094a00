//! Certificate and key in files, and what can be wrong with them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

use super::provider;
use crate::changes::{Stamp, stamp};

/// More than any chain of certificates has.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where certificate and key are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// The server's certificate, and those that lead from it to one that clients trust, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

/// Which files were there, certificate and key.
pub(super) type States = [Stamp; 2];

/// Why there is no TLS.
#[derive(Debug)]
pub enum TlsError {
    /// A file can't be read.
    Unreadable(PathBuf, io::Error),
    /// A file is damaged.
    Malformed(PathBuf, pem::Error),
    /// There is no certificate in the file.
    NoCertificate(PathBuf),
    /// There is no key in the file.
    NoKey(PathBuf),
    /// The certificate can't be used.
    UnfitCertificate(PathBuf, rustls::Error),
    /// The key can't be used.
    UnfitKey(PathBuf, rustls::Error),
    /// They are not of each other.
    Mismatch(Files),
    /// The certificate was good until then.
    Expired(PathBuf, UnixTime),
    /// The certificate is good from then on.
    NotYet(PathBuf, UnixTime),
    /// The server's own can't be made.
    Unmade(rcgen::Error),
    /// The server's own can't be written there.
    Unwritten(PathBuf, io::Error),
    /// No thread looks whether the files have changed.
    Watch(io::Error),
    /// A bug: the library has no protocol for its own ciphers.
    Provider(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |time: &UnixTime| {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
        };
        match self {
            TlsError::Unreadable(path, error) => {
                write!(f, "{} can't be read for TLS: {error}; check its name and its permissions", path.display())
            }
            TlsError::Malformed(path, error) => {
                write!(f, "{} is damaged: {error}; write it anew, as PEM", path.display())
            }
            TlsError::NoCertificate(path) => write!(
                f,
                "{} holds no certificate for TLS: it has to hold the server's own as PEM, then those that signed it",
                path.display()
            ),
            TlsError::NoKey(path) => write!(
                f,
                "{} holds no key for TLS: it has to hold one as PEM, not encrypted (openssl pkey decrypts it)",
                path.display()
            ),
            TlsError::UnfitCertificate(path, error) => write!(
                f,
                "the certificate {} can't be used: {error}; have it issued again, for a TLS server",
                path.display()
            ),
            TlsError::UnfitKey(path, error) => {
                write!(f, "the key {} can't be used: {error}; make one by RSA, ECDSA or Ed25519", path.display())
            }
            TlsError::Mismatch(Files { certificate, key }) => write!(
                f,
                "the key {} is not that of the certificate {}; name those that belong together, the server's own certificate \
                 first in its file",
                key.display(),
                certificate.display()
            ),
            TlsError::Expired(path, until) => write!(
                f,
                "the certificate {} expired at {}; renew it (one that the server made: remove it, and the next start makes another)",
                path.display(),
                date(until)
            ),
            TlsError::NotYet(path, from) => write!(
                f,
                "the certificate {} is good from {} on; check the clock, or have it issued again",
                path.display(),
                date(from)
            ),
            TlsError::Unmade(error) => {
                write!(f, "a certificate can't be made: {error}; name one with --tls-certificate and --tls-key")
            }
            TlsError::Unwritten(path, error) => {
                write!(f, "{} can't be written: {error}; check space and permissions", path.display())
            }
            TlsError::Watch(error) => {
                write!(f, "a thread can't be started: {error}; raise the limit on threads (ulimit -u)")
            }
            TlsError::Provider(error) => write!(f, "TLS can't be set up: {error}; report this"),
        }
    }
}

impl std::error::Error for TlsError {}

impl Files {
    /// Reads both, and makes sure that they belong together and are good now.
    pub(crate) fn load(&self) -> Result<CertifiedKey, TlsError> {
        let of = |path: &PathBuf, error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey(path.clone()),
            error => TlsError::Malformed(path.clone(), error),
        };
        let chain = CertificateDer::pem_slice_iter(&read(&self.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| of(&self.certificate, error))?;
        let Some(own) = chain.first() else { return Err(TlsError::NoCertificate(self.certificate.clone())) };
        self.check(own)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| of(&self.key, error))?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsError::UnfitKey(self.key.clone(), error))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // Some keys don't tell their other half.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch(self.clone())),
            Err(error) => Err(TlsError::UnfitCertificate(self.certificate.clone(), error)),
        }
    }

    /// Whether the server's own certificate can be read, and is good now. Who signed it is for clients to judge.
    fn check(&self, own: &CertificateDer<'_>) -> Result<(), TlsError> {
        let path = || self.certificate.clone();
        let own = ParsedCertificate::try_from(own).map_err(|error| TlsError::UnfitCertificate(path(), error))?;
        let (nobody, provider) = (RootCertStore::empty(), provider());
        let algorithms = provider.signature_verification_algorithms.all;
        let judged = verify_server_cert_signed_by_trust_anchor(&own, &nobody, &[], UnixTime::now(), algorithms);
        match judged {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Err(TlsError::Expired(path(), not_after))
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                Err(TlsError::NotYet(path(), not_before))
            }
            // Nobody is trusted here, so it is never good.
            _ => Ok(()),
        }
    }

    /// What tells whether they have changed.
    pub(super) fn states(&self) -> States {
        [&self.certificate, &self.key].map(|path| stamp(path))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable(path.to_owned(), error);
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
