//! Where the commands find their server, and how they write to an output that may be closed.

use std::io::{self, ErrorKind, StdoutLock, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use clap::Args;

use frame::proto::Secret;
use rustls::pki_types::ServerName;

use crate::client::{Client, ClientError, Timeouts, Trust};
use crate::secret;

/// Bytes of output that gather before they are written.
const OUTPUT_BYTES: usize = 64 << 10;

/// Arguments of every command that asks a server.
#[derive(Args, Clone, Debug)]
pub struct ServerArguments {
    /// Where the server is
    #[arg(
        long,
        env = "MILLSTREAM_NATIVE",
        value_name = "ADDR",
        global = true,
        default_value = "127.0.0.1:4570",
        value_parser = resolve
    )]
    native: Place,
    /// The file with the server's secret, where it wants one
    #[arg(long, env = "MILLSTREAM_NATIVE_SECRET_FILE", value_name = "FILE", global = true, value_parser = secret_in)]
    native_secret_file: Option<Secret>,
    /// Speak TLS, and trust a server that has this certificate, or one that it signed
    #[arg(long, env = "MILLSTREAM_TLS_CA", value_name = "FILE", global = true, value_parser = trust_in)]
    tls_ca: Option<Trust>,
}

impl ServerArguments {
    /// Connects to that server.
    ///
    /// # Errors
    /// It is not there, or is no server.
    pub fn connect(&self) -> Result<Client, ClientError> {
        let Place { address, name } = &self.native;
        let trust = self.tls_ca.as_ref().map(|trust| (trust, name.clone()));
        Client::connect_with(*address, Timeouts::default(), self.native_secret_file.clone(), trust)
    }
}

/// Where a server is, and the name that its certificate has to have.
#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    name: ServerName<'static>,
}

fn secret_in(path: &str) -> Result<Secret, String> {
    secret::read(Path::new(path)).map_err(|error| error.to_string())
}

fn trust_in(path: &str) -> Result<Trust, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{error}; check its name and its permissions"))?;
    Trust::new(&bytes).map_err(|why| format!("{why}; name the server's certificate, or the one that signed it"))
}

fn resolve(text: &str) -> Result<Place, String> {
    let wrong = |why: String| format!("{why}; write for example 127.0.0.1:4570 or localhost:4570");
    let mut addresses = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    let address = addresses.next().ok_or_else(|| wrong("no such host".to_owned()))?;
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    // What is no name may still be an address.
    let name = ServerName::try_from(host.to_owned()).unwrap_or(address.ip().into());
    Ok(Place { address, name })
}

/// Standard output, buffered, whose reader may leave: then it is [`Output::is_closed`], and what is written is dropped.
pub(crate) struct Output {
    out: io::BufWriter<StdoutLock<'static>>,
    closed: bool,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { out: io::BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock()), closed: false }
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes by `write`.
    ///
    /// # Errors
    /// Whatever is not a reader's leaving.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = write(&mut self.out);
        self.note(written)
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write(|out| out.flush())
    }

    fn note(&mut self, written: io::Result<()>) -> io::Result<()> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }
}
