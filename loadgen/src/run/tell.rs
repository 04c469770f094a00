//! A run's report, made of its raw outcome.

use std::time::SystemTime;

use jiff::Timestamp;

use super::measure::{Outcome, Run, recorders};
use super::{Status, judge, place};
use crate::metrics::ServerFigures;
use crate::native::Group;
use crate::options::Workload;
use crate::report::{
    BesideReport, CatchUpReport, FORMAT, LateReport, Mark, Measured, PushReport, RunReport, ServerReport, Throughput,
    VerificationReport,
};
use crate::schedule::Late;

impl Run<'_> {
    /// The report with its marks, and how the command ends.
    pub(super) fn judge(&self, outcome: &Outcome, server: ServerReport, input: Option<String>) -> (Status, RunReport) {
        let produced = &outcome.produced;
        let main = recorders(produced).main;
        let group = produced.groups.first();
        let late = group.map(|group| judge_lateness(group, &produced.lost));
        let consumes = self.options.workload == Workload::Consume;
        let pushed = produced.pushed.as_ref().filter(|_| !consumes);
        let until_ns = main.last_ack_ns();
        let report = RunReport {
            format: FORMAT,
            what: self.settled.what.clone(),
            started: utc(outcome.started),
            started_unix_ms: unix_ms(outcome.started),
            command: place::command_line(),
            marks: Vec::new(),
            load: self.settled.load(self.options, input, &outcome.routes, &outcome.spoken),
            machine: self.machine.clone(),
            server,
            measured: Measured::new(main, group.map_or(0, |group| group.batches)),
            beside: produced.groups.get(1).map(|group| BesideReport {
                measured: Measured::new(&group.recorder, group.batches),
                late: told(&judge_lateness(group, &produced.lost)),
            }),
            pushed: pushed.map(|pushed| PushReport::new(self.options.subscribers(), pushed, until_ns)),
            caught_up: (produced.caught_up.as_ref())
                .map(|caught_up| CatchUpReport::new(self.options.catch_up(), caught_up, until_ns)),
            server_figures: outcome.samples.as_ref().map(ServerFigures::new),
            busy: outcome.observed.busy.clone(),
            late: late.as_ref().and_then(told),
            flushes: outcome.flushes,
            verification: self.verification(outcome),
            goals: Vec::new(),
            throughput: Throughput::new(main),
        };
        let (mut status, mut report) = judge::judge(report, self.options, produced, late.as_ref());
        if outcome.is_cut {
            report.marks.push(Mark::Partial("stopped by a signal, and not verified to the end".to_owned()));
            // A void one says more.
            status = if status == Status::Void { status } else { Status::NotRun };
        }
        (status, report)
    }

    fn verification(&self, outcome: &Outcome) -> VerificationReport {
        let refused = outcome.refused_by_reason.clone();
        let not_read =
            |refused| VerificationReport::not_read(recorders(&outcome.produced).main.total().records, refused);
        match (&outcome.read, &outcome.produced.pushed) {
            _ if outcome.is_cut => not_read(refused),
            (Some(Ok(read)), _) => VerificationReport::new(&read.verdict, refused, read.seconds, read.bytes),
            (Some(Err(error)), _) => VerificationReport::failed(error.clone(), refused),
            (None, Some(consumed)) => VerificationReport::consumed(consumed),
            (None, None) if self.options.no_read_back => not_read(refused),
            (None, None) => VerificationReport::nothing(false),
        }
    }
}

/// How late a group was, by the median latency that it reports. Where connections were lost batches waited for those that were
/// left: then it is how late the generator itself was.
pub(super) fn judge_lateness(group: &Group, lost: &[String]) -> Late {
    let lateness = if lost.is_empty() { &group.lateness } else { &group.paced };
    lateness.judge(group.recorder.latency().value_at_percentile(50.0))
}

fn told(late: &Late) -> Option<LateReport> {
    let Late { batches, late, threshold_ns, max_ns } = *late;
    (batches > 0).then_some(LateReport { batches, late, threshold_ns, max_ns })
}

/// A time to the second, in UTC.
pub(crate) fn utc(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).map(|time| time.round(jiff::Unit::Second).unwrap_or(time));
    time.map(|time| time.to_string()).unwrap_or_default()
}

pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
