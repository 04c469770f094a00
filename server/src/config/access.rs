//! Where the Kinesis API is served, and to whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use wire::name::Place;

use super::{ConfigError, Door, HTTP_PORT};
use crate::credentials::CredentialsFile;

/// The address, and the keys that requests must be signed with: there are some, or only this machine reaches it.
pub(super) fn access(
    door: Option<Door>,
    file: Option<PathBuf>,
    place: &Place,
) -> Result<(Option<SocketAddr>, Option<CredentialsFile>), ConfigError> {
    let address = door.unwrap_or(Door::local(HTTP_PORT)).address();
    let credentials =
        file.map(|file| CredentialsFile::read(file, place)).transpose().map_err(ConfigError::Credentials)?;
    match address {
        Some(address) if credentials.is_none() && !address.ip().is_loopback() => Err(ConfigError::NotLoopback(address)),
        address => Ok((address, credentials)),
    }
}
