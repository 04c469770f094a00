//! The ring on the real kernel: files in a directory on the build's disk, sockets over loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its rig too")]

#[path = "both/directories.rs"]
mod directories;
#[path = "both/disk.rs"]
mod disk;
#[path = "both/durable.rs"]
mod durable;
#[path = "both/killed.rs"]
mod killed;
#[path = "both/lifetime.rs"]
mod lifetime;
#[path = "both/mounted.rs"]
mod mounted;
#[path = "both/network.rs"]
mod network;
#[path = "ring/refused.rs"]
mod refused;
#[path = "both/rig.rs"]
mod rig;

/// What is tested.
type Subject = io::Ring;
