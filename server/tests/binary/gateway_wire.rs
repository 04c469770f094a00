//! How the API is carried: CBOR beside JSON, and HTTP/2 beside HTTP/1.1, on one port.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use ciborium::{Value, cbor};
use serde_json::json;

use crate::gateway::{ask_in, ask_on, connect, good};
use crate::rig::{PATIENCE, Server, directory};

/// What every connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn ask(address: SocketAddr, action: &str, body: &Value) -> (u16, Value) {
    let mut bytes = Vec::new();
    ciborium::into_writer(body, &mut bytes).unwrap();
    let (status, bytes) = ask_in(&mut connect(address), "cbor", action, &bytes);
    (status, if bytes.is_empty() { Value::Null } else { ciborium::from_reader(&bytes[..]).unwrap() })
}

fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    let members = value.as_map().unwrap();
    &members.iter().find(|(key, _)| key.as_text() == Some(name)).unwrap_or_else(|| panic!("no {name} in {value:?}")).1
}

#[test]
fn records_in_cbor_are_those_in_json() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let address = server.http.unwrap();
    let created = ask(address, "CreateStream", &cbor!({ "StreamName" => "s", "ShardCount" => 1 }).unwrap());
    assert_eq!(created, (200, Value::Null));
    let data = Value::Bytes(vec![0, 1, 255]);
    let record = cbor!({ "StreamName" => "s", "PartitionKey" => "k", "Data" => data.clone() }).unwrap();
    let (status, put) = ask(address, "PutRecord", &record);
    assert_eq!((status, member(&put, "ShardId")), (200, &Value::from("shardId-000000000000")));
    let start = |kind: &'static str| vec![("StreamName", "s"), ("ShardId", "0"), ("ShardIteratorType", kind)];
    let of = |members: Vec<(&'static str, &str)>| {
        Value::Map(members.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    };
    let (_, iterator) = ask(address, "GetShardIterator", &of(start("TRIM_HORIZON")));
    let (status, page) =
        ask(address, "GetRecords", &of(vec![("ShardIterator", member(&iterator, "ShardIterator").as_text().unwrap())]));
    assert_eq!(status, 200);
    let record = &member(&page, "Records").as_array().unwrap()[0];
    assert_eq!((member(record, "Data"), member(record, "PartitionKey")), (&data, &"k".into()));
    let Value::Tag(1, time) = member(record, "ApproximateArrivalTimestamp") else { panic!("{record:?}") };
    let ms = time.as_integer().and_then(|ms| u64::try_from(ms).ok()).expect("whole milliseconds");
    // The same in JSON.
    let in_json = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(address, "GetShardIterator", &in_json)["ShardIterator"].clone();
    let page = good(address, "GetRecords", &json!({ "ShardIterator": iterator }));
    let record = &page["Records"][0];
    assert_eq!(record["Data"], "AAH/");
    assert_eq!((record["ApproximateArrivalTimestamp"].as_f64().unwrap() * 1e3).round() as u64, ms);
    // From a time, which is tagged as well.
    let mut since = of(start("AT_TIMESTAMP"));
    since.as_map_mut().unwrap().push(("Timestamp".into(), Value::Tag(1, Box::new(ms.into()))));
    let (status, _) = ask(address, "GetShardIterator", &since);
    assert_eq!(status, 200);
    let (status, error) = ask(address, "DeleteStream", &cbor!({ "StreamName" => "nowhere" }).unwrap());
    assert_eq!((status, member(&error, "__type")), (400, &"ResourceNotFoundException".into()));
    server.stop();
}

/// Many requests at once on one connection of HTTP/2, beside those of HTTP/1.1.
/// However many pieces it has, an answer with records is one body, and the connection goes on after it.
#[test]
fn records_of_any_number_come_in_one_answer() {
    let directory = directory();
    let server = Server::start_with(&directory.path().join("data"), &["--quotas", "none"]);
    let address = server.http.unwrap();
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let record = |number: usize| json!({ "PartitionKey": format!("k{number}"), "Data": "QUJD".repeat(number) });
    let records: Vec<_> = (0..400).map(record).collect();
    good(address, "PutRecords", &json!({ "StreamName": "s", "Records": records }));
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = &good(address, "GetShardIterator", &start)["ShardIterator"];
    let mut stream = connect(address);
    for limit in [400, 1, 399, 10_000, 60] {
        let (status, page) = ask_on(&mut stream, "GetRecords", &json!({ "ShardIterator": iterator, "Limit": limit }));
        let told = page["Records"].as_array().expect("there are some");
        let expected = &records[..limit.min(400)];
        let same = told
            .iter()
            .zip(expected)
            .all(|(told, put)| ["PartitionKey", "Data"].iter().all(|&name| told[name] == put[name]));
        assert!(status == 200 && told.len() == expected.len() && same, "{limit}: {status} {} records", told.len());
        assert!(page["NextShardIterator"].is_string() && page["MillisBehindLatest"].is_u64());
        let whole = cbor!({ "ShardIterator" => iterator.as_str(), "Limit" => limit }).unwrap();
        let (status, page) = ask(address, "GetRecords", &whole);
        let told = member(&page, "Records").as_array().unwrap();
        let bytes: usize = told.iter().map(|record| member(record, "Data").as_bytes().unwrap().len()).sum();
        assert_eq!(
            (status, told.len(), bytes),
            (200, expected.len(), (0..expected.len()).map(|number| 3 * number).sum())
        );
    }
}

#[test]
fn http_2_is_spoken_by_prior_knowledge_on_the_same_port() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let address = server.http.unwrap();
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let requests = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for number in 0..100 {
            let request = http::Request::post(format!("http://{address}/"))
                .header("content-type", "application/x-amz-json-1.1")
                .header("x-amz-target", "Kinesis_20131202.PutRecord");
            sender = sender.ready().await.unwrap();
            let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            let record = json!({ "StreamName": "s", "PartitionKey": format!("{number}"), "Data": "" });
            body.send_data(record.to_string().into(), true).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            let body = answer.into_body().data().await.unwrap().unwrap();
            assert!(String::from_utf8_lossy(&body).contains("SequenceNumber"));
        }
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, requests).await }).unwrap();
    server.stop();
}

#[test]
fn what_is_no_http_2_ends_its_connection_and_nothing_else() {
    let directory = directory();
    let mut server = Server::start(&directory.path().join("data"));
    let address = server.http.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let cases: [&[u8]; 4] = [
        b"not a frame, and longer than any",
        // A frame of 16 MiB less one.
        &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1],
        // Data of a stream that was not opened.
        &[0, 0, 1, 0, 1, 0, 0, 0, 5, 0],
        // A window that overflows.
        &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
    ];
    for bytes in cases {
        let mut stream = connect(address);
        let _ = stream.write_all(&[PREFACE, &settings, bytes].concat());
        let mut said = Vec::new();
        // It says what is wrong, and hangs up.
        let ended = stream.read_to_end(&mut said);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock), "{bytes:?}");
    }
    // A flood of pings is answered or ended; the server is well all the same.
    let mut flood = connect(address);
    flood.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    flood.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
    let _ = flood.write_all(&[PREFACE, &settings, &ping.repeat(100_000)].concat());
    server.assert_well();
    assert_eq!(good(address, "ListStreams", &json!({}))["StreamNames"], json!([]));
}
