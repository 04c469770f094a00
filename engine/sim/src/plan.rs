//! What a run is going to do, drawn from its seed: how many lives, how the engine is configured, how much load, and how
//! each life ends.

use std::num::{NonZeroU32, NonZeroU64};

use engine::Config;
use frame::proto::Secret;
use frame::{Quotas, Retention, Settings};

use crate::client::Intent;
use crate::dice::Dice;
use crate::disk::{DIRECTORIES_MAX, DiskFaults};
use crate::profile::Profile;
use crate::world::{Death, Surroundings};

const SEGMENT_BYTES: u32 = 4 << 20;

/// The stream of the producer that numbers its records.
pub(crate) const NUMBERED_STREAM: &str = "numbered";

/// How a life is meant to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// At this step of the disk, wherever the life is by then; or like `Idle` if it never gets there.
    AtStep(u64, Death),
    /// When the load is done.
    AfterLoad(Death),
    /// Some time after the load was done.
    Idle(Death),
    /// By a clean shutdown after the load; then the process is gone, or the power as well.
    Clean(Death),
}

/// A life's end that overrides the plan's: every step of a run can be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Which life, from 0.
    pub life: u64,
    /// At which start or completion of the disk, from 1.
    pub step: u64,
    /// How.
    pub death: Death,
}

/// One life.
#[derive(Clone, Debug)]
pub(crate) struct LifePlan {
    /// How many reactors open the data directory.
    pub(crate) reactors: usize,
    /// The data directories that it names, in this order: never fewer than a life before.
    pub(crate) dirs: Vec<u32>,
    pub(crate) surroundings: Surroundings,
    pub(crate) config: Config,
    pub(crate) clients: Vec<Intent>,
    /// What the producer appends that numbers its records, if there is one.
    pub(crate) numberer: Option<Intent>,
    pub(crate) end: End,
}

/// A stream that clients make if it is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wish {
    pub(crate) name: String,
    pub(crate) shards: u32,
    pub(crate) settings: Settings,
}

/// Mostly none; else so low, from `least` on, that they are soon used up. What is read is not limited here.
fn some_quotas(dice: &mut Dice, least: u64) -> Quotas {
    if dice.chance(0.7) {
        return Quotas::NONE;
    }
    Quotas { write_records: NonZeroU32::new(dice.skewed(least..=500) as u32), ..Quotas::NONE }
}

/// Mostly without end; else so that nothing expires within a run, whatever the clocks do, so that much does, or with a limit.
fn some_retention(dice: &mut Dice) -> Retention {
    let limit = NonZeroU64::new(dice.within(1..=2 * u64::from(SEGMENT_BYTES)));
    match dice.index(8) {
        0 => Retention::of_seconds(24 * 3600),
        1 | 2 => Retention::of_seconds(dice.within(1..=3) as u32),
        3 => Retention { seconds: None, bytes: limit },
        _ => Retention::NONE,
    }
}

/// What all lives of a run have in common.
#[derive(Debug)]
pub(crate) struct RunPlan {
    pub(crate) lives: u64,
    /// The life before which what is stored is damaged, if any is.
    pub(crate) rots_before: u64,
    streams: Vec<Wish>,
    profile: Profile,
    seed: u64,
    size: Size,
    fixed_size: bool,
    config: Config,
    cut: Option<Cut>,
}

/// How much is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    Small,
    Middle,
    /// Enough to roll segments.
    Rolling,
}

impl RunPlan {
    pub(crate) fn new(seed: u64, profile: Profile, cut: Option<Cut>) -> RunPlan {
        let mut dice = Dice::new(seed, 0, "run");
        let streams = (0..dice.skewed(1..=3)).map(|number| Wish {
            name: format!("stream-{number}"),
            shards: dice.skewed(1..=4) as u32,
            settings: Quotas::NONE.into(),
        });
        let mut streams: Vec<Wish> = streams.collect();
        let mut retention_dice = Dice::new(seed, 0, "retention");
        streams.iter_mut().for_each(|wish| wish.settings.retention = some_retention(&mut retention_dice));
        let mut quota_dice = Dice::new(seed, 0, "quotas");
        streams.iter_mut().for_each(|wish| wish.settings.quotas = some_quotas(&mut quota_dice, 2));
        let size = *dice.pick(&[Size::Small, Size::Small, Size::Small, Size::Middle, Size::Middle, Size::Rolling]);
        let config = Config {
            segment_bytes: SEGMENT_BYTES,
            memory_bytes: engine::limits::MEMORY_BYTES_MIN,
            disk_bytes: if dice.chance(0.2) { u64::from(SEGMENT_BYTES) * dice.within(2..=4) } else { u64::MAX },
            files_max: usize::MAX,
            segments_ready: dice.within(1..=2) as usize,
            prewrite: dice.chance(0.1),
            writes_in_flight: dice.skewed(1..=16) as usize,
            batch_bytes: dice.skewed(4096..=256 << 10) as usize,
            accept_clock: false,
        };
        let (lives, fixed_size) = (dice.within(2..=6), dice.chance(0.3));
        // Half of the time before the last life, else so that damage is met by several.
        let rots_before = if dice.chance(0.5) { lives - 1 } else { dice.within(1..=lives - 1) };
        RunPlan { lives, rots_before, streams, profile, seed, size, fixed_size, config, cut }
    }

    /// What clients must know to be heard, in some runs.
    pub(crate) fn secret(&self) -> Option<Secret> {
        let mut dice = Dice::new(self.seed, 0, "secret");
        dice.chance(0.5).then(|| Secret::new(&dice.bytes()).expect("it is long enough"))
    }

    /// Names of all streams that clients may have made.
    pub(crate) fn stream_names(&self) -> Vec<String> {
        self.streams.iter().map(|wish| wish.name.clone()).collect()
    }

    /// A life's plan. The last one is calm.
    pub(crate) fn life(&self, life: u64) -> LifePlan {
        let mut dice = Dice::new(self.seed, life, "plan");
        let is_last = life + 1 >= self.lives;
        let calm = Surroundings::calm();
        let is_small = dice.chance(0.1);
        let small_bytes = u64::from(SEGMENT_BYTES) * dice.within(2..=6);
        let disk = if is_last { calm.disk } else { self.profile.disk(&mut dice) };
        // Also where nothing else fails: segments are compacted there above all.
        let copy_full = if Dice::new(self.seed, life, "copies").chance(0.5) { 0.5 } else { 0.0 };
        let surroundings = Surroundings {
            disk: DiskFaults { copy_full, ..disk },
            network: self.profile.network(&mut dice),
            capacity_bytes: if is_small { small_bytes } else { calm.capacity_bytes },
            clock_jumps: if dice.chance(0.2) { 0.002 } else { 0.0 },
            wakes: if dice.chance(0.2) { 0.02 } else { 0.0 },
            receive_buffers: dice.skewed(2..=64) as u16,
            receive_buffer_bytes: dice.skewed(256..=64 << 10) as usize,
        };
        let clients = (0..dice.skewed(1..=4)).map(|_| self.intent(&mut dice)).collect();
        let death = *dice.pick(&[Death::PowerCut, Death::PowerCut, Death::Killed]);
        let end = match dice.index(10) {
            _ if is_last => End::Clean(Death::PowerCut),
            at if self.profile == Profile::Damage && life + 1 == self.rots_before => {
                // What is damaged after this life was marked as durable.
                if at < 5 { End::Idle(Death::PowerCut) } else { End::Clean(Death::PowerCut) }
            }
            0 | 1 => End::AtStep(dice.within(1..=150), death),
            2..=5 => End::AtStep(dice.skewed(40..=2000), death),
            6 => End::AfterLoad(death),
            7 | 8 => End::Idle(death),
            _ => End::Clean(death),
        };
        let disk_bytes = if is_last { u64::MAX } else { self.config.disk_bytes };
        let end = match self.cut {
            Some(cut) if cut.life == life => End::AtStep(cut.step, cut.death),
            _ => end,
        };
        let writes_in_flight = dice.skewed(1..=16) as usize;
        let reactors = if dice.chance(0.4) { 1 } else { dice.within(2..=4) as usize };
        // Each journal has its segments.
        let disk_bytes = disk_bytes.saturating_mul(reactors as u64);
        let times = if is_small { reactors as u64 } else { 1 };
        let surroundings = Surroundings { capacity_bytes: surroundings.capacity_bytes * times, ..surroundings };
        let config = Config { writes_in_flight, disk_bytes, ..self.config.clone() };
        let numberer = self.numberer(life);
        LifePlan { reactors, dirs: self.dirs(life), surroundings, config, clients, numberer, end }
    }

    /// Half of all runs have a producer that numbers its records, in all lives.
    fn numberer(&self, life: u64) -> Option<Intent> {
        let has_one = Dice::new(self.seed, 0, "numberer plan").chance(0.5);
        has_one.then(|| self.to_numbered(self.intent(&mut Dice::new(self.seed, life, "numberer intent"))))
    }

    /// The same for a stream of its own.
    pub(crate) fn to_numbered(&self, intent: Intent) -> Intent {
        let mut dice = Dice::new(self.seed, 0, "numbered stream");
        let (shards, retention) = (dice.skewed(1..=4) as u32, some_retention(&mut dice));
        // All that is left over is to get in within a few seconds, once faults have stopped.
        let quotas = some_quotas(&mut Dice::new(self.seed, 0, "numbered quotas"), 30);
        let settings = Settings { retention, quotas };
        let wish = Wish { name: NUMBERED_STREAM.to_owned(), shards, settings };
        Intent { streams: vec![wish], ..intent }
    }

    /// Most runs have one directory; in the others one more comes now and then, and their order is anyone's.
    fn dirs(&self, life: u64) -> Vec<u32> {
        let mut dice = Dice::new(self.seed, 0, "directories");
        if dice.chance(0.6) {
            return vec![0];
        }
        let mut count = dice.within(1..=2) as usize;
        count += (0..life).filter(|_| dice.chance(0.3)).count();
        let mut dirs: Vec<u32> = (0..count.min(DIRECTORIES_MAX) as u32).collect();
        Dice::new(self.seed, life, "order").shuffle(&mut dirs);
        dirs
    }

    fn intent(&self, dice: &mut Dice) -> Intent {
        let (batches, records_max, data_bytes_max) = match self.size {
            Size::Small => (dice.skewed(1..=20), dice.skewed(1..=10), dice.skewed(8..=1000)),
            Size::Middle => (dice.skewed(5..=60), dice.skewed(1..=30), dice.skewed(100..=20_000)),
            Size::Rolling => (dice.within(10..=40), dice.skewed(1..=3), dice.within(50_000..=300_000)),
        };
        Intent {
            streams: self.streams.clone(),
            batches: batches as u32,
            records_max,
            data_bytes_max,
            fixed_size: self.fixed_size,
            in_flight_max: dice.skewed(1..=16) as usize,
            pause_ns_max: dice.skewed(1_000..=20_000_000),
            mischief: *dice.pick(&[0.0, 0.0, 0.02, 0.1]),
            reads: *dice.pick(&[0.0, 0.1, 0.4]),
            large: *dice.pick(&[0.0, 0.05, 0.3]),
        }
    }

    /// A batch or more on every stream, by one well-behaved client: appends must work.
    pub(crate) fn proof_of_life(&self) -> Intent {
        Intent {
            streams: self.streams.clone(),
            batches: 3 * self.streams.len() as u32,
            records_max: 8,
            data_bytes_max: 500,
            fixed_size: false,
            in_flight_max: 4,
            pause_ns_max: 1_000_000,
            mischief: 0.0,
            reads: 0.0,
            large: 0.2,
        }
    }
}
