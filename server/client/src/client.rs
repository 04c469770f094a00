//! Streams: made and described, and what is opened on them.

use std::net::SocketAddr;
use std::sync::Arc;

use frame::proto::{Start, StreamDescription};
use frame::{RequestId, Settings, ShardId};
use tokio::sync::Mutex;

use crate::connection::{Connection, Heard, Site};
use crate::error::{ConnectError, Fault, RequestError};
use crate::options::Options;
use crate::producer::{Producer, ProducerOptions};
use crate::subscription::Subscription;

/// A server. Clones share a connection, over which streams are made and described; producers and subscriptions have their own.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    place: Mutex<Place>,
}

#[derive(Debug)]
struct Place {
    /// Where the server was last.
    address: SocketAddr,
    /// Taken out while somebody waits for an answer on it, so that none is left over by one who stopped waiting.
    connection: Option<Connection>,
}

impl Client {
    /// Connects to a server, at the first of its addresses that answers, and proves the secret if there is one.
    ///
    /// # Errors
    /// Nobody is there, or one who does not speak the protocol, or who knows another secret.
    pub async fn connect(options: Options) -> Result<Client, ConnectError> {
        let connection = Connection::open_any(None, &options).await?;
        let place = Place { address: connection.site().address, connection: Some(connection) };
        Ok(Client { shared: Arc::new(Shared { options, place: Mutex::new(place) }) })
    }

    /// Makes a stream, or finds it with the same number of shards; then its settings stay as they are. [`Quotas`](crate::Quotas)
    /// will do for settings: all of it is kept then.
    ///
    /// # Errors
    /// It exists with another number of shards, among others.
    pub async fn create_stream(
        &self,
        name: &str,
        shards: u32,
        settings: impl Into<Settings>,
    ) -> Result<StreamDescription, RequestError> {
        let settings = settings.into();
        let (stream, _) = self.ask(|connection| connection.create_stream(name, shards, settings)).await?;
        Ok(stream)
    }

    /// What a stream is: its settings, and its shards with their hash ranges, in the order in which they were made.
    ///
    /// # Errors
    /// There is none of that name, among others.
    pub async fn describe_stream(&self, name: &str) -> Result<StreamDescription, RequestError> {
        Ok(self.describe(name).await?.0)
    }

    /// Opens a producer on a stream.
    ///
    /// # Errors
    /// There is no stream of that name, among others.
    pub async fn producer(&self, stream: &str, options: ProducerOptions) -> Result<Producer, RequestError> {
        Producer::open(self.clone(), stream, options).await
    }

    /// Reads a shard from `start` on, as its records become durable.
    ///
    /// # Errors
    /// There is no stream of that name, among others. What is wrong with the shard or the start is told by the first
    /// [`Subscription::next`].
    pub async fn subscribe(
        &self,
        stream: &str,
        shard: ShardId,
        start: impl Into<Start>,
    ) -> Result<Subscription, RequestError> {
        let start = start.into();
        let (description, site) = self.describe(stream).await?;
        let reactor = description.shards.iter().find(|other| other.shard == shard).map_or(0, |shard| shard.reactor);
        Ok(Subscription::new(self.options().clone(), site.owner(reactor), description.stream, shard, start))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) async fn describe(&self, name: &str) -> Result<(StreamDescription, Site), RequestError> {
        self.ask(|connection| connection.describe_stream(name)).await
    }

    /// Asks for what may be asked for twice; once more on a new connection, as the one at hand may have been lost long ago.
    async fn ask(
        &self,
        request: impl Fn(&mut Connection) -> RequestId,
    ) -> Result<(StreamDescription, Site), RequestError> {
        let mut place = self.shared.place.lock().await;
        if let Some(mut connection) = place.connection.take() {
            match answer(&mut connection, &request).await {
                Err(RequestError::Connection(error)) if error.fault() == Fault::Connection => {}
                Err(RequestError::Connection(error)) => return Err(error.into()),
                told => {
                    place.connection = Some(connection);
                    return told;
                }
            }
        }
        let mut connection = Connection::open_any(Some(place.address), self.options()).await?;
        place.address = connection.site().address;
        let told = answer(&mut connection, &request).await;
        if !matches!(told, Err(RequestError::Connection(_))) {
            place.connection = Some(connection);
        }
        told
    }
}

/// Asks and waits for the answer.
async fn answer(
    connection: &mut Connection,
    request: impl Fn(&mut Connection) -> RequestId,
) -> Result<(StreamDescription, Site), RequestError> {
    let request = request(connection);
    loop {
        match connection.next().await? {
            Heard::Stream(of, stream) if of == request => return Ok((stream, connection.site())),
            Heard::Refused(of, failure) if of == request => return Err(RequestError::Refused(failure)),
            _ => {}
        }
    }
}
