//! One run over HTTP: the streams, the load, the verification, and the end of what was made for it.

use std::sync::Arc;

use super::RunError;
use super::measure::{Outcome, Run};
use super::observe::observe_reading;
use super::settle::{Spoken, beside_names, stream_names};
use crate::http::{self, Asked, Endpoint, HttpError, Named, Streams, Wanted, Wire};
use crate::input::Rows;
use crate::machine::Disk;
use crate::native::{self, Shared, Target};
use crate::options::Workload;
use crate::report::ServerReport;
use crate::verify::Ledger;

/// What the API does not tell of a server.
const NOT_TOLD: &str = "not told";

impl Run<'_> {
    /// Produces, or consumes, and reads back what was written.
    pub(super) fn load_over_http(
        &self,
        url: &str,
        disk: Option<&Disk>,
        rows: Option<Box<Rows>>,
    ) -> Result<Outcome, RunError> {
        let options = self.options;
        let ca = options.ca.as_deref();
        let endpoint = Endpoint::new(url, &options.region, options.http, ca, options.open_timeout);
        let endpoint = Arc::new(endpoint.map_err(RunError::Http)?.speaking(options.wire));
        let (operation, from) = (options.operation, options.from);
        let beside = self.settled.beside.as_ref().map(|(beside, _)| beside);
        let inflight = [options.inflight].into_iter().chain(beside.map(|beside| beside.inflight)).collect();
        let asked = Asked { endpoint, operation, inflight, from, encryption: options.encryption.clone() };
        let core = self.settled.cores[0];
        let say = |text: &str| eprintln!("millstream-load: {text}");
        let main = Named {
            names: stream_names(options),
            shards: (options.workload != Workload::Consume).then_some(options.shards),
            are_removed: options.stream.is_none(),
        };
        let others = beside.map(|beside| Named {
            names: beside_names(beside),
            shards: Some(beside.shards),
            are_removed: beside.stream.is_none(),
        });
        let groups: Vec<Named> = [main].into_iter().chain(others).collect();
        let names = http::made_up(&groups);
        let wanted = Wanted { groups: &groups, interrupted: self.interrupted, say: &say };
        let streams = http::prepare(&asked, wanted, core).map_err(RunError::Http)?;
        let outcome = self.give_quotas(&streams).and_then(|()| self.load_streams(&asked, &streams, disk, rows));
        // Also of a run that came to nothing: they may be paid for.
        if !names.is_empty()
            && let Err(error) = http::remove(&asked, &names, core)
        {
            say(&native::not_removed(&error, &names));
        }
        outcome
    }

    /// Gives streams that the API has made their quotas, for which it has no words itself.
    fn give_quotas(&self, streams: &Streams) -> Result<(), RunError> {
        let Some(quotas) = self.options.quotas() else { return Ok(()) };
        let (target, core) = (self.target(None), self.settled.cores[0]);
        let changed = native::change_quotas(&target, &streams.told(), quotas, self.interrupted, core);
        changed.map_err(RunError::Native)
    }

    fn load_streams(
        &self,
        asked: &Asked,
        streams: &Streams,
        disk: Option<&Disk>,
        rows: Option<Box<Rows>>,
    ) -> Result<Outcome, RunError> {
        let (options, shared) = (self.options, Shared::new());
        let mut plan = self.plan_of(Target::new(asked.endpoint.address()), streams.planned(0));
        plan.producers.extend(self.beside(|_| Ok(streams.planned(1)))?);
        let is_made_up = rows.is_none();
        let driven = self.drive(None, disk, &shared, || http::produce(&plan, asked, streams, rows, &shared))?;
        let mut driven = driven.map_err(RunError::Http)?;
        let ledger = driven.take_ledger();
        let read_back = |ledger: Ledger| http::read_back(&plan, asked, streams, ledger, is_made_up, &shared);
        let is_read_back = !plan.producers.is_empty() && !options.no_read_back;
        let read = is_read_back.then(|| observe_reading(&shared, self.interrupted, || read_back(ledger)));
        let read = read.map(|read| read.map_err(|error: HttpError| error.to_string()));
        let said = ServerReport {
            address: asked.endpoint.url().to_owned(),
            reactors: 1,
            command: None,
            commit: None,
            cores: None,
            is_durable: true,
            io: NOT_TOLD.to_owned(),
            disk: None,
        };
        let (version, operation) = (Asked::version(streams).name(), options.operation.name());
        let wire = if options.wire == Wire::Json { String::new() } else { format!(", {}", options.wire.name()) };
        let spoken = Spoken {
            protocol: format!("{version}{wire}, {operation}"),
            batch_records: options.operation.records(options.batch_records),
            inflight: asked.inflight(streams, 0),
        };
        Ok(driven.outcome(read, (said, spoken), plan.routes(!is_made_up), &shared))
    }
}
