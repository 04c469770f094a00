//! TLS for the doors to the outside: 1.2 and 1.3, one certificate, handshakes within bounds.
//!
//! ```text
//!   files -> files::load: read, checked -> Tls: a configuration for each protocol -> accept: one handshake
//!     ^------- watch: looked at again and again; what is good takes the place of what was
//! ```
//!
//! A connection keeps what it was begun with. Sessions are forgotten with their certificate, so a new connection always meets
//! the new one.

mod files;
mod places;
mod security;
mod self_signed;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{Acceptor, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use self::files::{Files, TlsError};
use self::places::Places;
pub(crate) use self::security::{Secured, Security, turn_away};

/// How long a handshake may take, with the wait for its place.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes at once, of each protocol. The next has the place of the one whose client has said nothing for longest,
/// a second at least unless very many wait.
const HANDSHAKES_MAX: usize = 512;

/// Where certificate and key are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// In these files.
    Files(Files),
    /// In the data directory, where the server makes them once.
    SelfSigned,
}

/// What is spoken inside of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// HTTP/2 or HTTP/1.1, as the client prefers.
    Http,
    /// Millstream's own.
    Native,
}

/// Configurations for one certificate.
struct Configurations {
    http: Arc<ServerConfig>,
    native: Arc<ServerConfig>,
}

/// Places for handshakes, of each protocol its own: who says nothing on one port must hold up no other.
struct Handshakes {
    http: Places,
    native: Places,
}

/// What all doors share.
pub(crate) struct Tls {
    files: Files,
    configurations: RwLock<Configurations>,
    handshakes: Handshakes,
}

impl Tls {
    /// Reads certificate and key, makes them if they are to be the server's own and are not there yet, and goes on looking
    /// whether the files have changed.
    pub(crate) fn start(source: Source, data: &[PathBuf]) -> Result<Arc<Tls>, TlsError> {
        let files = match source {
            Source::Files(files) => files,
            Source::SelfSigned => self_signed::find_or_make(data)?,
        };
        let states = files.states();
        let configurations = RwLock::new(Configurations::with(files.load()?)?);
        let [http, native] = [HANDSHAKES_MAX; 2].map(Places::of);
        let tls = Arc::new(Tls { files, configurations, handshakes: Handshakes { http, native } });
        watch::start(&tls, states).map_err(TlsError::Watch)?;
        Ok(tls)
    }

    /// The file with the certificate.
    pub(crate) fn certificate(&self) -> &std::path::Path {
        &self.files.certificate
    }

    /// Shakes hands.
    pub(crate) async fn accept(&self, protocol: Protocol, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let made_room = || io::Error::new(io::ErrorKind::TimedOut, "a handshake made room for another");
        let handshake = async {
            let mut place = self.places(protocol).take().await;
            let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
            let begun = place.within(hello).await.ok_or_else(made_room)??;
            // Signs, which is what a handshake costs.
            let finish = begun.into_stream(self.configuration(protocol));
            place.begin_anew();
            place.within(finish).await.ok_or_else(made_room)?
        };
        timeout(HANDSHAKE_TIMEOUT, handshake).await?
    }

    fn places(&self, protocol: Protocol) -> &Places {
        match protocol {
            Protocol::Http => &self.handshakes.http,
            Protocol::Native => &self.handshakes.native,
        }
    }

    fn configuration(&self, protocol: Protocol) -> Arc<ServerConfig> {
        let configurations = self.configurations.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(match protocol {
            Protocol::Http => &configurations.http,
            Protocol::Native => &configurations.native,
        })
    }

    /// Reads the files again. Where they are no good everything stays as it was.
    fn reload(&self) -> Result<(), TlsError> {
        let new = Configurations::with(self.files.load()?)?;
        *self.configurations.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

impl Configurations {
    fn with(certificate: CertifiedKey) -> Result<Configurations, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certificate));
        let configuration = |protocols: &[&[u8]]| {
            let mut configuration = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(TlsError::Provider)?
                .with_no_client_auth()
                .with_cert_resolver(Arc::clone(&resolver));
            configuration.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Ok(Arc::new(configuration))
        };
        Ok(Configurations { http: configuration(&[b"h2", b"http/1.1"])?, native: configuration(&[])? })
    }
}

/// The one that there is.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
