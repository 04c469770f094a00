//! Connections on the reactor's thread: sockets that never block, and epoll to say when one goes on.
//!
//! Each socket is registered once, for edges: epoll tells that it became readable or writable, and that is kept here until a
//! call says that there is no more. So a turn costs one call of epoll's, however often receives begin and end, and nothing is
//! told of a socket that nothing is wanted of.
//!
//! Sockets that may have bytes are received from in turn, one buffer each, until a turn's bytes are used up. A send is tried as
//! it is submitted; what does not fit the socket waits here, in order, and completes once all of it was taken, or nothing more will be.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Receiver;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use crate::bell::Bell;
use crate::receive_memory::{ReceiveMemory, TURN_BYTES};
use crate::slab::Slab;
use crate::{Buf, Completion, IoConfig, ListenerId, Payload, Received, SocketId, Token};

/// Events that one turn takes in. More come with the next.
const EVENTS_MAX: usize = 1024;

/// Connections that one turn accepts. More wait for the next.
const ACCEPTS_MAX: usize = 64;

/// What an event is of, in the upper half of what epoll keeps for us; the lower half is a number.
const OF_SOCKET: u64 = 0;
const OF_LISTENER: u64 = 1;
const OF_WAKERS: u64 = 2;
const OF_ANSWERS: u64 = 3;

/// What is sent.
pub(super) enum Contents {
    Bytes(Vec<u8>),
    Buf(Buf),
}

impl Contents {
    fn as_slice(&self) -> &[u8] {
        match self {
            Contents::Bytes(bytes) => bytes,
            Contents::Buf(buf) => buf,
        }
    }

    fn into_payload(self) -> Payload {
        match self {
            Contents::Bytes(bytes) => Payload::Bytes(bytes),
            Contents::Buf(_) => Payload::None,
        }
    }
}

/// A send that has not ended, and how much of it was taken.
struct Sending {
    token: Token,
    contents: Contents,
    range: Range<usize>,
    sent: usize,
}

impl Sending {
    /// Goes on until the socket takes no more. The result, if that ends it.
    fn go_on(&mut self, socket: BorrowedFd<'_>) -> Option<i32> {
        let bytes = &self.contents.as_slice()[self.range.clone()];
        loop {
            match send(socket, &bytes[self.sent..], SendFlags::NOSIGNAL) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(errno) => return Some(self.ended(errno)),
            }
            if self.sent == bytes.len() {
                return Some(self.sent as i32);
            }
        }
    }

    /// What was taken is told, if anything was; the reason else.
    fn ended(&self, errno: Errno) -> i32 {
        if self.sent > 0 { self.sent as i32 } else { -errno.raw_os_error() }
    }

    fn completion(self, result: i32) -> Completion {
        Completion { token: self.token, result, more: false, payload: self.contents.into_payload() }
    }
}

/// An open connection.
struct Socket {
    fd: OwnedFd,
    /// The receive in progress.
    receive: Option<Token>,
    /// In order; only the first is under way.
    sends: VecDeque<Sending>,
    /// Whether it may have bytes, an end or an error to tell.
    is_readable: bool,
    /// Whether the end was told: it comes behind bytes that lie there, and no edge follows it.
    has_ended: bool,
    /// Whether it is in the queue of those that are received from.
    is_queued: bool,
}

/// What connections come from.
enum Source {
    Socket(OwnedFd),
    /// Other threads, which ring the bell of wakers when there is one.
    Queue(Receiver<OwnedFd>),
}

struct Listener {
    source: Source,
    accept: Option<Token>,
    is_readable: bool,
}

/// Which bells have rung.
#[derive(Default)]
pub(super) struct Rung {
    pub(super) wakers: bool,
    pub(super) answers: bool,
}

/// All connections of a reactor.
pub(super) struct Network {
    epoll: OwnedFd,
    /// Reused.
    events: Vec<Event>,
    listeners: Vec<Listener>,
    sockets: Slab<Socket>,
    sockets_max: usize,
    buffers: ReceiveMemory,
    /// Connections to receive from, in turn. One that was closed meanwhile is passed over.
    readable: VecDeque<u32>,
}

impl Network {
    pub(super) fn new(config: &IoConfig, wakers: &Bell, answers: &Bell) -> std::io::Result<Network> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Each ring is an edge, so the bells need not be read.
        for (bell, of) in [(wakers, OF_WAKERS), (answers, OF_ANSWERS)] {
            epoll::add(&epoll, bell.fd(), data(of, 0), EventFlags::IN | EventFlags::ET)?;
        }
        Ok(Network {
            epoll,
            events: Vec::with_capacity(EVENTS_MAX),
            listeners: Vec::new(),
            sockets: Slab::with_capacity(64),
            sockets_max: config.sockets_max as usize,
            buffers: ReceiveMemory::map(config.receive_buffers, config.receive_buffer_bytes)?,
            readable: VecDeque::new(),
        })
    }

    pub(super) fn watch(&mut self, fd: OwnedFd) -> std::io::Result<ListenerId> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let number = self.listeners.len() as u32;
        epoll::add(&self.epoll, &fd, data(OF_LISTENER, number), EventFlags::IN | EventFlags::ET)?;
        self.listeners.push(Listener { source: Source::Socket(fd), accept: None, is_readable: false });
        Ok(ListenerId(number))
    }

    pub(super) fn take_from(&mut self, accepted: Receiver<OwnedFd>) -> ListenerId {
        self.listeners.push(Listener { source: Source::Queue(accepted), accept: None, is_readable: true });
        ListenerId((self.listeners.len() - 1) as u32)
    }

    /// Other threads may have accepted connections.
    pub(super) fn woken(&mut self) {
        for listener in &mut self.listeners {
            listener.is_readable |= matches!(listener.source, Source::Queue(_));
        }
    }

    pub(super) fn buffers(&self) -> &ReceiveMemory {
        &self.buffers
    }

    pub(super) fn recycle(&mut self, received: Received) {
        self.buffers.recycle(received.buffer);
    }

    /// Whether there is something to do that epoll will not tell again.
    pub(super) fn is_busy(&self) -> bool {
        let accepts = |listener: &Listener| listener.is_readable && listener.accept.is_some();
        !self.readable.is_empty() || self.listeners.iter().any(accepts)
    }

    pub(super) fn accept(&mut self, ListenerId(number): ListenerId, token: Token, ready: &mut Vec<Completion>) {
        match self.listeners.get_mut(number as usize) {
            Some(Listener { accept: accept @ None, .. }) => *accept = Some(token),
            Some(_) => ready.push(ended(token, -libc::EALREADY)),
            None => ready.push(ended(token, -libc::EBADF)),
        }
    }

    pub(super) fn receive(&mut self, SocketId(number): SocketId, token: Token, ready: &mut Vec<Completion>) {
        match self.sockets.get_mut(number) {
            Some(socket) if socket.receive.is_none() => {
                socket.receive = Some(token);
                socket.queue(number, &mut self.readable);
            }
            Some(_) => ready.push(ended(token, -libc::EALREADY)),
            None => ready.push(ended(token, -libc::EBADF)),
        }
    }

    pub(super) fn stop_receive(&mut self, SocketId(number): SocketId, ready: &mut Vec<Completion>) {
        let receive = self.sockets.get_mut(number).and_then(|socket| socket.receive.take());
        ready.extend(receive.map(|token| ended(token, -libc::ECANCELED)));
    }

    pub(super) fn send(
        &mut self,
        SocketId(number): SocketId,
        token: Token,
        (contents, range): (Contents, Range<usize>),
        ready: &mut Vec<Completion>,
    ) {
        let is_within = contents.as_slice().get(range.clone()).is_some();
        let mut sending = Sending { token, contents, range, sent: 0 };
        let result = match self.sockets.get_mut(number) {
            _ if !is_within => Some(-libc::EINVAL),
            None => Some(-libc::EBADF),
            Some(socket) if socket.sends.is_empty() => sending.go_on(socket.fd.as_fd()),
            Some(_) => None,
        };
        match (result, self.sockets.get_mut(number)) {
            (None, Some(socket)) => socket.sends.push_back(sending),
            (result, _) => ready.push(sending.completion(result.unwrap_or(-libc::EBADF))),
        }
    }

    /// What is in flight ends first. With the descriptor goes what epoll knows of it.
    pub(super) fn close(&mut self, SocketId(number): SocketId, token: Token, ready: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.remove(number) else { return ready.push(ended(token, -libc::EBADF)) };
        ready.extend(socket.receive.map(|token| ended(token, -libc::ECANCELED)));
        for sending in socket.sends {
            let result = sending.ended(Errno::CANCELED);
            ready.push(sending.completion(result));
        }
        drop(socket.fd);
        ready.push(ended(token, 0));
    }

    /// Waits for events and takes them in: sends go on at once. Which bells have rung is returned.
    pub(super) fn poll(&mut self, sleep: Option<&Timespec>, completions: &mut Vec<Completion>) -> Rung {
        let mut rung = Rung::default();
        let mut events = std::mem::take(&mut self.events);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), sleep) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => panic!("epoll_wait refused a well-formed call: {errno}"),
        }
        for Event { flags, data } in events.drain(..) {
            let (of, number) = (data.u64() >> 32, data.u64() as u32);
            match of {
                OF_SOCKET => self.socket_event(number, flags, completions),
                OF_LISTENER => self.listeners[number as usize].is_readable = true,
                OF_WAKERS => rung.wakers = true,
                _ => rung.answers = true,
            }
        }
        self.events = events;
        rung
    }

    fn socket_event(&mut self, number: u32, flags: EventFlags, completions: &mut Vec<Completion>) {
        // A process that was just forked may keep a closed socket open until it runs another program.
        let Some(socket) = self.sockets.get_mut(number) else { return };
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        socket.has_ended |= failed || flags.contains(EventFlags::RDHUP);
        if socket.has_ended || flags.contains(EventFlags::IN) {
            socket.is_readable = true;
            socket.queue(number, &mut self.readable);
        }
        if failed || flags.contains(EventFlags::OUT) {
            socket.go_on_sending(completions);
        }
    }

    /// Accepts and receives what there is, up to a turn's bounds.
    pub(super) fn serve(&mut self, completions: &mut Vec<Completion>) {
        for listener in 0..self.listeners.len() {
            self.accept_from(listener, completions);
        }
        let mut left = TURN_BYTES;
        // One that goes on is queued again, so each gets its turn.
        while left > 0
            && let Some(number) = self.readable.pop_front()
        {
            left = left.saturating_sub(self.receive_from(number, completions));
        }
    }

    fn accept_from(&mut self, number: usize, completions: &mut Vec<Completion>) {
        for _ in 0..ACCEPTS_MAX {
            let listener = &mut self.listeners[number];
            let (Some(token), true) = (listener.accept, listener.is_readable) else { return };
            let accepted = match &listener.source {
                Source::Socket(fd) => accept_with(fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK),
                Source::Queue(accepted) => accepted.try_recv().map_err(|_| Errno::AGAIN),
            };
            match accepted {
                Ok(fd) => {
                    let result = self.add(fd);
                    completions.push(Completion { token, result, more: true, payload: Payload::None });
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => listener.is_readable = false,
                Err(errno) => {
                    listener.accept = None;
                    completions.push(ended(token, -errno.raw_os_error()));
                }
            }
        }
    }

    /// The connection that an accept brought, by our number for it.
    fn add(&mut self, fd: OwnedFd) -> i32 {
        if self.sockets.len() >= self.sockets_max {
            return -libc::ENFILE;
        }
        let socket = Socket {
            fd,
            receive: None,
            sends: VecDeque::new(),
            is_readable: false,
            has_ended: false,
            is_queued: false,
        };
        let number = self.sockets.insert(socket);
        let fd = &self.sockets.get(number).expect("just inserted").fd;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(errno) = epoll::add(&self.epoll, fd, data(OF_SOCKET, number), flags) {
            self.sockets.remove(number);
            return -errno.raw_os_error();
        }
        number.cast_signed()
    }

    /// Fills one buffer, if the connection is received from and has bytes. Returns how many.
    fn receive_from(&mut self, number: u32, completions: &mut Vec<Completion>) -> u32 {
        let Some(socket) = self.sockets.get_mut(number) else { return 0 };
        socket.is_queued = false;
        let (Some(token), true) = (socket.receive, socket.is_readable) else { return 0 };
        let Some(buffer) = self.buffers.take() else {
            socket.receive = None;
            completions.push(ended(token, -libc::ENOBUFS));
            return 0;
        };
        let received = recv(&socket.fd, self.buffers.bytes_mut(buffer), RecvFlags::empty());
        let Ok((_, length @ 1..)) = received else {
            self.buffers.put_back(buffer);
            match received {
                Err(Errno::AGAIN) => socket.is_readable = false,
                Err(Errno::INTR) => socket.queue(number, &mut self.readable),
                Ok(_) => completions.extend(socket.receive.take().map(|token| ended(token, 0))),
                Err(errno) => {
                    completions.extend(socket.receive.take().map(|token| ended(token, -errno.raw_os_error())))
                }
            }
            return 0;
        };
        // A buffer that is not full was the last of it, unless the end lies behind.
        socket.is_readable = length == self.buffers.buffer_bytes() || socket.has_ended;
        socket.queue(number, &mut self.readable);
        let received = self.buffers.lend(buffer, length as u32);
        let payload = Payload::Received(received);
        completions.push(Completion { token, result: length as i32, more: true, payload });
        received.length
    }
}

impl Socket {
    /// Puts it into the queue of those that are received from, if it is received from and may have something.
    fn queue(&mut self, number: u32, readable: &mut VecDeque<u32>) {
        if self.receive.is_some() && self.is_readable && !self.is_queued {
            self.is_queued = true;
            readable.push_back(number);
        }
    }

    fn go_on_sending(&mut self, completions: &mut Vec<Completion>) {
        while let Some(sending) = self.sends.front_mut() {
            let Some(result) = sending.go_on(self.fd.as_fd()) else { return };
            completions.extend(self.sends.pop_front().map(|sending| sending.completion(result)));
        }
    }
}

/// The end of an operation that brings nothing.
fn ended(token: Token, result: i32) -> Completion {
    Completion { token, result, more: false, payload: Payload::None }
}

fn data(of: u64, number: u32) -> EventData {
    EventData::new_u64(of << 32 | u64::from(number))
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} connections", self.sockets.len())
    }
}
