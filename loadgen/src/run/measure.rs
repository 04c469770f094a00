//! One run: a server, if one is to be started, the load, the verification; and what came of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use super::observe::{Observed, observe_producing, observe_reading};
use super::settle::{Settled, Spoken, beside_names, stream_names};
use super::{RunError, Status};

use crate::input::Rows;
use crate::machine::{Disk, Machine};
use crate::metrics::{Sampler, Samples};
use crate::native::{
    self, Consumers, NativeError, Plan, Prepared, Produced, Producers, ReadBack, Route, Shared, Stream, Target,
};
use crate::options::{Beside, Options, Workload};
use crate::report::{self, Flushes, FolderError, Mark, Recorders, ResultFolder, RunReport, ServerReport};
use crate::server::{Server, ServerSpec, remove_leftovers};
use crate::verify::Ledger;

/// What every repetition shares.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    pub(super) settled: &'a Settled,
    pub(super) machine: &'a Machine,
    pub(super) interrupted: &'a Arc<AtomicBool>,
}

/// One run's raw outcome.
pub(super) struct Outcome {
    pub(super) produced: Produced,
    /// What reading back came to, if anything was written.
    pub(super) read: Option<Result<ReadBack, String>>,
    /// A person ended it before its end.
    pub(super) is_cut: bool,
    pub(super) refused_by_reason: Vec<(String, u64)>,
    pub(super) observed: Observed,
    pub(super) flushes: Flushes,
    /// What the server said of itself, and how it was spoken to.
    pub(super) server: ServerReport,
    pub(super) spoken: Spoken,
    /// Where each group's records went.
    pub(super) routes: Vec<Route>,
    pub(super) started: SystemTime,
    pub(super) samples: Option<Samples>,
}

impl Outcome {
    /// Whether what was read back is not what was acknowledged, or could not be read.
    fn is_wrong(&self) -> bool {
        self.read.as_ref().is_some_and(|read| read.as_ref().map_or(true, |read| read.verdict.faults.count() > 0))
    }
}

/// What driving the load came to, before anything is read back.
pub(super) struct Driven {
    produced: Produced,
    observed: Observed,
    samples: Option<Samples>,
    flushes: Flushes,
    refused_by_reason: Vec<(String, u64)>,
}

impl Driven {
    /// The account, for what is read back to be held against.
    pub(super) fn take_ledger(&mut self) -> Ledger {
        let emptied = self.produced.ledger.emptied();
        std::mem::replace(&mut self.produced.ledger, emptied)
    }

    /// With what was read back.
    pub(super) fn outcome(
        self,
        read: Option<Result<ReadBack, String>>,
        (server, spoken): (ServerReport, Spoken),
        routes: Vec<Route>,
        shared: &Shared,
    ) -> Outcome {
        let Self { produced, observed, samples, flushes, refused_by_reason } = self;
        let started = shared.started().unwrap_or_else(SystemTime::now);
        // Subscribers beside producers are waited for as well.
        let has_subscribers = produced.pushed.is_some() && !produced.groups.is_empty();
        let is_cut = shared.is_cut() && (read.is_some() || has_subscribers);
        let read = read.filter(|_| !is_cut);
        Outcome {
            produced,
            read,
            is_cut,
            refused_by_reason,
            observed,
            flushes,
            server,
            spoken,
            routes,
            started,
            samples,
        }
    }
}

/// The recorders to report: where nobody produced, what was taken is the main thing.
pub(super) fn recorders(produced: &Produced) -> Recorders<'_> {
    let caught_up = produced.caught_up.as_ref().map(|consumed| &consumed.recorder);
    let pushed = produced.pushed.as_ref().map(|consumed| &consumed.recorder);
    match (&produced.groups[..], pushed) {
        ([main, beside @ ..], pushed) => {
            Recorders { main: &main.recorder, beside: beside.first().map(|group| &group.recorder), pushed, caught_up }
        }
        ([], Some(main)) => Recorders { main, beside: None, pushed: None, caught_up },
        ([], None) => unreachable!("somebody produces or consumes"),
    }
}

/// A run with its verdict.
pub(super) struct Measurement {
    pub(super) status: Status,
    pub(super) report: RunReport,
    pub(super) produced: Produced,
    outcome_started: SystemTime,
    metrics: Option<Vec<u8>>,
}

impl Measurement {
    /// Keeps the result.
    pub(super) fn write_folder(&self, results: &Path) -> Result<ResultFolder, FolderError> {
        let recorders = recorders(&self.produced);
        report::write_folder(results, &self.report, recorders, self.outcome_started, self.metrics.as_deref())
    }
}

/// What our own server said, without where it lay.
fn without_directory(metrics: Vec<u8>, server: Option<&Server>) -> Vec<u8> {
    match server {
        Some(server) => String::from_utf8_lossy(&metrics)
            .replace(&server.directory().display().to_string(), "TEMPORARY")
            .into_bytes(),
        None => metrics,
    }
}

impl Run<'_> {
    /// Runs once from the start.
    pub(super) fn measure(&self, program: Option<&Path>) -> Result<Measurement, RunError> {
        let (rows, input) = self.settled.rows(self.options).map_err(RunError::Input)?.unzip();
        let Some(program) = program else { return self.measure_on(None, rows, input) };
        // First, for they may take the space.
        remove_leftovers(&self.settled.parent, |text| eprintln!("{text}"));
        let settled = self.settled.within_space(self.options, rows.as_deref())?;
        Run { settled: &settled, ..*self }.measure_on(Some(self.start_server(program)?), rows, input)
    }

    /// Runs once on our own server, or on one that is there.
    fn measure_on(
        &self,
        server: Option<Server>,
        rows: Option<Box<Rows>>,
        input: Option<String>,
    ) -> Result<Measurement, RunError> {
        let watched = server.as_ref().map(Server::directory).or(self.options.dir.as_deref());
        let disk = watched.and_then(|directory| Disk::under(directory).ok());
        let outcome = self.load(server.as_ref(), disk.as_ref(), rows)?;
        let mut server_report = outcome.server.clone();
        server_report.disk = disk;
        if let Some(server) = &server {
            server_report.command = Some(server.command().to_owned());
            server_report.commit = Some(server.commit().to_owned());
            server_report.cores = Some(format!("core {}", self.settled.server_core));
        }
        let (mut status, mut report) = self.judge(&outcome, server_report, input);
        let metrics = outcome.samples.as_ref().and_then(Samples::json_lines);
        let metrics = metrics.map(|metrics| without_directory(metrics, server.as_ref()));
        if let Some(Err(error)) = server.map(Server::stop) {
            eprintln!("millstream-load: {error}");
            report.marks.insert(0, Mark::Void("the server did not end well".to_owned()));
            status = status.graver(Status::Void);
        }
        let Outcome { produced, started: outcome_started, .. } = outcome;
        Ok(Measurement { status, report, produced, outcome_started, metrics })
    }

    fn start_server(&self, program: &Path) -> Result<Server, RunError> {
        let mut arguments = self.options.server_arg.clone();
        if let Some(path) = &self.options.native_secret_file {
            arguments.push(format!("--native-secret-file={}", path.display()));
        }
        let spec = ServerSpec {
            parent: self.settled.parent.clone(),
            core: self.settled.server_core,
            not_durable: self.options.not_durable,
            arguments,
        };
        Server::start(program, &spec).map_err(RunError::Server)
    }

    pub(super) fn target(&self, server: Option<&Server>) -> Target {
        let named = self.options.target.as_ref().map(|place| place.address);
        let address = server.map(Server::address).or(named).expect("there is a server or a target");
        Target {
            route: self.options.route,
            secret: self.settled.secret.clone(),
            trust: self.settled.trust.clone(),
            open_within: self.options.open_timeout,
            ..Target::new(address)
        }
    }

    /// Makes streams, or finds those that a person named. Others are noted, unless they go with a server of our own.
    fn make(
        &self,
        target: &Target,
        (names, is_given): (Vec<String>, bool),
        shards: u32,
        made: &mut Vec<String>,
    ) -> Result<Prepared, RunError> {
        let (wanted, is_ours) = ((shards, self.options.quotas()), !is_given && self.options.is_elsewhere());
        let note = |name: &str| {
            if is_ours {
                eprintln!("millstream-load: {}", native::made(name));
                made.push(name.to_owned());
            }
        };
        native::make_streams(target, &names, wanted, self.settled.cores[0], note).map_err(RunError::Native)
    }

    /// Makes or finds the streams, and decides who does what with them; those that are to be removed are added to `made`.
    fn plan(&self, mut target: Target, made: &mut Vec<String>) -> Result<(Plan, Prepared), RunError> {
        let (options, settled) = (self.options, self.settled);
        let (names, is_given) = (stream_names(options), options.stream.is_some());
        let prepared = match options.workload == Workload::Consume {
            true => native::find_streams(&target, &names, options.from, settled.cores[0]).map_err(RunError::Native)?,
            false => self.make(&target, (names, is_given), options.shards, made)?,
        };
        target.reactors = prepared.welcome.reactors;
        let mut plan = self.plan_of(target, prepared.streams.clone());
        plan.producers.extend(self.beside(|beside| {
            let names = (beside_names(beside), beside.stream.is_some());
            Ok(self.make(&plan.target, names, beside.shards, made)?.streams)
        })?);
        Ok((plan, prepared))
    }

    /// The load beside, on the streams that are found for it.
    pub(super) fn beside(
        &self,
        streams: impl FnOnce(&Beside) -> Result<Vec<Stream>, RunError>,
    ) -> Result<Option<Producers>, RunError> {
        let Some((beside, recipe)) = &self.settled.beside else { return Ok(None) };
        Ok(Some(Producers {
            streams: streams(beside)?,
            connections: beside.connections,
            batch_records: beside.batch_records,
            pace: beside.pace(),
            bytes_max: self.settled.beside_bytes_max,
            recipe: recipe.clone(),
        }))
    }

    /// What is done with these streams by the main producers, and by consumers.
    pub(super) fn plan_of(&self, target: Target, streams: Vec<Stream>) -> Plan {
        let (options, settled) = (self.options, self.settled);
        let main = Producers {
            streams: streams.clone(),
            connections: options.connections,
            batch_records: options.batch_records,
            pace: settled.pace,
            bytes_max: settled.bytes_max,
            recipe: settled.recipe.clone(),
        };
        Plan {
            target,
            producers: if options.workload == Workload::Consume { Vec::new() } else { vec![main] },
            warmup: settled.warmup,
            start_at: options.start_at,
            duration: settled.duration,
            cores: settled.cores.clone(),
            seed: options.seed,
            is_shared: options.shared,
            consumers: Consumers {
                streams,
                subscribers: options.subscribers(),
                stalled: options.stalled,
                after: options.subscribe_after,
                catch_up: options.catch_up(),
                by: options.by(),
                to_the_tip: settled.to_the_tip,
                bytes_max: settled.bytes_max,
            },
        }
    }

    /// Produces, or consumes, and reads back what was written.
    fn load(&self, server: Option<&Server>, disk: Option<&Disk>, rows: Option<Box<Rows>>) -> Result<Outcome, RunError> {
        if let Some(url) = &self.options.endpoint {
            return self.load_over_http(url, disk, rows);
        }
        let (target, mut made) = (self.target(server), Vec::new());
        let outcome = self.load_natively(target.clone(), server, disk, rows, &mut made);
        if made.is_empty() {
            return outcome;
        }
        // Also of a run that came to nothing: nobody else would. What is wrong is left to be looked at.
        let kept = match &outcome {
            Ok(outcome) if outcome.is_wrong() => Some("what was read back is not what was acknowledged".to_owned()),
            _ => native::remove_streams(&target, &made, self.settled.cores[0]).err().map(|error| error.to_string()),
        };
        if let Some(reason) = kept {
            eprintln!("millstream-load: {}", native::not_removed(&reason, &made));
        }
        outcome
    }

    fn load_natively(
        &self,
        target: Target,
        server: Option<&Server>,
        disk: Option<&Disk>,
        rows: Option<Box<Rows>>,
        made: &mut Vec<String>,
    ) -> Result<Outcome, RunError> {
        let options = self.options;
        let (plan, Prepared { welcome, .. }) = self.plan(target, made)?;
        let is_made_up = rows.is_none();
        let routes = plan.routes(!is_made_up);
        for (producers, _) in
            plan.producers.iter().zip(&routes).filter(|(_, route)| is_made_up && **route != options.route)
        {
            eprintln!(
                "millstream-load: {} connection(s) cannot reach each of the server's reactors: their records are handed on; raise --connections",
                producers.connections
            );
        }
        let shared = Shared::new();
        let driven = self.drive(server, disk, &shared, || native::produce(&plan, rows, &shared))?;
        let mut driven = driven.map_err(|error| self.explain(error, server))?;
        let ledger = driven.take_ledger();
        let read = (!plan.producers.is_empty()).then(|| {
            observe_reading(&shared, self.interrupted, || {
                native::read_back(&plan, ledger, is_made_up, options.read_back, &shared)
            })
        });
        let said = ServerReport {
            address: plan.target.address.to_string(),
            reactors: welcome.reactors.count.max(1),
            command: None,
            commit: None,
            cores: None,
            is_durable: welcome.is_durable(),
            io: if welcome.is_on_threads() { "threads" } else { "ring" }.to_owned(),
            disk: None,
        };
        let protocol = if plan.target.trust.is_some() { "native over TLS" } else { "native" }.to_owned();
        let spoken = Spoken { protocol, batch_records: options.batch_records, inflight: options.inflight };
        let read = read.map(|read| read.map_err(|error| error.to_string()));
        Ok(driven.outcome(read, (said, spoken), routes, &shared))
    }

    /// Has the load driven, and watches it.
    pub(super) fn drive<E: Send>(
        &self,
        server: Option<&Server>,
        disk: Option<&Disk>,
        shared: &Arc<Shared>,
        produce: impl FnOnce() -> Result<Produced, E> + Send,
    ) -> Result<Result<Driven, E>, RunError> {
        let flushes_before = disk.and_then(Disk::flushes);
        let admin = self.options.admin.or(server.and_then(Server::admin));
        let wait = self.options.start_at.and_then(|at| at.duration_since(SystemTime::now()).ok()).unwrap_or_default();
        let (seen, warmup_s) = (Arc::clone(shared), self.settled.warmup.as_secs_f64());
        let phase = move || seen.progress().phase(warmup_s);
        let sampler = admin.map(|admin| Sampler::start(admin, Instant::now() + wait, phase)).transpose();
        let sampler = sampler.map_err(|error| RunError::System("start a thread", error))?;
        let (produced, observed) = observe_producing(shared, self.settled, server, self.interrupted, produce);
        let samples = sampler.map(Sampler::finish);
        let produced = match produced {
            Ok(produced) => produced,
            Err(error) => return Ok(Err(error)),
        };
        let count = flushes_before.and_then(|before| Some(disk?.flushes()? - before));
        let batches: u64 = produced.groups.iter().map(|group| group.batches).sum();
        let per_batch = count.map(|count| count as f64 / batches.max(1) as f64);
        let refused = produced.ledger.refused().map(|(reason, count)| (reason.to_owned(), count));
        let refused_by_reason = refused.collect();
        let flushes = Flushes { count, per_batch };
        Ok(Ok(Driven { produced, observed, samples, flushes, refused_by_reason }))
    }

    /// An error of the protocol, with the last words of our own server where it ended.
    fn explain(&self, error: NativeError, server: Option<&Server>) -> RunError {
        if let Some(server) = server {
            let log = server.log_end();
            if !log.is_empty() {
                eprintln!("the server's log ends:\n{log}");
            }
        }
        RunError::Native(error)
    }
}
