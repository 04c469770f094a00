//! Sockets that listen.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen as begin, socket_with, sockopt};

use crate::SEND_TIMEOUT;

/// A client that has been silent so long is asked for a sign of life by the kernel, and how often, until it was for
/// [`SEND_TIMEOUT`]: its host may be gone without a word, and would keep its place for ever.
const SILENCE: Duration = Duration::from_secs(15);
const SIGN_INTERVAL: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Has what is sent on a connection leave at once, and the kernel end it where its client takes nothing, or gives no sign of life,
/// for [`SEND_TIMEOUT`].
///
/// # Errors
/// The client has hung up meanwhile.
pub fn look_after(socket: impl AsFd) -> std::io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_tcp_user_timeout(&socket, SEND_TIMEOUT.as_millis() as u32)?;
    sockopt::set_tcp_keepidle(&socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(&socket, SIGN_INTERVAL)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    Ok(())
}

/// Opens a socket that listens at `address`, for [`SystemIo::accept_from`](crate::SystemIo::accept_from). The address that comes
/// back has the port that it got.
///
/// # Errors
/// The address is taken, or not one of this machine.
pub fn listen(address: SocketAddr) -> std::io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Accepted connections inherit these.
    look_after(&socket)?;
    bind(&socket, &address)?;
    begin(&socket, BACKLOG)?;
    let address = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, address))
}
