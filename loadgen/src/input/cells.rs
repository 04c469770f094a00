//! What the three readers have in common: the columns wanted of each row, and the cells found.
//!
//! A reader fills the same [`Cells`] again and again, so that reading a row allocates nothing once its buffers have
//! grown. It never reorders or rewrites: a row as it stands is its exact bytes.

use super::error::{Fault, Place};

/// The longest row accepted, and with it the memory that one row can take. A record holds less; a row may have columns
/// that the record leaves out.
pub const ROW_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The columns that a run takes from each row.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Where the partition key is, if the rows bring it.
    pub key: Option<String>,
    /// Where the time is, if the rows are replayed by it.
    pub time: Option<String>,
    /// Where the data is; the row as it stands otherwise.
    pub data: Option<String>,
}

impl Columns {
    /// The columns named, with the flag that names each, in the order of [`Cells::named`].
    pub fn named(&self) -> [(&'static str, Option<&str>); 3] {
        [("--key", self.key.as_deref()), ("--time", self.time.as_deref()), ("--data", self.data.as_deref())]
    }
}

/// The cells of one row.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// Where the row is.
    pub place: Place,
    /// The key's text; empty when no key column was asked for.
    pub key: Vec<u8>,
    /// The time's text; empty when no time column was asked for.
    pub time: Vec<u8>,
    /// The data: the cell of the data column or the row as it stands.
    pub data: Vec<u8>,
}

impl Cells {
    /// The buffers for the key, time and data cells.
    pub fn named(&mut self) -> [&mut Vec<u8>; 3] {
        [&mut self.key, &mut self.time, &mut self.data]
    }
}

/// Reads one row after another from a format.
pub trait ReadRows: Send {
    /// Reads the next row into `cells`; `false` at the end.
    fn read(&mut self, cells: &mut Cells) -> Result<bool, Fault>;
}
