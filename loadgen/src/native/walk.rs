//! Reads shards over one connection, by requests or pushed, from given numbers to where they ended when that was first heard.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use frame::limits::READ_BYTES_MAX;
use frame::proto::{ClientEvent, ErrorCode, Failure, Read, ReadResult, Start};
use frame::{RequestId, Sequence, ShardId};

use super::session::Session;
use super::subscribe::Followed;
use super::{NativeError, Place};

/// Bytes of records asked for at once.
const READ_BYTES: u32 = 2 << 20;

/// How long a read waits that the shard's quotas did not let through, or that came while it moved.
pub(super) const THROTTLED_WAIT: Duration = Duration::from_millis(10);

const _: () = assert!((READ_BYTES as usize) < READ_BYTES_MAX);

/// Where records that were read go.
pub(super) trait Sink {
    /// Takes one frame; bytes of data, and the key's with the last of a record.
    fn take(&self, shard: ShardId, frame: &[u8]) -> Result<u64, String>;

    /// These numbers of a shard are damaged, says the server. What follows them is read.
    fn lost(&self, shard: ShardId, numbers: Range<Sequence>);

    /// The server gives nothing of a shard from a number on.
    fn unreadable(&self, shard: ShardId, from: Sequence, reason: String);

    /// An answer is asked for, or waited for.
    fn asked(&self) {}

    /// An answer with so many bytes of data and keys is whole.
    fn answered(&self, bytes: u64);

    /// Whether nothing more is wanted.
    fn is_over(&self) -> bool {
        false
    }
}

/// Reads one shard by requests. Where it stands then: before the end only if nothing more is wanted, or can be read.
pub(super) async fn read_shard(
    session: &mut Session,
    (stream, shard, mut from): Place,
    sink: &impl Sink,
) -> Result<Sequence, NativeError> {
    let (mut request, mut end) = (Vec::new(), None);
    while !sink.is_over() {
        session.client.read(&mut request, &Read { stream, shard, start: Start::At(from), bytes_max: READ_BYTES });
        sink.asked();
        request = session.send(request).await?;
        match answer(session, sink).await? {
            Ok(result) => {
                let end = *end.get_or_insert(result.tip);
                if result.next >= end {
                    return Ok(result.next);
                }
                if result.next <= from {
                    let reason = format!("the server stays at {} of {}", result.next, result.tip);
                    sink.unreadable(shard, from, reason);
                    return Ok(from);
                }
                from = result.next;
            }
            Err(failure) if passes_by_itself(&failure) => {
                tokio::time::sleep(THROTTLED_WAIT).await;
            }
            Err(Failure { damaged: Some(numbers), .. }) => {
                from = numbers.end;
                sink.lost(shard, numbers);
                if end.is_some_and(|end| from >= end) {
                    return Ok(from);
                }
            }
            Err(failure) => {
                sink.unreadable(shard, from, failure.to_string());
                return Ok(from);
            }
        }
    }
    Ok(from)
}

/// Whether a read may be answered once the shard's quotas have filled, or it is where it moves to.
pub(super) fn passes_by_itself(failure: &Failure) -> bool {
    failure.code.is_read_quota() || failure.code == ErrorCode::Resharding
}

/// Takes one answer; what the server refused comes back as such.
async fn answer(session: &mut Session, sink: &impl Sink) -> Result<Result<ReadResult, Failure>, NativeError> {
    let mut begun: Option<ReadResult> = None;
    let mut bytes = 0;
    loop {
        match session.event().await? {
            ClientEvent::ReadBegin(_, result) => begun = Some(result),
            ClientEvent::Record(span) => {
                let Some(result) = &begun else { return Err(session.unexpected(&ClientEvent::Record(span))) };
                let taken = sink.take(result.shard, session.bytes(&span));
                bytes += taken.map_err(|reason| session.broken(reason))?;
            }
            ClientEvent::ReadEnd(_) => {
                sink.answered(bytes);
                return begun.map(Ok).ok_or_else(|| session.unexpected(&ClientEvent::Credit));
            }
            ClientEvent::Error(_, failure) => return Ok(Err(failure)),
            ClientEvent::Credit => {}
            other => return Err(session.unexpected(&other)),
        }
    }
}

/// Has all shards pushed at once.
pub(super) async fn follow_shards(
    session: &mut Session,
    shards: Vec<Place>,
    sink: &impl Sink,
) -> Result<(), NativeError> {
    let mut out = Vec::new();
    let mut followed = Followed::begin(&mut session.client, &mut out, shards.into_iter());
    let mut ends: BTreeMap<RequestId, Sequence> = BTreeMap::new();
    let mut begun: Option<(RequestId, ReadResult)> = None;
    let (mut bytes, mut frames_bytes) = (0, 0);
    sink.asked();
    while !followed.is_empty() && !sink.is_over() {
        if !out.is_empty() {
            out = session.send(out).await?;
        }
        match session.event().await? {
            ClientEvent::ReadBegin(request, result) => begun = Some((request, result)),
            ClientEvent::Record(span) => {
                let Some((_, result)) = &begun else { return Err(session.unexpected(&ClientEvent::Record(span))) };
                let frame = session.bytes(&span);
                frames_bytes += frame.len();
                bytes += sink.take(result.shard, frame).map_err(|reason| session.broken(reason))?;
            }
            ClientEvent::ReadEnd(_) => {
                sink.answered(std::mem::take(&mut bytes));
                sink.asked();
                let Some((request, result)) = begun.take() else { continue };
                let Some(shard) = followed.get_mut(&request) else { continue };
                shard.took(request, &result, std::mem::take(&mut frames_bytes), &mut out);
                if shard.next >= *ends.entry(request).or_insert(result.tip) {
                    followed.remove(&request);
                }
            }
            ClientEvent::Error(request, failure) => match (followed.remove(&request), failure.damaged.clone()) {
                (Some(shard), _) if failure.code == ErrorCode::Resharding => {
                    let (again, shard) = shard.go_on(&mut session.client, &mut out);
                    followed.insert(again, shard);
                    let end = ends.remove(&request);
                    ends.extend(end.map(|end| (again, end)));
                }
                (Some(mut shard), Some(numbers)) => {
                    shard.next = numbers.end;
                    sink.lost(shard.shard, numbers);
                    let end = ends.remove(&request);
                    if end.is_none_or(|end| shard.next < end) {
                        let (again, shard) = shard.go_on(&mut session.client, &mut out);
                        followed.insert(again, shard);
                        ends.extend(end.map(|end| (again, end)));
                    }
                }
                (Some(shard), None) => sink.unreadable(shard.shard, shard.next, failure.to_string()),
                (None, _) => return Err(session.unexpected(&ClientEvent::Error(request, failure))),
            },
            ClientEvent::Credit => {}
            other => return Err(session.unexpected(&other)),
        }
    }
    Ok(())
}
