//! A client's connection: the native protocol's own client over simulated bytes. And that of somebody who does not know the secret.

use frame::RequestId;
use frame::proto::{AckResult, Client, ClientEvent, Failure, NONCE_BYTES, ReadResult, Secret, StreamDescription};

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
    /// What it has said to be heard: its proof, if there was to be one.
    proof: Vec<u8>,
    is_over: bool,
}

impl Link {
    /// Connects and says hello.
    pub(crate) fn open(world: &World) -> Link {
        let id = world.connect();
        let mut hello = Vec::new();
        let mut client = Client::new(&mut hello);
        if let Some(secret) = world.secret() {
            client.require(secret, world.nonce());
        }
        world.send(id, &hello);
        Link { id, client, reading: None, input: Vec::new(), proof: Vec::new(), is_over: false }
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
            if let ClientEvent::Challenge = event {
                self.client.prove(&mut self.proof);
                world.send(self.id, &self.proof);
            }
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
            | ClientEvent::Unsubscribed(_)
            | ClientEvent::Challenge
            | ClientEvent::Proven => {}
        }
        Ok(())
    }
}

/// A connection of somebody who does not know the secret, and says something all the same.
#[derive(Debug)]
pub(crate) struct Intruder {
    id: ConnectionId,
    client: Client,
    input: Vec<u8>,
}

impl Intruder {
    /// Says hello, and `words` behind one of these: nothing, what `overheard` said as its proof, or a proof by a secret of its own.
    /// Nothing, if no secret is needed.
    pub(crate) fn open(world: &World, dice: &mut Dice, overheard: &Link, words: &[u8]) -> Option<Intruder> {
        world.secret()?;
        let id = world.connect();
        let mut said = Vec::new();
        let mut client = Client::new(&mut said);
        let secret = Secret::new(&dice.bytes()).expect("it is long enough");
        match dice.index(3) {
            0 => world.count("client: intrudes, and proves nothing"),
            1 => {
                world.count("client: intrudes with a proof that it overheard");
                said.extend_from_slice(&overheard.proof);
            }
            _ => {
                world.count("client: intrudes with a secret of its own");
                client.require(secret, [0; NONCE_BYTES]);
            }
        }
        said.extend_from_slice(words);
        world.send(id, &said);
        Some(Intruder { id, client, input: Vec::new() })
    }

    /// It is not read any more.
    pub(crate) fn leave(&self, world: &World) {
        world.set_reading(self.id, false);
    }

    /// Nobody may tell it more than that it is not heard.
    pub(crate) fn listen(&mut self, world: &World) -> Result<(), Breach> {
        world.take(self.id, &mut self.input);
        let mut at = 0;
        loop {
            let event = self.client.step(&self.input, &mut at);
            let Some(event) = event.map_err(|violation| Breach::new("protocol", violation.to_string()))? else { break };
            match event {
                ClientEvent::Challenge => {
                    let mut proof = Vec::new();
                    if self.client.prove(&mut proof) {
                        world.send(self.id, &proof);
                    }
                }
                ClientEvent::Error(RequestId(0), _) => {}
                event => return Err(Breach::new("access", format!("an intruder hears {event:?}"))),
            }
        }
        self.input.drain(..at);
        Ok(())
    }
}
