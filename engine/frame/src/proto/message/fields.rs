//! Numbers and texts of a fixed part, and messages that are nothing else.

use super::kind::Kind;
use crate::id::RequestId;
use crate::proto::{HEADER_BYTES, Violation, begin, finish};

/// Reads numbers and texts off a fixed part.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Violation::Malformed("it ends too soon"))?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Violation::Malformed("it ends too soon"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Violation> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, Violation> {
        self.array().map(u128::from_le_bytes)
    }

    pub(super) fn text(&mut self, bytes_max: usize) -> Result<String, Violation> {
        let length = usize::from(self.u16()?);
        if length > bytes_max {
            return Err(Violation::Malformed("a text longer than allowed"));
        }
        let text = std::str::from_utf8(self.bytes(length)?);
        text.map(str::to_owned).map_err(|_| Violation::Malformed("a text that is not UTF-8"))
    }

    pub(super) fn end(&self) -> Result<(), Violation> {
        if self.0.is_empty() { Ok(()) } else { Err(Violation::Malformed("more bytes than its kind has")) }
    }
}

/// Appends a text.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text);
}

/// A message whose fixed part is all of it.
pub(crate) trait Control: Sized {
    const KIND: Kind;

    fn put(&self, out: &mut Vec<u8>);

    fn take(fields: &mut FieldsOf<'_>) -> Result<Self, Violation>;

    fn encode(&self, out: &mut Vec<u8>, request: RequestId) {
        let start = begin(out, Self::KIND, request);
        self.put(out);
        let length = out.len() - start;
        finish(out, start, length - HEADER_BYTES, length);
    }

    fn decode(fixed: &[u8]) -> Result<Self, Violation> {
        let mut fields = FieldsOf(Fields(fixed));
        let message = Self::take(&mut fields)?;
        fields.0.end()?;
        Ok(message)
    }
}

/// Hides the reader's methods from other modules, which only hand it on.
pub(crate) struct FieldsOf<'a>(pub(super) Fields<'a>);
