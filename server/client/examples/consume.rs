//! Takes a stream's records as they become durable, of all of its shards at once, and of what they are split or merged into.
//!
//! `cargo run -p client --example consume -- 127.0.0.1:4570`

use std::error::Error;
use std::net::SocketAddr;

use client::{Client, Options, Record, StreamStart, SubscribeError};

/// Returns the first `count` records that come.
pub(crate) async fn run(address: SocketAddr, count: usize) -> Result<Vec<Record>, Box<dyn Error>> {
    let client = Client::connect(Options::new(address)).await?;
    let mut subscription = client.subscribe_stream("sensors", StreamStart::Oldest).await?;
    let mut records = Vec::new();
    while records.len() < count {
        match subscription.next().await {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return Err("no shard is left".into()),
            Err(SubscribeError::Damaged { shard, numbers, .. }) => {
                eprintln!("{} to before {} of shard {shard} are damaged, and passed over", numbers.start, numbers.end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(records)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4570".to_owned());
    for record in run(address.parse()?, 100).await? {
        println!("{}\t{}", String::from_utf8_lossy(&record.key), String::from_utf8_lossy(&record.data));
    }
    Ok(())
}
