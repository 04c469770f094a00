//! What the reactor calls its operations: a kind, and the number that the kind needs.

use io::Token;

/// What a completion is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Another thread woke the reactor.
    Wake,
    /// A connection was accepted.
    Accept,
    /// Bytes of a connection arrived.
    Receive(Peer),
    /// Bytes to a connection were sent.
    Send(Peer),
    /// A connection is closed.
    Close(Peer),
    /// A commit batch was written.
    Commit(u32),
    /// A segment is being made.
    Make,
    /// Zeros were written ahead.
    Zero,
    /// A footer or trailer was written.
    Seal,
    /// A window of a segment was read.
    Window(u32),
    /// Half of the superblock was written.
    Note,
    /// A footer was read, to see what has expired.
    Look,
    /// A segment in which nothing lives is being dropped.
    Drop,
    /// A step of compaction.
    Compact,
    /// A segment that was lent is open.
    Open(u32),
    /// An operation whose completion somebody waits for on the spot.
    Blocking,
    /// None of the above.
    Unknown,
}

/// A connection's slot and life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) slot: u32,
    pub(crate) life: u16,
}

const fn token(kind: u8, middle: u16, number: u32) -> Token {
    Token((kind as u64) << 56 | (middle as u64) << 32 | number as u64)
}

pub(crate) const ACCEPT: Token = token(1, 0, 0);
pub(crate) const MAKE: Token = token(6, 0, 0);
pub(crate) const ZERO: Token = token(7, 0, 0);
pub(crate) const SEAL: Token = token(8, 0, 0);
pub(crate) const BLOCKING: Token = token(11, 0, 0);
pub(crate) const NOTE: Token = token(12, 0, 0);
pub(crate) const LOOK: Token = token(13, 0, 0);
pub(crate) const DROP: Token = token(14, 0, 0);
pub(crate) const COMPACT: Token = token(17, 0, 0);
/// Nobody waits for that.
pub(crate) const CLOSE_FILE: Token = token(15, 0, 0);

pub(crate) fn receive(peer: Peer) -> Token {
    token(2, peer.life, peer.slot)
}

pub(crate) fn send(peer: Peer) -> Token {
    token(3, peer.life, peer.slot)
}

pub(crate) fn close(peer: Peer) -> Token {
    token(4, peer.life, peer.slot)
}

pub(crate) fn commit(serial: u32) -> Token {
    token(5, 0, serial)
}

pub(crate) fn window(slot: u32) -> Token {
    token(10, 0, slot)
}

pub(crate) fn open(number: u32) -> Token {
    token(16, 0, number)
}

/// What a token was made for.
pub(crate) fn kind(token: Token) -> Kind {
    if token == Token::WAKE {
        return Kind::Wake;
    }
    let (middle, number) = ((token.0 >> 32) as u16, token.0 as u32);
    let peer = Peer { slot: number, life: middle };
    match token.0 >> 56 {
        1 => Kind::Accept,
        2 => Kind::Receive(peer),
        3 => Kind::Send(peer),
        4 => Kind::Close(peer),
        5 => Kind::Commit(number),
        6 => Kind::Make,
        7 => Kind::Zero,
        8 => Kind::Seal,
        10 => Kind::Window(number),
        11 => Kind::Blocking,
        12 => Kind::Note,
        13 => Kind::Look,
        14 => Kind::Drop,
        16 => Kind::Open(number),
        17 => Kind::Compact,
        _ => Kind::Unknown,
    }
}
