//! Streams on a server that is there: those that a run names itself are gone after it, whatever came of it; others stay.

use super::*;

/// The names of the streams that a server has.
fn streams(watched: &Watched) -> Vec<String> {
    let mut command = Command::new(server_program());
    forget_settings(&mut command);
    let output = command.args(["streams", "--native", &watched.address().to_string()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().filter(|line| !line.starts_with(' ')).map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

/// What a run said of the streams that it made, each once.
fn told(message: &str) -> std::collections::BTreeSet<&str> {
    message.lines().filter(|line| line.contains(" is made for this run, and removed after it")).collect()
}

/// Bug: a stream whose name the generator made up stayed on the server for good, and each step of a sweep left another. Fix: it
/// is removed, as over HTTP.
#[test]
fn streams_of_a_run_alone_are_removed_after_it() {
    let scratch = directory();
    let watched = Watched::start(scratch.path());
    let address = watched.address().to_string();
    let on = |arguments: &[&str]| load(scratch.path(), &[&["--target", &address][..], arguments].concat());
    let short = ["--bytes", "1MB", "--shards", "2"];
    let twice = on(&[&short[..], &["--repeat", "2", "--streams", "2", "--beside", "bytes=10kB"]].concat());
    let sweep = on(&["--sweep", "--p99", "30s", "--rate", "500", "--duration", "200ms", "--sweep-steps", "1"]);
    for (mut command, made) in [(twice, 6), (sweep, 2)] {
        let output = command.output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 4)), "{}", message(&output));
        assert_eq!((told(&message(&output)).len(), streams(&watched)), (made, vec![]), "{}", message(&output));
    }
    let output = on(&[&short[..], &["--stream", "orders", "--beside", "stream=other,bytes=10kB"]].concat()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", message(&output));
    assert!(told(&message(&output)).is_empty() && streams(&watched) == ["orders", "other"], "{}", message(&output));
    // The load beside can't begin.
    let output = on(&[&short[..], &["--beside", "stream=other,shards=7"]].concat()).output().unwrap();
    assert_eq!((output.status.code(), told(&message(&output)).len()), (Some(1), 1), "{}", message(&output));
    assert_eq!(streams(&watched), ["orders", "other"]);
    watched.server.stop().unwrap();
}

#[test]
fn ctrl_c_leaves_no_stream_of_the_run_alone() {
    let scratch = directory();
    let watched = Watched::start(scratch.path());
    let address = watched.address().to_string();
    let mut child = load(scratch.path(), &["--target", &address, "--duration", "1h", "--rate", "100"]).spawn().unwrap();
    wait_for("its stream", || (!streams(&watched).is_empty()).then_some(()));
    signal(child.id(), Signal::INT);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 4)) && streams(&watched).is_empty(), "{said}");
    watched.server.stop().unwrap();
}
