//! Which connections there are: on each core that writes a stream one to each of its owners, and each part with a writer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use frame::proto::Reactors;
use frame::route::even_range;
use frame::{Sequence, ShardId};

use super::*;
use crate::native::{Consumers, Pace, Shard};
use crate::workload::Recipe;

/// A stream whose shards belong to these reactors.
fn stream(id: u32, reactors: &[u32]) -> Stream {
    let shard = |(at, &reactor): (usize, &u32)| Shard {
        id: ShardId(100 * id + at as u32),
        oldest: Sequence(1),
        first: Sequence(1),
        tip: Sequence(1),
        reactor,
        keys: Some(even_range(at, reactors.len())),
    };
    Stream { id: StreamId(id), shards: reactors.iter().enumerate().map(shard).collect() }
}

fn plan(streams: Vec<Stream>, connections: u32, cores: usize) -> Plan {
    let producers = Producers {
        streams,
        connections,
        batch_records: 10,
        pace: Pace::Closed { inflight: 1 },
        bytes_max: u64::MAX,
        recipe: Recipe::new("16".parse().unwrap(), "distinct".parse().unwrap(), 1),
    };
    let reactors = Reactors { own: 0, count: 3, first_port: 7000 };
    Plan {
        target: Target { reactors, ..Target::new(([127, 0, 0, 1], 7000).into()) },
        producers: vec![producers],
        warmup: Duration::ZERO,
        start_at: None,
        duration: None,
        cores: (0..cores).collect(),
        seed: 1,
        is_shared: false,
        consumers: Consumers::default(),
    }
}

/// The shares of all cores, which keep what holds of every spread.
fn shares(plan: &Plan, route: Route, cores: usize) -> Vec<Share> {
    let spread = Spread::new(plan, &plan.producers[0], false);
    assert_eq!((spread.route(), spread.cores), (route, cores));
    let shares: Vec<Share> = (0..plan.cores.len()).map(|core| spread.share(core)).collect();
    let mut numbers = BTreeSet::new();
    let mut written = BTreeSet::new();
    for share in &shares {
        let mut parts = BTreeSet::new();
        for way in &share.ways {
            assert!(numbers.insert(way.number) && !way.parts.is_empty());
            for part in &way.parts {
                assert_eq!(share.keys[part.stream].addresses[part.owner], way.address);
                parts.insert((part.stream, part.owner));
                written.insert(part.id);
            }
        }
        let all = share.keys.iter().enumerate();
        let all: BTreeSet<_> =
            all.flat_map(|(at, keys)| (0..keys.addresses.len()).map(move |owner| (at, owner))).collect();
        assert_eq!(parts, all, "what is drawn for a part has somebody to send it");
    }
    assert_eq!(numbers, (0..plan.producers[0].connections).collect());
    assert_eq!(written.len(), plan.producers[0].streams.len());
    shares
}

fn ports(share: &Share) -> BTreeMap<u16, usize> {
    let mut ports = BTreeMap::new();
    share.ways.iter().for_each(|way| *ports.entry(way.address.port()).or_default() += 1);
    ports
}

#[test]
fn connections_are_spread_evenly_over_owners_on_each_core() {
    let plan = plan(vec![stream(1, &[0, 1, 2, 0])], 14, 2);
    let shares = shares(&plan, Route::Owners, 2);
    for share in &shares {
        assert_eq!(ports(share), BTreeMap::from([(7000, 3), (7001, 2), (7002, 2)]));
    }
}

#[test]
fn no_connection_goes_where_nothing_is() {
    let plan = plan(vec![stream(1, &[2]), stream(2, &[0])], 3, 1);
    assert_eq!(ports(&shares(&plan, Route::Owners, 1)[0]), BTreeMap::from([(7000, 2), (7002, 1)]));
}

#[test]
fn many_streams_are_dealt_out_to_the_connections_of_their_owners() {
    let streams = (0..50).map(|id| stream(id, &[id % 3, (id + 1) % 3])).collect();
    let plan = plan(streams, 12, 3);
    for share in shares(&plan, Route::Owners, 3) {
        assert!(share.ways.iter().all(|way| way.parts.len() > 3));
    }
}

#[test]
fn cores_without_a_connection_to_each_owner_have_none() {
    let plan = plan(vec![stream(1, &[0, 1, 2])], 5, 4);
    assert!(shares(&plan, Route::Owners, 1)[1].ways.is_empty());
}

#[test]
fn too_few_connections_go_where_the_server_was_told_to_be() {
    let mut plan = plan(vec![stream(1, &[0, 1, 2])], 2, 2);
    for share in shares(&plan, Route::Any, 2) {
        assert_eq!(ports(&share), BTreeMap::from([(7000, 1)]));
    }
    plan.producers[0].connections = 6;
    plan.target.route = Route::Any;
    assert_eq!(ports(&shares(&plan, Route::Any, 2)[0]), BTreeMap::from([(7000, 3)]));
}

#[test]
fn a_persons_own_rows_are_not_sorted() {
    let plan = plan(vec![stream(1, &[0, 1, 2])], 6, 2);
    let spread = Spread::new(&plan, &plan.producers[0], true);
    assert_eq!((spread.route(), spread.cores, ports(&spread.share(0))), (Route::Any, 1, BTreeMap::from([(7000, 6)])));
}

#[test]
fn shards_that_take_no_more_have_no_owner_to_write_to() {
    let mut stream = stream(1, &[0, 1]);
    stream.shards[1].keys = None;
    let plan = plan(vec![stream], 2, 1);
    assert_eq!(ports(&shares(&plan, Route::Owners, 1)[0]), BTreeMap::from([(7000, 2)]));
    assert_eq!(plan.target.by_owner(&plan.producers[0].streams).len(), 2, "it is read where it lies all the same");
}
