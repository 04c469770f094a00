//! For tests: the gateway's actions before a reactor that takes a turn when it is told to.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use engine::{Call, Config, Handle, Reactor};
use frame::Quotas;
use io::{DataDir, IoConfig, SystemIo, Threads};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::yield_now;
use wire::name::Place;
use wire::{Codec, Error};

use super::access::Caller;
use super::action::{self, Said};
use super::body::BodyRoom;
use super::{Access, Common, Figures, Terms};
use crate::config::{ApiLimits, ApiRates};

/// Turns after which nothing is left to do but what waits for the disk, or for time.
const TURNS: usize = 16;

pub(super) struct Rig {
    pub(super) common: Arc<Common>,
    handle: Handle,
    reactor: Reactor<Threads>,
    _directory: TempDir,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(ApiLimits::service())
    }

    /// One with other limits.
    pub(super) fn with(limits: ApiLimits) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let io = Threads::start(IoConfig::new(vec![DataDir::open(directory.path(), true).unwrap()])).unwrap();
        let config = Config { segment_bytes: 4 << 20, segments_ready: 1, ..Config::default() };
        let (mut reactor, _) = Reactor::open(io, config).unwrap();
        let (handle, access) = (reactor.handle(|| {}), Access::new(Place::default(), None));
        let api_rates = ApiRates::none();
        let terms = Terms { quotas: Quotas::SERVICE, api_rates, limits, past_damage: false };
        let directories = [directory.path().to_owned()];
        let common = Common::new(handle.clone(), access, None, terms, &directories, &Figures::default());
        Rig { common: Arc::new(common), handle, reactor, _directory: directory }
    }

    /// Waits for what needs turns.
    pub(super) fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(done) = poll(future.as_mut()) {
                return done;
            }
            self.reactor.turn();
        }
    }

    /// Has an action carried out.
    pub(super) fn ask(&mut self, action: &str, body: &Value) -> Result<Said, Error> {
        let common = Arc::clone(&self.common);
        self.wait(ask(&common, action, body))
    }

    /// The same, of one that answers at once.
    pub(super) fn good(&mut self, action: &str, body: &Value) -> Value {
        let Said::Body(answer, _) = self.ask(action, body).unwrap() else { panic!("{action} goes on") };
        if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer).unwrap() }
    }

    /// Lets tasks and the reactor do what they can now.
    pub(super) async fn settle(&mut self) {
        for _ in 0..TURNS {
            yield_now().await;
            // A turn that has something to answer does not sleep.
            self.handle.call(Call::Annotation, drop).unwrap();
            self.reactor.turn();
        }
    }
}

/// Asks for an action.
pub(super) async fn ask(common: &Arc<Common>, action: &str, body: &Value) -> Result<Said, Error> {
    let body = body.to_string();
    let room = BodyRoom::begin(&common.bodies, body.len(), Some(body.len()));
    let caller = Caller { key: None, place: Place::default() };
    action::run(common, caller, action, Codec::Json, (body.as_bytes(), room)).await
}

pub(super) fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
