//! StopStreamEncryption: no stream is encrypted, so there is nothing to stop.

use wire::Error;
use wire::shape::StreamEncryption;

use super::encryption;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: StreamEncryption) -> Result<(), Error> {
    encryption::meant(shared, input).await.map(drop)
}
