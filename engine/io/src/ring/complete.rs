//! The end of operations: from completion entries to what the caller hears.

use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::cqueue;

use super::operation::{Operation, Work};
use super::{Ring, Socket};
use crate::{Completion, Payload, Token};

impl Ring {
    /// Takes in what has completed.
    pub(super) fn reap(&mut self, completions: &mut Vec<Completion>) {
        while let Some(entry) = self.next_entry() {
            let (key, result, flags) = (entry.user_data(), entry.result(), entry.flags());
            if cqueue::more(flags) {
                self.event(key, result, flags, completions);
            } else {
                self.end(key, result, flags, completions);
            }
        }
    }

    fn next_entry(&mut self) -> Option<cqueue::Entry> {
        self.uring.completion().next()
    }

    /// One event of an operation that goes on.
    fn event(&mut self, key: u64, result: i32, flags: u32, completions: &mut Vec<Completion>) {
        let Operation { token, work } = self.in_flight.get(key);
        let token = *token;
        let (result, payload) = match work {
            Work::Accept => (self.accepted(result), Payload::None),
            Work::Receive { .. } => (result, self.delivered(result, flags)),
            Work::Woken => return self.woken(completions),
            Work::Answered => return self.take_answers(completions),
            _ => panic!("an operation with one completion announced more"),
        };
        completions.push(Completion { token, result, more: true, payload });
    }

    /// The last completion of an operation.
    fn end(&mut self, key: u64, result: i32, flags: u32, completions: &mut Vec<Completion>) {
        let Operation { token, work } = self.in_flight.remove(key);
        let mut result = result;
        let payload = match work {
            Work::Write { file, .. } => {
                self.files.leave(file);
                Payload::None
            }
            Work::Read { file, buf } => {
                self.files.leave(file);
                Payload::Buf(buf)
            }
            Work::Accept => {
                result = self.accepted(result);
                Payload::None
            }
            Work::Receive { socket } => {
                self.forget_receive(socket, key);
                self.leave_socket(socket);
                self.delivered(result, flags)
            }
            Work::SendBytes { socket, bytes } => {
                self.leave_socket(socket);
                Payload::Bytes(bytes)
            }
            Work::SendBuf { socket, .. } => {
                self.leave_socket(socket);
                Payload::None
            }
            Work::Close { socket } => {
                self.sockets.remove(socket);
                Payload::None
            }
            Work::Cancel => return,
            Work::StopReceive { socket, receive } => {
                // A receive that was just being run again is not found, and goes on.
                let goes_on = self.sockets.get(socket).is_some_and(|socket| socket.receive == Some(receive));
                if result == -libc::ENOENT && goes_on && !self.ending {
                    self.stop_receive(socket);
                }
                return;
            }
            Work::Woken => {
                self.listen_again(Work::Woken);
                return self.woken(completions);
            }
            Work::Answered => {
                self.listen_again(Work::Answered);
                return self.take_answers(completions);
            }
        };
        completions.push(Completion { token, result, more: false, payload });
    }

    fn woken(&mut self, completions: &mut Vec<Completion>) {
        self.wakers.hush();
        completions.push(Completion { token: Token::WAKE, result: 0, more: true, payload: Payload::None });
        self.take_handed_over(completions);
    }

    /// The poll of a bell ends when the completion queue overflows. It starts with what has rung already.
    fn listen_again(&mut self, work: Work) {
        if !self.ending {
            self.listen_for(work);
        }
    }

    fn take_answers(&mut self, completions: &mut Vec<Completion>) {
        self.files.bell().hush();
        self.files.take_answers(completions);
    }

    /// The connection that an accept brought, by our number for it.
    fn accepted(&mut self, result: i32) -> i32 {
        if result < 0 {
            return result;
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
        self.add_socket(unsafe { OwnedFd::from_raw_fd(result) })
    }

    /// Our number for a connection, if there is room for it.
    pub(super) fn add_socket(&mut self, fd: OwnedFd) -> i32 {
        if self.sockets.len() >= self.sockets_max {
            return -libc::ENFILE;
        }
        self.sockets.insert(Socket { fd: Some(fd), in_flight: 0, closing: None, receive: None }).cast_signed()
    }

    /// What a receive delivered. Its end and its errors come without bytes.
    fn delivered(&mut self, result: i32, flags: u32) -> Payload {
        match (cqueue::buffer_select(flags), u32::try_from(result)) {
            (Some(buffer), Ok(length @ 1..)) => Payload::Received(self.receive.lend(buffer, length)),
            (Some(buffer), _) => {
                self.receive.returned(buffer);
                Payload::None
            }
            (None, _) => Payload::None,
        }
    }

    /// The receive with this key has ended.
    fn forget_receive(&mut self, number: u32, key: u64) {
        let socket = self.sockets.get_mut(number).expect("a connection stays while operations are in flight on it");
        if socket.receive == Some(key) {
            socket.receive = None;
        }
    }

    fn leave_socket(&mut self, number: u32) {
        let socket = self.sockets.get_mut(number).expect("a connection stays while operations are in flight on it");
        socket.in_flight -= 1;
        if let (0, Some(token)) = (socket.in_flight, socket.closing) {
            self.close_now(number, token);
        }
    }
}
