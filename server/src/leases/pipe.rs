//! What goes over the pipes between the server and the process that keeps the tables.
//!
//! ```text
//!   question:  operation's length u8 | region's length u8 | body's length u32 | operation | region | body
//!   answer:    status u16            | body's length u32  | body
//! ```
//!
//! Numbers are little endian. The server's own region is empty.

use std::io::{self, Read, Write};

use super::Answer;

/// The longest body of an answer: 100 items of the largest size.
pub(crate) const ANSWER_BYTES_MAX: u32 = 48 << 20;

pub(super) fn write_question(out: &mut impl Write, operation: &str, region: &str, body: &[u8]) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let length = |word: &str| u8::try_from(word.len()).map_err(too_long);
    out.write_all(&[length(operation)?, length(region)?])?;
    out.write_all(&u32::try_from(body.len()).map_err(too_long)?.to_le_bytes())?;
    out.write_all(operation.as_bytes())?;
    out.write_all(region.as_bytes())?;
    out.write_all(body)
}

pub(super) fn read_answer(input: &mut impl Read) -> io::Result<Answer> {
    let (mut status, mut length) = ([0; 2], [0; 4]);
    input.read_exact(&mut status)?;
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body)?;
    Ok(Answer { status: u16::from_le_bytes(status), body })
}

/// The next question, its operation, region and body; nothing once there will be none.
#[cfg(feature = "leases")]
pub(super) fn read_question(input: &mut impl Read) -> io::Result<Option<(String, String, Vec<u8>)>> {
    let (mut words, mut length) = ([0; 2], [0; 4]);
    match input.read_exact(&mut words) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    }
    input.read_exact(&mut length)?;
    let mut bytes = |length: usize| {
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes).map(|()| bytes)
    };
    let [operation, region] = words.map(usize::from);
    let (operation, region) = (bytes(operation)?, bytes(region)?);
    let body = bytes(u32::from_le_bytes(length) as usize)?;
    let text = |bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData);
    Ok(Some((text(operation)?, text(region)?, body)))
}

#[cfg(feature = "leases")]
pub(super) fn write_answer(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let too_long = Answer {
        status: 400,
        body: br#"{"__type":"com.amazon.coral.validate#ValidationException","message":"The answer would be too long; ask for fewer items."}"#.to_vec(),
    };
    let is_too_long = answer.body.len() > ANSWER_BYTES_MAX as usize;
    let answer = if is_too_long { &too_long } else { answer };
    out.write_all(&answer.status.to_le_bytes())?;
    let length = u32::try_from(answer.body.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&answer.body)
}
