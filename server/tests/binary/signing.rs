//! Requests of the Kinesis API signed as the service's own SDKs sign them.

use std::borrow::Cow;
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use serde_json::Value;

use crate::gateway::{answer, connect};

/// A request that is signed, and may be changed before it is sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Who signs.
#[derive(Clone, Copy)]
pub(crate) struct Signer<'a> {
    pub(crate) key: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) token: Option<&'a str>,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    /// How far its clock is off, in seconds.
    pub(crate) off_s: i64,
    pub(crate) in_query: bool,
}

impl<'a> Signer<'a> {
    pub(crate) fn new(key: &'a str, secret: &'a str) -> Signer<'a> {
        let (region, service) = ("us-east-1", "kinesis");
        Signer { key, secret, token: None, region, service, off_s: 0, in_query: false }
    }

    pub(crate) fn at(self, region: &'a str) -> Signer<'a> {
        Signer { region, ..self }
    }

    /// One of the API's requests, in JSON.
    pub(crate) fn request(&self, action: &str, body: &Value) -> Request {
        let target = format!("Kinesis_20131202.{action}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)];
        self.signed(&headers, body.to_string().as_bytes())
    }

    pub(crate) fn signed(&self, headers: &[(&str, &str)], body: &[u8]) -> Request {
        let mut settings = SigningSettings::default();
        if self.in_query {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(60));
        }
        let identity = Credentials::new(self.key, self.secret, self.token.map(str::to_owned), None, "test").into();
        let time = SystemTime::now();
        let off = Duration::from_secs(self.off_s.unsigned_abs());
        let time = if self.off_s < 0 { time - off } else { time + off };
        let params = SigningParams::builder().identity(&identity).region(self.region).name(self.service);
        let params = params.time(time).settings(settings).build().unwrap().into();
        let all: Vec<(&str, &str)> = [&[("host", "here")], headers].concat();
        let signable =
            SignableRequest::new("POST", "http://here/", all.iter().copied(), SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut headers: Vec<_> = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.extend(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let pair = |(name, value): &(&str, Cow<'_, str>)| {
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("{name}={value}")
        };
        let query = instructions.params().iter().map(pair).collect::<Vec<_>>().join("&");
        Request { query, headers, body: body.to_vec() }
    }

    /// The status and the body of an action's answer, null if it is empty.
    pub(crate) fn ask(&self, address: SocketAddr, action: &str, body: &Value) -> (u16, Value) {
        self.request(action, body).ask(address)
    }

    #[track_caller]
    pub(crate) fn good(&self, address: SocketAddr, action: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(address, action, body);
        assert_eq!(status, 200, "{action} {body}: {answer}");
        answer
    }

    /// The error and its words.
    #[track_caller]
    pub(crate) fn refused(&self, address: SocketAddr, action: &str, body: &Value) -> (String, String) {
        self.request(action, body).refused(address)
    }
}

impl Request {
    pub(crate) fn send(&self, address: SocketAddr) -> (u16, Vec<u8>) {
        let mut stream = connect(address);
        let mark = if self.query.is_empty() { "" } else { "?" };
        let mut head = format!("POST /{mark}{} HTTP/1.1\r\ncontent-length: {}\r\n", self.query, self.body.len());
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        // Who is refused by the head alone may be answered before the body was sent.
        let _ = stream.write_all(&[format!("{head}\r\n").as_bytes(), &self.body].concat());
        answer(&mut stream)
    }

    pub(crate) fn ask(&self, address: SocketAddr) -> (u16, Value) {
        let (status, body) = self.send(address);
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    #[track_caller]
    pub(crate) fn refused(&self, address: SocketAddr) -> (String, String) {
        let (status, answer) = self.ask(address);
        assert_eq!(status, 400, "{answer}");
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        (text("__type"), text("message"))
    }

    /// The same with another value of a header, or without it.
    pub(crate) fn with(&self, name: &str, value: Option<&str>) -> Request {
        let mut other = self.clone();
        other.headers.retain(|(known, _)| known != name);
        other.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        other
    }
}

/// A file of keys, put in place at once, that only its owner reads.
pub(crate) fn credentials_file(directory: &Path, text: &str) -> PathBuf {
    let (path, new) = (directory.join("credentials"), directory.join("credentials.new"));
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}
