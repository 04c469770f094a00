//! Trim points: from which number on a shard is kept. Lower ones have expired, for good.
//!
//! ```text
//!   trim   0 version | 1 kind | 2 0 | 4 rows | 8 0 up to 24 | a row: 0 shard | 4 0 | 8 first number that is kept
//! ```
//!
//! Whoever owns a shard says so in a command in its journal, before what has expired may go, and each footer says it again
//! behind the catalog. A shard that goes on in another journal takes its trim point there in that journal's first batches. The
//! highest that any journal says counts: they never fall.

use frame::{Sequence, ShardId};

use crate::catalog::{self, Command, commands};

const ROW_BYTES: usize = 16;

/// Rows of one command, which is one record.
pub(crate) const TRIMS_MAX: usize = 32 << 10;

/// From which number on a shard is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trim {
    pub(crate) shard: ShardId,
    pub(crate) to: Sequence,
}

impl Trim {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.to.0.to_le_bytes());
    }

    /// Rows of so many; `None` if they are not as many.
    pub(crate) fn decode_all(bytes: &[u8], rows: u32) -> Option<Vec<Trim>> {
        let (chunks, left) = bytes.as_chunks::<ROW_BYTES>();
        let row = |row: &[u8; ROW_BYTES]| {
            let (words, _) = row.as_chunks::<8>();
            let [numbers, to] = [0, 1].map(|at| u64::from_le_bytes(words[at]));
            Trim { shard: ShardId(numbers as u32), to: Sequence(to) }
        };
        (left.is_empty() && chunks.len() == rows as usize).then(|| chunks.iter().map(row).collect())
    }
}

/// What a footer says of so many trim points, behind the catalog's snapshot.
pub(crate) const fn snapshot_bytes(trims: usize) -> usize {
    if trims == 0 { 0 } else { 4 + crate::catalog::FIXED_BYTES + trims * ROW_BYTES }
}

/// Adds trim points to a snapshot.
pub(crate) fn add_to_snapshot(snapshot: &mut Vec<u8>, trims: Vec<Trim>) {
    if !trims.is_empty() {
        catalog::add_to_snapshot(snapshot, &Command::Trim(trims));
    }
}

/// The trim points of a snapshot.
pub(crate) fn in_snapshot(snapshot: &[u8]) -> impl Iterator<Item = Trim> + '_ {
    let trims = |command| if let Some(Command::Trim(trims)) = command { trims } else { Vec::new() };
    commands(snapshot).flat_map(trims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_snapshot_with_trim_points_is_one() {
        let catalog = Catalog::new();
        let mut snapshot = catalog.snapshot();
        assert_eq!(in_snapshot(&snapshot).count(), 0);
        let before = snapshot.len();
        let trims: Vec<Trim> =
            [(1, 5), (7, u64::MAX)].map(|(shard, to)| Trim { shard: ShardId(shard), to: Sequence(to) }).into();
        add_to_snapshot(&mut snapshot, trims.clone());
        assert_eq!(snapshot.len() - before, snapshot_bytes(trims.len()));
        assert_eq!(in_snapshot(&snapshot).collect::<Vec<_>>(), trims);
        assert_eq!(Catalog::restore(&snapshot), Some(catalog));
        assert_eq!(Trim::decode_all(&[0; ROW_BYTES], 2), None);
        assert_eq!(Trim::decode_all(&[0; ROW_BYTES - 1], 1), None);
    }
}
