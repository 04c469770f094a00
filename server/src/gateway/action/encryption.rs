//! What StartStreamEncryption and StopStreamEncryption have in common, and what else is told of encryption.

use std::sync::Arc;

use engine::Stream;
use wire::shape::StreamEncryption;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{state, stream_of};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Has a stream that may be changed encrypted as `decide` says by the key that was named.
pub(super) async fn change(
    shared: &Shared,
    input: StreamEncryption,
    decide: impl FnOnce(&Stream, String) -> Result<Option<Arc<str>>, Error>,
) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.required("encryptionType", input.encryption_type.as_ref());
    checks.one_of("encryptionType", input.encryption_type.as_deref(), &["NONE", KMS]);
    checks.required("keyId", input.key_id.as_ref()).length("keyId", input.key_id.as_deref(), 1, 2048);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    if input.encryption_type.as_deref() != Some(KMS) {
        let message = "The only valid value of EncryptionType is KMS.";
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let decide = |stream: &Stream, extras: &Extras| {
        state::be_active(&shared.place, stream, extras)?;
        decide(stream, input.key_id.unwrap_or_default())
    };
    shared.log.encrypt(&shared.place, &name, decide).await
}

/// What the service's encryption is called, which ours stands in for.
pub(super) const KMS: &str = "KMS";

/// How descriptions and answers call it.
pub(super) fn told(stream: &Stream) -> &'static str {
    if stream.encryption.is_some() { KMS } else { "NONE" }
}

/// Its key, as whoever started it named it.
pub(super) fn key(stream: &Stream) -> Option<String> {
    stream.encryption.as_deref().map(str::to_owned)
}

/// What is told whoever stores records: nothing, unless they are encrypted.
pub(super) fn of_answer(stream: &Stream) -> Option<&'static str> {
    stream.encryption.as_ref().map(|_| told(stream))
}
