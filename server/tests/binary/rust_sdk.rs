//! The service's own SDK for Rust against the real server: what `server/sdk/rust` does, here too.

use aws_sdk_kinesis::Client;

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
