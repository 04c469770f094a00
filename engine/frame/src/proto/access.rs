//! Who may speak to a server that is reached from other machines: those who know its secret, which is never sent.
//!
//! ```text
//!   client                                            server
//!   Hello                                      ->
//!                                              <-     Challenge (nonce)
//!   Proof (own nonce, HMAC of both: client)    ->
//!                                              <-     Proven (HMAC of both: server), Welcome
//! ```
//!
//! Both nonces are drawn for this connection, so that a proof is worth nothing on another one. Each side proves that it knows
//! the secret: a client that has one doesn't speak to a server that does not ask for it. What travels afterwards is in clear,
//! and bound to the proof by nothing but the connection.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 32;

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;

/// The shortest secret: 128 bits.
pub const SECRET_BYTES_MIN: usize = 16;

/// The longest.
pub const SECRET_BYTES_MAX: usize = 1024;

/// Bytes that are read of a secret's file: one that has more holds none.
pub const SECRET_FILE_BYTES_MAX: usize = 2 * SECRET_BYTES_MAX;

/// Why a file holds no secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnfitSecret {
    /// Others may read it.
    Open,
    /// It is too short or too long: its bytes, without white space at its ends.
    Length(usize),
}

impl fmt::Display for UnfitSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnfitSecret::Open => f.write_str("others may read it; keep it to yourself: chmod 600"),
            UnfitSecret::Length(bytes) => write!(
                f,
                "it has {bytes} bytes, and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} are allowed; make one with: \
                 head -c 32 /dev/urandom | base64"
            ),
        }
    }
}

impl std::error::Error for UnfitSecret {}

/// Drawn once, for one connection.
pub type Nonce = [u8; NONCE_BYTES];

/// What both sides know. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret of [`SECRET_BYTES_MIN`] to [`SECRET_BYTES_MAX`] bytes.
    pub fn new(bytes: &[u8]) -> Option<Secret> {
        (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()).then(|| Secret(bytes.into()))
    }

    /// The secret in a file of this mode: its bytes without white space at its ends. Only its owner may read it.
    ///
    /// # Errors
    /// It holds none that may be used.
    pub fn of_file(mode: u32, bytes: &[u8]) -> Result<Secret, UnfitSecret> {
        if mode & 0o077 != 0 {
            return Err(UnfitSecret::Open);
        }
        let bytes = bytes.trim_ascii();
        Secret::new(bytes).ok_or(UnfitSecret::Length(bytes.len()))
    }

    /// What `side` sends.
    pub(super) fn proof(&self, side: Side, server: &Nonce, client: &Nonce) -> [u8; PROOF_BYTES] {
        self.mac(side, server, client).finalize().into_bytes().into()
    }

    /// Whether `proof` is what `side` sends. Takes as long whatever is wrong with it.
    pub(super) fn verify(&self, side: Side, server: &Nonce, client: &Nonce, proof: &[u8; PROOF_BYTES]) -> bool {
        self.mac(side, server, client).verify_slice(proof).is_ok()
    }

    fn mac(&self, side: Side, server: &Nonce, client: &Nonce) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(match side {
            Side::Client => b"millstream native 1 client",
            Side::Server => b"millstream native 1 server",
        });
        mac.update(server);
        mac.update(client);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Who proves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
