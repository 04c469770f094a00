//! Whether all is well: every reactor has its turns, and takes appends. What a restart would not mend is told, and is no failure.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{Seen, Watched, look, respond};

/// How a reactor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It takes appends.
    Ok,
    /// Appends are refused until there is room on the disk, or in its budget; reads go on.
    OutOfSpace,
    /// A write has failed: appends are refused until a restart, reads go on.
    RefusesAppends,
    /// It has not had a turn in time.
    Silent,
}

/// The status that is worth a restart.
const FAILING: &str = "failing";

#[derive(Debug, Serialize)]
struct Reactor {
    reactor: usize,
    state: State,
    /// What the disk said, where a write failed; 0 for a short write.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    reactors: Vec<Reactor>,
}

pub(super) async fn answer(watched: &Watched) -> Response<Full<Bytes>> {
    let health = of(&look(watched).await);
    let status = if health.status == FAILING { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut body = serde_json::to_vec(&health).expect("it has nothing that is no JSON");
    body.push(b'\n');
    respond(status, "application/json", body)
}

fn of(seen: &[Option<Seen>]) -> Health {
    let reactor = |(reactor, seen): (usize, &Option<Seen>)| {
        let (state, errno) = match seen {
            None => (State::Silent, None),
            Some(seen) => match seen.vitals.stats.poisoned {
                Some(errno) => (State::RefusesAppends, Some(-errno)),
                None if seen.vitals.has_no_room => (State::OutOfSpace, None),
                None => (State::Ok, None),
            },
        };
        Reactor { reactor, state, errno }
    };
    let reactors: Vec<Reactor> = seen.iter().enumerate().map(reactor).collect();
    let status = if reactors.iter().all(|reactor| reactor.state == State::Ok) {
        "ok"
    } else if reactors.iter().all(|reactor| matches!(reactor.state, State::Ok | State::OutOfSpace)) {
        "out_of_space"
    } else {
        FAILING
    };
    Health { status, reactors }
}

#[cfg(test)]
mod tests {
    use engine::vitals::{Queues, Segments, Vitals};
    use engine::{Compacted, Stats};
    use hdrhistogram::Histogram;

    use super::*;

    fn seen(poisoned: Option<i32>) -> Option<Seen> {
        let vitals = Vitals {
            stats: Stats { poisoned, ..Stats::default() },
            commits_ns: Histogram::new(2).unwrap(),
            queues: Queues::default(),
            memory: Vec::new(),
            connections: 0,
            subscriptions: 0,
            segments: Segments::default(),
            has_no_room: false,
            compacted: Compacted::default(),
            lags: Vec::new(),
        };
        Some(Seen { vitals, cpu_ns: 0 })
    }

    #[test]
    fn one_reactor_that_is_not_well_is_enough() {
        assert_eq!(of(&[seen(None), seen(None)]).status, "ok");
        let health = of(&[seen(None), None]);
        assert_eq!((health.status, health.reactors[1].state), ("failing", State::Silent));
        let health = of(&[seen(Some(-5)), seen(None)]);
        assert_eq!((health.status, health.reactors[0].state), ("failing", State::RefusesAppends));
        assert_eq!(health.reactors[0].errno, Some(5));
    }

    /// A restart mends no full disk: whoever restarts what fails is not to.
    #[test]
    fn a_full_disk_is_told_and_is_no_failure() {
        let full = || seen(None).map(|seen| Seen { vitals: Vitals { has_no_room: true, ..seen.vitals }, ..seen });
        let health = of(&[seen(None), full()]);
        assert_eq!((health.status, health.reactors[1].state), ("out_of_space", State::OutOfSpace));
        assert_eq!(of(&[None, full()]).status, "failing");
        assert_eq!(of(&[seen(Some(-5)), full()]).status, "failing");
    }
}
