//! Millstream's client for other programs: asynchronous, on tokio, over the native protocol.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::{Client, Options, ProducerOptions, Quotas, StreamStart};
//!
//! let client = Client::connect(Options::new("127.0.0.1:4570".parse()?)).await?;
//! client.create_stream("orders", 4, Quotas::NONE).await?;
//! let producer = client.producer("orders", ProducerOptions::default()).await?;
//! producer.append(b"customer 7", b"two of the blue ones").await?;
//! producer.close().await?;
//!
//! let mut records = client.subscribe_stream("orders", StreamStart::Oldest).await?;
//! while let Some(record) = records.next().await? {
//!     println!("{} {}: {}", record.shard, record.sequence, String::from_utf8_lossy(&record.data));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * A record is acknowledged once it is durable. Many may be under way: [`Producer::send`] takes as many as there is room for,
//!   by bytes and by the server's credit, and makes whoever has more wait.
//! * Each goes to the reactor that owns its shard; where shards were split or merged since, the server hands it on and the
//!   producer learns of it. Those of a producer with a name take one connection, and the server hands on what is for others.
//! * With [a name](ProducerOptions::name) a producer's records are numbered, sent again over lost connections and restarts, and
//!   stored once, in the order of each key. Without one nothing is sent twice, and what was under way on a lost connection is
//!   told as [`AppendError::Unknown`].
//! * A [`Subscription`] makes its connection again and goes on where it was. A [`StreamSubscription`] follows all shards of a stream,
//!   through splits and merges, on a connection to each of their owners.
//! * A server may have [several addresses](Options::more_addresses). What is tried again is tried after pauses that grow, and of
//!   which part is chance.
//! * Over [TLS](Options::tls) all of that is the same: each reactor's port shows the server's one certificate.
//!
//! Nothing here knows the engine or the server: the frame crate's bytes are all that they share.

#![forbid(unsafe_code)]

mod client;
mod connection;
mod cursor;
mod error;
mod feed;
mod lineage;
mod options;
mod producer;
mod stream;
mod stream_subscription;
mod streams;
mod subscription;

pub use client::Client;
pub use cursor::Record;
pub use error::{AppendError, ConnectError, RequestError, SubscribeError};
pub use frame::proto::{Children, ErrorCode, Failure, Fault, Secret, ShardDescription, Start, StreamDescription};
pub use frame::{Quotas, Retention, Sequence, Settings, ShardId};
pub use options::{Options, Tls};
pub use producer::{Appended, Pending, Producer, ProducerOptions, Unstored};
pub use stream_subscription::{StreamStart, StreamSubscription};
pub use subscription::Subscription;
