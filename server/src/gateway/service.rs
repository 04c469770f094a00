//! The services that answer at this port, and which of them a request is for. Whoever checks who asks, and what they may, does
//! it for all of them, once this is known.

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request};
use wire::metric_data::Writing;

use super::http::TARGET;
use super::sts;
use crate::leases;

const METRICS_TARGET_PREFIX: &str = "GraniteServiceVersion20100801.";
const METRICS_PATH_PREFIX: &str = "/service/GraniteServiceVersion20100801/operation/";

/// In the scope of a signature for CloudWatch.
const METRICS_SCOPE: &str = "/monitoring/aws4_request";
const METRICS_SCOPE_IN_QUERY: &str = "%2Fmonitoring%2Faws4_request";

/// A service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Service {
    /// Streams.
    Kinesis,
    /// Tables of leases, by operations of DynamoDB.
    Leases,
    /// What clients measure, as CloudWatch takes it in, and how they write it.
    Metrics(Writing),
    /// Who the caller is, as STS tells it.
    Identity,
}

impl Service {
    /// The one that a request is for: streams, if it does not say otherwise.
    pub(super) fn of<B>(request: &Request<B>) -> Service {
        let target = text(request.headers(), TARGET.as_str());
        if target.starts_with(leases::TARGET_PREFIX) {
            return Service::Leases;
        }
        if target.starts_with(METRICS_TARGET_PREFIX) {
            return Service::Metrics(Writing::Json);
        }
        if request.uri().path().starts_with(METRICS_PATH_PREFIX) {
            return Service::Metrics(Writing::Cbor);
        }
        let content_type = text(request.headers(), CONTENT_TYPE.as_str());
        let is_form =
            content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(sts::REQUEST_TYPE));
        if !is_form || request.method() != Method::POST || !target.is_empty() {
            return Service::Kinesis;
        }
        // Forms name their action within; what they are signed for is known before.
        let is_scope = |text: &str| text.contains(METRICS_SCOPE) || text.contains(METRICS_SCOPE_IN_QUERY);
        let is_metrics =
            is_scope(text(request.headers(), AUTHORIZATION.as_str())) || request.uri().query().is_some_and(is_scope);
        if is_metrics { Service::Metrics(Writing::Form) } else { Service::Identity }
    }
}

/// The operation that a request for CloudWatch names outside of its body.
pub(super) fn metrics_operation<B>(request: &Request<B>) -> &str {
    let path = request.uri().path().strip_prefix(METRICS_PATH_PREFIX);
    path.or_else(|| text(request.headers(), TARGET.as_str()).strip_prefix(METRICS_TARGET_PREFIX)).unwrap_or_default()
}

/// A header's text; none if it is not there.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
