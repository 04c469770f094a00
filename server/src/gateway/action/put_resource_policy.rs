//! PutResourcePolicy: a policy for a stream or consumer. It is kept, and what others than the owner may do goes by it.

use engine::limits::ANNOTATION_BYTES_MAX;
use wire::shape::PutResourcePolicy;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::resource::Resource;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: PutResourcePolicy) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.required("policy", input.policy.as_ref());
    let resource = Resource::of(&shared.place, &mut checks, input.resource_arn)?;
    let policy = input.policy.unwrap_or_default();
    // What could not be kept is not read: its values take many times its bytes.
    if policy.len() > ANNOTATION_BYTES_MAX {
        let message = format!("A policy has at most {ANNOTATION_BYTES_MAX} bytes.");
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    if serde_json::from_str::<serde_json::Map<_, _>>(&policy).is_err() {
        return Err(Error::new(ErrorKind::InvalidArgument, "The policy is not a document of JSON."));
    }
    let put = |kept: super::resource::Kept<'_>| {
        *kept.policy = Some(policy);
        Ok(())
    };
    resource.change(shared, put).await
}
