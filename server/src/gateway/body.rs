//! The body of a request: as much as is allowed, within a time that grows with what has come.

mod room;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use wire::{Error, ErrorKind};

use self::room::STEP_BYTES;
pub(super) use self::room::{Bodies, BodyRoom};

/// The body of the largest request: 10 MiB of records in base64, with their keys. Where more are let in, what it has room for.
pub(super) const BODY_BYTES_MAX: usize = crate::config::PUT_RECORDS_BYTES_MAX;

/// How long a body may take to arrive, whatever its length. What is slower than [`BYTES_PER_SECOND_MIN`] has less.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The same of one that nobody wants, how much of it is taken, and of how many at once.
const UNWANTED_BODY_TIMEOUT: Duration = Duration::from_secs(5);
const UNWANTED_BODY_BYTES_MAX: usize = 64 << 20;
pub(super) const UNWANTED_BODIES_MAX: usize = 256;

/// How long a body may take of which little comes.
const SLOW_TIMEOUT: Duration = Duration::from_secs(10);

/// So many bytes are worth a second more: a body takes room that others wait for.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// The whole of a body, of so many bytes at most, and the room that it takes. What it waits for room is of the time that it has.
pub(super) async fn receive(
    bodies: &Arc<Bodies>,
    body: &mut Incoming,
    bytes_max: usize,
) -> Result<(Bytes, BodyRoom), Error> {
    let too_large = || {
        let message = format!("The body of a request has at most {bytes_max} bytes.");
        Error::new(ErrorKind::RequestTooLarge, message)
    };
    let no_room = |_| {
        Error::new(ErrorKind::ServiceUnavailable, "The server has no room for the body of this request; try again.")
    };
    let announced = body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large());
    }
    let mut room = BodyRoom::begin(bodies, bytes_max, announced);
    // Copied together: frames of HTTP/2 may be so small that to keep each costs more than its bytes.
    let (began, mut received) = (Instant::now(), BytesMut::new());
    loop {
        let deadline = began + time_for(received.len());
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return Ok((received.freeze(), room)),
            Ok(Some(Err(error))) => {
                return Err(Error::new(ErrorKind::Serialization, format!("The body did not arrive: {error}")));
            }
            Err(_) => return Err(Error::new(ErrorKind::Serialization, "The body did not arrive in time.")),
        };
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        let bytes = received.len() + data.len();
        if bytes > bytes_max {
            return Err(too_large());
        }
        if !room.try_hold(bytes) {
            timeout_at(deadline, room.hold(bytes)).await.map_err(no_room)?;
        }
        if received.capacity() < bytes {
            // All that is announced, once that is little or some of it was there.
            let is_sure = |length: &usize| *length <= STEP_BYTES || !received.is_empty();
            let length = announced.filter(is_sure).unwrap_or(0).max(bytes);
            received.reserve(length - received.len());
        }
        received.extend_from_slice(&data);
    }
}

/// Takes a body that is of no use, and keeps nothing of it: who still sends it would not hear the answer. Where as many are being
/// taken as may be, who sends this one has to do without.
pub(super) async fn pass_over(passing_over: &Semaphore, body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    let Ok(_turn) = passing_over.try_acquire() else { return };
    let all = async {
        let mut body = Limited::new(body, UNWANTED_BODY_BYTES_MAX);
        while let Some(Ok(_)) = body.frame().await {}
    };
    // Who takes longer is not waited for.
    let _ = timeout(UNWANTED_BODY_TIMEOUT, all).await;
}

/// How long a body may take of which so much has come.
fn time_for(received_bytes: usize) -> Duration {
    let earned = Duration::from_secs(received_bytes as u64 / BYTES_PER_SECOND_MIN);
    (SLOW_TIMEOUT + earned).min(BODY_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_earns_time() {
        for (bytes, seconds) in [(0, 10), (60_000, 10), (1 << 20, 26), (4 << 20, 60), (BODY_BYTES_MAX, 60)] {
            assert_eq!(time_for(bytes), Duration::from_secs(seconds), "{bytes}");
        }
    }
}
