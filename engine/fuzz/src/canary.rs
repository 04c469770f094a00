//! A target with a planted bug: if the seeds do not find it, they would not find one of its kind elsewhere.
//!
//! The bug is the usual one of hand-written decoders: two lengths are each checked against the message, and their sum is
//! not. It takes an input that keeps magic and version and has both lengths large at once.

use crate::program::Program;

const MAGIC: u32 = u32::from_le_bytes(*b"CNRY");
const VERSION: u8 = 1;

/// Decodes a message wrongly. Panics for some inputs: that is what it is for.
pub fn run(input: &[u8]) {
    let mut program = Program(input);
    if program.word() != MAGIC || program.byte() != VERSION {
        return;
    }
    let (key, data) = (usize::from(program.byte()), usize::from(program.byte()));
    let body = program.0;
    if key <= body.len() && data <= body.len() {
        // Here `key + data <= body.len()` is missing.
        let record = &body[key..key + data];
        assert!(record.len() == data);
    }
}

/// A message that is decoded rightly.
pub fn starts() -> Vec<(&'static str, Vec<u8>)> {
    vec![("message", b"CNRY\x01\x03\x05keydata!".to_vec())]
}
