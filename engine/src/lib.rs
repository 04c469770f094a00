//! The log: shards, journal, commit, recovery, reads, on one reactor a core.
