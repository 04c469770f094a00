//! Sockets that listen.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen as begin, socket_with, sockopt};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Opens a socket that listens at `address`, with `flags` beside those that every one has. The address that comes back has
/// the port that it got.
pub(crate) fn listen(address: SocketAddr, flags: SocketFlags) -> std::io::Result<(OwnedFd, SocketAddr)> {
    let (socket, address) = take(address, flags)?;
    // Accepted connections inherit it.
    sockopt::set_tcp_nodelay(&socket, true)?;
    begin(&socket, BACKLOG)?;
    Ok((socket, address))
}

/// Takes an address without listening, and tells the port that it got: one socket of this process may listen there beside it,
/// and nobody is given the port meanwhile.
///
/// # Errors
/// It is in use, or not one of this machine.
pub fn hold(address: SocketAddr) -> std::io::Result<(OwnedFd, SocketAddr)> {
    take(address, SocketFlags::empty())
}

fn take(address: SocketAddr, flags: SocketFlags) -> std::io::Result<(OwnedFd, SocketAddr)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    let address = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, address))
}
