//! Which connection of a group of producers is on which core, where it goes, and what it writes.
//!
//! ```text
//!   cores: connections in turn -> of each: owners of its streams' shards in turn -> of each: its parts of the streams
//! ```
//!
//! A *part* is what one owner has of one stream. On each core that writes a stream there is a connection to each of its owners,
//! for what is drawn there has to go somewhere. Where connections are too few for that all of them go to the one address.

use std::net::SocketAddr;

use frame::StreamId;

use super::sorted::Keys;
use super::{Plan, Producers, Route, Stream, Target};

/// What one owner has of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: StreamId,
    /// Which of the core's streams.
    pub(super) stream: usize,
    /// Which of that stream's owners.
    pub(super) owner: usize,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) number: u32,
    pub(super) address: SocketAddr,
    /// What it writes, in turn.
    pub(super) parts: Vec<Part>,
}

/// One core's share of a group.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) ways: Vec<Way>,
    /// Its streams.
    pub(super) keys: Vec<Keys>,
}

/// How a group of producers is spread.
#[derive(Debug)]
pub(super) struct Spread<'a> {
    producers: &'a Producers,
    target: Target,
    /// Over how many cores, the first ones.
    pub(super) cores: usize,
}

impl<'a> Spread<'a> {
    /// A person's own rows stay in their order: they are not sorted by owners.
    pub(super) fn new(plan: &Plan, producers: &'a Producers, has_rows: bool) -> Self {
        let connections = producers.connections as usize;
        let owners = plan.target.owners(&producers.streams).len();
        let is_sorted = !has_rows && owners <= connections;
        let (target, each) = if is_sorted { (plan.target.clone(), owners) } else { (plan.target.alone(), 1) };
        let cores = if has_rows { 1 } else { plan.cores.len().min(connections / each.max(1)).max(1) };
        Self { producers, target, cores }
    }

    /// Whether its records go to their owners.
    pub(super) fn route(&self) -> Route {
        self.target.route
    }

    /// What the `core`-th core has of it.
    pub(super) fn share(&self, core: usize) -> Share {
        if core >= self.cores {
            return Share::default();
        }
        let all = &self.producers.streams;
        let streams: Vec<&Stream> = match all.len() >= self.cores {
            true => all.iter().skip(core).step_by(self.cores).collect(),
            false => vec![&all[core % all.len()]],
        };
        let owners: Vec<SocketAddr> = self.target.owners(streams.iter().copied()).into_iter().collect();
        let numbers: Vec<u32> = (0..self.producers.connections).skip(core).step_by(self.cores).collect();
        let keys: Vec<Keys> = streams.iter().map(|stream| Keys::of(stream, &self.target)).collect();
        let way = |(at, &number): (usize, &u32)| {
            let (turn, owner) = (at / owners.len(), at % owners.len());
            let connections = (numbers.len() - owner).div_ceil(owners.len());
            let parts = parts_at(&keys, owners[owner]);
            let parts = match parts.len() > connections {
                true => parts.into_iter().skip(turn).step_by(connections).collect(),
                false => vec![parts[turn % parts.len()]],
            };
            Way { number, address: owners[owner], parts }
        };
        let ways = numbers.iter().enumerate().map(way).collect();
        Share { ways, keys }
    }
}

/// What the owner at an address has of these streams.
fn parts_at(keys: &[Keys], address: SocketAddr) -> Vec<Part> {
    let part = |(stream, keys): (usize, &Keys)| {
        let owner = keys.addresses.iter().position(|&owner| owner == address)?;
        Some(Part { id: keys.id, stream, owner })
    };
    keys.iter().enumerate().filter_map(part).collect()
}

#[cfg(test)]
#[path = "ways_tests.rs"]
mod tests;
