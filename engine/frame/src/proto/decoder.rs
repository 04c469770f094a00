//! Cuts a byte stream into headers, fixed parts and frames, for both ends.
//!
//! What lies whole in the bytes just received is pointed to there; what straddles two receives is gathered in a buffer of
//! the connection's own, which never grows past the largest unit that the limits allow.

use std::ops::Range;

use super::{HEADER_BYTES, Kind, MessageHeader, Violation};
use crate::frame;
use crate::id::RequestId;

/// Where a unit's bytes are: in what was just received, or gathered by the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Span {
    /// This range of the bytes handed in.
    Input(Range<usize>),
    /// Gathered; valid until the next step of the connection.
    Gathered,
}

/// One unit of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// A message's fixed part, verified. Frames follow for the kinds that carry them.
    Fixed { kind: Kind, request: RequestId, frames_bytes: usize, span: Span },
    /// One frame of the message; its length was checked, its contents were not.
    Frame(Span),
    /// The last frame of a message has been given.
    End(RequestId),
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Header,
    Fixed(MessageHeader),
    Frames { request: RequestId, left: usize },
}

/// Gathered buffers above this are given back once their unit was used.
const GATHERED_KEEP_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Decoder {
    stage: Stage,
    gathered: Vec<u8>,
    gathered_used: bool,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { stage: Stage::Header, gathered: Vec::new(), gathered_used: false }
    }

    /// The bytes of `span`, which the last step returned for this `input`.
    pub(crate) fn bytes<'a>(&'a self, span: &Span, input: &'a [u8]) -> &'a [u8] {
        match span {
            Span::Input(range) => input.get(range.clone()).unwrap_or_default(),
            Span::Gathered => &self.gathered,
        }
    }

    /// The length of the next frame, if it is known and `input` from `at` does not hold the rest of it: it is to be gathered.
    pub(crate) fn frame_in_pieces(&self, input: &[u8], at: usize) -> Option<usize> {
        let Stage::Frames { left: 1.., .. } = self.stage else { return None };
        let gathered = if self.gathered_used { &[][..] } else { &self.gathered };
        let rest = input.get(at..)?;
        let mut prefix = gathered.iter().chain(rest).copied();
        let prefix = [prefix.next()?, prefix.next()?, prefix.next()?, prefix.next()?];
        let length = frame::claimed_length(prefix).ok()?;
        (gathered.len() + rest.len() < length).then_some(length)
    }

    /// What was gathered and returned by the last step; `spare` takes its place.
    pub(crate) fn take_gathered(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        spare.clear();
        self.gathered_used = false;
        std::mem::replace(&mut self.gathered, spare)
    }

    /// The next unit in `input` from `at`, which moves on; `None` when more bytes are needed (and all were taken).
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        at: &mut usize,
        bounds: fn(Kind) -> Option<Range<usize>>,
    ) -> Result<Option<Unit>, Violation> {
        loop {
            match self.stage {
                Stage::Header => {
                    let Some(span) = self.take(input, at, HEADER_BYTES) else { return Ok(None) };
                    let header = MessageHeader::parse(self.bytes(&span, input))?;
                    let bounds = bounds(header.kind).ok_or(Violation::Kind(header.kind as u8))?;
                    if !bounds.contains(&header.length) {
                        return Err(Violation::Length { kind: header.kind as u8, length: header.length });
                    }
                    self.stage = Stage::Fixed(header);
                }
                Stage::Fixed(header) => {
                    let body = header.length - HEADER_BYTES;
                    let fixed = header.kind.fixed_bytes().unwrap_or(body);
                    let Some(span) = self.take(input, at, fixed) else { return Ok(None) };
                    header.verify(self.bytes(&span, input))?;
                    let (kind, request) = (header.kind, header.request);
                    self.stage = match kind.fixed_bytes() {
                        Some(_) => Stage::Frames { request, left: body - fixed },
                        None => Stage::Header,
                    };
                    return Ok(Some(Unit::Fixed { kind, request, frames_bytes: body - fixed, span }));
                }
                Stage::Frames { request, left: 0 } => {
                    self.stage = Stage::Header;
                    return Ok(Some(Unit::End(request)));
                }
                Stage::Frames { request, left } => {
                    let Some(length) = self.frame_length(input, at)? else { return Ok(None) };
                    if length > left {
                        return Err(Violation::Frame(crate::FrameError::Short { need: length, have: left }));
                    }
                    let Some(span) = self.take(input, at, length) else { return Ok(None) };
                    self.stage = Stage::Frames { request, left: left - length };
                    return Ok(Some(Unit::Frame(span)));
                }
            }
        }
    }

    /// The next frame of the message, if it lies whole in `input` from `at`, which moves on: the short way for what
    /// [`Decoder::step`] would return. `None` leaves everything as it was.
    pub(crate) fn frame_within(&mut self, input: &[u8], at: &mut usize) -> Option<Range<usize>> {
        self.forget_used();
        let Stage::Frames { request, left } = self.stage else { return None };
        let rest = input.get(*at..)?;
        let length = frame::claimed_length(*rest.first_chunk()?).ok()?;
        if length > left || length > rest.len() || !self.gathered.is_empty() {
            return None;
        }
        self.stage = Stage::Frames { request, left: left - length };
        *at += length;
        Some(*at - length..*at)
    }

    /// The length of the frame that starts at `at`, or in the gathered bytes; `None` while its first bytes are not there.
    fn frame_length(&mut self, input: &[u8], at: &mut usize) -> Result<Option<usize>, Violation> {
        self.forget_used();
        let rest = input.get(*at..).unwrap_or_default();
        let prefix = if self.gathered.is_empty() {
            rest.first_chunk::<4>()
        } else {
            let missing = 4_usize.saturating_sub(self.gathered.len()).min(rest.len());
            self.gathered.extend_from_slice(&rest[..missing]);
            *at += missing;
            self.gathered.first_chunk::<4>()
        };
        match prefix {
            Some(prefix) => frame::claimed_length(*prefix).map(Some).map_err(Violation::Frame),
            None => {
                self.gathered.extend_from_slice(&input[*at..]);
                *at = input.len();
                Ok(None)
            }
        }
    }

    /// Takes `length` bytes, counting those gathered before; `None`, with all of `input` gathered, if there are fewer.
    fn take(&mut self, input: &[u8], at: &mut usize, length: usize) -> Option<Span> {
        self.forget_used();
        let rest = input.len() - *at;
        if self.gathered.is_empty() && rest >= length {
            *at += length;
            return Some(Span::Input(*at - length..*at));
        }
        let missing = length - self.gathered.len();
        // No more than the unit takes: a connection holds it alone, and may hand its memory on.
        self.gathered.reserve_exact(missing);
        let taken = missing.min(rest);
        self.gathered.extend_from_slice(&input[*at..*at + taken]);
        *at += taken;
        self.gathered_used = self.gathered.len() == length;
        self.gathered_used.then_some(Span::Gathered)
    }

    #[inline]
    fn forget_used(&mut self) {
        if self.gathered_used {
            self.gathered.clear();
            self.gathered.shrink_to(GATHERED_KEEP_BYTES);
            self.gathered_used = false;
        }
    }
}
