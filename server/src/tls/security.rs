//! What a connection begins with: TLS or clear text, told by its first byte, so that both share a port.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::{Protocol, Tls};

/// What every handshake of TLS begins with; no method of HTTP does, nor the preface of HTTP/2, nor a Hello of the native protocol.
const HANDSHAKE: u8 = 0x16;

/// How long whoever speaks in clear where that is not taken has to hear so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// TLS of a port.
pub(crate) struct Security {
    pub(crate) tls: Arc<Tls>,
    /// Whether clear text is taken beside it.
    pub(crate) plaintext: bool,
}

/// A connection that can be spoken on.
pub(crate) enum Secured {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// It was in clear, is told that this is not taken, and has ended.
    Refused,
}

impl Security {
    /// Finds out what a connection is, of which something has to come by then, and shakes hands. Whoever speaks in clear where
    /// that is not taken is told so in its protocol's words.
    pub(crate) async fn begin(
        &self,
        mut stream: TcpStream,
        protocol: Protocol,
        first_timeout: Duration,
        refusal: &[u8],
    ) -> io::Result<Secured> {
        let mut first = [0];
        timeout(first_timeout, stream.peek(&mut first)).await??;
        match (first, self.plaintext) {
            ([HANDSHAKE], _) => self.tls.accept(protocol, stream).await.map(|stream| Secured::Tls(Box::new(stream))),
            (_, true) => Ok(Secured::Clear(stream)),
            (_, false) => {
                // Unless all that came is read, closing resets the connection, and what was said is lost.
                let refuse = async {
                    stream.write_all(refusal).await?;
                    stream.shutdown().await?;
                    let mut ignored = [0; 4096];
                    while stream.read(&mut ignored).await? > 0 {}
                    io::Result::Ok(())
                };
                timeout(REFUSAL_TIMEOUT, refuse).await.unwrap_or(Ok(())).map(|()| Secured::Refused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_native_client_begins_as_tls_does() {
        let mut hello = Vec::new();
        let _ = frame::proto::Client::new(&mut hello);
        assert_ne!(hello[0], HANDSHAKE);
    }
}
