//! The other reactors, as one of them sees them: what is gathered for each within a turn, and what each still owes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use frame::proto::{
    AckResult, CreateStream, DeleteStream, DescribeStream, ErrorCode, Grant, ListStreams, Read, SetQuotas,
    SetRetention, Subscribe,
};
use frame::segment::Footer;
use frame::{ProducerId, RequestId, Sequence, ShardId, StreamId};

use crate::buckets::ShardBuckets;
use crate::catalog::{Change, Command};
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::journal::{Sealed, SegmentId};
use crate::limits::{
    ASKS_PER_PARCEL_MAX, HANDED_BYTES_MAX, HANDED_IN_FLIGHT_MAX, HANDED_KEPT_BYTES, RESULTS_KEPT, TOLD_BYTES_MAX,
};
use crate::owners::Owners;
use crate::producers;
use crate::token::Peer;

/// One record of a [`Handed`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandedRecord {
    pub(crate) stream: StreamId,
    pub(crate) shard: ShardId,
    /// Bytes of its frame; of all its frames, if it is a large one.
    pub(crate) length: u32,
    /// Whether its frames are several: the parts of it.
    pub(crate) is_large: bool,
    /// Whether it bears its producer's number.
    pub(crate) is_numbered: bool,
    /// As quotas count it.
    pub(crate) record_bytes: u32,
    /// Of which append of the sender it is which record.
    pub(crate) append: u32,
    pub(crate) index: u32,
}

/// Records for shards of the receiver, one behind the other. Its buffers come back with the results, and are used again.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<HandedRecord>,
    /// On the way back: what became of each record, by its place, and when it arrived.
    pub(crate) results: Vec<(u32, AckResult, u64)>,
    /// And whether nobody knows what became of some: then of none.
    pub(crate) is_unknown: bool,
}

/// What a client of the sender asks of the receiver.
#[derive(Debug)]
pub(crate) enum Question {
    Create(CreateStream),
    Reshard(String, Change),
    SetQuotas(SetQuotas),
    SetRetention(SetRetention),
    Delete(DeleteStream),
    Describe(DescribeStream),
    List(ListStreams),
    Read(Read),
    Subscribe(Subscribe),
    Grant(Grant),
    Unsubscribe,
    /// Its subscriptions end, and it is not told.
    Silence,
    /// It is gone.
    Gone,
}

/// A question and whose it is.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) peer: Peer,
    pub(crate) request: RequestId,
    pub(crate) question: Question,
}

/// Messages for a client of the receiver.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) peer: Peer,
    /// Those that are awaited, and those that are or come after records.
    pub(crate) control: Vec<u8>,
    pub(crate) records: Vec<u8>,
    /// How many questions it answers.
    pub(crate) answered: usize,
    /// Subscriptions that have ended.
    pub(crate) ended: Vec<RequestId>,
}

/// Where a shard ended that is to be split, merged or moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// What its next record would take.
    pub(crate) next: Sequence,
    /// Its newest arrival.
    pub(crate) arrival_ms: u64,
}

/// What is told of a shard that is to be split, merged or moved.
#[derive(Clone, Debug)]
pub(crate) struct ParentEnd {
    pub(crate) shard: ShardId,
    /// Why that is not known, if not: its journal failed, or there is no space now; then it is told again.
    pub(crate) end: Result<End, ErrorCode>,
    /// Why a shard that ended, to be moved, can't go on at its next owner, if it can't: it goes on where it was.
    pub(crate) unopened: Option<Unopened>,
    /// What producers have stored in it, and in the shards that it was made of.
    pub(crate) producers: Vec<producers::Row>,
}

/// A segment that can't be opened by the next owner of a shard, and the errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unopened {
    pub(crate) segment: SegmentId,
    pub(crate) errno: i32,
}

/// A sealed segment that the receiver of a [`Loan`] may read. The number of its file is the sender's.
pub(crate) struct Lent {
    pub(crate) sealed: Sealed,
    /// Its footer, where that is not on disk.
    pub(crate) footer: Option<Arc<Footer>>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({:?})", self.sealed.segment)
    }
}

/// All segments that the sender keeps, for a shard that moves to the receiver: its records may lie in any of them.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(crate) shard: ShardId,
    pub(crate) segments: Vec<Lent>,
    /// From the owner: where the shard goes on.
    pub(crate) handover: Option<Handover>,
}

/// What the owner of a shard knows of it, for the next one.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) end: End,
    /// From where it is kept.
    pub(crate) trim: Sequence,
    /// What producers have stored in it, and in the shards that it was made of; and which numbers of theirs it waits for.
    pub(crate) producers: Vec<producers::Row>,
    pub(crate) owed: Vec<(ProducerId, producers::Owed)>,
    /// What is left of its quotas.
    pub(crate) buckets: Option<Box<ShardBuckets>>,
}

/// What one reactor tells another in one turn.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) handed: Option<Handed>,
    /// What the receiver handed over before, settled.
    pub(crate) settled: Vec<Handed>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) told: Vec<Told>,
    /// Bytes of their messages.
    pub(crate) told_bytes: usize,
    /// Clients of the receiver's guests took what they were told last.
    pub(crate) taken: Vec<Peer>,
    /// Commands of the catalog that are durable; and how many the sender has applied.
    pub(crate) commands: Vec<Command>,
    pub(crate) applied: u64,
    /// Shards of the sender that are to be split or merged have ended, or are ready to go on at it, which the first reactor is
    /// told.
    pub(crate) ends: Vec<ParentEnd>,
    /// What producers have stored in shards of which the receiver is about to own children, each with those that it was made of.
    pub(crate) lent: Vec<Vec<producers::Row>>,
    /// So many commands were applied by all reactors; 0: no more than was told before.
    pub(crate) shown: u64,
    /// For shards that move to the receiver.
    pub(crate) loans: Vec<Loan>,
    /// Segments that the receiver keeps, in which nothing of the sender's shards lives; and how many loans the sender had taken
    /// by then. What was lent again since is not released.
    pub(crate) released: Vec<(SegmentId, u64)>,
    /// What the sender holds of streams with a limit in bytes has changed.
    pub(crate) holds_other: bool,
    /// The sender's first batch is durable.
    pub(crate) has_begun: bool,
    /// The sender asks for nothing more.
    pub(crate) has_finished: bool,
}

impl Parcel {
    fn is_empty(&self) -> bool {
        self.handed.is_none()
            && self.settled.is_empty()
            && self.asks.is_empty()
            && self.told.is_empty()
            && self.taken.is_empty()
            && self.commands.is_empty()
            && self.applied == 0
            && self.ends.is_empty()
            && self.lent.is_empty()
            && self.shown == 0
            && self.loans.is_empty()
            && self.released.is_empty()
            && !self.holds_other
            && !self.has_begun
            && !self.has_finished
    }
}

/// One other reactor.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// What goes to it at the end of the turn.
    pub(crate) parcel: Parcel,
    /// Records gathered for it.
    gathered: Handed,
    /// What was handed to it, gathered included, and is not settled.
    unsettled_bytes: usize,
    in_flight: usize,
    spare: Vec<Handed>,
    /// How many commands it has applied.
    pub(crate) applied: u64,
    /// How many loans it was given, and how many were taken from it.
    pub(crate) lent: u64,
    pub(crate) borrowed: u64,
    pub(crate) has_begun: bool,
    pub(crate) has_finished: bool,
    /// Whether it was told that this one has finished.
    pub(crate) is_told: bool,
    /// Guests of its clients that have something to tell it, or wait until they may, in the order in which they came.
    pub(crate) untold: VecDeque<Peer>,
}

impl Link {
    /// Gathers a record for it.
    pub(crate) fn gather<'a>(&mut self, record: HandedRecord, frames: impl Iterator<Item = &'a [u8]>) {
        frames.for_each(|frame| self.gathered.bytes.extend_from_slice(frame));
        self.gathered.records.push(record);
        self.unsettled_bytes += record.length as usize;
    }

    /// What was handed to it is settled: its buffers are used again.
    pub(crate) fn settle(&mut self, mut handed: Handed) {
        self.unsettled_bytes -= handed.bytes.len();
        self.in_flight -= 1;
        handed.bytes.clear();
        handed.bytes.shrink_to(HANDED_KEPT_BYTES);
        handed.records.clear();
        handed.records.shrink_to(RESULTS_KEPT);
        handed.results.clear();
        handed.results.shrink_to(RESULTS_KEPT);
        self.spare.push(handed);
    }

    /// Whether so much goes to it that no input is taken in before it has answered some.
    fn is_full(&self) -> bool {
        self.unsettled_bytes >= HANDED_BYTES_MAX || self.parcel.asks.len() >= ASKS_PER_PARCEL_MAX
    }

    /// Whether more may be told to its clients.
    pub(crate) fn may_tell(&self) -> bool {
        self.parcel.told_bytes < TOLD_BYTES_MAX
    }

    /// A guest waits until more may be told.
    pub(crate) fn wait(&mut self, guest: Peer, connection: &mut Connection) {
        if !std::mem::replace(&mut connection.is_untold, true) {
            self.untold.push_back(guest);
        }
    }

    /// Tells one of its clients something.
    pub(crate) fn tell(&mut self, told: Told) {
        self.parcel.told_bytes += told.control.len() + told.records.len();
        self.parcel.told.push(told);
    }

    /// Whether nothing waits to be handed to it.
    pub(crate) fn is_packed(&self) -> bool {
        self.gathered.records.is_empty()
    }

    /// Lends it segments.
    pub(crate) fn lend(&mut self, loan: Loan) {
        self.lent += 1;
        self.parcel.loans.push(loan);
    }

    /// Whether it owes nothing, and is owed nothing.
    fn is_quiet(&self) -> bool {
        self.unsettled_bytes == 0 && self.in_flight == 0 && self.parcel.is_empty()
    }

    /// Puts what was gathered into the parcel, if none is in there and not too many are in flight.
    fn pack(&mut self) {
        let may_hand = self.parcel.handed.is_none() && self.in_flight < HANDED_IN_FLIGHT_MAX;
        if may_hand && !self.gathered.records.is_empty() {
            self.in_flight += 1;
            self.parcel.handed = Some(std::mem::replace(&mut self.gathered, self.spare.pop().unwrap_or_default()));
        }
    }
}

/// All other reactors.
#[derive(Debug)]
pub(crate) struct Peers {
    reactors: usize,
    own: usize,
    pub(crate) exchange: Arc<Exchange>,
    /// By number. This reactor's own stays empty.
    pub(crate) links: Vec<Link>,
}

impl Peers {
    pub(crate) fn new(owners: &Owners, exchange: Arc<Exchange>) -> Peers {
        let links = (0..owners.reactors()).map(|_| Link::default()).collect();
        Peers { reactors: owners.reactors(), own: owners.own(), exchange, links }
    }

    /// Whether there are none.
    pub(crate) fn is_alone(&self) -> bool {
        self.reactors == 1
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.own;
        (0..self.reactors).filter(move |&other| other != own)
    }

    /// Whether input may be taken in that may be theirs. Where one is full all input waits, as nobody knows before it is
    /// parsed whose it is; and as it does where this reactor's own journal is.
    pub(crate) fn have_room(&self) -> bool {
        self.is_alone() || self.links.iter().all(|link| !link.is_full())
    }

    /// Whether something is to be told to clients of another reactor, and may be.
    pub(crate) fn may_tell(&self) -> bool {
        self.links.iter().any(|link| !link.untold.is_empty() && link.may_tell())
    }

    /// Bytes of messages for clients of others that wait for their way there.
    pub(crate) fn told_bytes(&self) -> usize {
        self.links.iter().map(|link| link.parcel.told_bytes).sum()
    }

    /// Bytes that were handed over, and not settled.
    pub(crate) fn unsettled_bytes(&self) -> usize {
        self.links.iter().map(|link| link.unsettled_bytes).sum()
    }

    /// Whether all owe nothing and are owed nothing.
    pub(crate) fn are_quiet(&self) -> bool {
        self.links.iter().all(Link::is_quiet)
    }

    /// Those for which there is a parcel, after [`Peers::send`]: it found no room.
    pub(crate) fn kept(&self) -> impl Iterator<Item = usize> {
        self.numbers().filter(|&to| !self.links[to].parcel.is_empty())
    }

    /// Hands over a parcel to each that there is something for. What finds no room waits for the next turn; what is for one that
    /// has stopped is dropped.
    pub(crate) fn send(&mut self) {
        let own = self.own;
        for to in self.numbers() {
            let link = &mut self.links[to];
            link.pack();
            if link.parcel.is_empty() {
                continue;
            }
            let parcel = std::mem::take(&mut link.parcel);
            if self.exchange.has_stopped(to) {
                continue;
            }
            if let Some(parcel) = self.exchange.send(own, to, parcel) {
                link.parcel = parcel;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_are_used_again_keep_little() {
        let mut link = Link::default();
        let handed = Handed { bytes: Vec::with_capacity(16 << 20), ..Handed::default() };
        link.in_flight = 1;
        link.settle(handed);
        assert!(link.spare.iter().all(|spare| spare.bytes.capacity() <= HANDED_KEPT_BYTES));
    }
}
