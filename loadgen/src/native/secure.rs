//! A connection over TLS, on epoll. One task reads and one writes; the session is borrowed for no longer than a step of either.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::net::TcpStream;

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
    socket: TcpStream,
    session: RefCell<ClientConnection>,
}

/// The socket's bytes, as many as there are room or bytes for.
struct AtOnce<'a>(&'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SecureStream {
    /// Shakes hands. A server that is not to be trusted is an error of kind [`ErrorKind::InvalidData`].
    pub(super) async fn secure(socket: TcpStream, trust: &Trust) -> io::Result<Self> {
        let session = ClientConnection::new(Arc::clone(&trust.config), trust.name.clone()).map_err(io::Error::other)?;
        let stream = Self { socket, session: RefCell::new(session) };
        loop {
            stream.flush().await?;
            if !stream.session.borrow().is_handshaking() {
                return Ok(stream);
            }
            if stream.receive().await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Fills `buffer`, as far as there is something.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.borrow_mut().reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.receive().await?;
        }
    }

    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // All that it took before is sent, so it has room.
            let taken = self.session.borrow_mut().writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.flush().await?;
        }
        Ok(())
    }

    /// Takes in what comes next. Nothing is its end.
    async fn receive(&self) -> io::Result<usize> {
        loop {
            self.socket.readable().await?;
            let mut session = self.session.borrow_mut();
            let received = match session.read_tls(&mut AtOnce(&self.socket)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                received => received?,
            };
            return match session.process_new_packets() {
                Ok(_) => Ok(received),
                Err(error) => {
                    // The server is told, if that is still possible.
                    let _ = session.write_tls(&mut AtOnce(&self.socket));
                    Err(io::Error::new(ErrorKind::InvalidData, error))
                }
            };
        }
    }

    async fn flush(&self) -> io::Result<()> {
        while self.session.borrow().wants_write() {
            let written = self.session.borrow_mut().write_tls(&mut AtOnce(&self.socket));
            match written {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.socket.writable().await?,
                written => drop(written?),
            }
        }
        Ok(())
    }
}
