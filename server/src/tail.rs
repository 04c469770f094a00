//! `millstream tail`: a stream's records as text or JSON, from a sequence number to the end at the time of the start, or, with `-f`,
//! on and on as they become durable.
//!
//! Shards come one after the other, followed ones as they come, but none before those that it was split or merged from have
//! ended. A record in parts is printed as one, once it is whole. Damaged records are named on standard error and passed over, as many at
//! once as the server names; the exit status tells.

mod follow;
mod output;

use std::fmt;
use std::io;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use frame::parts::{self, Joiner, Record};
use frame::proto::{ErrorCode, Failure, ShardDescription, Start};
use frame::{Sequence, ShardId, StreamId};
use jiff::Timestamp;

use crate::client::{Client, ClientError, Records};
use crate::connect::{Output, ServerArguments};
use output::{Format, Lines};

/// Bytes asked for at once.
const READ_BYTES: u32 = 1 << 20;

/// How long a read waits that the shard's quotas did not let through.
const THROTTLED_WAIT: Duration = Duration::from_millis(50);

/// How long a read waits that came while its shard moved to another reactor.
const MOVING_WAIT: Duration = Duration::from_millis(1);

/// Arguments of `millstream tail`.
#[derive(Args, Debug)]
pub struct TailArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Whose records
    stream: String,
    /// Only this shard, as `millstream streams` numbers them [default: all, one after the other]
    #[arg(long, value_name = "N")]
    shard: Option<u32>,
    /// The first sequence number in each shard
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: u64,
    /// Only what arrived then or later: a time such as 2026-11-27T09:30:00Z, or one that long ago such as 10m or 2h30m
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["from", "latest"])]
    since: Option<u64>,
    /// Go on with what is appended from now on, until it is interrupted
    #[arg(long, short)]
    follow: bool,
    /// With --follow: only what is appended from now on
    #[arg(long, requires = "follow", conflicts_with = "from")]
    latest: bool,
    /// At most so many records in all
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Before each record its shard, sequence number, arrival and key, parted by tabs; JSON has them anyway
    #[arg(long, short)]
    verbose: bool,
    /// Records as text, a line each, or as JSON, an object a line; there a key or data that is no UTF-8 is in base64, as
    /// `key_base64` or `data_base64`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    output: Format,
    /// As JSON, for programs: the same as --output json
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl TailArguments {
    fn lines(&self) -> Lines {
        match (self.json, self.output, self.verbose) {
            (true, _, _) | (_, Format::Json, _) => Lines::Json(self.stream.clone()),
            (_, Format::Text, true) => Lines::Verbose,
            (_, Format::Text, false) => Lines::Data,
        }
    }
}

/// Milliseconds since 1970 of a time, or of so long ago.
fn parse_time(text: &str) -> Result<u64, String> {
    let time = text.parse::<Timestamp>().or_else(|_| {
        let ago = text.parse::<jiff::SignedDuration>().map_err(|_| ())?;
        Timestamp::now().checked_sub(ago).map_err(drop)
    });
    let time = time.map_err(|()| {
        format!("{text:?} is no time; give for example 2026-11-27T09:30:00Z, or 10m for ten minutes ago")
    })?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// Why the command failed.
#[derive(Debug)]
pub enum TailError {
    /// Between here and the server.
    Client(ClientError),
    /// The stream has no such shard.
    NoShard {
        /// The stream.
        stream: String,
        /// What was asked for.
        shard: u32,
        /// What there is.
        shards: Vec<ShardId>,
    },
    /// No shard has come that far.
    PastEnd {
        /// The stream.
        stream: String,
        /// What was asked for.
        from: u64,
        /// The highest number of any shard asked for.
        last: u64,
    },
    /// Standard output takes no more.
    Output(io::Error),
}

impl fmt::Display for TailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TailError::Client(error) => error.fmt(f),
            TailError::NoShard { stream, shard, shards } => {
                let (first, last) = (shards.first(), shards.last());
                write!(f, "stream {stream} has no shard {shard}")?;
                match first.zip(last) {
                    Some((first, last)) => write!(f, "; choose one from {first} to {last}"),
                    None => Ok(()),
                }
            }
            TailError::PastEnd { stream, from, last } => {
                write!(f, "stream {stream} has no record {from} yet, its last one is {last}; choose a smaller --from")
            }
            TailError::Output(error) => {
                write!(f, "standard output can't be written to: {error}; send it to another place")
            }
        }
    }
}

impl std::error::Error for TailError {}

/// Prints the records; the exit status says whether all could be read.
///
/// # Errors
/// Why it could not go on.
pub fn run(arguments: TailArguments) -> Result<ExitCode, TailError> {
    let client = arguments.server.connect().map_err(TailError::Client)?;
    let (stream, lines, left) = (StreamId(0), arguments.lines(), arguments.limit);
    let since_ms = arguments.since.unwrap_or(0);
    let mut tail =
        Tail { client, stream, lines, since_ms, left, damaged: false, is_throttled: false, output: Output::new() };
    let description = tail.client.describe_stream(&arguments.stream).map_err(TailError::Client)?;
    tail.stream = description.stream;
    let shards = choose(&arguments, description.shards)?;
    if arguments.follow {
        tail.follow(&arguments, &shards)?;
    }
    for shard in shards.iter().filter(|_| !arguments.follow) {
        if arguments.from < shard.tip.0 {
            let from = tail.first(shard.shard, Sequence(arguments.from.max(shard.trim.0)), shard.tip)?;
            tail.shard(shard.shard, from, shard.tip)?;
        }
    }
    tail.output.flush().map_err(TailError::Output)?;
    Ok(if tail.damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The shards asked for, if at least one of them has come as far as the first number.
fn choose(arguments: &TailArguments, mut shards: Vec<ShardDescription>) -> Result<Vec<ShardDescription>, TailError> {
    let stream = &arguments.stream;
    if let Some(shard) = arguments.shard {
        let all = shards.iter().map(|shard| shard.shard).collect();
        shards.retain(|other| other.shard.0 == shard);
        if shards.is_empty() {
            return Err(TailError::NoShard { stream: stream.clone(), shard, shards: all });
        }
    }
    let furthest = shards.iter().map(|shard| shard.tip.0).max().unwrap_or(1);
    if arguments.from > furthest {
        return Err(TailError::PastEnd { stream: stream.clone(), from: arguments.from, last: furthest - 1 });
    }
    Ok(shards)
}

/// Damaged records that are passed over, and what the server said of the first.
#[derive(Debug)]
struct Refused {
    numbers: Range<Sequence>,
    failure: Failure,
}

struct Tail {
    client: Client,
    stream: StreamId,
    lines: Lines,
    /// What arrived before is not printed.
    since_ms: u64,
    left: u64,
    damaged: bool,
    /// Whether it was told that reading waits.
    is_throttled: bool,
    output: Output,
}

impl Tail {
    /// The number of the first frame of the first record that is to be printed: of that which has number `from`, or comes
    /// after it. Where damage hides it, all are looked at.
    fn first(&mut self, shard: ShardId, from: Sequence, tip: Sequence) -> Result<Sequence, TailError> {
        let start = match self.since_ms {
            // Nothing begins before the first number, and there is nothing to look at behind the last.
            0 if from <= Sequence(1) || from >= tip => return Ok(from),
            0 => Start::At(from),
            since_ms => Start::Since(since_ms),
        };
        match self.read(shard, start, 1) {
            Ok(records) => {
                let first = records.iter().next();
                Ok(first.map_or(records.result.next, |frame| parts::first_of(&frame)))
            }
            Err(ClientError::Refused(failure)) if failure.code == ErrorCode::Damaged => Ok(from),
            Err(error) => Err(TailError::Client(error)),
        }
    }

    /// Reads, as soon as the shard's quotas allow it, it is where it moves to, and the server has room for the answer.
    fn read(&mut self, shard: ShardId, start: Start, bytes_max: u32) -> Result<Records, ClientError> {
        loop {
            match self.client.read(self.stream, shard, start, bytes_max) {
                Err(ClientError::Refused(failure)) if failure.code.is_read_quota() && !self.output.is_closed() => {
                    if !std::mem::replace(&mut self.is_throttled, true) {
                        eprintln!("millstream: shard {shard}: {}: reading waits for that", failure.code);
                    }
                    // Nobody waits for what there is already.
                    let _ = self.output.flush();
                    std::thread::sleep(THROTTLED_WAIT);
                }
                Err(ClientError::Refused(failure))
                    if matches!(failure.code, ErrorCode::Resharding | ErrorCode::Busy) =>
                {
                    std::thread::sleep(MOVING_WAIT);
                }
                outcome => return outcome,
            }
        }
    }

    /// Prints one shard's records from `from` to before `tip`.
    fn shard(&mut self, shard: ShardId, mut from: Sequence, tip: Sequence) -> Result<(), TailError> {
        let mut refused: Option<Refused> = None;
        let mut joiner = Joiner::new();
        while from < tip && self.left > 0 && !self.output.is_closed() {
            match self.read(shard, Start::At(from), READ_BYTES) {
                Ok(records) => {
                    self.tell(shard, refused.take());
                    self.tell_expired(shard, from, records.result.trim);
                    for frame in records.iter().take_while(|frame| frame.sequence() < tip) {
                        let Some(record) = joiner.push(&frame) else { continue };
                        self.print(shard, &record)?;
                    }
                    from = records.result.next.max(from.next());
                }
                Err(ClientError::Refused(failure @ Failure { damaged: Some(_), .. })) => {
                    from = self.pass_over(shard, &mut refused, failure, from);
                }
                Err(error) => {
                    let _ = self.output.flush();
                    return Err(TailError::Client(error));
                }
            }
        }
        self.tell(shard, refused);
        Ok(())
    }

    /// Where to go on behind damaged numbers. Those that follow each other are told together.
    fn pass_over(
        &mut self,
        shard: ShardId,
        refused: &mut Option<Refused>,
        failure: Failure,
        from: Sequence,
    ) -> Sequence {
        let Range { start, end } = failure.damaged.clone().unwrap_or(from..from.next());
        match refused {
            Some(refused) if refused.numbers.end == start => refused.numbers.end = end,
            _ => {
                let before = refused.replace(Refused { numbers: start..end, failure });
                self.tell(shard, before);
            }
        }
        end
    }

    /// Names records that expired before they could be read.
    fn tell_expired(&mut self, shard: ShardId, from: Sequence, trim: Sequence) {
        if from < trim {
            let _ = self.output.flush();
            eprintln!("millstream: records {from} to {} of shard {shard} have expired", trim.0 - 1);
        }
    }

    /// Names records that were refused.
    fn tell(&mut self, shard: ShardId, refused: Option<Refused>) {
        let Some(Refused { numbers: Range { start, end }, failure }) = refused else { return };
        self.damaged = true;
        let _ = self.output.flush();
        eprintln!("millstream: records {start} to {} of shard {shard} are passed over: {failure}", end.0 - 1);
    }

    /// Prints a record, if it is wanted.
    fn print(&mut self, shard: ShardId, record: &Record<'_>) -> Result<(), TailError> {
        if self.left == 0 || record.arrival_ms < self.since_ms {
            return Ok(());
        }
        self.left -= 1;
        let lines = &self.lines;
        self.output.write(|out| lines.write(out, shard, record)).map_err(TailError::Output)
    }
}
