//! The gateway: the Kinesis API over HTTP, on threads of its own, apart from the reactors.
//!
//! ```text
//!   http_server -> http: method, body, target -> action: check, call, answer -> engine::Handle
//! ```
//!
//! Requests are taken unsigned, so it opens on loopback only.

mod action;
mod body;
mod extras;
mod following;
mod http;
mod log;
mod on_demand;
mod requests;
mod scaling;
mod spread;
mod subscribers;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use engine::Handle;
use frame::Quotas;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use wire::name::Place;

use self::log::Log;
use self::on_demand::HotSpots;
use self::requests::Requests;
use self::subscribers::Subscribers;
use crate::door::gateway_threads;
use crate::http_server::{HttpServer, Security};

/// Connections at once. The next wait in the listener's queue.
const CONNECTIONS_MAX: usize = 4096;

/// Requests at once, over all connections. The next is told to try again.
const REQUESTS_MAX: usize = 16_384;

/// Bytes of request bodies at once, over all connections. The next wait.
const BODY_BYTES_IN_PROGRESS_MAX: usize = 128 << 20;

/// Bytes of long answers at once, over all connections, until they are sent. The next wait.
const ANSWER_BYTES_IN_PROGRESS_MAX: usize = 256 << 20;

/// What all connections share.
#[derive(Debug)]
struct Shared {
    log: Log,
    place: Place,
    /// Room for requests.
    room: Semaphore,
    /// Room for bodies, in bytes.
    bodies: Semaphore,
    /// What shards of new streams take in and give out a second.
    quotas: Quotas,
    /// Room for long answers, in bytes.
    answers: Arc<Semaphore>,
    requests: Requests,
    hot_spots: HotSpots,
    /// Who is being pushed records.
    subscribers: Subscribers,
    /// Room for streams that are brought to other numbers of shards.
    scaling: Semaphore,
}

/// What it tells those who watch. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    requests: Requests,
    hot_spots: HotSpots,
}

impl Figures {
    /// Has them told by `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.requests.register(registry);
        self.hot_spots.register(registry);
    }
}

/// A running gateway. Dropping it ends it at once.
pub(crate) struct Gateway {
    server: HttpServer,
    figures: Figures,
    subscribers: Subscribers,
}

impl Gateway {
    /// Serves what connects to `listener`, in clear or as `security` says.
    pub(crate) fn start(
        listener: TcpListener,
        security: Option<Security>,
        handle: Handle,
        place: Place,
        quotas: Quotas,
    ) -> io::Result<Gateway> {
        let (room, bodies) = (Semaphore::new(REQUESTS_MAX), Semaphore::new(BODY_BYTES_IN_PROGRESS_MAX));
        let answers = Arc::new(Semaphore::new(ANSWER_BYTES_IN_PROGRESS_MAX));
        let figures = Figures::default();
        let (log, subscribers) = (Log::new(handle), Subscribers::default());
        let scaling = Semaphore::new(scaling::STREAMS_MAX);
        let shared = Arc::new(Shared {
            log,
            place,
            quotas,
            room,
            bodies,
            answers,
            requests: figures.requests.clone(),
            hot_spots: figures.hot_spots.clone(),
            subscribers: subscribers.clone(),
            scaling,
        });
        let (resume, on_demand) = (scaling::resume(Arc::clone(&shared)), on_demand::run(Arc::clone(&shared)));
        let answer = move |request| {
            let shared = Arc::clone(&shared);
            async move { http::answer(&shared, request).await }
        };
        let server = HttpServer::start(listener, security, ("gateway", gateway_threads()), CONNECTIONS_MAX, answer)?;
        server.spawn(resume);
        server.spawn(on_demand);
        Ok(Gateway { server, figures, subscribers })
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
    }
}
