//! A short measurement of the disk through the kind of `Io` that a server would use.

use std::fmt;
use std::time::Duration;

use io::{Completion, DataDir, DirId, FileId, FileOp, IoConfig, IoError, Op, SystemIo, Token, Wait};

const BLOCK_BYTES: usize = 4096;
const FILE_BYTES: usize = 1 << 20;
const WRITES: usize = 200;

/// No measurement takes longer; a slower disk is measured by fewer writes.
const TIME: Duration = Duration::from_secs(5);
/// Nor waits longer for one operation.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long writes took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) writes: usize,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |ns: u64| ns / 1000;
        write!(f, "p50 {} us, p99 {} us of {}", us(self.p50_ns), us(self.p99_ns), self.writes)
    }
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// Whether the pool could be registered.
    pub(super) registered: bool,
    /// Direct writes that the disk may keep in its cache.
    pub(super) plain: Latency,
    /// Flushes, each after one of those.
    pub(super) flush: Latency,
    /// Direct writes that are on stable storage.
    pub(super) durable: Latency,
}

/// Why there is no measurement.
#[derive(Debug)]
pub(super) enum MeasureError {
    Io(IoError),
    Operation { step: &'static str, source: std::io::Error },
    Silent(&'static str),
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MeasureError::Io(error) => error.fmt(f),
            MeasureError::Operation { step, source } => write!(f, "{step} failed: {source}; check the disk"),
            MeasureError::Silent(step) => {
                write!(f, "{step} did not end within {} s; check the disk", PATIENCE.as_secs())
            }
        }
    }
}

/// Measures in `directory`, with a pool as large as a server's.
pub(super) fn measure<I: SystemIo>(directory: DataDir, pool_bytes: usize) -> Result<Measured, MeasureError> {
    let config = IoConfig { pool_bytes, receive_buffers: 1, ..IoConfig::new(vec![directory]) };
    let mut bench = Bench { io: I::start(config).map_err(MeasureError::Io)?, completions: Vec::new() };
    let open = FileOp::Open { dir: DirId(0), name: "measured".to_owned(), create: true };
    let file = FileId(bench.run("making a file", Op::File(open), None)?.cast_unsigned());
    bench.run("allocating a file", Op::File(FileOp::Allocate { file, bytes: FILE_BYTES as u64 }), None)?;
    // As a segment that was written before: the file system has nothing to note when it is written again.
    for offset in (0..FILE_BYTES).step_by(BLOCK_BYTES) {
        bench.write(file, offset, false)?;
    }
    bench.run("flushing a file", Op::File(FileOp::Sync(file)), None)?;
    let plain = bench.repeated(|bench, offset| bench.timed(|bench| bench.write(file, offset, false)))?;
    let flush = bench.repeated(|bench, offset| {
        bench.write(file, offset, false)?;
        bench.timed(|bench| bench.run("flushing a file", Op::File(FileOp::Sync(file)), None).map(|_| ()))
    })?;
    let durable = bench.repeated(|bench, offset| bench.timed(|bench| bench.write(file, offset, true)))?;
    bench.run("closing a file", Op::File(FileOp::Close(file)), None)?;
    Ok(Measured { registered: bench.io.buffers_registered(), plain, flush, durable })
}

struct Bench<I> {
    io: I,
    completions: Vec<Completion>,
}

impl<I: SystemIo> Bench<I> {
    /// Does something at one block after the other, and has from it how long each took.
    fn repeated(
        &mut self,
        mut once: impl FnMut(&mut Self, usize) -> Result<u64, MeasureError>,
    ) -> Result<Latency, MeasureError> {
        let end_ns = self.io.mono_ns() + TIME.as_nanos() as u64;
        let mut taken = Vec::with_capacity(WRITES);
        for index in 0..WRITES {
            taken.push(once(self, index * BLOCK_BYTES % FILE_BYTES)?);
            if self.io.mono_ns() > end_ns {
                break;
            }
        }
        taken.sort_unstable();
        let at = |percent: usize| taken[(taken.len() * percent / 100).min(taken.len() - 1)];
        Ok(Latency { writes: taken.len(), p50_ns: at(50), p99_ns: at(99) })
    }

    /// Nanoseconds that something takes.
    fn timed(&mut self, what: impl FnOnce(&mut Self) -> Result<(), MeasureError>) -> Result<u64, MeasureError> {
        let start_ns = self.io.mono_ns();
        what(self)?;
        Ok(self.io.mono_ns() - start_ns)
    }

    fn write(&mut self, file: FileId, offset: usize, durable: bool) -> Result<(), MeasureError> {
        let mut buf = self.io.pool().take(BLOCK_BYTES).expect("one block is in flight of a pool of many");
        buf.fill(offset as u8);
        let op = Op::Write { file, offset: offset as u64, buf: buf.freeze(), durable };
        self.run("writing to a file", op, Some(BLOCK_BYTES)).map(|_| ())
    }

    /// Runs one operation to its end; `expected` is the result that it must have.
    fn run(&mut self, step: &'static str, op: Op, expected: Option<usize>) -> Result<i32, MeasureError> {
        self.io.submit(op, Token(1));
        let end_ns = self.io.mono_ns() + PATIENCE.as_nanos() as u64;
        while self.completions.is_empty() {
            if self.io.mono_ns() > end_ns {
                return Err(MeasureError::Silent(step));
            }
            self.io.turn(Wait::Until(end_ns), &mut self.completions);
        }
        let result = self.completions.drain(..).next().map_or(0, |completion| completion.result);
        let failed = |errno| MeasureError::Operation { step, source: std::io::Error::from_raw_os_error(errno) };
        match expected {
            _ if result < 0 => Err(failed(-result)),
            // A short write is a full disk.
            Some(bytes) if result.cast_unsigned() as usize != bytes => Err(failed(28)),
            _ => Ok(result),
        }
    }
}
