//! What every `Io` of the system is held to, on the real kernel: files in a directory on the build's disk, sockets over
//! loopback. Whoever takes this in says which one, by `Subject`.

mod directories;
mod disk;
mod durable;
mod killed;
mod lifetime;
mod mounted;
mod network;
pub(crate) mod rig;
