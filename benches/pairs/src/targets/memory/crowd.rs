//! Connections that shake hands and then say nothing, until they are asked whether they are still there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use frame::proto::{Client, ClientEvent};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::PairsError;
use crate::wire::{connect, lost, unexpected};

/// Descriptors that this process has besides them.
const OTHERS: usize = 200;

/// The connections.
pub(super) struct Crowd(Vec<Idle>);

/// One of them: no more than it takes to shake hands, as there are many.
struct Idle {
    socket: TcpStream,
    proto: Client,
}

/// How many files may be open here, and in the programs that this one starts, so how many connections there may be.
pub(super) fn room() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let allowed = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    allowed.saturating_sub(OTHERS)
}

impl Crowd {
    /// Connects so many, each of which is welcomed.
    pub(super) fn new(address: &str, count: usize) -> Result<Self, PairsError> {
        let mut all = (0..count).map(|_| Idle::new(address)).collect::<Result<Vec<_>, _>>()?;
        for one in &mut all {
            match one.hear()? {
                ClientEvent::Welcome(_) => {}
                other => return Err(unexpected(&other)),
            }
        }
        Ok(Self(all))
    }

    /// How many are no longer heard, and why the first is not.
    pub(super) fn gone(&mut self) -> (usize, Option<PairsError>) {
        let mut gone = self.0.iter_mut().filter_map(|one| one.ping().err());
        let first = gone.next();
        (usize::from(first.is_some()) + gone.count(), first)
    }
}

impl Idle {
    fn new(address: &str) -> Result<Self, PairsError> {
        let mut socket = connect(address)?;
        let mut hello = Vec::new();
        let proto = Client::new(&mut hello);
        socket.write_all(&hello).map_err(|error| lost(&error))?;
        Ok(Self { socket, proto })
    }

    fn ping(&mut self) -> Result<(), PairsError> {
        let mut bytes = Vec::new();
        self.proto.ping(&mut bytes);
        self.socket.write_all(&bytes).map_err(|error| lost(&error))?;
        match self.hear()? {
            ClientEvent::Pong(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// What is said to an idle connection is short and comes whole, or in few pieces.
    fn hear(&mut self) -> Result<ClientEvent, PairsError> {
        let mut said = [0; 256];
        loop {
            let got = self.socket.read(&mut said).map_err(|error| lost(&error))?;
            if got == 0 {
                return Err(lost(&std::io::ErrorKind::UnexpectedEof.into()));
            }
            let heard = self.proto.step(&said[..got], &mut 0);
            if let Some(event) = heard.map_err(|violation| PairsError::Wire(violation.to_string()))? {
                return Ok(event);
            }
        }
    }
}
