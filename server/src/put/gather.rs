//! The reading thread: records out of arguments or lines, with their keys and their producer's numbers.

use std::io;
use std::sync::mpsc::SyncSender;

use frame::{Numbered, ProducerId, RecordNumber};

use super::lines::{self, Line, Lines};
use super::{BATCH_BYTES, Input, PutArguments};
use crate::client::Batch;

/// Where partition keys come from.
pub(super) enum Keys {
    Fixed(Vec<u8>),
    Column(usize, Vec<u8>),
    Number,
}

impl Keys {
    pub(super) fn of(arguments: &PutArguments) -> Keys {
        match (&arguments.key, arguments.key_column) {
            (Some(key), _) => Keys::Fixed(key.clone().into_bytes()),
            (None, Some(column)) => Keys::Column(column.get(), arguments.delimiter.to_string().into_bytes()),
            (None, None) => Keys::Number,
        }
    }

    /// The key of a record; why it has none.
    fn key(&self, number: u64, data: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Keys::Fixed(key) => Ok(key.clone()),
            Keys::Number => Ok(number.to_string().into_bytes()),
            Keys::Column(column, delimiter) => lines::column(data, delimiter, *column)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| format!("it has no column {column}; choose another with --key-column")),
        }
    }
}

/// The reading thread: gathers records until the input ends or nobody wants more.
pub(super) fn gather(data: &[String], keys: &Keys, producer: Option<ProducerId>, sender: &SyncSender<Input>) {
    let mut gatherer = Gatherer { keys, producer, sender, number: 0, batch: Batch::new(), numbers: Vec::new() };
    let from_stdin = data.is_empty() || data == ["-"];
    let _ = if from_stdin { gatherer.lines() } else { gatherer.arguments(data) };
}

/// Nobody wants more records.
struct Unwanted;

struct Gatherer<'a> {
    keys: &'a Keys,
    producer: Option<ProducerId>,
    sender: &'a SyncSender<Input>,
    number: u64,
    batch: Batch,
    numbers: Vec<u64>,
}

impl Gatherer<'_> {
    fn arguments(&mut self, data: &[String]) -> Result<(), Unwanted> {
        data.iter().try_for_each(|data| self.record(data.as_bytes()))?;
        self.send()
    }

    fn lines(&mut self) -> Result<(), Unwanted> {
        let mut lines = Lines::new(io::stdin().lock());
        loop {
            if lines.would_wait() {
                self.send()?;
            }
            match lines.next() {
                Ok(Line::End) => return self.send(),
                Ok(Line::Record(line)) => self.record(line)?,
                Ok(Line::TooLong) => {
                    self.number += 1;
                    let most = frame::limits::LARGE_RECORD_BYTES_MAX;
                    self.refuse(format!("it has more than {most} bytes, the most of a record; split it into several"))?;
                }
                Err(error) => {
                    self.send()?;
                    return self.sender.send(Input::Failed(error)).map_err(|_| Unwanted);
                }
            }
        }
    }

    fn record(&mut self, data: &[u8]) -> Result<(), Unwanted> {
        self.number += 1;
        let key = match self.keys.key(self.number, data) {
            Ok(key) => key,
            Err(reason) => return self.refuse(reason),
        };
        let number = RecordNumber(self.number);
        let numbered = self.producer.map(|producer| Numbered { producer, number });
        match self.batch.push_numbered(&key, numbered, data) {
            Ok(true) => {}
            Ok(false) => {
                self.send()?;
                let _ = self.batch.push_numbered(&key, numbered, data);
            }
            Err(error) => return self.refuse(error.to_string()),
        }
        self.numbers.push(self.number);
        if self.batch.message_bytes() >= BATCH_BYTES { self.send() } else { Ok(()) }
    }

    fn refuse(&mut self, reason: String) -> Result<(), Unwanted> {
        self.sender.send(Input::Refused(self.number, reason)).map_err(|_| Unwanted)
    }

    fn send(&mut self) -> Result<(), Unwanted> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (batch, numbers) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.numbers));
        self.sender.send(Input::Batch(batch, numbers)).map_err(|_| Unwanted)
    }
}
