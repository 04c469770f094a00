//! Numbers as digits of a fixed count, in place: each record that is told has some.

/// Writes a number at the end of `digits`, which are zeros where it has none. It has no more than there are.
pub(crate) fn right_align(number: u64, digits: &mut [u8]) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number).as_bytes();
    let start = digits.len() - text.len();
    digits[start..].copy_from_slice(text);
}
