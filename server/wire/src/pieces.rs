//! An answer that is written piece by piece, as it is sent: one that ends in a long list. So it takes room for what it tells of
//! and a piece, not for all of it as it is written.

use std::vec;

use serde::ser::Serialize;

use crate::codec::Codec;
use crate::error::{Error, ErrorKind};

/// A piece has so many bytes, or as many more as its last item makes them.
pub const PIECE_BYTES: usize = 64 << 10;

/// What ends an answer in JSON.
const END: &[u8] = b"]}";

/// Room for the item that a piece ends with, if it is not long.
const ITEM_BYTES: usize = 4 << 10;

/// What a list has many of.
pub trait Item {
    /// Writes it behind what was written before.
    ///
    /// # Errors
    /// It can't be written.
    fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error>;

    /// The bytes that this takes.
    ///
    /// # Errors
    /// It can't be written.
    fn length(&self, codec: Codec) -> Result<usize, Error>;
}

/// The pieces of an answer, in their order.
#[derive(Debug)]
pub struct Pieces<T> {
    codec: Codec,
    /// Written, and in no piece yet.
    out: Vec<u8>,
    items: vec::IntoIter<T>,
    is_over: bool,
    /// Bytes of all pieces to come.
    bytes: usize,
}

impl<T: Item> Pieces<T> {
    /// An answer with some members, and a last one of this name which is a list.
    ///
    /// # Errors
    /// The members can't be written.
    pub fn new(codec: Codec, members: &impl Serialize, name: &str, items: Vec<T>) -> Result<Pieces<T>, Error> {
        let mut out = codec.write(members)?;
        match codec {
            Codec::Json => {
                out.pop_if(|last| *last == b'}').ok_or_else(no_map)?;
                if out != b"{" {
                    out.push(b',');
                }
                codec.write_to(&mut out, name)?;
                out.extend_from_slice(b":[");
            }
            Codec::Cbor => {
                // A map of few members has their number in its first byte.
                *out.first_mut().filter(|first| (0xa0..0xb7).contains(*first)).ok_or_else(no_map)? += 1;
                codec.write_to(&mut out, name)?;
                list_head(&mut out, items.len() as u64);
            }
        }
        let mut bytes = out.len();
        for item in &items {
            bytes += item.length(codec)?;
        }
        if codec == Codec::Json {
            bytes += items.len().saturating_sub(1) + END.len();
        }
        Ok(Pieces { codec, out, items: items.into_iter(), is_over: false, bytes })
    }

    /// All of them at once, where they are not many.
    ///
    /// # Errors
    /// An item can't be written.
    pub fn whole(self) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        for piece in self {
            if whole.is_empty() {
                whole = piece?;
            } else {
                whole.extend_from_slice(&piece?);
            }
        }
        Ok(whole)
    }

    /// Bytes of all pieces to come.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing more.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn piece(&mut self) -> Result<Vec<u8>, Error> {
        let mut out = std::mem::take(&mut self.out);
        out.reserve((PIECE_BYTES + ITEM_BYTES).saturating_sub(out.len()));
        while self.items.len() == 0 || out.len() < PIECE_BYTES {
            let Some(item) = self.items.next() else {
                self.is_over = true;
                if self.codec == Codec::Json {
                    out.extend_from_slice(END);
                }
                break;
            };
            item.write(self.codec, &mut out)?;
            if self.codec == Codec::Json && self.items.len() > 0 {
                out.push(b',');
            }
        }
        Ok(out)
    }
}

impl<T: Item> Iterator for Pieces<T> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Result<Vec<u8>, Error>> {
        if self.is_over {
            return None;
        }
        let piece = self.piece();
        match &piece {
            Ok(piece) => self.bytes = self.bytes.saturating_sub(piece.len()),
            Err(_) => self.is_over = true,
        }
        Some(piece)
    }
}

/// CBOR's head of a list of so many items.
fn list_head(out: &mut Vec<u8>, items: u64) {
    const LIST: u8 = 4 << 5;
    match items {
        0..24 => out.push(LIST | items as u8),
        24..0x1_0000 => {
            out.push(LIST | 25);
            out.extend_from_slice(&(items as u16).to_be_bytes());
        }
        _ => {
            out.push(LIST | 27);
            out.extend_from_slice(&items.to_be_bytes());
        }
    }
}

fn no_map() -> Error {
    Error::new(ErrorKind::InternalFailure, "The members of an answer are no map.")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde::Serialize;

    use super::*;
    use crate::codec::Blob;

    #[derive(Serialize)]
    struct Item {
        number: usize,
        data: Blob,
    }

    impl super::Item for Item {
        fn write(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), Error> {
            codec.write_to(out, self)
        }

        fn length(&self, codec: Codec) -> Result<usize, Error> {
            codec.length_of(self)
        }
    }

    #[derive(Serialize)]
    struct Members {
        #[serde(skip_serializing_if = "Option::is_none")]
        behind: Option<u64>,
    }

    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        members: &'a Members,
        #[serde(rename = "Items")]
        items: &'a [Item],
    }

    fn items(count: usize, bytes: usize) -> Vec<Item> {
        (0..count).map(|number| Item { number, data: Blob(Bytes::from(vec![number as u8; bytes])) }).collect()
    }

    /// Whatever its length, it reads as if it had been written at once.
    #[test]
    fn pieces_are_the_whole() {
        let lists =
            [(0, 0), (1, 10), (23, 10), (24, 10), (25, 10), (300, 1_000), (2_000, 3), (3, 200_000), (70_000, 0)];
        for (codec, (count, bytes)) in
            [Codec::Json, Codec::Cbor].into_iter().flat_map(|codec| lists.map(|list| (codec, list)))
        {
            for behind in [None, Some(7)] {
                let members = Members { behind };
                let pieces = Pieces::new(codec, &members, "Items", items(count, bytes)).expect("they are a map");
                let length = pieces.bytes();
                let pieces: Vec<Vec<u8>> = pieces.map(|piece| piece.expect("it can be written")).collect();
                let most = PIECE_BYTES + 2 * bytes + 64;
                assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= most), "{count} of {bytes}");
                let (_, others) = pieces.split_last().expect("there is one");
                assert!(others.iter().all(|piece| piece.len() >= PIECE_BYTES));
                let written = pieces.concat();
                let again = Pieces::new(codec, &members, "Items", items(count, bytes)).expect("they are a map");
                assert!(again.whole().expect("it can be written") == written, "{count} of {bytes}");
                assert_eq!(written.len(), length, "{count} of {bytes}");
                let whole = Whole { members: &members, items: &items(count, bytes) };
                match codec {
                    Codec::Json => {
                        let read: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
                        let other = codec.write(&whole).expect("it can be written");
                        let other: serde_json::Value = serde_json::from_slice(&other).expect("JSON");
                        assert!(read == other, "{count} of {bytes}");
                    }
                    Codec::Cbor => {
                        let read: ciborium::Value = ciborium::from_reader(&written[..]).expect("CBOR");
                        let other = codec.write(&whole).expect("it can be written");
                        let other: ciborium::Value = ciborium::from_reader(&other[..]).expect("CBOR");
                        assert!(read == other, "{count} of {bytes}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_members_begin_an_answer() {
        for codec in [Codec::Json, Codec::Cbor] {
            assert!(Pieces::new(codec, &7, "Items", items(1, 1)).is_err());
        }
    }
}
