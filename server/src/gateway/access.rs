//! Who calls, and whether they may do what they ask.
//!
//! ```text
//!   head -> Access::caller: a key, its scope, its time -> body -> Caller::verified -> authorize: policies -> Shared
//! ```
//!
//! What a head alone gives away as wrong is refused before it has a place and its body room. Without keys, everybody is heard, and is
//! in the server's own place.

mod authorize;
mod reload;
mod resource_policy;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::HOST;
use hyper::http::request::Parts;
use wire::name::Place;
use wire::sigv4::{AUTHORITY, Claim, Head};
use wire::{Error, ErrorKind};

pub(super) use self::authorize::{authorize, authorize_other};
pub(super) use self::reload::reload;
use crate::credentials::{Credentials, CredentialsFile, Key};

/// Who may call.
#[derive(Debug)]
pub(crate) struct Access {
    own: Place,
    /// The keys, which are others once their file is; whoever reaches the port, without.
    keys: Option<(CredentialsFile, RwLock<Arc<Credentials>>)>,
}

impl Access {
    /// Access for those who have these keys, to a server in this place.
    pub(crate) fn new(own: Place, file: Option<CredentialsFile>) -> Access {
        let keys = file.map(|file| {
            let credentials = RwLock::new(Arc::clone(&file.credentials));
            (file, credentials)
        });
        Access { own, keys }
    }

    /// Whether signatures are verified.
    pub(super) fn verifies(&self) -> bool {
        self.keys.is_some()
    }

    /// The server's own place.
    pub(super) fn own(&self) -> &Place {
        &self.own
    }

    /// Who a request says to be from.
    ///
    /// # Errors
    /// It does not say so as the service wants it, or what it says can't be.
    pub(super) fn caller<'a>(&self, parts: &'a Parts, service: &str) -> Result<Presented<'a>, Error> {
        let Some((_, keys)) = &self.keys else { return Ok(Presented::Anyone(self.own.clone())) };
        let head = head(parts);
        let claim = Claim::parse(&head)?;
        let unknown = || Error::new(ErrorKind::UnrecognizedClient, UNRECOGNIZED);
        let keys = Arc::clone(&keys.read().unwrap_or_else(PoisonError::into_inner));
        let key = Arc::clone(keys.key(&claim.key).ok_or_else(unknown)?);
        let now_s = now_s();
        claim.check(service, |region| key.serves(region), now_s)?;
        if key.expires_s.is_some_and(|expires_s| expires_s <= now_s) {
            return Err(Error::new(ErrorKind::ExpiredToken, "The security token included in the request is expired"));
        }
        Ok(Presented::Signed { head, claim: Box::new(claim), key })
    }
}

/// What is said of a key that is not known, and of a session token that is not its.
const UNRECOGNIZED: &str = "The security token included in the request is invalid.";

/// Who a request says to be from.
pub(super) enum Presented<'a> {
    /// Nobody is asked, and all are in this place.
    Anyone(Place),
    /// It remains to be seen.
    Signed { head: Head<'a>, claim: Box<Claim>, key: Arc<Key> },
}

/// Who calls.
pub(super) struct Caller {
    /// The one that the request was signed with; none where nobody is asked.
    pub(super) key: Option<Arc<Key>>,
    /// Whose streams it means, unless it says others.
    pub(super) place: Place,
}

impl Presented<'_> {
    /// Who it is from, with this body.
    ///
    /// # Errors
    /// It is from somebody else, or not what they signed.
    pub(super) fn verified(self, body: &[u8]) -> Result<Caller, Error> {
        match self {
            Presented::Anyone(place) => Ok(Caller { key: None, place }),
            Presented::Signed { head, claim, key } => {
                claim.verify(&head, &key.secret, body)?;
                // No secret of itself: who is here has signed.
                if claim.token.as_deref() != key.token.as_ref().map(|token| token.0.as_str()) {
                    return Err(Error::new(ErrorKind::UnrecognizedClient, UNRECOGNIZED));
                }
                let place = Place { region: claim.region, account: key.account.clone() };
                Ok(Caller { key: Some(key), place })
            }
        }
    }
}

impl Caller {
    /// Its ARN, and the word that no other has.
    pub(super) fn identity(&self) -> (String, &str) {
        match &self.key {
            Some(key) => (key.user_arn(), &key.id),
            None => (format!("arn:aws:iam::{}:root", self.place.account), &self.place.account),
        }
    }
}

/// A request's head as it was signed.
fn head(parts: &Parts) -> Head<'_> {
    let mut headers: Vec<_> = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    if let Some(authority) = parts.uri.authority() {
        let authority = authority.as_str().as_bytes();
        headers.push((AUTHORITY, authority));
        if !parts.headers.contains_key(HOST) {
            headers.push((HOST.as_str(), authority));
        }
    }
    Head {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers,
    }
}

/// Seconds since 1970.
fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
}
