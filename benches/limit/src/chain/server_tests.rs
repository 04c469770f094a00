//! A server that is sent what is no message says so, and ends.

use std::io::Write;
use std::thread;

use super::super::{Pace, connect};
use super::*;

fn serve_bytes(bytes: &[u8]) -> Result<Served, LimitError> {
    let (accepted, mut connected) = connect(1).expect("loopback is there");
    let point = Point { size_bytes: 4096, connections: 1, inflight: 1, writes: 1, pace: Pace::Closed };
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(accepted, None, point, &Window::default()));
        connected[0].write_all(bytes).expect("the socket takes it");
        drop(connected);
        server.join().expect("no panic")
    })
}

/// Where io_uring is refused there is no server to test; the tests of the program say so.
fn refused(served: &Result<Served, LimitError>) -> bool {
    matches!(served, Err(LimitError::Ring { step: "setup", .. }))
}

#[test]
fn a_connection_that_sends_nothing_ends_well() {
    let served = serve_bytes(&[]);
    assert!(served.is_ok() || refused(&served));
}

#[test]
fn bytes_without_a_header_are_refused() {
    let served = serve_bytes(&[7; 4096]);
    let message = served.as_ref().err().map(ToString::to_string);
    assert!(refused(&served) || message.is_some_and(|text| text.contains("without its header")),);
}

#[test]
fn a_message_that_stops_halfway_is_an_error() {
    let mut bytes = vec![0; 4000];
    bytes[..HEADER_BYTES].copy_from_slice(&message::encode(1, 4096));
    let served = serve_bytes(&bytes);
    let message = served.as_ref().err().map(ToString::to_string);
    assert!(refused(&served) || message.is_some_and(|text| text.contains("in the middle")));
}
