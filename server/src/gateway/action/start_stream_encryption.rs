//! StartStreamEncryption: there are no keys here to encrypt with, so the key that is named is not found.

use wire::shape::StreamEncryption;
use wire::{Error, ErrorKind};

use super::encryption;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: StreamEncryption) -> Result<(), Error> {
    let (stream, key) = encryption::meant(shared, input).await?;
    let message = format!("Key {key} is not found: this server has no keys to encrypt stream {} with.", stream.name);
    Err(Error::new(ErrorKind::KmsNotFound, message))
}
