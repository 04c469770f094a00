//! The handshake, credit and signs of life.

use super::fields::{Control, FieldsOf};
use super::kind::Kind;
use crate::proto::Violation;

/// The first eight bytes of a Hello, so that another protocol's client is told apart.
const HELLO_MAGIC: u64 = u64::from_le_bytes(*b"MSNATIVE");

/// A server's feature: what it acknowledges need not survive a power cut, for its file system does not keep it.
pub const FEATURE_NOT_DURABLE: u64 = 1;

/// A server's feature: plain threads do what io_uring does elsewhere. Only measurements differ.
pub const FEATURE_THREADS: u64 = 2;

/// A server's feature: it takes producers' numbers, so that what is sent again is stored once.
pub const FEATURE_NUMBERS: u64 = 4;

/// Client's first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The oldest version that it speaks.
    pub version_min: u16,
    /// The newest version that it speaks.
    pub version_max: u16,
    /// Features that it would use, a bit each. None is a client's in version 1.
    pub features: u64,
}

/// Server's answer to a Hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The version that both will speak.
    pub version: u16,
    /// The server's reactors.
    pub reactors: Reactors,
    /// Features that both will use, and what the server says of itself: [`FEATURE_NOT_DURABLE`], [`FEATURE_THREADS`],
    /// [`FEATURE_NUMBERS`].
    pub features: u64,
    /// Which life of the data directory answers.
    pub epoch: u64,
    /// The most bytes of one Append message, headers included.
    pub append_bytes_max: u32,
    /// The most records in one Append message.
    pub append_records_max: u32,
    /// The first credit.
    pub credit: Credit,
}

/// Totals since the connection began of what the client may have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Credit {
    /// Bytes of Append messages.
    pub bytes: u64,
    /// Append messages.
    pub batches: u64,
}

/// The reactors of a server. Each has a port of its own, and reaches the shards of the others; but what goes to the owner of
/// a shard directly is not handed over within the server. Nobody must use that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reactors {
    /// The one that serves this connection.
    pub own: u16,
    /// How many there are, if it is more than one; else 0.
    pub count: u16,
    /// The port of the first; those of the others follow. 0: not told.
    pub first_port: u16,
}

impl Reactors {
    /// The port of a reactor, if it is told.
    pub fn port(&self, reactor: u32) -> Option<u16> {
        let is_told = self.first_port > 0 && reactor < u32::from(self.count);
        u16::try_from(reactor).ok().filter(|_| is_told)?.checked_add(self.first_port)
    }
}

impl Welcome {
    /// Whether what is acknowledged survives a power cut.
    pub fn is_durable(&self) -> bool {
        self.features & FEATURE_NOT_DURABLE == 0
    }

    /// Whether plain threads do what io_uring does elsewhere.
    pub fn is_on_threads(&self) -> bool {
        self.features & FEATURE_THREADS != 0
    }

    /// Whether producers may number their records.
    pub fn takes_numbers(&self) -> bool {
        self.features & FEATURE_NUMBERS != 0
    }
}

impl Control for Hello {
    const KIND: Kind = Kind::Hello;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&HELLO_MAGIC.to_le_bytes());
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.features.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Hello, Violation> {
        if fields.u64()? != HELLO_MAGIC {
            return Err(Violation::Handshake);
        }
        let (version_min, version_max) = (fields.u16()?, fields.u16()?);
        fields.u32()?;
        Ok(Hello { version_min, version_max, features: fields.u64()? })
    }
}

impl Control for Welcome {
    const KIND: Kind = Kind::Welcome;

    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.version, self.reactors.own, self.reactors.count, self.reactors.first_port] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.features, self.epoch, self.credit.bytes, self.credit.batches] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.append_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.append_records_max.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Welcome, Violation> {
        let version = fields.u16()?;
        let reactors = Reactors { own: fields.u16()?, count: fields.u16()?, first_port: fields.u16()? };
        let (features, epoch) = (fields.u64()?, fields.u64()?);
        let credit = Credit { bytes: fields.u64()?, batches: fields.u64()? };
        let (append_bytes_max, append_records_max) = (fields.u32()?, fields.u32()?);
        Ok(Welcome { version, reactors, features, epoch, append_bytes_max, append_records_max, credit })
    }
}

impl Control for Credit {
    const KIND: Kind = Kind::Credit;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.batches.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Credit, Violation> {
        Ok(Credit { bytes: fields.u64()?, batches: fields.u64()? })
    }
}

/// A message that says nothing but its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ping;

impl Control for Ping {
    const KIND: Kind = Kind::Ping;

    fn put(&self, _out: &mut Vec<u8>) {}

    fn take(_fields: &mut FieldsOf<'_>) -> Result<Ping, Violation> {
        Ok(Ping)
    }
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pong;

impl Control for Pong {
    const KIND: Kind = Kind::Pong;

    fn put(&self, _out: &mut Vec<u8>) {}

    fn take(_fields: &mut FieldsOf<'_>) -> Result<Pong, Violation> {
        Ok(Pong)
    }
}
