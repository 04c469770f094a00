//! Challenge and proof.

use super::fields::{Control, FieldsOf};
use super::kind::Kind;
use crate::proto::Violation;
use crate::proto::access::{Nonce, PROOF_BYTES};

/// Server: prove that you know the secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Challenge {
    pub(crate) nonce: Nonce,
}

/// Client: here is the proof; prove it as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Proof {
    pub(crate) nonce: Nonce,
    pub(crate) proof: [u8; PROOF_BYTES],
}

/// Server: so do I.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Proven {
    pub(crate) proof: [u8; PROOF_BYTES],
}

impl Control for Challenge {
    const KIND: Kind = Kind::Challenge;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Challenge, Violation> {
        Ok(Challenge { nonce: fields.array()? })
    }
}

impl Control for Proof {
    const KIND: Kind = Kind::Proof;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.proof);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Proof, Violation> {
        Ok(Proof { nonce: fields.array()?, proof: fields.array()? })
    }
}

impl Control for Proven {
    const KIND: Kind = Kind::Proven;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.proof);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Proven, Violation> {
        Ok(Proven { proof: fields.array()? })
    }
}
