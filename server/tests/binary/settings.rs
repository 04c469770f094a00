//! Settings from flags, environment and file: which goes first, and what is said of mistakes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::retention::until;
use crate::rig::{SMALL, Server, directory, millstream, run};

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let directory = directory();
    let [flag, environment, file] = ["flag", "environment", "file"].map(|name| directory.path().join(name));
    let settings = directory.path().join("settings.toml");
    let text = "native = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\ncore = 0\nlog = \"warn\"\nlog-format = \"plain\"\nsegment-bytes = \"4MiB\"\n\
                segments-ready = 1\nmemory-bytes = \"128MiB\"\ndisk-bytes = 1073741824\n";
    fs::write(&settings, format!("data = {file:?}\n{text}")).unwrap();
    let started = |change: &dyn Fn(&mut Command), data: &Path| {
        let mut command = millstream(["serve", "--config", settings.to_str().unwrap()]);
        change(&mut command);
        let server = Server::start_command(data, command);
        // The file's filter: nothing below a warning is logged.
        assert_eq!(server.log_text(), "");
        server.stop();
        assert!(data.join("superblock").exists());
        // Segments are as the file says.
        assert_eq!(fs::metadata(data.join("0000-0000000001.segment")).unwrap().len(), 4 << 20);
    };
    started(&|_| {}, &file);
    let from_environment = |command: &mut Command| {
        command.env("MILLSTREAM_DATA", &environment);
    };
    started(&from_environment, &environment);
    let both = |command: &mut Command| {
        command.env("MILLSTREAM_DATA", directory.path().join("not this")).arg("--data").arg(&flag);
    };
    started(&both, &flag);
    assert!(!directory.path().join("not this").exists());
}

/// Bug: a malformed settings file was told in six lines, with a drawing. Mechanism: the parser's own text. Fix: the line's
/// number and what is wrong with it.
#[test]
fn mistakes_in_the_file_are_told_in_one_line() {
    let directory = directory();
    let settings = directory.path().join("settings.toml");
    for (text, expected) in [
        ("core = 1\nsgement-bytes = 1\n", "line 2, is malformed: unknown field `sgement-bytes`"),
        ("data = [", "line 1, is malformed: unclosed array"),
        ("\n\nnative = \"here\"\n", "line 3, is malformed: invalid socket address"),
        ("segment-bytes = \"4.5x\"", "line 1, is malformed: `4.5x` is not a size; write for example 512MiB"),
        ("api-rates = \"Put=1\"", "line 1, is malformed: `Put=1` is no rate; write service, none, or ACTION=NUMBER"),
        ("api-limits = \"put=1\"", "line 1, is malformed: `put=1` is no limit; write service, none, or NAME=NUMBER"),
        ("api-limits = \"tags=500\"", "line 1, is malformed: tags=500: write a number from 1 to 200, or none"),
        ("segment-bytes = -5", "line 1, is malformed: expected a number of bytes, or text such as \"64MiB\""),
        ("reactors = -1", "line 1, is malformed: expected a number of reactors, or \"auto\""),
        ("core = \"first\"", "line 1, is malformed: invalid type"),
        ("memory-bytes = \"1MiB\"", "--memory-bytes 1MiB is out of range: at least 128MiB"),
        ("segment-bytes = 5", "--segment-bytes 5 is out of range: 4MiB to 1GiB"),
        ("", "no data directory is given; say which with --data DIR"),
    ] {
        fs::write(&settings, text).unwrap();
        let line = run(millstream(["serve", "--config", settings.to_str().unwrap()]), b"").refusal();
        assert!(line.contains(expected), "{text:?}: {line}");
    }
    let missing = run(millstream(["serve", "--config", "/nowhere.toml"]), b"").refusal();
    assert!(missing.contains("/nowhere.toml can't be read") && missing.contains("check its name"), "{missing}");
}

/// Also a regression test. Bug: the server aborted, with a page of text, at a core of a high number. Mechanism: pinning panics
/// where no CPU set has room for the number. Fix: only cores that there are are pinned to.
#[test]
fn what_a_server_can_not_have_is_told_in_one_line() {
    let directory = directory();
    let data = directory.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, expected) in [
        (["--native", address.as_str()], "choose another address with --native"),
        (["--http", address.as_str()], "choose another address with --http"),
        (["--admin", address.as_str()], "choose another address with --admin"),
        (["--http", "0.0.0.0:4567"], "--http 0.0.0.0:4567 is not on loopback"),
        (["--account", "12"], "--account 12 is out of range: 12 digits"),
        (["--core", "4000"], "choose --core out of ["),
        (["--log", "=,="], "or such as info,engine=debug"),
        // Bug: nothing was logged, errors neither, as the library takes the word for a module.
        (["--log", "info,wran"], "\"wran\" is not a level"),
        // Its own process would be told to end.
        (["--data", data.to_str().unwrap()], "are the same; name each once"),
        (["--gateway-threads", "0"], "--gateway-threads 0 is out of range: 1 to 1024"),
        (["--writes-in-flight", "33"], "--writes-in-flight 33 is out of range: 1 to 32"),
    ] {
        let mut command = millstream(["serve", "--data", data.to_str().unwrap()]);
        if arguments[0] != "--native" {
            command.args(["--native", "127.0.0.1:0"]);
        }
        if arguments[0] != "--http" {
            command.args(["--http", "127.0.0.1:0"]);
        }
        command.args(arguments).args(SMALL);
        let line = run(command, b"").refusal();
        assert!(line.contains(expected), "{line}");
    }
}

/// The runtime may have a few more, for what blocks.
#[test]
fn the_gateway_has_the_threads_it_is_told_to_have() {
    let directory = directory();
    for (threads, expected) in [("1", 1..8), ("12", 12..24)] {
        let server = Server::start_with(&directory.path().join("data"), &["--gateway-threads", threads]);
        let there = || {
            let tasks = fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero())).unwrap();
            let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
            names.filter(|name| name.trim() == "gateway").count()
        };
        // They name themselves, each once it runs.
        until("as many threads as it was told", || expected.contains(&there()));
        server.stop();
    }
}
