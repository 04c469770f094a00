//! `millstream tail`: a stream's records as text, from a sequence number to the end at the time of the start, or, with `-f`,
//! on and on as they become durable.
//!
//! Shards come one after the other, followed ones as they come, but none before those that it was split or merged from have
//! ended. A record in parts is printed as one, once it is whole. A damaged record is named on standard error and passed over; the exit status tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use frame::parts::{self, Joiner, Record};
use frame::proto::{Children, ErrorCode, Failure, ShardDescription, Start};
use frame::{RequestId, Sequence, ShardId, StreamId};

use jiff::Timestamp;

use crate::client::{Client, ClientError, Pushed, Records};
use crate::connect::{Output, ServerArguments};
use crate::streams::UtcTime;

/// Bytes asked for at once.
const READ_BYTES: u32 = 1 << 20;

/// Bytes that may be on their way here, over all shards: little enough to lie in the connection while nobody takes the
/// output, so that the server need not wait.
const FOLLOW_BYTES: u64 = 256 << 10;

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
    /// Before each record its shard, sequence number, arrival and key, parted by tabs
    #[arg(long, short)]
    verbose: bool,
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
    let (stream, verbose, left) = (StreamId(0), arguments.verbose, arguments.limit);
    let since_ms = arguments.since.unwrap_or(0);
    let mut tail =
        Tail { client, stream, verbose, since_ms, left, damaged: false, is_throttled: false, output: Output::new() };
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

struct Tail {
    client: Client,
    stream: StreamId,
    verbose: bool,
    /// What arrived before is not printed.
    since_ms: u64,
    left: u64,
    damaged: bool,
    /// Whether it was told that reading waits.
    is_throttled: bool,
    output: Output,
}

/// A shard that is followed.
#[derive(Debug)]
struct Followed {
    shard: ShardId,
    /// What comes next.
    next: Sequence,
    /// Where to begin, if it has to once more.
    start: Start,
    joiner: Joiner,
    refused: Option<(Sequence, Failure)>,
}

/// Shards on their way to be followed: each once all that it was made of have ended, as far as they are followed.
#[derive(Debug)]
struct Lineage {
    /// All that were or will be followed.
    known: BTreeSet<ShardId>,
    ended: BTreeSet<ShardId>,
    /// Those that wait, and whether they were made since the start.
    waiting: Vec<(ShardDescription, bool)>,
}

impl Lineage {
    fn new<'a>(shards: impl Iterator<Item = &'a ShardDescription>) -> Lineage {
        let waiting: Vec<(ShardDescription, bool)> = shards.map(|shard| (*shard, false)).collect();
        let known = waiting.iter().map(|(shard, _)| shard.shard).collect();
        Lineage { known, ended: BTreeSet::new(), waiting }
    }

    /// A shard whose turn has come.
    fn take_ready(&mut self) -> Option<(ShardDescription, bool)> {
        let has_ended = |parent: &ShardId| self.ended.contains(parent) || !self.known.contains(parent);
        let ready = self.waiting.iter().position(|(shard, _)| shard.parents().all(|parent| has_ended(&parent)))?;
        Some(self.waiting.remove(ready))
    }

    /// Adds what was made of shards that are followed, and what was made of that.
    fn add(&mut self, shards: &[ShardDescription]) {
        // By their numbers parents come first.
        for shard in shards {
            let is_made = shard.parents().any(|parent| self.known.contains(&parent));
            if is_made && self.known.insert(shard.shard) {
                self.waiting.push((*shard, true));
            }
        }
    }
}

impl Tail {
    /// Prints what the shards have, and what they get, as it comes. A shard that is not as far as the first number asked for
    /// begins at its end.
    fn follow(&mut self, arguments: &TailArguments, shards: &[ShardDescription]) -> Result<(), TailError> {
        let credit = (FOLLOW_BYTES / shards.len().max(1) as u64).max(1);
        // Of what was closed nothing comes any more.
        let is_wanted = |shard: &&ShardDescription| !arguments.latest || shard.children.is_none();
        let mut lineage = Lineage::new(shards.iter().filter(is_wanted));
        let mut followed = BTreeMap::new();
        self.begin_ready(arguments, &mut lineage, &mut followed, credit)?;
        let outcome = self.follow_on(arguments, &mut lineage, &mut followed, credit);
        for shard in followed.values_mut() {
            self.tell(shard.shard, shard.refused.take(), shard.next);
        }
        outcome
    }

    /// Begins with shards whose turn has come.
    fn begin_ready(
        &mut self,
        arguments: &TailArguments,
        lineage: &mut Lineage,
        followed: &mut BTreeMap<RequestId, Followed>,
        credit: u64,
    ) -> Result<(), TailError> {
        while let Some((shard, is_new)) = lineage.take_ready() {
            let from = if is_new { 1 } else { arguments.from };
            let from = Sequence(from.max(shard.trim.0)).min(shard.tip);
            let start = match arguments.since {
                Some(ms) if !is_new => Start::Since(ms),
                None if arguments.latest && !is_new => Start::Latest,
                _ => Start::At(self.first(shard.shard, from, shard.tip)?),
            };
            // By time, or at the end: whatever expires before is none of its business.
            let next = if matches!(start, Start::At(_)) { from } else { shard.tip };
            let (shard, joiner) = (shard.shard, Joiner::new());
            self.begin(followed, Followed { shard, next, start, joiner, refused: None }, credit)?;
        }
        Ok(())
    }

    /// A shard has ended. Unless it is the only one asked for, its children go on.
    fn ended(
        &mut self,
        arguments: &TailArguments,
        lineage: &mut Lineage,
        shard: ShardId,
        children: Children,
    ) -> Result<(), TailError> {
        lineage.ended.insert(shard);
        if arguments.shard.is_none() && children.shards().any(|child| !lineage.known.contains(&child)) {
            let described = self.client.describe_stream(&arguments.stream).map_err(TailError::Client)?;
            lineage.add(&described.shards);
        }
        Ok(())
    }

    /// Prints what comes.
    fn follow_on(
        &mut self,
        arguments: &TailArguments,
        lineage: &mut Lineage,
        followed: &mut BTreeMap<RequestId, Followed>,
        credit: u64,
    ) -> Result<(), TailError> {
        while self.left > 0 && !self.output.is_closed() {
            let Some(Pushed { subscription, outcome }) = self.client.next_pushed().map_err(TailError::Client)? else {
                break;
            };
            let Some(shard) = followed.get_mut(&subscription) else { continue };
            match outcome {
                Ok(records) => {
                    if !records.is_empty() || records.result.next >= records.result.tip {
                        self.tell(shard.shard, shard.refused.take(), shard.next);
                    }
                    self.tell_expired(shard.shard, shard.next, records.result.trim);
                    for frame in records.iter() {
                        let Some(record) = shard.joiner.push(&frame) else { continue };
                        self.print(shard.shard, &record)?;
                    }
                    shard.next = records.result.next;
                    // By time it begins with the first record, before which it may be told of others that are passed over.
                    if !records.is_empty() || !matches!(shard.start, Start::Since(_)) {
                        shard.start = Start::At(shard.next);
                    }
                    let bytes = records.iter().map(|frame| frame.length() as u64).sum();
                    self.output.flush().map_err(TailError::Output)?;
                    if let Some(children) = records.result.children {
                        let ended = shard.shard;
                        followed.remove(&subscription);
                        self.ended(arguments, lineage, ended, children)?;
                        self.begin_ready(arguments, lineage, followed, credit)?;
                        continue;
                    }
                    self.client.grant(subscription, bytes).map_err(TailError::Client)?;
                }
                Err(failure) if failure.code == ErrorCode::Damaged => {
                    let Some(mut shard) = followed.remove(&subscription) else { continue };
                    shard.refused.get_or_insert((shard.next, failure));
                    shard.next = shard.next.next();
                    shard.start = Start::At(shard.next);
                    self.begin(followed, shard, credit)?;
                }
                Err(failure) if failure.code == ErrorCode::Resharding => {
                    // It moved to another reactor, and goes on from there.
                    let Some(shard) = followed.remove(&subscription) else { continue };
                    self.begin(followed, shard, credit)?;
                }
                Err(failure) => {
                    let _ = self.output.flush();
                    return Err(TailError::Client(ClientError::Refused(failure)));
                }
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        followed: &mut BTreeMap<RequestId, Followed>,
        shard: Followed,
        credit: u64,
    ) -> Result<(), TailError> {
        let subscription = self.client.subscribe(self.stream, shard.shard, shard.start, credit);
        followed.insert(subscription.map_err(TailError::Client)?, shard);
        Ok(())
    }

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

    /// Reads, as soon as the shard's quotas allow it, and it is where it moves to.
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
                Err(ClientError::Refused(failure)) if failure.code == ErrorCode::Resharding => {
                    std::thread::sleep(MOVING_WAIT);
                }
                outcome => return outcome,
            }
        }
    }

    /// Prints one shard's records from `from` to before `tip`.
    fn shard(&mut self, shard: ShardId, mut from: Sequence, tip: Sequence) -> Result<(), TailError> {
        let mut refused: Option<(Sequence, Failure)> = None;
        let mut joiner = Joiner::new();
        while from < tip && self.left > 0 && !self.output.is_closed() {
            match self.read(shard, Start::At(from), READ_BYTES) {
                Ok(records) => {
                    self.tell(shard, refused.take(), from);
                    self.tell_expired(shard, from, records.result.trim);
                    for frame in records.iter().take_while(|frame| frame.sequence() < tip) {
                        let Some(record) = joiner.push(&frame) else { continue };
                        self.print(shard, &record)?;
                    }
                    from = records.result.next.max(from.next());
                }
                Err(ClientError::Refused(failure)) if failure.code == ErrorCode::Damaged => {
                    refused.get_or_insert((from, failure));
                    from = from.next();
                }
                Err(error) => {
                    let _ = self.output.flush();
                    return Err(TailError::Client(error));
                }
            }
        }
        self.tell(shard, refused, from);
        Ok(())
    }

    /// Names records that expired before they could be read.
    fn tell_expired(&mut self, shard: ShardId, from: Sequence, trim: Sequence) {
        if from < trim {
            let _ = self.output.flush();
            eprintln!("millstream: records {from} to {} of shard {shard} have expired", trim.0 - 1);
        }
    }

    /// Names records that were refused, before those from `to` on.
    fn tell(&mut self, shard: ShardId, refused: Option<(Sequence, Failure)>, to: Sequence) {
        let Some((from, failure)) = refused else { return };
        self.damaged = true;
        let _ = self.output.flush();
        eprintln!("millstream: records {from} to {} of shard {shard} are passed over: {failure}", to.0 - 1);
    }

    /// Prints a record, if it is wanted.
    fn print(&mut self, shard: ShardId, record: &Record<'_>) -> Result<(), TailError> {
        if self.left == 0 || record.arrival_ms < self.since_ms {
            return Ok(());
        }
        self.left -= 1;
        let verbose = self.verbose;
        let write = |out: &mut dyn io::Write| {
            if verbose {
                write!(out, "{shard}\t{}\t{}\t", record.sequence, UtcTime(record.arrival_ms))?;
                out.write_all(record.key)?;
                out.write_all(b"\t")?;
            }
            out.write_all(record.data)?;
            out.write_all(b"\n")
        };
        self.output.write(write).map_err(TailError::Output)
    }
}
