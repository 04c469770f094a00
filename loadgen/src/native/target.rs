//! The server that a run speaks to, and where each of its reactors listens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use frame::StreamId;
use frame::proto::{Reactors, Secret};

use super::{Shard, Stream, Trust};

/// Where what concerns a shard goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// To the reactor that owns it.
    #[default]
    Owners,
    /// To the one address that was told, whose reactor hands it on.
    Any,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "owners" => Ok(Self::Owners),
            "any" => Ok(Self::Any),
            other => Err(format!("{other:?} is not a route; give owners or any")),
        }
    }
}

impl Route {
    /// The name by which it is given.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owners => "owners",
            Self::Any => "any",
        }
    }
}

/// The server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it was told to be.
    pub address: SocketAddr,
    /// Where what concerns a shard goes to.
    pub route: Route,
    /// What it says of its reactors.
    pub reactors: Reactors,
    /// What it is to know as well, and to hear.
    pub secret: Option<Secret>,
    /// Whom to trust over TLS, if that is spoken.
    pub trust: Option<Trust>,
    /// How long it may take to make a connection of it: until it has said who it is.
    pub open_within: Duration,
}

/// How long a server may take over a new connection, unless told.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

impl Target {
    /// A server of which no more is known yet.
    pub fn new(address: SocketAddr) -> Self {
        let (route, reactors) = (Route::default(), Reactors::default());
        Self { address, route, reactors, secret: None, trust: None, open_within: OPEN_WITHIN }
    }

    /// The same, with everything at the one address.
    pub(super) fn alone(&self) -> Self {
        Self { route: Route::Any, ..self.clone() }
    }

    /// Where what concerns this shard goes to.
    pub(super) fn of(&self, shard: &Shard) -> SocketAddr {
        let port = self.reactors.port(shard.reactor).filter(|_| self.route == Route::Owners);
        port.map_or(self.address, |port| SocketAddr::new(self.address.ip(), port))
    }

    /// Every shard of these streams, with where what concerns it goes to and its stream.
    pub(super) fn shards<'a>(&'a self, streams: &'a [Stream]) -> impl Iterator<Item = (SocketAddr, StreamId, Shard)> {
        let shards = streams.iter().flat_map(|stream| stream.shards.iter().map(|&shard| (stream.id, shard)));
        shards.map(|(stream, shard)| (self.of(&shard), stream, shard))
    }

    /// The same by where it goes.
    pub(super) fn by_owner(&self, streams: &[Stream]) -> BTreeMap<SocketAddr, Vec<(StreamId, Shard)>> {
        let mut owners = BTreeMap::<_, Vec<_>>::new();
        for (address, stream, shard) in self.shards(streams) {
            owners.entry(address).or_default().push((stream, shard));
        }
        owners
    }

    /// Where records of these streams go to.
    pub(super) fn owners<'a>(&self, streams: impl IntoIterator<Item = &'a Stream>) -> BTreeSet<SocketAddr> {
        let shards = streams.into_iter().flat_map(|stream| &stream.shards);
        shards.filter(|shard| shard.keys.is_some()).map(|shard| self.of(shard)).collect()
    }
}
