//! Values that each record has, written by hand in either way: thousands come with one answer, and a library takes longer to find
//! out what it is told than to write it.

use crate::base64;
use crate::codec::{Blob, Codec, TIME, Text, Timestamp};
use crate::digits;
use crate::error::Error;
use crate::pieces::Item;

/// What follows a head of CBOR.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Number = 0,
    Bytes = 2,
    Text = 3,
    Map = 5,
    Tag = 6,
}

/// Writes the head of something with a number: its value, or how long it is.
pub(crate) fn head(out: &mut Vec<u8>, kind: Kind, number: u64) {
    let (first, bytes) = ((kind as u8) << 5, number.to_be_bytes());
    match number {
        0..24 => out.push(first | number as u8),
        24..0x100 => out.extend_from_slice(&[first | 24, number as u8]),
        0x100..0x1_0000 => out.extend_from_slice(&[first | 25, bytes[6], bytes[7]]),
        0x1_0000..0x1_0000_0000 => {
            out.push(first | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(first | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

/// The bytes of such a head.
fn head_length(number: u64) -> usize {
    match number {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

impl Item for Blob {
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
        match codec {
            Codec::Json => {
                out.push(b'"');
                base64::append(&self.0, out);
                out.push(b'"');
            }
            Codec::Cbor => {
                head(out, Kind::Bytes, self.0.len() as u64);
                out.extend_from_slice(&self.0);
            }
        }
        Ok(())
    }

    fn length(&self, codec: Codec) -> Result<usize, Error> {
        Ok(match codec {
            Codec::Json => base64::digits(self.0.len()) + "\"\"".len(),
            Codec::Cbor => head_length(self.0.len() as u64) + self.0.len(),
        })
    }
}

impl Text {
    /// Whether it is of characters alone that either codec writes as they are.
    fn is_plain(&self) -> bool {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\');
        self.0.iter().fold(true, |all, byte| all & is_plain(byte))
    }
}

/// By the library unless it is plain.
impl Item for Text {
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
        if !self.is_plain() {
            return codec.write_to(out, self);
        }
        match codec {
            Codec::Json => {
                out.push(b'"');
                out.extend_from_slice(&self.0);
                out.push(b'"');
            }
            Codec::Cbor => {
                head(out, Kind::Text, self.0.len() as u64);
                out.extend_from_slice(&self.0);
            }
        }
        Ok(())
    }

    fn length(&self, codec: Codec) -> Result<usize, Error> {
        if !self.is_plain() {
            return codec.length_of(self);
        }
        Ok(match codec {
            Codec::Json => self.0.len() + "\"\"".len(),
            Codec::Cbor => head_length(self.0.len() as u64) + self.0.len(),
        })
    }
}

/// In JSON always with three digits of a fraction.
impl Item for Timestamp {
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
        match codec {
            Codec::Json => {
                out.extend_from_slice(itoa::Buffer::new().format(self.ms / 1000).as_bytes());
                out.push(b'.');
                out.extend_from_slice(&digits::eight(self.ms % 1000)[5..]);
            }
            Codec::Cbor => {
                head(out, Kind::Tag, TIME);
                head(out, Kind::Number, self.ms);
            }
        }
        Ok(())
    }

    fn length(&self, codec: Codec) -> Result<usize, Error> {
        Ok(match codec {
            Codec::Json => itoa::Buffer::new().format(self.ms / 1000).len() + ".000".len(),
            Codec::Cbor => head_length(TIME) + head_length(self.ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    /// Lengths and numbers around those at which a head grows.
    const BOUNDS: [u64; 11] =
        [0, 1, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, 1_700_000_000_123];

    fn assert_as_by_the_library(codec: Codec, value: &(impl Item + Serialize)) {
        let mut by_hand = Vec::new();
        value.write(codec, &mut by_hand).expect("it can be written");
        assert_eq!(value.length(codec).expect("it can be written"), by_hand.len());
        let other = codec.write(value).expect("it can be written");
        assert!(by_hand == other, "{codec:?}: {} and {}", by_hand.escape_ascii(), other.escape_ascii());
    }

    #[test]
    fn data_is_as_by_the_library() {
        for length in BOUNDS.into_iter().filter(|length| *length <= 0x1_0000) {
            let blob = Blob((0..length).map(|byte| byte as u8).collect());
            assert_as_by_the_library(Codec::Json, &blob);
            assert_as_by_the_library(Codec::Cbor, &blob);
        }
    }

    /// Every byte, alone and within others, and texts of every length of a head.
    #[test]
    fn text_is_as_by_the_library() {
        let bytes = (0..=u8::MAX).flat_map(|byte| [vec![byte], vec![b'a', byte, b'b']]);
        let lengths = BOUNDS.into_iter().filter(|length| *length <= 0x1_0000).map(|length| vec![b'k'; length as usize]);
        let words = ["süß", "日本", "🦀", "a\u{2028}\u{7f}"].map(|word| word.as_bytes().to_vec());
        for text in bytes.chain(lengths).chain(words) {
            let text = Text(text.into());
            assert_as_by_the_library(Codec::Json, &text);
            assert_as_by_the_library(Codec::Cbor, &text);
        }
    }

    #[test]
    fn times_are_as_by_the_library_in_cbor() {
        for ms in BOUNDS.into_iter().chain([u64::MAX]) {
            assert_as_by_the_library(Codec::Cbor, &Timestamp { ms });
        }
    }
}
