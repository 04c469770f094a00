//! What was sent and what became of it, and the comparison with what a server gives back.
//!
//! Every record sent ends acknowledged, refused or unknown (the connection ended first). Read back: each acknowledged one at
//! its sequence number with its bytes; no refused one; an unknown one at most once; nothing else; numbers strictly rising,
//! without a gap within one life of the server; the order of one connection kept within a shard; and whatever was read once
//! stays. Of a producer that numbers its records all of that holds over all lives: each number is at one place, that which
//! every acknowledgement of it has told, and of each key they rise. What is missing must have expired (see [`expiry`](super::expiry)).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use frame::proto::{ErrorCode, ShardDescription, StreamDescription};
use frame::route::hash_key;
use frame::{Frame, Retention, Sequence, ShardId, StreamId};
use server::client::{Client, ClientError};

use super::expiry::{Compared, Expiry, Found, Keeping};
use super::numbering::Producer;
use super::record::{self, Identity};
use super::segments::Segments;
use super::totals::Totals;
pub(crate) use super::wrong::Wrong;

const READ_BYTES: u32 = 1 << 20;
/// Times that a shard is read, so long apart, before it must have come to where it was moving.
const READ_TRIES_MAX: u32 = 10_000;
const READ_PAUSE: Duration = Duration::from_millis(1);

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
    /// Splits and merges that were done, and moves.
    pub(crate) reshardings: u64,
    pub(crate) moves: u64,
    /// Read while the load ran: where, and the hash.
    pub(crate) seen: Vec<(ShardId, Sequence, u64)>,
    /// Where shards began in the end, as a reader was told.
    pub(crate) trims: BTreeMap<ShardId, Sequence>,
    /// A producer that numbers its records, which goes on in the next life.
    pub(crate) producer: Option<Producer>,
}

struct Shard {
    /// None before it was described.
    told: Option<(StreamId, ShardDescription)>,
    /// The highest number that it was said to begin at.
    trim: Sequence,
    /// Everything before this number was compared.
    next: Sequence,
    compared: Compared,
    /// The life of the newest record compared.
    newest_life: u32,
    /// Not compared yet; what a reader had, with the life in which it did.
    acked: BTreeMap<Sequence, Identity>,
    seen: BTreeMap<Sequence, (u64, u32)>,
    /// The newest number of each connection of this life.
    orders: HashMap<u32, u64>,
}

impl Shard {
    fn new() -> Shard {
        Shard {
            told: None,
            trim: Sequence(0),
            next: Sequence(1),
            compared: Compared::default(),
            newest_life: 0,
            acked: BTreeMap::new(),
            seen: BTreeMap::new(),
            orders: HashMap::new(),
        }
    }
}

/// Who sends.
struct Connection {
    /// The life in which it sends; of a producer that goes on over all lives the newest one.
    life: u32,
    is_numbering: bool,
}

/// All that was sent to one data directory.
#[derive(Default)]
pub(crate) struct Ledger {
    keeping: Keeping,
    streams: BTreeMap<String, StreamDescription>,
    shards: BTreeMap<ShardId, Shard>,
    expiry: Expiry,
    connections: Vec<Connection>,
    life: u32,
    unknown: HashSet<Identity>,
    refused: HashSet<Identity>,
    /// Those that go on in the next life.
    producers: Vec<Producer>,
    /// Where the records of those are that are known to be stored.
    places: HashMap<Identity, (ShardId, Sequence)>,
    /// The newest record of each of those in each key.
    newest: HashMap<(u32, StreamId, u128), u64>,
    segments: Segments,
    totals: Totals,
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
    /// Of a data directory whose streams are kept so.
    pub(crate) fn keeping(keeping: Keeping) -> Ledger {
        Ledger { keeping, ..Ledger::default() }
    }

    /// What it comes to, once nobody uses the data directory any more.
    pub(crate) fn totals(&self, data: &Path) -> std::io::Result<Totals> {
        self.segments.add_to(Totals { expired: self.expiry.gone(), ..self.totals }, data)
    }

    /// Looks at what a server left that had served.
    pub(crate) fn look(&mut self, data: &Path) -> Result<(), Box<dyn std::error::Error>> {
        self.segments.look(data)
    }

    /// How streams are to be kept.
    pub(crate) fn how_kept(&self) -> Keeping {
        self.keeping
    }

    /// A server has started: whoever connects from here on belongs to its life.
    pub(crate) fn begin_life(&mut self) {
        self.life += 1;
        self.expiry.begin_life(self.life);
    }

    /// A number for a connection that is about to be made to the server that runs now.
    pub(crate) fn connection(&mut self) -> u32 {
        self.connections.push(Connection { life: self.life, is_numbering: false });
        self.connections.len() as u32 - 1
    }

    /// The producers that number their records, which from here on send in this life.
    pub(crate) fn take_producers(&mut self) -> Vec<Producer> {
        if self.producers.is_empty() {
            self.producers = Producer::all(|| self.connection());
        }
        for producer in &self.producers {
            let connection = &mut self.connections[producer.connection() as usize];
            *connection = Connection { life: self.life, is_numbering: true };
        }
        std::mem::take(&mut self.producers)
    }

    /// A stream that the server has just described. It must be the one it was, with shards closed and made since, and kept as
    /// it was made to be.
    pub(crate) fn stream(&mut self, description: &StreamDescription, retention: Retention) -> Result<(), Wrong> {
        let wrong = || Wrong::Stream { name: description.name.clone() };
        if let Some(known) = self.streams.get(&description.name) {
            let is_left = |shard: &ShardDescription| description.shards.iter().any(|now| follows(shard, now));
            let is_same = known.stream == description.stream && known.created_ms == description.created_ms;
            if !is_same || !known.shards.iter().all(is_left) {
                return Err(wrong());
            }
        }
        if description.retention != retention {
            return Err(wrong());
        }
        let mut open: Vec<_> = description.shards.iter().filter(|shard| shard.children.is_none()).collect();
        open.sort_by_key(|shard| shard.hash_start);
        let starts = open.iter().map(|shard| Some(shard.hash_start)).chain([None]);
        let ends = open.iter().map(|shard| shard.hash_end.checked_add(1));
        if !starts.eq(std::iter::once(Some(0)).chain(ends)) {
            return Err(wrong());
        }
        self.expiry.stream(description.stream, retention);
        for told in &description.shards {
            let shard = self.shards.entry(told.shard).or_insert_with(Shard::new);
            shard.told = Some((description.stream, *told));
            begins(told.shard, &mut shard.trim, told.trim)?;
        }
        self.streams.insert(description.name.clone(), description.clone());
        Ok(())
    }

    /// Where reading goes on, by shard.
    pub(crate) fn positions(&self) -> Vec<(StreamId, ShardId, Sequence)> {
        let told = |(&number, shard): (&ShardId, &Shard)| Some((shard.told?.0, number, shard.next));
        self.shards.iter().filter_map(told).collect()
    }

    /// Where each shard begins.
    pub(crate) fn trims(&self) -> BTreeMap<ShardId, Sequence> {
        self.shards.iter().map(|(&number, shard)| (number, shard.trim)).collect()
    }

    /// Takes over what a connection knows at its end.
    ///
    /// # Errors
    /// A number was given twice.
    pub(crate) fn add(&mut self, book: Book) -> Result<(), Wrong> {
        for (shard, sequence, identity) in book.acked {
            self.add_acked(shard, sequence, identity)?;
        }
        let life = self.life;
        for (shard, sequence, hash) in book.seen {
            self.described(shard).seen.insert(sequence, (hash, life));
        }
        for (shard, trim) in book.trims {
            let shard = self.described(shard);
            shard.trim = trim.max(shard.trim);
        }
        self.unknown.extend(book.unknown);
        self.refused.extend(book.refused);
        self.refused.extend(book.held_up);
        self.totals.reshardings += book.reshardings;
        self.totals.moves += book.moves;
        self.producers.extend(book.producer);
        Ok(())
    }

    fn add_acked(&mut self, shard: ShardId, sequence: Sequence, identity: Identity) -> Result<(), Wrong> {
        let is_numbered = self.connections[identity.connection as usize].is_numbering;
        if let Some(&was) = self.places.get(&identity) {
            self.totals.told_again += 1;
            return if was == (shard, sequence) {
                Ok(())
            } else {
                Err(Wrong::Moved { identity, was, now: (shard, sequence) })
            };
        }
        // It may have been made since the stream was described.
        let entry = self.shards.entry(shard).or_insert_with(Shard::new);
        let is_compared = sequence < entry.next;
        if is_numbered {
            self.places.insert(identity, (shard, sequence));
            // It may have been stored in a life before, and have expired before it was looked for.
            let may_expire = entry.told.is_some_and(|(stream, _)| self.expiry.may_expire(stream));
            if is_compared && may_expire && !entry.compared.has(sequence) {
                return Ok(());
            }
        }
        self.totals.acked += 1;
        if entry.acked.insert(sequence, identity).is_some() || is_compared {
            return Err(Wrong::GivenAgain { shard, sequence, is: identity });
        }
        Ok(())
    }

    fn described(&mut self, shard: ShardId) -> &mut Shard {
        self.shards.get_mut(&shard).expect("readers only know described shards")
    }

    /// Reads back and compares. All connections so far have ended, and their books were added.
    pub(crate) fn compare(&mut self, client: &mut Client, extent: Extent) -> Result<(), Wrong> {
        let numbers: Vec<ShardId> = self.shards.keys().copied().collect();
        // By rising number: what a shard was made of is before it.
        for &number in &numbers {
            if extent == Extent::All {
                self.compare_again(client, number)?;
            }
            self.compare_new(client, number)?;
        }
        let of_streams = self.shards.values().filter_map(|shard| Some((shard.told?.0, &shard.compared)));
        self.expiry.check_limits(of_streams)?;
        // Whoever was not found now must never be, unless it is sent again.
        self.unknown.clear();
        self.refused.clear();
        Ok(())
    }

    /// All that numbering producers have ever sent is acknowledged: each of their numbers has its place.
    pub(crate) fn is_level(&self) -> bool {
        let made: u64 = self.producers.iter().map(Producer::made).sum();
        !self.producers.is_empty() && self.places.len() as u64 == made
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

    /// Reads what was compared before: it has not changed, and what is missing has expired.
    fn compare_again(&mut self, client: &mut Client, number: ShardId) -> Result<(), Wrong> {
        let stream = self.stream_of(number)?;
        let Ledger { shards, expiry, totals, .. } = self;
        let shard = shards.get_mut(&number).expect("it is among ours");
        let Shard { next, trim, compared: before, .. } = shard;
        let rewritten = |sequence| Wrong::Rewritten { shard: number, sequence };
        let mut missing = |gone: &Found| match expiry.is_gone(stream, gone.life) {
            true => Ok(()),
            false => Err(rewritten(gone.sequence)),
        };
        let mut again = before.again();
        walk(client, (stream, number), Sequence(1)..*next, trim, |frame| {
            let sequence = frame.sequence();
            record::read(frame).ok_or(Wrong::Garbled { shard: number, sequence })?;
            totals.compared += 1;
            let is_same = again.find(sequence, hash(frame), &mut missing)?;
            if is_same { Ok(()) } else { Err(rewritten(sequence)) }
        })?;
        again.end(missing)
    }

    /// Reads what is new, up to the shard's end.
    fn compare_new(&mut self, client: &mut Client, number: ShardId) -> Result<(), Wrong> {
        let stream = self.stream_of(number)?;
        let Shard { next, mut trim, .. } = self.shards[&number];
        let all = next..Sequence(u64::MAX);
        let end = walk(client, (stream, number), all, &mut trim, |frame| self.take(stream, number, frame))?;
        let Ledger { shards, expiry, connections, .. } = self;
        let shard = shards.get_mut(&number).expect("it is among ours");
        // The newest of it may have expired.
        (shard.trim, shard.next) = (trim, end.max(shard.next));
        shard.orders.clear();
        while let Some((sequence, was)) = shard.acked.pop_first() {
            if !expiry.is_gone(stream, connections[was.connection as usize].life) {
                return Err(Wrong::Lost { shard: number, sequence, was });
            }
        }
        while let Some((sequence, (_, life))) = shard.seen.pop_first() {
            if !expiry.may_be_gone(stream, life) {
                return Err(Wrong::Vanished { shard: number, sequence });
            }
        }
        Ok(())
    }

    /// One record that is read for the first time after its life.
    fn take(&mut self, stream: StreamId, number: ShardId, frame: &Frame<'_>) -> Result<(), Wrong> {
        let sequence = frame.sequence();
        let is = record::read(frame).ok_or(Wrong::Garbled { shard: number, sequence })?;
        let shard = self.shards.get_mut(&number).expect("it is among ours");
        let disorder = |why: String| Err(Wrong::Disorder { shard: number, sequence, why });
        let Some(&Connection { life, is_numbering }) = self.connections.get(is.connection as usize) else {
            return Err(Wrong::Unexpected { shard: number, sequence, is, why: "which nobody sent" });
        };
        let hash_key = hash_key(frame.key());
        if shard.told.is_none_or(|(_, told)| !told.holds(hash_key)) {
            let why = "whose key is another shard's";
            return Err(Wrong::Unexpected { shard: number, sequence, is, why });
        }
        if sequence < shard.next {
            return disorder(format!("comes after {}", shard.next.0 - 1));
        }
        if sequence > shard.next && shard.newest_life == life && !self.expiry.may_be_gone(stream, life) {
            return disorder(format!("follows {} in the same life", shard.next.0 - 1));
        }
        if let Some(before) = shard.orders.insert(is.connection, is.number).filter(|&before| before >= is.number) {
            return disorder(format!("{is} comes after its record {before}"));
        }
        if is_numbering {
            let newest = self.newest.insert((is.connection, stream, hash_key), is.number);
            if let Some(before) = newest.filter(|&before| before >= is.number) {
                return disorder(format!("{is} comes after record {before} of its key"));
            }
            if *self.places.entry(is).or_insert((number, sequence)) != (number, sequence) {
                return Err(Wrong::Unexpected { shard: number, sequence, is, why: "which is somewhere else as well" });
            }
        }
        match shard.acked.remove(&sequence) {
            Some(was) if was == is => {}
            Some(was) => return Err(Wrong::Lost { shard: number, sequence, was }),
            None if self.unknown.remove(&is) => self.totals.unknown_found += 1,
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
        if shard.seen.remove(&sequence).is_some_and(|(seen, _)| seen != hash) {
            return Err(Wrong::Vanished { shard: number, sequence });
        }
        shard.compared.add(Found { sequence, hash, life, bytes: frame.length() as u32 });
        shard.newest_life = life;
        shard.next = sequence.next();
        self.totals.compared += 1;
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

/// Reads a shard's records of a range of numbers, or up to the shard's end, and tells where that is. Where it begins never falls.
fn walk(
    client: &mut Client,
    (stream, shard): (StreamId, ShardId),
    range: Range<Sequence>,
    trim: &mut Sequence,
    mut each: impl FnMut(&Frame<'_>) -> Result<(), Wrong>,
) -> Result<Sequence, Wrong> {
    let (Range { start: mut at, end }, mut tries) = (range, 0);
    while at < end {
        let unreadable = |why: String| Wrong::Unreadable { shard, from: at, why };
        let records = match client.read(stream, shard, at, READ_BYTES) {
            Ok(records) => records,
            // It was to move when the last life ended, and does now.
            Err(ClientError::Refused(failure)) if failure.code == ErrorCode::Resharding && tries < READ_TRIES_MAX => {
                tries += 1;
                std::thread::sleep(READ_PAUSE);
                continue;
            }
            Err(ClientError::Refused(failure)) if failure.code == ErrorCode::Damaged => {
                return Err(Wrong::Damaged { shard, from: at, why: failure.detail });
            }
            Err(error) => return Err(unreadable(error.to_string())),
        };
        begins(shard, trim, records.result.trim)?;
        for frame in records.iter().take_while(|frame| frame.sequence() < end) {
            each(&frame)?;
        }
        if records.result.next == at && at < records.result.tip {
            return Err(unreadable(format!("nothing comes, and the end is {}", records.result.tip)));
        }
        at = records.result.next;
        if at >= records.result.tip {
            break;
        }
    }
    Ok(at)
}

/// The server says where a shard begins.
fn begins(shard: ShardId, trim: &mut Sequence, now: Sequence) -> Result<(), Wrong> {
    if now < *trim {
        return Err(Wrong::TrimFell { shard, from: *trim, to: now });
    }
    *trim = now;
    Ok(())
}
