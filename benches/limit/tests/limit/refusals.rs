//! What cannot be measured is refused, with what happened and what to do.

use crate::program::{Folder, limit, skip};

/// Arguments, `DIR` standing for a directory on the disk; what the message must say; the exit status.
const CASES: &[(&str, &str, i32)] = &[
    ("write --dir DIR --size 1000", "multiple of 4096", 1),
    ("write --dir DIR --size 0", "multiple of 4096", 1),
    ("write --dir DIR --size 128m", "over 64m", 1),
    ("write --dir DIR --size 12kb", "is not a size", 2),
    ("write --dir DIR --size 4k,8k", "give one value, or --sweep", 1),
    ("write --dir DIR --depth 0", "1..=1024", 2),
    ("write --dir DIR --size 1m --depth 8 --file-bytes 4m", "give --file-bytes of at least that", 1),
    ("write --dir DIR --file-bytes 5000000", "multiple of 4096", 1),
    ("write --dir DIR --size 64m --depth 32 --file-bytes 2g", "bytes of memory", 1),
    ("write --dir DIR --seconds 0", "is not a time", 2),
    ("write --dir DIR --seconds NaN", "is not a time", 2),
    ("write --dir DIR --core 4095", "core 4095 is not available", 1),
    ("write --dir DIR --file-bytes 1048576g", "give a smaller --file-bytes", 1),
    ("write --dir DIR --prepare allocated --file-bytes 300m", "comes in files", 1),
    ("write --dir DIR/none", "create the directory first", 1),
    ("write --dir /proc/self/exe", "give a directory", 1),
    ("write", "--dir", 2),
    ("steady --dir DIR --size 100", "multiple of 4096", 1),
    ("chain", "--dir", 2),
    ("chain --dir DIR --size 10k --connections 2", "multiple of 4096", 1),
    ("chain --no-write --rate 0", "is not a rate", 2),
    ("chain --no-write --rate 5 --closed", "cannot be used with", 2),
    ("chain --no-write --client-core 4095 --core 0", "core 4095 is not available", 1),
    ("chain --dir DIR/none", "create the directory first", 1),
    ("fanout --size 0", "give 1 byte to 64m", 1),
    ("fanout --sockets 5000", "1..=1024", 2),
    ("http --records 501", "1..=500", 2),
    ("http --address nowhere", "--address", 2),
];

#[test]
fn each_bad_argument_says_what_to_do() {
    let folder = Folder::new("refusals");
    for (arguments, says, status) in CASES {
        let arguments = arguments.replace("DIR", folder.text());
        let output = limit(&arguments.split(' ').collect::<Vec<_>>());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*status), "{arguments}: {errors}");
        assert!(errors.contains(says), "{arguments}: {errors}");
    }
    assert_eq!(folder.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn memory_is_no_disk() {
    let mounts = std::fs::read_to_string("/proc/mounts").expect("Linux has it");
    let shared_memory =
        mounts.lines().any(|line| line.split(' ').nth(1) == Some("/dev/shm") && line.contains(" tmpfs "));
    if !shared_memory {
        return skip("no tmpfs at /dev/shm");
    }
    for command in ["write", "steady", "chain"] {
        let output = limit(&[command, "--dir", "/dev/shm"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("is on tmpfs (memory)"), "{errors}");
    }
}
