//! Base64 as fast as the processor can: what is measured beside it shares the machine.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod engine {
    use std::sync::LazyLock;

    use base64::engine::Simd;
    use base64::engine::general_purpose::PAD;

    /// The standard alphabet, padded.
    pub(super) static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod engine {
    pub(super) use base64::engine::general_purpose::STANDARD as BASE64;
}

/// Appends the digits of `bytes`.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (at, room) = (out.len(), bytes.len().div_ceil(3) * 4);
    out.resize(at + room, 0);
    engine::BASE64.encode_slice(bytes, &mut out[at..]).expect("there is room for as many digits");
}

/// Digits as they were read, where they were read.
#[derive(Debug)]
pub(super) struct Digits<'a>(Cow<'a, [u8]>);

impl Digits<'_> {
    /// The bytes that they stand for, in `room`, which grows to what it must hold. `None` if they are no base64.
    pub(super) fn decode<'r>(&self, room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
        let most = base64::decoded_len_estimate(self.0.len());
        if room.len() < most {
            room.resize(most, 0);
        }
        let length = engine::BASE64.decode_slice(&self.0, room).ok()?;
        Some(&room[..length])
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Digits<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Digits<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_borrowed_bytes<E: Error>(self, digits: &'de [u8]) -> Result<Digits<'de>, E> {
                Ok(Digits(Cow::Borrowed(digits)))
            }

            fn visit_bytes<E: Error>(self, digits: &[u8]) -> Result<Digits<'de>, E> {
                Ok(Digits(Cow::Owned(digits.to_vec())))
            }
        }
        // As bytes: what is no digit is refused anyhow.
        deserializer.deserialize_bytes(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 2, 3, 1000, 1023, 1024] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let mut text = b"\"".to_vec();
            encode(&bytes, &mut text);
            text.push(b'"');
            let digits: Digits<'_> = serde_json::from_slice(&text).expect("it is text");
            // What it held before does not matter.
            assert_eq!(digits.decode(&mut vec![7; 1000]), Some(&bytes[..]));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [r#""abc""#, r#""ab=c""#, r#""????""#, r#""YR==""#] {
            let digits: Digits<'_> = serde_json::from_str(text).expect("it is text");
            assert_eq!(digits.decode(&mut Vec::new()), None, "{text}");
        }
        for text in ["7", "null", "{}"] {
            assert!(serde_json::from_str::<Digits<'_>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn digits_may_be_escaped() {
        let digits: Digits<'_> = serde_json::from_str(r#""\/\/8=""#).expect("it is text");
        assert_eq!(digits.decode(&mut Vec::new()), Some(&[255, 255][..]));
    }
}
