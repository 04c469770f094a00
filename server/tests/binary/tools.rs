//! `streams`, `put` and `tail` against a running server.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use frame::Quotas;
use serde_json::{Value, json};
use server::client::Batch;

use crate::rig::{Server, directory, millstream, run, store, wait};

/// Bug: the help began with what Cargo.toml says of the package.
#[test]
fn the_help_begins_with_what_the_program_is() {
    let help = run(millstream(["--help"]), b"").good();
    assert_eq!(help.text().lines().next(), Some("A durable streaming log: the server, and tools to look at it"));
}

#[test]
fn what_is_put_is_tailed() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let put =
        |arguments: &[&str], input: &[u8]| run(server.command(["put"].into_iter().chain(arguments.to_vec())), input);
    let tail = |arguments: &[&str]| run(server.command(["tail"].into_iter().chain(arguments.to_vec())), b"");

    let unknown = put(&["letters", "a"], b"").refusal();
    assert!(unknown.contains("unknown stream") && unknown.contains("--create"), "{unknown}");
    assert!(tail(&["letters"]).refusal().contains("unknown stream"));

    assert_eq!(put(&["letters", "--create", "1", "a", "b"], b"").good().text(), "2 records stored\n");
    let verbose = put(&["letters", "--verbose", "--key", "k", "-"], b"c\n\n\xff\r\nlast").good();
    assert_eq!(
        verbose.text(),
        "1 shard 1 sequence 3\n2 shard 1 sequence 4\n3 shard 1 sequence 5\n4 shard 1 sequence 6\n"
    );
    assert_eq!(tail(&["letters"]).good().out, b"a\nb\nc\n\n\xff\r\nlast\n");
    assert_eq!(tail(&["letters", "--from", "2", "--limit", "2"]).good().out, b"b\nc\n");
    assert_eq!(tail(&["letters", "--from", "7"]).good().out, b"");
    assert_eq!(tail(&["letters", "--since", "10m", "--limit", "2"]).good().out, b"a\nb\n");
    assert_eq!(tail(&["letters", "--since", "1970-01-02T00:00:00Z"]).good().out, b"a\nb\nc\n\n\xff\r\nlast\n");
    assert!(tail(&["letters", "--since", "2999-01-01T00:00:00Z"]).refusal().contains("in the future"));
    assert!(tail(&["letters", "--since", "noon"]).err.contains("10m for ten minutes ago"));
    let past = tail(&["letters", "--from", "8"]).refusal();
    assert!(past.contains("no record 8") && past.contains("last one is 6; choose a smaller --from"), "{past}");
    let shard = tail(&["letters", "--shard", "9"]).refusal();
    assert!(shard.contains("no shard 9") && shard.contains("from 1 to 1"), "{shard}");
    let line = tail(&["letters", "--verbose", "--from", "3", "--limit", "1"]).good();
    let fields: Vec<&str> = line.text().trim_end().split('\t').collect();
    assert_eq!((fields[0], fields[1], fields[3], fields[4]), ("1", "3", "k", "c"));
    assert!(fields[2].starts_with("20") && fields[2].ends_with('Z'), "{}", fields[2]);

    let listed = run(server.command(["streams"]), b"").good();
    let [stream, shard] = listed.text().lines().collect::<Vec<_>>()[..] else { panic!("{}", listed.text()) };
    assert!(stream.starts_with("letters: stream 1, 1 shard, created 20"), "{stream}");
    assert_eq!(shard, "  shard 1: records 1 to 6, next 7");
    server.stop();
}

/// Bug: all that was put without a name, as of an unset variable, was taken for one producer's, whose first records were stored.
#[test]
fn a_producer_has_a_name() {
    let refused = run(millstream(["put", "any", "--producer", "", "monday"]), b"");
    assert!(!refused.status.success() && refused.err.contains("--producer"), "{}", refused.err);
}

#[test]
fn streams_are_made_once() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let create = |name: &str, shards: &str| run(server.command(["streams", "create", name, "--shards", shards]), b"");
    assert_eq!(create("wide", "3").good().text().lines().count(), 4);
    create("wide", "3").good();
    let other = create("wide", "4").refusal();
    assert!(other.contains("exists with 3 shards"), "{other}");
    for (name, shards, what) in
        [("a b", "1", "letters, digits"), ("none", "0", "1 to 10000"), ("many", "10001", "1 to 10000")]
    {
        let refused = create(name, shards).refusal();
        assert!(refused.contains(what), "{refused}");
    }
    create("narrow", "1").good();
    let listed = run(server.command(["streams", "list"]), b"").good();
    let names: Vec<&str> =
        listed.text().lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["narrow", "wide"]);
    server.stop();
}

#[test]
fn keys_come_from_a_column_and_spread() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let rows: String = (0..500).map(|row| format!("{row},key{},x\n", row % 50)).collect();
    let put = ["put", "rows", "--create", "4", "--quotas", "none", "--key-column", "2", "--verbose"];
    let placed = run(server.command(put), rows.as_bytes()).good();
    // One key, one shard; and fifty keys reach all four.
    let shards: Vec<&str> = placed.text().lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(shards.len(), 500);
    assert!((50..500).all(|row| shards[row] == shards[row - 50]));
    assert!(["1", "2", "3", "4"].iter().all(|shard| shards.contains(shard)), "{shards:?}");

    // A row without the column, and one that is too long: refused, the others are stored.
    let long = "x".repeat((10 << 20) + 1);
    let input = format!("a,b\nalone\n{long}\nc,d\n");
    let partly = run(server.command(["put", "rows", "--key-column", "2"]), input.as_bytes());
    assert_eq!(partly.status.code(), Some(1));
    assert!(partly.text().starts_with("2 records stored, 1 refused"), "{}", partly.text());
    assert!(
        partly.err.contains("record 2 is refused: it has no column 2") && partly.err.contains("record 3"),
        "{}",
        partly.err
    );
    server.stop();
}

#[test]
fn a_slow_producers_line_goes_at_once() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut command = server.command(["put", "slow", "--create", "1", "--verbose"]);
    let mut put = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (put.stdin.take().unwrap(), BufReader::new(put.stdout.take().unwrap()));
    for number in 1..=3 {
        writeln!(input, "line").unwrap();
        let mut told = String::new();
        // The input is still open: nothing but the line itself makes it go.
        output.read_line(&mut told).unwrap();
        assert_eq!(told, format!("{number} shard 1 sequence {number}\n"));
    }
    drop(input);
    assert!(wait(&mut put).success());
    server.stop();
}

#[test]
fn a_large_input_goes_in_order_and_comes_back() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let lines: Vec<u8> = (0..100_000_u32)
        .flat_map(|line| format!("{line} {}\n", "y".repeat(line as usize % 200)).into_bytes())
        .collect();
    let stored = run(server.command(["put", "long", "--create", "1", "--quotas", "none", "--key", "k"]), &lines).good();
    assert_eq!(stored.text(), "100000 records stored\n");
    assert!(run(server.command(["tail", "long"]), b"").good().out == lines);
    server.stop();
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let lines = "z".repeat(99).add_line().repeat(20_000);
    run(server.command(["put", "long", "--create", "1", "--quotas", "none"]), lines.as_bytes()).good();
    for more in [&[][..], &["--json"], &["--follow"], &["--follow", "--json"]] {
        let mut command = server.command(["tail", "long"]);
        let mut tail = command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(tail.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains(&"z".repeat(99)), "{first}");
        let mut complaint = String::new();
        let status = wait(&mut tail);
        std::io::Read::read_to_string(&mut tail.stderr.take().unwrap(), &mut complaint).unwrap();
        assert!(status.success() && complaint.is_empty(), "{more:?}: {status}: {complaint}");
    }
    server.stop();
}

/// The objects in these lines.
fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_says_all_of_a_record_and_what_is_no_text() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("odd", 1, Quotas::NONE).unwrap();
    let records: [(&[u8], &[u8]); 5] = [
        (b"k", b"plain"),
        ("\u{e9}\"".as_bytes(), "two\nlines, \u{1f980} and a \0".as_bytes()),
        (b"\xfe", b"key alone"),
        (b"data alone", b"\xff\0"),
        (b"none", b""),
    ];
    let mut batch = Batch::new();
    for (key, data) in records {
        assert!(batch.push(key, data).unwrap());
    }
    client.append(stream.stream, &batch).unwrap();

    let tail = |more: &[&str]| run(server.command(["tail", "odd"].into_iter().chain(more.iter().copied())), b"");
    let told = tail(&["--output", "json"]).good();
    let verbose = tail(&["--verbose", "--limit", "1"]).good();
    let arrival = verbose.text().split('\t').nth(2).unwrap();
    let arrival_ms = arrival.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let about = |sequence: u64| {
        let (shard, stream) = (stream.shards[0].shard.0, "odd");
        json!({"stream": stream, "shard": shard, "sequence": sequence, "arrival": arrival, "arrival_ms": arrival_ms})
    };
    let fields = [
        json!({"key": "k", "data": "plain"}),
        json!({"key": "\u{e9}\"", "data": "two\nlines, \u{1f980} and a \0"}),
        json!({"key_base64": "/g==", "data": "key alone"}),
        json!({"key": "data alone", "data_base64": "/wA="}),
        json!({"key": "none", "data": ""}),
    ];
    let expected = (1..).zip(fields).map(|(sequence, fields)| {
        let (mut object, Value::Object(fields)) = (about(sequence), fields) else { unreachable!() };
        object.as_object_mut().unwrap().extend(fields);
        object
    });
    assert_eq!(objects(told.text()), expected.collect::<Vec<_>>());
    // By its shorter name, as `inspect` has it.
    let first = told.text().lines().next().unwrap();
    assert_eq!(tail(&["--json", "--limit", "1"]).good().text(), format!("{first}\n"));
    assert!(tail(&["--json", "--output", "text"]).err.contains("cannot be used with"));
    assert!(tail(&["--output", "xml"]).err.contains("text, json"));

    // Followed, each line comes while the next one does not, and a reader that leaves is noticed at the next.
    let mut command = server.command(["tail", "odd", "--follow", "--from", "5", "--json"]);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || objects(&lines.next().unwrap().unwrap())[0]["data"].clone();
    assert_eq!(next(), "");
    for data in ["one", "two"] {
        store(&mut client, stream.stream, "k", [data]);
        assert_eq!(next(), data);
    }
    drop(lines);
    store(&mut client, stream.stream, "k", ["three"]);
    assert!(wait(&mut tail).success());
    server.stop();
}

trait AddLine {
    fn add_line(self) -> String;
}

impl AddLine for String {
    fn add_line(mut self) -> String {
        self.push('\n');
        self
    }
}

#[test]
fn no_server_is_said_in_one_line() {
    // Port 1 of the loopback: nobody listens there.
    for arguments in [&["streams"][..], &["put", "s", "x"], &["tail", "s"]] {
        let mut command = millstream(arguments.to_vec());
        command.args(["--native", "127.0.0.1:1"]);
        let line = run(command, b"").refusal();
        assert!(line.contains("no server answers at 127.0.0.1:1") && line.contains("millstream serve"), "{line}");
    }
}
