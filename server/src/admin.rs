//! The admin port: what the server looks like, for people and programs who watch it. Nothing can be changed here.
//!
//! ```text
//!   GET /metrics   counters and gauges as Prometheus reads them
//!   GET /health    503 if a reactor does not answer, or takes no appends until a restart; as JSON, which tells a full disk as well
//! ```

mod health;
mod metrics;

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::Handle;
use engine::vitals::Vitals;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;

use crate::gateway::Figures;
use crate::http_server::HttpServer;

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;

/// A reactor that has not had a turn for so long is not well.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

const INDEX: &str =
    "Millstream\n\n/metrics  counters and gauges, for Prometheus\n/health   whether all is well, as JSON\n";

/// What is watched.
pub(crate) struct Watched {
    pub(crate) handle: Handle,
    /// Of the gateway, if there is one.
    pub(crate) figures: Option<Figures>,
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) memory_bytes: usize,
    pub(crate) started: Instant,
}

/// A reactor as it was seen, and how long its thread has run.
#[derive(Debug)]
struct Seen {
    vitals: Vitals,
    cpu_ns: u64,
}

/// The running port. Dropping it ends it at once.
pub(crate) struct Admin(HttpServer);

impl Admin {
    /// Serves what connects to `listener`.
    pub(crate) fn start(listener: TcpListener, watched: Watched) -> io::Result<Admin> {
        let watched = Arc::new(watched);
        let answer = move |request| {
            let watched = Arc::clone(&watched);
            async move { answer(&watched, &request).await }
        };
        HttpServer::start(listener, None, ("admin", 1), CONNECTIONS_MAX, answer).map(Admin)
    }

    /// Takes no more requests, and waits a while for those in progress.
    pub(crate) fn stop(self) {
        self.0.stop();
    }
}

async fn answer(watched: &Watched, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => metrics::answer(watched).await,
        "/health" => health::answer(watched).await,
        "/" => text(StatusCode::OK, INDEX),
        _ => text(StatusCode::NOT_FOUND, "there is /metrics and /health\n"),
    }
}

/// Looks at all reactors at once. Nothing for those that do not answer in time.
async fn look(watched: &Watched) -> Vec<Option<Seen>> {
    let mut waiting = Vec::new();
    for reactor in 0..watched.handle.reactors() {
        let (tell, told) = oneshot::channel();
        let reply = move |vitals| {
            // Here is the reactor's thread.
            let _ = tell.send(Seen { vitals, cpu_ns: ::io::thread_cpu_ns() });
        };
        waiting.push(watched.handle.look(reactor, reply).ok().map(|()| told));
    }
    let until = tokio::time::Instant::now() + LOOK_TIMEOUT;
    let mut seen = Vec::new();
    for told in waiting {
        seen.push(match told {
            Some(told) => tokio::time::timeout_at(until, told).await.ok().and_then(Result::ok),
            None => None,
        });
    }
    seen
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
