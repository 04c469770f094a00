//! Millstream's bytes: frame, batch, segment and footer layout, and the native protocol. No I/O.
