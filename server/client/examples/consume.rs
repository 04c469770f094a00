//! Takes a stream's records as they become durable, of all of its shards at once, and of what they are split or merged into.
//!
//! `cargo run -p client --example consume -- 127.0.0.1:4570`

use std::collections::HashSet;
use std::error::Error;
use std::net::SocketAddr;

use client::{Client, Options, Record, Sequence, ShardId, SubscribeError};
use tokio::sync::mpsc::{Sender, channel};

/// What a shard has to tell.
enum Told {
    Record(Record),
    /// It has ended, and goes on in these.
    Ended(Vec<ShardId>),
    Failed(Box<dyn Error + Send + Sync>),
}

/// Returns the first `count` records that come.
pub(crate) async fn run(address: SocketAddr, count: usize) -> Result<Vec<Record>, Box<dyn Error>> {
    let client = Client::connect(Options::new(address)).await?;
    let (sender, mut told) = channel(100);
    let mut followed = HashSet::new();
    for shard in client.describe_stream("sensors").await?.shards {
        if followed.insert(shard.shard) {
            tokio::spawn(follow(client.clone(), shard.shard, sender.clone()));
        }
    }
    let mut records = Vec::new();
    while records.len() < count {
        match told.recv().await.ok_or("nobody follows any shard")? {
            Told::Record(record) => records.push(record),
            // The child of two merged shards is named by both.
            Told::Ended(children) => children.into_iter().filter(|child| followed.insert(*child)).for_each(|child| {
                tokio::spawn(follow(client.clone(), child, sender.clone()));
            }),
            Told::Failed(error) => return Err(error),
        }
    }
    Ok(records)
}

/// Tells all of a shard, as long as somebody listens.
async fn follow(client: Client, shard: ShardId, sender: Sender<Told>) {
    let mut subscription = match client.subscribe("sensors", shard, Sequence(1)).await {
        Ok(subscription) => subscription,
        Err(error) => return drop(sender.send(Told::Failed(error.into())).await),
    };
    loop {
        let told = match subscription.next().await {
            Ok(Some(record)) => Told::Record(record),
            Ok(None) => Told::Ended(subscription.children()),
            Err(SubscribeError::Damaged { sequence, .. }) => {
                eprintln!("record {sequence} of shard {shard} is damaged, and passed over");
                continue;
            }
            Err(error) => Told::Failed(error.into()),
        };
        let is_last = !matches!(told, Told::Record(_));
        if sender.send(told).await.is_err() || is_last {
            return;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:4570".to_owned());
    for record in run(address.parse()?, 100).await? {
        println!("{}\t{}", String::from_utf8_lossy(&record.key), String::from_utf8_lossy(&record.data));
    }
    Ok(())
}
