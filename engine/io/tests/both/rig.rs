//! An `Io` on a directory of its own, and what tests ask of it again and again.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use io::{
    BufMut, Completion, DataDir, DirId, FileId, FileOp, Io, IoConfig, ListenerId, Op, Payload, SocketId, SystemIo,
    Token, Wait,
};
use tempfile::TempDir;

use crate::Subject;

/// More than any operation here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    // Before the directory, so that nothing works in it when it goes.
    pub(crate) io: Subject,
    pub(crate) path: PathBuf,
    _directory: Option<TempDir>,
    seen: Vec<Completion>,
    tokens: u64,
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Says what is missing, in one line, past what the test harness captures. Where CI is set that is a failure.
pub(crate) fn skip(missing: &str) {
    assert!(std::env::var_os("CI").is_none(), "a skip is a failure where CI is set: {missing}");
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut IoConfig)) -> Rig {
        let directory = directory();
        let mut rig = Rig::at(directory.path(), change);
        rig._directory = Some(directory);
        rig
    }

    pub(crate) fn at(path: &Path, change: impl FnOnce(&mut IoConfig)) -> Rig {
        Rig::of(DataDir::open(path, false).unwrap(), change)
    }

    pub(crate) fn of(data_dir: DataDir, change: impl FnOnce(&mut IoConfig)) -> Rig {
        let path = data_dir.path().to_owned();
        let mut config = IoConfig::new(vec![data_dir]);
        config.pool_bytes = 4 << 20;
        config.receive_buffers = 8;
        config.receive_buffer_bytes = 4096;
        change(&mut config);
        let io = Subject::start(config).unwrap();
        Rig { io, path, _directory: None, seen: Vec::new(), tokens: 0 }
    }

    /// Submits under a token of its own.
    pub(crate) fn submit(&mut self, op: Op) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.io.submit(op, token);
        token
    }

    /// The next completion of `token`. Those of others are kept for when they are asked for.
    pub(crate) fn next(&mut self, token: Token) -> Completion {
        let deadline_ns = self.io.mono_ns() + PATIENCE.as_nanos() as u64;
        loop {
            if let Some(at) = self.seen.iter().position(|completion| completion.token == token) {
                return self.seen.remove(at);
            }
            assert!(self.io.mono_ns() < deadline_ns, "{token:?} did not complete; seen: {:?}", self.seen);
            self.io.turn(Wait::Until(deadline_ns), &mut self.seen);
        }
    }

    /// Whether `token` completed in a turn so far and was not asked for.
    pub(crate) fn has(&self, token: Token) -> bool {
        self.seen.iter().any(|completion| completion.token == token)
    }

    /// Submits and waits for the only completion.
    pub(crate) fn run(&mut self, op: Op) -> Completion {
        let token = self.submit(op);
        let completion = self.next(token);
        assert!(!completion.more);
        completion
    }

    pub(crate) fn file(&mut self, op: FileOp) -> i32 {
        self.run(Op::File(op)).result
    }

    pub(crate) fn open(&mut self, name: &str, create: bool) -> FileId {
        let result = self.file(FileOp::Open { dir: DirId(0), name: name.to_owned(), create });
        FileId(u32::try_from(result).unwrap_or_else(|_| panic!("opening {name} failed: {result}")))
    }

    /// A buffer whose bytes depend on their place and on `seed`.
    pub(crate) fn buffer(&self, bytes: usize, seed: u8) -> BufMut {
        let mut buf = self.io.pool().take(bytes).unwrap();
        for (index, byte) in buf.iter_mut().enumerate() {
            *byte = (index / 512) as u8 ^ index as u8 ^ seed;
        }
        buf
    }

    pub(crate) fn write(&mut self, file: FileId, offset: u64, buf: BufMut, durable: bool) -> i32 {
        self.run(Op::Write { file, offset, buf: buf.freeze(), durable }).result
    }

    pub(crate) fn read(&mut self, file: FileId, offset: u64, bytes: usize) -> (i32, BufMut) {
        let mut buf = self.io.pool().take(bytes).unwrap();
        buf.fill(0xEE);
        let completion = self.run(Op::Read { file, offset, buf });
        let Payload::Buf(buf) = completion.payload else { panic!("a read gives its buffer back: {completion:?}") };
        (completion.result, buf)
    }

    pub(crate) fn listen(&mut self) -> (ListenerId, SocketAddr) {
        let (socket, address) = io::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        (self.io.accept_from(socket).unwrap(), address)
    }

    /// A connection, both ends.
    pub(crate) fn connect(&mut self) -> (SocketId, TcpStream) {
        let (listener, address) = self.listen();
        let accept = self.submit(Op::Accept(listener));
        let peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_nodelay(true).unwrap();
        let completion = self.next(accept);
        assert!(completion.more, "{completion:?}");
        (SocketId(u32::try_from(completion.result).unwrap()), peer)
    }
}
