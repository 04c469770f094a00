//! The load generator: schedule, targets, recorder, verifier, report.

fn main() {}
