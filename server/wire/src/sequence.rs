//! Sequence numbers as callers see them: 56 decimal digits, which are computed from a record's number in its shard and never
//! stored.
//!
//! In hexadecimal they have 47 digits:
//!
//! ```text
//!   2 | shard made, seconds: 9 | shard's last digit: 1 | number: 16 | 00 | arrival, seconds: 9 | shard: 8 | 2
//! ```
//!
//! So they rise with the number within a shard, and no two records of a stream have the same.

use std::fmt;

use ethnum::U256;
use serde::ser::{Serialize, Serializer};

use crate::digits;

const SECONDS_MAX: u64 = (1 << 36) - 1;

/// Pieces of digits that one has.
const PIECES: usize = SequenceNumber::DIGITS / digits::COUNT;

/// What each of its 32-bit words is worth, in pieces of digits. Both have the lowest first.
const WORTHS: [[u64; PIECES]; 6] = {
    let mut worths = [[0; PIECES]; 6];
    worths[0][0] = 1;
    let mut word = 1;
    while word < worths.len() {
        let (mut piece, mut carry) = (0, 0);
        while piece < PIECES {
            let worth = (worths[word - 1][piece] << 32) + carry;
            (worths[word][piece], carry) = (worth % digits::END, worth / digits::END);
            piece += 1;
        }
        word += 1;
    }
    worths
};

/// A record's place and times, or those of a shard's beginning, which has number 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceNumber {
    /// When the shard was made, in seconds since 1970.
    pub shard_made_s: u64,
    /// The shard, counted within its stream.
    pub shard: u32,
    /// The record's number in the shard.
    pub number: u64,
    /// When the record arrived, in seconds since 1970.
    pub arrival_s: u64,
}

impl SequenceNumber {
    /// Digits that one has.
    pub const DIGITS: usize = 56;

    /// Reads one; `None` if it is not one of these.
    pub fn parse(text: &str) -> Option<SequenceNumber> {
        if text.len() > 77 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value: U256 = text.parse().ok()?;
        let field = |shift: u32, bits: u32| ((value >> shift) & ((U256::ONE << bits) - 1)).as_u64();
        let framed = value >> 184 == U256::new(2) && field(0, 4) == 2 && field(72, 8) == 0;
        let shard = field(4, 32) as u32;
        (framed && field(144, 4) == u64::from(shard & 15)).then(|| SequenceNumber {
            shard_made_s: field(148, 36),
            shard,
            number: field(80, 64),
            arrival_s: field(36, 36),
        })
    }

    /// Its digits in ASCII. One is written for each record, so nothing is divided but what a piece carries over: a word times a
    /// piece of what it is worth has 59 bits, so that a sum of all has room in 64.
    pub(crate) fn digits(&self) -> [u8; SequenceNumber::DIGITS] {
        let high =
            2 << 56 | (self.shard_made_s & SECONDS_MAX) << 20 | u64::from(self.shard & 15) << 16 | self.number >> 48;
        let middle = self.number << 16 | (self.arrival_s & SECONDS_MAX) >> 28;
        let low = (self.arrival_s & SECONDS_MAX) << 36 | u64::from(self.shard) << 4 | 2;
        let words = [low, low >> 32, middle, middle >> 32, high, high >> 32];
        let mut sums = [0; PIECES];
        for (word, worths) in words.into_iter().zip(WORTHS) {
            for (sum, worth) in sums.iter_mut().zip(worths) {
                *sum += (word & u64::from(u32::MAX)) * worth;
            }
        }
        let (mut text, mut carry) = ([0; SequenceNumber::DIGITS], 0);
        for (piece, sum) in text.rchunks_exact_mut(digits::COUNT).zip(sums) {
            let sum = sum + carry;
            carry = sum / digits::END;
            piece.copy_from_slice(&digits::eight(sum % digits::END));
        }
        text
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).expect("digits"))
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(str::from_utf8(&self.digits()).expect("digits"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_number_is_read_and_written() {
        // A number of the service, as its documentation shows one.
        let text = "49546986683135544286507457936321625675700192471156785154";
        let number = SequenceNumber::parse(text).expect("it is one");
        assert_eq!(number.to_string(), text);
        assert_eq!(number.shard, 0);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "0", "abc", "-1", "49546986683135544286507457936321625675700192471156785153", &"9".repeat(400)]
        {
            assert_eq!(SequenceNumber::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_have_56_digits_and_come_back(
            shard_made_s in 1_000_000_000_u64..4_000_000_000, shard in 0_u32..1_000_000, number in 0_u64.., arrival_s in 0_u64..4_000_000_000,
        ) {
            let sequence = SequenceNumber { shard_made_s, shard, number, arrival_s };
            let text = sequence.to_string();
            prop_assert_eq!(text.len(), 56);
            prop_assert_eq!(SequenceNumber::parse(&text), Some(sequence));
        }

        #[test]
        fn they_rise_with_the_number(number in 0_u64..u64::MAX, (a, b) in (0_u64..4_000_000_000, 0_u64..4_000_000_000)) {
            let at = |number, arrival_s| SequenceNumber { shard_made_s: 1_700_000_000, shard: 3, number, arrival_s };
            prop_assert!(at(number, a).to_string() < at(number + 1, b).to_string());
        }
    }
}
