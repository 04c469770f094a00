//! Error numbers as completions carry them: negative.

pub(crate) const INTERRUPTED: i32 = -4;
pub(crate) const IO: i32 = -5;
pub(crate) const AGAIN: i32 = -11;
pub(crate) const NO_MEMORY: i32 = -12;
pub(crate) const EXISTS: i32 = -17;
pub(crate) const NO_DEVICE: i32 = -19;
pub(crate) const NO_ENTRY: i32 = -2;
pub(crate) const TOO_MANY_FILES: i32 = -24;
pub(crate) const NO_SPACE: i32 = -28;
pub(crate) const PIPE: i32 = -32;
pub(crate) const RESET: i32 = -104;
pub(crate) const NO_BUFFERS: i32 = -105;
pub(crate) const TIMED_OUT: i32 = -110;
pub(crate) const CANCELLED: i32 = -125;
