//! Sequence numbers as any log gives them: the native protocol's have 64 bits, those of the Kinesis API are decimal and have
//! 186 with the service.

use std::fmt;

use frame::Sequence;

/// Decimal digits that are read at most: every number of so many fits.
pub const DIGITS_MAX: usize = 57;

/// A number of 192 bits.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Number {
    /// Above 2^128, then above 2^64, then the rest: so they are in the order of the whole.
    words: [u64; 3],
}

impl Number {
    /// Greater than any that is read or acknowledged.
    pub const MAX: Self = Self { words: [u64::MAX; 3] };

    /// One of 64 bits.
    pub const fn new(number: u64) -> Self {
        Self { words: [0, 0, number] }
    }

    /// Reads decimal digits; `None` if they are none, or more than [`DIGITS_MAX`].
    pub fn parse(digits: &[u8]) -> Option<Self> {
        /// Of eight digits each.
        const GROUPS: usize = DIGITS_MAX.div_ceil(8);
        const SIXTEEN_DIGITS: u64 = 10_u64.pow(16);
        let (rest, eights) = digits.as_rchunks();
        let mut groups = [0; GROUPS];
        let mut is_one = (1..=DIGITS_MAX).contains(&digits.len()) && rest.iter().all(u8::is_ascii_digit);
        for (group, digits) in groups.iter_mut().rev().zip(eights.iter().rev()) {
            let (value, are_digits) = eight(*digits);
            *group = value;
            is_one &= are_digits;
        }
        if !is_one {
            return None;
        }
        groups[GROUPS - 1 - eights.len()] = rest.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        let [first, second, third, fourth] = [0, 2, 4, 6].map(|at| groups[at] * 100_000_000 + groups[at + 1]);
        let upper = u128::from(first) * u128::from(SIXTEEN_DIGITS) + u128::from(second);
        let upper = Self { words: [0, (upper >> 64) as u64, upper as u64] };
        Some(upper.times_and(SIXTEEN_DIGITS, third).times_and(SIXTEEN_DIGITS, fourth))
    }

    fn times_and(self, factor: u64, more: u64) -> Self {
        let mut carry = u128::from(more);
        let mut words = self.words;
        for word in words.iter_mut().rev() {
            let product = u128::from(*word) * u128::from(factor) + carry;
            (*word, carry) = (product as u64, product >> 64);
        }
        Self { words }
    }

    /// The one after it; the greatest has none, and stays.
    pub(super) fn next(self) -> Self {
        let [high, middle, low] = self.words;
        let words = match (low.checked_add(1), middle.checked_add(1)) {
            (Some(low), _) => [high, middle, low],
            (None, Some(middle)) => [high, middle, 0],
            (None, None) => [high.saturating_add(1), 0, 0],
        };
        if self == Self::MAX { self } else { Self { words } }
    }

    /// The one before it; 0 has none, and stays.
    pub(super) fn before(self) -> Self {
        let [high, middle, low] = self.words;
        let words = match (low.checked_sub(1), middle.checked_sub(1)) {
            (Some(low), _) => [high, middle, low],
            (None, Some(middle)) => [high, middle, u64::MAX],
            (None, None) => [high.saturating_sub(1), u64::MAX, u64::MAX],
        };
        if self == Self::default() { self } else { Self { words } }
    }

    /// All of it in 64 bits: of one that has no more, the number itself.
    pub(super) fn folded(self) -> u64 {
        let [high, middle, low] = self.words;
        low ^ middle.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high.wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

/// Eight decimal digits, and whether they are: as pairs, then as fours, then as one, each step for all of them in one
/// multiplication.
fn eight(digits: [u8; 8]) -> (u64, bool) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let digits = u64::from_le_bytes(digits);
    // With 6 more, what comes after 9 has another high half.
    let six_more = digits.wrapping_add(0x0606_0606_0606_0606);
    let are_digits = ((digits ^ ZEROS) | (six_more ^ ZEROS)) & HIGH_HALVES == 0;
    let ones = digits & !HIGH_HALVES;
    let twos = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    ((fours * 10_000 + (fours >> 32)) & 0xffff_ffff, are_digits)
}

impl From<Sequence> for Number {
    fn from(sequence: Sequence) -> Self {
        Self::new(sequence.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// As many digits as a word holds for certain.
        const GROUP: u128 = 10_u128.pow(19);
        let (mut words, mut groups) = (self.words, Vec::new());
        while groups.is_empty() || words != [0; 3] {
            let mut rest = 0;
            for word in &mut words {
                let dividend = rest << 64 | u128::from(*word);
                (*word, rest) = ((dividend / GROUP) as u64, dividend % GROUP);
            }
            groups.push(rest);
        }
        let mut text = groups.pop().unwrap_or_default().to_string();
        groups.iter().rev().for_each(|group| text.push_str(&format!("{group:019}")));
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_and_told_again() {
        let service = "49590338271490256608559692538361571095921575989136588898";
        let most = "9".repeat(DIGITS_MAX);
        let word = u64::MAX.to_string();
        for text in ["0", "7", "10000000000000000000", "18446744073709551616", &word, service, &most] {
            assert_eq!(Number::parse(text.as_bytes()).map(|number| number.to_string()).as_deref(), Some(text));
        }
        for text in ["", "-1", "1e3", " 1", &"1".repeat(DIGITS_MAX + 1)] {
            assert_eq!(Number::parse(text.as_bytes()), None, "{text}");
        }
        for length in 1..=DIGITS_MAX {
            let text = &service.repeat(2)[..length];
            assert_eq!(Number::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for length in 1..19 {
            let text = &"9876543210123456789"[..length];
            assert_eq!(Number::parse(text.as_bytes()), Some(Number::new(text.parse().unwrap())));
        }
        assert_eq!(Number::parse(b"0017"), Some(Number::new(17)));
        assert_eq!(Number::from(Sequence(u64::MAX)).to_string(), word);
    }

    #[test]
    fn what_is_no_digit_is_refused_wherever_it_stands() {
        for at in 0..DIGITS_MAX {
            for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                let mut digits = [b'9'; DIGITS_MAX];
                digits[at] = byte;
                assert_eq!(Number::parse(&digits), None, "{byte} at {at}");
                assert_eq!(Number::parse(&digits[at / 8 * 8..]), None, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn neighbours_are_one_apart_and_in_order() {
        let edges = ["18446744073709551615", "340282366920938463463374607431768211455", "41", "0"];
        for number in edges.map(|text| Number::parse(text.as_bytes()).unwrap()) {
            let next = number.next();
            assert!(next > number && next.before() == number, "{number} {next}");
            assert_ne!(next.folded(), number.folded());
        }
        let (two_64, two_128) = ("18446744073709551616", "340282366920938463463374607431768211456");
        assert_eq!(Number::new(u64::MAX).next().to_string(), two_64);
        assert_eq!(Number::parse(two_128.as_bytes()).unwrap().before().next().to_string(), two_128);
        assert_eq!((Number::MAX.next(), Number::new(0).before()), (Number::MAX, Number::new(0)));
    }
}
