//! Appends a hundred records, many under way at a time, and waits until each is durable.
//!
//! `cargo run -p client --example produce -- 127.0.0.1:4570`

use std::error::Error;
use std::net::SocketAddr;

use client::{Client, Options, ProducerOptions, Quotas};

/// Appends the records. Returns how many are durable.
pub(crate) async fn run(address: SocketAddr) -> Result<usize, Box<dyn Error>> {
    let client = Client::connect(Options::new(address)).await?;
    client.create_stream("sensors", 2, Quotas::NONE).await?;
    let producer = client.producer("sensors", ProducerOptions::default()).await?;
    let mut pending = Vec::new();
    for number in 0..100 {
        let (key, data) = (format!("sensor {}", number % 10), format!("measurement {number}"));
        // Waits for room only; the server's answers are waited for below.
        pending.push(producer.send(key.as_bytes(), data.as_bytes()).await?);
    }
    let mut durable = 0;
    for record in pending {
        record.await?;
        durable += 1;
    }
    producer.close().await?;
    Ok(durable)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4570".to_owned());
    println!("{} records are durable", run(address.parse()?).await?);
    Ok(())
}
