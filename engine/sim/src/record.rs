//! The records that clients append: each says who it is, and every byte of it follows from that.

use frame::Frame;

/// The smallest data: the attempt's number.
pub(crate) const DATA_BYTES_MIN: usize = 8;

/// What a record is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recipe {
    /// Its number in the model.
    pub(crate) attempt: u64,
    /// Which partition key.
    pub(crate) key: u16,
    /// Whether it chooses its own hash key.
    pub(crate) explicit_hash: Option<u128>,
    /// Bytes of data.
    pub(crate) data_bytes: usize,
}

impl Recipe {
    pub(crate) fn key(&self) -> String {
        format!("key-{}", self.key)
    }

    fn data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.data_bytes + 8);
        let mut word = self.attempt;
        while data.len() < self.data_bytes {
            data.extend_from_slice(&word.to_le_bytes());
            word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        }
        data.truncate(self.data_bytes);
        data
    }

    /// Appends the frame to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let encoded = frame::frame::encode(out, self.key().as_bytes(), self.explicit_hash, &self.data());
        encoded.expect("plans keep within the limits");
    }

    /// Whether a frame is this record, byte by byte.
    pub(crate) fn is(&self, frame: &Frame<'_>) -> bool {
        frame.key() == self.key().as_bytes()
            && frame.explicit_hash_key() == self.explicit_hash
            && frame.data() == self.data()
    }
}

/// The attempt that a frame says it is.
pub(crate) fn attempt_of(frame: &Frame<'_>) -> Option<u64> {
    frame.data().first_chunk().map(|number| u64::from_le_bytes(*number))
}
