//! Appends the same input under the same name as often as it is run: each record is stored once, whatever was interrupted before.
//!
//! `cargo run -p client --example retry -- 127.0.0.1:4570`

use std::error::Error;
use std::net::SocketAddr;

use client::{Appended, Client, Fault, Options, ProducerOptions, Quotas};

/// Appends the input. Returns where its records are.
pub(crate) async fn run(address: SocketAddr) -> Result<Vec<Appended>, Box<dyn Error>> {
    let client = Client::connect(Options::new(address)).await?;
    client.create_stream("orders", 2, Quotas::NONE).await?;
    let producer = client.producer("orders", ProducerOptions::named("orders of may")).await?;
    let mut stored = Vec::new();
    for number in 1..=20 {
        let (key, data) = (format!("customer {}", number % 3), format!("order {number}"));
        // What passes with time was tried again for as long as `Options::patience` says.
        match producer.append(key.as_bytes(), data.as_bytes()).await {
            Ok(appended) => stored.push(appended),
            Err(error) if error.fault() == Fault::Caller => return Err(error.into()),
            Err(error) => return Err(format!("{error}; run this again, nothing is stored twice").into()),
        }
    }
    producer.close().await?;
    Ok(stored)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4570".to_owned());
    for appended in run(address.parse()?).await? {
        println!("shard {} sequence {:?}", appended.shard, appended.sequence);
    }
    Ok(())
}
