//! Plain threads and epoll, held to what every `Io` is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its rig too")]

mod both;

/// What is tested.
type Subject = io::Threads;
