//! Who writes: one thread a stream, at a rate of its own, one batch at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use frame::proto::{AckResult, ErrorCode, Failure, StreamDescription};
use frame::{Retention, frame as record};

use super::account::{Account, Life, RETENTION};
use crate::error::PairsError;
use crate::kinesis::delete_stream;
use crate::wire::Wire;

/// Records of a batch.
const RECORDS: u32 = 32;

/// Data of a record.
const DATA_BYTES: usize = 8 << 10;

/// A stream that is to be deleted is, once it has so many bytes.
const DELETED_BYTES: u64 = 32 << 20;

/// Who is further behind than that does not catch up.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// A stream that could not be made for want of space is asked for again after this time.
const PAUSE: Duration = Duration::from_millis(100);

/// What one writer does.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) name: String,
    pub(super) life: Life,
    pub(super) bytes_per_s: f64,
    /// Where the server takes records, and where it deletes streams.
    pub(super) native: String,
    pub(super) http: String,
}

/// What a writer has to show at its end: its newest stream, and the numbers of what was stored of it.
pub(super) struct Written {
    pub(super) stream: StreamDescription,
    pub(super) numbers: BTreeSet<u64>,
}

impl Writer {
    /// Writes until it is told to stop.
    pub(super) fn run(&self, account: &Account, stop: &AtomicBool) -> Result<Option<Written>, PairsError> {
        let mut wire = Wire::connect(&self.native)?;
        let mut next = 0;
        let mut due = Instant::now();
        for round in 0_u64.. {
            let name = match self.life {
                Life::Deleted => format!("{}-{round}", self.name),
                Life::Kept | Life::Expiring => self.name.clone(),
            };
            let Some(stream) = self.make(&mut wire, &name, account, stop)? else { break };
            let mut written = Written { stream, numbers: BTreeSet::new() };
            let mut left = if self.life == Life::Deleted { DELETED_BYTES } else { u64::MAX };
            while left > 0 {
                if stop.load(Ordering::Relaxed) {
                    return Ok(Some(written));
                }
                let (frames, numbers) = batch(&mut next);
                let bytes = frames.len() as u64;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let sent = Instant::now();
                due = due.max(sent - BEHIND_MAX) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s);
                let results = match wire.append(written.stream.stream, RECORDS, &frames)? {
                    Ok(results) => results,
                    Err(failure) => return Err(self.refused(&failure)),
                };
                let took = account.take(self.life, sent, bytes / u64::from(RECORDS), &results);
                took.map_err(|code| PairsError::Wire(format!("it refused a record of {}: {code}", self.name)))?;
                if self.life == Life::Kept {
                    let stored = numbers.zip(&results).filter(|(_, result)| matches!(result, AckResult::Durable(..)));
                    written.numbers.extend(stored.map(|(number, _)| number));
                }
                left = left.saturating_sub(bytes);
            }
            delete_stream(&self.http, &name)?;
            account.deleted();
        }
        Ok(None)
    }

    /// Makes a stream, as soon as there is room for it.
    fn make(
        &self,
        wire: &mut Wire,
        name: &str,
        account: &Account,
        stop: &AtomicBool,
    ) -> Result<Option<StreamDescription>, PairsError> {
        let retention = match self.life {
            Life::Expiring => Retention::of_seconds(RETENTION.as_secs() as u32),
            Life::Kept | Life::Deleted => Retention::NONE,
        };
        while !stop.load(Ordering::Relaxed) {
            match wire.create(name, 1, retention)? {
                Ok(stream) => return Ok(Some(stream)),
                Err(failure) if failure.code == ErrorCode::DiskFull => {
                    account.refuse();
                    thread::sleep(PAUSE);
                }
                Err(failure) => return Err(self.refused(&failure)),
            }
        }
        Ok(None)
    }

    fn refused(&self, failure: &Failure) -> PairsError {
        PairsError::Wire(format!("it refused what {} asked for: {failure}", self.name))
    }
}

/// The next records of a writer, each of which says its number, and those.
fn batch(next: &mut u64) -> (Vec<u8>, std::ops::Range<u64>) {
    let numbers = *next..*next + u64::from(RECORDS);
    *next = numbers.end;
    let mut frames = Vec::new();
    let mut data = vec![0; DATA_BYTES];
    for number in numbers.clone() {
        data.fill(number as u8);
        data[..8].copy_from_slice(&number.to_le_bytes());
        record::encode(&mut frames, b"key", None, &data).expect("it is not too large");
    }
    (frames, numbers)
}

/// What is wrong with a stream that is kept, if anything: a record that was stored is not there, or one is that was refused.
pub(super) fn missing(wire: &mut Wire, written: &Written) -> Result<Option<String>, PairsError> {
    let mut missing = written.numbers.clone();
    let mut unknown = 0_u64;
    let answer = wire.read_all(&written.stream, |frame| {
        let number = frame.data().first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        unknown += u64::from(!number.is_some_and(|number| missing.remove(&number)));
    })?;
    Ok(match answer {
        Err(failure) => Some(format!("{} could not be read back: {failure}", written.stream.name)),
        Ok(()) if unknown > 0 || !missing.is_empty() => Some(format!(
            "of {} records of {} {} are missing, and {unknown} are there that were not stored",
            written.numbers.len(),
            written.stream.name,
            missing.len(),
        )),
        Ok(()) => None,
    })
}
