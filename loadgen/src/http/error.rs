//! Why an endpoint of the API could not be driven.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::native::{NativeError, UNWANTED_MAX};

/// Why an endpoint of the API could not be driven.
#[derive(Debug)]
pub enum HttpError {
    /// A core, thread or timer is not to be had.
    System(NativeError),
    /// The endpoint's address is none.
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No credentials, or half of them.
    NoCredentials,
    /// The file of certificates can't be used.
    Certificates {
        /// Which; none where they are the system's own.
        path: Option<PathBuf>,
        /// Why.
        why: String,
    },
    /// No connection.
    Connect {
        /// The endpoint.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// Who is there is not who is asked for, or does not speak TLS or HTTP.
    Handshake {
        /// The endpoint.
        url: String,
        /// Why.
        reason: String,
    },
    /// Whoever is there says nothing.
    Silent {
        /// The endpoint.
        url: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A connection broke before an answer was whole.
    Broken {
        /// The endpoint.
        url: String,
        /// What was asked.
        operation: &'static str,
        /// How.
        reason: String,
    },
    /// The answer is not one of this API.
    Garbage {
        /// The endpoint.
        url: String,
        /// What was asked.
        operation: &'static str,
        /// What came.
        what: String,
    },
    /// The endpoint refused a request.
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The error's name, or its status.
        name: String,
        /// What it said.
        message: String,
    },
    /// A stream that exists has another shape.
    OtherShards {
        /// Its name.
        stream: String,
        /// Shards that are open.
        found: usize,
        /// Shards asked for.
        wanted: u32,
    },
    /// A stream, or a consumer, does not become active.
    NotActive {
        /// Its name.
        name: String,
        /// What it is instead.
        status: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A person asked for the end, and the answer did not come in the time that was left.
    GivenUp {
        /// The endpoint.
        url: String,
    },
    /// A person asked for the end before the load began.
    Interrupted,
    /// Subscribers beside producers, of a stream that was there before.
    Beside {
        /// Its name.
        stream: String,
    },
    /// A record of a size that no request may have.
    RecordTooLarge {
        /// Its key and data.
        bytes: usize,
        /// The most.
        bytes_max: usize,
    },
}

impl HttpError {
    /// Whether the same request may be answered a little later.
    pub(super) fn passes_by_itself(&self) -> bool {
        match self {
            Self::Refused { name, .. } => is_throttle(name) || is_servers(name),
            Self::Broken { .. } | Self::Connect { .. } => true,
            _ => false,
        }
    }

    /// Whether the endpoint refused with this error.
    pub(super) fn is(&self, error: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name == error)
    }
}

/// Whether an error says that too much was asked.
pub(super) fn is_throttle(name: &str) -> bool {
    matches!(
        name,
        "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "KMSThrottlingException"
    )
}

/// Whether an error is the server's: what it was asked may or may not have been done.
pub(super) fn is_servers(name: &str) -> bool {
    name.starts_with("HTTP 5")
        || matches!(
            name,
            "InternalFailure"
                | "InternalFailureException"
                | "InternalServerError"
                | "ServiceUnavailable"
                | "ServiceUnavailableException"
        )
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Url { url, why } => {
                write!(f, "--endpoint {url}: {why}; give one such as https://kinesis.us-east-1.amazonaws.com")
            }
            Self::NoCredentials => f.write_str(
                "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, if they have one); \
                 an endpoint on loopback takes none",
            ),
            Self::Certificates { path: Some(path), why } => {
                write!(f, "--ca {}: {why}; give a file of certificates in PEM", path.display())
            }
            Self::Certificates { path: None, why } => {
                write!(f, "the system's certificates can't be used: {why}; install ca-certificates, or give --ca")
            }
            Self::Connect { url, source } => {
                write!(f, "cannot connect to {url}: {source}; check its name and port, and that it is up")
            }
            Self::Handshake { url, reason } => {
                write!(f, "cannot shake hands with {url}: {reason}; check http or https, the port, --http and --ca")
            }
            Self::Silent { url, waited } => write!(
                f,
                "{url} did not answer for {} s; check that the API is served there, or raise --open-timeout",
                waited.as_secs_f64()
            ),
            Self::Broken { url, operation, reason } => {
                write!(f, "{operation}: the connection to {url} ended: {reason}; the server's log may say more")
            }
            Self::Garbage { url, operation, what } => {
                write!(f, "{operation}: {url} does not answer as the Kinesis API does: {what}; check --endpoint")
            }
            Self::Refused { operation, name, message } if message.is_empty() => {
                write!(f, "the endpoint refused {operation}: {name}")
            }
            Self::Refused { operation, name, message } => {
                write!(f, "the endpoint refused {operation}: {name}: {message}")
            }
            Self::OtherShards { stream, found, wanted } => write!(
                f,
                "stream {stream} has {found} open shards, and {wanted} are asked for; give --shards {found}, or another --stream"
            ),
            Self::NotActive { name, status, waited } => write!(
                f,
                "{name} is {status} after {} s; look at it at the endpoint, and try again once it is ACTIVE",
                waited.as_secs()
            ),
            Self::GivenUp { url } => {
                write!(f, "{url} did not answer within {} s of the signal", UNWANTED_MAX.as_secs())
            }
            Self::Interrupted => f.write_str("stopped by a signal before the load began"),
            Self::Beside { stream } => write!(
                f,
                "stream {stream} was there before, and consumers beside producers begin with a stream's first record: give another --stream, or none"
            ),
            Self::RecordTooLarge { bytes, bytes_max } => write!(
                f,
                "a record of {bytes} bytes with its key is more than the API takes, {bytes_max}; make records smaller with --record-bytes"
            ),
        }
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(source) => Some(source),
            Self::Connect { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<NativeError> for HttpError {
    fn from(error: NativeError) -> Self {
        Self::System(error)
    }
}
