//! Records on their way from a connection to the queue of their shard: their keys are hashed together.
//!
//! One key's MD5 costs nearly as much as all else that is done for a record of 100 bytes; several together cost an eighth
//! of it each. So records gather here, over all connections, until there are enough or the turn's input has been parsed. They
//! leave in the order in which they came: into the queue of their shard, or back, where the shard's quotas are used up.

use frame::Part;
use frame::frame::numbered_of;
use frame::proto::ErrorCode;
use frame::route::{KEYS_TOGETHER_MAX, KeyHasher};
use frame::{Frame, Numbered, ShardId, StreamId};
use io::Io;

use crate::appends::Appends;
use crate::buckets::Buckets;
use crate::catalog::Catalog;
use crate::demand::Watch;
use crate::gates::Gates;
use crate::handle::Asker;
use crate::intake::{Intake, Place};
use crate::owners::Owners;
use crate::peers::{HandedRecord, Link};
use crate::producers::Producers;

/// What a frame that was parsed says of its route, so that it need not be parsed again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outline {
    length: u32,
    key_from: u16,
    key_to: u16,
    record_bytes: u32,
    hash_key: Option<u128>,
    /// Whether it bears its producer's number: then quotas are taken when its turn has come.
    pub(crate) is_numbered: bool,
}

impl Outline {
    pub(crate) fn of(frame: &Frame<'_>) -> Outline {
        let key = frame.key_range();
        Outline {
            length: frame.length() as u32,
            key_from: key.start as u16,
            key_to: key.end as u16,
            record_bytes: frame.record_bytes() as u32,
            hash_key: frame.explicit_hash_key(),
            is_numbered: frame.is_numbered(),
        }
    }

    /// Of a record whose first part this is: quotas are taken for all of it.
    pub(crate) fn of_large(frame: &Frame<'_>, part: Part) -> Outline {
        Outline { record_bytes: part.data_bytes + frame.key().len() as u32, ..Outline::of(frame) }
    }
}

/// Where records go, and what holds them up.
pub(crate) struct Onward<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) owners: &'a Owners,
    pub(crate) buckets: &'a mut Buckets,
    pub(crate) watch: &'a mut Watch,
    pub(crate) producers: &'a mut Producers,
    pub(crate) gates: &'a mut Gates,
    pub(crate) intake: &'a mut Intake,
    pub(crate) appends: &'a mut Appends,
    /// The append of each record that is refused.
    pub(crate) refused: &'a mut Vec<u32>,
    /// To the other reactors, whose shards' quotas are theirs.
    pub(crate) links: &'a mut [Link],
}

/// A record whose shard is not known yet. Its frame has been checked, and its payload has not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unrouted {
    pub(crate) stream: StreamId,
    pub(crate) place: Place,
    pub(crate) outline: Outline,
    pub(crate) append: u32,
    pub(crate) index: u32,
}

/// Records that wait for their keys to be hashed.
#[derive(Debug)]
pub(crate) struct Router {
    hasher: KeyHasher,
    waiting: Vec<Unrouted>,
}

impl Router {
    pub(crate) fn new() -> Router {
        Router { hasher: KeyHasher::new(), waiting: Vec::with_capacity(KEYS_TOGETHER_MAX) }
    }

    /// Whether records wait for more to come.
    pub(crate) fn has_records(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a record in. Its stream exists.
    pub(crate) fn push(&mut self, io: &mut impl Io, onward: &mut Onward<'_>, record: Unrouted) {
        self.waiting.push(record);
        if self.waiting.len() == KEYS_TOGETHER_MAX {
            self.route(io, onward);
        }
    }

    /// Queues every record that waits with its shard, if that takes it in.
    pub(crate) fn route(&mut self, io: &mut impl Io, onward: &mut Onward<'_>) {
        let Onward { catalog, owners, buckets, watch, producers, gates, intake, appends, refused, links } = onward;
        let mut keys: [&[u8]; KEYS_TOGETHER_MAX] = [&[]; KEYS_TOGETHER_MAX];
        for (at, record) in self.waiting.iter().enumerate() {
            let Outline { length, key_from, key_to, .. } = record.outline;
            let bytes = intake.bytes_at(&*io, record.place, length as usize);
            keys[at] = &bytes[usize::from(key_from)..usize::from(key_to)];
        }
        let mut hashes = [0; KEYS_TOGETHER_MAX];
        let mut now_ns = None;
        self.hasher.hash(&keys[..self.waiting.len()], &mut hashes);
        if !watch.is_empty() {
            for (record, (key, hash)) in self.waiting.iter().zip(keys.iter().zip(hashes)) {
                let stream = catalog.stream(record.stream).expect("a stream of the catalog stays");
                let hash_key = record.outline.hash_key.unwrap_or(hash);
                watch.note(stream, (key, hash_key), record.outline.record_bytes);
            }
        }
        for (at, record) in self.waiting.drain(..).enumerate() {
            let stream = catalog.stream(record.stream).expect("a stream of the catalog stays");
            let Unrouted { place, outline, append, index, .. } = record;
            let shard = stream.route(outline.hash_key.unwrap_or(hashes[at]));
            let is_fenced = stream.is_fenced(shard);
            let may_go = if outline.is_numbered && stream.was_resharded() {
                let numbered = numbered_of(intake.bytes_at(&*io, place, outline.length as usize));
                pass_gate(gates, numbered, (record.stream, appends.find(append).asker), is_fenced)
            } else if is_fenced {
                Err(ErrorCode::Resharding)
            } else {
                Ok(())
            };
            if may_go.is_ok() && !owners.is_own(shard) {
                hand_over(io, intake, &mut links[owners.of(shard)], shard, &record);
                continue;
            }
            let admitted = may_go.and_then(|()| {
                if outline.is_numbered {
                    producers.expect();
                    return Ok(());
                }
                buckets.admit(&*io, (shard, &stream.quotas), outline.record_bytes, &mut now_ns)
            });
            if let Err(code) = admitted {
                intake.give_back(io, place);
                appends.throttle(append, index, code, shard);
                refused.push(append);
                continue;
            }
            intake.push(shard, place, outline.length as usize, append, index);
        }
    }
}

/// Whether a record that bears its producer's number may go on: its shard is not fenced, and none was that it follows.
fn pass_gate(
    gates: &mut Gates,
    numbered: Option<Numbered>,
    (stream, asker): (StreamId, Asker),
    is_fenced: bool,
) -> Result<(), ErrorCode> {
    let fenced = if is_fenced { Err(ErrorCode::Resharding) } else { Ok(()) };
    let (Some(Numbered { producer, number }), Asker::Peer(peer, _)) = (numbered, asker) else { return fenced };
    let sender = (peer, stream, producer);
    if is_fenced {
        gates.refuse(sender, number);
        return fenced;
    }
    if gates.lets_in(sender, number) { Ok(()) } else { Err(ErrorCode::OutOfOrder) }
}

/// Gathers a record for the reactor that owns its shard: one copy, of all its frames if it is a large one.
fn hand_over(io: &mut impl Io, intake: &mut Intake, link: &mut Link, shard: ShardId, record: &Unrouted) {
    let Unrouted { stream, place, outline: Outline { length, record_bytes, is_numbered, .. }, append, index } = *record;
    let handed = HandedRecord { stream, shard, length, is_large: false, is_numbered, record_bytes, append, index };
    match place {
        Place::Large(number) => {
            let length = intake.large.frames(number).map(<[u8]>::len).sum::<usize>() as u32;
            link.gather(HandedRecord { length, is_large: true, ..handed }, intake.large.frames(number));
        }
        place => link.gather(handed, [intake.bytes_at(&*io, place, length as usize)].into_iter()),
    }
    intake.give_back(io, place);
}
