//! Sockets that listen.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::SEND_TIMEOUT;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen as begin, socket_with, sockopt};

/// A client that has been silent so long is asked for a sign of life by the kernel, and how often: its host may be gone without a
/// word, and would keep its place for ever.
const SILENCE: Duration = Duration::from_secs(60);
const SIGN_INTERVAL: Duration = Duration::from_secs(10);
const SIGNS_MAX: u32 = 6;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

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
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(&socket, SIGN_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&socket, SIGNS_MAX)?;
    bind(&socket, &address)?;
    sockopt::set_tcp_user_timeout(&socket, SEND_TIMEOUT.as_millis() as u32)?;
    begin(&socket, BACKLOG)?;
    let address = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, address))
}
