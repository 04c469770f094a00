//! Who may call the API: keys, whose they are and what each may do, in a file that only its owner reads.
//!
//! ```text
//!   [[key]]
//!   id = "AKIAORDERS"                # the access key id
//!   secret = "..."                   # the secret access key
//!   session-token = "..."            # if requests must carry one
//!   expires = "2027-01-01T00:00:00Z" # if it is good for a while
//!   user = "orders"                  # whom ARNs and errors name; else the id
//!   account = "111122223333"         # whose streams it sees; else the server's
//!   regions = ["eu-west-1"]          # of which regions, or ["*"]; else the server's
//!   [[key.policy]]                   # without any: everything within its account
//!   effect = "allow"                 # or deny, which goes before
//!   actions = ["kinesis:Put*"]
//!   streams = ["arn:aws:kinesis:*:*:stream/orders"]    # else all
//! ```

mod arns;
mod policy;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use wire::name::{Place, is_account, is_region};
use wire::sigv4::Secret;

pub(crate) use self::arns::{may_be_of_stream, of_own_partition};
pub(crate) use self::policy::{Policy, Verdict, matches};
use crate::private::{self, Unread};

/// Bytes of the file, which is some thousand keys.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// All keys, by their ids.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    keys: BTreeMap<String, Arc<Key>>,
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    /// What requests name it by.
    pub(crate) id: String,
    pub(crate) secret: Secret,
    pub(crate) token: Option<Hidden>,
    /// In seconds since 1970.
    pub(crate) expires_s: Option<i64>,
    pub(crate) account: String,
    regions: Vec<String>,
    user: String,
    /// Everything within its account, without.
    pub(crate) policy: Option<Policy>,
}

/// What is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Hidden(pub(crate) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl Credentials {
    /// The key of an id.
    pub(crate) fn key(&self, id: &str) -> Option<&Arc<Key>> {
        self.keys.get(id)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.keys.len()
    }

    /// Reads the file, for a server in this place.
    pub(crate) fn read(path: &Path, own: &Place) -> Result<Credentials, CredentialsError> {
        let wrong = |cause| CredentialsError { path: path.to_owned(), cause };
        let file = private::open(path).map_err(|why| wrong(Cause::Unread(why)))?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| wrong(Cause::Unread(error.into())))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(wrong(Cause::Unfit(format!("it has more than {FILE_BYTES_MAX} bytes"))));
        }
        Credentials::parse(&text, own).map_err(|cause| wrong(Cause::Unfit(cause)))
    }

    fn parse(text: &str, own: &Place) -> Result<Credentials, String> {
        let file: Written = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("line {}: {}", 1 + before.matches('\n').count(), error.message().replace('\n', ", "))
        })?;
        let mut keys = BTreeMap::new();
        for written in file.key {
            let id = written.id.clone();
            let key = written.check(own).map_err(|wrong| format!("key {id}: {wrong}"))?;
            if keys.insert(id.clone(), Arc::new(key)).is_some() {
                return Err(format!("key {id} is there twice"));
            }
        }
        Ok(Credentials { keys })
    }
}

impl Key {
    /// Whether it is good in a region.
    pub(crate) fn serves(&self, region: &str) -> bool {
        is_region(region) && self.regions.iter().any(|own| own == region || own == "*")
    }

    /// The ARN of whose it is.
    pub(crate) fn user_arn(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", self.account, self.user)
    }
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    key: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenKey {
    id: String,
    secret: Hidden,
    session_token: Option<Hidden>,
    expires: Option<String>,
    user: Option<String>,
    account: Option<String>,
    regions: Option<Vec<String>>,
    policy: Option<Policy>,
}

impl WrittenKey {
    fn check(self, own: &Place) -> Result<Key, String> {
        let is_word = |word: &str| {
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+=,.@".contains(&byte);
            (1..=128).contains(&word.len()) && word.bytes().all(is_legal)
        };
        let user = self.user.unwrap_or_else(|| self.id.clone());
        if !is_word(&self.id) || !is_word(&user) {
            return Err("id and user have 1 to 128 letters, digits and _-+=,.@".to_owned());
        }
        if self.secret.0.is_empty() || self.session_token.as_ref().is_some_and(|token| token.0.is_empty()) {
            return Err("secret and session-token are not empty".to_owned());
        }
        let account = self.account.unwrap_or_else(|| own.account.clone());
        if !is_account(&account) {
            return Err(format!("account {account} is not 12 digits"));
        }
        let regions = self.regions.unwrap_or_else(|| vec![own.region.clone()]);
        if let Some(region) = regions.iter().find(|region| *region != "*" && !is_region(region)) {
            return Err(format!("region {region} is not 1 to 32 small letters, digits and hyphens, or *"));
        }
        let expires = self.expires.map(|text| {
            let time: Result<Timestamp, _> = text.parse();
            time.map_err(|_| format!("expires {text} is not a time such as 2027-01-01T00:00:00Z"))
        });
        Ok(Key {
            id: self.id,
            secret: Secret::new(self.secret.0),
            token: self.session_token,
            expires_s: expires.transpose()?.map(Timestamp::as_second),
            account,
            regions,
            user,
            policy: self.policy.map(Policy::checked).transpose()?,
        })
    }
}

/// Why a file with keys is of no use.
#[derive(Debug)]
pub struct CredentialsError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// It can't be, or may not.
    Unread(Unread),
    /// What is wrong with what it holds.
    Unfit(String),
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the credentials file {}", self.path.display())?;
        match &self.cause {
            Cause::Unread(Unread::Open) => f.write_str(" may be read by others: make it its owner's alone (chmod 600)"),
            Cause::Unread(why) => why.fmt(f),
            Cause::Unfit(wrong) => write!(f, ": {wrong}; mend that"),
        }
    }
}

impl std::error::Error for CredentialsError {}

/// Keys, and the file that they are from.
#[derive(Clone, Debug)]
pub struct CredentialsFile {
    pub(crate) path: PathBuf,
    pub(crate) credentials: Arc<Credentials>,
}

impl CredentialsFile {
    /// Reads it.
    pub(crate) fn read(path: PathBuf, own: &Place) -> Result<CredentialsFile, CredentialsError> {
        let credentials = Arc::new(Credentials::read(&path, own)?);
        Ok(CredentialsFile { path, credentials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, String> {
        Credentials::parse(text, &Place::default())
    }

    #[test]
    fn a_key_has_the_servers_place_unless_it_says_another() {
        let text = "[[key]]\nid = \"a\"\nsecret = \"s3cret\"\n[[key]]\nid = \"b\"\nsecret = \"x\"\nsession-token = \"tok3n\"\n\
                    expires = \"2027-01-01T00:00:00Z\"\nuser = \"bob\"\naccount = \"111122223333\"\nregions = [\"*\"]\n";
        let credentials = parse(text).unwrap();
        let (a, b) = (credentials.key("a").unwrap(), credentials.key("b").unwrap());
        assert_eq!((a.user_arn().as_str(), a.expires_s), ("arn:aws:iam::000000000000:user/a", None));
        assert!(a.serves("us-east-1") && !a.serves("eu-west-1"));
        assert_eq!((b.user_arn().as_str(), b.expires_s), ("arn:aws:iam::111122223333:user/bob", Some(1_798_761_600)));
        assert!(b.serves("eu-west-1") && !b.serves("Mars") && !b.serves(""));
        let told = format!("{credentials:?}");
        assert!(!told.contains("s3cret") && !told.contains("tok3n"), "{told}");
        assert!(credentials.key("c").is_none() && credentials.count() == 2);
    }

    #[test]
    fn mistakes_are_named_and_no_secret_is() {
        let key = |more: &str| format!("[[key]]\nid = \"a\"\nsecret = \"s3cret\"\n{more}");
        let statement = |more: &str| key(&format!("[[key.policy]]\neffect = \"allow\"\n{more}"));
        for (text, expected) in [
            (String::new(), "missing field `key`"),
            (key("regoins = []"), "line 4: unknown field `regoins`"),
            ("[[key]]\nid = \"a\"".to_owned(), "missing field `secret`"),
            (key("").repeat(2), "key a is there twice"),
            (key("account = \"12\""), "key a: account 12 is not 12 digits"),
            (key("regions = [\"EU\"]"), "region EU is not"),
            (key("expires = \"soon\""), "expires soon is not a time"),
            (key("user = \"a/b\""), "id and user have"),
            (key("session-token = \"\""), "are not empty"),
            (statement("actions = [\"kinesis:Fly\"]"), "no action is called kinesis:Fly"),
            (statement("actions = [\"PutRecord\"]"), "no action is called PutRecord"),
            (statement("actions = [\"dynamodb:DeletTable\"]"), "no action is called dynamodb:DeletTable"),
            (
                statement("actions = [\"dynamodb:*\"]\nstreams = [\"arn:aws:dynamodb:*:*:table/t\"]"),
                "dynamodb:* has nothing to do with streams",
            ),
            (statement("actions = []"), "a statement names at least one action"),
            (statement("actions = [\"*\"]\nstreams = [\"orders\"]"), "orders is neither * nor the ARN of a stream"),
            (
                statement("actions = [\"*\"]\nstreams = [\"arn:aws:kinesis:*:*:streams/orders\"]"),
                "streams/orders is neither * nor the ARN of a stream",
            ),
            (statement("actions = [\"*\"]\nresources = []"), "unknown field `resources`"),
            (key("[[key.policy]]\neffect = \"maybe\"\nactions = [\"*\"]"), "unknown variant `maybe`"),
        ] {
            let error = parse(&text).expect_err(expected);
            assert!(error.contains(expected) && !error.contains("s3cret"), "{expected}: {error}");
        }
    }
}
