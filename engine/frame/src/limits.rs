//! Every bound of the formats and of the native protocol, related by compile-time assertions.

/// Alignment of every write: the physical sector of common disks. Logical sectors divide it.
pub const BLOCK_BYTES: usize = 4096;

/// Data and partition key of one frame together. A record of more is written in parts, a frame each.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Data and partition key of one record together, however many frames it takes.
pub const LARGE_RECORD_BYTES_MAX: usize = 10 << 20;

/// A part's frame, as producers here cut them: it fills, with the header and the table of its batch, 1 MiB and no more.
pub const PART_FRAME_BYTES: usize = (1 << 20) - BLOCK_BYTES;

/// Parts of one record: enough for the largest, whatever each of them repeats.
pub const PARTS_MAX: usize = LARGE_RECORD_BYTES_MAX
    .div_ceil(PART_FRAME_BYTES - crate::frame::HEADER_BYTES - EXTENSION_BYTES_MAX - KEY_BYTES_MAX);

/// All frames of one record together: what each adds to its data is header, extensions, key and padding.
pub const LARGE_RECORD_FRAMES_BYTES_MAX: usize =
    LARGE_RECORD_BYTES_MAX + PARTS_MAX * (crate::frame::HEADER_BYTES + EXTENSION_BYTES_MAX + KEY_BYTES_MAX + 8);

/// A partition key in bytes: 256 characters of at most four bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// All extensions of one frame together.
pub const EXTENSION_BYTES_MAX: usize = 72;

/// One frame: header, extensions, key and data, padded.
pub const FRAME_BYTES_MAX: usize = crate::frame::HEADER_BYTES + EXTENSION_BYTES_MAX + RECORD_BYTES_MAX + 8;

/// One commit batch: a frame of the largest size with its header and table fits.
pub const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX + 4 * BLOCK_BYTES;

/// Records in one append message.
pub const APPEND_RECORDS_MAX: usize = 16_384;

/// One append message, headers included: a record of the largest size fits.
pub const APPEND_BYTES_MAX: usize = 12 << 20;

/// One message that is not an append, an acknowledgement or a read result.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;

/// One acknowledgement message.
pub const ACK_BYTES_MAX: usize = 1 << 20;

/// One read result, headers included.
pub const READ_BYTES_MAX: usize = 4 << 20;

/// Sequence numbers, and producers' numbers, end before this, so that no number and no skipping of numbers overflows.
pub const SEQUENCE_MAX: u64 = 1 << 62;

/// A part of a stream's name in bytes, the service's own bound of a name. Most names have one part.
pub const STREAM_NAME_PART_BYTES_MAX: usize = 128;

/// A stream's name in bytes: a part, and before it whose the stream is.
pub const STREAM_NAME_BYTES_MAX: usize = 192;

/// Open shards of one stream.
pub const SHARDS_PER_STREAM_MAX: usize = 10_000;

/// Shards of one stream, with those that are closed and not forgotten.
pub const SHARDS_KEPT_PER_STREAM_MAX: usize = 2 * SHARDS_PER_STREAM_MAX;

/// The text of an error message.
pub const ERROR_DETAIL_BYTES_MAX: usize = 1024;

/// A segment file: offsets within it are 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// A segment file at least: header, one batch of the largest size, footer and trailer.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// The same of one that was compacted: header, footer and trailer, where nothing lived any more.
pub const SEGMENT_FILE_BYTES_MIN: u64 = 3 * BLOCK_BYTES as u64;

/// Extents in one segment, so that a footer and the table in memory stay small.
pub const EXTENTS_PER_SEGMENT_MAX: usize = 256 << 10;

const _: () = {
    assert!(FRAME_BYTES_MAX + crate::batch::HEADER_BYTES + crate::batch::EXTENT_BYTES <= BATCH_BYTES_MAX);
    assert!(BATCH_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
    assert!(PART_FRAME_BYTES <= FRAME_BYTES_MAX && PART_FRAME_BYTES.is_multiple_of(8));
    assert!(crate::batch::batch_bytes(PART_FRAME_BYTES + crate::extension::ENCRYPTION_BYTES, 1) <= 1 << 20);
    assert!(PARTS_MAX >= 2 && PARTS_MAX <= APPEND_RECORDS_MAX && PARTS_MAX <= u16::MAX as usize);
    let append_bytes = crate::proto::HEADER_BYTES + crate::proto::APPEND_FIXED_BYTES;
    assert!(append_bytes + LARGE_RECORD_FRAMES_BYTES_MAX <= APPEND_BYTES_MAX);
    assert!(append_bytes + FRAME_BYTES_MAX <= APPEND_BYTES_MAX);
    assert!(FRAME_BYTES_MAX + crate::proto::HEADER_BYTES + crate::proto::READ_FIXED_BYTES <= READ_BYTES_MAX);
    assert!(
        crate::proto::HEADER_BYTES
            + crate::proto::ACK_FIXED_BYTES
            + crate::proto::ACK_ENTRY_BYTES
            + APPEND_RECORDS_MAX * crate::proto::ACK_RESULT_BYTES
            <= ACK_BYTES_MAX
    );
    assert!(2 * BATCH_BYTES_MAX as u64 + 3 * BLOCK_BYTES as u64 <= SEGMENT_BYTES_MIN);
    assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64);
    assert!(SEGMENT_FILE_BYTES_MIN <= SEGMENT_BYTES_MIN && SEGMENT_FILE_BYTES_MIN.is_multiple_of(BLOCK_BYTES as u64));
};
