//! What a connection begins with: TLS or clear text, told by its first byte, so that both share a port.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::HEAD_TIMEOUT;
use crate::tls::{Protocol, Tls};

/// What every handshake of TLS begins with; no method of HTTP does, nor the preface of HTTP/2.
const HANDSHAKE: u8 = 0x16;

/// How long whoever speaks in clear where that is not taken has to hear so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
                       This port takes TLS alone: ask it by https://.\n";

/// TLS of a port.
pub(crate) struct Security {
    pub(crate) tls: Arc<Tls>,
    /// Whether clear text is taken beside it.
    pub(crate) plaintext: bool,
}

/// A connection that can be spoken on.
pub(super) enum Secured {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// It was in clear, is told that this is not taken, and has ended.
    Refused,
}

/// Finds out what a connection is, and shakes hands.
pub(super) async fn secure(mut stream: TcpStream, security: Option<&Security>) -> io::Result<Secured> {
    let Some(Security { tls, plaintext }) = security else { return Ok(Secured::Clear(stream)) };
    let mut first = [0];
    timeout(HEAD_TIMEOUT, stream.peek(&mut first)).await??;
    match (first, plaintext) {
        ([HANDSHAKE], _) => tls.accept(Protocol::Http, stream).await.map(|stream| Secured::Tls(Box::new(stream))),
        (_, true) => Ok(Secured::Clear(stream)),
        (_, false) => {
            // Unless all that came is read, closing resets the connection, and what was said is lost.
            let refuse = async {
                stream.write_all(REFUSAL.as_bytes()).await?;
                stream.shutdown().await?;
                let mut ignored = [0; 4096];
                while stream.read(&mut ignored).await? > 0 {}
                io::Result::Ok(())
            };
            timeout(REFUSAL_TIMEOUT, refuse).await.unwrap_or(Ok(())).map(|()| Secured::Refused)
        }
    }
}
