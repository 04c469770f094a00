//! Records that say who they are, so that every byte read back can be checked without keeping any.
//!
//! ```text
//!   0            4        8         16
//!   +------------+--------+----------+---------------------------+
//!   | connection | sizes  |  number  | bytes of the pattern      |
//!   +------------+--------+----------+---------------------------+
//! ```
//!
//! Key, length and bytes all follow from the first sixteen. A number is never sent twice.

use std::fmt;
use std::sync::OnceLock;

use frame::Frame;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const IDENTITY_BYTES: usize = 16;
const PATTERN_BYTES: usize = 2 << 20;
const LENGTH_MAX: usize = 900 << 10;

/// One attempt to append one record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Identity {
    /// Which connection sent it.
    pub(crate) connection: u32,
    /// Its place among all that this connection sent.
    pub(crate) number: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of connection {}", self.number, self.connection)
    }
}

/// How large a connection's records are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sizes {
    /// Up to 100 bytes.
    Tiny,
    /// About 1 KiB.
    Usual,
    /// Anything up to 64 KiB.
    Mixed,
    /// Mostly small; one in sixteen up to the largest.
    Huge,
}

impl Sizes {
    /// All of them.
    pub(crate) const ALL: [Sizes; 4] = [Sizes::Tiny, Sizes::Usual, Sizes::Mixed, Sizes::Huge];

    fn of(number: u32) -> Option<Sizes> {
        Sizes::ALL.into_iter().find(|&sizes| sizes as u32 == number)
    }

    /// Records that make a batch of a usual size.
    pub(crate) fn batch_records(self) -> u64 {
        match self {
            Sizes::Tiny => 300,
            Sizes::Usual => 40,
            Sizes::Mixed => 6,
            Sizes::Huge => 3,
        }
    }

    fn length(self, lot: u64) -> usize {
        let below = |most: usize| lot as usize % most;
        match self {
            Sizes::Tiny => below(100),
            Sizes::Usual => 900 + below(200),
            Sizes::Mixed => below(64 << 10),
            Sizes::Huge if lot >> 32 & 15 == 0 => below(LENGTH_MAX),
            Sizes::Huge => below(4 << 10),
        }
    }
}

/// Writes a record's key and data.
pub(crate) fn write(identity: Identity, sizes: Sizes, key: &mut Vec<u8>, data: &mut Vec<u8>) {
    let lot = lot(identity);
    key.clear();
    key.extend_from_slice(key_of(lot).as_bytes());
    data.clear();
    data.extend_from_slice(&identity.connection.to_le_bytes());
    data.extend_from_slice(&(sizes as u32).to_le_bytes());
    data.extend_from_slice(&identity.number.to_le_bytes());
    data.extend_from_slice(body(lot, sizes));
}

/// Whose record this is, if every byte of it is as it was sent.
pub(crate) fn read(frame: &Frame<'_>) -> Option<Identity> {
    let (identity, rest) = frame.data().split_first_chunk::<IDENTITY_BYTES>()?;
    let [c0, c1, c2, c3, s0, s1, s2, s3, number @ ..] = *identity;
    let identity = Identity { connection: u32::from_le_bytes([c0, c1, c2, c3]), number: u64::from_le_bytes(number) };
    let sizes = Sizes::of(u32::from_le_bytes([s0, s1, s2, s3]))?;
    let lot = lot(identity);
    (rest == body(lot, sizes) && frame.key() == key_of(lot).as_bytes()).then_some(identity)
}

fn body(lot: u64, sizes: Sizes) -> &'static [u8] {
    let length = sizes.length(lot);
    let start = (lot >> 20) as usize % (PATTERN_BYTES - length);
    &pattern()[start..start + length]
}

/// Most records share a few keys, so that some shards are hot and others get a record once in a while.
fn key_of(lot: u64) -> String {
    match lot >> 40 & 63 {
        0 => format!("cold-{}", lot >> 48),
        _ => format!("hot-{}", lot >> 48 & 7),
    }
}

/// A number that follows from the identity alone (SplitMix64).
fn lot(identity: Identity) -> u64 {
    let mut mixed = identity.number ^ u64::from(identity.connection) << 40;
    mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut bytes = vec![0; PATTERN_BYTES];
        StdRng::seed_from_u64(1).fill(&mut bytes[..]);
        bytes
    })
}
