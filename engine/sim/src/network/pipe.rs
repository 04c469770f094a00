//! One direction of a connection: pieces of bytes that arrive in order, each at its time.

use std::collections::VecDeque;

use crate::dice::Dice;

/// How a direction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The sender has sent all.
    Finished,
    /// The connection is gone.
    Reset,
}

#[derive(Debug)]
struct Piece {
    due_ns: u64,
    bytes: Vec<u8>,
}

/// Bytes on their way.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pieces: VecDeque<Piece>,
    /// Bytes taken of the first piece.
    at: usize,
    /// Nothing arrives before this.
    last_due_ns: u64,
    end: Option<(u64, End)>,
    bytes: usize,
}

impl Pipe {
    /// Sends bytes, cut anywhere, each piece a little later than the one before.
    pub(crate) fn send(&mut self, now_ns: u64, bytes: &[u8], delay_ns_max: u64, dice: &mut Dice) {
        if self.end.is_some() {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let longest = rest.len() as u64;
            let length = if dice.chance(0.6) { longest } else { dice.skewed(1..=longest) };
            let (piece, others) = rest.split_at(length as usize);
            let due_ns = self.later(now_ns, delay_ns_max, dice);
            self.pieces.push_back(Piece { due_ns, bytes: piece.to_vec() });
            rest = others;
        }
        self.bytes += bytes.len();
    }

    /// Ends the direction. After a reset what has not arrived may never do so.
    pub(crate) fn end(&mut self, now_ns: u64, end: End, delay_ns_max: u64, dice: &mut Dice) {
        if matches!(self.end, Some((_, End::Reset))) || self.end.is_some_and(|(_, ended)| ended == end) {
            return;
        }
        if end == End::Reset && dice.chance(0.5) {
            self.pieces.clear();
            (self.at, self.bytes) = (0, 0);
        }
        let due_ns = self.later(now_ns, delay_ns_max, dice);
        self.end = Some((due_ns, end));
    }

    /// Whether the sender has ended it.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Bytes on their way or waiting to be taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When there is something to take: bytes, or the end.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let end = self.end.map(|(due_ns, _)| due_ns);
        self.pieces.front().map(|piece| piece.due_ns).or(end)
    }

    /// Takes up to `most` bytes that have arrived, appending them to `out`. How many.
    pub(crate) fn take(&mut self, now_ns: u64, most: usize, out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        while let Some(piece) = self.pieces.front().filter(|piece| piece.due_ns <= now_ns && taken < most) {
            let rest = &piece.bytes[self.at..];
            let length = rest.len().min(most - taken);
            out.extend_from_slice(&rest[..length]);
            taken += length;
            self.at += length;
            if length == rest.len() {
                self.pieces.pop_front();
                self.at = 0;
            }
        }
        self.bytes -= taken;
        taken
    }

    /// The end, once it has arrived and everything before it was taken.
    pub(crate) fn ended(&self, now_ns: u64) -> Option<End> {
        self.end.filter(|(due_ns, _)| self.pieces.is_empty() && *due_ns <= now_ns).map(|(_, end)| end)
    }

    fn later(&mut self, now_ns: u64, delay_ns_max: u64, dice: &mut Dice) -> u64 {
        let due_ns = now_ns + dice.skewed(1..=delay_ns_max.max(1));
        self.last_due_ns = self.last_due_ns.max(due_ns);
        self.last_due_ns
    }
}
