//! Base64 as fast as the processor can.

use base64::Engine;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod engine {
    use std::sync::LazyLock;

    use base64::engine::Simd;
    use base64::engine::general_purpose::PAD;

    /// The standard alphabet, padded.
    pub(crate) static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod engine {
    pub(crate) use base64::engine::general_purpose::STANDARD as BASE64;
}

pub(crate) use self::engine::BASE64;

/// Digits that so many bytes become.
pub(crate) fn digits(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Appends the digits of `bytes`.
pub(crate) fn append(bytes: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + digits(bytes.len()), 0);
    BASE64.encode_slice(bytes, &mut out[at..]).expect("there is room for as many digits");
}
