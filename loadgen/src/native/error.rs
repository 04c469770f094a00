//! Why the native protocol could not be driven.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use frame::proto::{Failure, Violation};

/// Why the native protocol could not be driven.
#[derive(Debug)]
pub enum NativeError {
    /// io_uring is refused here.
    Ring(io::Error),
    /// A timer can't be made.
    Timer(io::Error),
    /// A core could not be given to a thread.
    Core {
        /// Which.
        core: usize,
    },
    /// A thread could not be started.
    Thread(io::Error),
    /// No connection to the server.
    Connect {
        /// Its address.
        target: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No connection to one of the server's reactors.
    ConnectToOwner {
        /// Where the server says that it listens.
        owner: SocketAddr,
        /// Where that was heard.
        told_by: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Who answers over TLS is not the server that it should be, or speaks no TLS.
    Untrusted {
        /// Its address.
        target: SocketAddr,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Whoever is there says nothing, or nobody is there to refuse the connection.
    Silent {
        /// Its address.
        target: SocketAddr,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The connection broke in the middle.
    Broken {
        /// The server's address.
        target: SocketAddr,
        /// How.
        reason: String,
    },
    /// The server wants to hear a secret, and there is none.
    NoSecret {
        /// Its address.
        target: SocketAddr,
    },
    /// No random number for the proof.
    Random(io::Error),
    /// The server broke the protocol.
    Protocol(Violation),
    /// The server refused a request.
    Refused {
        /// What was asked for.
        request: String,
        /// What it said.
        failure: Failure,
    },
    /// The stream of a name is another one than the API tells of.
    OtherStream {
        /// The server's address.
        target: SocketAddr,
        /// Its name.
        stream: String,
        /// What it has here, and what there.
        differs: String,
    },
    /// A person asked for the end.
    Interrupted,
    /// A batch of the size asked for never fits what the server accepts.
    BatchTooLarge {
        /// The smallest message.
        bytes: usize,
        /// The most that the server accepts.
        bytes_max: usize,
    },
}

impl fmt::Display for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(source) => f.write_str(&super::runtime::why_refused(source)),
            Self::Timer(source) => {
                write!(f, "a timer cannot be made: {source}; raise the limit on open files (ulimit -n)")
            }
            Self::Core { core } => {
                write!(f, "core {core} cannot be used by this process; choose others with --cores")
            }
            Self::Thread(source) => write!(f, "a thread cannot be started: {source}; raise the limit (ulimit -u)"),
            Self::Connect { target, source } => {
                write!(f, "cannot connect to {target}: {source}; check that a server listens there")
            }
            Self::ConnectToOwner { owner, told_by, source } => write!(
                f,
                "cannot connect to {owner}, where the server at {told_by} says that one of its reactors listens: {source}; let it be reached from here, or give --route any"
            ),
            Self::Untrusted { target, source } => write!(
                f,
                "{target} can't be trusted over TLS: {source}; name the server's certificate with --tls-ca, and the server by a name that is in it with --target"
            ),
            Self::Silent { target, waited } => write!(
                f,
                "{target} did not answer for {} s; check that a server listens there, look at its log, or raise --open-timeout",
                waited.as_secs_f64()
            ),
            Self::Broken { target, reason } => {
                write!(f, "the connection to {target} ended: {reason}; the server's log says more")
            }
            Self::NoSecret { target } => {
                write!(f, "{target} wants to hear a secret first; name the file it is in with --native-secret-file")
            }
            Self::Random(source) => write!(f, "the system gives no random number: {source}"),
            Self::Protocol(violation @ (Violation::Access | Violation::Unproven)) => violation.fmt(f),
            Self::Protocol(violation) => {
                write!(f, "the server does not keep to the protocol: {violation}; is it a Millstream of this version?")
            }
            Self::Refused { request, failure } => write!(f, "the server refused to {request}: {failure}"),
            Self::OtherStream { target, stream, differs } => write!(
                f,
                "{stream} at {target} is not the stream that the API tells of: {differs}; give --target the native address of the server behind --endpoint"
            ),
            Self::Interrupted => f.write_str("stopped by a signal before the load began"),
            Self::BatchTooLarge { bytes, bytes_max } => write!(
                f,
                "one record takes a message of {bytes} bytes and the server accepts {bytes_max}; make records smaller with --record-bytes"
            ),
        }
    }
}

impl std::error::Error for NativeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ring(source) | Self::Timer(source) | Self::Thread(source) | Self::Random(source) => Some(source),
            Self::Connect { source, .. } | Self::ConnectToOwner { source, .. } | Self::Untrusted { source, .. } => {
                Some(source)
            }
            Self::Protocol(violation) => Some(violation),
            Self::Refused { failure, .. } => Some(failure),
            _ => None,
        }
    }
}
