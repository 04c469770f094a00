//! The gateway: the Kinesis API over HTTP, on threads of its own, apart from the reactors; and what clients of that API use of
//! other services, so that they need one endpoint and nothing else.
//!
//! ```text
//!   http_server -> http: service, method, body, target -> access: who, and whether they may
//!                      -> action: check, call, answer -> engine::Handle
//!                      -> leases: DynamoDB            -> crate::leases
//!                      -> metrics: CloudWatch         -> kept, for the admin port
//!                      -> sts
//! ```
//!
//! Where there are keys each request must be signed with one; without, whoever asks is heard, on loopback only. What a caller sees
//! is the streams of its account and region alone: a request is served from there, and the log's names tell whose a stream is.

mod access;
mod action;
mod body;
mod cors;
mod damage;
mod extras;
mod following;
mod http;
mod leases;
mod log;
mod metrics;
mod on_demand;
mod places;
mod rates;
mod requests;
#[cfg(test)]
#[path = "gateway/rig_tests.rs"]
mod rig;
mod scaling;
mod service;
mod spread;
mod steps;
mod sts;
mod subscribers;
mod xml;

use std::io;
use std::net::TcpListener;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use engine::Handle;
use engine::encryption::Keyring;
use frame::Quotas;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use wire::name::Place;

pub(crate) use self::access::Access;
use self::action::Adding;
pub(crate) use self::action::NAMES as ACTIONS;
use self::body::Bodies;
use self::damage::{Damaged, PassedOver};
use self::log::Log;
use self::metrics::ClientMetrics;
use self::on_demand::HotSpots;
use self::rates::Rates;
use self::requests::Requests;
use self::subscribers::Subscribers;
use crate::config::{ApiLimits, ApiRates};
use crate::http_server::HttpServer;
use crate::leases::Leases;
use crate::room::Room;
use crate::tls::Security;

/// Connections at once. The next wait in the listener's queue.
pub(crate) const CONNECTIONS_MAX: usize = 4096;

/// Requests at once, over all connections. The next is told to try again.
const REQUESTS_MAX: usize = 16_384;

/// Bytes of request bodies at once, over all connections. The next wait, for as long as a body may take.
const BODY_BYTES_IN_PROGRESS_MAX: usize = 128 << 20;

/// Bytes of long answers at once, over all connections, until they are sent. The next wait.
const ANSWER_BYTES_IN_PROGRESS_MAX: usize = 256 << 20;

/// Bytes of what becomes of records at once, over all requests that may have more than the service takes, until it is sent. The next
/// wait, before anything of theirs is stored.
const OUTCOME_BYTES_IN_PROGRESS_MAX: usize = 256 << 20;

/// Bytes of what such requests are read into, beside their bodies. The next wait.
const PARSED_BYTES_IN_PROGRESS_MAX: usize = 128 << 20;

/// Bytes of events of subscriptions that are made before the ones before them were taken.
const EVENT_BYTES_IN_PROGRESS_MAX: usize = 256 << 20;

/// What all connections share.
#[derive(Debug)]
struct Common {
    log: Log,
    access: Access,
    /// Keys to encrypt with, if there is a directory of them.
    keyring: Option<Arc<Keyring>>,
    /// Room for requests.
    room: Arc<Semaphore>,
    /// Room for bodies.
    bodies: Arc<Bodies>,
    /// Turns for bodies that nobody wants.
    passing_over: Semaphore,
    /// What shards of new streams take in and give out a second.
    quotas: Quotas,
    /// Room for long answers, in bytes.
    answers: Arc<Room>,
    /// Room for what becomes of many records, in bytes.
    outcomes: Arc<Room>,
    /// Room for what requests with many records are read into, in bytes.
    parsing: Semaphore,
    /// Room for events that are made ahead, in bytes.
    events: Arc<Semaphore>,
    requests: Requests,
    rates: Rates,
    limits: ApiLimits,
    adding: Adding,
    damaged: Damaged,
    hot_spots: HotSpots,
    /// Who is being pushed records.
    subscribers: Subscribers,
    /// Room for streams that are brought to other numbers of shards.
    scaling: Semaphore,
    leases: Arc<Leases>,
    /// Room for the bodies of requests about leases.
    lease_bodies: Arc<Bodies>,
    /// Room for answers about leases, in bytes.
    lease_answers: Arc<Room>,
    client_metrics: ClientMetrics,
    /// Room for metrics that are read.
    reading: Semaphore,
}

impl Common {
    fn new(
        handle: Handle,
        access: Access,
        keyring: Option<Arc<Keyring>>,
        Terms { quotas, api_rates, limits, past_damage }: Terms,
        directories: &[PathBuf],
        figures: &Figures,
    ) -> Common {
        let [room, events] =
            [REQUESTS_MAX, EVENT_BYTES_IN_PROGRESS_MAX].map(|permits| Arc::new(Semaphore::new(permits)));
        Common {
            log: Log::new(handle, access.own().clone()),
            access,
            keyring,
            quotas,
            room,
            bodies: Bodies::of(BODY_BYTES_IN_PROGRESS_MAX, body::BODY_BYTES_MAX),
            passing_over: Semaphore::new(body::UNWANTED_BODIES_MAX),
            answers: Room::of(ANSWER_BYTES_IN_PROGRESS_MAX),
            outcomes: Room::of(OUTCOME_BYTES_IN_PROGRESS_MAX),
            parsing: Semaphore::new(PARSED_BYTES_IN_PROGRESS_MAX),
            events,
            requests: figures.requests.clone(),
            rates: Rates::new(api_rates, figures.requests.clone()),
            limits,
            adding: Adding::default(),
            damaged: Damaged::new(past_damage, figures.passed_over.clone()),
            hot_spots: figures.hot_spots.clone(),
            subscribers: Subscribers::default(),
            scaling: Semaphore::new(scaling::STREAMS_MAX),
            leases: Arc::new(Leases::of(directories)),
            lease_bodies: Bodies::of(leases::BODY_BYTES_IN_PROGRESS_MAX, leases::BODY_BYTES_MAX),
            lease_answers: Room::of(leases::ANSWER_BYTES_IN_PROGRESS_MAX),
            client_metrics: figures.clients.clone(),
            reading: Semaphore::new(metrics::READ_AT_ONCE_MAX),
        }
    }
}

/// What an action works with: all of that, from the place whose streams it is about.
#[derive(Debug)]
struct Shared {
    common: Arc<Common>,
    place: Place,
}

impl Deref for Shared {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

/// What callers of the API meet.
pub(crate) struct Terms {
    /// Of shards of new streams.
    pub(crate) quotas: Quotas,
    /// How often actions may be asked for.
    pub(crate) api_rates: ApiRates,
    /// How much there may be.
    pub(crate) limits: ApiLimits,
    /// Whether readers go on behind damaged records.
    pub(crate) past_damage: bool,
}

/// What it tells those who watch. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    requests: Requests,
    passed_over: PassedOver,
    hot_spots: HotSpots,
    /// What clients measure.
    clients: ClientMetrics,
}

impl Figures {
    /// Has them told by `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.requests.register(registry);
        self.passed_over.register(registry);
        self.hot_spots.register(registry);
        self.clients.register(registry);
    }
}

/// A running gateway. Dropping it ends it at once.
pub(crate) struct Gateway {
    server: HttpServer,
    figures: Figures,
    subscribers: Subscribers,
    leases: Arc<Leases>,
}

impl Gateway {
    /// Serves what connects to `listener`, in clear or as `security` says, on so many threads; tables of leases lie in the first of
    /// the log's directories.
    pub(crate) fn start(
        (listener, security, threads): (TcpListener, Option<Security>, usize),
        handle: Handle,
        access: Access,
        keyring: Option<Arc<Keyring>>,
        terms: Terms,
        directories: &[PathBuf],
    ) -> io::Result<Gateway> {
        let figures = Figures::default();
        let common = Arc::new(Common::new(handle, access, keyring, terms, directories, &figures));
        let (subscribers, tables) = (common.subscribers.clone(), Arc::clone(&common.leases));
        let (resume, on_demand) = (scaling::resume(Arc::clone(&common)), on_demand::run(Arc::clone(&common)));
        let reload = access::reload(Arc::clone(&common));
        let answer = move |request| {
            let common = Arc::clone(&common);
            async move { http::answer(&common, request).await }
        };
        let server = HttpServer::start(listener, security, ("gateway", threads), CONNECTIONS_MAX, answer)?;
        server.spawn(resume);
        server.spawn(on_demand);
        server.spawn(reload);
        Ok(Gateway { server, figures, subscribers, leases: tables })
    }

    /// What it tells; goes on counting.
    pub(crate) fn figures(&self) -> Figures {
        self.figures.clone()
    }

    /// Takes no more requests, and waits a while for those in progress.
    pub(crate) fn stop(self) {
        self.subscribers.stop();
        if !self.server.stop() {
            tracing::warn!("requests over HTTP were still in progress; their connections are closed");
        }
        self.leases.stop();
    }
}
