//! Records gathered for one append.

use frame::FrameError;
use frame::limits::{APPEND_BYTES_MAX, APPEND_RECORDS_MAX};
use frame::proto::{APPEND_FIXED_BYTES, HEADER_BYTES};

/// Records for one append, encoded as they will lie on disk.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    frames: Vec<u8>,
    records: u32,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a record. `false`, and nothing is added, if the batch has no room for it: send it first.
    ///
    /// # Errors
    /// The record is larger than records may be.
    pub fn push(&mut self, key: &[u8], data: &[u8]) -> Result<bool, FrameError> {
        let bytes = frame::frame::frame_bytes(0, key.len(), data.len());
        let full = self.message_bytes() + bytes > APPEND_BYTES_MAX || self.records as usize >= APPEND_RECORDS_MAX;
        if full && !self.is_empty() {
            return Ok(false);
        }
        frame::frame::encode(&mut self.frames, key, None, data)?;
        self.records += 1;
        Ok(true)
    }

    /// Adds a frame of another batch. `false`, and nothing is added, if there is no room.
    pub(crate) fn push_frame(&mut self, frame: &[u8]) -> bool {
        let fits =
            self.message_bytes() + frame.len() <= APPEND_BYTES_MAX && (self.records as usize) < APPEND_RECORDS_MAX;
        if fits {
            self.frames.extend_from_slice(frame);
            self.records += 1;
        }
        fits
    }

    /// The frame of each record.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.frames[..];
        std::iter::from_fn(move || {
            let length = frame::frame::claimed_length(*rest.first_chunk()?).ok()?;
            let (frame, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(frame)
        })
    }

    /// Records in it.
    pub fn len(&self) -> u32 {
        self.records
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of its append on the wire, which is what credit counts.
    pub fn message_bytes(&self) -> usize {
        HEADER_BYTES + APPEND_FIXED_BYTES + self.frames.len()
    }

    /// Its records' bytes.
    pub fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// Its records' bytes, for those who want to send what is wrong.
    pub fn frames_mut(&mut self) -> &mut [u8] {
        &mut self.frames
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.records = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_batch_takes_no_more() {
        let mut batch = Batch::new();
        for _ in 0..APPEND_RECORDS_MAX {
            assert_eq!(batch.push(b"k", b"d"), Ok(true));
        }
        assert_eq!(batch.push(b"k", b"d"), Ok(false));
        assert_eq!(batch.len() as usize, APPEND_RECORDS_MAX);
        batch.clear();
        let data = vec![0; 1 << 20];
        assert_eq!(batch.push(b"k", &data), Err(FrameError::Lengths), "key and data together are too long");
        while batch.push(b"", &data).unwrap() {}
        assert!(batch.message_bytes() <= APPEND_BYTES_MAX && batch.len() == 7, "{}", batch.len());
    }
}
