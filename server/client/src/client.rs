//! A server: what is opened on its streams, and the connection on which it is asked about them.

use std::net::SocketAddr;
use std::sync::Arc;

use frame::proto::{Fault, Start};
use frame::{RequestId, ShardId};
use tokio::sync::Mutex;

use crate::connection::{Answer, Connection, Heard, Site};
use crate::error::{ConnectError, RequestError};
use crate::options::Options;
use crate::producer::{Producer, ProducerOptions};
use crate::stream_subscription::{StreamStart, StreamSubscription};
use crate::subscription::Subscription;

/// A server. Clones share a connection, over which streams are made, changed and described; producers and subscriptions have
/// their own.
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

    /// Opens a producer on a stream.
    ///
    /// # Errors
    /// There is no stream of that name, among others.
    pub async fn producer(&self, stream: &str, options: ProducerOptions) -> Result<Producer, RequestError> {
        Producer::open(self.clone(), stream, options).await
    }

    /// Reads a shard from `start` on, as its records become durable. The latest is what is acknowledged from here on, whenever
    /// it is asked for first.
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
        let (description, site) = self.describe(stream).await?;
        let described = description.shards.iter().find(|other| other.shard == shard);
        let start = match (start.into(), described) {
            // By the time that the server is asked, or asked again, more may have been stored.
            (Start::Latest, Some(shard)) => Start::At(shard.tip),
            (start, _) => start,
        };
        let reactor = described.map_or(0, |shard| shard.reactor);
        Ok(Subscription::new(self.options().clone(), site.owner(reactor), description.stream, shard, start))
    }

    /// Reads a whole stream, as its records become durable, through splits and merges: nothing of a shard comes before all of those
    /// that it was split off or merged from. So records of one key come in the order in which they were acknowledged.
    ///
    /// # Errors
    /// There is no stream of that name, among others.
    pub async fn subscribe_stream(&self, stream: &str, start: StreamStart) -> Result<StreamSubscription, RequestError> {
        let (description, site) = self.describe(stream).await?;
        Ok(StreamSubscription::new(self.clone(), start, &description, site))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Asks for what may be asked for twice; once more on a new connection, as the one at hand may have been lost long ago.
    pub(crate) async fn ask(&self, request: impl Fn(&mut Connection) -> RequestId) -> Result<Answered, RequestError> {
        let mut place = self.shared.place.lock().await;
        if place.connection.is_some() {
            match place.ask(self.options(), &request).await {
                Err(RequestError::Connection(error)) if error.fault() == Fault::Connection => {}
                told => return told,
            }
        }
        place.ask(self.options(), &request).await
    }

    /// Asks for what may not be asked for twice, on a connection of which a sign of life was heard just now.
    pub(crate) async fn ask_once(
        &self,
        request: impl Fn(&mut Connection) -> RequestId,
    ) -> Result<Answered, RequestError> {
        self.ask(|connection| connection.list_streams("", 1)).await?;
        self.shared.place.lock().await.ask(self.options(), &request).await
    }
}

impl Place {
    /// Asks on the connection at hand, or makes one.
    async fn ask(
        &mut self,
        options: &Options,
        request: impl Fn(&mut Connection) -> RequestId,
    ) -> Result<Answered, RequestError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open_any(Some(self.address), options).await?,
        };
        self.address = connection.site().address;
        let told = answer(&mut connection, &request).await;
        if !matches!(told, Err(RequestError::Connection(_))) {
            self.connection = Some(connection);
        }
        told
    }
}

/// An answer, and where it came from.
pub(crate) type Answered = (Answer, Site);

/// Asks and waits for the answer.
async fn answer(
    connection: &mut Connection,
    request: impl Fn(&mut Connection) -> RequestId,
) -> Result<Answered, RequestError> {
    let request = request(connection);
    loop {
        match connection.next().await? {
            Heard::Answer(of, answer) if of == request => return Ok((answer, connection.site())),
            Heard::Refused(of, failure) if of == request => return Err(RequestError::Refused(failure)),
            _ => {}
        }
    }
}
