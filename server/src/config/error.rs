//! What is wrong with settings, told in one line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{HTTP_PORT, TlsSettingsError};
use crate::credentials::CredentialsError;
use crate::keys::KeysError;
use crate::secret::SecretError;

/// Why the settings make no server. Whoever wrote them is at fault.
#[derive(Debug)]
pub enum ConfigError {
    /// The file can't be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is not what it should be.
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line that is wrong, counted from 1, where one is to blame.
        line: Option<usize>,
        /// What is wrong with it.
        error: Box<toml::de::Error>,
    },
    /// No data directory is named.
    NoData,
    /// The file with the secret.
    Secret(SecretError),
    /// The native port would be open to other machines.
    Open(SocketAddr),
    /// TLS.
    Tls(TlsSettingsError),
    /// The file of keys.
    Credentials(CredentialsError),
    /// The key directory.
    Keys(KeysError),
    /// Unsigned requests are not taken from other machines.
    NotLoopback(SocketAddr),
    /// A door is where another is.
    SameAddress {
        /// Its setting.
        name: &'static str,
        /// Where.
        address: SocketAddr,
        /// Who else is there.
        other: String,
    },
    /// A value that is not allowed.
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable(path, error) => {
                write!(
                    f,
                    "the configuration file {} can't be read: {error}; check its name and its permissions",
                    path.display()
                )
            }
            ConfigError::Malformed { path, line, error } => {
                write!(f, "the configuration file {}", path.display())?;
                if let Some(line) = line {
                    write!(f, ", line {line},")?;
                }
                // The error's own text draws the line, over several.
                write!(f, " is malformed: {}; mend or remove that", error.message().replace('\n', ", "))
            }
            ConfigError::NoData => f.write_str("no data directory is given; say which with --data DIR"),
            ConfigError::Secret(error) => error.fmt(f),
            ConfigError::Tls(error) => error.fmt(f),
            ConfigError::Open(address) => write!(
                f,
                "--native {address} is not on loopback: other machines need a secret, by --native-secret-file FILE, and a certificate, \
                 by --tls-certificate and --tls-key or --tls-self-signed, unless what they send and read may travel in clear, which \
                 --native-plaintext allows; or use 127.0.0.1:{}",
                frame::proto::PORT
            ),
            ConfigError::NotLoopback(address) => write!(
                f,
                "--http {address} is not on loopback: requests of other machines must be signed with keys that --credentials-file \
                 FILE names; or use 127.0.0.1:{HTTP_PORT}, or --http off"
            ),
            ConfigError::SameAddress { name, address, other } => {
                write!(f, "--{name} {address} is the address of {other}, too; choose another port")
            }
            ConfigError::Credentials(error) => error.fmt(f),
            ConfigError::Keys(error) => error.fmt(f),
            ConfigError::OutOfRange { name, value, range } => write!(f, "--{name} {value} is out of range: {range}"),
        }
    }
}

impl std::error::Error for ConfigError {}
