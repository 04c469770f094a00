//! Settings made definite: what was left open is decided here, once for all repetitions.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use frame::Quotas;
use frame::proto::Secret;

use super::RunError;
use super::cores;
use super::place::{existing, results_directory, run_name, target_directory};
use crate::input::{Columns, InputError, InputSpec, Rows};
use crate::machine::Disk;
use crate::native::{Begin, Io, Kind, NativeError, Pace, Route, Trust, settle_io};
use crate::options::{Beside, Options, Speed, Workload};
use crate::report::Load;
use crate::secret;
use crate::units::show_bytes;
use crate::workload::{DATA_BYTES_MAX, Keys, LANES_MAX, Recipe, RunId, Sizes};

/// How long a run with neither bytes nor input given lasts.
const DURATION_DEFAULT: Duration = Duration::from_secs(15);

/// How many bytes a run sends at most that has no bytes given, nor a duration or input that ends.
const BYTES_DEFAULT: u64 = 4 << 30;

/// What is dropped at the start, unless told otherwise or replaying rows that all count.
pub(super) const WARMUP_DEFAULT: Duration = Duration::from_secs(1);

/// What all repetitions of a command have in common.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) pace: Pace,
    pub(super) warmup: Duration,
    pub(super) duration: Option<Duration>,
    /// Bytes that are sent at most, and by the load beside; `u64::MAX` where nothing bounds them.
    pub(super) bytes_max: u64,
    pub(super) beside_bytes_max: u64,
    pub(super) cores: Vec<usize>,
    pub(super) server_core: usize,
    /// What the server is to know as well.
    pub(super) secret: Option<Secret>,
    /// Whom to trust over TLS.
    pub(super) trust: Option<Trust>,
    /// Where a server's directory is made.
    pub(super) parent: PathBuf,
    /// Where results are kept.
    pub(super) results: PathBuf,
    pub(super) what: String,
    pub(super) io: Kind,
    /// Whether a run that consumes ends with what was there at its start.
    pub(super) to_the_tip: bool,
    /// What is written, and what is written beside it.
    pub(super) recipe: Recipe,
    pub(super) beside: Option<(Beside, Recipe)>,
    pub(super) input: Option<InputSpec>,
}

impl Settled {
    pub(super) fn new(options: &Options) -> Result<Self, RunError> {
        let io =
            if options.endpoint.is_some() || options.tls_ca.is_some() { Io::Only(Kind::Epoll) } else { options.io };
        let (io, refused) = settle_io(io).map_err(RunError::Native)?;
        if let Some(reason) = refused {
            eprintln!("millstream-load: epoll instead, which is slower: {reason}");
        }
        let available: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        let parent = options.dir.clone().unwrap_or_else(target_directory);
        let disk = if options.is_elsewhere() { None } else { Disk::under(&existing(&parent)).ok() };
        let disk_core = disk.and_then(|disk| disk.core_of_interrupts());
        let chosen = cores::choose((&options.cores, options.server_core), &available, disk_core);
        let (cores, server_core) = chosen.ok_or(RunError::NoCore)?;
        if let Some(&core) = cores.iter().find(|core| !available.contains(core)) {
            return Err(RunError::Native(NativeError::Core { core }));
        }
        if cores.len() > LANES_MAX {
            return Err(RunError::Native(NativeError::Core { core: cores[LANES_MAX] }));
        }
        if options.start_at.is_some_and(|at| at <= SystemTime::now()) {
            return Err(RunError::StartIsOver);
        }
        let own_data = options.input.is_some();
        let consumes = options.workload == Workload::Consume;
        let all_counts = own_data || consumes;
        let unbounded = options.bytes.is_none() && !own_data;
        let to_the_tip = consumes && unbounded && options.duration.is_none() && options.from != Begin::Latest;
        let bytes_default = bytes_default(options);
        let run = RunId::new(xxhash_rust::xxh3::xxh3_64(run_name().as_bytes()));
        Ok(Self {
            pace: pace(options),
            warmup: options.warmup.unwrap_or(if all_counts { Duration::ZERO } else { WARMUP_DEFAULT }),
            duration: options.duration.or((unbounded && !to_the_tip).then_some(DURATION_DEFAULT)),
            bytes_max: options.bytes.unwrap_or(bytes_default),
            beside_bytes_max: options.beside.as_ref().map_or(0, |beside| beside.bytes.unwrap_or(bytes_default)),
            cores,
            server_core,
            secret: options.native_secret_file.as_deref().map(secret::read).transpose().map_err(RunError::Secret)?,
            trust: trust(options)?,
            parent,
            results: results_directory(options.results.as_deref(), options.keep),
            what: what(options),
            io,
            to_the_tip,
            recipe: Recipe::new(options.record_bytes, options.keys, options.seed).of(run, 0),
            beside: options.beside.clone().map(|beside| {
                let recipe = Recipe::new(beside.record_bytes, beside.keys, options.seed).of(run, 1);
                (beside, recipe)
            }),
            input: input_spec(options),
        })
    }

    /// A person's own rows, from the start, and what they are called.
    pub(super) fn rows(&self, options: &Options) -> Result<Option<(Box<Rows>, String)>, InputError> {
        let Some((spec, input)) = self.input.as_ref().zip(options.input.as_deref()) else { return Ok(None) };
        let rows = Rows::open(spec.clone())?;
        let name = match Path::new(input).file_name() {
            Some(name) if input != "-" => name.to_string_lossy().into_owned(),
            _ => "standard input".to_owned(),
        };
        Ok(Some((Box::new(rows), name)))
    }

    /// How the load is told in the result.
    pub(super) fn load(&self, options: &Options, input: Option<String>, routes: &[Route], spoken: &Spoken) -> Load {
        let consumes = options.workload == Workload::Consume;
        let kind = match self.pace {
            _ if consumes => format!("consuming from {}", options.from),
            Pace::Closed { .. } => "closed loop".to_owned(),
            Pace::Open { arrivals, .. } => format!("open loop, {}", arrivals.name()),
            Pace::Replay { speed } => format!("replay at {speed} times its speed"),
        };
        let keys = match &options.key {
            Some(column) => format!("column {column}"),
            None => keys_name(options.keys),
        };
        Load {
            workload: options.workload.name().to_owned(),
            consumes,
            kind,
            records_per_s: options.rate,
            streams: options.streams,
            shards: options.shards,
            quotas: options.quotas().unwrap_or(Quotas::NONE).to_string(),
            encryption: options.encryption.clone(),
            connections: options.connections,
            batch_records: spoken.batch_records,
            inflight: (matches!(self.pace, Pace::Closed { .. }) && !consumes).then_some(spoken.inflight),
            record_bytes: sizes_name(options.record_bytes),
            keys,
            consumers: [options.subscribers(), options.stalled, options.catch_up()],
            by: options.by().name().to_owned(),
            beside: options.beside.as_ref().map(ToString::to_string),
            input,
            seed: options.seed,
            seconds_max: self.duration.map(|duration| duration.as_secs_f64()),
            bytes_max: options.bytes.unwrap_or(bytes_default(options)),
            warmup_s: self.warmup.as_secs_f64(),
            io: self.io.name().to_owned(),
            protocol: spoken.protocol.clone(),
            route: route_name(options.route, routes),
            cores: self.cores.clone(),
        }
    }
}

/// Whom to trust over TLS, if that is spoken.
fn trust(options: &Options) -> Result<Option<Trust>, RunError> {
    let Some((path, place)) = options.tls_ca.as_ref().zip(options.target.as_ref()) else { return Ok(None) };
    let trust = Trust::new(path, (&place.host, place.address));
    trust.map(Some).map_err(|why| RunError::Certificates(path.clone(), why))
}

/// How a run speaks to the server.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    /// In what.
    pub(super) protocol: String,
    /// Records a batch at most.
    pub(super) batch_records: u32,
    /// Batches under way on each connection.
    pub(super) inflight: u32,
}

/// The streams of one run: of a name that no other repetition has, for one that is removed may be there for a while; unless one is
/// given.
pub(super) fn stream_names(options: &Options) -> Vec<String> {
    names(&options.stream.clone().unwrap_or_else(run_name), options.streams)
}

/// The same of the load beside.
pub(super) fn beside_names(beside: &Beside) -> Vec<String> {
    names(&beside.stream.clone().unwrap_or_else(|| format!("{}-beside", run_name())), beside.streams)
}

/// How many bytes are sent at most where nobody says: a duration bounds a run by itself, and so do rows that are sent once, and what
/// there is to consume.
fn bytes_default(options: &Options) -> u64 {
    let has_end = options.input.is_some() && !options.repeat_input;
    let is_bounded = options.duration.is_some() || has_end || options.workload == Workload::Consume;
    if is_bounded { u64::MAX } else { BYTES_DEFAULT }
}

/// A base, numbered where there are several.
fn names(base: &str, count: u32) -> Vec<String> {
    match count {
        1 => vec![base.to_owned()],
        many => (0..many).map(|number| format!("{base}-{number}")).collect(),
    }
}

impl Beside {
    /// When its batches leave.
    pub(super) fn pace(&self) -> Pace {
        match self.rate {
            Some(records_per_s) => Pace::Open { records_per_s, arrivals: self.arrivals },
            None => Pace::Closed { inflight: self.inflight },
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
    if options.workload == Workload::Consume {
        return format!("consume-{}-{}", options.by().name(), options.subscribers());
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
    let bytes = |bytes: usize| match bytes {
        DATA_BYTES_MAX => "10MiB with the key".to_owned(),
        bytes => show_bytes(bytes as u64).replace(".00", "").replace(' ', ""),
    };
    match sizes {
        Sizes::Fixed(size) => bytes(size),
        Sizes::Uniform(from, to) => format!("{} to {}", bytes(from), bytes(to)),
        Sizes::LogNormal { median, sigma } => format!("log-normal around {}, {sigma}", bytes(median)),
    }
}

/// Where what concerns shards went, and whose records did not.
fn route_name(asked: Route, routes: &[Route]) -> String {
    let mut name = asked.name().to_owned();
    for (producers, route) in ["producers", "beside"].iter().zip(routes) {
        if *route != asked {
            name.push_str(&format!(", {producers} {}", route.name()));
        }
    }
    name
}

fn keys_name(keys: Keys) -> String {
    match keys {
        Keys::Distinct => "distinct".to_owned(),
        Keys::Uniform(keys) => format!("uniform over {keys}"),
        Keys::Zipf { keys, exponent } => format!("Zipf {exponent} over {keys}"),
        Keys::Hot(share) => format!("one hot, {} %", share * 100.0),
    }
}
