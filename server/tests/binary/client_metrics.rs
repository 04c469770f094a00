//! What clients measure of themselves: taken in as CloudWatch takes it, in its three writings, and told where the server is watched.

use std::io::Write;
use std::net::SocketAddr;

use ciborium::cbor;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::admin::samples;
use crate::gateway::{answer, connect, send_head, send_to};
use crate::rig::{Server, directory};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
const JSON: (&str, &str) = ("content-type", "application/x-amz-json-1.0");
const CBOR: (&str, &str) = ("content-type", "application/cbor");
const PROTOCOL: (&str, &str) = ("smithy-protocol", "rpc-v2-cbor");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
const TARGET: (&str, &str) = ("x-amz-target", "GraniteServiceVersion20100801.PutMetricData");
/// As every client does: a form is told by what it is signed for.
const SIGNED: (&str, &str) = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/monitoring/aws4_request, SignedHeaders=host, Signature=0",
);
const PATH: &str = "/service/GraniteServiceVersion20100801/operation/PutMetricData";

fn ask(api: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = connect(api);
    send_to(&mut stream, ("POST", path), &[headers, &[SIGNED]].concat(), body);
    answer(&mut stream)
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn json(value: f64) -> Vec<u8> {
    serde_json::json!({ "Namespace": "app", "MetricData": [
        { "MetricName": "Records", "Unit": "Count", "Value": value, "Dimensions": [{ "Name": "ShardId", "Value": "\"1\"" }] },
    ]})
    .to_string()
    .into_bytes()
}

#[test]
fn all_writings_add_up() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let api = server.http.unwrap();
    let form = b"Action=PutMetricData&Version=2010-08-01&Namespace=app&MetricData.member.1.MetricName=Records\
        &MetricData.member.1.Unit=Count&MetricData.member.1.StatisticValues.SampleCount=3\
        &MetricData.member.1.StatisticValues.Sum=9&MetricData.member.1.StatisticValues.Minimum=1\
        &MetricData.member.1.StatisticValues.Maximum=5&MetricData.member.1.Dimensions.member.1.Name=ShardId\
        &MetricData.member.1.Dimensions.member.1.Value=%221%22";
    let mut cbor = Vec::new();
    let data = cbor!({ "Namespace" => "app", "MetricData" => [{ "MetricName" => "Records", "Unit" => "Count",
        "Values" => [4.0, 6.0], "Counts" => [1.0, 2.0], "Dimensions" => [{ "Name" => "ShardId", "Value" => "\"1\"" }] }] });
    ciborium::into_writer(&data.unwrap(), &mut cbor).unwrap();
    let (status, body) = ask(api, "/", &[FORM], form);
    let body = String::from_utf8(body).unwrap();
    assert!(
        status == 200 && body.starts_with("<PutMetricDataResponse") && body.contains("<RequestId>"),
        "{status} {body}"
    );
    let in_json = ask(api, "/", &[JSON, TARGET], &json(2.5));
    assert_eq!((in_json.0, in_json.1.as_slice()), (200, &b"{}"[..]));
    let in_cbor = ask(api, PATH, &[CBOR, PROTOCOL, GZIP], &packed(&cbor));
    assert_eq!((in_cbor.0, in_cbor.1.as_slice()), (200, &b"\xa0"[..]));
    let told = samples(&server);
    let labels = "{namespace=\"app\",metric=\"Records\",unit=\"Count\",dimension_ShardId=\"\\\"1\\\"\"}";
    let value = |family: &str| told[&format!("millstream_client_metric_{family}{labels}")];
    let all = ["samples_total", "sum", "last", "last_min", "last_max"].map(value);
    assert_eq!(all, [7.0, 27.5, 16.0 / 3.0, 4.0, 6.0]);
    let counted = "{action=\"GraniteServiceVersion20100801.PutMetricData\",status=\"200\"}";
    assert_eq!(told[&format!("millstream_http_requests_total{counted}")], 3.0);
}

#[test]
fn what_can_not_be_taken_is_told_in_the_writing_it_came_in() {
    let directory = directory();
    let mut server = Server::start(&directory.path().join("data"));
    let api = server.http.unwrap();
    // 64 MiB in 64 KiB; what is no gzip; what is cut off.
    let bomb = packed(&vec![b' '; 64 << 20]);
    let cut = &packed(&json(1.0))[..40];
    // Depth, and a length that is only claimed.
    let deep_json = [&b"{\"x\":"[..], &[b'['; 30_000]].concat();
    let deep_cbor = [&b"\xa1\x61x"[..], &[0x81; 30_000]].concat();
    let claimed = b"\xa1\x6aMetricData\x9b\x7f\xff\xff\xff\xff\xff\xff\xff";
    let deep_form = format!("Action=PutMetricData&MetricData{}=1", ".member".repeat(30_000)).into_bytes();
    let other = ("x-amz-target", "GraniteServiceVersion20100801.ListMetrics");
    for (path, headers, body, status, words) in [
        ("/", &[JSON, TARGET, GZIP][..], &bomb[..], 413, "RequestEntityTooLargeException"),
        (PATH, &[CBOR, PROTOCOL, GZIP], &bomb, 413, "RequestEntityTooLargeException"),
        ("/", &[FORM, GZIP], &bomb, 413, "<Code>RequestEntityTooLarge</Code>"),
        ("/", &[JSON, TARGET, GZIP], b"no gzip", 400, "SerializationException"),
        ("/", &[JSON, TARGET, GZIP], cut, 400, "SerializationException"),
        ("/", &[JSON, TARGET, ("content-encoding", "br")], b"{}", 400, "SerializationException"),
        ("/", &[JSON, TARGET], b"{", 400, "SerializationException"),
        ("/", &[JSON, TARGET], b"{}", 400, "InvalidParameterValueException"),
        (PATH, &[CBOR, PROTOCOL], b"\xa0", 400, "InvalidParameterValueException"),
        (PATH, &[CBOR, PROTOCOL], b"\xbf", 400, "SerializationException"),
        ("/", &[FORM], b"Action=PutMetricData&Namespace=%3C", 400, "<Code>InvalidParameterValue</Code>"),
        ("/", &[FORM], b"Action=PutMetricData&A=1&A=2", 400, "<Code>Serialization</Code>"),
        ("/", &[JSON, TARGET], &deep_json, 400, "SerializationException"),
        (PATH, &[CBOR, PROTOCOL], &deep_cbor, 400, "SerializationException"),
        (PATH, &[CBOR, PROTOCOL], claimed, 400, "SerializationException"),
        ("/", &[FORM], &deep_form, 400, "<Code>Serialization</Code>"),
        ("/", &[FORM], b"Action=ListMetrics", 400, "<Code>UnknownOperation</Code>"),
        ("/", &[FORM], b"", 400, "<Code>UnknownOperation</Code>"),
        ("/", &[JSON, other], b"{}", 400, "UnknownOperationException"),
        (
            "/service/GraniteServiceVersion20100801/operation/ListMetrics",
            &[CBOR, PROTOCOL],
            b"\xa0",
            400,
            "UnknownOperation",
        ),
    ] {
        let (told, body) = ask(api, path, headers, body);
        let body = String::from_utf8_lossy(&body);
        assert!(told == status && body.contains(words), "{path} {headers:?}: {told} {body}");
    }
    // It is refused before it is sent.
    let mut stream = connect(api);
    send_head(&mut stream, ("POST", "/"), &[JSON, TARGET], (1 << 20) + 1);
    assert_eq!(answer(&mut stream).0, 413);
    let told = samples(&server);
    assert!(!told.keys().any(|name| name.starts_with("millstream_client_metric_")), "{told:?}");
    server.assert_well();
}
