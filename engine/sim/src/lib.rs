//! The deterministic simulator: disk, clock and network with faults, a model and its checkers.
