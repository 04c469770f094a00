//! Counts what was answered over HTTP, by action and outcome, for those who watch.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper ends of the times that are told apart, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    action: &'static str,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Action {
    action: &'static str,
}

/// Requests so far. Clones count together. The actions are few: those of the API, and one word for all else.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    outcomes: Family<Outcome, Counter>,
    durations: Family<Action, Histogram, fn() -> Histogram>,
    throttles: Family<Action, Counter>,
}

impl Default for Requests {
    fn default() -> Requests {
        let durations = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        Requests { outcomes: Family::default(), durations, throttles: Family::default() }
    }
}

impl Requests {
    /// One was answered, after so long.
    pub(super) fn answered(&self, action: &'static str, status: u16, took: Duration) {
        self.durations.get_or_create(&Action { action }).observe(took.as_secs_f64());
        self.outcomes.get_or_create(&Outcome { action, status }).inc();
    }

    /// One was refused as its action was asked for too often.
    pub(super) fn throttled(&self, action: &'static str) {
        self.throttles.get_or_create(&Action { action }).inc();
    }

    /// Has them told by `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Requests answered, by action and status", self.outcomes.clone());
        let help = "From a request's head to its answer, by action";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, self.durations.clone());
        let help = "Requests refused as their action was asked for too often, by action";
        registry.register("http_throttles", help, self.throttles.clone());
    }
}
