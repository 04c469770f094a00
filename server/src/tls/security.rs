//! What a connection begins with: TLS or clear text, told by its first byte, so that both share a port.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::{Protocol, Tls};

/// What every handshake of TLS begins with; no method of HTTP does, nor the preface of HTTP/2, nor a Hello of the native protocol.
const HANDSHAKE: u8 = 0x16;

/// How long whoever is turned away has to hear so.
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
        stream: TcpStream,
        protocol: Protocol,
        first_timeout: Duration,
        refusal: &[u8],
    ) -> io::Result<Secured> {
        let mut first = [0];
        timeout(first_timeout, stream.peek(&mut first)).await??;
        match (first, self.plaintext) {
            // Boxed: while a first byte is waited for there is no need of its size.
            ([HANDSHAKE], _) => {
                Box::pin(self.tls.accept(protocol, stream)).await.map(|stream| Secured::Tls(Box::new(stream)))
            }
            (_, true) => Ok(Secured::Clear(stream)),
            (_, false) => turn_away(stream, refusal).await.map(|()| Secured::Refused),
        }
    }
}

/// Says a last word, and listens until the client has ended too or had its time: unless all that came is read, closing resets the
/// connection, and what was said is lost.
pub(crate) async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin, word: &[u8]) -> io::Result<()> {
    let turn_away = async {
        stream.write_all(word).await?;
        stream.shutdown().await?;
        let mut ignored = vec![0; 4096];
        while stream.read(&mut ignored).await? > 0 {}
        Ok(())
    };
    timeout(REFUSAL_TIMEOUT, turn_away).await.unwrap_or(Ok(()))
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
