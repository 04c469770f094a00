//! The errors of the API: their names, their statuses, and how they are written.

use std::collections::BTreeMap;
use std::fmt;

use crate::codec::Codec;

/// Which error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The caller: a stream or shard that is not there.
    ResourceNotFound,
    /// The caller: a stream that is there already.
    ResourceInUse,
    /// The caller: a value that means nothing here.
    InvalidArgument,
    /// The caller: the same of what is measured.
    InvalidParameterValue,
    /// The caller: more than there may be.
    LimitExceeded,
    /// The caller: a value out of the bounds that the model gives it.
    Validation,
    /// Throttled: try again.
    ProvisionedThroughputExceeded,
    /// The caller: an iterator that is too old.
    ExpiredIterator,
    /// The caller: a token that is too old.
    ExpiredNextToken,
    /// The caller: it wanted to know whether the request would succeed, and it would.
    DryRunOperation,
    /// The caller: a key to encrypt with that is not there.
    KmsNotFound,
    /// The caller: a request that is not signed.
    MissingAuthenticationToken,
    /// The caller: a signature of which a part is missing or can't be read.
    IncompleteSignature,
    /// The caller: a signature that is of something or somebody else, too old, or ahead.
    InvalidSignature,
    /// The caller: a key that is not known, or a session token that is not the key's.
    UnrecognizedClient,
    /// The caller: a session that is over.
    ExpiredToken,
    /// The caller: something that it may not do.
    AccessDenied,
    /// The caller: an operation that is not known.
    UnknownOperation,
    /// The caller: a body that can't be read.
    Serialization,
    /// The caller: a body that is too large.
    RequestTooLarge,
    /// The server: too much at once, try again.
    ServiceUnavailable,
    /// The server: try again.
    InternalFailure,
    /// The same, as it is called where tables are asked for.
    InternalServerError,
}

impl ErrorKind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::ResourceNotFound => "ResourceNotFoundException",
            ErrorKind::ResourceInUse => "ResourceInUseException",
            ErrorKind::InvalidArgument => "InvalidArgumentException",
            ErrorKind::InvalidParameterValue => "InvalidParameterValueException",
            ErrorKind::LimitExceeded => "LimitExceededException",
            ErrorKind::Validation => "ValidationException",
            ErrorKind::ProvisionedThroughputExceeded => "ProvisionedThroughputExceededException",
            ErrorKind::ExpiredIterator => "ExpiredIteratorException",
            ErrorKind::ExpiredNextToken => "ExpiredNextTokenException",
            ErrorKind::DryRunOperation => "DryRunOperationException",
            ErrorKind::KmsNotFound => "KMSNotFoundException",
            ErrorKind::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            ErrorKind::IncompleteSignature => "IncompleteSignatureException",
            ErrorKind::InvalidSignature => "InvalidSignatureException",
            ErrorKind::UnrecognizedClient => "UnrecognizedClientException",
            ErrorKind::ExpiredToken => "ExpiredTokenException",
            ErrorKind::AccessDenied => "AccessDeniedException",
            ErrorKind::UnknownOperation => "UnknownOperationException",
            ErrorKind::Serialization => "SerializationException",
            ErrorKind::RequestTooLarge => "RequestEntityTooLargeException",
            ErrorKind::ServiceUnavailable => "ServiceUnavailableException",
            ErrorKind::InternalFailure => "InternalFailureException",
            ErrorKind::InternalServerError => "InternalServerError",
        }
    }

    /// Its name where it is told of one record of several.
    pub fn record_code(self) -> &'static str {
        match self {
            ErrorKind::InternalFailure => "InternalFailure",
            _ => self.name(),
        }
    }

    /// Its name in the query protocol, which STS speaks.
    pub fn query_code(self) -> &'static str {
        match self {
            ErrorKind::UnknownOperation => "InvalidAction",
            ErrorKind::MissingAuthenticationToken => "MissingAuthenticationToken",
            ErrorKind::IncompleteSignature => "IncompleteSignature",
            ErrorKind::InvalidSignature => "SignatureDoesNotMatch",
            ErrorKind::UnrecognizedClient => "InvalidClientTokenId",
            ErrorKind::ExpiredToken => "ExpiredToken",
            ErrorKind::ServiceUnavailable => "ServiceUnavailable",
            ErrorKind::InternalFailure => "InternalFailure",
            _ => self.name(),
        }
    }

    /// Its HTTP status.
    pub fn status(self) -> u16 {
        match self {
            ErrorKind::InternalFailure | ErrorKind::InternalServerError => 500,
            ErrorKind::ServiceUnavailable => 503,
            ErrorKind::RequestTooLarge => 413,
            _ => 400,
        }
    }
}

/// The longest that an error says.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// An error, as a caller gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Which.
    pub kind: ErrorKind,
    /// What happened; empty where the service says nothing.
    pub message: String,
}

impl Error {
    /// An error with words. What it repeats of a request may be as long as that: so much of it is told.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.shrink_to_fit();
        }
        Error { kind, message }
    }

    /// Its body.
    pub fn body(&self, codec: Codec) -> Vec<u8> {
        let name = self.kind.name();
        let word = match self.kind {
            // The one with a capital letter.
            ErrorKind::Serialization => "Message",
            _ => "message",
        };
        let mut members = BTreeMap::from([("__type", name)]);
        if !self.message.is_empty() {
            members.insert(word, &self.message);
        }
        codec.write(&members).unwrap_or_default()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl std::error::Error for Error {}
