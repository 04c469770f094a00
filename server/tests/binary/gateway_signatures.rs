//! Who is heard over the Kinesis API where there are keys: who has signed, and nobody else.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use crate::gateway::{ask, connect};
use crate::rig::{PATIENCE, SMALL, Server, directory, millstream, refusal, run};
use crate::signing::{Request, Signer, credentials_file};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE+token/==";

fn keys() -> String {
    format!(
        "[[key]]\nid = \"AKIDEXAMPLE\"\nsecret = \"{SECRET}\"\nuser = \"alice\"\n\
         [[key]]\nid = \"ASIASESSION\"\nsecret = \"{SECRET}\"\nsession-token = \"{TOKEN}\"\n\
         [[key]]\nid = \"ASIAOVER\"\nsecret = \"{SECRET}\"\nsession-token = \"{TOKEN}\"\nexpires = \"2020-01-01T00:00:00Z\"\n"
    )
}

fn server(directory: &tempfile::TempDir, keys: &str) -> (Server, SocketAddr) {
    let file = credentials_file(directory.path(), keys);
    let more = ["--quotas", "none", "--credentials-file", file.to_str().unwrap()];
    let server = Server::start_with(&directory.path().join("data"), &more);
    let address = server.http.expect("the API is served");
    (server, address)
}

fn alice() -> Signer<'static> {
    Signer::new("AKIDEXAMPLE", SECRET)
}

#[test]
fn who_signs_is_heard() {
    let directory = directory();
    let (server, address) = server(&directory, &keys());
    let stream = json!({ "StreamName": "s", "ShardCount": 1 });
    alice().good(address, "CreateStream", &stream);
    let record = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "aGVsbG8=" });
    let session = Signer { key: "ASIASESSION", token: Some(TOKEN), ..alice() };
    for signer in [alice(), session] {
        for in_query in [false, true] {
            for off_s in if in_query { [-58, 298] } else { [-298, 298] } {
                Signer { in_query, off_s, ..signer }.good(address, "PutRecord", &record);
            }
        }
    }
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = alice().good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let page = session.good(address, "GetRecords", &json!({ "ShardIterator": iterator }));
    assert_eq!(page["Records"].as_array().unwrap().len(), 8);
    assert!(!server.log_text().contains(SECRET) && !server.log_text().contains(TOKEN));
    server.stop();
}

#[test]
fn who_does_not_is_told_what_is_wrong() {
    let directory = directory();
    let (mut server, address) = server(&directory, &keys());
    let (action, body) = ("ListStreams", json!({}));
    let refused = |signer: Signer<'_>, kind: &str, words: &str| {
        let (told, message) = signer.refused(address, action, &body);
        assert!(told == kind && message.contains(words), "{kind} {words}: {told} {message}");
    };
    let (invalid, unknown) = ("InvalidSignatureException", "UnrecognizedClientException");
    for in_query in [false, true] {
        let alice = Signer { in_query, ..alice() };
        let differs = "The request signature we calculated does not match the signature you provided.";
        refused(Signer { secret: "another", ..alice }, invalid, differs);
        let token = "The security token included in the request is invalid.";
        refused(Signer { key: "AKIDNOBODY", ..alice }, unknown, token);
        refused(alice.at("eu-west-1"), invalid, "scoped to a valid region, not 'eu-west-1'.");
        refused(Signer { service: "dynamodb", ..alice }, invalid, "scoped to correct service: 'kinesis'.");
        refused(Signer { off_s: 302, ..alice }, invalid, "Signature not yet current: ");
        refused(Signer { off_s: -302, ..alice }, invalid, "Signature expired: ");
        let session = Signer { key: "ASIASESSION", ..alice };
        refused(session, unknown, token);
        refused(Signer { token: Some("another"), ..session }, unknown, token);
        refused(Signer { token: Some(TOKEN), ..alice }, unknown, token);
        let over = "The security token included in the request is expired";
        refused(Signer { key: "ASIAOVER", token: Some(TOKEN), ..alice }, "ExpiredTokenException", over);
        let good = alice.request(action, &body);
        assert_eq!(good.ask(address).0, 200);
        for changed in [
            Request { body: b"{ }".to_vec(), ..good.clone() },
            good.with("x-amz-target", Some("Kinesis_20131202.DescribeLimits")),
            good.with("host", Some("there")),
            Request { query: format!("a=b&{}", good.query), ..good.clone() },
        ] {
            assert_eq!(changed.refused(address), (invalid.to_owned(), differs.to_owned() + REST));
        }
    }
    let good = alice().request(action, &body);
    let missing = ("MissingAuthenticationTokenException".to_owned(), "Missing Authentication Token".to_owned());
    assert_eq!(good.with("authorization", None).refused(address), missing);
    assert_eq!(good.with("authorization", Some("Bearer x")).refused(address), missing);
    let (kind, message) = good.with("x-amz-date", None).refused(address);
    assert!(
        kind == "IncompleteSignatureException" && message.contains("existence of either a 'X-Amz-Date'"),
        "{message}"
    );
    let twice = Request { query: Signer { in_query: true, ..alice() }.request(action, &body).query, ..good.clone() };
    let (kind, message) = twice.refused(address);
    assert!(kind == invalid && message.starts_with("Found both 'X-Amz-Algorithm'"), "{message}");
    // A body is hashed, whatever a client says that it has.
    let unsigned = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "Kinesis_20131202.ListStreams"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ];
    let mut unsigned = alice().signed(&unsigned, b"{}");
    assert_eq!(unsigned.ask(address).0, 200);
    unsigned.body = b"{ }".to_vec();
    assert_eq!(unsigned.refused(address).0, invalid);
    // Who is refused by the head alone hears so behind a large body as well.
    let large = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "A".repeat(8 << 20) });
    assert_eq!(Signer { key: "AKIDNOBODY", ..alice() }.refused(address, "PutRecord", &large).0, unknown);
    // SubscribeToShard is refused as all else, before there is a stream of events.
    let subscribe = json!({ "ConsumerARN": "x", "ShardId": "0", "StartingPosition": { "Type": "LATEST" } });
    let (kind, _) = Signer { secret: "another", ..alice() }.refused(address, "SubscribeToShard", &subscribe);
    assert_eq!(kind, invalid);
    server.assert_well();
    server.stop();
}

#[test]
fn hosts_and_dates_that_are_none_are_refused() {
    let directory = directory();
    let (mut server, address) = server(&directory, &keys());
    let good = alice().request("ListStreams", &json!({}));
    let (incomplete, invalid) = ("IncompleteSignatureException", "InvalidSignatureException");
    let twice = |name: &str, value: &str| {
        let mut request = good.clone();
        request.headers.push((name.to_owned(), value.to_owned()));
        request
    };
    let long = "a".repeat(50_000);
    let no_date = "Date must be in ISO-8601 'basic format'";
    let differs = "The request signature we calculated does not match";
    let other_date = |date| good.with("x-amz-date", None).with("date", Some(date));
    for (request, kind, words) in [
        (good.with("host", None), invalid, differs),
        (good.with("host", Some("")), invalid, differs),
        (good.with("host", Some(&long)), invalid, differs),
        (good.with("host", Some("a b, \u{e4}/")), invalid, differs),
        (twice("host", "here"), invalid, differs),
        (twice("host", "there"), invalid, differs),
        (good.with("x-amz-date", Some("yesterday")), incomplete, no_date),
        (good.with("x-amz-date", Some("")), incomplete, no_date),
        (good.with("x-amz-date", Some(&long)), incomplete, no_date),
        (good.with("x-amz-date", Some("20261332T256199Z")), incomplete, no_date),
        (good.with("x-amz-date", Some("2026-01-01T00:00:00Z")), incomplete, no_date),
        (good.with("x-amz-date", Some("00000101T000000Z")), invalid, "Date in Credential scope does not match"),
        (good.with("x-amz-date", Some("99991231T235959Z")), incomplete, no_date),
        (twice("x-amz-date", "yesterday"), invalid, differs),
        (other_date("yesterday"), incomplete, no_date),
        (other_date("Mon, 32 Feb 2026 25:00:00 GMT"), incomplete, no_date),
    ] {
        let (told, message) = request.refused(address);
        assert!(told == kind && message.contains(words), "{words}: {told} {message}");
    }
    let in_query = Signer { in_query: true, ..alice() }.request("ListStreams", &json!({}));
    let (before, after) = in_query.query.split_once("X-Amz-Date=").unwrap();
    let after = after.split_once('&').unwrap().1;
    for date in ["yesterday", "%00", &long] {
        let query = format!("{before}X-Amz-Date={date}&{after}");
        let (kind, message) = Request { query, ..in_query.clone() }.refused(address);
        assert!(kind == incomplete && message.contains(no_date), "{kind} {message}");
    }
    assert_eq!(good.ask(address).0, 200);
    server.assert_well();
    server.stop();
}

/// Over HTTP/2 a request may say twice where it goes. What counts is what was signed: the header, or the other where there is none.
#[test]
fn a_host_that_was_not_signed_is_refused_over_http_2_too() {
    let directory = directory();
    let (server, address) = server(&directory, &keys());
    let ask = |authority: &str, host: Option<&str>| {
        let signed = alice().request("ListStreams", &json!({})).with("host", host);
        let request = http::Request::post(format!("http://{authority}/"));
        let request = signed.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = request.body(()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let (answer, mut body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
            body.send_data(signed.body.into(), true).unwrap();
            answer.await.unwrap().status().as_u16()
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, status).await }).unwrap()
    };
    for (authority, host, status) in [
        ("here", None, 200),
        ("here", Some("here"), 200),
        ("there", Some("here"), 200),
        ("there", None, 400),
        ("here", Some("there"), 400),
        ("here", Some(""), 400),
    ] {
        assert_eq!(ask(authority, host), status, "{authority} {host:?}");
    }
    server.stop();
}

const REST: &str =
    " Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

#[test]
fn errors_are_told_in_the_clients_codec() {
    let directory = directory();
    let (server, address) = server(&directory, &keys());
    let headers = [("content-type", "application/x-amz-cbor-1.1"), ("x-amz-target", "Kinesis_20131202.ListStreams")];
    let (status, _) = alice().signed(&headers, b"\xa0").send(address);
    assert_eq!(status, 200);
    for (request, kind) in [
        (Signer { secret: "another", ..alice() }.signed(&headers, b"\xa0"), "InvalidSignatureException"),
        (alice().signed(&headers, b"\xa0").with("authorization", None), "MissingAuthenticationTokenException"),
    ] {
        let (status, body) = request.send(address);
        let error: ciborium::Value = ciborium::from_reader(&body[..]).unwrap();
        let told = error.as_map().unwrap().iter().find(|(name, _)| name.as_text() == Some("__type"));
        assert_eq!((status, told.unwrap().1.as_text()), (400, Some(kind)));
    }
    server.stop();
}

/// Noise of all kinds and lengths costs an answer, and no more memory than a head has bytes.
#[test]
fn no_authorization_breaks_it() {
    let directory = directory();
    let (mut server, address) = server(&directory, &keys());
    let good = alice().request("ListStreams", &json!({}));
    let whole = good.headers.iter().find(|(name, _)| name == "authorization").unwrap().1.clone();
    let mut headers: Vec<String> = (0..whole.len()).step_by(7).map(|at| whole[..at].to_owned()).collect();
    for at in (0..whole.len()).step_by(11) {
        headers.push(format!("{}\u{e4}{}", &whole[..at], &whole[at + 1..]));
    }
    let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE";
    let many = "host;".repeat(10_000);
    headers.extend([
        "/".repeat(60_000),
        "AWS4-".repeat(10_000),
        format!("{scope}{}", "/".repeat(50_000)),
        format!("{scope}/20150830/us-east-1/kinesis/aws4_request, Signature=0, SignedHeaders={many}"),
        format!("{scope}/a/b/c/d, Signature={}, SignedHeaders=host", "0".repeat(50_000)),
        format!("AWS4-HMAC-SHA256 {}", "Credential=a,".repeat(4_000)),
        format!("AWS4-HMAC-SHA256 {}", "=".repeat(50_000)),
        format!("AWS4-HMAC-SHA256 {}", ", ".repeat(25_000)),
    ]);
    for header in &headers {
        let (status, answer) = good.with("authorization", Some(header)).ask(address);
        assert!((400..500).contains(&status), "{} bytes: {status} {answer}", header.len());
    }
    let mut queries: Vec<String> = vec!["&".repeat(50_000), "%".repeat(50_000), "X-Amz-Algorithm&".repeat(3_000)];
    let presigned = Signer { in_query: true, ..alice() }.request("ListStreams", &json!({})).query;
    queries.extend((0..presigned.len()).step_by(13).map(|at| presigned[..at].to_owned()));
    queries.extend((0..presigned.len()).step_by(17).map(|at| format!("{}x{}", &presigned[..at], &presigned[at + 1..])));
    for query in queries {
        let request = Request { query, ..good.with("authorization", None) };
        let (status, answer) = request.ask(address);
        assert!((400..500).contains(&status), "{}: {status} {answer}", request.query);
    }
    assert_eq!(good.ask(address).0, 200);
    let peak = server.peak_mib();
    assert!(peak < 256, "{peak} MiB were resident");
    server.assert_well();
    server.stop();
}

#[test]
fn keys_are_taken_from_a_file_that_changes() {
    let directory = directory();
    let (server, address) = server(&directory, &keys());
    let status = |signer: Signer<'_>| signer.ask(address, "ListStreams", &json!({})).0;
    let bob = Signer::new("AKIDBOB", "bobs secret");
    assert_eq!((status(alice()), status(bob)), (200, 400));
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: {}", server.log_text());
            std::thread::yield_now();
        }
    };
    let bobs = "[[key]]\nid = \"AKIDBOB\"\nsecret = \"bobs secret\"\n";
    credentials_file(directory.path(), bobs);
    until("bob is not heard", &|| status(bob) == 200);
    assert_eq!(status(alice()), 400, "her key is gone");
    // What is of no use is told, and changes nothing.
    credentials_file(directory.path(), "[[key]]\nid = \"AKIDBOB\"\nsecrte = \"bobs secret\"\n");
    until("no word of it", &|| server.log_text().contains("the keys stay as they were"));
    assert!(server.log_text().contains("unknown field `secrte`"), "{}", server.log_text());
    assert_eq!((status(alice()), status(bob)), (400, 200));
    let file = credentials_file(directory.path(), &keys());
    until("alice is not heard", &|| status(alice()) == 200);
    std::fs::remove_file(file).unwrap();
    until("no word of it", &|| server.log_text().contains("can't be read"));
    assert_eq!((status(alice()), status(bob)), (200, 400));
    assert!(!server.log_text().contains("bobs secret"));
    server.stop();
}

#[test]
fn beyond_loopback_keys_are_needed() {
    let directory = directory();
    let data = directory.path().join("data");
    let serve = |more: &[&str]| {
        let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "0.0.0.0:0", "--data"]);
        command.arg(&data).args(SMALL).args(more);
        command
    };
    let line = run(serve(&[]), b"").refusal();
    assert!(line.contains("--http 0.0.0.0:0 is not on loopback") && line.contains("--credentials-file FILE"), "{line}");
    assert!(!data.exists());
    let file = credentials_file(directory.path(), &keys());
    let mut command = serve(&[]);
    // By the environment, as any setting.
    command.env("MILLSTREAM_CREDENTIALS_FILE", file);
    let server = Server::start_command(&data, command);
    let address = SocketAddr::from(([127, 0, 0, 1], server.http.unwrap().port()));
    assert_eq!(ask(address, "ListStreams", &json!({})).1["__type"], "MissingAuthenticationTokenException");
    alice().good(address, "ListStreams", &json!({}));
    server.stop();
}

#[test]
fn a_file_of_keys_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let data = directory.path().join("data");
    let file = credentials_file(directory.path(), &keys());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let of = |file: &str| refusal(&data, &["--credentials-file", file]);
    let line = of(file.to_str().unwrap());
    assert!(line.contains("may be read by others") && line.contains("chmod 600"), "{line}");
    let line = of("/nowhere");
    assert!(line.contains("the credentials file /nowhere can't be read"), "{line}");
    let file = credentials_file(directory.path(), "[[key]]\nid = \"a\"\n");
    let line = of(file.to_str().unwrap());
    assert!(line.contains("line 1: missing field `secret`"), "{line}");
    assert!(!data.exists());
}

/// A page in a browser may ask, and see what it is answered, where a request is worth its signature; where none are verified, any
/// page that a person looks at could write to the server on that person's machine.
#[test]
fn pages_are_let_in_where_signatures_are_verified() {
    const ASKS: &str = "OPTIONS / HTTP/1.1\r\nhost: here\r\norigin: https://example.com\r\naccess-control-request-method: POST\r\n\
                        access-control-request-headers: authorization,x-amz-target\r\n";
    const SENDS: &str = "POST / HTTP/1.1\r\nhost: here\r\norigin: https://example.com\r\ncontent-length: 2\r\n\
                         content-type: application/x-amz-json-1.1\r\nx-amz-target: Kinesis_20131202.ListStreams\r\n";
    let head = |address: SocketAddr, head: &str| {
        let mut stream = connect(address);
        stream.write_all(format!("{head}connection: close\r\n\r\n{{}}").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said.split("\r\n\r\n").next().unwrap().to_ascii_lowercase()
    };
    let with_keys = directory();
    let (closed, address) = server(&with_keys, &keys());
    let told = head(address, ASKS);
    assert!(told.starts_with("http/1.1 200 ") && told.contains("content-length: 0"), "{told}");
    for line in ["origin: *", "methods: post", "headers: authorization,x-amz-target"] {
        assert!(told.contains(&format!("\r\naccess-control-allow-{line}")), "{told}");
    }
    assert!(told.contains("\r\naccess-control-max-age: 172800") && told.contains("\r\nx-amzn-requestid: "), "{told}");
    let told = head(address, SENDS);
    assert!(told.starts_with("http/1.1 400 ") && told.contains("\r\naccess-control-allow-origin: *"), "{told}");
    assert!(told.contains("\r\naccess-control-expose-headers: x-amzn-requestid,"), "{told}");
    // Who is no page is told nothing of that.
    let plain = SENDS.replace("origin: https://example.com\r\n", "");
    assert!(!head(address, &plain).contains("access-control"));
    closed.stop();
    let without = directory();
    let (open, address) = crate::gateway::server(&without.path().join("data"));
    // A browser sends forms without asking first: they are refused as all that comes from a page.
    let form = SENDS.replace("application/x-amz-json-1.1", "application/x-www-form-urlencoded");
    for said in [ASKS, SENDS, &form].map(|said| head(address, said)) {
        assert!(said.starts_with("http/1.1 400 ") && !said.contains("access-control"), "{said}");
    }
    assert!(head(address, &plain).starts_with("http/1.1 200 "));
    open.stop();
}
