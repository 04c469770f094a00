//! The world of one life: disk, network and clock, and the order in which things happen. Single-threaded; each reactor
//! reaches it through a [`SimIo`] of its own, the test through [`World`]. Time goes on only while all reactors sleep.
//!
//! ```text
//!   submit -> queue -> turn: started, then what is due completes; if nothing is, time goes on to what is due next
//!                        \-- every start and every completion on the disk is a step; at the fatal one the power is cut
//! ```
//!
//! After the fatal step nothing the reactor does has any effect, and everything it asks for fails at once: so code that
//! waits on the spot comes to its end, and the test takes the disk to the next life.

mod clients;
mod seat;
mod seen;
mod surroundings;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use engine::limits::CLOCK_NOTED_NS;
use frame::proto::Secret;
use io::{Completion, ListenerId, Op, Payload, Pool, Token, Wait};
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Clock;
use crate::dice::Dice;
use crate::disk::{Disk, DiskFaults, DiskOp, Files, Rot};
use crate::errno;
use crate::network::{Buffers, Outgoing};
use crate::trace::Trace;
use seat::Seat;
pub use seen::SimIo;
pub use surroundings::{Death, Surroundings};

/// The one listener that a reactor has.
pub const LISTENER: ListenerId = ListenerId(0);

/// Turns that a reactor may take after its end before it must have noticed.
const IDLE_TURNS_MAX: u32 = 1000;

/// Turns in a row that do not sleep, start nothing and complete nothing: with more the reactor waits on the spot, as it did
/// (faults, seed 283) when a mark was due that waited for records.
const SPINS_MAX: u32 = 3;

/// The same beside other reactors: they may take turns with what they have for each other, which the world does not see.
const SPINS_BESIDE_MAX: u32 = 100;

/// What a reactor does only after so long it does whether or not anybody waits: it is nothing that could wake it.
const ROUTINE_NS: u64 = CLOCK_NOTED_NS / 2;

/// Turns in a row of one reactor after which it is taken to wait on the spot, so that time goes on although others are awake.
const TURNS_ALONE_MAX: u32 = 50;

#[derive(Debug)]
struct Inner {
    seed: u64,
    life: u64,
    surroundings: Surroundings,
    clock: Clock,
    disk: Disk,
    /// The reactors, by number.
    seats: Vec<Seat>,
    /// The data directories that this life has, in the order in which it names them.
    dirs: Vec<u32>,
    /// Who took the last turn, and how many in a row.
    last_turn: (usize, u32),
    /// When a client wants to be called.
    alarms: BTreeSet<u64>,
    dice: Dice,
    trace: Trace,
    /// Starts and completions on the disk so far.
    steps: u64,
    fatal_step: Option<u64>,
    is_dead: bool,
    is_stuck: bool,
    /// Turns since the life was over or stuck.
    idle_turns: u32,
    /// Bytes that clients have taken.
    taken_bytes: u64,
    /// What they must know to be heard.
    secret: Option<Secret>,
}

/// A life's world, as the test holds it. Clones are the same world.
#[derive(Clone, Debug)]
pub struct World {
    inner: Rc<RefCell<Inner>>,
    /// Of each reactor, as far as there ever were so many.
    pools: Rc<RefCell<Vec<Pool>>>,
}

impl World {
    /// The world of a run's first life: an empty disk. `pool` serves all lives, one after the other.
    pub fn new(seed: u64, pool: Pool, surroundings: Surroundings, trace: Trace) -> World {
        let disk = Disk::new(Dice::new(seed, 0, "disk"), surroundings.disk, surroundings.capacity_bytes);
        let inner = Inner {
            seed,
            life: 0,
            clock: Clock::new(&mut Dice::new(seed, 0, "clock")),
            disk,
            seats: vec![Seat::new(seed, 0, 0, &surroundings)],
            dirs: vec![0],
            last_turn: (0, 0),
            alarms: BTreeSet::new(),
            dice: Dice::new(seed, 0, "world"),
            trace,
            steps: 0,
            fatal_step: None,
            is_dead: false,
            is_stuck: false,
            idle_turns: 0,
            taken_bytes: 0,
            secret: None,
            surroundings,
        };
        World { inner: Rc::new(RefCell::new(inner)), pools: Rc::new(RefCell::new(vec![pool])) }
    }

    /// The next life begins: the same disk, as far as it survived the death of this one.
    ///
    /// # Panics
    /// If somebody still holds the last life's world, or a buffer of its pool: the engine leaks.
    pub fn next_life(&self, death: Death, surroundings: Surroundings) {
        assert_eq!(Rc::strong_count(&self.inner), 1, "the reactor of the last life was dropped");
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let life = inner.life;
        inner.note(format_args!("life {life} ends: {death:?}"));
        inner.alarms.clear();
        inner.life += 1;
        let (seed, life) = (inner.seed, inner.life);
        inner.seats = vec![Seat::new(seed, life, 0, &surroundings)];
        inner.dirs = vec![0];
        inner.dice = Dice::new(seed, life, "world");
        match death {
            Death::PowerCut => {
                inner.disk.cut_power(&mut inner.trace);
                inner.clock.reboot(&mut inner.dice);
            }
            Death::Killed => {
                inner.disk.kill(&mut inner.trace);
                inner.clock.advance(inner.dice.skewed(1_000_000..=10_000_000_000));
            }
        }
        let used_bytes: usize = self.pools.borrow().iter().map(Pool::used_bytes).sum();
        assert_eq!(used_bytes, 0, "the last life left buffers behind");
        inner.disk.set_faults(surroundings.disk, surroundings.capacity_bytes);
        inner.surroundings = surroundings;
        (inner.steps, inner.fatal_step) = (0, None);
        (inner.is_dead, inner.is_stuck, inner.idle_turns, inner.last_turn) = (false, false, 0, (0, 0));
    }

    /// Ends the run: what was recorded.
    pub fn into_trace(self) -> Trace {
        std::mem::take(&mut self.inner.borrow_mut().trace)
    }

    /// Cuts the power at this step of the disk, counted from the life's start.
    pub fn cut_at_step(&self, step: u64) {
        self.inner.borrow_mut().fatal_step = Some(step);
    }

    /// Cuts the power, or kills, now: which of the two, [`World::next_life`] is told.
    pub fn die(&self) {
        self.inner.borrow_mut().die();
    }

    /// Whether the life is over.
    pub fn is_dead(&self) -> bool {
        self.inner.borrow().is_dead
    }

    /// Whether the reactor last slept with nothing left that could wake it, but what it does every few minutes.
    pub fn is_stuck(&self) -> bool {
        self.inner.borrow().is_stuck
    }

    /// Starts and completions on the disk in this life.
    pub fn steps(&self) -> u64 {
        self.inner.borrow().steps
    }

    /// From now on nothing fails any more, and the disk has room; but maybe not for copies of segments, without which all goes on.
    pub fn heal(&self) {
        let mut inner = self.inner.borrow_mut();
        let Surroundings { disk, capacity_bytes, clock_jumps, wakes, .. } = Surroundings::calm();
        let disk = DiskFaults { copy_full: inner.surroundings.disk.copy_full, ..disk };
        inner.surroundings = Surroundings { disk, capacity_bytes, clock_jumps, wakes, ..inner.surroundings };
        inner.disk.set_faults(disk, capacity_bytes);
        inner.note(format_args!("faults stop"));
    }

    /// Nothing but copies of segments fails until [`World::resume_faults`].
    pub(crate) fn suspend_faults(&self) {
        let mut inner = self.inner.borrow_mut();
        let Surroundings { disk: DiskFaults { copy_full, .. }, capacity_bytes, .. } = inner.surroundings;
        inner.disk.set_faults(DiskFaults { copy_full, ..DiskFaults::default() }, capacity_bytes);
    }

    /// Faults go on, unless [`World::heal`] ended them.
    pub(crate) fn resume_faults(&self) {
        let mut inner = self.inner.borrow_mut();
        let Surroundings { disk, capacity_bytes, .. } = inner.surroundings;
        inner.disk.set_faults(disk, capacity_bytes);
    }

    /// Damages one place of what is stored. Only right after a power cut, before the next life begins.
    pub fn rot(&self, dice: &mut Dice) -> Option<Rot> {
        let mut inner = self.inner.borrow_mut();
        let Inner { disk, trace, clock, .. } = &mut *inner;
        let rot = disk.rot(dice, trace);
        trace.step(clock.mono_ns(), format_args!("{rot:?}"));
        rot
    }

    /// No more files than so many can be open from here on.
    pub fn limit_open_files(&self, open_max: usize) {
        self.inner.borrow_mut().disk.open_max = open_max;
    }

    /// What is on the disk. Only right after a power cut, before the next life begins.
    pub fn files(&self) -> Files {
        self.inner.borrow().disk.files()
    }

    /// Puts files on the disk of a world that has just been made.
    pub fn load(&self, files: Files) {
        self.inner.borrow_mut().disk.load(files);
    }

    /// Nanoseconds of the monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.inner.borrow().clock.mono_ns()
    }

    /// Milliseconds of the wall clock.
    pub fn wall_ms(&self) -> u64 {
        self.inner.borrow().clock.wall_ms()
    }

    /// Sets the wall clock forth by so much, or back.
    pub fn set_wall_by(&self, by_ms: i64) {
        self.inner.borrow_mut().clock.set_by(by_ms);
    }

    /// Has the test called again at this time.
    pub fn wake_at(&self, mono_ns: u64) {
        self.inner.borrow_mut().alarms.insert(mono_ns);
    }

    /// Adds a line to the trace.
    pub fn note(&self, line: fmt::Arguments<'_>) {
        self.inner.borrow_mut().note(line);
    }

    /// Counts a rare branch.
    pub fn count(&self, what: &'static str) {
        self.inner.borrow_mut().trace.count(what);
    }

    /// How often one was hit.
    pub(crate) fn counted(&self, what: &'static str) -> u64 {
        self.inner.borrow().trace.tally().get(what).copied().unwrap_or(0)
    }
}

impl Inner {
    fn note(&mut self, line: fmt::Arguments<'_>) {
        self.trace.step(self.clock.mono_ns(), line);
    }

    fn die(&mut self) {
        if !self.is_dead {
            self.is_dead = true;
            self.trace.step(self.clock.mono_ns(), format_args!("the end, at step {}", self.steps));
        }
    }

    /// A start or completion on the disk. Whether it is one too many.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.fatal_step == Some(self.steps) {
            self.die();
        }
        self.is_dead
    }

    fn turn(&mut self, own: usize, wait: Wait, buffers: &mut Buffers, completions: &mut Vec<Completion>) {
        self.watch_for_loops();
        let (last, in_a_row) = self.last_turn;
        self.last_turn = (own, if last == own { in_a_row + 1 } else { 0 });
        let before = completions.len();
        let (mut is_spinning, was_idle, mut has_slept) = (false, self.seats[own].queue.is_empty(), false);
        self.seats[own].asleep = None;
        self.start_queued(own);
        loop {
            if self.is_dead {
                // Who pauses goes on at once, and finds out.
                if let Wait::Until(until_ns) = wait {
                    self.clock.advance_to(until_ns.max(self.clock.mono_ns()));
                }
                return self.fail_everything(own, completions);
            }
            self.complete(own, buffers, completions);
            let is_woken = self.seats[own].is_woken.swap(false, Ordering::Relaxed);
            let now_ns = self.clock.mono_ns();
            if completions.len() > before || is_woken || self.is_test_due(now_ns) {
                self.is_stuck = false;
                break;
            }
            let until = match wait {
                Wait::Until(until) if until > now_ns => Some(until),
                Wait::Forever => None,
                Wait::No | Wait::Until(_) => {
                    is_spinning = was_idle && !has_slept;
                    break;
                }
            };
            if self.others_may_run(own, now_ns) {
                self.seats[own].asleep = Some(until);
                break;
            }
            if self.dice.chance(self.surroundings.wakes) {
                self.trace.count("world: woken for nothing");
                break;
            }
            let alarm = self.alarms.first().copied();
            let own_network = self.seats[own].network.next_due_ns();
            // What others could have done by now, and had no turn for, is no reason to stay.
            let others = || self.seats.iter().enumerate().filter(|(number, _)| *number != own).map(|(_, seat)| seat);
            let is_to_come = |due_ns: &u64| *due_ns > now_ns;
            let networks = others().filter_map(|seat| seat.network.next_due_ns().filter(is_to_come));
            let timers = others().filter_map(|seat| seat.asleep.flatten().filter(is_to_come)).chain(until);
            let event = [self.disk.next_due_ns(), own_network, alarm].into_iter().flatten().chain(networks).min();
            let timer = timers.min().filter(|&at| event.is_some() || at < now_ns + ROUTINE_NS);
            let Some(due_ns) = event.into_iter().chain(timer).min() else {
                self.is_stuck = !self.seats.iter().enumerate().any(|(at, seat)| at != own && seat.may_run(now_ns));
                break;
            };
            has_slept |= due_ns > now_ns;
            self.clock.advance_to(due_ns);
        }
        let spins_max = if self.seats.len() == 1 { SPINS_MAX } else { SPINS_BESIDE_MAX };
        let seat = &mut self.seats[own];
        seat.spins = if is_spinning { seat.spins + 1 } else { 0 };
        assert!(seat.spins < spins_max, "reactor {own} does not sleep, and has nothing to do");
        let passed_ns = self.dice.skewed(100..=20_000);
        self.clock.advance(passed_ns);
        if self.dice.chance(self.surroundings.clock_jumps) {
            let by_ms = self.clock.jump(&mut self.dice);
            self.trace.count("clock: jump");
            self.note(format_args!("the wall clock jumps by {by_ms} ms"));
        }
    }

    /// Whether others have something to do before time goes on. Not if this one waits on the spot: they have no turn then.
    fn others_may_run(&self, own: usize, now_ns: u64) -> bool {
        let mut others = self.seats.iter().enumerate().filter(|(number, _)| *number != own);
        self.last_turn.1 < TURNS_ALONE_MAX && others.any(|(_, seat)| seat.may_run(now_ns))
    }

    /// The test ends a life that is over or stuck; code that waits on the spot has to see it by itself.
    fn watch_for_loops(&mut self) {
        self.idle_turns = if self.is_dead || self.is_stuck { self.idle_turns + 1 } else { 0 };
        assert!(self.idle_turns < IDLE_TURNS_MAX, "the reactor waits on the spot for what never comes");
    }

    /// Whether the test has something to do: an alarm went off, or bytes arrived for a client.
    fn is_test_due(&mut self, now_ns: u64) -> bool {
        let armed = self.alarms.len();
        self.alarms.retain(|&at| at > now_ns);
        self.alarms.len() < armed || self.seats.iter().any(|seat| seat.network.client_due(now_ns))
    }

    /// Starts what was submitted. Receives and accepts are armed, everything else takes its time.
    fn start_queued(&mut self, own: usize) {
        for (op, token) in std::mem::take(&mut self.seats[own].queue) {
            if self.is_dead {
                self.seats[own].queue.push((op, token));
                continue;
            }
            let now_ns = self.clock.mono_ns();
            let network = &mut self.seats[own].network;
            match op {
                Op::Write { file, offset, buf, durable } => {
                    self.note(format_args!("disk: {:x} writes {:016x}", token.0, xxh3_64(&buf)));
                    self.start_disk(now_ns, tagged(token, own), DiskOp::Write { file, offset, buf, durable });
                }
                Op::Read { file, offset, buf } => {
                    self.start_disk(now_ns, tagged(token, own), DiskOp::Read { file, offset, buf })
                }
                Op::File(op) => self.start_disk(now_ns, tagged(token, own), DiskOp::File(op)),
                Op::Accept(listener) => {
                    assert_eq!(listener, LISTENER, "a reactor has one listener");
                    network.accept(token);
                }
                Op::Receive(socket) => network.receive(socket, token),
                Op::StopReceive(socket) => network.stop_receive(now_ns, socket),
                Op::SendBytes { socket, bytes, from } => {
                    let to = bytes.len();
                    network.send(now_ns, socket, token, Outgoing::Bytes(bytes), from, to);
                }
                Op::SendBuf { socket, buf, from, to } => {
                    network.send(now_ns, socket, token, Outgoing::Buf(buf), from, to);
                }
                Op::Close(socket) => network.close(now_ns, socket, token),
            }
        }
    }

    fn start_disk(&mut self, now_ns: u64, token: Token, op: DiskOp) {
        self.disk.start(now_ns, token, op, &mut self.trace);
        self.step();
    }

    /// Completes what is due on the disk, for whomever, and on the network of reactor `own`.
    fn complete(&mut self, own: usize, buffers: &mut Buffers, completions: &mut Vec<Completion>) {
        let now_ns = self.clock.mono_ns();
        completions.append(&mut self.seats[own].mail);
        while let Some(completion) = self.disk.complete(now_ns, &mut self.trace) {
            self.deliver(own, completion, completions);
            if self.step() {
                return;
            }
        }
        self.seats[own].network.complete(now_ns, buffers, completions, &mut self.trace);
    }

    fn deliver(&mut self, own: usize, completion: Completion, completions: &mut Vec<Completion>) {
        let (token, number) = untagged(completion.token);
        let completion = Completion { token, ..completion };
        if number == own { completions.push(completion) } else { self.seats[number].mail.push(completion) }
    }

    /// The power is gone: whoever waits for the disk hears of it.
    fn fail_everything(&mut self, own: usize, completions: &mut Vec<Completion>) {
        // Not EIO: that may be one place, and recovery would try all of them.
        let failed = |token| Completion { token, result: errno::NO_DEVICE, more: false, payload: Payload::None };
        completions.append(&mut self.seats[own].mail);
        for token in self.disk.take_waiting() {
            self.deliver(own, failed(token), completions);
        }
        let disk_ops = std::mem::take(&mut self.seats[own].queue)
            .into_iter()
            .filter(|(op, _)| matches!(op, Op::Write { .. } | Op::Read { .. } | Op::File(_)));
        completions.extend(disk_ops.map(|(_, token)| failed(token)));
    }
}

/// The bits of a token in which the number of its reactor travels; the engine leaves them free.
const TAG_SHIFT: u32 = 48;
const TAG_MASK: u64 = 0xff << TAG_SHIFT;

fn tagged(token: Token, reactor: usize) -> Token {
    debug_assert_eq!(token.0 & TAG_MASK, 0, "the engine's tokens leave these bits free");
    Token(token.0 | (reactor as u64) << TAG_SHIFT)
}

fn untagged(token: Token) -> (Token, usize) {
    (Token(token.0 & !TAG_MASK), ((token.0 & TAG_MASK) >> TAG_SHIFT) as usize)
}
