//! `millstream put`: records from arguments, or one a line from standard input, into a stream.
//!
//! A thread reads and gathers lines; this one sends and takes results. A batch goes when it is full, or when the input has
//! nothing more at the moment: so a slow producer's line goes at once, and a file goes in large batches. Records that a
//! shard's quotas hold up, or its being split, merged or moved, are put again after a while, before any that come later, but behind others that were under way.
//!
//! With a producer's name the records are numbered, from 1: then a lost connection is made again, all that was not answered is sent
//! again in its order, and each record is stored once, in order, over restarts of the server as well.

mod gather;
mod lines;
mod retry;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use clap::Args;
use frame::proto::{AckResult, ErrorCode, Failure};
use frame::{Period, ProducerId, Quotas, QuotasChange, RequestId, Retention, Settings, ShardId, StreamId};

use crate::client::{Batch, Client, ClientError};
use crate::connect::{Output, ServerArguments};
use gather::{Keys, gather};

/// A batch goes at this size.
const BATCH_BYTES: usize = 256 << 10;

/// Batches that wait between the reading thread and this one.
const BATCHES_WAITING: usize = 8;

/// Batches that are not answered; before the next one goes, a result is taken.
const SENT_MAX: usize = 32;

/// How long records wait that their shard did not take in, before they are put again.
const THROTTLED_WAIT: Duration = Duration::from_millis(100);

/// Arguments of `millstream put`.
#[derive(Args, Debug)]
pub struct PutArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Where the records go
    stream: String,
    /// A record each; `-`, or nothing, takes one a line from standard input
    #[arg(value_name = "DATA")]
    data: Vec<String>,
    /// The partition key of all records [default: the record's number, which spreads them over the shards]
    #[arg(long, value_name = "K", conflicts_with = "key_column")]
    key: Option<String>,
    /// The partition key is this column of the record, counted from 1
    #[arg(long, value_name = "N")]
    key_column: Option<std::num::NonZeroUsize>,
    /// What parts the columns
    #[arg(long, value_name = "CHAR", default_value_t = ',', requires = "key_column")]
    delimiter: char,
    /// Make the stream first, with so many shards, if it is missing
    #[arg(long, value_name = "SHARDS")]
    create: Option<u32>,
    /// With --create: what each shard takes in and gives out a second: `service`, `none`, or such as `write-bytes=4MiB`
    #[arg(long, value_name = "QUOTAS", default_value = "service", requires = "create")]
    quotas: QuotasChange,
    /// With --create: how long its records are kept, such as `24h` or `90s`, or `none`: without end
    #[arg(long, value_name = "TIME", default_value = "none", requires = "create")]
    retention: Period,
    /// Number the records under this name, so that each is stored once however often it is sent: a lost connection is made
    /// again, and a command that was ended may be given again with the same input. A name stands for one input
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    producer: Option<String>,
    /// Tell each record's shard and sequence number
    #[arg(long, short)]
    verbose: bool,
}

/// Why the command failed.
#[derive(Debug)]
pub enum PutError {
    /// Between here and the server. What was stored before is in the summary.
    Client(ClientError, Summary),
    /// Standard input can't be read.
    Input(io::Error, Summary),
    /// Standard output takes no more.
    Output(io::Error),
    /// The reading thread can't be started.
    Thread(io::Error),
    /// The server is from before producers numbered their records.
    NoNumbers,
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Client(error, summary) => write!(f, "{error}; before that, {summary}"),
            PutError::Input(error, summary) => {
                write!(f, "standard input can't be read: {error}; give it again from there: before that, {summary}")
            }
            PutError::Output(error) => {
                write!(f, "standard output can't be written to: {error}; send it to another place")
            }
            PutError::Thread(error) => {
                write!(f, "the reading thread can't be started: {error}; raise the limit on threads (ulimit -u)")
            }
            PutError::NoNumbers => {
                f.write_str("the server takes no numbered records; update it, or leave out --producer")
            }
        }
    }
}

impl std::error::Error for PutError {}

/// What became of the records.
#[derive(Clone, Default, Debug)]
pub struct Summary {
    /// On stable storage.
    pub stored: u64,
    /// Refused, by reason.
    pub refused: Vec<(String, u64)>,
    /// The server's file system need not keep what is stored.
    pub is_volatile: bool,
}

impl Summary {
    fn refuse(&mut self, reason: String) {
        match self.refused.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((reason, 1)),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = if self.stored == 1 { "record" } else { "records" };
        write!(f, "{} {records} stored", self.stored)?;
        if self.is_volatile {
            f.write_str(", not durably: the server's file system loses them with the power")?;
        }
        self.refused.iter().try_for_each(|(reason, count)| write!(f, ", {count} refused ({reason})"))
    }
}

/// What the reading thread hands over.
enum Input {
    /// Records, and the number of the first, counted from 1.
    Batch(Batch, Vec<u64>),
    /// Not sent, and why.
    Refused(u64, String),
    /// The input failed.
    Failed(io::Error),
}

/// Puts the records; the exit status says whether all were stored.
///
/// # Errors
/// Why it could not go on.
pub fn run(arguments: PutArguments) -> Result<ExitCode, PutError> {
    let nothing = |error| PutError::Client(error, Summary::default());
    let mut client = arguments.server.connect().map_err(nothing)?;
    let producer = arguments.producer.as_deref().map(ProducerId::of_name);
    if producer.is_some() && !client.welcome().takes_numbers() {
        return Err(PutError::NoNumbers);
    }
    let stream = find_stream(&mut client, &arguments).map_err(nothing)?;
    let (sender, input) = sync_channel(BATCHES_WAITING);
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn({
            let keys = Keys::of(&arguments);
            let data = arguments.data;
            move || gather(&data, &keys, producer, &sender)
        })
        .map_err(PutError::Thread)?;
    let summary = Summary { is_volatile: !client.welcome().is_durable(), ..Summary::default() };
    let (sent, again, output) = (VecDeque::new(), VecDeque::new(), Output::new());
    let (name, server) = (arguments.stream.clone(), arguments.server.clone());
    let is_numbered = producer.is_some();
    let mut put = Put { server, client, stream, name, is_numbered, sent, again, summary, output, is_throttled: false };
    let outcome = put.all(&input, arguments.verbose);
    let Put { summary, mut output, .. } = put;
    match outcome {
        Ok(()) => {}
        Err(Stop::Client(error)) => {
            let _ = output.flush();
            return Err(PutError::Client(error, summary));
        }
        Err(Stop::Input(error)) => {
            let _ = output.flush();
            return Err(PutError::Input(error, summary));
        }
        Err(Stop::Output(error)) => return Err(PutError::Output(error)),
    }
    if !arguments.verbose {
        output.write(|out| writeln!(out, "{summary}")).map_err(PutError::Output)?;
    }
    output.flush().map_err(PutError::Output)?;
    Ok(if summary.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find_stream(client: &mut Client, arguments: &PutArguments) -> Result<StreamId, ClientError> {
    let described = client.describe_stream(&arguments.stream);
    let description = match (described, arguments.create) {
        (Err(error), Some(shards)) if error.code() == Some(ErrorCode::UnknownStream) => {
            let retention = Retention { seconds: arguments.retention.0, bytes: None };
            let settings = Settings { quotas: arguments.quotas.of(Quotas::SERVICE), retention };
            client.create_stream(&arguments.stream, shards, settings)
        }
        (Err(ClientError::Refused(failure)), None) if failure.code == ErrorCode::UnknownStream => {
            let detail = format!("{}; --create SHARDS makes it", failure.detail);
            Err(ClientError::Refused(Failure { detail, ..failure }))
        }
        (described, _) => described,
    }?;
    Ok(description.stream)
}

/// Why sending ended before the input did.
enum Stop {
    Client(ClientError),
    Input(io::Error),
    Output(io::Error),
}

/// A put in progress.
struct Put {
    server: ServerArguments,
    client: Client,
    stream: StreamId,
    name: String,
    /// Whether the records bear their producer's number.
    is_numbered: bool,
    /// Each append that is not answered, oldest first.
    sent: VecDeque<Sent>,
    /// Records that their shard did not take in, and that are put again once all is answered that is under way.
    again: VecDeque<(Batch, Vec<u64>)>,
    summary: Summary,
    output: Output,
    /// Whether it was told that records wait.
    is_throttled: bool,
}

/// An append that is not answered: its records, and their numbers.
struct Sent {
    request: RequestId,
    batch: Batch,
    numbers: Vec<u64>,
}

impl Put {
    fn all(&mut self, input: &Receiver<Input>, verbose: bool) -> Result<(), Stop> {
        loop {
            if !self.again.is_empty() || self.sent.len() >= SENT_MAX {
                self.go_on(verbose)?;
                continue;
            }
            // What there is to send goes first; results are taken while there is nothing to send.
            let next = match input.try_recv() {
                Ok(next) => Some(next),
                Err(TryRecvError::Empty) if !self.sent.is_empty() => {
                    self.take_result(verbose)?;
                    continue;
                }
                Err(TryRecvError::Empty) => {
                    self.output.flush().map_err(Stop::Output)?;
                    input.recv().ok()
                }
                Err(TryRecvError::Disconnected) => None,
            };
            match next {
                Some(Input::Batch(batch, numbers)) => drop(self.send(batch, numbers)?),
                Some(Input::Refused(number, reason)) => self.refuse(number, reason),
                Some(Input::Failed(error)) => {
                    self.drain(verbose)?;
                    return Err(Stop::Input(error));
                }
                None => return self.drain(verbose),
            }
        }
    }

    /// Sends a batch. `false` if the connection was lost and made again: all that is not answered waits to be sent again.
    fn send(&mut self, batch: Batch, numbers: Vec<u64>) -> Result<bool, Stop> {
        match self.client.send(self.stream, &batch) {
            Ok(request) => {
                self.sent.push_back(Sent { request, batch, numbers });
                Ok(true)
            }
            Err(error) => {
                self.wait_again(batch, numbers);
                self.connect_again(error).map(|()| false)
            }
        }
    }

    fn drain(&mut self, verbose: bool) -> Result<(), Stop> {
        while !self.sent.is_empty() || !self.again.is_empty() {
            self.go_on(verbose)?;
        }
        Ok(())
    }

    /// Takes the results of one append; where none is under way, what is to be put again waits a while and goes.
    fn go_on(&mut self, verbose: bool) -> Result<(), Stop> {
        if !self.sent.is_empty() {
            return self.take_result(verbose);
        }
        std::thread::sleep(THROTTLED_WAIT);
        while let Some((batch, numbers)) = self.again.pop_front() {
            if !self.send(batch, numbers)? {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the results of one append.
    fn take_result(&mut self, verbose: bool) -> Result<(), Stop> {
        let appended = match self.client.next_appended() {
            Ok(Some(appended)) => appended,
            Ok(None) => return Ok(()),
            Err(error) => return self.connect_again(error),
        };
        let Some(at) = self.sent.iter().position(|sent| sent.request == appended.request) else { return Ok(()) };
        let Some(Sent { batch, numbers, .. }) = self.sent.remove(at) else { return Ok(()) };
        let results = match appended.outcome {
            Ok(results) => results,
            Err(failure) if !self.is_numbered => return Err(Stop::Client(ClientError::Refused(failure))),
            Err(failure) => {
                self.tell_waiting(failure.code);
                self.wait_again(batch, numbers);
                return Ok(());
            }
        };
        let (mut again, mut numbers_again) = (Batch::new(), Vec::new());
        for ((number, frames), result) in numbers.into_iter().zip(batch.each()).zip(results) {
            match result {
                AckResult::Throttled(ErrorCode::StoredBefore, shard) => {
                    self.summary.stored += 1;
                    if verbose {
                        let line = |out: &mut dyn io::Write| writeln!(out, "{number} shard {shard} stored before");
                        self.output.write(line).map_err(Stop::Output)?;
                    }
                }
                AckResult::Throttled(ErrorCode::NumberPassed, _) => {
                    self.refuse(number, reason(ErrorCode::NumberPassed))
                }
                AckResult::Refused(code) if self.is_numbered && code.may_pass() => {
                    self.tell_waiting(code);
                    let fits = again.push_record(frames);
                    debug_assert!(fits, "it came from a batch");
                    numbers_again.push(number);
                }
                AckResult::Throttled(code, shard) => {
                    self.tell_throttled(code, shard);
                    let fits = again.push_record(frames);
                    debug_assert!(fits, "it came from a batch");
                    numbers_again.push(number);
                }
                AckResult::Refused(code) => self.refuse(number, reason(code)),
                AckResult::Durable(shard, sequence) => {
                    self.summary.stored += 1;
                    if verbose {
                        let line =
                            |out: &mut dyn io::Write| writeln!(out, "{number} shard {shard} sequence {sequence}");
                        self.output.write(line).map_err(Stop::Output)?;
                    }
                }
            }
        }
        if !again.is_empty() {
            self.wait_again(again, numbers_again);
        }
        Ok(())
    }

    /// Says once that records wait, and for what. For a shard that is split or merged they do not wait long.
    fn tell_throttled(&mut self, code: ErrorCode, shard: ShardId) {
        // What is out of order follows one of which it was told.
        let is_told = matches!(code, ErrorCode::Resharding | ErrorCode::OutOfOrder);
        if !is_told && !std::mem::replace(&mut self.is_throttled, true) {
            eprintln!(
                "millstream: shard {shard}: {code}: its records wait; `millstream streams quotas {} none` lifts that",
                self.name
            );
        }
    }

    /// Notes a refused record; the first of each reason is told at once.
    fn refuse(&mut self, number: u64, reason: String) {
        if !self.summary.refused.iter().any(|(other, _)| *other == reason) {
            eprintln!("millstream: record {number} is refused: {reason}");
        }
        self.summary.refuse(reason);
    }
}

/// Why the server refused a record, and what to do.
fn reason(code: ErrorCode) -> String {
    let advice = match code {
        ErrorCode::DiskFull => "free space or raise the server's --disk-bytes, then put it again",
        ErrorCode::StorageFailed => "look at the server's log and restart it",
        ErrorCode::UnknownStream => "create the stream",
        ErrorCode::Checksum => "it changed on its way; put it again",
        ErrorCode::NumberPassed => "another input was put under the same name; choose another with --producer",
        _ => "put it again",
    };
    format!("{code}: {advice}")
}
