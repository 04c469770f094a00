//! Signature Version 4: who signed a request, and whether nobody changed it since.
//!
//! ```text
//!   Head -> Claim::parse: the Authorization header, or X-Amz-* in the query -> check: scope, time
//!        -> verify: canonical request and string to sign from the raw bytes -> HMAC, compared in constant time
//! ```
//!
//! A claim is what a request says of itself: it is believed once it is verified. What it costs is bounded by the bytes of the head,
//! and one hash of the body.

mod canonical;
mod secret;
mod time;

use std::borrow::Cow;

use hmac::Mac;

use self::canonical::{decode, decoded_pairs};
pub use self::secret::Secret;
use crate::error::{Error, ErrorKind};

/// The one way to sign that is known here.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What all such ways begin with.
const FAMILY: &str = "AWS4-";

/// What HTTP/2 has in place of `host`, and the JavaScript SDK signs.
pub const AUTHORITY: &str = ":authority";

const TERMINATOR: &str = "aws4_request";

/// How far the clocks of both ends may be apart. The service's.
pub const SKEW_S: i64 = 300;

/// How long a signature in a query may be good, if it says so: the service's bound, a week.
const EXPIRES_S_MAX: i64 = 7 * 24 * 3600;

/// What a header of a request's head is.
pub type Header<'a> = (&'a str, &'a [u8]);

/// The head of a request, as it was sent.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// `POST`, say.
    pub method: &'a str,
    /// Percent-encoded.
    pub path: &'a str,
    /// Percent-encoded; empty if there is none.
    pub query: &'a str,
    /// Names in small letters. Of HTTP/2 `:authority` is among them, and as `host` too if there is none.
    pub headers: Vec<Header<'a>>,
}

impl<'a> Head<'a> {
    fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.header(name).map(|value| String::from_utf8_lossy(value))
    }
}

/// What a signed request says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Which key it was signed with.
    pub key: String,
    /// Which region it is for.
    pub region: String,
    /// What belongs to a key that is good for a while.
    pub token: Option<String>,
    date: String,
    service: String,
    terminator: String,
    /// As it was sent, as it is signed, and in seconds since 1970.
    time: String,
    basic: String,
    time_s: i64,
    /// How long it is good, of those in a query that say so.
    expires_s: Option<i64>,
    /// In their order.
    signed: Vec<String>,
    signature: String,
    in_query: bool,
}

impl Claim {
    /// What a request says; nothing is believed yet.
    ///
    /// # Errors
    /// It says nothing, too little, or two things.
    pub fn parse(head: &Head<'_>) -> Result<Claim, Error> {
        let header = head.text("authorization");
        let in_query = decoded_pairs(head.query).any(|(name, _)| name == b"X-Amz-Algorithm");
        match header {
            Some(_) if in_query => Err(invalid(
                "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.".to_owned(),
            )),
            Some(header) if header.trim_start().starts_with(FAMILY) => Claim::of_header(head, header.trim()),
            None if in_query => Claim::of_query(head),
            _ => Err(Error::new(ErrorKind::MissingAuthenticationToken, "Missing Authentication Token")),
        }
    }

    fn of_header(head: &Head<'_>, header: &str) -> Result<Claim, Error> {
        let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
        const NAMES: [&str; 3] = ["Credential", "Signature", "SignedHeaders"];
        let mut params = [None; NAMES.len()];
        for (name, value) in rest.split([',', ' ']).filter_map(|param| param.split_once('=')) {
            // Of two of one name the first counts.
            if let Some(at) = NAMES.iter().position(|known| *known == name).filter(|_| !value.is_empty()) {
                params[at] = params[at].or(Some(value));
            }
        }
        let mut missing = String::new();
        for (name, _) in NAMES.iter().zip(params).filter(|(_, value)| value.is_none()) {
            missing += &format!("Authorization header requires '{name}' parameter. ");
        }
        let time = head.text("x-amz-date").or_else(|| head.text("date"));
        if time.is_none() {
            missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
        }
        if !missing.is_empty() {
            return Err(incomplete(format!("{missing}Authorization={header}")));
        }
        let [credential, signature, signed] = params.map(Option::unwrap_or_default);
        let given =
            Given { algorithm, credential, signed, signature, time: time.as_deref().unwrap_or_default().trim() };
        let claim = given.claim(head)?;
        Ok(Claim { token: head.text("x-amz-security-token").map(Cow::into_owned), ..claim })
    }

    fn of_query(head: &Head<'_>) -> Result<Claim, Error> {
        let param = |name: &str| {
            let found = decoded_pairs(head.query).find(|(other, _)| other == name.as_bytes()).map(|found| found.1);
            found.map(|value| String::from_utf8_lossy(&value).into_owned()).filter(|value| !value.is_empty())
        };
        let names = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"];
        let missing: String = (names.iter().filter(|name| param(name).is_none()))
            .map(|name| format!("AWS query-string parameters must include '{name}'. "))
            .collect();
        if !missing.is_empty() {
            return Err(incomplete(format!("{missing}Re-examine the query-string parameters.")));
        }
        let [algorithm, credential, signature, signed, time] = names.map(|name| param(name).unwrap_or_default());
        let given = Given {
            algorithm: &algorithm,
            credential: &credential,
            signed: &signed,
            signature: &signature,
            time: &time,
        };
        let claim = given.claim(head)?;
        let expires_s = match param("X-Amz-Expires") {
            None => None,
            Some(text) => {
                Some(text.parse().ok().filter(|expires| (0..=EXPIRES_S_MAX).contains(expires)).ok_or_else(|| {
                    incomplete(format!(
                        "X-Amz-Expires must be a number of seconds, at most {EXPIRES_S_MAX}. Got '{text}'."
                    ))
                })?)
            }
        };
        Ok(Claim { token: param("X-Amz-Security-Token"), expires_s, in_query: true, ..claim })
    }

    /// That it is for a service and one of its regions, and neither too old nor ahead.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self, service: &str, serves: impl Fn(&str) -> bool, now_s: i64) -> Result<(), Error> {
        let Claim { date, region, terminator, time, basic, .. } = self;
        let mut wrong = Vec::new();
        let day = basic.get(..8).unwrap_or_default();
        if *date != day {
            wrong.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != '{day}', \
                 from '{time}'."
            ));
        }
        if !serves(region) {
            wrong.push(format!("Credential should be scoped to a valid region, not '{region}'."));
        }
        if self.service != service {
            wrong.push(format!("Credential should be scoped to correct service: '{service}'."));
        }
        if terminator != TERMINATOR {
            wrong.push(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'."
            ));
        }
        if !wrong.is_empty() {
            return Err(invalid(wrong.join(" ")));
        }
        self.check_time(now_s)
    }

    fn check_time(&self, now_s: i64) -> Result<(), Error> {
        let (at, now) = (&self.basic, || time::basic(now_s));
        if self.time_s > now_s + SKEW_S {
            let (bound, now) = (time::basic(now_s + SKEW_S), now());
            return Err(invalid(format!(
                "Signature not yet current: {at} is still later than {bound} ({now} + 5 min.)"
            )));
        }
        match self.expires_s {
            Some(expires_s) if now_s > self.time_s + expires_s => {
                let (end, now) = (time::basic(self.time_s + expires_s), now());
                Err(invalid(format!("Signature expired: {end} is now earlier than {now} ({at} + {expires_s} s)")))
            }
            None if self.time_s < now_s - SKEW_S => {
                let (bound, now) = (time::basic(now_s - SKEW_S), now());
                Err(invalid(format!("Signature expired: {at} is now earlier than {bound} ({now} - 5 min.)")))
            }
            _ => Ok(()),
        }
    }

    /// That who has this secret signed this head and body.
    ///
    /// # Errors
    /// It was somebody else, or something else.
    pub fn verify(&self, head: &Head<'_>, secret: &Secret, body: &[u8]) -> Result<(), Error> {
        let scope = [&*self.date, &self.region, &self.service, &self.terminator];
        let request = canonical::request(head, &self.signed, self.in_query, body);
        let request_hash = hex(&canonical::hash(&request));
        let mut mac = secret.key(scope);
        mac.update([ALGORITHM, &self.basic, &scope.join("/"), &request_hash].join("\n").as_bytes());
        let signature = unhex(&self.signature).unwrap_or_default();
        mac.verify_slice(&signature).map_err(|_| {
            invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
                 and signing method. Consult the service documentation for details."
                    .to_owned(),
            )
        })
    }
}

/// The parts of a claim as they stand in a request.
struct Given<'a> {
    algorithm: &'a str,
    credential: &'a str,
    signed: &'a str,
    signature: &'a str,
    time: &'a str,
}

impl Given<'_> {
    fn claim(&self, head: &Head<'_>) -> Result<Claim, Error> {
        let Given { algorithm, credential, time, .. } = *self;
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let parts: Vec<&str> = credential.splitn(6, '/').collect();
        let &[key, date, region, service, terminator] = &parts[..] else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            )));
        };
        let time_s = time::seconds(time).ok_or_else(|| {
            incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{time}'. See http://en.wikipedia.org/wiki/ISO_8601"
            ))
        })?;
        let signed: Vec<String> = self.signed.split(';').map(str::to_owned).collect();
        // Each once, so that what is signed is no longer than the head.
        if !signed.is_sorted_by(|one, next| one < next) {
            return Err(invalid("SignedHeaders must be sorted, in small letters, and each named once.".to_owned()));
        }
        check_signed(head, &signed)?;
        Ok(Claim {
            key: key.to_owned(),
            region: region.to_owned(),
            token: None,
            date: date.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
            time: time.to_owned(),
            basic: if time::is_basic(time) { time.to_owned() } else { time::basic(time_s) },
            time_s,
            expires_s: None,
            signed,
            signature: self.signature.to_owned(),
            in_query: false,
        })
    }
}

/// That what decides over a request is signed: where it goes, when, and what it does.
fn check_signed(head: &Head<'_>, signed: &[String]) -> Result<(), Error> {
    let is_signed = |name: &str| signed.iter().any(|other| other == name);
    if !is_signed("host") && !is_signed(AUTHORITY) {
        let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
        return Err(invalid(message.to_owned()));
    }
    match ["x-amz-date", "x-amz-target"].into_iter().find(|name| head.header(name).is_some() && !is_signed(name)) {
        None => Ok(()),
        Some(name) => Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."))),
    }
}

/// The fields of a form, as STS is asked; of two of one name the first counts.
pub fn form_field(body: &[u8], name: &str) -> Option<String> {
    let mut pairs = body.split(|byte| *byte == b'&').map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default())
    });
    let (_, value) = pairs.find(|(other, _)| decode(other) == name.as_bytes())?;
    Some(String::from_utf8_lossy(&decode(value)).into_owned())
}

fn incomplete(message: String) -> Error {
    Error::new(ErrorKind::IncompleteSignature, message)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidSignature, message)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    text
}

/// Small digits alone, as the service has it.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
#[path = "sigv4/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "sigv4/vectors_tests.rs"]
mod vectors_tests;
