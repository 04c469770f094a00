//! What this machine can do with the least code: the limit that results are held against.

fn main() {}
