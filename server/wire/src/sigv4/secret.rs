//! Secrets, and the keys that sign with them: one for a day, a region and a service.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What only the two ends know. It keeps the key that it was asked for last, as most requests ask for the same.
pub struct Secret {
    text: String,
    last: Mutex<Option<([String; 4], Hmac<Sha256>)>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl Secret {
    /// One that reads so.
    pub fn new(text: String) -> Secret {
        Secret { text, last: Mutex::default() }
    }

    /// The key for a scope: date, region, service and terminator.
    pub(super) fn key(&self, scope: [&str; 4]) -> Hmac<Sha256> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = last.as_ref().filter(|(of, _)| *of == scope) {
            return key.clone();
        }
        let key = scope.iter().fold(format!("AWS4{}", self.text).into_bytes(), |key, part| {
            let mut mac = keyed(&key);
            mac.update(part.as_bytes());
            mac.finalize().into_bytes().to_vec()
        });
        let key = keyed(&key);
        *last = Some((scope.map(str::to_owned), key.clone()));
        key
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key may have any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_that_of_its_scope_whatever_was_asked_before() {
        let bytes = |secret: &Secret, scope| secret.key(scope).finalize().into_bytes();
        let scopes = [
            ["20260101", "us-east-1", "kinesis", "aws4_request"],
            ["20260102", "us-east-1", "kinesis", "aws4_request"],
            ["20260102", "eu-west-1", "kinesis", "aws4_request"],
            ["20260102", "eu-west-1", "sts", "aws4_request"],
        ];
        let (one, other) = (Secret::new("one".to_owned()), Secret::new("other".to_owned()));
        for scope in scopes.into_iter().chain(scopes) {
            let fresh = Secret::new("one".to_owned());
            assert_eq!(bytes(&one, scope), bytes(&fresh, scope), "{scope:?}");
            assert_ne!(bytes(&one, scope), bytes(&other, scope), "{scope:?}");
        }
        assert_eq!(format!("{one:?}"), "hidden");
    }
}
