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
        let Place { addresses, name } = &self.native;
        let trust = self.tls_ca.as_ref().map(|trust| (trust, name.clone()));
        let connect = |address| {
            Client::connect_with(address, Timeouts::default(), self.native_secret_file.clone(), trust.clone())
        };
        let (last, others) = addresses.split_last().expect("a host without any is refused");
        // A server that is asked for by name listens at one of its addresses, seldom at all.
        let mut answered = others.iter().map(|&address| connect(address));
        let answered = answered.find(|connected| !matches!(connected, Err(ClientError::Connect { .. })));
        answered.unwrap_or_else(|| connect(*last))
    }
}

/// Where a server is, and the name that its certificate has to have.
#[derive(Clone, Debug)]
struct Place {
    /// At least one.
    addresses: Vec<SocketAddr>,
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
    let addresses: Vec<SocketAddr> = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?.collect();
    let first = addresses.first().ok_or_else(|| wrong("no such host".to_owned()))?;
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    // What is no name may still be an address.
    let name = ServerName::try_from(host.to_owned()).unwrap_or(first.ip().into());
    Ok(Place { addresses, name })
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Bug: `--native localhost:4570` did not find a server at 127.0.0.1. Mechanism: of a name's addresses the first alone was tried,
    /// which may be ::1. Fix: those at which nobody answers are passed over.
    #[test]
    fn a_name_s_addresses_are_tried_in_turn() {
        let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
        let [gone, listening] = [bound(), bound()];
        let [nobody, somebody] = [&gone, &listening].map(|listener| listener.local_addr().unwrap());
        drop(gone);
        let name = ServerName::from(nobody.ip());
        let connect = |addresses: &[SocketAddr]| {
            let native = Place { addresses: addresses.to_vec(), name: name.clone() };
            ServerArguments { native, native_secret_file: None, tls_ca: None }.connect().map(drop).unwrap_err()
        };
        let ending = std::thread::spawn(move || drop(listening.accept().unwrap()));
        // It was there, and ended without a word: no other is asked.
        let error = connect(&[nobody, somebody, nobody]);
        assert!(matches!(error, ClientError::Lost { address, .. } if address == somebody), "{error}");
        ending.join().unwrap();
        let error = connect(&[nobody, nobody]);
        assert!(matches!(error, ClientError::Connect { address, .. } if address == nobody), "{error}");
    }

    #[test]
    fn a_host_has_an_address_at_least() {
        let place = resolve("127.0.0.1:4570").unwrap();
        assert_eq!(place.addresses, ["127.0.0.1:4570".parse().unwrap()]);
        assert!(!resolve("localhost:4570").unwrap().addresses.is_empty());
        assert!(resolve("127.0.0.1").is_err());
    }
}
