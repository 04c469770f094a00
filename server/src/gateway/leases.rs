//! Requests for tables of leases: from HTTP to those who keep them, and back.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use wire::{Codec, Error, ErrorKind};

use super::http::{self, Reply, TARGET};
use super::{Common, access, service};
use crate::leases::{self, NoAnswer};

/// The body of the largest request: two items of the largest size.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes of bodies at once, until those who keep the tables have answered: they may take long, and nobody who stores or reads
/// waits for that.
pub(super) const BODY_BYTES_IN_PROGRESS_MAX: usize = 16 << 20;

/// Room that an answer takes, until it is known how long it is: a page of items, or as many as may be asked for at once, each
/// letter of which JSON may write as six.
const ANSWER_BYTES: u32 = 8 << 20;
const LONG_ANSWER_BYTES: u32 = leases::ANSWER_BYTES_MAX;

/// Bytes of answers at once, until they are sent. The next wait, and not for those who read streams.
pub(super) const ANSWER_BYTES_IN_PROGRESS_MAX: usize = 2 * leases::ANSWER_BYTES_MAX as usize;

/// What signatures are for, and the first word of actions.
const SERVICE: &str = "dynamodb";

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// The name by which it is counted, and the answer.
pub(super) async fn answer(
    common: &Arc<Common>,
    request: Request<Incoming>,
) -> (Option<&'static str>, Response<Reply>) {
    let target = service::text(request.headers(), TARGET.as_str()).to_owned();
    let operation = leases::named(&target);
    let answer = match outcome(common, &target, operation, request).await {
        Ok(answer) => answer,
        Err(error) => http::refusal(&error, CONTENT_TYPE, error.body(Codec::Json)),
    };
    (operation, answer)
}

async fn outcome(
    common: &Arc<Common>,
    target: &str,
    operation: Option<&'static str>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Error> {
    let Some(operation) = operation.filter(|_| request.method() == Method::POST) else {
        let name = target.strip_prefix(leases::TARGET_PREFIX).unwrap_or_default();
        return Err(Error::new(ErrorKind::UnknownOperation, leases::not_served(name)));
    };
    let (parts, body) = request.into_parts();
    let (caller, body, (_place, body_room)) =
        http::hear(common, &parts, SERVICE, (&common.lease_bodies, body, BODY_BYTES_MAX)).await?;
    let name = operation.strip_prefix(leases::TARGET_PREFIX).unwrap_or_default();
    let caller = caller.verified(&body)?;
    access::authorize_other(common, &caller, SERVICE, name)?;
    // Streams are a region's, so leases are too: applications of one name read others in each.
    let region = caller.place.region;
    let region = if region == common.access.own().region { String::new() } else { region };
    let bytes = if name == "BatchGetItem" { LONG_ANSWER_BYTES } else { ANSWER_BYTES };
    let room = common.lease_answers.take(bytes).await;
    let answer = common.leases.ask(operation, region, (body, body_room)).await.map_err(|none| match none {
        NoAnswer::Busy => {
            let message = "The tables of leases have all the requests they take; try again.";
            Error::new(ErrorKind::ProvisionedThroughputExceeded, message)
        }
        NoAnswer::Failed => {
            let message = "The tables of leases did not answer, and may have done what was asked; try again. The server's log says why.";
            Error::new(ErrorKind::InternalServerError, message)
        }
    })?;
    Ok(http::reply(answer.status, CONTENT_TYPE, answer.body, Some(room)))
}
