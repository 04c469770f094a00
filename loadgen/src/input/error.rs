//! What can be wrong with a person's own data, said so that they can mend it.

use std::fmt;
use std::io;

/// Where in the input something is: both count from one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The line of the file on which the row begins.
    pub line: u64,
    /// The row, headers and blank lines not counted.
    pub row: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} (row {})", self.line, self.row)
    }
}

/// An input that can't be used, with the name it was given by.
#[derive(Debug)]
pub struct InputError {
    /// The file as named on the command line, or `standard input`.
    pub input: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an input.
#[derive(Debug)]
pub enum Fault {
    /// The file can't be opened.
    Open(io::Error),
    /// Reading failed in the middle.
    Read(io::Error),
    /// There is no row in it.
    Empty,
    /// `--loop` needs a file that can be read again from its start.
    NotRepeatable,
    /// A column asked for is in no row.
    UnknownColumn {
        /// The flag that named it.
        flag: &'static str,
        /// The name given.
        column: String,
        /// The columns there are.
        known: Vec<String>,
    },
    /// A row has no value in a column that the run needs.
    NoValue {
        /// Where.
        place: Place,
        /// The flag that named the column.
        flag: &'static str,
        /// The column.
        column: String,
        /// What the row has: the columns of this row, or that the value is null.
        found: String,
    },
    /// The file begins with something other than `[`.
    NotAnArray {
        /// The first character that isn't white space.
        found: char,
    },
    /// An element or a line that isn't a JSON object.
    NotAnObject {
        /// Where.
        place: Place,
        /// How it begins.
        found: char,
    },
    /// Text that isn't JSON.
    NotJson {
        /// Where the row begins.
        place: Place,
        /// What the parser says.
        reason: String,
    },
    /// The array isn't closed, or something stands between its elements.
    BrokenArray {
        /// The last row that was whole.
        place: Place,
        /// What was found instead of `,` or `]`; nothing at the end of the file.
        found: Option<char>,
    },
    /// A CSV row whose number of fields differs from the header's.
    Width {
        /// Where.
        place: Place,
        /// Fields in the row.
        fields: usize,
        /// Fields in the header.
        header: usize,
    },
    /// The last row of a CSV runs over several lines and its quotes don't pair up.
    OpenQuote {
        /// Where the row begins.
        place: Place,
    },
    /// A row longer than the longest record.
    TooLong {
        /// Where the row begins.
        place: Place,
        /// The longest record.
        bytes_max: usize,
    },
    /// A partition key that no stream accepts.
    Key {
        /// Where.
        place: Place,
        /// The column it came from.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A time that can't be read.
    Time {
        /// Where.
        place: Place,
        /// The column it came from.
        column: String,
        /// The text found.
        text: String,
        /// The format it should have, or that none was recognised.
        expected: String,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = &self.input;
        match &self.fault {
            Fault::Open(error) => write!(f, "cannot open {input}: {error}; check the path given to --input"),
            Fault::Read(error) => write!(f, "cannot go on reading {input}: {error}"),
            Fault::Empty => write!(f, "{input} holds no row; give a file with at least one"),
            Fault::NotRepeatable => {
                write!(
                    f,
                    "--loop reads its input again and again, which {input} does not allow; save it to a file first"
                )
            }
            Fault::UnknownColumn { flag, column, known } => {
                write!(f, "{input} has no column {column:?} as named by {flag}; its columns are: {}", known.join(", "))
            }
            Fault::NoValue { place, flag, column, found } => write!(
                f,
                "{input}, {place}: no value in column {column:?}, which {flag} names ({found}); add it or remove the row"
            ),
            Fault::NotAnArray { found } => write!(
                f,
                "{input} begins with {found:?}, and the json format is one array of objects, [{{...}}, {{...}}]; \
                 for one object a line give --format jsonl, for comma-separated values --format csv"
            ),
            Fault::NotAnObject { place, found } => write!(
                f,
                "{input}, {place}: begins with {found:?}, and each row must be an object, {{...}}; wrap or remove it"
            ),
            Fault::NotJson { place, reason } => {
                write!(f, "{input}, {place}: not valid JSON: {reason}; mend or remove this row")
            }
            Fault::BrokenArray { place, found: Some(found) } => write!(
                f,
                "{input}: found {found:?} after the object at {place}, where a comma or the closing ] must stand"
            ),
            Fault::BrokenArray { place, found: None } => {
                write!(f, "{input} ends after the object at {place} without the closing ]; the file is cut short")
            }
            Fault::Width { place, fields, header } => write!(
                f,
                "{input}, {place}: {fields} fields where the header has {header}; look for a missing or \
                 extra comma, or quote the field that holds one"
            ),
            Fault::OpenQuote { place } => write!(
                f,
                "{input}, {place}: a quote opened in this row is never closed; close it, or double it if it is part of the text"
            ),
            Fault::TooLong { place, bytes_max } => write!(
                f,
                "{input}, {place}: longer than {bytes_max} bytes, the most a record may hold; split it, or look for a quote that is never closed"
            ),
            Fault::Key { place, column, reason } => write!(
                f,
                "{input}, {place}: column {column:?} cannot be a partition key: {reason}; choose another with --key"
            ),
            Fault::Time { place, column, text, expected } => {
                write!(f, "{input}, {place}: cannot read {text:?} in column {column:?} as a time: {expected}")
            }
        }
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Open(error) | Fault::Read(error) => Some(error),
            _ => None,
        }
    }
}
