//! Watches a run from outside its cores: the progress line, processor time, Ctrl-C.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::settle::Settled;
use crate::machine::{CpuSample, MachineSample, busy_threads};
use crate::native::{Progress, Shared};
use crate::report::Busy;
use crate::server::Server;
use crate::units::{show_bytes, show_count, show_rate};

/// How often it looks: Ctrl-C is obeyed within this.
const LOOK: Duration = Duration::from_millis(20);

/// Looks between two samples of processor time and two redrawings.
const LOOKS_A_SAMPLE: u32 = 5;

/// What was seen.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) busy: Busy,
}

#[derive(Clone)]
struct Sample {
    server: Option<CpuSample>,
    generator: CpuSample,
    machine: MachineSample,
}

impl Sample {
    fn take(server: Option<u32>) -> Self {
        Self {
            server: server.map(CpuSample::of),
            generator: CpuSample::of(std::process::id()),
            machine: MachineSample::now(),
        }
    }
}

/// Runs `work` and watches it: processor time counts from the end of the warm-up until producing stops.
pub(super) fn observe_producing<T: Send>(
    shared: &Arc<Shared>,
    settled: &Settled,
    server: Option<&Server>,
    interrupted: &AtomicBool,
    work: impl FnOnce() -> T + Send,
) -> (T, Observed) {
    let pid = server.map(Server::pid);
    let bar = progress_bar();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut first, mut last): (Option<Sample>, Option<Sample>) = (None, None);
            for look in 0_u32.. {
                let progress = shared.progress();
                if interrupted.load(Ordering::Relaxed) {
                    shared.interrupt();
                }
                if ended.load(Ordering::Acquire) || progress.done {
                    break;
                }
                if look.is_multiple_of(LOOKS_A_SAMPLE) && progress.stop.is_none() && progress.elapsed_s > 0.0 {
                    if first.is_none() && progress.elapsed_s >= settled.warmup.as_secs_f64() {
                        first = Some(Sample::take(pid));
                    } else if first.is_some() {
                        last = Some(Sample::take(pid));
                    }
                    bar.set_message(producing_line(&progress, settled));
                }
                thread::sleep(LOOK);
            }
            between(first, last)
        });
        let done = work();
        ended.store(true, Ordering::Release);
        let busy = watcher.join().expect("the watcher does not panic");
        bar.finish_and_clear();
        (done, Observed { busy })
    })
}

/// Runs `work` with a progress line of what is read back. A Ctrl-C that did not end the load ends this.
pub(super) fn observe_reading<T: Send>(
    shared: &Arc<Shared>,
    interrupted: &AtomicBool,
    work: impl FnOnce() -> T + Send,
) -> T {
    let bar = progress_bar();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                if interrupted.load(Ordering::Relaxed) {
                    shared.interrupt();
                }
                let progress = shared.progress();
                let (read, written) = (show_bytes(progress.read_bytes), show_bytes(progress.acked_bytes));
                bar.set_message(format!("reading back: {read} of {written}"));
                thread::sleep(LOOK);
            }
        });
        let done = work();
        ended.store(true, Ordering::Release);
        bar.finish_and_clear();
        done
    })
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn producing_line(progress: &Progress, settled: &Settled) -> String {
    let seconds = progress.elapsed_s.max(0.001);
    let of = settled.duration.map_or_else(String::new, |duration| format!(" of {:.0}", duration.as_secs_f64()));
    let of_bytes = match settled.bytes_max {
        u64::MAX => String::new(),
        bytes => format!(" of {}", show_bytes(bytes)),
    };
    format!(
        "{seconds:.0}{of} s, {}{of_bytes}, {}, {} records/s",
        show_bytes(progress.acked_bytes),
        show_rate(progress.acked_bytes as f64 / seconds),
        show_count((progress.acked_records as f64 / seconds) as u64),
    )
}

fn between(first: Option<Sample>, last: Option<Sample>) -> Busy {
    let (Some(first), Some(last)) = (first, last) else {
        let none = BTreeMap::new();
        return Busy { server: Vec::new(), generator: Vec::new(), machine: None, cores: none.clone(), stolen: none };
    };
    let server = match (&first.server, &last.server) {
        (Some(first), Some(last)) => busy_threads(first, last),
        _ => Vec::new(),
    };
    Busy {
        server,
        generator: busy_threads(&first.generator, &last.generator),
        machine: Some(last.machine.busy_since(&first.machine)),
        cores: last.machine.cores_busy_since(&first.machine),
        stolen: last.machine.cores_stolen_since(&first.machine),
    }
}
