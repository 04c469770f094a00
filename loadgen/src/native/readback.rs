//! Reads every shard from its first record to its last and holds it against the account.
//!
//! A few connections on one core take shard after shard. Each record's checksums are computed from its bytes again, and
//! content made from a recipe is compared with the recipe byte by byte.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use frame::limits::READ_BYTES_MAX;
use frame::proto::{ClientEvent, Failure, Read, ReadResult, Span, Start};
use frame::{Frame, RequestId, Sequence, ShardId, StreamId};

use super::join::{Joiners, Look};
use super::runtime::run_pinned;
use super::session::Session;
use super::shared::Shared;
use super::subscribe::Followed;
use super::{NativeError, ReadBack, Stream, all_shards};
use crate::options::ReadBackBy;
use crate::verify::{Ledger, Readback, Verdict};
use crate::workload::Recipe;

/// Connections that read at the same time: while one result is verified the next is on its way.
const CONNECTIONS: usize = 2;

/// Bytes of records asked for at once.
const READ_BYTES: u32 = 2 << 20;

/// How long a read waits that the shard's quotas did not let through.
const THROTTLED_WAIT: Duration = Duration::from_millis(10);

const _: () = assert!((READ_BYTES as usize) < READ_BYTES_MAX);

/// Reads everything back. `recipe` is given for made-up records.
pub fn read_back(
    target: SocketAddr,
    streams: &[Stream],
    ledger: Ledger,
    recipe: Option<Recipe>,
    (core, by): (usize, ReadBackBy),
    shared: &Arc<Shared>,
) -> Result<ReadBack, NativeError> {
    let begun = Instant::now();
    let verdict = run_pinned(core, || read_all(target, streams, ledger, recipe, by, Arc::clone(shared)))??;
    Ok(ReadBack { verdict, seconds: begun.elapsed().as_secs_f64(), bytes: shared.progress().read_bytes })
}

async fn read_all(
    target: SocketAddr,
    streams: &[Stream],
    ledger: Ledger,
    recipe: Option<Recipe>,
    by: ReadBackBy,
    shared: Arc<Shared>,
) -> Result<Verdict, NativeError> {
    let shards = all_shards(streams).collect();
    let (readback, shards) = (RefCell::new(Readback::new(ledger)), RefCell::new(shards));
    let shelf = Rc::new(Shelf { readback, shards, recipe, joiners: RefCell::default(), shared });
    let readers: Vec<_> = match by {
        ReadBackBy::Read => {
            (0..CONNECTIONS).map(|_| tokio_uring::spawn(read_shards(target, Rc::clone(&shelf)))).collect()
        }
        ReadBackBy::Push => vec![tokio_uring::spawn(follow_shards(target, Rc::clone(&shelf)))],
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
    shards: RefCell<VecDeque<(StreamId, ShardId, Sequence)>>,
    recipe: Option<Recipe>,
    joiners: RefCell<Joiners>,
    shared: Arc<Shared>,
}

impl Shelf {
    fn next_shard(&self) -> Option<(StreamId, ShardId, Sequence)> {
        self.shards.borrow_mut().pop_front()
    }

    /// Holds one record against the account, once it is whole; returns a frame's bytes of data, with the key's of the last.
    fn take(&self, shard: ShardId, bytes: &[u8]) -> Result<u64, String> {
        let frame = Frame::parse(bytes).map_err(|error| format!("a frame that is none: {error}"))?;
        let (mut readback, mut joiners) = (self.readback.borrow_mut(), self.joiners.borrow_mut());
        match joiners.take(&frame, shard, self.recipe.as_ref()) {
            Look::Sound(record) => readback.record(shard, record.sequence, record.checksum),
            Look::Damaged => readback.damaged(shard, frame.sequence()),
            Look::Part => return Ok(frame.data().len() as u64),
        }
        Ok(frame.record_bytes() as u64)
    }
}

/// Takes shards off the shelf until none is left.
async fn read_shards(target: SocketAddr, shelf: Rc<Shelf>) -> Result<(), NativeError> {
    let (mut session, _) = Session::open(target).await?;
    let mut request = Vec::new();
    while let Some((stream, shard, mut from)) = shelf.next_shard() {
        loop {
            session.client.read(&mut request, &Read { stream, shard, start: Start::At(from), bytes_max: READ_BYTES });
            request = session.send(request).await?;
            match read_result(&mut session, shard, &shelf).await? {
                Ok(result) if result.next < result.tip && result.next > from => from = result.next,
                Ok(result) if result.next < result.tip => {
                    let reason = format!("the server stays at {} of {}", result.next, result.tip);
                    shelf.readback.borrow_mut().unreadable(shard, from, reason);
                    break;
                }
                Ok(_) => break,
                // Asked again once the shard's quotas have filled.
                Err(Failure { code, .. }) if code.is_read_quota() => {
                    tokio::time::sleep(THROTTLED_WAIT).await;
                }
                Err(failure) => {
                    shelf.readback.borrow_mut().unreadable(shard, from, failure.to_string());
                    break;
                }
            }
        }
    }
    session.close();
    Ok(())
}

/// Has all shards pushed at once, from their first records to their last.
async fn follow_shards(target: SocketAddr, shelf: Rc<Shelf>) -> Result<(), NativeError> {
    let (mut session, _) = Session::open(target).await?;
    let shards = std::mem::take(&mut *shelf.shards.borrow_mut());
    let mut out = Vec::new();
    let mut followed = Followed::begin(&mut session.client, &mut out, shards.into_iter());
    let mut begun: Option<(RequestId, ReadResult)> = None;
    let (mut bytes, mut frames_bytes) = (0, 0);
    while !followed.is_empty() {
        if !out.is_empty() {
            out = session.send(out).await?;
        }
        match session.event().await? {
            ClientEvent::ReadBegin(request, result) => begun = Some((request, result)),
            ClientEvent::Record(span) => {
                let Some((_, result)) = &begun else { return Err(session.unexpected(&ClientEvent::Record(span))) };
                frames_bytes += session.bytes(&span).len();
                bytes += take_record(&session, result.shard, &shelf, &span)?;
            }
            ClientEvent::ReadEnd(_) => {
                shelf.shared.count_read(std::mem::take(&mut bytes));
                let Some((request, result)) = begun.take() else { continue };
                let Some(shard) = followed.get_mut(&request) else { continue };
                shard.took(request, &result, std::mem::take(&mut frames_bytes), &mut out);
                if shard.next >= result.tip {
                    followed.remove(&request);
                }
            }
            ClientEvent::Error(request, failure) => match followed.remove(&request) {
                Some(shard) => shelf.readback.borrow_mut().unreadable(shard.shard, shard.next, failure.to_string()),
                None => return Err(session.unexpected(&ClientEvent::Error(request, failure))),
            },
            ClientEvent::Credit => {}
            other => return Err(session.unexpected(&other)),
        }
    }
    session.close();
    Ok(())
}

/// Takes one read result; what the server refused comes back as such.
async fn read_result(
    session: &mut Session,
    shard: ShardId,
    shelf: &Shelf,
) -> Result<Result<ReadResult, Failure>, NativeError> {
    let mut begun: Option<ReadResult> = None;
    let mut bytes = 0;
    loop {
        match session.event().await? {
            ClientEvent::ReadBegin(_, result) => begun = Some(result),
            ClientEvent::Record(span) => bytes += take_record(session, shard, shelf, &span)?,
            ClientEvent::ReadEnd(_) => {
                shelf.shared.count_read(bytes);
                let nothing = || session.unexpected(&ClientEvent::Credit);
                return begun.map(Ok).ok_or_else(nothing);
            }
            ClientEvent::Error(_, failure) => return Ok(Err(failure)),
            ClientEvent::Credit => {}
            other => return Err(session.unexpected(&other)),
        }
    }
}

fn take_record(session: &Session, shard: ShardId, shelf: &Shelf, span: &Span) -> Result<u64, NativeError> {
    let taken = shelf.take(shard, session.bytes(span));
    taken.map_err(|reason| NativeError::Broken { target: session.target, reason })
}
