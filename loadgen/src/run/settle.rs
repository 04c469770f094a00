//! Settings made definite: what was left open is decided here, once for all repetitions.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use frame::Quotas;

use super::RunError;
use crate::input::{Columns, InputError, InputSpec, Rows};
use crate::machine::Disk;
use crate::native::{NativeError, Pace, Source, check_io};
use crate::options::{Options, Speed};
use crate::report::Load;
use crate::units::show_bytes;
use crate::workload::{KEY_BYTES, Keys, Recipe, Sizes};

/// How long a run with neither bytes nor input given lasts.
const DURATION_DEFAULT: Duration = Duration::from_secs(15);

/// How many bytes a run sends at most, unless told otherwise.
const BYTES_DEFAULT: u64 = 4 << 30;

/// What is dropped at the start, unless told otherwise or replaying rows that all count.
const WARMUP_DEFAULT: Duration = Duration::from_secs(1);

/// Room on the disk beyond the records: the segment in use and those kept ready.
const SEGMENT_ROOM_BYTES: u64 = 3 * 256 * 1024 * 1024;

/// How many times a person's own rows may grow on disk: a short row has a header of its own length.
const ROW_GROWTH: f64 = 1.8;

/// What all repetitions of a command have in common.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) pace: Pace,
    pub(super) warmup: Duration,
    pub(super) duration: Option<Duration>,
    pub(super) bytes_max: u64,
    pub(super) cores: Vec<usize>,
    pub(super) server_core: usize,
    /// Where a server's directory is made.
    pub(super) parent: PathBuf,
    /// Where results are kept.
    pub(super) results: PathBuf,
    pub(super) what: String,
    pub(super) io: &'static str,
    input: Option<InputSpec>,
    recipe: Recipe,
    run_name: String,
}

impl Settled {
    pub(super) fn new(options: &Options) -> Result<Self, RunError> {
        let io = check_io(options.io).map_err(RunError::Native)?;
        let available: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        let mut cores = options.cores.clone();
        if cores.is_empty() {
            cores.push(*available.last().ok_or(RunError::NoCore)?);
        }
        if let Some(&core) = cores.iter().find(|core| !available.contains(core)) {
            return Err(RunError::Native(NativeError::Core { core }));
        }
        let free_core = available.iter().copied().find(|core| !cores.contains(core));
        let server_core = options.server_core.or(free_core).unwrap_or(cores[0]);
        let own_data = options.input.is_some();
        let unbounded = options.bytes.is_none() && !own_data;
        Ok(Self {
            pace: pace(options),
            warmup: options.warmup.unwrap_or(if own_data { Duration::ZERO } else { WARMUP_DEFAULT }),
            duration: options.duration.or(unbounded.then_some(DURATION_DEFAULT)),
            bytes_max: options.bytes.unwrap_or(BYTES_DEFAULT),
            cores,
            server_core,
            parent: options.dir.clone().unwrap_or_else(target_directory),
            results: results_directory(options),
            what: what(options),
            io,
            input: input_spec(options),
            recipe: Recipe::new(options.record_bytes, options.keys, options.seed),
            run_name: run_name(),
        })
    }

    /// What is written, from the start, and its name where it is a person's own.
    pub(super) fn source(&self, options: &Options) -> Result<(Source, Option<String>), InputError> {
        let Some(spec) = &self.input else { return Ok((Source::Generated(self.recipe.clone()), None)) };
        let rows = Rows::open(spec.clone())?;
        let name = options.input.as_deref().map(|input| match Path::new(input).file_name() {
            Some(name) if input != "-" => name.to_string_lossy().into_owned(),
            _ => "standard input".to_owned(),
        });
        Ok((Source::Rows(Box::new(rows), self.recipe.clone()), name))
    }

    /// The streams of this run: of a name that no other run has, unless one is given.
    pub(super) fn stream_names(&self, options: &Options) -> Vec<String> {
        let base = options.stream.as_deref().unwrap_or(&self.run_name);
        match options.streams {
            1 => vec![base.to_owned()],
            many => (0..many).map(|number| format!("{base}-{number}")).collect(),
        }
    }

    /// Refuses where the disk of our own server has less room than the run may take.
    pub(super) fn check_space(&self, options: &Options) -> Result<(), RunError> {
        let directory = existing(&self.parent);
        let free =
            Disk::free_bytes(&directory).map_err(|error| RunError::System("see how much disk is free", error))?;
        let need = self.disk_bytes(options) + SEGMENT_ROOM_BYTES;
        if free < need { Err(RunError::Space { directory: self.parent.clone(), need, free }) } else { Ok(()) }
    }

    /// Bytes that the records may take on disk.
    fn disk_bytes(&self, options: &Options) -> u64 {
        let growth = match &self.input {
            Some(_) => ROW_GROWTH,
            None => {
                let mean = options.record_bytes.mean();
                let frame = frame::frame::frame_bytes(0, KEY_BYTES, mean as usize);
                frame as f64 / (mean + KEY_BYTES as f64)
            }
        };
        let whole = self.input.as_ref().filter(|input| !input.repeat).and_then(|input| input.path.as_ref());
        let file_bytes = whole.and_then(|path| Some(path.metadata().ok()?.len()));
        let bytes = self.bytes_max.min(file_bytes.map_or(u64::MAX, |bytes| bytes.max(1)));
        (bytes as f64 * growth) as u64
    }

    /// How the load is told in the result.
    pub(super) fn load(&self, options: &Options, input: Option<String>) -> Load {
        let kind = match self.pace {
            Pace::Closed { .. } => "closed loop".to_owned(),
            Pace::Open { arrivals, .. } => format!("open loop, {}", arrivals.name()),
            Pace::Replay { speed } => format!("replay at {speed} times its speed"),
        };
        let keys = match &options.key {
            Some(column) => format!("column {column}"),
            None => keys_name(options.keys),
        };
        Load {
            kind,
            records_per_s: options.rate,
            streams: options.streams,
            shards: options.shards,
            quotas: options.quotas().unwrap_or(Quotas::NONE).to_string(),
            connections: options.connections,
            batch_records: options.batch_records,
            inflight: matches!(self.pace, Pace::Closed { .. }).then_some(options.inflight),
            record_bytes: sizes_name(options.record_bytes),
            keys,
            input,
            seed: options.seed,
            seconds_max: self.duration.map(|duration| duration.as_secs_f64()),
            bytes_max: self.bytes_max,
            warmup_s: self.warmup.as_secs_f64(),
            io: self.io.to_owned(),
            cores: self.cores.clone(),
        }
    }
}

fn pace(options: &Options) -> Pace {
    match (options.rate, options.speed, &options.time) {
        (Some(records_per_s), _, _) => Pace::Open { records_per_s, arrivals: options.arrivals },
        (None, Some(Speed::Times(speed)), _) => Pace::Replay { speed },
        (None, None, Some(_)) => Pace::Replay { speed: 1.0 },
        (None, _, _) => Pace::Closed { inflight: options.inflight },
    }
}

fn input_spec(options: &Options) -> Option<InputSpec> {
    let input = options.input.as_deref()?;
    Some(InputSpec {
        path: (input != "-").then(|| PathBuf::from(input)),
        format: options.format,
        columns: Columns { key: options.key.clone(), time: options.time.clone(), data: options.data.clone() },
        time_format: options.time_format.clone(),
        repeat: options.repeat_input,
    })
}

/// What the result's folder is called at its end.
fn what(options: &Options) -> String {
    if let Some(name) = &options.name {
        return name.clone();
    }
    let kind = match pace(options) {
        Pace::Closed { .. } => "closed".to_owned(),
        Pace::Open { records_per_s, .. } => format!("open-{records_per_s}"),
        Pace::Replay { speed } => format!("replay-{speed}"),
    };
    let content = match &options.input {
        Some(input) if input != "-" => {
            Path::new(input).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
        }
        Some(_) => "stdin".to_owned(),
        None => sizes_name(options.record_bytes),
    };
    format!("{kind}-{content}-{}x{}", options.connections, options.batch_records)
}

fn sizes_name(sizes: Sizes) -> String {
    let bytes = |bytes: usize| show_bytes(bytes as u64).replace(".00", "").replace(' ', "");
    match sizes {
        Sizes::Fixed(size) => bytes(size),
        Sizes::Uniform(from, to) => format!("{} to {}", bytes(from), bytes(to)),
        Sizes::LogNormal { median, sigma } => format!("log-normal around {}, {sigma}", bytes(median)),
    }
}

fn keys_name(keys: Keys) -> String {
    match keys {
        Keys::Distinct => "distinct".to_owned(),
        Keys::Uniform(keys) => format!("uniform over {keys}"),
        Keys::Zipf { keys, exponent } => format!("Zipf {exponent} over {keys}"),
        Keys::Hot(share) => format!("one hot, {} %", share * 100.0),
    }
}

/// The command line, the program by its name alone.
pub(super) fn command_line() -> String {
    let quote = |argument: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,%+@".contains(c);
        if argument.chars().all(plain) && !argument.is_empty() {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    let arguments = std::env::args().skip(1).map(quote);
    std::iter::once("millstream-load".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// A name that no other run has.
fn run_name() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("load-{}-{}", since.as_millis(), std::process::id())
}

/// The build's target directory where this program lies in one, else the system's for temporary files.
fn target_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let within = own.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    within.map_or_else(std::env::temp_dir, Path::to_owned)
}

fn results_directory(options: &Options) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|root| root.join("Cargo.toml").exists());
    let root = match (&options.results, source) {
        (Some(given), _) => given.clone(),
        (None, Some(source)) => source.join("results"),
        (None, None) => PathBuf::from("results"),
    };
    if options.keep { root } else { root.join("local") }
}

/// The nearest directory above that exists: that is where the room is.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|path| path.exists()).map(Path::to_owned);
    found.unwrap_or(absolute)
}
