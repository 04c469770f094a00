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

const SECONDS_MAX: u64 = (1 << 36) - 1;

/// The lower 38 of the 56 digits.
const HALF: U256 = U256::new(10u128.pow(38));

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
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let put = |value: u64, shift: u32| U256::from(value) << shift;
        let value = put(2, 184)
            | put(self.shard_made_s & SECONDS_MAX, 148)
            | put(u64::from(self.shard & 15), 144)
            | put(self.number, 80)
            | put(self.arrival_s & SECONDS_MAX, 36)
            | put(u64::from(self.shard), 4)
            | put(2, 0);
        // In two halves, which the standard library writes faster than it takes to divide 256 bits digit by digit.
        let (high, low) = value.div_rem(HALF);
        write!(f, "{}{:038}", high.as_u128(), low.as_u128())
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
