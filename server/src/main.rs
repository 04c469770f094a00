//! The millstream binary: arguments, configuration, and the commands around the log.

fn main() {}
