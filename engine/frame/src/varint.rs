//! LEB128 numbers, for the delta-coded part of a footer.

/// Appends `values`, each in one to ten bytes.
pub(crate) fn put<const COUNT: usize>(out: &mut Vec<u8>, values: [u64; COUNT]) {
    let mut bytes = [[0; 10]; COUNT];
    let bytes = bytes.as_flattened_mut();
    let mut length = 0;
    for mut value in values {
        while value >= 0x80 {
            bytes[length] = value as u8 | 0x80;
            length += 1;
            value >>= 7;
        }
        bytes[length] = value as u8;
        length += 1;
    }
    out.extend_from_slice(&bytes[..length]);
}

/// Takes a number off the front of `bytes`; `None` if they end too soon or it does not fit 64 bits.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, [value]);
            let mut bytes = &out[..];
            assert_eq!(take(&mut bytes), Some(value));
            assert!(bytes.is_empty());
        }
        assert_eq!(take(&mut &[0xff_u8; 12][..]), None);
        assert_eq!(take(&mut &[0x80_u8][..]), None);
    }
}
