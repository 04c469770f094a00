//! Where the API is served, and how a connection to it is made: in clear or by TLS, HTTP/1.1 or HTTP/2.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::sign::{Credentials, Signer};
use super::traffic::{Outgoing, Traffic, Watched};
use super::{HttpError, Wire};
use crate::certificates::roots_in;

/// How much may be on its way to us over HTTP/2: of one answer, and of all of a connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// How much is read at once over HTTP/1.1. Answers with records have 10 MiB and more, and take less of the processor so than in
/// the pieces of 400 KiB that the library reads by itself; larger ones take no less.
const READ_BYTES_MAX: usize = 1 << 20;

/// Which version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
}

impl Version {
    /// The name by which it is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "HTTP/1.1",
            Self::Two => "HTTP/2",
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1" | "1.1" => Ok(Self::One),
            "2" => Ok(Self::Two),
            other => Err(format!("{other:?} is not a version of HTTP; give 1 or 2")),
        }
    }
}

/// Where the API is served.
pub struct Endpoint {
    url: String,
    /// The name and, unless it is the usual one, the port.
    authority: String,
    addresses: Vec<SocketAddr>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Which version is wanted; in clear HTTP/1.1, by TLS the best that both have, unless told.
    version: Option<Version>,
    pub(super) open_within: Duration,
    pub(super) signer: Signer,
    pub(super) wire: Wire,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a connection is asked through.
pub(super) enum Sender {
    /// One request at a time.
    One(http1::SendRequest<Outgoing>),
    /// Many.
    Two(http2::SendRequest<Outgoing>),
}

/// Anything that bytes go through.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Tasks of HTTP/2 run on the core of their connection.
#[derive(Clone, Copy, Debug)]
struct OnThisCore;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisCore {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async { drop(future.await) });
    }
}

/// An address in its parts.
#[derive(Debug, Eq, PartialEq)]
struct Parts {
    is_tls: bool,
    host: String,
    port: u16,
    authority: String,
}

impl Parts {
    fn of(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "it is not an address")?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it begins with neither https:// nor http://"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user, which the API does not know");
        }
        if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
            return Err("it has a path or a query, and the API is served at /");
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let usual = if is_tls { 443 } else { 80 };
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => usual,
            _ => authority.port_u16().ok_or("its port is none")?,
        };
        let authority = if port == usual { authority.host().to_owned() } else { authority.as_str().to_owned() };
        if host.is_empty() { Err("it names no host") } else { Ok(Self { is_tls, host, port, authority }) }
    }
}

impl Endpoint {
    /// Reads an address, resolves its name, and finds credentials and certificates for it.
    pub fn new(
        url: &str,
        region: &str,
        version: Option<Version>,
        certificates: Option<&Path>,
        open_within: Duration,
    ) -> Result<Self, HttpError> {
        let Parts { is_tls, host, port, authority } =
            Parts::of(url).map_err(|why| HttpError::Url { url: url.to_owned(), why })?;
        let failed = |source| HttpError::Connect { url: url.to_owned(), source };
        let addresses: Vec<SocketAddr> = (host.as_str(), port).to_socket_addrs().map_err(failed)?.collect();
        if addresses.is_empty() {
            return Err(failed(io::Error::other("its name has no address")));
        }
        let is_loopback = addresses.iter().all(|address| address.ip().is_loopback());
        let tls = match is_tls {
            true => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|_| HttpError::Url { url: url.to_owned(), why: "its host is not a name" })?;
                Some((TlsConnector::from(Arc::new(tls_config(certificates, version)?)), name))
            }
            false => None,
        };
        let signer = Signer::new(Credentials::of_environment(is_loopback)?, region, "kinesis");
        Ok(Self { url: url.to_owned(), authority, addresses, tls, version, open_within, signer, wire: Wire::default() })
    }

    /// The same, to which records are written so.
    pub fn speaking(self, wire: Wire) -> Self {
        Self { wire, ..self }
    }

    /// As it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first of its addresses.
    pub fn address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or(SocketAddr::from((IpAddr::from([0; 4]), 0)))
    }

    /// What requests name it.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Where requests over HTTP/2 go.
    pub(super) fn uri(&self) -> String {
        format!("{}://{}/", if self.tls.is_some() { "https" } else { "http" }, self.authority)
    }

    /// Makes a connection: each to the next of its addresses, or to one further on where nobody is there.
    pub(super) async fn connect(&self, number: u32, traffic: &Rc<Traffic>) -> Result<Sender, HttpError> {
        let silent = |_| HttpError::Silent { url: self.url.clone(), waited: self.open_within };
        timeout(self.open_within, self.connect_now(number, traffic)).await.map_err(silent)?
    }

    async fn connect_now(&self, number: u32, traffic: &Rc<Traffic>) -> Result<Sender, HttpError> {
        let refused = |source| HttpError::Connect { url: self.url.clone(), source };
        let (count, mut connected) = (self.addresses.len(), Err(io::Error::other("its name has no address")));
        for at in 0..count {
            if connected.is_err() {
                connected = TcpStream::connect(self.addresses[(number as usize + at) % count]).await;
            }
        }
        let tcp = connected.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        let tcp = Watched::new(tcp, Rc::clone(traffic));
        let (stream, agreed): (Box<dyn Stream>, _) = match &self.tls {
            None => (Box::new(tcp), self.version.unwrap_or(Version::One)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await;
                let stream = stream.map_err(|error| self.handshake(error.to_string()))?;
                let agreed = match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Version::Two,
                    _ => Version::One,
                };
                if self.version.is_some_and(|wanted| wanted != agreed) {
                    return Err(self.handshake("it does not agree to that version of HTTP".to_owned()));
                }
                (Box::new(stream), agreed)
            }
        };
        let stream = TokioIo::new(stream);
        let failed = |error: hyper::Error| self.handshake(told(&error));
        match agreed {
            Version::One => {
                let mut builder = http1::Builder::new();
                builder.max_buf_size(READ_BYTES_MAX);
                let (sender, connection) = builder.handshake(stream).await.map_err(failed)?;
                tokio::task::spawn_local(async { drop(connection.await) });
                Ok(Sender::One(sender))
            }
            Version::Two => {
                let mut builder = http2::Builder::new(OnThisCore);
                builder.initial_stream_window_size(STREAM_WINDOW_BYTES);
                builder.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
                let (sender, connection) = builder.handshake(stream).await.map_err(failed)?;
                tokio::task::spawn_local(async { drop(connection.await) });
                Ok(Sender::Two(sender))
            }
        }
    }

    fn handshake(&self, reason: String) -> HttpError {
        HttpError::Handshake { url: self.url.clone(), reason }
    }
}

/// An error with what it came from: the first alone says little.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn tls_config(certificates: Option<&Path>, version: Option<Version>) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has suites of these versions");
    let mut config = builder.with_root_certificates(roots(certificates)?).with_no_client_auth();
    let protocols: &[&[u8]] = match version {
        Some(Version::One) => &[b"http/1.1"],
        Some(Version::Two) => &[b"h2"],
        None => &[b"h2", b"http/1.1"],
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Whom a server must be vouched for by: a file's certificates, or the system's.
fn roots(path: Option<&Path>) -> Result<RootCertStore, HttpError> {
    let failed = |why: String| HttpError::Certificates { path: path.map(Path::to_owned), why };
    if let Some(path) = path {
        return roots_in(path).map_err(failed);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(failed("there is none".to_owned())) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_nonsense_is_refused() {
        let parts = |url: &str| Parts::of(url).map(|parts| (parts.is_tls, parts.host, parts.port, parts.authority));
        let expect = |tls, host: &str, port, authority: &str| Ok((tls, host.to_owned(), port, authority.to_owned()));
        assert_eq!(parts("https://k.example"), expect(true, "k.example", 443, "k.example"));
        assert_eq!(parts("http://localhost:4567/"), expect(false, "localhost", 4567, "localhost:4567"));
        assert_eq!(parts("http://[::1]:80"), expect(false, "::1", 80, "[::1]"));
        for url in ["k.example", "ftp://k", "http://", "http://k/path", "http://k/?q", "http://u:p@k", "http://k:99999"]
        {
            assert!(Parts::of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(roots(Some(file.path())).unwrap_err().to_string().contains("--ca"));
        std::fs::write(file.path(), "").unwrap();
        assert!(roots(Some(file.path())).unwrap_err().to_string().contains("there is none"));
        assert!(roots(Some(Path::new("/nowhere"))).unwrap_err().to_string().contains("/nowhere"));
    }
}
