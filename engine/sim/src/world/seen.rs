//! The world as a reactor sees it: the [`Io`] of simulation.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::{Handle, Reactor};
use io::{Completion, DirId, FileOp, Io, Op, Pool, Received, Token, Wait};

use super::{Buffers, Inner, LISTENER, Seat, World};

/// The world as a reactor sees it.
#[derive(Debug)]
pub struct SimIo {
    pub(super) world: World,
    pub(super) number: usize,
    pub(super) pool: Pool,
    pub(super) buffers: Buffers,
}

impl World {
    /// The world as the one reactor of a life sees it. One a life.
    pub fn io(&self) -> SimIo {
        self.ios(1).remove(0)
    }

    /// The world as each of so many reactors sees it. Once a life.
    ///
    /// # Panics
    /// If there is no memory for their pools.
    pub fn ios(&self, reactors: usize) -> Vec<SimIo> {
        let mut inner = self.inner.borrow_mut();
        let Inner { seed, life, surroundings, .. } = *inner;
        inner.seats = (0..reactors).map(|number| Seat::new(seed, life, number, &surroundings)).collect();
        let mut pools = self.pools.borrow_mut();
        while pools.len() < reactors {
            let bytes = pools[0].capacity_bytes();
            pools.push(Pool::new(bytes).expect("memory for another reactor's pool"));
        }
        let io = |number: usize| SimIo {
            world: self.clone(),
            number,
            pool: pools[number].clone(),
            buffers: Buffers::new(surroundings.receive_buffers, surroundings.receive_buffer_bytes),
        };
        (0..reactors).map(io).collect()
    }

    /// This life has these data directories, named in this order. Before its reactors are made.
    pub fn name_directories(&self, dirs: Vec<u32>) {
        self.inner.borrow_mut().dirs = dirs;
    }

    /// Whether a reactor's next turn may do something now.
    pub fn may_run(&self, reactor: usize) -> bool {
        let inner = self.inner.borrow();
        inner.seats[reactor].may_run(inner.clock.mono_ns())
    }

    /// What wakes a reactor.
    pub fn waker(&self, reactor: usize) -> impl Fn() + Send + Sync + use<> {
        let is_woken = Arc::clone(&self.inner.borrow().seats[reactor].is_woken);
        move || is_woken.store(true, Ordering::Relaxed)
    }

    /// Has all reactors of a life listen; the handle to them.
    pub fn serve<I: Io>(&self, reactors: &mut [Reactor<I>]) -> Handle {
        let handles = reactors.iter_mut().enumerate().map(|(number, reactor)| {
            reactor.listen(LISTENER);
            reactor.handle(self.waker(number))
        });
        Handle::join(handles.collect())
    }
}

impl Io for SimIo {
    fn submit(&mut self, op: Op, token: Token) {
        let mut inner = self.world.inner.borrow_mut();
        let op = if let Op::File(op) = op { Op::File(placed(op, &inner.dirs)) } else { op };
        inner.seats[self.number].queue.push((op, token));
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        self.world.inner.borrow_mut().turn(self.number, wait, &mut self.buffers, completions);
    }

    fn received(&self, received: Received) -> &[u8] {
        self.buffers.bytes(received)
    }

    fn recycle(&mut self, received: Received) {
        self.buffers.recycle(received);
    }

    fn receive_buffers(&self) -> usize {
        self.buffers.count()
    }

    fn directories(&self) -> usize {
        self.world.inner.borrow().dirs.len()
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn mono_ns(&self) -> u64 {
        self.world.inner.borrow().clock.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.world.inner.borrow().clock.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.world.inner.borrow().clock.boottime_ms()
    }

    fn boot(&self) -> u32 {
        self.world.inner.borrow().clock.boot()
    }

    fn random(&mut self) -> [u8; 16] {
        self.world.inner.borrow_mut().dice.bytes()
    }
}

/// The operation on the directory that this life means by its place.
fn placed(op: FileOp, dirs: &[u32]) -> FileOp {
    let placed = |dir: DirId| DirId(dirs[dir.0 as usize]);
    match op {
        FileOp::Open { dir, name, create } => FileOp::Open { dir: placed(dir), name, create },
        FileOp::Rename { dir, from, to } => FileOp::Rename { dir: placed(dir), from, to },
        FileOp::Remove { dir, name } => FileOp::Remove { dir: placed(dir), name },
        FileOp::SyncDir(dir) => FileOp::SyncDir(placed(dir)),
        FileOp::List(dir) => FileOp::List(placed(dir)),
        FileOp::FreeMib(dir) => FileOp::FreeMib(placed(dir)),
        FileOp::Close(_) | FileOp::Sync(_) => op,
        FileOp::Allocate { .. } | FileOp::Blank { .. } | FileOp::Truncate { .. } => op,
    }
}
