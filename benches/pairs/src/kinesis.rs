//! A client of the Kinesis API in its smallest form, over HTTP/1.1 or HTTP/2, which keeps its connection: thousands of them are to
//! cost this side little.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::error::PairsError;
use crate::wire::{connect, lost};

/// How HTTP is spoken.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Frames of HTTP/2 by their types, and what their flags say.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` as a head begins with it.
const STATUS_200: u8 = 0x88;

const FRAME_HEADER_BYTES: usize = 9;

/// Both ends of it.
trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    authority: String,
    version: Version,
    /// What came and was not looked at.
    received: Vec<u8>,
    /// Of HTTP/2: the stream that was begun last.
    begun: u32,
}

/// Trusts the certificate in a file, and speaks HTTP/2.
pub(crate) fn trusting(certificate: &Path) -> Result<Arc<ClientConfig>, PairsError> {
    let failed = |error: &dyn std::fmt::Display| PairsError::Wire(format!("no TLS: {error}"));
    let file = File::open(certificate).map_err(|source| PairsError::File { path: certificate.to_owned(), source })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)) {
        roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(&error))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Deletes a stream: the native protocol has no word for it.
pub(crate) fn delete_stream(http: &str, name: &str) -> Result<(), PairsError> {
    Client::connect(http, Version::One, None)?.ask("DeleteStream", &json!({"StreamName": name})).map(drop)
}

impl Client {
    pub(crate) fn connect(
        address: &str,
        version: Version,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Client, PairsError> {
        let socket = connect(address)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(socket),
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("it is a name");
                let connection = ClientConnection::new(Arc::clone(config), name);
                let connection = connection.map_err(|error| PairsError::Wire(format!("no TLS: {error}")))?;
                Box::new(StreamOwned::new(connection, socket))
            }
        };
        let mut client = Client { stream, authority: address.to_owned(), version, received: Vec::new(), begun: 0 };
        if version == Version::Two {
            let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            put_frame(&mut opening, (SETTINGS, 0), 0, &[]);
            client.write(&opening)?;
        }
        Ok(client)
    }

    /// Asks, and reads the answer.
    pub(crate) fn ask(&mut self, action: &str, body: &Value) -> Result<Value, PairsError> {
        self.send(action, &body.to_string())?;
        let answer = self.hear_all()?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|error| PairsError::Wire(format!("it answered {action}: {error}")))
    }

    pub(crate) fn send(&mut self, action: &str, body: &str) -> Result<(), PairsError> {
        let (authority, target) = (&self.authority, format!("Kinesis_20131202.{action}"));
        let mut out = Vec::new();
        match self.version {
            Version::One => {
                let head = format!(
                    "POST / HTTP/1.1\r\nhost: {authority}\r\nx-amz-target: {target}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(body.as_bytes());
            }
            Version::Two => {
                self.begun = if self.begun == 0 { 1 } else { self.begun + 2 };
                // POST, http, /, as the table of every head has them.
                let mut head = vec![0x83, 0x86, 0x84];
                for (name, value) in [
                    (":authority", &**authority),
                    ("x-amz-target", &target),
                    ("content-type", "application/x-amz-json-1.1"),
                ] {
                    head.push(0);
                    for text in [name, value] {
                        head.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("it is short"));
                        head.extend_from_slice(text.as_bytes());
                    }
                }
                put_frame(&mut out, (HEADERS, END_HEADERS), self.begun, &head);
                put_frame(&mut out, (DATA, END_STREAM), self.begun, body.as_bytes());
            }
        }
        self.write(&out)
    }

    /// The whole answer's body.
    pub(crate) fn hear_all(&mut self) -> Result<Vec<u8>, PairsError> {
        match self.version {
            Version::One => {
                let length = self.head()?;
                let length = length.ok_or_else(|| PairsError::Wire("its answer has no length".to_owned()))?;
                while self.received.len() < length {
                    self.read()?;
                }
                Ok(self.received.drain(..length).collect())
            }
            Version::Two => {
                let mut body = Vec::new();
                loop {
                    let (kind, flags, payload) = self.frame()?;
                    if kind == DATA {
                        body.extend_from_slice(&payload);
                    }
                    if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                        return Ok(body);
                    }
                }
            }
        }
    }

    /// Waits for something of an answer that goes on.
    pub(crate) fn hear_event(&mut self) -> Result<(), PairsError> {
        match self.version {
            Version::One => {
                if self.received.is_empty() {
                    self.read()?;
                }
                if self.received.starts_with(b"HTTP/") {
                    self.head()?;
                    while self.received.is_empty() {
                        self.read()?;
                    }
                }
                self.received.clear();
                Ok(())
            }
            Version::Two => loop {
                match self.frame()? {
                    (DATA, flags, _) if flags & END_STREAM == 0 => return Ok(()),
                    (DATA, ..) => return Err(PairsError::Wire("a subscription ended".to_owned())),
                    _ => {}
                }
            },
        }
    }

    /// Reads a head of HTTP/1.1: how long what follows is, if it says so.
    fn head(&mut self) -> Result<Option<usize>, PairsError> {
        let end = loop {
            match self.received.windows(4).position(|end| end == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read()?,
            }
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            let more = String::from_utf8_lossy(&self.received);
            return Err(PairsError::Wire(format!("it answered over HTTP: {head}{more}").replace(['\r', '\n'], " ")));
        }
        Ok(head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()))
    }

    /// Reads a frame of HTTP/2; what is asked of this side is answered.
    fn frame(&mut self) -> Result<(u8, u8, Vec<u8>), PairsError> {
        while self.received.len() < FRAME_HEADER_BYTES {
            self.read()?;
        }
        let &[a, b, c, kind, flags, ..] = &*self.received else { unreachable!("there are nine") };
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        while self.received.len() < FRAME_HEADER_BYTES + length {
            self.read()?;
        }
        let payload = self.received.drain(..FRAME_HEADER_BYTES + length).skip(FRAME_HEADER_BYTES).collect::<Vec<_>>();
        if kind == SETTINGS && flags & ACK == 0 {
            let mut out = Vec::new();
            put_frame(&mut out, (SETTINGS, ACK), 0, &[]);
            self.write(&out)?;
        }
        if kind == HEADERS && payload.first() != Some(&STATUS_200) {
            return Err(PairsError::Wire("it refused over HTTP/2".to_owned()));
        }
        Ok((kind, flags, payload))
    }

    fn read(&mut self) -> Result<(), PairsError> {
        let mut bytes = [0; 4096];
        let got = self.stream.read(&mut bytes).map_err(|error| lost(&error))?;
        if got == 0 {
            return Err(lost(&std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.received.extend_from_slice(&bytes[..got]);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), PairsError> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(|error| lost(&error))
    }
}

/// A frame of HTTP/2: its type and flags, whose it is, and what it holds.
fn put_frame(out: &mut Vec<u8>, (kind, flags): (u8, u8), stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
