//! Base64 as fast as the processor can: what is measured beside it shares the machine.

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

/// Bytes that were read.
#[derive(Debug)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_bytes<E: Error>(self, digits: &[u8]) -> Result<Blob, E> {
                engine::BASE64.decode(digits).map(Blob).map_err(|error| E::custom(format_args!("not base64: {error}")))
            }
        }
        // As bytes: what is no digit is refused anyhow.
        deserializer.deserialize_bytes(Digits)
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
            assert_eq!(serde_json::from_slice::<Blob>(&text).expect("it is base64").0, bytes);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [r#""abc""#, r#""ab=c""#, r#""????""#, r#""YR==""#, "[1]", "7", "null"] {
            assert!(serde_json::from_str::<Blob>(text).is_err(), "{text}");
        }
    }
}
