//! Every bound of the engine, in one place, and how one memory budget is shared out.

mod memory;

use frame::limits::{APPEND_BYTES_MAX, BATCH_BYTES_MAX, FRAME_BYTES_MAX, LARGE_RECORD_FRAMES_BYTES_MAX};

pub use memory::Memory;

/// Commit batches whose writes may be in flight at once. What a turn of the loop receives is written at the end of it, while
/// it lies in the processor's cache, as long as a write is free.
pub const WRITES_IN_FLIGHT_MAX: usize = 32;

/// Commit batches that are not handed on yet, as their writes, or those of batches before them, have not completed.
pub const COMMITS_UNSETTLED_MAX: usize = 2 * WRITES_IN_FLIGHT_MAX;

/// A commit batch closes at this size, unless one frame alone is larger. A power of two, so that none of its buffer is
/// wasted.
pub const BATCH_BYTES_TARGET: usize = 1 << 20;

/// Bytes of appends that one connection may have unacknowledged.
pub const WINDOW_BYTES: u64 = 12 << 20;

/// However many append, each may have so many unacknowledged, or one message of any size.
pub const WINDOW_BYTES_MIN: u64 = 64 << 10;

/// What all connections that append together may have unacknowledged, as long as that is not less than the least for each:
/// with so much on its way, no input waits, and what is asked behind an append is heard.
pub const WINDOWS_BYTES: u64 = PENDING_BYTES_MAX as u64 / 2;

/// Appends that one connection may have unacknowledged.
pub const WINDOW_BATCHES: u64 = 1024;

/// Rows of footers that are kept where the footers are not, for searches among many segments: some 100 bytes each.
pub const FOOTER_ROWS_KEPT_MAX: usize = 8192;

/// Of the cache of the tail, what is kept although nobody has read near the tail for long.
pub const TAIL_KEPT_BYTES_MIN: usize = 1 << 20;

/// Bytes of records that wait for a commit batch, over all connections. Past it input is left unread.
pub const PENDING_BYTES_MAX: usize = 64 << 20;

/// Bytes of large records that arrive or wait for commit batches, a record's whole from its first part on, and of frames that
/// arrive in several receives, where memory allows so many. A connection whose record finds no room is not heard until it does.
pub const LARGE_BYTES_MAX: usize = 64 << 20;

/// The same where there is little memory: any record finds room once the others have gone.
pub const LARGE_BYTES_MIN: usize = 16 << 20;

/// Frames of fewer bytes gather, where they lie in several receives, without room for it among the large records.
pub const GATHER_FREE_BYTES: usize = 4 << 10;

/// A buffer in which a frame was gathered is kept for others if it has no more than so many bytes.
pub const SPILL_KEPT_BYTES: usize = 64 << 10;

/// Parts of large records whose writes are in flight while records that are none come: theirs take no longer than one
/// such write more.
pub const PARTS_IN_FLIGHT_BESIDE_MAX: usize = 1;

/// The same while none come: who comes next waits for so many.
pub const PARTS_IN_FLIGHT_MAX: usize = 2;

/// Records that are none come if any was written within this time.
pub const BESIDE_PARTS_NS: u64 = 100_000_000;

/// A large record, or frame, that is not whole after so long makes room for those that wait: its connection ends.
pub const LARGE_ARRIVES_NS: u64 = 30_000_000_000;

/// One receive buffer.
pub const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// Receive buffers that one connection may fill with what can't be parsed yet; past it nothing more is received from it.
/// A little more may come before the receive has ended.
pub const INBOX_BUFFERS_MAX: usize = 4;

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Streams whose demand is watched.
pub const WATCHED_STREAMS_MAX: usize = 256;

/// A stream whose demand nobody looks at for so long is watched no more.
pub const DEMAND_KEPT_NS: u64 = 60_000_000_000;

/// In how many parts of a shard's hash keys what is asked of it is counted.
pub const DEMAND_PARTS: usize = 64;

/// Keys that are told of a stream, of those under which most came.
pub const DEMAND_KEYS: usize = 8;

/// Calls of other threads that may wait for a turn. The next is refused.
pub const CALLS_WAITING_MAX: usize = 1024;

/// Calls of other threads that may be in progress. The next wait.
pub const CALLS_IN_PROGRESS_MAX: usize = 4096;

/// Reads of one connection at once. The next is heard when one of them is answered.
pub const READS_PER_CONNECTION_MAX: usize = 3;

/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: usize = 10_000;

/// Subscriptions of one shard.
pub const SUBSCRIPTIONS_PER_SHARD_MAX: usize = 1000;

/// Subscriptions of a reactor.
pub const SUBSCRIPTIONS_MAX: usize = 100_000;

/// Subscriptions of one connection that may wait for the disk at once. The next wait their turn.
pub const PARKED_PER_CONNECTION_MAX: usize = 1024;

/// Nothing more is pushed to a connection while so many bytes wait to be sent to it.
pub const PUSH_WAITING_BYTES_MAX: usize = OUTGOING_BYTES_MAX / 2;

/// Bytes of frames of one push, but always one frame.
pub const PUSH_BYTES_MAX: usize = 256 << 10;

/// Nothing more is pushed in a turn of the loop that has pushed so many bytes.
pub const PUSH_TURN_BYTES_MAX: usize = 512 << 10;

/// Nor after so many pushes.
pub const PUSHES_PER_TURN_MAX: usize = 256;

/// Frames of fewer bytes are copied behind their message: a send of their own costs more.
pub const SHARED_BYTES_MIN: usize = 8 << 10;

/// What a quota lets through at once is what it lets through in this time.
pub const QUOTA_BURST_NS: u64 = 1_000_000_000;

/// A subscriber whose bytes a second are used up waits until as many are there again as come in this time.
pub const QUOTA_PAUSE_NS: u64 = 10_000_000;

/// One that is far behind waits for more, so that a window of the disk that is read for it serves it for long.
pub const QUOTA_PAUSE_BEHIND_NS: u64 = 125_000_000;

/// Whole messages with records gather until they are so many bytes, and are sent at once.
pub const PIECE_BYTES: usize = 64 << 10;

/// A window of a segment that many may share, and what others are put together to. A power of two, as of
/// [`BATCH_BYTES_TARGET`].
pub const READ_WINDOW_BYTES: usize = 1 << 20;

/// Windows that many share overlap by so much, so that whatever is no longer lies in one of them.
pub const READ_WINDOW_OVERLAP_BYTES: usize = 256 << 10;

/// Reads of all clients that may wait for the disk, or for others. The next are refused.
pub const READS_MAX: usize = 4096;

/// Extents that one read may take records of.
pub const READ_PIECES_MAX: usize = 1024;

/// Room for so many is kept for the next read.
pub const READ_PIECES_KEPT: usize = 128;

/// What could not be read is read again before it counts as lost: so often in all.
pub const READS_TRIED: u32 = 3;

/// Windows that one read may need.
pub const READ_WINDOWS_MAX: usize = 32;

/// Bytes read ahead of who reads on and on.
pub const READ_AHEAD_BYTES_MAX: usize = 2 << 20;

/// Bytes of all windows: those read for somebody, those read ahead, and those kept as others may come.
pub const READ_WINDOWS_BYTES_MAX: usize = 16 << 20;

/// They take no more of the pool than this part of what the cache of the tail may.
pub const READ_WINDOWS_SHARE: usize = 4;

/// Reads of the disk at once while nothing is appended.
pub const READS_IN_FLIGHT_MAX: usize = 8;

/// Reads of the disk at once beside appends.
pub const READS_IN_FLIGHT_BESIDE_MAX: usize = 4;

/// Bytes of one read result's frames, whatever the client allows.
pub const READ_RESULT_BYTES_MAX: usize = 1 << 20;

/// How often it is looked for clients that do not prove themselves, large records that do not become whole, and buffers of
/// clients to which nothing is sent.
pub const CONNECTIONS_CHECK_NS: u64 = 1_000_000_000;

/// Bytes waiting to be sent to one client; past it nothing more is heard from it.
pub const OUTGOING_BYTES_MAX: usize = 1 << 20;

/// Of what all clients together have not taken, a client may leave so much, however many they are.
pub const BACKLOG_SHARE_MIN: usize = 64 << 10;

/// What waits for clients of other reactors, which have yet to take what they were told, beside what was: this part of what all clients
/// together may leave.
pub const GUESTS_SHARE: usize = 4;

/// Bytes of messages for clients of another reactor that wait for their way there.
pub const TOLD_BYTES_MAX: usize = 1 << 20;

/// What all clients together may leave untaken where there is little memory: it takes several clients to fill it.
pub const BACKLOG_BYTES_MIN: usize = 8 << 20;

/// Where that is too much, clients end that have taken nothing for so long.
pub const STALLED_NS: u64 = 3_000_000_000;

/// And so much longer for what they are being sent: at a least rate of 256 KiB a second.
pub const STALLED_NS_PER_KIB: u64 = 1_000_000_000 / 256;

/// Of a buffer that messages are made in, what is kept for the next ones.
pub const MESSAGES_KEPT_BYTES: usize = 64 << 10;

/// The same of a client to which nothing was sent for [`CONNECTIONS_CHECK_NS`].
pub const MESSAGES_KEPT_IDLE_BYTES: usize = 1 << 10;

/// Results of an append that was acknowledged: room for so many is kept for the next one.
pub const RESULTS_KEPT: usize = 1024;
/// Reactors of one process.
pub const REACTORS_MAX: usize = 64;

/// How long a client may take to prove that it knows the secret.
pub const PROOF_TIMEOUT_NS: u64 = 10_000_000_000;

/// Looks at a reactor that wait for its turn.
pub const LOOKS_WAITING_MAX: usize = 16;

/// Subscribers that are told of one by one, of those that are behind.
pub const LAGS_MAX: usize = 1000;

/// Times of commits are told from each other between these; what is outside counts as the nearest.
pub const COMMIT_NS_MIN: u64 = 1_000;
/// The same.
pub const COMMIT_NS_MAX: u64 = 60_000_000_000;

/// Data directories of a log, one a disk. A journal lies in one of them, so more than reactors are of no use.
pub const DIRECTORIES_MAX: usize = REACTORS_MAX;

/// Parcels on their way from one reactor to another. The next stays with its sender, and grows.
pub const PARCELS_PER_LANE_MAX: usize = 4;

/// Bytes of records that one reactor has handed to another and that are not settled. Past it no more input is taken in.
pub const HANDED_BYTES_MAX: usize = 4 << 20;

/// A buffer in which records were handed over is kept for others, with room for no more than so many bytes.
pub const HANDED_KEPT_BYTES: usize = 1 << 20;

/// Batches of records that one reactor has handed to another and that are not settled.
pub const HANDED_IN_FLIGHT_MAX: usize = 16;

/// Questions of clients that wait for their way to another reactor. Past it no more input is taken in.
pub const ASKS_PER_PARCEL_MAX: usize = 1024;

/// Commands of the catalog that not all reactors have applied. Past it no more input is taken in.
pub const ANNOUNCED_MAX: usize = 1024;

/// Shards of one stream that may be split or merged at once.
pub const RESHARDINGS_PER_STREAM_MAX: usize = 64;

/// A closed shard is known for so long at least, although all of its records have expired: who read it to its end has the time to
/// hear of its children, and a retry of what is stored in it is known.
pub const CLOSED_KEPT_MS_MIN: u64 = 600_000;

/// Closed shards of which nothing is left are looked for so often. Children that are forgotten themselves can be asked for so long by
/// whoever has just heard of them.
pub const FORGET_LOOK_NS: u64 = 10_000_000_000;

/// Names in one answer to ListStreams.
pub const LIST_STREAMS_MAX: u32 = 100;

/// Streams of a data directory.
pub const STREAMS_MAX: usize = 100_000;

/// Streams that a data directory ever has, those that were deleted as well: each takes a shard's number.
pub const STREAM_NUMBERS_MAX: usize = SHARDS_MAX;

/// Shards that a data directory ever has, those that were deleted or forgotten as well.
pub const SHARDS_MAX: usize = 1_000_000;

/// Of a segment, in hundredths, what its footer may say of shards: of all that there ever were, as it has a row for each.
pub const SHARDS_SEGMENT_SHARE: usize = 40;

/// The same of a reactor's pool: a footer is read in one piece, beside what else there is.
pub const SHARDS_POOL_SHARE: usize = 8;

/// Shards that a data directory ever has, if its segments have so many bytes, and the pool of each reactor.
pub const fn shards_max(segment_bytes: u32, pool_bytes: usize) -> usize {
    let of_segment = segment_bytes as usize / 100 * SHARDS_SEGMENT_SHARE;
    let of_pool = pool_bytes / SHARDS_POOL_SHARE;
    let rows = if of_segment < of_pool { of_segment } else { of_pool } / frame::segment::ROW_BYTES;
    if rows < SHARDS_MAX { rows } else { SHARDS_MAX }
}

/// Bytes of what is kept beside one stream for those who serve it to others: fifty tags as long as they may be, and a policy.
pub const ANNOTATION_BYTES_MAX: usize = 128 << 10;

/// How a stream names the key that it is encrypted with, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 512;

/// Data keys that a reactor keeps, of those that it last used: each is made of a key in a microsecond or two.
pub const CIPHERS_KEPT_MAX: usize = 64;

/// The same of all streams. Every footer holds them.
pub const ANNOTATIONS_BYTES_MAX: usize = 1 << 20;

/// Completions that a turn has room for from the start, so that a burst allocates nothing.
pub const COMPLETIONS_ROOM: usize = 256;

/// An idle journal says so on disk after this long, so that its last batch can't be taken for a torn one.
pub const IDLE_MARK_NS: u64 = 5_000_000;

/// Sequence numbers that every shard skips after recovery cut unmarked batches: more than can be in flight.
pub const SEQUENCE_SKIP: u64 = 1 << 21;

/// Bytes that are copied aside before recovery cuts them: all that can be in flight.
pub const CUT_COPY_BYTES_MAX: usize = COMMITS_UNSETTLED_MAX * BATCH_BYTES_TARGET;

/// A wall clock that is further from where it should be when a life begins is not believed: nothing expires.
pub const CLOCK_DIFFERS_MS_MAX: u64 = 3_600_000;

/// So often the superblock is told what time it is, whether or not anything expires now: more than an hour must not be missed
/// when the power is cut.
pub const CLOCK_NOTED_NS: u64 = 600_000_000_000;

/// Segments are looked at for what has expired no more often.
pub const LOOK_NS: u64 = 1_000_000_000;

/// One after the other, so long apart.
pub const LOOK_STEP_NS: u64 = 1_000_000;

/// One whose footer could not be read is looked at again after this long.
pub const LOOK_AGAIN_MS: u64 = 60_000;

/// Nor less often, while anything may expire: the clock of the reactor stands still while the machine sleeps.
pub const LOOK_NS_MAX: u64 = 60_000_000_000;

/// Space of a dropped segment that is freed in one step. A write beside it waits as long as it takes: about 0.4 ms here, and
/// 4 ms for 16 MiB, which every twentieth write would feel.
pub const FREE_BYTES: u64 = 1 << 20;

/// What such a step counts for in the disk's schedule: at its lowest rate, 256 MiB are freed in a second.
pub const FREE_COSTS_BYTES: usize = 64 << 10;

/// A footer is written in pieces of so many bytes.
pub const FOOTER_CHUNK_BYTES: usize = 256 << 10;

/// Segments that are compacted into one at once: a crash right then leaves so many to remove.
pub const COMPACTION_RUN_MAX: usize = 16;

/// So many short segments that follow each other are compacted into one although all in them lives, so that there are few files.
pub const COMPACTION_JOINED_MIN: usize = 8;

/// A segment that was compacted to no more than this part of a whole one is compacted again with its neighbours, so that there
/// are few files.
pub const COMPACTION_SHORT_SHARE: u64 = 8;

/// Extents closer than this are read at once when they are compacted.
pub const COMPACTION_GAP_BYTES: u64 = 16 << 10;

/// After the disk refused it, for want of space say, compaction is tried again after this long.
pub const COMPACTION_RETRY_NS: u64 = 1_000_000_000;

/// Of a segment this part is kept for commands of the catalog and trim points while no next segment is ready: else a full
/// disk could not be told what to let go of.
pub const COMMANDS_SHARE: usize = 16;

/// Copies of what was cut that are kept. A crash under load leaves one each time.
pub const CUT_COPIES_MAX: usize = 4;

/// Ranges of damaged records that are kept apart of one shard. Past it the closest become one.
pub const DAMAGED_RANGES_MAX: usize = 64;

/// Damaged stretches of a journal that are told to the operator: the newest.
pub const DAMAGED_STRETCHES_MAX: usize = 1024;

/// Producers that number their records, in one shard. The one that was not heard of for longest is forgotten, and the next
/// record of it is new, whatever its number.
pub const PRODUCERS_PER_SHARD_MAX: usize = 16_384;

/// Results of one producer in one shard that a retry is told again, in runs without gaps. Of those before it is known that
/// they were stored.
pub const RUNS_PER_PRODUCER_MAX: usize = 256;

/// How many splits and merges back a retry is known: by the shard that stored it, and the number that it got there.
pub const GENERATIONS_MAX: usize = 32;

/// How long after a split or merge a child refuses once each record of a producer that is the first, or lower than those
/// before. Whatever the parents refused before is older, and may be sent again behind it only within this time.
pub const CHILD_YOUNG_NS: u64 = 60_000_000_000;

/// Producers whose records wait behind one that was refused during a split or merge, over all connections of a reactor. Past it the
/// order is no longer seen to of those of the oldest connection.
pub const GATES_MAX: usize = 4096;

/// Memory for producers that number their records, over all shards of a reactor: half of it for them, half for their results.
pub const PRODUCERS_BYTES_MAX: usize = 16 << 20;

/// What a footer says of producers is no more than this part of its segment.
pub const PRODUCERS_SEGMENT_SHARE: usize = 8;

/// Zeros written at once into a segment ahead of its use.
pub const ZERO_CHUNK_BYTES: usize = 1 << 20;

/// The journal counts as idle, so that zeros may be written, after this long without an append.
pub const ZERO_AFTER_IDLE_NS: u64 = 100_000_000;

/// A reactor that is beginning looks this often whether flushes of others have ended: nobody can wake it yet.
pub const BEGIN_RETRY_NS: u64 = 1_000_000;

/// After the disk was full, allocation is tried again after this long.
pub const ALLOCATE_RETRY_NS: u64 = 500_000_000;

/// What holds up a shard that leaves its reactor, the making of a segment say, is looked at again after this long.
pub const LEAVE_RETRY_NS: u64 = 1_000_000;

/// Shards are moved while segments need no more than one in so many of the files that the process may have open: the others are for clients,
/// and for segments that records fill.
pub const OPEN_FILES_SHARE: usize = 2;

/// Segments that were lent by other reactors and are being opened at once.
pub const LENT_OPENING_MAX: usize = 64;

/// After no connection could be accepted, for want of descriptors say, it is tried again after this long.
pub const ACCEPT_RETRY_NS: u64 = 100_000_000;

/// A clean shutdown gives acknowledgements and readers this long.
pub const SHUTDOWN_NS: u64 = 10_000_000_000;

/// Receive buffers get this part of the memory budget.
const RECEIVE_SHARE: usize = 8;

/// The smallest memory budget.
pub const MEMORY_BYTES_MIN: usize = 128 << 20;

const _: () = {
    // The fullest bucket of the highest rate, counted in billionths, fits its level.
    assert!(
        ANNOTATION_BYTES_MAX <= frame::limits::RECORD_BYTES_MAX / 2 && ANNOTATION_BYTES_MAX <= ANNOTATIONS_BYTES_MAX
    );
    assert!((ANNOTATIONS_BYTES_MAX + 2 * BATCH_BYTES_MAX) as u64 <= frame::limits::SEGMENT_BYTES_MIN);
    assert!(QUOTA_BURST_NS <= i64::MAX as u64 / u32::MAX as u64 && QUOTA_PAUSE_BEHIND_NS < QUOTA_BURST_NS);
    // More than one frame of the largest size fits, and all that others and callers may hand to one takes a number of 16 bits.
    // One record that is larger goes past it, as does what was received with the last.
    assert!(HANDED_BYTES_MAX >= 2 * FRAME_BYTES_MAX);
    assert!((REACTORS_MAX - 1) * HANDED_IN_FLIGHT_MAX + CALLS_IN_PROGRESS_MAX <= u16::MAX as usize);
    // A stream of any size can be made in the smallest segments, with the least memory, and all shards in those of the usual size.
    let least = shards_max(frame::limits::SEGMENT_BYTES_MIN as u32, MEMORY_BYTES_MIN / 4);
    assert!(least > frame::limits::SHARDS_KEPT_PER_STREAM_MAX && shards_max(256 << 20, 512 << 20) == SHARDS_MAX);
    // What refuses a producer's record once because its shard is young does so while its ancestors are known.
    assert!(CLOSED_KEPT_MS_MIN * 1_000_000 >= CHILD_YOUNG_NS && LOOK_NS < FORGET_LOOK_NS);
    assert!(CLOCK_NOTED_NS / 1_000_000 * 2 < CLOCK_DIFFERS_MS_MAX && LOOK_NS < LOOK_NS_MAX);
    assert!(BACKLOG_SHARE_MIN <= PUSH_WAITING_BYTES_MAX && BACKLOG_BYTES_MIN >= 4 * OUTGOING_BYTES_MAX);
    // Some guests may be pushed to while others wait for their clients. Lanes that are full take no more than what was handed over.
    assert!(BACKLOG_BYTES_MIN / GUESTS_SHARE >= 2 * (PUSH_WAITING_BYTES_MAX + PUSH_BYTES_MAX));
    assert!(PARCELS_PER_LANE_MAX * TOLD_BYTES_MAX <= HANDED_BYTES_MAX);
    assert!(BATCH_BYTES_TARGET.is_power_of_two() && BATCH_BYTES_TARGET <= BATCH_BYTES_MAX);
    assert!(WINDOW_BYTES >= APPEND_BYTES_MAX as u64);
    // However little memory there is, it takes many whose input waits to leave none for the others.
    assert!(INBOX_BUFFERS_MAX * RECEIVE_BUFFER_BYTES * 32 <= MEMORY_BYTES_MIN / RECEIVE_SHARE);
    assert!(PENDING_BYTES_MAX >= FRAME_BYTES_MAX);
    assert!(LARGE_RECORD_FRAMES_BYTES_MAX + FRAME_BYTES_MAX <= LARGE_BYTES_MIN && LARGE_BYTES_MIN <= LARGE_BYTES_MAX);
    assert!(PARTS_IN_FLIGHT_BESIDE_MAX >= 1 && PARTS_IN_FLIGHT_BESIDE_MAX <= PARTS_IN_FLIGHT_MAX);
    assert!(frame::limits::PART_FRAME_BYTES < BATCH_BYTES_TARGET);
    assert!(READ_RESULT_BYTES_MAX + FRAME_BYTES_MAX <= frame::limits::READ_BYTES_MAX);
    assert!(READ_WINDOWS_BYTES_MAX >= 2 * (FRAME_BYTES_MAX + 2 * READ_WINDOW_BYTES) + READ_AHEAD_BYTES_MAX);
    assert!(READ_WINDOW_BYTES.is_power_of_two() && READ_WINDOW_OVERLAP_BYTES <= READ_WINDOW_BYTES / 4);
    // What a crash may cut is at most that, each of the smallest frames.
    assert!(SEQUENCE_SKIP as usize >= COMMITS_UNSETTLED_MAX * BATCH_BYTES_MAX / frame::frame::HEADER_BYTES);
};
