//! Lines of an input, each at most as long as a record may be, and columns of a line.

use std::io::{self, BufRead, BufReader, Read};

use frame::limits::LARGE_RECORD_BYTES_MAX;

/// Bytes read at once.
const INPUT_BYTES: usize = 256 << 10;

/// What comes next in an input.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Line<'a> {
    /// A line without its end.
    Record(&'a [u8]),
    /// A line longer than a record may be, which was passed over.
    TooLong,
    /// Nothing more.
    End,
}

/// Cuts an input into lines, with bounded memory.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Lines<R> {
        Lines { input: BufReader::with_capacity(INPUT_BYTES, input), line: Vec::new() }
    }

    /// Whether the next line has to be waited for.
    pub(super) fn would_wait(&self) -> bool {
        !self.input.buffer().contains(&b'\n')
    }

    pub(super) fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        let most = LARGE_RECORD_BYTES_MAX as u64 + 1;
        self.input.by_ref().take(most).read_until(b'\n', &mut self.line)?;
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            return Ok(Line::Record(&self.line));
        }
        if self.line.len() as u64 == most {
            self.input.skip_until(b'\n')?;
            return Ok(Line::TooLong);
        }
        Ok(if self.line.is_empty() { Line::End } else { Line::Record(&self.line) })
    }
}

/// Column `number`, counted from 1, of a line whose columns are parted by `delimiter`.
pub(super) fn column<'a>(line: &'a [u8], delimiter: &[u8], number: usize) -> Option<&'a [u8]> {
    let mut rest = line;
    for _ in 1..number {
        let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
        rest = &rest[at + delimiter.len()..];
    }
    let end = rest.windows(delimiter.len()).position(|window| window == delimiter).unwrap_or(rest.len());
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_the_last_needs_no_end() {
        let mut lines = Lines::new(&b"one\n\n\r\xff\nlast"[..]);
        for expected in [&b"one"[..], b"", b"\r\xff", b"last"] {
            assert_eq!(lines.next().unwrap(), Line::Record(expected));
        }
        assert_eq!(lines.next().unwrap(), Line::End);
    }

    #[test]
    fn a_line_past_the_limit_is_passed_over() {
        let mut input = vec![b'x'; LARGE_RECORD_BYTES_MAX];
        input.push(b'\n');
        input.extend(vec![b'y'; 3 * LARGE_RECORD_BYTES_MAX]);
        input.extend(b"\nz\n");
        let mut lines = Lines::new(&input[..]);
        assert!(matches!(lines.next().unwrap(), Line::Record(line) if line.len() == LARGE_RECORD_BYTES_MAX));
        assert_eq!(lines.next().unwrap(), Line::TooLong);
        assert_eq!(lines.next().unwrap(), Line::Record(b"z"));
        assert_eq!(lines.next().unwrap(), Line::End);
    }

    #[test]
    fn columns_count_from_one() {
        let line = "a,b·c,·d".as_bytes();
        assert_eq!(column(line, b",", 1), Some(&b"a"[..]));
        assert_eq!(column(line, b",", 3), Some("·d".as_bytes()));
        assert_eq!(column(line, b",", 4), None);
        assert_eq!(column(line, "·".as_bytes(), 2), Some(&b"c,"[..]));
        assert_eq!(column(b"", b",", 1), Some(&b""[..]));
    }
}
