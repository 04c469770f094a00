//! The ring on the real kernel: files in a directory on the build's disk, sockets over loopback.

mod disk;
mod network;
mod rig;
