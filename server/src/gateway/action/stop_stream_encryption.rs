//! StopStreamEncryption: records are stored as they are from the answer on. Those that are encrypted stay so. Where nothing is
//! encrypted there is nothing to stop.

use wire::Error;
use wire::shape::StreamEncryption;

use super::encryption;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: StreamEncryption) -> Result<(), Error> {
    encryption::change(shared, input, |_, _| Ok(None)).await
}
