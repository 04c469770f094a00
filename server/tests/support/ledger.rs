//! What was sent and what became of it, and the comparison with what a server gives back.
//!
//! Every record sent ends acknowledged, refused or unknown (the connection ended first). Read back: each acknowledged one at
//! its sequence number with its bytes; no refused one; an unknown one at most once; nothing else; numbers strictly rising,
//! without a gap within one life of the server; the order of one connection kept within a shard; and whatever was read once
//! stays. What was compared is kept as a count and a sum of hashes per shard, so that memory does not grow with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use frame::proto::{ShardDescription, StreamDescription};
use frame::route::hash_key;
use frame::{Frame, Sequence, ShardId, StreamId};
use server::client::{Client, ClientError};

use super::record::{self, Identity};

const READ_BYTES: u32 = 1 << 20;

/// What became of the records of one connection.
#[derive(Default)]
pub(crate) struct Book {
    /// Acknowledged: where they are.
    pub(crate) acked: Vec<(ShardId, Sequence, Identity)>,
    /// Refused, each by itself.
    pub(crate) refused: Vec<Identity>,
    /// Sent, and nobody said.
    pub(crate) unknown: Vec<Identity>,
    /// Refused as a shard was split or merged; their sender goes on.
    pub(crate) held_up: Vec<Identity>,
    /// Splits and merges that were done.
    pub(crate) reshardings: u64,
    /// Read while the load ran: where, and the hash.
    pub(crate) seen: Vec<(ShardId, Sequence, u64)>,
}

/// What is not as it must be.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// An acknowledged record is not at its place.
    Lost { shard: ShardId, sequence: Sequence, was: Identity },
    /// A record that a reader had seen is not there any more, or is another one.
    Vanished { shard: ShardId, sequence: Sequence },
    /// Records that were compared before are not what they were.
    Rewritten { shard: ShardId, to: Sequence, counted: u64, expected: u64 },
    /// A sequence number that another record had was given to this one.
    GivenAgain { shard: ShardId, sequence: Sequence, is: Identity },
    /// A record's bytes are not those that were sent.
    Garbled { shard: ShardId, sequence: Sequence },
    /// A record that must not be there.
    Unexpected { shard: ShardId, sequence: Sequence, is: Identity, why: &'static str },
    /// The order of a connection, or of numbers, is broken.
    Disorder { shard: ShardId, sequence: Sequence, why: String },
    /// A stream is not what it was.
    Stream { name: String },
    /// The server does not give the records out.
    Unreadable { shard: ShardId, from: Sequence, why: String },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Lost { shard, sequence, was } => {
                write!(f, "shard {shard}, {sequence}: {was} was acknowledged there and is lost")
            }
            Wrong::Vanished { shard, sequence } => {
                write!(f, "shard {shard}, {sequence}: a reader had been given a record that is not there any more")
            }
            Wrong::Rewritten { shard, to, counted, expected } => {
                write!(f, "shard {shard}, up to {to}: {counted} records where {expected} were, or others than those")
            }
            Wrong::GivenAgain { shard, sequence, is } => {
                write!(f, "shard {shard}, {sequence}: {is} was given the number of another record")
            }
            Wrong::Garbled { shard, sequence } => write!(f, "shard {shard}, {sequence}: not the bytes that were sent"),
            Wrong::Unexpected { shard, sequence, is, why } => write!(f, "shard {shard}, {sequence}: {is}, {why}"),
            Wrong::Disorder { shard, sequence, why } => write!(f, "shard {shard}, {sequence}: {why}"),
            Wrong::Stream { name } => write!(f, "stream {name} is not the one that was made"),
            Wrong::Unreadable { shard, from, why } => write!(f, "shard {shard} can't be read from {from} on: {why}"),
        }
    }
}

impl std::error::Error for Wrong {}

/// Count and hashes of records that were compared.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    count: u64,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, hash: u64) {
        self.count += 1;
        self.hashes = self.hashes.wrapping_add(hash);
    }
}

struct Shard {
    /// None before it was described.
    told: Option<(StreamId, ShardDescription)>,
    /// Everything before this number was compared.
    next: Sequence,
    compared: Sum,
    /// The life of the newest record compared.
    newest_life: u32,
    /// Not compared yet.
    acked: BTreeMap<Sequence, Identity>,
    seen: BTreeMap<Sequence, u64>,
    /// The newest number of each connection of this life.
    orders: HashMap<u32, u64>,
}

impl Shard {
    fn new() -> Shard {
        Shard {
            told: None,
            next: Sequence(1),
            compared: Sum::default(),
            newest_life: 0,
            acked: BTreeMap::new(),
            seen: BTreeMap::new(),
            orders: HashMap::new(),
        }
    }
}

/// All that was sent to one data directory.
#[derive(Default)]
pub(crate) struct Ledger {
    streams: BTreeMap<String, StreamDescription>,
    shards: BTreeMap<ShardId, Shard>,
    /// The life of each connection.
    lives: Vec<u32>,
    life: u32,
    unknown: HashSet<Identity>,
    refused: HashSet<Identity>,
    /// Splits and merges that were done.
    pub(crate) reshardings: u64,
    /// Records acknowledged.
    pub(crate) acked: u64,
    /// Records compared for the first time, and again.
    pub(crate) compared: u64,
    /// Records whose fate was unknown, and that were found.
    pub(crate) unknown_found: u64,
}

/// What to read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// What was not compared yet.
    New,
    /// Everything.
    All,
}

impl Ledger {
    /// A server has started: whoever connects from here on belongs to its life.
    pub(crate) fn begin_life(&mut self) {
        self.life += 1;
    }

    /// A number for a connection that is about to be made to the server that runs now.
    pub(crate) fn connection(&mut self) -> u32 {
        self.lives.push(self.life);
        self.lives.len() as u32 - 1
    }

    /// A stream that the server has just described. It must be the one it was, with shards closed and made since.
    pub(crate) fn stream(&mut self, description: &StreamDescription) -> Result<(), Wrong> {
        let wrong = || Wrong::Stream { name: description.name.clone() };
        if let Some(known) = self.streams.get(&description.name) {
            let is_left = |shard: &ShardDescription| description.shards.iter().any(|now| follows(shard, now));
            let is_same = known.stream == description.stream && known.created_ms == description.created_ms;
            if !is_same || !known.shards.iter().all(is_left) {
                return Err(wrong());
            }
        }
        let mut open: Vec<_> = description.shards.iter().filter(|shard| shard.children.is_none()).collect();
        open.sort_by_key(|shard| shard.hash_start);
        let starts = open.iter().map(|shard| Some(shard.hash_start)).chain([None]);
        let ends = open.iter().map(|shard| shard.hash_end.checked_add(1));
        if !starts.eq(std::iter::once(Some(0)).chain(ends)) {
            return Err(wrong());
        }
        for shard in &description.shards {
            self.shards.entry(shard.shard).or_insert_with(Shard::new).told = Some((description.stream, *shard));
        }
        self.streams.insert(description.name.clone(), description.clone());
        Ok(())
    }

    /// Where reading goes on, by shard.
    pub(crate) fn positions(&self) -> Vec<(StreamId, ShardId, Sequence)> {
        let told = |(&number, shard): (&ShardId, &Shard)| Some((shard.told?.0, number, shard.next));
        self.shards.iter().filter_map(told).collect()
    }

    /// Takes over what a connection knows at its end.
    ///
    /// # Errors
    /// A number was given twice.
    pub(crate) fn add(&mut self, book: Book) -> Result<(), Wrong> {
        self.acked += book.acked.len() as u64;
        for (shard, sequence, identity) in book.acked {
            // It may have been made since the stream was described.
            let entry = self.shards.entry(shard).or_insert_with(Shard::new);
            let was = entry.acked.insert(sequence, identity);
            if was.is_some() || sequence < entry.next {
                return Err(Wrong::GivenAgain { shard, sequence, is: identity });
            }
        }
        for (shard, sequence, hash) in book.seen {
            self.shards.get_mut(&shard).expect("readers only know described shards").seen.insert(sequence, hash);
        }
        self.unknown.extend(book.unknown);
        self.refused.extend(book.refused);
        self.refused.extend(book.held_up);
        self.reshardings += book.reshardings;
        Ok(())
    }

    /// Reads back and compares. All connections so far have ended, and their books were added.
    pub(crate) fn compare(&mut self, client: &mut Client, extent: Extent) -> Result<(), Wrong> {
        let numbers: Vec<ShardId> = self.shards.keys().copied().collect();
        for number in numbers {
            if extent == Extent::All {
                self.compare_again(client, number)?;
            }
            self.compare_new(client, number)?;
        }
        // Whoever was not found now must never be.
        self.unknown.clear();
        self.refused.clear();
        Ok(())
    }

    /// The stream of a shard, which somebody must have told of by now.
    fn stream_of(&self, number: ShardId) -> Result<StreamId, Wrong> {
        let shard = &self.shards[&number];
        let untold = || {
            let lost = shard.acked.first_key_value();
            let (&sequence, &was) = lost.expect("it is known by what was acknowledged there");
            Wrong::Lost { shard: number, sequence, was }
        };
        shard.told.map(|(stream, _)| stream).ok_or_else(untold)
    }

    /// Reads what was compared before: it has not changed.
    fn compare_again(&mut self, client: &mut Client, number: ShardId) -> Result<(), Wrong> {
        let stream = self.stream_of(number)?;
        let shard = &self.shards[&number];
        let (to, mut sum) = (shard.next, Sum::default());
        walk(client, stream, number, Sequence(1), to, |frame| {
            record::read(frame).ok_or(Wrong::Garbled { shard: number, sequence: frame.sequence() })?;
            sum.add(hash(frame));
            Ok(())
        })?;
        self.compared += sum.count;
        if sum != shard.compared {
            let (counted, expected) = (sum.count, shard.compared.count);
            return Err(Wrong::Rewritten { shard: number, to, counted, expected });
        }
        Ok(())
    }

    /// Reads what is new, up to the shard's end.
    fn compare_new(&mut self, client: &mut Client, number: ShardId) -> Result<(), Wrong> {
        let (stream, from) = (self.stream_of(number)?, self.shards[&number].next);
        walk(client, stream, number, from, Sequence(u64::MAX), |frame| self.take(number, frame))?;
        let shard = self.shards.get_mut(&number).expect("it is among ours");
        shard.orders.clear();
        if let Some((sequence, was)) = shard.acked.pop_first() {
            return Err(Wrong::Lost { shard: number, sequence, was });
        }
        if let Some((sequence, _)) = shard.seen.pop_first() {
            return Err(Wrong::Vanished { shard: number, sequence });
        }
        Ok(())
    }

    /// One record that is read for the first time after its life.
    fn take(&mut self, number: ShardId, frame: &Frame<'_>) -> Result<(), Wrong> {
        let sequence = frame.sequence();
        let is = record::read(frame).ok_or(Wrong::Garbled { shard: number, sequence })?;
        let shard = self.shards.get_mut(&number).expect("it is among ours");
        let disorder = |why: String| Err(Wrong::Disorder { shard: number, sequence, why });
        let life = self.lives.get(is.connection as usize).copied().unwrap_or(u32::MAX);
        if shard.told.is_none_or(|(_, told)| !told.holds(hash_key(frame.key()))) {
            let why = "whose key is another shard's";
            return Err(Wrong::Unexpected { shard: number, sequence, is, why });
        }
        if sequence < shard.next {
            return disorder(format!("comes after {}", shard.next.0 - 1));
        }
        if sequence > shard.next && shard.newest_life == life {
            return disorder(format!("follows {} in the same life", shard.next.0 - 1));
        }
        if let Some(before) = shard.orders.insert(is.connection, is.number).filter(|&before| before >= is.number) {
            return disorder(format!("{is} comes after its record {before}"));
        }
        match shard.acked.remove(&sequence) {
            Some(was) if was == is => {}
            Some(was) => return Err(Wrong::Lost { shard: number, sequence, was }),
            None if self.unknown.remove(&is) => self.unknown_found += 1,
            None => {
                let why = if self.refused.contains(&is) {
                    "which was refused"
                } else {
                    "which is there twice, or was not there when its life had ended"
                };
                return Err(Wrong::Unexpected { shard: number, sequence, is, why });
            }
        }
        let hash = hash(frame);
        if shard.seen.remove(&sequence).is_some_and(|seen| seen != hash) {
            return Err(Wrong::Vanished { shard: number, sequence });
        }
        shard.compared.add(hash);
        shard.newest_life = life;
        shard.next = sequence.next();
        self.compared += 1;
        Ok(())
    }
}

/// Whether a shard's description follows from an earlier one.
fn follows(before: &ShardDescription, now: &ShardDescription) -> bool {
    let is_same = (before.shard, before.hash_start, before.hash_end, before.created_ms, before.parent)
        == (now.shard, now.hash_start, now.hash_end, now.created_ms, now.parent);
    let was_open = before.children.is_none();
    is_same && (was_open || (before.children == now.children && before.tip == now.tip))
}

/// What is kept of a record: its place and its bytes, whose checksum the client has verified.
pub(crate) fn hash(frame: &Frame<'_>) -> u64 {
    let [low, high] = [frame.sequence().0, frame.payload_checksum()];
    low.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ high.wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Reads a shard's records from `from` up to `to` or the shard's end.
fn walk(
    client: &mut Client,
    stream: StreamId,
    shard: ShardId,
    from: Sequence,
    to: Sequence,
    mut each: impl FnMut(&Frame<'_>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let mut at = from;
    while at < to {
        let unreadable = |why: String| Wrong::Unreadable { shard, from: at, why };
        let records = client.read(stream, shard, at, READ_BYTES).map_err(|error| match error {
            ClientError::Refused(failure) => unreadable(failure.to_string()),
            error => unreadable(error.to_string()),
        })?;
        for frame in records.iter().take_while(|frame| frame.sequence() < to) {
            each(&frame)?;
        }
        if records.result.next == at && at < records.result.tip {
            return Err(unreadable(format!("nothing comes, and the end is {}", records.result.tip)));
        }
        at = records.result.next;
        if at >= records.result.tip {
            return Ok(());
        }
    }
    Ok(())
}
