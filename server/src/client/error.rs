//! What may go wrong between a client and a server, whose fault it is, and what to do.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use frame::proto::{ErrorCode, Failure, Fault, Violation};
use frame::{FrameError, ShardId};

/// Why a client did not get what it asked for.
#[derive(Debug)]
pub enum ClientError {
    /// No connection could be made.
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Who answers over TLS is not the server that it should be, or speaks no TLS.
    Untrusted {
        /// Where.
        address: SocketAddr,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The connection broke.
    Lost {
        /// Where it led.
        address: SocketAddr,
        /// Appends whose fate is unknown.
        unanswered: usize,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server said nothing for too long.
    Silent {
        /// Where it is.
        address: SocketAddr,
        /// How long.
        waited: Duration,
        /// Appends whose fate is unknown.
        unanswered: usize,
    },
    /// The server refused the request, and said why.
    Refused(Failure),
    /// The server ended the connection, and said why.
    Ended(Failure),
    /// The server does not speak the protocol as it should.
    Violation(Violation),
    /// The server answered something else than was asked.
    OtherAnswer,
    /// A record arrived damaged.
    Corrupt {
        /// Of which shard.
        shard: ShardId,
        /// How.
        error: FrameError,
    },
    /// A batch without records.
    EmptyBatch,
    /// The server wants a secret, and this client has none.
    NoSecret {
        /// Where.
        address: SocketAddr,
    },
}

impl ClientError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            ClientError::Connect { .. } | ClientError::Lost { .. } | ClientError::Silent { .. } => Fault::Connection,
            ClientError::Refused(failure) | ClientError::Ended(failure) => failure.code.fault(),
            ClientError::Violation(Violation::Access | Violation::Unproven) => Fault::Caller,
            ClientError::Violation(_) | ClientError::OtherAnswer => Fault::Bug,
            ClientError::Corrupt { .. } => Fault::Storage,
            ClientError::EmptyBatch | ClientError::NoSecret { .. } | ClientError::Untrusted { .. } => Fault::Caller,
        }
    }

    /// The server's number for it, if it came from the server.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused(failure) | ClientError::Ended(failure) => Some(failure.code),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = |f: &mut fmt::Formatter<'_>, unanswered: usize| match unanswered {
            0 => Ok(()),
            count => write!(f, "; {count} appends were not answered: read back whether their records are there"),
        };
        match self {
            ClientError::Connect { address, source } => {
                write!(
                    f,
                    "no server answers at {address}: {source}; start one with `millstream serve`, or say where with --native ADDR"
                )
            }
            ClientError::Untrusted { address, source } => write!(
                f,
                "{address} can't be trusted over TLS: {source}; name the server's certificate with --tls-ca FILE, if it has one, \
                 and the server by a name that is in the certificate with --native ADDR"
            ),
            ClientError::Lost { address, unanswered, source } => {
                write!(f, "the connection to {address} broke: {source}; look at the server's log and try again")?;
                unknown(f, *unanswered)
            }
            ClientError::Silent { address, waited, unanswered } => {
                write!(f, "{address} said nothing for {} s; look at the server's log", waited.as_secs())?;
                unknown(f, *unanswered)
            }
            ClientError::Refused(failure) => failure.fmt(f),
            ClientError::Ended(failure) => {
                write!(f, "the server ended the connection: {failure}; its log may say more")
            }
            ClientError::Violation(violation @ (Violation::Access | Violation::Unproven)) => violation.fmt(f),
            ClientError::NoSecret { address } => {
                write!(f, "{address} wants to hear a secret first; name the file it is in with --native-secret-file")
            }
            ClientError::Violation(violation) => {
                write!(
                    f,
                    "the server breaks the protocol: {violation}; is it a Millstream server, and of this version?"
                )
            }
            ClientError::OtherAnswer => f.write_str("the server answered something else than was asked: report this"),
            ClientError::Corrupt { shard, error } => write!(
                f,
                "a record of shard {shard} arrived damaged: {error}; check it with `millstream inspect --verify` on the server"
            ),
            ClientError::EmptyBatch => f.write_str("a batch without records; add one first"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Connect { source, .. }
            | ClientError::Untrusted { source, .. }
            | ClientError::Lost { source, .. } => Some(source),
            ClientError::Violation(violation) => Some(violation),
            _ => None,
        }
    }
}
