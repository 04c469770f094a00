//! A run: some lives of one data directory, each with load and an end, and everything read back in between.
//!
//! ```text
//!   open -> read everything back -> load -> end (power cut, kill, clean shutdown)
//!    ^                                        |
//!    +----------------------------------------+      last life: all read back, appends must work, read back again
//! ```

mod opening;

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use engine::encryption::Keyring;
use engine::{Reactor, Status};
use frame::proto::ErrorCode;
use io::{Io, Pool};

use crate::caller::Caller;
use crate::checkers;
use crate::client::LoadClient;
use crate::dice::Dice;
use crate::model::{Breach, Model, Outcome};
use crate::numberer::Numberer;
use crate::plan::{Cut, End, LifePlan, NUMBERED_STREAM, RunPlan};
use crate::profile::Profile;
use crate::progress::{Progress, TURNS_MAX};
use crate::reader::Reader;
use crate::resharder::{self, Resharder};
use crate::subscriber::Subscriber;
use crate::trace::Trace;
use crate::world::{Death, SimIo, Surroundings, World};

/// Aligned memory of a run. Small enough to run out now and then.
const POOL_BYTES: usize = 16 << 20;

/// Turns of a reactor in one life at most.
const TURNS_PER_LIFE_MAX: u64 = 10 * TURNS_MAX;

/// Appends succeed within this time after faults stop, and what is to come to a client goes on to come.
const LIVENESS_NS: u64 = 5_000_000_000;

/// A run that went well.
#[derive(Debug)]
pub struct Run {
    /// Everything that happened.
    pub trace: Trace,
    /// Records acknowledged.
    pub acked: usize,
    /// Records whose fate their client never learned.
    pub unknown: usize,
    /// Power cuts and kills.
    pub deaths: u64,
    /// Starts and completions of the disk in each life.
    pub steps: Vec<u64>,
    /// Shards that were moved, by the end of each life.
    pub moves: Vec<u64>,
}

/// A run in which a promise was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The kind of run.
    pub profile: Profile,
    /// In which life it showed.
    pub life: u64,
    /// What was broken.
    pub breach: Breach,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, profile, life, breach } = self;
        write!(
            f,
            "seed {seed}, profile {profile:?}, life {life}: {breach}\n  replay: MILLSTREAM_SEED={seed} \
             MILLSTREAM_PROFILE={profile:?} cargo test -p sim --test one_seed -- --nocapture"
        )
    }
}

/// Runs a seed against the engine as it is.
///
/// # Errors
/// A promise was broken, or the engine panicked.
pub fn run(seed: u64, profile: Profile) -> Result<Run, Failure> {
    run_with(seed, profile, Options::default(), |io| io)
}

/// What may be changed of a run.
#[derive(Debug, Default)]
pub struct Options {
    /// Whether the trace is printed.
    pub prints: bool,
    /// Another end of one life.
    pub cut: Option<Cut>,
}

/// Runs a seed with a world that `wrap` may falsify.
///
/// # Errors
/// A promise was broken, or the engine panicked.
pub fn run_with<I: Io>(
    seed: u64,
    profile: Profile,
    options: Options,
    wrap: impl Fn(SimIo) -> I,
) -> Result<Run, Failure> {
    let life = Rc::new(Cell::new(0));
    let at = Rc::clone(&life);
    let outcome = catch_unwind(AssertUnwindSafe(|| Scenario::new(seed, profile, options, wrap, at)?.run()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Breach::new("panic", text.unwrap_or_else(|| "no message".to_owned())))
    });
    outcome.map_err(|breach| Failure { seed, profile, life: life.get(), breach })
}

/// How a stage of a life ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Done,
    Dead,
}

struct Scenario<W> {
    seed: u64,
    profile: Profile,
    plan: RunPlan,
    world: World,
    model: Model,
    caller: Caller,
    resharder: Resharder,
    keyring: Arc<Keyring>,
    numberer: Numberer,
    wrap: W,
    life: Rc<Cell<u64>>,
    connections: u32,
    /// Whether what is stored has been damaged.
    is_damaged: bool,
    deaths: u64,
    steps: Vec<u64>,
    moves: Vec<u64>,
    /// Whose turn it is.
    turns: Dice,
    progress: Progress,
}

impl<I: Io, W: Fn(SimIo) -> I> Scenario<W> {
    fn new(seed: u64, profile: Profile, options: Options, wrap: W, life: Rc<Cell<u64>>) -> Result<Scenario<W>, Breach> {
        let plan = RunPlan::new(seed, profile, options.cut);
        let pool = Pool::new(POOL_BYTES).map_err(|error| Breach::new("no memory", error.to_string()))?;
        let world = World::new(seed, pool, plan.life(0).surroundings, Trace::new(options.prints));
        world.require(plan.secret());
        let model = Model::default();
        let names = plan.stream_names().into_iter().chain([NUMBERED_STREAM.to_owned()]);
        let resharder = Resharder::new(seed, names.collect());
        Ok(Scenario {
            seed,
            profile,
            plan,
            world,
            model,
            caller: Caller::new(seed),
            resharder,
            keyring: resharder::keyring(seed),
            numberer: Numberer::new(seed),
            wrap,
            life,
            connections: 0,
            is_damaged: false,
            deaths: 0,
            steps: Vec::new(),
            moves: Vec::new(),
            turns: Dice::new(seed, 0, "turns"),
            progress: Progress::default(),
        })
    }

    fn run(mut self) -> Result<Run, Breach> {
        for life in 0..self.plan.lives {
            self.life.set(life);
            let plan = self.plan.life(life);
            let is_last = life + 1 == self.plan.lives;
            let death = if is_last { self.last_life(&plan)? } else { self.live(&plan)? };
            let next = self.plan.life(life + 1).surroundings;
            self.next_world(death, next);
        }
        self.read_once_more()?;
        let attempts = self.model.attempts();
        let acked = attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Acked(..))).count();
        let unknown = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Unknown).count();
        let Scenario { deaths, steps, moves, world, .. } = self;
        Ok(Run { acked, unknown, deaths, steps, moves, trace: world.into_trace() })
    }

    fn next_world(&mut self, death: Death, surroundings: Surroundings) {
        self.deaths += 1;
        self.progress = Progress::default();
        self.caller.end();
        self.resharder.end(&self.world);
        self.steps.push(self.world.steps());
        self.moves.push(self.world.counted("engine: shard moved"));
        self.world.next_life(death, surroundings);
        if self.profile == Profile::Damage && self.life.get() + 1 == self.plan.rots_before {
            let mut dice = Dice::new(self.seed, 0, "rot");
            self.is_damaged |= self.world.rot(&mut dice).is_some();
        }
    }

    /// One life with faults. Returns how it ended.
    fn live(&mut self, plan: &LifePlan) -> Result<Death, Breach> {
        if let End::AtStep(step, _) = plan.end {
            self.world.cut_at_step(step);
        }
        let death = match plan.end {
            End::AtStep(_, death) | End::AfterLoad(death) | End::Idle(death) | End::Clean(death) => death,
        };
        let Some(mut reactors) = self.open(plan)? else { return Ok(death) };
        let mut stage = self.read_back(&mut reactors)?;
        if stage == Stage::Done {
            stage = self.load(&mut reactors, plan)?;
        }
        if stage == Stage::Done {
            match plan.end {
                End::AfterLoad(_) => {}
                End::Idle(_) | End::AtStep(..) => self.idle(&mut reactors)?,
                End::Clean(_) => self.shut_down(&mut reactors)?,
            }
        }
        self.numberer.end(&self.world);
        self.world.die();
        drop(reactors);
        Ok(death)
    }

    /// The last life: nothing fails any more.
    fn last_life(&mut self, plan: &LifePlan) -> Result<Death, Breach> {
        self.world.heal();
        let Some(mut reactors) = self.open(plan)? else {
            self.world.die();
            return Ok(Death::PowerCut);
        };
        self.read_back(&mut reactors)?;
        self.prove_life(&mut reactors)?;
        self.read_back(&mut reactors)?;
        self.shut_down(&mut reactors)?;
        self.world.die();
        Ok(Death::PowerCut)
    }

    /// After the last life, everything is read once more.
    fn read_once_more(&mut self) -> Result<(), Breach> {
        let plan = self.plan.life(self.plan.lives);
        self.world.heal();
        let Some(mut reactors) = self.open(&plan)? else { return Ok(()) };
        self.read_back(&mut reactors)?;
        drop(reactors);
        Ok(())
    }

    /// Reads everything back and checks it.
    fn read_back(&mut self, reactors: &mut [Reactor<I>]) -> Result<Stage, Breach> {
        self.world.suspend_faults();
        let dice = Dice::new(self.seed, self.life.get(), "reader");
        let mut names = self.plan.stream_names();
        names.push(NUMBERED_STREAM.to_owned());
        let mut reader = Reader::new(&self.world, names, dice);
        while !reader.is_done() {
            if self.turn(reactors)? == Stage::Dead {
                self.world.hang_up();
                reader.listen(&self.world, &mut self.model)?;
                return Ok(Stage::Dead);
            }
            reader.step(&self.world, &mut self.model)?;
        }
        let readings = reader.into_readings();
        checkers::check_all(&self.model, &readings, self.is_damaged)?;
        let records: usize = readings.values().map(|reading| reading.found.len()).sum();
        self.world.note(format_args!("read back: {records} records"));
        self.world.resume_faults();
        Ok(Stage::Done)
    }

    /// Lets clients work until all are done.
    fn load(&mut self, reactors: &mut [Reactor<I>], plan: &LifePlan) -> Result<Stage, Breach> {
        let mut clients = Vec::new();
        for intent in &plan.clients {
            clients.push(self.client(intent.clone()));
        }
        let mut dice = Dice::new(self.seed, self.life.get(), "subscriber");
        let name = dice.pick(&self.plan.stream_names()).clone();
        let mut subscriber = Subscriber::new(&self.world, name, dice);
        if let Some(intent) = &plan.numberer {
            self.numberer.begin(intent.clone(), self.is_damaged);
        }
        let stage = self.work(reactors, &mut clients, Some(&mut subscriber))?;
        subscriber.check(&self.world, &self.model)?;
        subscriber.leave(&self.world);
        Ok(stage)
    }

    fn client(&mut self, intent: crate::client::Intent) -> LoadClient {
        let number = self.connections;
        self.connections += 1;
        let dice = Dice::new(self.seed, u64::from(number), "client");
        LoadClient::new(&self.world, number, intent, dice)
    }

    /// Lets clients work until all are done, and a subscriber until it has all that was acknowledged.
    fn work(
        &mut self,
        reactors: &mut [Reactor<I>],
        clients: &mut [LoadClient],
        mut subscriber: Option<&mut Subscriber>,
    ) -> Result<Stage, Breach> {
        let mut done_ns = None;
        loop {
            if clients.iter().all(LoadClient::is_done) && self.numberer.is_done() {
                let Some(subscriber) = subscriber.as_ref().filter(|s| !s.is_level(&self.model)) else { break };
                let now_ns = self.world.now_ns();
                let since_ns = self.progress.at_ns.max(*done_ns.get_or_insert(now_ns));
                if now_ns > since_ns + LIVENESS_NS {
                    return Err(Breach::new("pushed", format!("no more comes: {subscriber:?}")));
                }
            }
            let is_dead = self.turn(reactors)? == Stage::Dead;
            if is_dead {
                self.world.hang_up();
            }
            for client in &mut *clients {
                if is_dead {
                    client.listen(&self.world, &mut self.model)?;
                } else {
                    client.step(&self.world, &mut self.model)?;
                }
            }
            if is_dead {
                self.numberer.listen(&self.world, &mut self.model)?;
            } else {
                self.numberer.step(&self.world, &mut self.model)?;
            }
            if let Some(subscriber) = &mut subscriber {
                subscriber.listen(&self.world, &mut self.model)?;
                if !is_dead {
                    subscriber.ask(&self.world);
                }
            }
            if is_dead {
                return Ok(Stage::Dead);
            }
        }
        clients.iter_mut().for_each(|client| client.leave(&self.world));
        Ok(Stage::Done)
    }

    /// Appends must succeed, now that nothing fails any more.
    fn prove_life(&mut self, reactors: &mut [Reactor<I>]) -> Result<(), Breach> {
        let before = self.model.attempts().len();
        let started_ns = self.world.now_ns();
        let client = self.client(self.plan.proof_of_life());
        self.numberer.begin(self.plan.to_numbered(self.plan.proof_of_life()), self.is_damaged);
        self.work(reactors, &mut [client], None)?;
        if !self.numberer.is_level() {
            return Err(Breach::new("liveness", format!("faults have stopped: {:?}", self.numberer)));
        }
        self.resharder.rest();
        while self.resharder.is_waiting() && self.world.now_ns() - started_ns <= LIVENESS_NS {
            self.turn(reactors)?;
        }
        let elapsed_ns = self.world.now_ns() - started_ns;
        // What a shard does not take in while it is split or merged, or has had enough, is sent again by who means well.
        let is_well = |outcome| match outcome {
            Outcome::Refused(code) => matches!(code, ErrorCode::Resharding | ErrorCode::WriteRecordsExceeded),
            Outcome::Acked(..) => true,
            Outcome::Unknown => false,
        };
        let failed = self.model.attempts()[before..].iter().find(|attempt| !is_well(attempt.outcome));
        match failed {
            Some(attempt) => Err(Breach::new("liveness", format!("faults have stopped: {attempt:?}"))),
            None if elapsed_ns > LIVENESS_NS => Err(Breach::new("liveness", format!("it took {elapsed_ns} ns"))),
            None => Ok(()),
        }
    }

    /// Lets some time pass with nothing to do.
    fn idle(&mut self, reactors: &mut [Reactor<I>]) -> Result<(), Breach> {
        let mut dice = Dice::new(self.seed, self.life.get(), "idle");
        let until_ns = self.world.now_ns()
            + match self.profile {
                // Long enough for an idle journal to say so on disk.
                Profile::Damage => 1_000_000_000,
                _ => dice.skewed(100_000..=2_000_000_000),
            };
        self.world.wake_at(until_ns);
        while self.world.now_ns() < until_ns && self.turn(reactors)? == Stage::Done {}
        Ok(())
    }

    fn shut_down(&mut self, reactors: &mut [Reactor<I>]) -> Result<(), Breach> {
        reactors.iter_mut().for_each(Reactor::shut_down);
        let mut turns = 0;
        let mut running: Vec<usize> = (0..reactors.len()).collect();
        while !running.is_empty() && !self.world.is_dead() {
            let at = self.turns.index(running.len());
            if reactors[running[at]].turn() == Status::Stopped {
                running.swap_remove(at);
            }
            turns += 1;
            if turns > TURNS_MAX * reactors.len() as u64 || self.world.is_stuck() {
                return Err(Breach::new("liveness", "the shutdown does not end".to_owned()));
            }
        }
        Ok(())
    }

    fn turn(&mut self, reactors: &mut [Reactor<I>]) -> Result<Stage, Breach> {
        let at = if reactors.len() == 1 { 0 } else { self.turns.index(reactors.len()) };
        let reactor = &mut reactors[at];
        reactor.turn();
        if self.world.is_dead() {
            return Ok(Stage::Dead);
        }
        if self.world.is_stuck() {
            return Err(Breach::new("liveness", "the reactor sleeps for good, and clients wait".to_owned()));
        }
        self.progress.note(&self.world);
        if self.progress.is_stalled(reactors.len()) || reactors[at].stats().turns > TURNS_PER_LIFE_MAX {
            return Err(Breach::new("liveness", "the reactor does not come to rest".to_owned()));
        }
        self.caller.step(&self.world, self.is_damaged)?;
        self.resharder.step(&self.world, &mut self.model, self.is_damaged)?;
        Ok(Stage::Done)
    }
}
