//! What may go wrong, an enum an operation, whose fault it is, and what to do.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use frame::proto::{ErrorCode, Failure, Fault, Violation};
use frame::{FrameError, Sequence, ShardId};

/// Why there is no connection, or none any more.
#[derive(Clone, Debug)]
pub enum ConnectError {
    /// None could be made.
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// Who answers over TLS is not the server that it should be, or speaks no TLS.
    Untrusted {
        /// Where.
        address: SocketAddr,
        /// What is wrong with it.
        source: Arc<std::io::Error>,
    },
    /// It broke.
    Lost {
        /// Where it led.
        address: SocketAddr,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The server gave no sign of life.
    Silent {
        /// Where it is.
        address: SocketAddr,
        /// How long.
        waited: Duration,
    },
    /// The server ended it, and said why.
    Ended(Failure),
    /// The server does not speak the protocol as it should, or does not know the secret.
    Violation(Violation),
    /// The server wants a secret, and this client has none.
    NoSecret {
        /// Where.
        address: SocketAddr,
    },
}

impl ConnectError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            ConnectError::Connect { .. } | ConnectError::Lost { .. } | ConnectError::Silent { .. } => Fault::Connection,
            ConnectError::Ended(failure) => failure.code.fault(),
            ConnectError::Violation(Violation::Access | Violation::Unproven)
            | ConnectError::NoSecret { .. }
            | ConnectError::Untrusted { .. } => Fault::Caller,
            ConnectError::Violation(_) => Fault::Bug,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Connect { address, source } => {
                write!(f, "no server answers at {address}: {source}; start one, or set Options::address")
            }
            ConnectError::Untrusted { address, source } => {
                write!(
                    f,
                    "{address} can't be trusted over TLS: {source}; set Options::tls to whom to trust, if the server has a certificate"
                )
            }
            ConnectError::Lost { address, source } => {
                write!(f, "the connection to {address} broke: {source}; look at the server's log and try again")
            }
            ConnectError::Silent { address, waited } => {
                write!(f, "{address} gave no sign of life for {} s; look at the server's log", waited.as_secs())
            }
            ConnectError::Ended(failure) => write!(f, "the server ended the connection: {failure}"),
            ConnectError::Violation(violation @ (Violation::Access | Violation::Unproven)) => violation.fmt(f),
            ConnectError::Violation(violation) => write!(
                f,
                "the server breaks the protocol: {violation}; is it a Millstream server, and of this version?"
            ),
            ConnectError::NoSecret { address } => {
                write!(f, "{address} wants to hear a secret first; set Options::secret")
            }
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Connect { source, .. }
            | ConnectError::Untrusted { source, .. }
            | ConnectError::Lost { source, .. } => Some(source),
            ConnectError::Violation(violation) => Some(violation),
            _ => None,
        }
    }
}

/// Why something was not done that the server was asked for.
#[derive(Clone, Debug)]
pub enum RequestError {
    /// There is no connection. What was asked for may have been done.
    Connection(ConnectError),
    /// The server refused it, and said why.
    Refused(Failure),
    /// The server answered something else than was asked.
    OtherAnswer,
}

impl RequestError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            RequestError::Connection(error) => error.fault(),
            RequestError::Refused(failure) => failure.code.fault(),
            RequestError::OtherAnswer => Fault::Bug,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Connection(error) => error.fmt(f),
            RequestError::Refused(failure) => failure.fmt(f),
            RequestError::OtherAnswer => f.write_str("the server answered something else than was asked: report this"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<ConnectError> for RequestError {
    fn from(error: ConnectError) -> RequestError {
        RequestError::Connection(error)
    }
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// It can't be a record: it or its key is too large. Nothing was sent.
    Record(FrameError),
    /// There was no connection in all of the patience, or none that this client could use. The record was not stored; one that
    /// has a number may have been.
    Connection(ConnectError),
    /// The connection was lost before the record was acknowledged, or the server's storage failed while it was written:
    /// whether it was stored is not known. One that has a number is sent again for all of the patience before that is told.
    Unknown(RequestError),
    /// The server refused it, for what is no matter of time or for all of the patience.
    Refused(ErrorCode),
    /// A higher number of its producer is stored, and it is not: another input was appended under the same name.
    NumberPassed {
        /// Its number.
        number: u64,
    },
    /// The server does not take producers' numbers.
    NoNumbers,
    /// A record of its producer was given up, so that none can follow it. If this one was on its way already it may be stored.
    GivenUp {
        /// The lowest number of its producer that is not known to be stored: all before it are. Another producer goes on with
        /// it as its [`first_number`](crate::ProducerOptions::first_number).
        first_number: u64,
        /// Why.
        cause: Arc<AppendError>,
    },
    /// The runtime ended before the record was acknowledged.
    Ended,
}

impl AppendError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            AppendError::Connection(error) => error.fault(),
            AppendError::Unknown(error) => error.fault(),
            AppendError::Refused(code) => code.fault(),
            AppendError::GivenUp { cause, .. } => cause.fault(),
            AppendError::Record(_) | AppendError::NumberPassed { .. } | AppendError::NoNumbers | AppendError::Ended => {
                Fault::Caller
            }
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Record(error) => error.fmt(f),
            AppendError::Connection(error) => error.fmt(f),
            AppendError::Unknown(error) => write!(
                f,
                "whether the record was stored is not known, as {error}; read it back, or give producers a name, by which it is sent again and stored once"
            ),
            AppendError::Refused(code) => write!(f, "the record was refused: {code}"),
            AppendError::NumberPassed { number } => write!(
                f,
                "record {number} of its producer is not stored and a higher number is: give every input a name of its own, and its records in one order",
            ),
            AppendError::NoNumbers => f.write_str(
                "the server is from before producers' numbers: update it, or leave ProducerOptions::name out",
            ),
            AppendError::GivenUp { first_number, cause } => write!(
                f,
                "the producer gave up: {cause}; all before number {first_number} are stored: open another that begins with it"
            ),
            AppendError::Ended => f.write_str("the runtime ended before the record was acknowledged"),
        }
    }
}

impl std::error::Error for AppendError {}

/// Why a subscription has no next record.
#[derive(Clone, Debug)]
pub enum SubscribeError {
    /// There was no connection in all of the patience, or none that this client could use. The next call tries again.
    Connection(ConnectError),
    /// The server refused it, for example since the stream was deleted. It has ended; but where the refusal may pass it was
    /// asked again for all of the patience, and the next call asks again.
    Refused(Failure),
    /// Records are damaged on the server's disk, and lost unless a copy of it has them. All before them were told. Whoever does
    /// without them calls again: the next call goes on right behind them.
    Damaged {
        /// Their shard.
        shard: ShardId,
        /// Their numbers.
        numbers: Range<Sequence>,
        /// What the server said.
        failure: Failure,
    },
    /// A record differs from its checksums. It has ended.
    Corrupt {
        /// Its shard.
        shard: ShardId,
        /// How.
        error: FrameError,
    },
}

impl SubscribeError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            SubscribeError::Connection(error) => error.fault(),
            SubscribeError::Refused(failure) => failure.code.fault(),
            SubscribeError::Damaged { .. } | SubscribeError::Corrupt { .. } => Fault::Storage,
        }
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubscribeError::Connection(error) => error.fmt(f),
            SubscribeError::Refused(failure) => failure.fmt(f),
            // The server's words name them.
            SubscribeError::Damaged { failure, .. } => failure.fmt(f),
            SubscribeError::Corrupt { shard, error } => write!(
                f,
                "a record of shard {shard} arrived damaged: {error}; check it with `millstream inspect --verify` on the server"
            ),
        }
    }
}

impl std::error::Error for SubscribeError {}

impl From<ConnectError> for SubscribeError {
    fn from(error: ConnectError) -> SubscribeError {
        SubscribeError::Connection(error)
    }
}
