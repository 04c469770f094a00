//! Records gathered for one append.

use frame::limits::{APPEND_BYTES_MAX, APPEND_RECORDS_MAX};
use frame::proto::{APPEND_FIXED_BYTES, HEADER_BYTES};
use frame::{Extensions, Frame, FrameError, Numbered, parts};

/// Records for one append, encoded as they will lie on disk.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    frames: Vec<u8>,
    records: u32,
    frame_count: u32,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a record, in parts if one frame can't hold it. `false`, and nothing is added, if the batch has no room for it: send it first.
    ///
    /// # Errors
    /// The record is larger than records may be.
    pub fn push(&mut self, key: &[u8], data: &[u8]) -> Result<bool, FrameError> {
        self.push_numbered(key, None, data)
    }

    /// The same with its producer's number, by which the server knows it again when it is sent again.
    ///
    /// # Errors
    /// As of [`Batch::push`], and [`FrameError::Number`] if the producer or its number can't be.
    pub fn push_numbered(&mut self, key: &[u8], numbered: Option<Numbered>, data: &[u8]) -> Result<bool, FrameError> {
        let extensions = Extensions { numbered, ..Extensions::default() };
        let (frames, bytes) = parts::encoded_size_with(extensions.bytes(), key.len(), data.len());
        let full =
            self.message_bytes() + bytes > APPEND_BYTES_MAX || self.frame_count as usize + frames > APPEND_RECORDS_MAX;
        if full && !self.is_empty() {
            return Ok(false);
        }
        let encoded = parts::encode_numbered(&mut self.frames, key, None, numbered, [data])?;
        self.records += 1;
        self.frame_count += encoded.frames;
        Ok(true)
    }

    /// Adds a record of another batch, as [`Batch::each`] gives it. `false`, and nothing is added, if there is no room.
    pub(crate) fn push_record(&mut self, frames: &[u8]) -> bool {
        let count = Frame::parse(frames).ok().and_then(|frame| frame.part()).map_or(1, |part| u32::from(part.count));
        let fits = self.message_bytes() + frames.len() <= APPEND_BYTES_MAX
            && (self.frame_count + count) as usize <= APPEND_RECORDS_MAX;
        if fits {
            self.frames.extend_from_slice(frames);
            self.records += 1;
            self.frame_count += count;
        }
        fits
    }

    /// The frames of each record.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.frames[..];
        std::iter::from_fn(move || {
            let mut length = 0;
            loop {
                let frame = Frame::parse(rest.get(length..)?).ok()?;
                length += frame.length();
                if frame.part().is_none_or(|part| part.is_last()) {
                    break;
                }
            }
            let (record, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(record)
        })
    }

    /// Records in it.
    pub fn len(&self) -> u32 {
        self.records
    }

    /// Frames of all of them.
    pub fn frame_count(&self) -> u32 {
        self.frame_count
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
        (self.records, self.frame_count) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use frame::limits::LARGE_RECORD_BYTES_MAX;

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
        assert_eq!((batch.push(b"k", &data), batch.frame_count()), (Ok(true), 2), "more than a frame holds");
        batch.clear();
        while batch.push(b"", &data).unwrap() {}
        assert!(batch.message_bytes() <= APPEND_BYTES_MAX && batch.len() == 11, "{}", batch.len());
    }

    #[test]
    fn a_record_of_the_largest_size_goes_alone() {
        let mut batch = Batch::new();
        let data = vec![7; LARGE_RECORD_BYTES_MAX - 1];
        assert_eq!(batch.push(b"ky", &data), Err(FrameError::LargeRecord { bytes: LARGE_RECORD_BYTES_MAX + 1 }));
        assert!(batch.is_empty() && batch.frames().is_empty());
        assert_eq!(batch.push(b"k", &data), Ok(true));
        assert!(batch.message_bytes() <= APPEND_BYTES_MAX && batch.frame_count() > 10);
        assert_eq!((batch.push(b"k", &data), batch.len()), (Ok(false), 1));
    }
}
