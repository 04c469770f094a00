//! Criterion micro-benchmarks of the parts, which also run small under cargo test.
