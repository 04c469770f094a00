//! The service's own SDK for Rust against the real server: what `server/sdk/rust` does, here too.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};

use crate::gateway::arn;
use crate::gateway_large::{KEY as RECORD_KEY, LARGEST, bytes_of};
use crate::rig::{Server, directory};
use crate::signing::credentials_file;

#[path = "../../sdk/rust/src/tour/mod.rs"]
mod tour;

const KEY: (&str, &str) = ("AKIDEXAMPLE", "s3cret");

fn client(server: &Server) -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    tour::client(&format!("http://{}", server.http.unwrap()), KEY, http)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_finds_every_record_before_and_after_a_kill_and_meets_the_limits() {
    let directory = directory();
    let data = directory.path().join("data");
    let (id, secret) = KEY;
    let file = credentials_file(directory.path(), &format!("[[key]]\nid = \"{id}\"\nsecret = \"{secret}\"\n"));
    let start = |quotas| Server::start_with(&data, &["--quotas", quotas, "--credentials-file", file.to_str().unwrap()]);

    let server = start("none");
    tour::all(&client(&server)).await.unwrap();
    server.kill();

    let server = start("service");
    tour::again(&client(&server)).await.unwrap();
    tour::beyond_limits(&client(&server)).await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_puts_and_reads_the_largest_record_and_no_larger_one() {
    let directory = directory();
    let server = Server::start_with(&directory.path().join("data"), &["--quotas", "none"]);
    let client = client(&server);
    client.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    client.update_max_record_size().stream_arn(arn("s")).max_record_size_in_kib(10_240).send().await.unwrap();
    let put =
        |data: Vec<u8>| client.put_record().stream_name("s").data(Blob::new(data)).partition_key(RECORD_KEY).send();
    let largest = bytes_of(LARGEST);
    let stored = put(largest.clone()).await.unwrap();
    let entry = PutRecordsRequestEntry::builder().data(Blob::new(largest.clone())).partition_key(RECORD_KEY);
    let stored_beside = client.put_records().stream_name("s").records(entry.build().unwrap()).send().await.unwrap();
    assert_eq!(stored_beside.failed_record_count(), Some(0));

    // With its key it is a byte longer than the stream takes; by itself it is one longer than any may be.
    let refused = put(bytes_of(LARGEST + 1)).await.unwrap_err().into_service_error();
    let told = refused.message().unwrap_or_default();
    assert!(refused.is_invalid_argument_exception() && told.contains("at most 10485760 bytes"), "{refused:?}");
    let refused = put(bytes_of((10 << 20) + 1)).await.unwrap_err().into_service_error();
    let told = "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=10485761 cap=10485761]' at 'data' failed to \
                satisfy constraint: Member must have length less than or equal to 10485760";
    assert_eq!((refused.code(), refused.message()), (Some("ValidationException"), Some(told)));

    let start = client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
    let start = start.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    let mut iterator = start.shard_iterator;
    let mut numbers = Vec::new();
    while numbers.len() < 2 {
        let page = client.get_records().set_shard_iterator(iterator).send().await.unwrap();
        for record in page.records() {
            assert!(record.data().as_ref() == largest && record.partition_key() == Some(RECORD_KEY), "it is another");
            numbers.push(record.sequence_number().to_owned());
        }
        iterator = page.next_shard_iterator;
    }
    let beside = stored_beside.records()[0].sequence_number().unwrap();
    assert_eq!(numbers, [stored.sequence_number(), beside]);
    server.stop();
}
