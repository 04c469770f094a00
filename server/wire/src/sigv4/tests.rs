//! Requests as the service's own signer signs them, in header and query; and what is said of others.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use proptest::prelude::*;

use super::*;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW_S: i64 = 1_700_000_000;

#[derive(Clone, Debug)]
struct Request {
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    token: Option<String>,
}

impl Request {
    fn plain() -> Request {
        let headers = [("host", "localhost:4567"), ("x-amz-target", "Kinesis_20131202.ListStreams")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Request { path: "/".to_owned(), query: String::new(), headers, body: b"{}".to_vec(), token: None }
    }

    /// As the service's signer signs it.
    fn signed(mut self, location: SignatureLocation, at_s: i64) -> Request {
        let identity = Credentials::new(KEY, SECRET, self.token.clone(), None, "test").into();
        let mut settings = SigningSettings::default();
        settings.signature_location = location;
        settings.expires_in = (location == SignatureLocation::QueryParams).then_some(Duration::from_secs(60));
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        let params = SigningParams::builder().identity(&identity).region("us-east-1").name("kinesis");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at_s.cast_unsigned());
        let params = params.time(time).settings(settings).build().unwrap().into();
        let mark = if self.query.is_empty() { "" } else { "?" };
        let uri = format!("http://localhost:4567{}{mark}{}", self.path, self.query);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(&self.body)).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        for (name, value) in instructions.headers() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        let pairs = |(name, value): &(&str, Cow<'_, str>)| {
            let mut out = Vec::new();
            for byte in value.bytes() {
                out.extend(format!("%{byte:02X}").into_bytes());
            }
            format!("{name}={}", String::from_utf8(out).unwrap())
        };
        let added: Vec<String> = instructions.params().iter().map(pairs).collect();
        let parts =
            [Some(self.query).filter(|query| !query.is_empty()), Some(added.join("&")).filter(|it| !it.is_empty())];
        self.query = parts.into_iter().flatten().collect::<Vec<_>>().join("&");
        self
    }

    fn head(&self) -> Head<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        Head { method: "POST", path: &self.path, query: &self.query, headers }
    }

    fn verified(&self, now_s: i64) -> Result<Claim, Error> {
        let head = self.head();
        let claim = Claim::parse(&head)?;
        claim.check("kinesis", |region| region == "us-east-1", now_s)?;
        claim.verify(&head, &Secret::new(SECRET.to_owned()), &self.body)?;
        Ok(claim)
    }

    fn set(mut self, name: &str, value: &str) -> Request {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let escaped = "([a-zA-Z0-9_.~-]|%[0-9A-F]{2}){0,8}";
    let path = proptest::collection::vec(escaped, 0..4).prop_map(|parts| format!("/{}", parts.join("/")));
    let query = proptest::collection::vec(("[a-z]([a-zA-Z0-9_.~-]|%[0-9A-F]{2}){0,8}", escaped), 0..5);
    let query = query.prop_map(|pairs| {
        let valid = |text: &str| String::from_utf8(decode(text.as_bytes())).is_ok();
        let pairs = pairs.into_iter().filter(|(name, value)| valid(name) && valid(value));
        pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    });
    let headers = proptest::collection::btree_map("x-amz-[b-c]{1,6}|content-type", "[!-~][ -~]{0,20}", 0..5);
    let token = proptest::option::of("[A-Za-z0-9/+=]{1,100}");
    (path, query, headers, proptest::collection::vec(any::<u8>(), 0..2000), token).prop_map(
        |(path, query, headers, body, token)| {
            let plain = Request::plain();
            let headers = plain.headers.into_iter().chain(headers).collect();
            Request { path, query, headers, body, token }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_the_services_signer_signs_is_verified(request in any_request(), in_query: bool, at in 0usize..10_000) {
        let location = if in_query { SignatureLocation::QueryParams } else { SignatureLocation::Headers };
        let signed = request.clone().signed(location, NOW_S);
        let claim = signed.verified(NOW_S).unwrap();
        prop_assert_eq!((claim.key.as_str(), claim.region.as_str()), (KEY, "us-east-1"));
        prop_assert_eq!(claim.token, request.token);
        let mut other = signed.clone();
        other.body.insert(at % (signed.body.len() + 1), b'x');
        prop_assert!(other.verified(NOW_S).is_err());
    }

    #[test]
    fn nothing_that_is_said_breaks_it(header in ".{0,200}", query in ".{0,200}", secret: String) {
        let secret = Secret::new(secret);
        for header in [header.clone(), format!("AWS4-HMAC-SHA256 {header}"), format!("AWS4-HMAC-SHA256 Credential={header}")] {
            let mut request = Request::plain().set("authorization", &header).set("x-amz-date", "20150830T123600Z");
            request.query = query.clone();
            let head = request.head();
            if let Ok(claim) = Claim::parse(&head) {
                let _ = claim.check("kinesis", |_| true, NOW_S);
                prop_assert!(claim.verify(&head, &secret, b"").is_err());
            }
        }
    }
}

#[track_caller]
fn assert_refused(request: &Request, kind: ErrorKind, words: &str) {
    let error = request.verified(NOW_S).expect_err(words);
    assert!(error.kind == kind && error.message.contains(words), "{words}: {error}");
}

#[test]
fn clocks_may_be_five_minutes_apart() {
    let request = Request::plain().signed(SignatureLocation::Headers, NOW_S);
    for good in [-299, 0, 299] {
        assert!(request.verified(NOW_S + good).is_ok(), "{good}");
    }
    let error = request.verified(NOW_S + 301).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidSignature);
    assert_eq!(
        error.message,
        "Signature expired: 20231114T221320Z is now earlier than 20231114T221321Z (20231114T221821Z - 5 min.)"
    );
    let error = request.verified(NOW_S - 301).unwrap_err();
    assert_eq!(
        error.message,
        "Signature not yet current: 20231114T221320Z is still later than 20231114T221319Z (20231114T220819Z + 5 min.)"
    );
    // One in a query says how long it is good.
    let request = Request::plain().signed(SignatureLocation::QueryParams, NOW_S);
    assert!(request.verified(NOW_S + 60).is_ok());
    assert!(request.verified(NOW_S + 61).unwrap_err().message.contains("Signature expired: 20231114T221420Z"));
    for expires in ["604801", "-1", "x", "99999999999999999999"] {
        let mut request = request.clone();
        request.query = request.query.replace("X-Amz-Expires=%36%30", &format!("X-Amz-Expires={expires}"));
        assert_refused(&request, ErrorKind::IncompleteSignature, "X-Amz-Expires must be");
    }
}

#[test]
fn what_is_missing_is_named() {
    let plain = Request::plain();
    assert_refused(&plain, ErrorKind::MissingAuthenticationToken, "Missing Authentication Token");
    assert_refused(&plain.clone().set("authorization", "Basic eDp5"), ErrorKind::MissingAuthenticationToken, "Missing");
    let refused = |header: &str, words: &str| {
        let request = Request::plain().set("authorization", header).set("x-amz-date", "20231114T221320Z");
        assert_refused(&request, ErrorKind::IncompleteSignature, words);
    };
    refused(
        "AWS4-HMAC-SHA256",
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. \
         Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256",
    );
    refused("AWS4-HMAC-SHA256 Credential=a, Signature=,SignedHeaders=host", "requires 'Signature' parameter. Auth");
    refused("AWS4-HMAC-SHA256 Credential=a, Signature=b, SignedHeaders=host", "exactly 5 slash-delimited elements");
    refused("AWS4-X Credential=a/b/c/d/e, Signature=b, SignedHeaders=host", "Unsupported AWS 'algorithm': 'AWS4-X'.");
    let whole = "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=b, SignedHeaders=host";
    let undated = Request::plain().set("authorization", whole);
    assert_refused(
        &undated,
        ErrorKind::IncompleteSignature,
        "either a 'X-Amz-Date' or a 'Date' header. Authorization=",
    );
    let misdated = undated.set("x-amz-date", "yesterday");
    assert_refused(&misdated, ErrorKind::IncompleteSignature, "'basic format'. Got 'yesterday'");
    let mut query = plain;
    query.query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=".to_owned();
    assert_refused(
        &query,
        ErrorKind::IncompleteSignature,
        "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include \
         'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must \
         include 'X-Amz-Date'. Re-examine the query-string parameters.",
    );
    let both = query.set("authorization", whole);
    assert_refused(&both, ErrorKind::InvalidSignature, "Found both 'X-Amz-Algorithm'");
}

#[test]
fn a_scope_is_of_its_day_place_and_service() {
    let header = |scope: &str, signed: &str| {
        let text = format!("AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={signed}, Signature={:064}", 0);
        Request::plain().set("authorization", &text).set("x-amz-date", "20231114T221320Z")
    };
    let all = "host;x-amz-date;x-amz-target";
    for (scope, words) in [
        ("20231113/us-east-1/kinesis/aws4_request", "from HTTP: '20231113' != '20231114', from '20231114T221320Z'."),
        ("20231114/eu-west-1/kinesis/aws4_request", "scoped to a valid region, not 'eu-west-1'."),
        ("20231114/us-east-1/sts/aws4_request", "scoped to correct service: 'kinesis'."),
        ("20231114/us-east-1/kinesis/aws3", "valid terminator: 'aws4_request', not 'aws3'."),
        ("20231114/us-east-1/kinesis/aws4_request", "The request signature we calculated does not match"),
        ("x/y/z/w", "'kinesis'. Credential should be scoped with a valid terminator"),
    ] {
        assert_refused(&header(scope, all), ErrorKind::InvalidSignature, words);
    }
    let good = "20231114/us-east-1/kinesis/aws4_request";
    for (signed, words) in [
        ("x-amz-date;x-amz-target", "'Host' or ':authority' must be a 'SignedHeader'"),
        ("host;x-amz-date", "'x-amz-target' must be a 'SignedHeader'"),
        ("host;x-amz-target", "'x-amz-date' must be a 'SignedHeader'"),
        ("host;host;x-amz-date;x-amz-target", "must be sorted"),
        ("x-amz-target;host", "must be sorted"),
    ] {
        assert_refused(&header(good, signed), ErrorKind::InvalidSignature, words);
    }
}

/// Bug: the JavaScript SDK was refused. Mechanism: over HTTP/2 it signs `:authority` and no `host`. Fix: either will do.
#[test]
fn the_authority_of_http_2_is_signed_in_place_of_a_host() {
    let secret = Secret::new(SECRET.to_owned());
    let date = "20231114T221320Z";
    let signed = format!("{KEY}/20231114/us-east-1/kinesis/aws4_request, SignedHeaders=:authority;x-amz-date");
    let header = |signature: &str| format!("AWS4-HMAC-SHA256 Credential={signed}, Signature={signature}");
    let verified = |signature: &str, authority: &str| {
        let authorization = header(signature);
        let headers = [(AUTHORITY, authority), ("host", "x"), ("x-amz-date", date), ("authorization", &authorization)];
        let headers = headers.map(|(name, value)| (name, value.as_bytes())).to_vec();
        let head = Head { method: "POST", path: "/", query: "", headers };
        Claim::parse(&head)?.verify(&head, &secret, b"{}")
    };
    // Computed with Python's hmac.
    let signature = "47b7a3a145b2d7891d18964accd8c7c0884ef448fe957f3cdf695028c86c43f3";
    assert_eq!(verified(signature, "localhost:4567"), Ok(()));
    assert!(verified(signature, "localhost:4568").is_err());
}

#[test]
fn forms_are_read() {
    let body = b"Action=GetCallerIdentity&Version=2011-06-15&Na%6De=a+b%2";
    assert_eq!(form_field(body, "Action").as_deref(), Some("GetCallerIdentity"));
    assert_eq!(form_field(body, "Name").as_deref(), Some("a b%2"));
    assert_eq!((form_field(body, "None"), form_field(b"&=&x", "x")), (None, Some(String::new())));
}
