//! A client's connection: the native protocol's own client over simulated bytes.

use frame::RequestId;
use frame::proto::{AckResult, Client, ClientEvent, Failure, ReadResult, StreamDescription};

use crate::dice::Dice;
use crate::model::Breach;
use crate::network::{ConnectionId, End};
use crate::world::World;

/// What a client hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Welcome,
    Stream(RequestId, StreamDescription),
    /// Results by the index of their record.
    Acked(RequestId, Vec<(u32, AckResult)>),
    /// The frames of a whole read result.
    Records(RequestId, ReadResult, Vec<Vec<u8>>),
    Pong(RequestId),
    /// A request failed; with request 0 the connection did.
    Failed(RequestId, Failure),
    /// The connection has ended.
    Ended(End),
}

/// One connection, from its client's side.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) client: Client,
    reading: Option<(RequestId, ReadResult, Vec<Vec<u8>>)>,
    input: Vec<u8>,
    is_over: bool,
}

impl Link {
    /// Connects and says hello.
    pub(crate) fn open(world: &World) -> Link {
        let id = world.connect();
        let mut hello = Vec::new();
        let client = Client::new(&mut hello);
        world.send(id, &hello);
        Link { id, client, reading: None, input: Vec::new(), is_over: false }
    }

    /// Whether nothing more will be heard.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Lets `write` make messages, and sends them.
    pub(crate) fn say<T>(&mut self, world: &World, write: impl FnOnce(&mut Client, &mut Vec<u8>) -> T) -> T {
        let mut out = Vec::new();
        let result = write(&mut self.client, &mut out);
        world.send(self.id, &out);
        result
    }

    /// Drops the connection.
    pub(crate) fn reset(&mut self, world: &World) {
        world.reset(self.id);
        self.is_over = true;
    }

    /// Nobody looks after the connection any more: it is dropped, or stays open unread.
    pub(crate) fn leave(&mut self, world: &World, dice: &mut Dice) {
        if !self.is_over && dice.chance(0.5) {
            self.reset(world);
        }
        world.set_reading(self.id, false);
    }

    /// Takes up what has arrived.
    pub(crate) fn hear(&mut self, world: &World) -> Result<Vec<Heard>, Breach> {
        let mut heard = Vec::new();
        if self.is_over {
            return Ok(heard);
        }
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        let end = world.take(self.id, &mut input);
        let mut at = 0;
        loop {
            let event = self.client.step(&input, &mut at);
            let event = event.map_err(|violation| Breach::new("protocol", violation.to_string()))?;
            let Some(event) = event else { break };
            self.take_up(event, &input, &mut heard)?;
        }
        self.input = input;
        if let Some(end) = end {
            self.is_over = true;
            heard.push(Heard::Ended(end));
        }
        Ok(heard)
    }

    fn take_up(&mut self, event: ClientEvent, input: &[u8], heard: &mut Vec<Heard>) -> Result<(), Breach> {
        match event {
            ClientEvent::Welcome(_) => heard.push(Heard::Welcome),
            ClientEvent::Stream(request, description) => heard.push(Heard::Stream(request, description)),
            ClientEvent::Ack(span) => {
                for batch in self.client.acks(&span, input) {
                    heard.push(Heard::Acked(batch.request, batch.results().collect()));
                }
            }
            ClientEvent::ReadBegin(request, result) => self.reading = Some((request, result, Vec::new())),
            ClientEvent::Record(span) => {
                let bytes = self.client.bytes(&span, input).to_vec();
                let (_, _, frames) = self.reading.as_mut().expect("the protocol gives records within a result");
                frames.push(bytes);
            }
            ClientEvent::ReadEnd(_) => {
                let (request, result, frames) = self.reading.take().expect("the protocol ends what it began");
                heard.push(Heard::Records(request, result, frames));
            }
            ClientEvent::Pong(request) => heard.push(Heard::Pong(request)),
            ClientEvent::Error(request, failure) => heard.push(Heard::Failed(request, failure)),
            ClientEvent::Credit
            | ClientEvent::Deleted(_)
            | ClientEvent::StreamList(..)
            | ClientEvent::Unsubscribed(_) => {}
            ClientEvent::Challenge | ClientEvent::Proven => unreachable!("no secret is needed here"),
        }
        Ok(())
    }
}
