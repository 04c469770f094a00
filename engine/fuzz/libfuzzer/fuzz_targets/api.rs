//! `fuzz::api`, guided by coverage.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::api::run(input));
