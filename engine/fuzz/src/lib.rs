//! Fuzz targets: functions that take any bytes and panic where a promise of the formats or of recovery is broken.
//!
//! ```text
//!   corpus/<target>/* -> replay                       `cargo test -p fuzz`: the corpus, then so many seeds
//!        \-> mutate(seed) -> Target::run -> panic?    libfuzzer/: the same functions, guided by coverage
//! ```
//!
//! A seed makes one input, out of the corpus as it stands; a failure names target, seed and a file with the input in hex.
//! Either replays it:
//!
//! ```text
//!   MILLSTREAM_FUZZ_TARGET=wire MILLSTREAM_FUZZ_SEED=17 cargo test -p fuzz --test one_seed -- --nocapture
//!   MILLSTREAM_FUZZ_TARGET=wire MILLSTREAM_FUZZ_INPUT=target/tmp/wire-17.hex cargo test -p fuzz --test one_seed
//! ```
//!
//! `MILLSTREAM_FUZZ_SEEDS=n` runs n seeds a target in place of the default. Guided by coverage, on the stable toolchain (no
//! sanitizer: those need unstable flags, and look for faults that code without `unsafe` does not have); `.ci/fuzz` runs all
//! targets so, after the canary:
//!
//! ```text
//!   cargo install cargo-fuzz --locked; cd engine/fuzz/libfuzzer; mkdir -p target/found/wire
//!   cargo fuzz run --fuzz-dir . -s none wire target/found/wire ../corpus/wire -- -max_total_time=3600
//! ```
//!
//! What it finds goes into the corpus in its smallest form (`cargo fuzz tmin`), with the fix. After a change of a format
//! `cargo run -p fuzz --example corpus` writes the starting points anew.

#![forbid(unsafe_code)]

pub mod api;
pub mod canary;
mod checksum;
pub mod frame;
mod image;
mod mutator;
mod program;
pub mod recovery;
pub mod segment;
mod session;
mod talk;
pub mod wire;

pub use mutator::{Random, mutate};
pub use session::{Found, Session, from_hex};

/// One thing that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its corpus and of its libFuzzer binary.
    pub name: &'static str,
    /// Judges one input. Panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs to start from, each with a name. The corpus holds them, and what was found since.
    pub starts: fn() -> Vec<(&'static str, Vec<u8>)>,
    /// Seeds that a test run tries: what takes about half a minute at most.
    pub seeds: u64,
}

/// All targets that must not fail.
pub const TARGETS: [Target; 5] = [
    Target { name: "frame", run: frame::run, starts: frame::starts, seeds: 1_500_000 },
    Target { name: "wire", run: wire::run, starts: wire::starts, seeds: 300_000 },
    Target { name: "api", run: api::run, starts: api::starts, seeds: 1_000_000 },
    Target { name: "segment", run: segment::run, starts: segment::starts, seeds: 1_000_000 },
    Target { name: "recovery", run: recovery::run, starts: recovery::starts, seeds: 2_000 },
];

/// The one that must.
pub const CANARY: Target = Target { name: "canary", run: canary::run, starts: canary::starts, seeds: 20_000 };
