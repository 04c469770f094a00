//! The beginning of operations: from what the caller asks for to submission entries.
//!
//! An entry is queued only after its operation is in the table, which then owns what the entry points to.

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};

use super::operation::Work;
use super::receive::GROUP;
use super::{Listener, REGISTERED_BYTES_MAX, Ring};
use crate::{Completion, FileId, ListenerId, Op, Payload, SocketId, Token};

const SEND_FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

impl Ring {
    pub(super) fn begin(&mut self, op: Op, token: Token) {
        match op {
            Op::Write { file, offset, buf, durable } => {
                let Some(fd) = self.enter_file(file) else { return self.refuse(token, libc::EBADF, Payload::None) };
                let (start, bytes) = (buf.as_ptr(), buf.len() as u32);
                let flags = if durable { libc::RWF_DSYNC } else { 0 };
                let entry = match self.registered(start, buf.len()) {
                    Some(index) => {
                        opcode::WriteFixed::new(fd, start, bytes, index).offset(offset).rw_flags(flags).build()
                    }
                    None => opcode::Write::new(fd, start, bytes).offset(offset).rw_flags(flags).build(),
                };
                self.start_operation(entry, token, Work::Write { file: file.0, _buf: buf });
            }
            Op::Read { file, offset, mut buf } => {
                let Some(fd) = self.enter_file(file) else { return self.refuse(token, libc::EBADF, Payload::Buf(buf)) };
                let (start, bytes) = (buf.as_mut_ptr(), buf.len() as u32);
                let entry = match self.registered(start, buf.len()) {
                    Some(index) => opcode::ReadFixed::new(fd, start, bytes, index).offset(offset).build(),
                    None => opcode::Read::new(fd, start, bytes).offset(offset).build(),
                };
                self.start_operation(entry, token, Work::Read { file: file.0, buf });
            }
            Op::Accept(listener) => self.accept(listener, token),
            Op::Receive(socket) => {
                let Some(fd) = self.enter_socket(socket) else {
                    return self.refuse(token, libc::EBADF, Payload::None);
                };
                let entry = opcode::RecvMulti::new(fd, GROUP).build();
                let key = self.start_operation(entry, token, Work::Receive { socket: socket.0 });
                self.sockets.get_mut(socket.0).expect("just entered").receive = Some(key);
            }
            Op::StopReceive(socket) => self.stop_receive(socket.0),
            Op::SendBytes { socket, bytes, from } => self.send_bytes(socket, bytes, from, token),
            Op::SendBuf { socket, buf, from, to } => {
                let Some(range) = buf.get(from..to) else { return self.refuse(token, libc::EINVAL, Payload::None) };
                let (start, bytes) = (range.as_ptr(), range.len() as u32);
                let Some(fd) = self.enter_socket(socket) else {
                    return self.refuse(token, libc::EBADF, Payload::None);
                };
                let entry = opcode::Send::new(fd, start, bytes).flags(SEND_FLAGS).build();
                self.start_operation(entry, token, Work::SendBuf { socket: socket.0, _buf: buf });
            }
            Op::Close(socket) => self.close(socket, token),
            Op::File(op) => {
                if let Err(errno) = self.files.begin(op, token) {
                    self.refuse(token, errno, Payload::None);
                }
            }
        }
    }

    /// Polls a bell from here on: a completion for each time it rings.
    pub(super) fn listen_for(&mut self, work: Work) {
        let bell = if matches!(work, Work::Woken) { &self.wakers } else { self.files.bell() };
        let entry = opcode::PollAdd::new(Fd(bell.fd().as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.start_operation(entry, Token::WAKE, work);
    }

    /// Cancels the receive of a connection, if there is one.
    pub(super) fn stop_receive(&mut self, number: u32) {
        let socket = self.sockets.get(number).filter(|socket| socket.closing.is_none());
        let Some(receive) = socket.and_then(|socket| socket.receive) else { return };
        let entry = opcode::AsyncCancel::new(receive).build();
        self.start_operation(entry, Token::WAKE, Work::StopReceive { socket: number, receive });
    }

    pub(super) fn cancel_all(&mut self) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        self.start_operation(entry, Token::WAKE, Work::Cancel);
    }

    /// Closes a connection that nothing is in flight on.
    pub(super) fn close_now(&mut self, number: u32, token: Token) {
        let socket = self.sockets.get_mut(number).expect("it stays until it is closed");
        // From here on the descriptor is the kernel's to close.
        let fd = socket.fd.take().expect("it is closed once").into_raw_fd();
        let entry = opcode::Close::new(Fd(fd)).build();
        self.start_operation(entry, token, Work::Close { socket: number });
    }

    fn accept(&mut self, listener: ListenerId, token: Token) {
        match self.listeners.get_mut(listener.0 as usize) {
            Some(Listener::Socket(socket)) => {
                // Not SOCK_NONBLOCK: the kernel would answer -EAGAIN instead of waiting.
                let entry = opcode::AcceptMulti::new(Fd(socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
                self.start_operation(entry, token, Work::Accept);
            }
            Some(Listener::Queue { accept: accept @ None, .. }) => {
                *accept = Some(token);
                let mut ready = std::mem::take(&mut self.ready);
                self.take_handed_over(&mut ready);
                self.ready = ready;
            }
            Some(Listener::Queue { .. }) => self.refuse(token, libc::EALREADY, Payload::None),
            None => self.refuse(token, libc::EBADF, Payload::None),
        }
    }

    fn send_bytes(&mut self, socket: SocketId, bytes: Vec<u8>, from: usize, token: Token) {
        let Some(range) = bytes.get(from..) else { return self.refuse(token, libc::EINVAL, Payload::Bytes(bytes)) };
        let (start, length) = (range.as_ptr(), range.len() as u32);
        let Some(fd) = self.enter_socket(socket) else {
            return self.refuse(token, libc::EBADF, Payload::Bytes(bytes));
        };
        let entry = opcode::Send::new(fd, start, length).flags(SEND_FLAGS).build();
        self.start_operation(entry, token, Work::SendBytes { socket: socket.0, bytes });
    }

    fn close(&mut self, socket: SocketId, token: Token) {
        let Some(entry) = self.sockets.get_mut(socket.0).filter(|socket| socket.closing.is_none()) else {
            return self.refuse(token, libc::EBADF, Payload::None);
        };
        entry.closing = Some(token);
        if entry.in_flight == 0 {
            return self.close_now(socket.0, token);
        }
        let fd = Fd(raw_fd(entry));
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(fd).all()).build();
        self.start_operation(entry, token, Work::Cancel);
    }

    fn start_operation(&mut self, entry: squeue::Entry, token: Token, work: Work) -> u64 {
        let key = self.in_flight.insert(token, work);
        self.push(entry.user_data(key));
        key
    }

    /// Ends an operation that never began.
    fn refuse(&mut self, token: Token, errno: i32, payload: Payload) {
        self.ready.push(Completion { token, result: -errno, more: false, payload });
    }

    /// Counts one more operation on a file, if it is open.
    fn enter_file(&mut self, file: FileId) -> Option<Fd> {
        self.files.enter(file).map(|file| Fd(file.as_raw_fd()))
    }

    /// Counts one more operation on a connection, if it is open.
    fn enter_socket(&mut self, SocketId(number): SocketId) -> Option<Fd> {
        let socket = self.sockets.get_mut(number).filter(|socket| socket.closing.is_none())?;
        socket.in_flight += 1;
        Some(Fd(raw_fd(socket)))
    }

    /// The registered buffer that memory lies in.
    fn registered(&self, start: *const u8, bytes: usize) -> Option<u16> {
        let region = self.pool.region();
        let offset = (start as usize).checked_sub(region.start() as usize)?;
        // Pieces are aligned to their size, so none lies across two registered buffers.
        let within = offset + bytes <= region.bytes();
        (self.buffers_registered && within).then_some((offset / REGISTERED_BYTES_MAX) as u16)
    }
}

fn raw_fd(socket: &super::Socket) -> RawFd {
    socket.fd.as_ref().expect("only a closing connection has none").as_raw_fd()
}
