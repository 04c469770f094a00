//! The one place with system calls: ring, operations, buffers, clocks, affinity.
