//! `fuzz::canary`, guided by coverage: it must be found within seconds.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::canary::run(input));
