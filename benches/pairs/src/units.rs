//! Sizes as people write them.

const UNITS: [(&str, u32); 8] =
    [("k", 10), ("kib", 10), ("m", 20), ("mib", 20), ("g", 30), ("gib", 30), ("", 0), ("b", 0)];

/// Reads `64k`, `512MiB`, `4GiB` or plain bytes; units are powers of two.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, shift)| number.parse::<u64>().ok()?.checked_mul(1 << shift))
        .ok_or_else(|| format!("'{text}' is not a size: write bytes, or 64k, 512MiB, 4GiB"))
}

/// Writes bytes in the shortest exact form that both measured programs read: `256k` for the limit, with `ib` for the others.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let units = [(30, "g"), (20, "m"), (10, "k")];
    match units.into_iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// A number with as many digits as it deserves.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write_back() {
        for (text, bytes, shown) in [("4k", 4096, "4k"), ("16GiB", 16 << 30, "16g"), ("1000", 1000, "1000")] {
            assert_eq!(parse_bytes(text), Ok(bytes));
            assert_eq!(show_bytes(bytes), shown);
        }
        for text in ["", "k", "-1", "4.5g", "4x"] {
            assert!(parse_bytes(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!([1234.4, 12.34, 0.7612, 0.0123].map(show), ["1234", "12.3", "0.76", "0.012"]);
    }
}
