//! The records that clients append: each says who it is, and every byte of it follows from that.

use frame::parts::{self, Record};
use frame::{Extensions, Numbered};

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
    /// Into how many parts it is cut at most; 1: into none.
    pub(crate) parts: usize,
}

impl Recipe {
    pub(crate) fn key(&self) -> String {
        format!("key-{}", self.key)
    }

    /// The data, eight bytes at a time: the number itself, then what follows from it.
    fn words(&self) -> impl Iterator<Item = [u8; 8]> {
        let next = |word: &u64| Some(word.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
        std::iter::successors(Some(self.attempt), next).map(u64::to_le_bytes)
    }

    fn data(&self) -> Vec<u8> {
        let mut data = vec![0; self.data_bytes.next_multiple_of(8)];
        data.as_chunks_mut().0.iter_mut().zip(self.words()).for_each(|(chunk, word)| *chunk = word);
        data.truncate(self.data_bytes);
        data
    }

    fn is_data(&self, data: &[u8]) -> bool {
        let (chunks, rest) = data.as_chunks();
        let mut words = self.words();
        data.len() == self.data_bytes
            && chunks.iter().zip(words.by_ref()).all(|(chunk, word)| *chunk == word)
            && words.next().is_some_and(|word| word.starts_with(rest))
    }

    /// How many frames it takes.
    pub(crate) fn frames(&self) -> u64 {
        self.data_bytes.div_ceil(self.part_bytes()) as u64
    }

    fn part_bytes(&self) -> usize {
        self.data_bytes.div_ceil(self.parts.max(1)).max(1)
    }

    /// Appends its frames to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_numbered(None, out);
    }

    /// The same with its producer's number.
    pub(crate) fn encode_numbered(&self, numbered: Option<Numbered>, out: &mut Vec<u8>) {
        let (key, data) = (self.key(), self.data());
        let extensions = Extensions { explicit_hash_key: self.explicit_hash, numbered, part: None };
        let encoded = parts::encode_cut_extended(out, key.as_bytes(), &extensions, [&data], self.part_bytes());
        assert_eq!(u64::from(encoded.expect("plans keep within the limits").frames), self.frames());
    }

    /// Whether a record is this one, byte by byte.
    pub(crate) fn is(&self, record: &Record<'_>) -> bool {
        record.key == self.key().as_bytes()
            && record.explicit_hash_key == self.explicit_hash
            && record.sequence.0 + 1 == record.first.0 + self.frames()
            && self.is_data(record.data)
    }
}

/// The attempt that a record says it is.
pub(crate) fn attempt_of(record: &Record<'_>) -> Option<u64> {
    record.data.first_chunk().map(|number| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use frame::Frame;

    use super::*;

    #[test]
    fn a_record_is_itself_and_no_other() {
        for data_bytes in [8, 9, 15, 16, 100, 1001] {
            let recipe = Recipe { attempt: 7, key: 3, explicit_hash: None, data_bytes, parts: 1 };
            let mut bytes = Vec::new();
            recipe.encode(&mut bytes);
            let record = Record::of(&Frame::parse(&bytes).unwrap());
            assert_eq!(attempt_of(&record), Some(7));
            assert!(recipe.is(&record));
            assert!(!Recipe { attempt: 8, ..recipe }.is(&record));
            assert!(!Recipe { key: 4, ..recipe }.is(&record));
            assert!(!Recipe { parts: 2, ..recipe }.is(&record));
            assert!(!Recipe { data_bytes: data_bytes + 1, ..recipe }.is(&record));
            for at in 0..data_bytes {
                let mut other = bytes.clone();
                other[frame::frame::HEADER_BYTES + recipe.key().len() + at] ^= 1;
                assert!(!recipe.is(&Record::of(&Frame::parse(&other).unwrap())), "byte {at} of {data_bytes}");
            }
        }
    }
}
