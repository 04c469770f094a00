//! Numbers as digits of a fixed count: each record that is told has some.

/// Digits that are made at once, and the number that they end at.
pub(crate) const COUNT: usize = 8;
pub(crate) const END: u64 = 10_u64.pow(COUNT as u32);

/// The digits of a number below [`END`], zeros in front. Halves are cut into halves, in all of a word's lanes by one
/// multiplication: a quotient by 100 of what is below 10,000 is exact that way, and one by 10 of what is below 100.
pub(crate) fn eight(number: u64) -> [u8; COUNT] {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0xf_000f_000f_000f;
    let ones = tens | ((twos - tens * 10) << 8);
    (ones | 0x3030_3030_3030_3030).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In each lane every value that it can have.
    #[test]
    fn digits_are_as_by_the_library() {
        for four in 0..10_000 {
            for number in [four, four * 10_000, four * 10_000 + 9_999, 99_990_000 + four] {
                assert_eq!(eight(number), *format!("{number:08}").as_bytes(), "{number}");
            }
        }
    }
}
