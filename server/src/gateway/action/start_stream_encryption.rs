//! StartStreamEncryption: records are encrypted from the answer on, with the newest version of a key of the key directory. The key
//! of a stream that is encrypted can be changed so.

use engine::Stream;
use engine::limits::KEY_NAME_BYTES_MAX;
use wire::shape::StreamEncryption;
use wire::{Error, ErrorKind};

use super::encryption;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: StreamEncryption) -> Result<(), Error> {
    let start = |stream: &Stream, key: String| {
        let missing = match &shared.keyring {
            None => Some("this server has no key directory"),
            Some(keyring) if key.len() > KEY_NAME_BYTES_MAX || !keyring.has(&key) => {
                Some("the server's key directory has none of that name")
            }
            Some(_) => None,
        };
        if let Some(why) = missing {
            let message = format!("Key {key} is not found: {why} to encrypt stream {} with.", stream.name);
            return Err(Error::new(ErrorKind::KmsNotFound, message));
        }
        Ok(Some(key.into()))
    };
    encryption::change(shared, input, start).await
}
