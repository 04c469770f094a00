//! Base64 as fast as the processor can: what is measured beside it shares the machine.

use base64::Engine;

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

/// The bytes that digits stand for, in `room`, which grows to what it must hold. `None` if they are no base64.
pub(super) fn decode<'r>(digits: &[u8], room: &'r mut Vec<u8>) -> Option<&'r [u8]> {
    let most = base64::decoded_len_estimate(digits.len());
    if room.len() < most {
        room.resize(most, 0);
    }
    let length = engine::BASE64.decode_slice(digits, room).ok()?;
    Some(&room[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 2, 3, 1000, 1023, 1024] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let mut digits = Vec::new();
            encode(&bytes, &mut digits);
            // What it held before does not matter.
            assert_eq!(decode(&digits, &mut vec![7; 1000]), Some(&bytes[..]));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["abc", "ab=c", "????", "YR==", "\u{fc}b=="] {
            assert_eq!(decode(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
    }
}
