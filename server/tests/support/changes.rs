//! Clients that change streams while others load them: one splits and merges shards, one moves them between reactors.

use std::net::SocketAddr;
use std::time::Duration;

use frame::proto::{ErrorCode, ShardDescription, StreamDescription};
use server::client::{Client, ClientError};

use super::ledger::Book;
use super::load::{Counts, Progress, STREAMS, must_be_gone, reach};

/// Open shards that a stream may have more than it was made with.
const SPLIT_OFF_MAX: usize = 2;

/// Records acknowledged between two changes of one client, or what time passes.
const RECORDS_PER_CHANGE: u64 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Splits and merges shards of all streams in turn, until told to stop, refused, or the server is gone.
pub(super) fn reshard_until_the_end(address: SocketAddr, progress: &Progress) -> Book {
    let reshardings = change_until_the_end(address, progress, |client, turn| {
        let (name, made_with) = STREAMS[turn % STREAMS.len()];
        let open = open_shards(&client.describe_stream(name)?);
        let at = turn % open.len();
        let (one, next) = (open[at], open.get(at + 1));
        match next.filter(|_| open.len() >= made_with as usize + SPLIT_OFF_MAX || turn.is_multiple_of(5)) {
            Some(next) => client.merge_shards(name, one.shard, next.shard),
            None => client.split_shard(name, one.shard, one.hash_start + (one.hash_end - one.hash_start) / 2 + 1),
        }
    });
    Book { reshardings, ..Book::default() }
}

/// Moves shards of all streams in turn, each to the reactor after its own, until told to stop, refused, or the server is gone.
pub(super) fn move_until_the_end(address: SocketAddr, progress: &Progress) -> Book {
    let moves = change_until_the_end(address, progress, |client, turn| {
        let (name, _) = STREAMS[turn % STREAMS.len()];
        let open = open_shards(&client.describe_stream(name)?);
        let one = open[turn / STREAMS.len() % open.len()];
        client.move_shard(name, one.shard, (one.reactor + 1) % u32::from(client.welcome().reactors.count))
    });
    Book { moves, ..Book::default() }
}

/// The open ones, in the order of their keys.
fn open_shards(stream: &StreamDescription) -> Vec<ShardDescription> {
    let mut open: Vec<_> = stream.shards.iter().filter(|shard| shard.children.is_none()).copied().collect();
    open.sort_by_key(|shard| shard.hash_start);
    open
}

/// One change after the other. How many were done.
fn change_until_the_end(
    address: SocketAddr,
    progress: &Progress,
    change: impl Fn(&mut Client, usize) -> Result<StreamDescription, ClientError>,
) -> u64 {
    let Some(mut client) = reach(address) else { return 0 };
    let (mut turn, mut done) = (0, 0);
    while !progress.stopped() {
        turn += 1;
        match change(&mut client, turn) {
            Ok(_) => done += 1,
            Err(ClientError::Refused(failure)) => match failure.code {
                // What the last life had begun, what another has changed meanwhile, or this disk has no room for.
                ErrorCode::Resharding | ErrorCode::InvalidArgument | ErrorCode::DiskFull => {}
                ErrorCode::StorageFailed | ErrorCode::ShuttingDown => break,
                _ => panic!("a change was refused: {failure}"),
            },
            Err(error) => {
                must_be_gone(&error);
                break;
            }
        }
        let acked = progress.counts().acked;
        let is_time = |counts: &Counts| counts.acked >= acked + RECORDS_PER_CHANGE || progress.stopped();
        progress.wait(PAUSE, is_time);
    }
    done
}
