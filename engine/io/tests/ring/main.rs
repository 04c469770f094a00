//! The ring on the real kernel: files in a directory on the build's disk, sockets over loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its rig too")]

mod directories;
mod disk;
mod durable;
mod killed;
mod lifetime;
mod mounted;
mod network;
mod refused;
mod rig;
