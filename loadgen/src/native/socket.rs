//! A connection on what its core's runtime is: io_uring, or epoll where that is not permitted and over TLS.
//!
//! Buffers go in whole and come back whole, as io_uring has it. One task reads and one writes at a time.

use std::io;
use std::net::{Shutdown, SocketAddr};

use rustix::net::{Shutdown as How, shutdown};
use tokio_uring::BufResult;
use tokio_uring::buf::BoundedBuf;

use super::runtime::{Kind, kind};
use super::secure::{SecureStream, Trust};

/// A connection.
pub(super) enum TcpStream {
    Ring(tokio_uring::net::TcpStream),
    Epoll(tokio::net::TcpStream),
    Secure(Box<SecureStream>),
}

impl TcpStream {
    /// Connects, by epoll in either case: that may be given up at any time, and the ring keeps a process from ending as long
    /// as it has something under way. Over TLS to whom is trusted alone.
    pub(super) async fn connect(target: SocketAddr, trust: Option<&Trust>) -> io::Result<Self> {
        let stream = tokio::net::TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        if let Some(trust) = trust {
            return Ok(Self::Secure(Box::new(SecureStream::secure(stream, trust).await?)));
        }
        match kind() {
            Kind::Ring => {
                let stream = stream.into_std()?;
                // The ring waits where a call would have to.
                stream.set_nonblocking(false)?;
                Ok(Self::Ring(tokio_uring::net::TcpStream::from_std(stream)))
            }
            Kind::Epoll => Ok(Self::Epoll(stream)),
        }
    }

    /// Fills `buffer`, as far as there is something.
    pub(super) async fn read(&self, mut buffer: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        match self {
            Self::Ring(stream) => stream.read(buffer).await,
            Self::Epoll(stream) => {
                let read = loop {
                    if let Err(error) = stream.readable().await {
                        break Err(error);
                    }
                    match stream.try_read(&mut buffer) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        read => break read,
                    }
                };
                (read, buffer)
            }
            Self::Secure(stream) => (stream.read(&mut buffer).await, buffer),
        }
    }

    /// Writes all of `bytes`.
    pub(super) async fn write_all<B: BoundedBuf>(&self, bytes: B) -> BufResult<(), B> {
        match self {
            Self::Ring(stream) => stream.write_all(bytes).await,
            Self::Epoll(stream) => lent(bytes, async |bytes| write_all(stream, bytes).await).await,
            Self::Secure(stream) => lent(bytes, async |bytes| stream.write_all(bytes).await).await,
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how_here = match how {
            Shutdown::Read => How::Read,
            Shutdown::Write => How::Write,
            Shutdown::Both => How::Both,
        };
        match self {
            Self::Ring(stream) => stream.shutdown(how),
            Self::Epoll(stream) => Ok(shutdown(stream, how_here)?),
            Self::Secure(stream) => Ok(shutdown(stream.socket(), how_here)?),
        }
    }
}

/// Has a buffer written that comes back whole.
async fn lent<B: BoundedBuf>(bytes: B, write: impl AsyncFnOnce(&[u8]) -> io::Result<()>) -> BufResult<(), B> {
    let bounds = bytes.bounds();
    let bytes = bytes.slice_full();
    let written = write(&bytes).await;
    (written, B::from_buf_bounds(bytes.into_inner(), bounds))
}

async fn write_all(stream: &tokio::net::TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
