//! A connection of which it is not known yet which version of HTTP it speaks.
//!
//! That is told by its first bytes, for which the library waits without end. So they have a deadline here; once they say which
//! version it is, that version's own deadlines hold.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What connections of HTTP/2 begin with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection, and how long it may take to say which version it speaks.
pub(super) struct Opening<S> {
    stream: S,
    /// Until it has said so: its deadline, and how much of the preface it has sent.
    unknown: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Opening<S> {
    pub(super) fn new(stream: S, timeout: Duration) -> Opening<S> {
        Opening { stream, unknown: Some((Box::pin(sleep(timeout)), 0)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        let Some((deadline, seen)) = &mut self.unknown else { return read };
        let new = &buf.filled()[before..];
        let rest = &PREFACE[*seen..];
        let is_preface_so_far = new.len() < rest.len() && rest.starts_with(new);
        *seen += new.len();
        if !is_preface_so_far {
            self.unknown = None;
        } else if read.is_pending() && deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::runtime::Builder;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    /// What is read of a client that sends `parts`, each after half of the timeout.
    fn read(parts: &[&[u8]]) -> io::Result<Vec<u8>> {
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (mut client, server) = duplex(64);
            tokio::spawn(async move {
                for part in parts {
                    client.write_all(&part).await.expect("the server reads");
                    sleep(SHORT * 3 / 4).await;
                }
                sleep(SHORT * 2).await;
            });
            let mut read = Vec::new();
            Opening::new(server, SHORT).read_to_end(&mut read).await.map(|_| read)
        })
    }

    #[test]
    fn who_never_says_which_version_is_let_go() {
        for parts in [vec![&b""[..]], vec![b"P"], vec![b"PRI", b" * "]] {
            assert_eq!(read(&parts).map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut), "{parts:?}");
        }
    }

    #[test]
    fn who_says_it_has_all_the_time_that_the_version_gives() {
        for parts in [vec![&b"POST / HTTP/1.1"[..], b"\r\n"], vec![&PREFACE[..3], &PREFACE[3..], b"more"]] {
            assert_eq!(read(&parts).ok(), Some(parts.concat()), "{parts:?}");
        }
    }
}
