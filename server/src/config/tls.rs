//! Settings of TLS: which go together, and what they ask for.

use std::fmt;
use std::net::SocketAddr;

use super::Settings;
use crate::tls::{Files, Source, TlsError};

/// TLS, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsConfig {
    /// Where certificate and key are.
    pub source: Source,
    /// Whether the port of the Kinesis API takes clear text beside it.
    pub http_plaintext: bool,
    /// Whether the native port does.
    pub native_plaintext: bool,
}

/// Why settings of TLS make none.
#[derive(Debug)]
pub enum TlsSettingsError {
    /// Certificate or key is missing.
    Half,
    /// There are two certificates to choose from.
    Two,
    /// Something is asked for that needs a certificate.
    NoCertificate(&'static str),
    /// Certificate and key themselves.
    Files(TlsError),
}

impl fmt::Display for TlsSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsSettingsError::Half => {
                f.write_str("--tls-certificate FILE and --tls-key FILE go together; name the one that is missing")
            }
            TlsSettingsError::Two => f.write_str(
                "--tls-self-signed makes a certificate and --tls-certificate names one; leave out one of them",
            ),
            TlsSettingsError::NoCertificate(setting) => write!(
                f,
                "--{setting} needs TLS; name a certificate with --tls-certificate FILE and --tls-key FILE, or have one made with \
                 --tls-self-signed"
            ),
            TlsSettingsError::Files(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TlsSettingsError {}

impl TlsConfig {
    /// What these settings ask for, given where the Kinesis API and the native protocol are served. Files are read once, so that
    /// mistakes in them are known before anything is started.
    pub(super) fn of(
        settings: &Settings,
        http: Option<SocketAddr>,
        native: SocketAddr,
    ) -> Result<Option<TlsConfig>, TlsSettingsError> {
        let self_signed = settings.tls_self_signed == Some(true);
        let source = match (&settings.tls_certificate, &settings.tls_key) {
            (None, None) => self_signed.then_some(Source::SelfSigned),
            (Some(_), Some(_)) if self_signed => return Err(TlsSettingsError::Two),
            (Some(certificate), Some(key)) => {
                let files = Files { certificate: certificate.clone(), key: key.clone() };
                files.load().map_err(TlsSettingsError::Files)?;
                Some(Source::Files(files))
            }
            _ => return Err(TlsSettingsError::Half),
        };
        let Some(source) = source else {
            return match (settings.native_plaintext, settings.http_plaintext) {
                (Some(false), _) => Err(TlsSettingsError::NoCertificate("native-plaintext false")),
                (_, Some(false)) => Err(TlsSettingsError::NoCertificate("http-plaintext false")),
                _ => Ok(None),
            };
        };
        let is_local = http.is_none_or(|address| address.ip().is_loopback());
        let http_plaintext = settings.http_plaintext.unwrap_or(is_local);
        let native_plaintext = settings.native_plaintext.unwrap_or(native.ip().is_loopback());
        Ok(Some(TlsConfig { source, http_plaintext, native_plaintext }))
    }
}
