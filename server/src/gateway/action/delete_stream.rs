//! DeleteStream: answers once the stream is gone.

use wire::Error;
use wire::shape::StreamReference;
use wire::validate::Checks;

use super::stream_of;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: StreamReference) -> Result<(), Error> {
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut Checks::new(), name, arn)?;
    shared.log.delete(&shared.place, &name).await
}
