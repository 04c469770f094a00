//! Operations in flight, and with them the memory that the kernel may read and write.

use crate::slab::Slab;
use crate::{Buf, BufMut, Token};

/// An operation that has begun and not ended. What it owns stays where it is, unseen, until the end.
pub(super) struct Operation {
    pub(super) token: Token,
    pub(super) work: Work,
}

/// What is done, on which file or connection, and what the kernel may touch meanwhile.
pub(super) enum Work {
    Write {
        file: u32,
        _buf: Buf,
    },
    Read {
        file: u32,
        buf: BufMut,
    },
    Accept,
    Receive {
        socket: u32,
    },
    SendBytes {
        socket: u32,
        bytes: Vec<u8>,
    },
    SendBuf {
        socket: u32,
        _buf: Buf,
    },
    Close {
        socket: u32,
    },
    /// Of everything on one connection, or of everything.
    Cancel,
    /// Of the receive with this key.
    StopReceive {
        socket: u32,
        receive: u64,
    },
    /// Polls the bell that wakers ring.
    Woken,
    /// Polls the bell that the file thread rings.
    Answered,
}

impl Work {
    fn is_disks(&self) -> bool {
        matches!(self, Work::Write { .. } | Work::Read { .. })
    }
}

/// The table of them. A key names an operation and its life in the table, so that a stray completion can't end another one.
pub(super) struct InFlight {
    operations: Slab<(u32, Operation)>,
    lives: u32,
    with_disk: usize,
}

impl InFlight {
    pub(super) fn with_capacity(capacity: usize) -> InFlight {
        InFlight { operations: Slab::with_capacity(capacity), lives: 0, with_disk: 0 }
    }

    pub(super) fn insert(&mut self, token: Token, work: Work) -> u64 {
        self.lives = self.lives.wrapping_add(1);
        self.with_disk += usize::from(work.is_disks());
        let number = self.operations.insert((self.lives, Operation { token, work }));
        u64::from(self.lives) << 32 | u64::from(number)
    }

    pub(super) fn get(&self, key: u64) -> &Operation {
        let (life, operation) =
            self.operations.get(key as u32).expect("a completion belongs to an operation in flight");
        assert_eq!(u64::from(*life), key >> 32, "a completion came twice");
        operation
    }

    pub(super) fn remove(&mut self, key: u64) -> Operation {
        self.get(key);
        let (_, operation) = self.operations.remove(key as u32).expect("just looked");
        self.with_disk -= usize::from(operation.work.is_disks());
        operation
    }

    /// Reads and writes.
    pub(super) fn with_disk(&self) -> usize {
        self.with_disk
    }

    /// All.
    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }
}
