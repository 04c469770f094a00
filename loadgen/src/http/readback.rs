//! Reads every shard from its first record to its last and holds it against the account.
//!
//! Of a stream that the run made that is everything, in shards that were born since too, whether or not anybody was told of a record
//! there. One that was there before is read from the first number on that was acknowledged to this run: what lies before it is
//! others'.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use frame::ShardId;

use super::api::Place;
use super::batch::checksum;
use super::pipe::Pipe;
use super::streams::{Streams, list_shards};
use super::walk::{Cursor, Sink, Whole, read_shard};
use super::{Asked, HttpError};
use crate::native::{Plan, ReadBack, Shared, run_pinned, unless_over};
use crate::verify::{Ledger, Number, Readback};
use crate::workload::{Contents, Origin};

/// Shards read at the same time, each over a connection of its own.
const READERS: usize = 8;

/// Reads everything back that was written. Content is compared where it was made up.
pub fn read_back(
    plan: &Plan,
    asked: &Asked,
    streams: &Streams,
    mut ledger: Ledger,
    is_made_up: bool,
    shared: &Arc<Shared>,
) -> Result<ReadBack, HttpError> {
    let begun = Instant::now();
    let contents = is_made_up.then(|| plan.contents());
    let verdict = run_pinned(plan.cores[0], || async {
        unless_over(look_for_more(asked, streams), || shared.is_cut()).await.transpose()?;
        let streams = streams.grown();
        (0..).zip(&streams.shards).for_each(|(number, _)| ledger.grow_to(ShardId(number)));
        let shards = (0..).zip(&streams.shards).map(|(number, shard)| (ShardId(number), &streams.all[shard.stream]));
        let cursor = |(shard, stream): (ShardId, &super::streams::Stream)| {
            let place = match stream.is_new {
                true => Place::Oldest,
                false => Place::At { number: ledger.first(shard)?.to_string() },
            };
            Some(Cursor::new(shard, place))
        };
        let cursors: VecDeque<Cursor> = shards.filter_map(cursor).collect();
        let readers = READERS.min(cursors.len()) as u32;
        let (readback, cursors) = (RefCell::new(Readback::new(ledger)), RefCell::new(cursors));
        let shelf = Rc::new(Shelf { readback, cursors, contents, shared: Arc::clone(shared) });
        let read = |number| {
            let (shelf, pipe, streams) = (Rc::clone(&shelf), Pipe::new(&asked.endpoint, number), streams.clone());
            tokio::task::spawn_local(async move {
                while let Some(cursor) = shelf.next() {
                    read_shard(&pipe, &streams, cursor, &*shelf).await?;
                }
                Ok::<_, HttpError>(())
            })
        };
        let mut outcome = Ok(());
        for reader in (0..readers).map(read).collect::<Vec<_>>() {
            outcome = outcome.and(reader.await.expect("a reader does not panic"));
        }
        outcome?;
        Ok::<_, HttpError>(Rc::into_inner(shelf).expect("every reader has ended").readback.into_inner().finish())
    })??;
    Ok(ReadBack { verdict, seconds: begun.elapsed().as_secs_f64(), bytes: shared.progress().read_bytes })
}

/// Numbers the shards that those streams have by now which are read whole.
async fn look_for_more(asked: &Asked, streams: &Streams) -> Result<(), HttpError> {
    let pipe = Pipe::new(&asked.endpoint, 0);
    for (at, stream) in streams.all.iter().enumerate().filter(|(_, stream)| stream.is_new) {
        let (open, closed) = list_shards(&pipe, &stream.name).await?;
        for shard in closed.iter().chain(&open) {
            streams.number(at, shard);
        }
    }
    Ok(())
}

/// What the readers share.
struct Shelf {
    readback: RefCell<Readback>,
    /// Shards that nobody has taken.
    cursors: RefCell<VecDeque<Cursor>>,
    contents: Option<Contents>,
    shared: Arc<Shared>,
}

impl Shelf {
    fn next(&self) -> Option<Cursor> {
        self.cursors.borrow_mut().pop_front()
    }
}

impl Sink for Shelf {
    fn take(&self, shard: ShardId, record: Whole<'_>) {
        let (number, checksum) = (record.number, checksum(record.key, record.data));
        let mut readback = self.readback.borrow_mut();
        match self.contents.as_ref().map_or(Origin::Own, |contents| contents.origin(record.data)) {
            Origin::Own => readback.record(shard, number, checksum),
            Origin::Foreign => readback.foreign(shard, number, checksum),
            Origin::Wrong => readback.damaged(shard, number),
        }
    }

    fn unreadable(&self, shard: ShardId, from: Number, reason: String) {
        self.readback.borrow_mut().unreadable(shard, from, reason);
    }

    fn answered(&self, bytes: u64) {
        self.shared.count_read(bytes);
    }

    fn awaits(&self, shard: ShardId) -> bool {
        self.readback.borrow().awaits(shard)
    }

    fn is_over(&self) -> bool {
        self.shared.is_cut()
    }
}
