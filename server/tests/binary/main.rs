//! The `millstream` binary as it is: started, asked, stopped, killed and fed what is wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its rig too")]

mod access;
mod admin;
mod compaction;
mod crowd;
mod deaf;
mod directories;
mod doctor;
mod fan_out;
mod file_systems;
mod format;
mod full_disk;
mod gateway;
mod gateway_policies;
mod gateway_tags;
mod gateway_wire;
mod io;
mod large;
mod lifecycle;
mod mounts;
mod moves;
mod native;
mod native_producers;
mod native_streams;
mod native_subscriptions;
mod producers;
mod push;
mod quotas;
mod reactors;
mod reshard;
mod retention;
mod rig;
mod settings;
mod time_namespace;
mod tools;
mod wire;
