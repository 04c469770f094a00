//! A socket, in clear or with TLS on it: it is waited for, and then takes and gives what it can at once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use rustls::ClientConnection;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::options::Tls;

pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Whether more may be had without the socket: what came with a read that was filled.
    has_more: bool,
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

impl Stream {
    /// Connects. The handshake of TLS comes with what is read and written; a server that is not to be trusted is an error of kind
    /// [`ErrorKind::InvalidData`] then.
    pub(crate) async fn connect(address: SocketAddr, tls: Option<&Tls>) -> io::Result<Stream> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let session = |tls: &Tls| ClientConnection::new(tls.config.clone(), tls.name.clone()).map(Box::new);
        let tls = tls.map(session).transpose().map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        Ok(Stream { socket, tls, has_more: false })
    }

    /// Until there is something to take, or to give where somebody `has_output`.
    pub(crate) async fn ready(&self, has_output: bool) -> io::Result<()> {
        if self.has_more {
            return Ok(());
        }
        let is_writing = self.tls.as_ref().map_or(has_output, |tls| tls.wants_write());
        let interest = if is_writing { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.socket.ready(interest).await.map(drop)
    }

    /// As [`TcpStream::try_read`].
    pub(crate) fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.try_read(bytes) };
        self.has_more = false;
        loop {
            match tls.reader().read(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => {
                    self.has_more = matches!(read, Ok(count) if count == bytes.len());
                    return read;
                }
            }
            tls.read_tls(&mut AtOnce(&self.socket))?;
            if let Err(error) = tls.process_new_packets() {
                // The server is told, if that is still possible.
                let _ = tls.write_tls(&mut AtOnce(&self.socket));
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// As [`TcpStream::try_write`]. What TLS took and did not send goes with [`Stream::try_flush`].
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What it holds may be all that it has room for.
        self.try_flush()?;
        let Some(tls) = &mut self.tls else { return self.socket.try_write(bytes) };
        match tls.writer().write(bytes)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => {
                self.try_flush()?;
                Ok(taken)
            }
        }
    }

    /// Sends what the socket has room for. That it has none is no error.
    pub(crate) fn try_flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut AtOnce(&self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
