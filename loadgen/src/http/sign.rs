//! Signature Version 4, as far as requests of this API need it: a POST to `/` whose whole body is hashed.
//!
//! Hashing the body is most of the work, and is done when the body is built. The rest takes microseconds, so a signature that
//! has waited is made again: it holds for five minutes.

use std::env;
use std::fmt::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::HttpError;

/// How old a signature may be when it is sent; the service takes five minutes.
const AGE_MAX: Duration = Duration::from_secs(60);

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who calls.
#[derive(Clone)]
pub struct Credentials {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Those of the usual environment variables. Where none are set, what says nothing, for an endpoint on loopback alone.
    pub fn of_environment(is_loopback: bool) -> Result<Self, HttpError> {
        let value = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self::of(value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"), value("AWS_SESSION_TOKEN"), is_loopback)
    }

    fn of(
        access_key: Option<String>,
        secret_key: Option<String>,
        session_token: Option<String>,
        is_loopback: bool,
    ) -> Result<Self, HttpError> {
        match (access_key, secret_key) {
            (Some(access_key), Some(secret_key)) => Ok(Self { access_key, secret_key, session_token }),
            (None, None) if is_loopback => {
                Ok(Self { access_key: "test".to_owned(), secret_key: "test".to_owned(), session_token: None })
            }
            _ => Err(HttpError::NoCredentials),
        }
    }
}

/// A body's hash, in hexadecimal.
#[derive(Clone, Debug)]
pub(super) struct BodyHash(String);

impl BodyHash {
    pub(super) fn of(body: &[u8]) -> Self {
        Self(hexadecimal(&Sha256::digest(body)))
    }
}

/// What is added to a request.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    made: SystemTime,
    pub(super) date: String,
    pub(super) token: Option<String>,
    pub(super) authorization: String,
}

impl Signature {
    /// Whether it would be taken for some time to come.
    pub(super) fn is_fresh(&self) -> bool {
        self.made.elapsed().is_ok_and(|age| age < AGE_MAX)
    }
}

/// Signs for one service in one region.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: Credentials,
    region: String,
    service: &'static str,
    /// The key of a day.
    key: Mutex<Option<(String, [u8; 32])>>,
}

impl Signer {
    pub(super) fn new(credentials: Credentials, region: &str, service: &'static str) -> Self {
        Self { credentials, region: region.to_owned(), service, key: Mutex::default() }
    }

    /// Signs a request with these headers, in lower case, and what is added to them.
    pub(super) fn sign(&self, headers: &[(&str, &str)], body: &BodyHash) -> Signature {
        self.sign_at(SystemTime::now(), headers, body)
    }

    fn sign_at(&self, made: SystemTime, headers: &[(&str, &str)], body: &BodyHash) -> Signature {
        let time = Timestamp::try_from(made).unwrap_or_default();
        let date = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = date.get(..8).unwrap_or_default();
        let token = self.credentials.session_token.clone();
        let mut headers: Vec<(&str, &str)> = headers.to_vec();
        headers.push(("x-amz-date", &date));
        headers.extend(token.as_deref().map(|token| ("x-amz-security-token", token)));
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = String::from("POST\n/\n\n");
        for (name, value) in &headers {
            let _ = writeln!(canonical, "{name}:{}", value.trim());
        }
        let _ = write!(canonical, "\n{names}\n{}", body.0);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n{}", BodyHash::of(canonical.as_bytes()).0);
        let signature = hexadecimal(&mac(&self.key_of(day), text.as_bytes()));
        let access_key = &self.credentials.access_key;
        let authorization =
            format!("{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}");
        Signature { made, token, authorization, date }
    }

    fn key_of(&self, day: &str) -> [u8; 32] {
        let mut kept = self.key.lock().expect("nobody panics while it is held");
        if let Some((_, key)) = kept.as_ref().filter(|(of, _)| of == day) {
            return *key;
        }
        let first = format!("AWS4{}", self.credentials.secret_key);
        let steps = [day, &self.region, self.service, "aws4_request"];
        let key = steps.iter().fold(first.into_bytes(), |key, step| mac(&key, step.as_bytes()).to_vec());
        let key = <[u8; 32]>::try_from(key).expect("it is a hash");
        *kept = Some((day.to_owned(), key));
        key
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test suite's credentials, time and place.
    fn signer(token: Option<&str>) -> (Signer, SystemTime) {
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: token.map(str::to_owned),
        };
        let at = "2015-08-30T12:36:00Z".parse::<Timestamp>().unwrap();
        (Signer::new(credentials, "us-east-1", "service"), at.into())
    }

    #[test]
    fn signatures_are_those_of_the_published_suite() {
        let (signer, at) = signer(None);
        let host = ("host", "example.amazonaws.com");
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (headers, body, names, expected) in [
            (&[host][..], "", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                &[host, form],
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let signature = signer.sign_at(at, headers, &BodyHash::of(body.as_bytes()));
            assert_eq!(
                signature.authorization,
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={expected}"
                )
            );
            assert!(signature.date == "20150830T123600Z" && !signature.is_fresh());
        }
    }

    #[test]
    fn a_session_token_is_signed_too() {
        let (signer, at) = signer(Some("token"));
        let signature = signer.sign_at(at, &[("host", "example.amazonaws.com")], &BodyHash::of(b""));
        assert!(signature.authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token, "));
        assert_eq!(signature.token.as_deref(), Some("token"));
        assert!(signer.sign(&[], &BodyHash::of(b"")).is_fresh());
    }

    #[test]
    fn without_credentials_loopback_alone_is_called() {
        let some = || Some("some".to_owned());
        assert!(Credentials::of(None, None, None, true).is_ok());
        assert!(Credentials::of(None, None, None, false).is_err());
        assert!(Credentials::of(some(), None, None, true).is_err(), "half of them is a mistake");
        assert!(Credentials::of(some(), some(), None, false).is_ok());
    }
}
