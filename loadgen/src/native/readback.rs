//! Reads every shard from its first record to its last and holds it against the account.
//!
//! A few connections on one core take shard after shard. Each record's checksums are computed from its bytes again, and
//! content made from a recipe is compared with the recipe byte by byte.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use frame::{Frame, Sequence, ShardId, StreamId};

use super::join::{Joiners, Look};
use super::runtime::run_pinned;
use super::session::{Session, Sessions};
use super::shared::Shared;
use super::walk::{Sink, follow_shards, read_shard};
use super::{By, NativeError, Place, Plan, ReadBack, Shard, Target};
use crate::verify::{Ledger, Readback, Verdict};
use crate::workload::Contents;

/// Readers at the same time: while one result is verified the next is on its way. Each has a connection to each owner.
const READERS: usize = 2;

/// Reads everything back that a plan's producers wrote. Content is compared where they made it up.
pub fn read_back(
    plan: &Plan,
    ledger: Ledger,
    is_made_up: bool,
    by: By,
    shared: &Arc<Shared>,
) -> Result<ReadBack, NativeError> {
    let begun = Instant::now();
    let contents = is_made_up.then(|| plan.contents());
    let verdict = run_pinned(plan.cores[0], || read_all(plan, ledger, contents, by, Arc::clone(shared)))??;
    Ok(ReadBack { verdict, seconds: begun.elapsed().as_secs_f64(), bytes: shared.progress().read_bytes })
}

async fn read_all(
    plan: &Plan,
    ledger: Ledger,
    contents: Option<Contents>,
    by: By,
    shared: Arc<Shared>,
) -> Result<Verdict, NativeError> {
    let written = plan.written();
    let place = |(address, stream, shard): (SocketAddr, StreamId, Shard)| (address, (stream, shard.id, shard.first));
    let shards = plan.target.shards(&written).map(place).collect();
    let (readback, shards) = (RefCell::new(Readback::new(ledger)), RefCell::new(shards));
    let shelf = Rc::new(Shelf { readback, shards, contents, joiners: RefCell::default(), shared });
    let target = || plan.target.clone();
    let readers: Vec<_> = match by {
        By::Read => (0..READERS).map(|_| tokio::task::spawn_local(read_shards(target(), Rc::clone(&shelf)))).collect(),
        By::Push => {
            let owners = plan.target.by_owner(&written).into_iter();
            owners.map(|owned| tokio::task::spawn_local(follow_all(target(), owned, Rc::clone(&shelf)))).collect()
        }
    };
    let mut outcome = Ok(());
    for reader in readers {
        outcome = outcome.and(reader.await.expect("a reader does not panic"));
    }
    outcome?;
    Ok(Rc::into_inner(shelf).expect("every reader has ended").readback.into_inner().finish())
}

/// What the reading connections share.
struct Shelf {
    readback: RefCell<Readback>,
    /// Those that nobody has taken, each with where it is read.
    shards: RefCell<VecDeque<(SocketAddr, Place)>>,
    contents: Option<Contents>,
    joiners: RefCell<Joiners>,
    shared: Arc<Shared>,
}

impl Shelf {
    fn next_shard(&self) -> Option<(SocketAddr, Place)> {
        self.shards.borrow_mut().pop_front()
    }
}

impl Sink for Shelf {
    /// Holds one record against the account, once it is whole.
    fn take(&self, shard: ShardId, bytes: &[u8]) -> Result<u64, String> {
        let frame = Frame::parse(bytes).map_err(|error| format!("a frame that is none: {error}"))?;
        let (mut readback, mut joiners) = (self.readback.borrow_mut(), self.joiners.borrow_mut());
        match joiners.take(&frame, shard, self.contents.as_ref()) {
            Look::Sound(record) => readback.record(shard, record.sequence, record.checksum),
            Look::Foreign(record) => readback.foreign(shard, record.sequence, record.checksum),
            Look::Damaged => readback.damaged(shard, frame.sequence()),
            Look::Part => return Ok(frame.data().len() as u64),
        }
        Ok(frame.record_bytes() as u64)
    }

    fn lost(&self, shard: ShardId, numbers: Range<Sequence>) {
        self.readback.borrow_mut().lost(shard, numbers);
    }

    fn unreadable(&self, shard: ShardId, from: Sequence, reason: String) {
        self.readback.borrow_mut().unreadable(shard, from, reason);
    }

    fn answered(&self, bytes: u64) {
        self.shared.count_read(bytes);
    }

    fn is_over(&self) -> bool {
        self.shared.is_cut()
    }
}

/// Takes shards off the shelf until none is left.
async fn read_shards(target: Target, shelf: Rc<Shelf>) -> Result<(), NativeError> {
    let mut sessions = Sessions::new(target);
    while let Some((address, place)) = shelf.next_shard().filter(|_| !shelf.is_over()) {
        read_shard(sessions.at(address).await?, place, &*shelf).await?;
    }
    sessions.close();
    Ok(())
}

/// Has all shards of one owner pushed at once.
async fn follow_all(
    target: Target,
    (address, shards): (SocketAddr, Vec<(StreamId, Shard)>),
    shelf: Rc<Shelf>,
) -> Result<(), NativeError> {
    let (mut session, _) = Session::open_at(&target, address).await?;
    let places = shards.into_iter().map(|(stream, shard)| (stream, shard.id, shard.first)).collect();
    follow_shards(&mut session, places, &*shelf).await?;
    session.close();
    Ok(())
}
