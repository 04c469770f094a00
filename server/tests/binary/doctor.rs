//! `doctor` on directories where a server can run, and where it can't.

use crate::rig::{Server, apart_from_io_uring, directory, millstream, run, skip};

#[test]
fn a_good_place_is_told_with_its_latency() {
    let directory = directory();
    let data = directory.path().join("not/yet/there");
    let mut server = Server::start(&directory.path().join("data"));
    for place in [directory.path().join("data"), data] {
        let told = run(millstream(["doctor", "--data", place.to_str().unwrap()]), b"").good();
        let text = told.text();
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        for word in [
            &kernel,
            "ext4",
            "p50",
            "p99",
            "open files",
            "locked memory",
            "cores",
            "--io auto takes it",
            "A server can run here.",
        ] {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
    }
    server.assert_well();
    server.stop();
    let mut left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["data", "data.log"], "it cleans up after itself");
}

#[test]
fn a_place_that_keeps_nothing_is_bad() {
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return skip("no tmpfs to write to at /dev/shm") };
    let told = run(millstream(["doctor", "--data", directory.path().to_str().unwrap()]), b"");
    assert_eq!(told.status.code(), Some(1));
    let text = told.text();
    assert!(text.contains("BAD  directory") && text.contains("tmpfs") && text.contains("can't run here"), "{text}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it cleans up after itself");
}

#[test]
fn a_refused_ring_is_told_with_what_is_taken_instead() {
    let directory = directory();
    let place = directory.path().to_str().unwrap().to_owned();
    let told = apart_from_io_uring(move || run(millstream(["doctor", "--data", &place]), b"")).good();
    let text = told.text();
    for word in ["fair io_uring", "--security-opt", "--io auto takes plain threads", "p99", "A server can run here."] {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
    assert!(!text.contains("locked memory"), "nothing is locked: {text}");
}
