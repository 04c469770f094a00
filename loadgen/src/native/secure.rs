//! A connection over TLS, on epoll. One task reads and one writes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::roots_in;

/// Whom to trust, and under which name.
#[derive(Clone, Debug)]
pub struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// By the certificates of a file, a server that was told to be at this host.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(certificates: &Path, (host, address): (&str, SocketAddr)) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots_in(certificates)?)
            .with_no_client_auth();
        // What is no name may still be an address.
        let name = ServerName::try_from(host.to_owned()).unwrap_or(address.ip().into());
        Ok(Self { config: Arc::new(config), name })
    }
}

/// A connection.
pub(super) struct SecureStream {
    /// The same socket, to shut it down whoever has the others.
    socket: OwnedFd,
    reader: Mutex<ReadHalf<TlsStream<TcpStream>>>,
    writer: Mutex<WriteHalf<TlsStream<TcpStream>>>,
}

impl SecureStream {
    /// Shakes hands. A server that is not to be trusted is an error of kind [`io::ErrorKind::InvalidData`].
    pub(super) async fn secure(stream: TcpStream, trust: &Trust) -> io::Result<Self> {
        let socket = rustix::io::fcntl_dupfd_cloexec(&stream, 0)?;
        let connector = TlsConnector::from(Arc::clone(&trust.config));
        let (reader, writer) = split(connector.connect(trust.name.clone(), stream).await?);
        Ok(Self { socket, reader: Mutex::new(reader), writer: Mutex::new(writer) })
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Fills `buffer`, as far as there is something.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.lock().await.read(buffer).await
    }

    pub(super) async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        writer.write_all(bytes).await?;
        writer.flush().await
    }
}
