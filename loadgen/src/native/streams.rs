//! Makes the streams of a run, before anything is measured.

use std::net::SocketAddr;

use frame::proto::{ClientEvent, StreamDescription};
use frame::{Quotas, StreamId};

use super::runtime::run_pinned;
use super::session::{Session, refused};
use super::{NativeError, Stream};

/// What a run writes to.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its streams.
    pub streams: Vec<Stream>,
    /// Whether the server says that what it acknowledges survives a power cut.
    pub is_durable: bool,
}

/// Makes each stream with these quotas, or finds it if it exists with as many shards, and gives it them, if there are any. Records that are there already are not this run's:
/// each shard's first number is the one it gives next.
pub fn prepare_streams(
    target: SocketAddr,
    names: &[String],
    (shards, quotas): (u32, Option<Quotas>),
    core: usize,
) -> Result<Prepared, NativeError> {
    run_pinned(core, || async {
        let (mut session, welcome) = Session::open(target).await?;
        let mut streams = Vec::with_capacity(names.len());
        let mut request = Vec::new();
        for name in names {
            session.client.create_stream(&mut request, name, shards, quotas.unwrap_or(Quotas::NONE));
            request = session.send(request).await?;
            let made = match session.event().await? {
                ClientEvent::Stream(_, made) => match quotas.filter(|quotas| *quotas != made.quotas) {
                    Some(quotas) => set_quotas(&mut session, name, quotas).await?,
                    None => made,
                },
                ClientEvent::Error(_, failure) => {
                    return Err(refused(&format!("make stream {name} with {shards} shards"), failure));
                }
                other => return Err(session.unexpected(&other)),
            };
            let shards = made.shards.iter().map(|shard| (shard.shard, shard.tip.max(frame::Sequence(1)))).collect();
            streams.push(Stream { id: StreamId(made.stream.0), shards });
        }
        session.close();
        Ok(Prepared { streams, is_durable: welcome.is_durable() })
    })?
}

/// Gives a stream that exists other quotas.
async fn set_quotas(session: &mut Session, name: &str, quotas: Quotas) -> Result<StreamDescription, NativeError> {
    let mut request = Vec::new();
    session.client.set_quotas(&mut request, name, quotas);
    session.send(request).await?;
    match session.event().await? {
        ClientEvent::Stream(_, stream) => Ok(stream),
        ClientEvent::Error(_, failure) => Err(refused(&format!("give stream {name} other quotas"), failure)),
        other => Err(session.unexpected(&other)),
    }
}
