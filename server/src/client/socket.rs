//! The socket of a client: in clear, or with TLS on it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::tls::provider;

/// Which servers are trusted over TLS: those whose certificates these are, or are signed by these.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// By certificates as PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(certificates: &[u8]) -> Result<Trust, String> {
        let mut roots = RootCertStore::empty();
        let found = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, pem::Error>>();
        for certificate in found.map_err(|error| error.to_string())? {
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        if roots.is_empty() {
            return Err("it holds no certificate as PEM".to_owned());
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }
}

#[derive(Debug)]
pub(super) enum Socket {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Socket {
    /// Shakes hands with a server that is to be trusted under this name. Who is not is an error of kind [`ErrorKind::InvalidData`].
    pub(super) fn secure(stream: TcpStream, trust: &Trust, name: ServerName<'static>) -> io::Result<Socket> {
        let tls = ClientConnection::new(Arc::clone(&trust.0), name);
        let mut stream = StreamOwned::new(tls.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Socket::Tls(Box::new(stream)))
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Clear(stream) => stream.read(bytes),
            Socket::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Clear(stream) => stream.write(bytes),
            Socket::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Clear(stream) => stream.flush(),
            Socket::Tls(stream) => stream.flush(),
        }
    }
}
