//! IncreaseStreamRetentionPeriod: a stream's records are kept longer.

use wire::Error;
use wire::shape::RetentionPeriod;

use super::retention::{self, Change};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: RetentionPeriod) -> Result<(), Error> {
    retention::change(shared, input, Change::Increase).await
}
