//! The bytes between the two ends: messages of one size that start with a header, and replies that are only a header.

/// Bytes of a message's header and of a whole reply: identifier, size and magic, little-endian.
pub(super) const HEADER_BYTES: usize = 16;

const MAGIC: u32 = 0x4c49_4d31;

/// The header of a message of `size` bytes, or of the reply that says that so many were written.
pub(super) fn encode(id: u64, size: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..12].copy_from_slice(&size.to_le_bytes());
    bytes[12..].copy_from_slice(&MAGIC.to_le_bytes());
    bytes
}

/// The identifier, if the bytes start with a header for that size.
pub(super) fn decode(bytes: &[u8], size: u32) -> Option<u64> {
    let (id, rest) = bytes.split_first_chunk::<8>()?;
    let (got_size, rest) = rest.split_first_chunk::<4>()?;
    let (magic, _) = rest.split_first_chunk::<4>()?;
    let good = u32::from_le_bytes(*got_size) == size && u32::from_le_bytes(*magic) == MAGIC;
    good.then(|| u64::from_le_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_another_size_does_not() {
        let bytes = encode(77, 4096);
        assert_eq!(decode(&bytes, 4096), Some(77));
        assert_eq!(decode(&bytes, 8192), None);
        assert_eq!(decode(&bytes[..15], 4096), None);
        assert_eq!(decode(&[0; HEADER_BYTES], 0), None, "zeros are no header");
    }
}
