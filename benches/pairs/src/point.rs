//! The points that are swept: what one side is told beyond what the target fixes.

use std::fmt;
use std::str::FromStr;

use crate::units::{parse_bytes, show_bytes};

/// How the server is loaded, and the settings of the server that are swept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServerPoint {
    pub(crate) connections: u32,
    pub(crate) inflight: u32,
    pub(crate) batch_records: u32,
    /// Writes in flight at once; none for the server's default.
    pub(crate) writes: Option<u32>,
    /// Where a commit batch closes; none for the server's default.
    pub(crate) batch_bytes: Option<u64>,
}

impl ServerPoint {
    /// A load on a server with its default settings.
    pub(crate) const fn new(connections: u32, inflight: u32, batch_records: u32) -> Self {
        Self { connections, inflight, batch_records, writes: None, batch_bytes: None }
    }
}

impl fmt::Display for ServerPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.connections, self.inflight, self.batch_records)?;
        if let Some(writes) = self.writes {
            write!(f, ",writes={writes}")?;
        }
        match self.batch_bytes {
            Some(bytes) => write!(f, ",batch={}", show_bytes(bytes)),
            None => Ok(()),
        }
    }
}

impl FromStr for ServerPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("'{text}' is not a point: write 4x8x250 or 4x8x250,writes=8,batch=512k");
        let mut parts = text.split(',');
        let load: Vec<u32> = parts.next().unwrap_or_default().split('x').map_while(|part| part.parse().ok()).collect();
        let [connections, inflight, batch_records] = load[..] else { return Err(help()) };
        let mut point = Self::new(connections, inflight, batch_records);
        for part in parts {
            match part.split_once('=').ok_or_else(help)? {
                ("writes", count) => point.writes = Some(count.parse().map_err(|_| help())?),
                ("batch", bytes) => point.batch_bytes = Some(parse_bytes(bytes)?),
                _ => return Err(help()),
            }
        }
        Ok(point)
    }
}

/// One point of limit (b).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitPoint {
    pub(crate) size_bytes: u64,
    pub(crate) connections: u32,
    pub(crate) writes: u32,
}

impl fmt::Display for LimitPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", show_bytes(self.size_bytes), self.connections, self.writes)
    }
}

impl FromStr for LimitPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("'{text}' is not a point: write 256kx4x8");
        let parts: Vec<&str> = text.split('x').collect();
        let [size, connections, writes] = parts[..] else { return Err(help()) };
        Ok(Self {
            size_bytes: parse_bytes(size)?,
            connections: connections.parse().map_err(|_| help())?,
            writes: writes.parse().map_err(|_| help())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_read_and_write_back() {
        for text in ["4x8x250", "1x1x1,writes=8", "16x2x1000,writes=2,batch=512k"] {
            assert_eq!(text.parse::<ServerPoint>().expect(text).to_string(), text);
        }
        for text in ["256kx4x8", "4kx1x1"] {
            assert_eq!(text.parse::<LimitPoint>().expect(text).to_string(), text);
        }
        assert!("4x8".parse::<ServerPoint>().is_err() && "4x8x250,depth=1".parse::<ServerPoint>().is_err());
        assert!("256k".parse::<LimitPoint>().is_err());
    }
}
