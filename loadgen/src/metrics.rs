//! What the server says of itself: its figures in Prometheus text, asked for once a second on a thread of its own.
//!
//! All of them are kept, whatever they are called; the report tells the few that people want, if the server has them. A
//! server that serves none, or stops to, costs nothing but a line in the report.

mod known;
mod text;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

pub use known::ServerFigures;

/// How often they are asked for.
const EVERY: Duration = Duration::from_secs(1);

/// How often the thread looks whether the run is over.
const LOOK: Duration = Duration::from_millis(20);

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Bytes of one answer at most.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Bytes that all samples may take in a result; past it every second one is dropped.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Samples in memory at most.
const SAMPLES_MAX: usize = 600;

/// All figures at one time.
type Figures = BTreeMap<String, f64>;

/// How far the load has come that the server is asked beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is prepared, or warms up.
    #[default]
    Before,
    /// It is measured.
    Measured,
    /// It has stopped, and what is left is waited for.
    After,
}

/// The figures over a run.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Seconds since the sampling began, and what the server said then.
    points: Vec<(f64, Figures)>,
    /// Between which of these seconds the load was measured, as far as that was seen.
    measured_s: (Option<f64>, Option<f64>),
    /// Why there are no more.
    fault: Option<String>,
}

/// A thread that samples.
#[derive(Debug)]
pub struct Sampler {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Samples>,
}

impl Sampler {
    /// Samples from a time on: what a server does before a run begins is not of it. Where what is measured begins and ends, which
    /// `phase` tells, a sample is taken at once.
    pub fn start(
        admin: SocketAddr,
        from: Instant,
        phase: impl Fn() -> Phase + Send + 'static,
    ) -> std::io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let sample = move || sample(admin, from, &seen, &phase);
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(sample)?;
        Ok(Self { over, thread })
    }

    /// Takes a last sample; all of them.
    pub fn finish(self) -> Samples {
        self.over.store(true, Ordering::Release);
        self.thread.join().unwrap_or_default()
    }
}

fn sample(admin: SocketAddr, from: Instant, over: &AtomicBool, phase: &impl Fn() -> Phase) -> Samples {
    let (mut samples, mut every) = (Samples::default(), EVERY);
    let (mut due, mut was) = (Duration::ZERO, Phase::Before);
    loop {
        let (is_over, is) = (over.load(Ordering::Acquire), phase());
        if !is_over && is == was && Instant::now() < from + due {
            thread::sleep(LOOK);
            continue;
        }
        match ask(admin) {
            Ok(text) => {
                let at_s = from.elapsed().as_secs_f64();
                samples.points.push((at_s, text::parse(&text)));
                samples.moved(was, is, at_s);
                was = is;
            }
            Err(fault) => samples.fault = Some(fault),
        }
        if is_over || samples.fault.is_some() {
            return samples;
        }
        if samples.points.len() >= SAMPLES_MAX {
            samples.thin_out();
            every *= 2;
        }
        due = from.elapsed() + every;
    }
}

/// Asks for the figures once. HTTP/1.0, so that the answer ends with the connection.
fn ask(admin: SocketAddr) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("http://{admin}/metrics: {error}");
    let mut stream = TcpStream::connect_timeout(&admin, ANSWER_MAX).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(failed)?;
    stream.set_write_timeout(Some(ANSWER_MAX)).map_err(failed)?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {admin}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("http://{admin}/metrics answered {status:?}"));
    }
    Ok(body.to_owned())
}

impl Samples {
    /// The load has come from one phase to another when a sample was taken.
    fn moved(&mut self, from: Phase, to: Phase, at_s: f64) {
        if from == Phase::Before && to == Phase::Measured {
            self.measured_s.0 = Some(at_s);
        }
        if from < Phase::After && to == Phase::After {
            self.measured_s.1 = Some(at_s);
        }
    }

    /// Drops every second one but the last.
    fn thin_out(&mut self) {
        let last = self.points.len().saturating_sub(1);
        let mut at = 0;
        self.points.retain(|_| {
            at += 1;
            at % 2 == 1 || at - 1 == last
        });
    }

    /// Why there are no more, if there are none.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The samples as JSON lines: all figures, then those that changed.
    pub fn json_lines(&self) -> Option<Vec<u8>> {
        let mut kept = self.clone();
        while !kept.points.is_empty() {
            let text = kept.render();
            if text.len() <= KEPT_BYTES_MAX || kept.points.len() <= 2 {
                return Some(text).filter(|text| text.len() <= KEPT_BYTES_MAX);
            }
            kept.thin_out();
        }
        None
    }

    fn render(&self) -> Vec<u8> {
        let (mut text, mut before) = (Vec::new(), &Figures::new());
        for (at_s, figures) in &self.points {
            let changed = figures.iter().filter(|(name, value)| before.get(*name) != Some(value));
            let changed: Map<String, Value> = changed.map(|(name, value)| (name.clone(), json!(value))).collect();
            text.extend_from_slice(
                json!({"at_s": (at_s * 1e3).round() / 1e3, "figures": changed}).to_string().as_bytes(),
            );
            text.push(b'\n');
            before = figures;
        }
        text
    }
}

#[cfg(test)]
mod tests;
