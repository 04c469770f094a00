//! UpdateMaxRecordSize: how large a record may be.

use wire::Error;
use wire::shape::UpdateMaxRecordSize;
use wire::validate::Checks;

use super::{state, stream_of};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

pub(super) async fn run(shared: &Shared, input: UpdateMaxRecordSize) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.required("maxRecordSizeInKiB", input.max_record_size_in_ki_b.as_ref());
    state::check_record_kib(&mut checks, input.max_record_size_in_ki_b);
    let name = stream_of(&shared.place, &mut checks, None, input.stream_arn.as_deref())?;
    let set = |_: &engine::Stream, extras: &mut Extras| {
        extras.record_kib_max = input.max_record_size_in_ki_b.and_then(|kib| u32::try_from(kib).ok());
        Ok(())
    };
    state::change(shared, &name, set).await
}
