//! Standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a line. Whoever has closed the pipe has read enough; anything else that is in the way is told, and the results are in
/// their folder all the same.
pub fn print(text: impl Display) {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("millstream-load: standard output can't be written to: {error}; the results are in their folder");
        }
        _ => {}
    }
}
