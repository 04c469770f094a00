//! A copy into memory that only the device reads next.

/// Copies with stores that go past the cache. The device has just read the old contents of such a buffer, so ordinary stores
/// first fetch every line back: with 256 KiB x 4 writes in flight the server's thread spent 0.48 s of processor time per GB
/// with an ordinary copy, 0.25 s with this one, and the chain went from 1.81 to 2.11 GB/s (medians of ten alternating runs).
///
/// # Panics
/// If the lengths differ.
#[cfg(target_arch = "x86_64")]
pub(crate) fn copy_past_cache(from: &[u8], to: &mut [u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    const VECTOR_BYTES: usize = size_of::<__m128i>();

    assert_eq!(from.len(), to.len(), "a copy has two sides");
    let head = to.as_ptr().align_offset(VECTOR_BYTES).min(to.len());
    let vectors = (to.len() - head) / VECTOR_BYTES;
    let tail = head + vectors * VECTOR_BYTES;
    to[..head].copy_from_slice(&from[..head]);
    let (source, sink) = (from[head..tail].as_ptr(), to[head..tail].as_mut_ptr());
    for offset in (0..tail - head).step_by(VECTOR_BYTES) {
        // SAFETY: both sides have `tail - head` bytes, whole vectors; the sink is aligned to them. Every x86-64 has these
        // instructions.
        unsafe {
            let vector = _mm_loadu_si128(source.add(offset).cast());
            _mm_stream_si128(sink.add(offset).cast(), vector);
        }
    }
    // SAFETY: a fence touches no memory. It orders the stores before whatever makes the buffer known to the device.
    unsafe { _mm_sfence() };
    to[tail..].copy_from_slice(&from[tail..]);
}

/// Copies; this processor has no stores past the cache that are worth their code.
///
/// # Panics
/// If the lengths differ.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn copy_past_cache(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alignment_and_length_is_copied_and_nothing_beside() {
        let from: Vec<u8> = (0..200_u8).collect();
        for start in 0..20 {
            for length in 0..100 {
                let mut to = [255; 200];
                copy_past_cache(&from[7..7 + length], &mut to[start..start + length]);
                assert_eq!(&to[start..start + length], &from[7..7 + length]);
                assert!(to[..start].iter().chain(&to[start + length..]).all(|byte| *byte == 255));
            }
        }
    }
}
