//! Sizes as people write them: `4k`, `256k`, `1m`, `2g` (powers of two) or plain bytes.

/// Reads a size such as `256k` into bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        _ => (lower.as_str(), 0),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(1 << shift))
        .ok_or_else(|| format!("'{text}' is not a size: write bytes, or 4k, 256k, 1m, 2g"))
}

/// Writes bytes back in the shortest exact form: 262144 is `256k`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    for (shift, unit) in [(30, "g"), (20, "m"), (10, "k")] {
        if bytes > 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write_back() {
        for (text, bytes) in [("4k", 4096), ("256K", 262_144), ("1m", 1 << 20), ("2g", 2 << 30), ("512", 512)] {
            assert_eq!(parse_bytes(text), Ok(bytes));
            assert_eq!(show_bytes(bytes), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "k", "-4k", "4kb", "1.5m", "99999999999g"] {
            assert!(parse_bytes(text).is_err(), "{text} was taken");
        }
    }
}
