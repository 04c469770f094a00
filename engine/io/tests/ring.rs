//! The ring, held to what every `Io` is, and what it says where it is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its rig too")]

mod both;
#[path = "ring/refused.rs"]
mod refused;

/// What is tested.
type Subject = io::Ring;
