//! What an inspection found, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::config::Bytes;
use crate::streams::UtcTime;

/// A log, in one data directory or several.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Where it is.
    pub directories: Vec<String>,
    /// The process that uses it now.
    pub in_use_by: Option<String>,
    /// The superblock's copies, in their order.
    pub superblock_copies: Vec<SuperblockCopy>,
    /// The superblock that counts.
    pub superblock: Option<SuperblockReport>,
    /// The catalog, by name.
    pub streams: Vec<StreamReport>,
    /// Segments, in order.
    pub segments: Vec<SegmentReport>,
    /// Copies of remains that recovery cut.
    pub cut_aside: Vec<FileReport>,
    /// The folder of the tables of leases, if there is one, and what is in it.
    pub lease_tables: Option<FileReport>,
    /// Other names there.
    pub other_files: Vec<FileReport>,
    /// Whether everything was read.
    pub verified: bool,
    /// What is not as it was written.
    pub damage: Vec<Damage>,
}

/// One copy of the superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SuperblockCopy {
    /// Its checksum is right.
    Intact {
        /// Raised by every update.
        generation: u64,
    },
    /// Its checksum is wrong.
    Damaged,
}

/// What the superblock says.
#[derive(Debug, Serialize)]
pub struct SuperblockReport {
    /// The log's own name.
    pub log_id: String,
    /// The life that runs, or ran last.
    pub epoch: u64,
    /// Whether the last life ended by a clean shutdown.
    pub clean: bool,
    /// What it says is durable, as segment and offset.
    pub durable: String,
    /// Bytes of a segment file.
    pub segment_bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// One stream.
#[derive(Debug, Serialize)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// Its number.
    pub stream: u32,
    /// Its first shard.
    pub first_shard: u32,
    /// How many there are.
    pub shards: u32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// How far a segment has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentState {
    /// It has its footer and gets no more batches.
    Sealed,
    /// The same; it holds what lived of several, or of itself.
    Compacted,
    /// What lived in it is in a compacted one; the next start removes it.
    Replaced,
    /// It has batches and no footer: it is written to, or its footer will be made at the next start.
    Unsealed,
    /// Made ahead, without batches.
    Ready,
}

/// One segment.
#[derive(Debug, Serialize)]
pub struct SegmentReport {
    /// The file.
    pub file: String,
    /// Its length.
    pub file_bytes: u64,
    /// How far it has come.
    pub state: SegmentState,
    /// Bytes up to the end of its batches.
    pub used_bytes: u64,
    /// Batches, where they were read.
    pub batches: Option<u64>,
    /// Extents.
    pub extents: u64,
    /// Records.
    pub records: u64,
    /// How many of them are encrypted, where they were read.
    pub encrypted: Option<u64>,
    /// Shards with records in it.
    pub shards: u64,
    /// Remains of batches that were never acknowledged, or are being written.
    pub remains_at: Option<u64>,
}

/// A file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Something that is not as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// The first byte concerned.
    pub from: u64,
    /// The byte after the last.
    pub to: u64,
    /// What is wrong.
    pub what: String,
    /// The records that it takes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<LostRecords>,
}

/// Records of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LostRecords {
    /// Which shard.
    pub shard: u32,
    /// The first sequence number.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, from, to, what, records } = self;
        write!(f, "{file} {from:#x} to {to:#x}: {what}")?;
        match records {
            Some(LostRecords { shard, first, last }) => write!(f, " (shard {shard}, records {first} to {last})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.directories.iter().try_for_each(|directory| writeln!(f, "data directory {directory}"))?;
        if let Some(process) = &self.in_use_by {
            writeln!(f, "in use by process {process}: the end of the log moves while this looks")?;
        }
        for (number, copy) in self.superblock_copies.iter().enumerate() {
            match copy {
                SuperblockCopy::Intact { generation } => {
                    writeln!(f, "superblock copy {number}: generation {generation}")?
                }
                SuperblockCopy::Damaged => writeln!(f, "superblock copy {number}: damaged")?,
            }
        }
        match &self.superblock {
            None => writeln!(f, "no superblock can be believed")?,
            Some(superblock) => writeln!(f, "{superblock}")?,
        }
        self.segments.iter().try_for_each(|segment| writeln!(f, "{segment}"))?;
        for StreamReport { name, stream, first_shard, shards, created_ms } in &self.streams {
            let (last, created) = (first_shard + shards - 1, UtcTime(*created_ms));
            writeln!(f, "stream {name}: number {stream}, shards {first_shard} to {last}, created {created}")?;
        }
        for file in &self.cut_aside {
            writeln!(f, "cut aside by recovery: {}, {} bytes", file.name, file.bytes)?;
        }
        if let Some(file) = &self.lease_tables {
            writeln!(f, "tables of leases: {}, {} bytes", file.name, file.bytes)?;
        }
        for file in &self.other_files {
            writeln!(f, "other file: {}, {} bytes", file.name, file.bytes)?;
        }
        self.damage.iter().try_for_each(|damage| writeln!(f, "damage: {damage}"))?;
        match (self.damage.len(), self.verified) {
            (0, true) => f.write_str("everything was read and is whole"),
            (0, false) => f.write_str("no damage seen; --verify reads everything"),
            (1, true) => {
                f.write_str("1 place is damaged; the records named are refused to readers, the rest is readable")
            }
            (1, false) => f.write_str("1 place is damaged; --verify reads everything"),
            (count, true) => {
                write!(f, "{count} places are damaged; the records named are refused to readers, the rest is readable")
            }
            (count, false) => write!(f, "{count} places are damaged; --verify reads everything"),
        }
    }
}

impl fmt::Display for SuperblockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SuperblockReport { log_id, epoch, clean, durable, segment_bytes, wall_ms } = self;
        let end = if *clean { "ended cleanly" } else { "running, or ended without a clean shutdown" };
        let (segment_bytes, written) = (Bytes(*segment_bytes), UtcTime(*wall_ms));
        write!(
            f,
            "log {log_id}, epoch {epoch}, {end}, durable up to {durable}, segments of {segment_bytes}, written {written}"
        )
    }
}

impl fmt::Display for SegmentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SegmentReport {
            file,
            file_bytes,
            state,
            used_bytes,
            batches,
            extents,
            records,
            encrypted,
            shards,
            remains_at,
        } = self;
        let state = match state {
            SegmentState::Sealed => "sealed",
            SegmentState::Compacted => "compacted",
            SegmentState::Unsealed => "unsealed",
            SegmentState::Replaced => {
                return write!(f, "segment {file}: replaced by a compacted one; the next start removes it");
            }
            SegmentState::Ready => return write!(f, "segment {file}: ready, {}", Bytes(*file_bytes)),
        };
        write!(f, "segment {file}: {state}, {used_bytes} of {} bytes used, ", Bytes(*file_bytes))?;
        if let Some(batches) = batches {
            write!(f, "{batches} batches, ")?;
        }
        write!(f, "{extents} extents of {shards} shards, {records} records")?;
        if let Some(encrypted @ 1..) = encrypted {
            write!(f, ", {encrypted} of them encrypted")?;
        }
        match remains_at {
            Some(at) => write!(f, ", then unacknowledged remains at {at:#x}"),
            None => Ok(()),
        }
    }
}
