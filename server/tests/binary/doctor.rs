//! `doctor` on directories where a server can run, and where it can't.

use std::fs;
use std::process::Command;

use crate::mounts::LoopDisk;
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
            "io_uring with all ",
            " operations that are needed, ",
            "4 KiB written: p50 ",
            "; flushed after that: p50 ",
            "; both at once: p50 ",
            "p99",
            "open files",
            "locked memory",
            "cores",
            "scheduler",
            "interrupts",
            "--io auto takes it",
            "A server can run here.",
        ] {
            assert!(text.contains(word), "{word} is not in: {text}");
        }
    }
    server.assert_well();
    server.stop();
    let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
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
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "it cleans up after itself");
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

#[test]
fn a_scheduler_is_changed_by_what_is_advised() {
    let Some(mounted) = LoopDisk::new(32 << 20, &[], "loop") else { return };
    let place = mounted.path.to_str().unwrap();
    let doctor = || run(millstream(["doctor", "--data", place, "--segment-bytes", "4MiB"]), b"").good();
    let told = doctor();
    let device = told.text().lines().find_map(|line| line.strip_prefix("ok   device         ")).unwrap();
    let device = device.split([',', ' ']).next().unwrap().to_owned();
    assert!(device.starts_with("loop") && told.text().contains(&format!("{device}: it is virtual")), "{}", told.text());
    let scheduler = format!("/sys/block/{device}/queue/scheduler");
    if let Err(error) = fs::write(&scheduler, "kyber") {
        return skip(&format!("no kyber for {device}: {error}"));
    }
    let told = doctor();
    assert!(told.text().contains(&format!("fair scheduler      {device}: kyber")), "{}", told.text());
    let advice = told.text().lines().find(|line| line.contains(&scheduler)).unwrap();
    let command = advice.split("as root: ").nth(1).unwrap().split(',').next().unwrap();
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    assert!(fs::read_to_string(&scheduler).unwrap().contains("[none]"), "{command}");
    assert!(doctor().text().contains(&format!("ok   scheduler      {device}: none")));
}

/// Bug: a server could run, said doctor, on a disk without room for a segment, and of several directories it looked at none.
#[test]
fn each_directory_must_have_room_for_a_segment() {
    let directory = directory();
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    for place in [&one, &other] {
        fs::create_dir(place).unwrap();
    }
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    let mut command = millstream(["doctor", "--segment-bytes", "4MiB"]);
    command.env("MILLSTREAM_DATA", format!("{one}:{other}"));
    let told = run(command, b"").good();
    for place in [one, other] {
        assert!(told.text().contains(&format!("ok   space          {place}: ")), "{}", told.text());
    }
    let told = run(millstream(["doctor", "--data", one, "--segment-bytes", "100TiB"]), b"");
    assert_eq!(told.status.code(), Some(1));
    assert!(told.text().contains("BAD  space") && told.text().contains("--segment-bytes"), "{}", told.text());
}

#[test]
fn a_core_is_told_as_the_server_would_take_it() {
    let directory = directory();
    let place = directory.path().to_str().unwrap();
    let doctor = |more: &[&str]| run(millstream(["doctor", "--data", place].into_iter().chain(more.to_vec())), b"");
    let cores = io::available_cores();
    let last = cores.last().unwrap().to_string();
    let told = doctor(&["--core", &last, "--reactors", "1"]).good();
    let whose = [
        format!("the reactor would be on core {last}"),
        format!("the reactor on {last} would have"),
        format!("on core {last}, where the reactor would be"),
    ];
    let untold = ["is not told", "can't be read", "it is virtual"];
    let is_told =
        |line: &str| whose.iter().any(|words| line.contains(words)) || untold.iter().any(|words| line.contains(words));
    let interrupts: Vec<&str> = told.text().lines().filter(|line| line.contains(" interrupts  ")).collect();
    assert!(!interrupts.is_empty() && interrupts.iter().all(|line| is_told(line)), "{}", told.text());
    let told = doctor(&["--core", "65000"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(told.text().contains("BAD  cores") && told.text().contains("and not 65000"), "{}", told.text());
    let refused = doctor(&["--reactors", "65"]).refusal();
    assert!(refused.contains("--reactors") && refused.contains("1 to 64"), "{refused}");
}
