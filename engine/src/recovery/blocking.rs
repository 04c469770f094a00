//! Operations one at a time, for the start, when nothing else runs yet.

use frame::limits::BLOCK_BYTES;
use io::{BufMut, Completion, DirEntry, DirId, FileId, FileOp, Io, Op, Payload, Wait};

use super::OpenError;
use crate::limits::READS_TRIED;
use crate::token;

/// Performs an operation and waits for it.
pub(crate) fn call(io: &mut impl Io, op: Op) -> Completion {
    let mut completions = Vec::new();
    io.submit(op, token::BLOCKING);
    loop {
        io.turn(Wait::Forever, &mut completions);
        if let Some(at) = completions.iter().position(|completion| completion.token == token::BLOCKING) {
            return completions.swap_remove(at);
        }
    }
}

fn file_call(io: &mut impl Io, op: FileOp, doing: &str) -> Result<i32, OpenError> {
    let completion = call(io, Op::File(op));
    if completion.result < 0 { Err(OpenError::io(doing, completion.result)) } else { Ok(completion.result) }
}

pub(crate) fn open_file(io: &mut impl Io, dir: DirId, name: &str, create: bool) -> Result<FileId, OpenError> {
    let op = FileOp::Open { dir, name: name.to_owned(), create };
    file_call(io, op, &format!("opening {name}")).map(|result| FileId(result.cast_unsigned()))
}

pub(crate) fn close_file(io: &mut impl Io, file: FileId) -> Result<(), OpenError> {
    file_call(io, FileOp::Close(file), "closing a file").map(drop)
}

pub(crate) fn allocate(io: &mut impl Io, file: FileId, bytes: u64) -> Result<(), OpenError> {
    file_call(io, FileOp::Allocate { file, bytes }, "allocating a file").map(drop)
}

pub(crate) fn truncate(io: &mut impl Io, file: FileId, bytes: u64) -> Result<(), OpenError> {
    file_call(io, FileOp::Truncate { file, bytes }, "cutting a file").map(drop)
}

pub(crate) fn list(io: &mut impl Io, dir: DirId) -> Result<Vec<DirEntry>, OpenError> {
    let completion = call(io, Op::File(FileOp::List(dir)));
    match completion.payload {
        Payload::Entries(entries) if completion.result >= 0 => Ok(entries),
        _ => Err(OpenError::io("listing the data directory", completion.result)),
    }
}

pub(crate) fn remove(io: &mut impl Io, dir: DirId, name: &str) -> Result<(), OpenError> {
    file_call(io, FileOp::Remove { dir, name: name.to_owned() }, &format!("removing {name}")).map(drop)
}

pub(crate) fn sync(io: &mut impl Io, file: FileId) -> Result<(), OpenError> {
    file_call(io, FileOp::Sync(file), "flushing a file").map(drop)
}

pub(crate) fn sync_dir(io: &mut impl Io, dir: DirId) -> Result<(), OpenError> {
    file_call(io, FileOp::SyncDir(dir), "flushing the data directory").map(drop)
}

pub(crate) fn rename(io: &mut impl Io, dir: DirId, from: &str, to: &str) -> Result<(), OpenError> {
    let op = FileOp::Rename { dir, from: from.to_owned(), to: to.to_owned() };
    file_call(io, op, &format!("renaming {from} to {to}")).map(drop)
}

/// Memory for the start; the pool has room then.
pub(crate) fn take(io: &impl Io, bytes: usize) -> Result<BufMut, OpenError> {
    io.pool().take(bytes).ok_or(OpenError::Memory { bytes })
}

/// Reads up to `bytes` at `offset`; fewer only at the end of the file. A read may be short for other reasons, which must
/// not pass for an end: it is one when it comes to the same count again and again.
pub(crate) fn read(io: &mut impl Io, file: FileId, offset: u64, bytes: usize) -> Result<BufMut, OpenError> {
    let mut buf = take(io, bytes)?;
    let (mut last, mut times) = (-1, 0);
    loop {
        let completion = call(io, Op::Read { file, offset, buf });
        let Payload::Buf(mut read) = completion.payload else {
            return Err(OpenError::io("reading a file of the data directory", completion.result));
        };
        if completion.result < 0 {
            return Err(OpenError::io("reading a file of the data directory", completion.result));
        }
        let length = completion.result.cast_unsigned() as usize;
        times = if completion.result == last { times + 1 } else { 1 };
        last = completion.result;
        if length == read.len() || times == END_SEEN {
            read.truncate(length);
            return Ok(read);
        }
        buf = read;
    }
}

/// Short reads in a row, of the same count, that make the end of a file.
const END_SEEN: u32 = 3;

/// The same; nothing where the disk says again and again that this place can't be read.
pub(crate) fn read_if_readable(
    io: &mut impl Io,
    file: FileId,
    offset: u64,
    bytes: usize,
) -> Result<Option<BufMut>, OpenError> {
    for _ in 0..READS_TRIED {
        match read(io, file, offset, bytes) {
            Err(error) if error.is_unreadable() => {}
            read => return read.map(Some),
        }
    }
    Ok(None)
}

/// The same, block by block: `note` is told of those that can't be read. They are filled with what is no zeros, so that they
/// never pass for space that was not written yet.
pub(crate) fn read_around(
    io: &mut impl Io,
    file: FileId,
    offset: u64,
    bytes: usize,
    mut note: impl FnMut(u64),
) -> Result<BufMut, OpenError> {
    let mut around = take(io, bytes)?;
    for at in (0..bytes).step_by(BLOCK_BYTES) {
        let place = offset + at as u64;
        let Some(block) = read_if_readable(io, file, place, BLOCK_BYTES)? else {
            around[at..at + BLOCK_BYTES].fill(UNREADABLE);
            note(place);
            continue;
        };
        around[at..at + block.len()].copy_from_slice(&block);
        if block.len() < BLOCK_BYTES {
            around.truncate(at + block.len());
            break;
        }
    }
    Ok(around)
}

/// Reads a file of copies, each in blocks of its own: those that can't be read are as those that are damaged, unless all are.
pub(crate) fn read_copies(io: &mut impl Io, file: FileId, bytes: usize) -> Result<BufMut, OpenError> {
    match read(io, file, 0, bytes) {
        Err(error) if error.is_unreadable() => {
            let mut unreadable = 0;
            let copies = read_around(io, file, 0, bytes, |_| unreadable += BLOCK_BYTES)?;
            if unreadable < bytes { Ok(copies) } else { Err(error) }
        }
        read => read,
    }
}

/// Waits a while.
pub(crate) fn pause(io: &mut impl Io) {
    let until_ns = io.mono_ns() + PAUSE_NS;
    let mut completions = Vec::new();
    while io.mono_ns() < until_ns {
        io.turn(Wait::Until(until_ns), &mut completions);
    }
}

/// A path to a disk that fails over, say, takes so long.
const PAUSE_NS: u64 = 1_000_000_000;

const UNREADABLE: u8 = 0xee;

/// Writes `bytes`, padded with zeros to whole blocks, durably.
pub(crate) fn write(io: &mut impl Io, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), OpenError> {
    let mut buf = take(io, bytes.len().next_multiple_of(BLOCK_BYTES))?;
    buf[..bytes.len()].copy_from_slice(bytes);
    buf[bytes.len()..].fill(0);
    let expected = buf.len();
    let completion = call(io, Op::Write { file, offset, buf: buf.freeze(), durable: true });
    if completion.result.cast_unsigned() as usize == expected {
        Ok(())
    } else {
        Err(OpenError::io("writing a file of the data directory", completion.result.min(0)))
    }
}
