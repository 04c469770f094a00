//! How busy threads and processors were between two moments, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// The processor time that every thread of a process has used so far.
#[derive(Clone, Debug)]
pub struct CpuSample {
    at: Instant,
    /// Name and ticks by thread.
    threads: BTreeMap<u32, (String, u64)>,
}

/// How busy one thread was, or several of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BusyThread {
    /// Its name.
    pub thread: String,
    /// The share of one core that it used.
    pub busy: f64,
}

impl CpuSample {
    /// Samples the threads of a process, its kernel workers among them; empty if it is gone.
    pub fn of(pid: u32) -> Self {
        let mut threads = BTreeMap::new();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
            if let Some(thread) = parse_stat(&stat) {
                threads.insert(id, thread);
            }
        }
        Self { at: Instant::now(), threads }
    }
}

/// Name and ticks of user and system time off a `stat` line. The name stands in brackets and may hold any character.
fn parse_stat(stat: &str) -> Option<(String, u64)> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat.get(close + 2..)?.split(' ');
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((stat.get(open + 1..close)?.to_owned(), user + system))
}

/// How busy each thread was between two samples, the busiest first. The kernel's io_uring workers count as one.
pub fn busy_threads(before: &CpuSample, after: &CpuSample) -> Vec<BusyThread> {
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    if seconds <= 0.0 {
        return Vec::new();
    }
    let mut workers = 0.0;
    let mut threads = Vec::new();
    for (id, (name, ticks)) in &after.threads {
        let earlier = before.threads.get(id).map_or(0, |thread| thread.1);
        let busy = ticks.saturating_sub(earlier) as f64 / ticks_per_s / seconds;
        if name.starts_with("iou-wrk") || name.starts_with("iou-sqp") {
            workers += busy;
        } else {
            threads.push(BusyThread { thread: name.clone(), busy });
        }
    }
    if workers > 0.0 {
        threads.push(BusyThread { thread: "io_uring workers".to_owned(), busy: workers });
    }
    threads.sort_by(|a, b| b.busy.total_cmp(&a.busy));
    threads
}

/// The time of all processors so far: what was used, in user and kernel, whoever it was for; and what a hypervisor gave to
/// other machines while something here could have run.
#[derive(Clone, Debug, Default)]
pub struct MachineSample {
    all: Ticks,
    cores: BTreeMap<usize, Ticks>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    busy: u64,
    stolen: u64,
    all: u64,
}

impl Ticks {
    /// The share of some of it since.
    fn share_since(self, earlier: Ticks, some: fn(Ticks) -> u64) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        if all == 0 { 0.0 } else { some(self).saturating_sub(some(earlier)) as f64 / all as f64 }
    }
}

/// A processor and its ticks, or all of them, off a line of `/proc/stat`.
fn parse_cpu(line: &str) -> Option<(Option<usize>, Ticks)> {
    let mut words = line.split_ascii_whitespace();
    let core = words.next()?.strip_prefix("cpu")?;
    let core = if core.is_empty() { None } else { Some(core.parse().ok()?) };
    // user nice system idle iowait irq softirq steal; guest time is within user.
    let fields: Vec<u64> = words.take(8).filter_map(|field| field.parse().ok()).collect();
    let idle = fields.iter().skip(3).take(2).sum::<u64>();
    let stolen = fields.get(7).copied().unwrap_or(0);
    let all: u64 = fields.iter().sum();
    Some((core, Ticks { busy: all - idle - stolen, stolen, all }))
}

impl MachineSample {
    /// Samples `/proc/stat`.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let mut sample = Self::default();
        for (core, ticks) in stat.lines().map_while(parse_cpu) {
            match core {
                None => sample.all = ticks,
                Some(core) => drop(sample.cores.insert(core, ticks)),
            }
        }
        sample
    }

    /// The share of all processors that was busy since an earlier sample.
    pub fn busy_since(&self, earlier: &Self) -> f64 {
        self.all.share_since(earlier.all, |ticks| ticks.busy)
    }

    /// The same of each by itself.
    pub fn cores_busy_since(&self, earlier: &Self) -> BTreeMap<usize, f64> {
        self.cores_since(earlier, |ticks| ticks.busy)
    }

    /// The share of each that a hypervisor kept from those who wanted it.
    pub fn cores_stolen_since(&self, earlier: &Self) -> BTreeMap<usize, f64> {
        self.cores_since(earlier, |ticks| ticks.stolen)
    }

    fn cores_since(&self, earlier: &Self, some: fn(Ticks) -> u64) -> BTreeMap<usize, f64> {
        let share = |(core, now): (&usize, &Ticks)| Some((*core, now.share_since(*earlier.cores.get(core)?, some)));
        self.cores.iter().filter_map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_are_read_past_any_name() {
        let line = "77 (a (b) c) S 1 2 3 0 -1 4194624 5 6 7 8 120 30 0 0 20 0 3 0 9 10";
        assert_eq!(parse_stat(line), Some(("a (b) c".to_owned(), 150)));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn a_spinning_thread_is_busy() {
        let before = (CpuSample::of(std::process::id()), MachineSample::now());
        let spin = std::thread::Builder::new().name("spins".to_owned()).spawn(|| {
            let start = Instant::now();
            while start.elapsed().as_millis() < 300 {
                std::hint::spin_loop();
            }
            CpuSample::of(std::process::id())
        });
        let after = spin.unwrap().join().unwrap();
        let threads = busy_threads(&before.0, &after);
        let busy = threads.iter().find(|thread| thread.thread == "spins").unwrap().busy;
        assert!((0.05..1.2).contains(&busy), "{busy}");
        let now = MachineSample::now();
        assert!(now.busy_since(&before.1) > 0.05);
        let cores = now.cores_busy_since(&before.1);
        assert!(cores.values().any(|busy| *busy > 0.05) && cores.values().all(|busy| *busy <= 1.0), "{cores:?}");
    }

    #[test]
    fn interrupts_are_busy_time_and_waiting_for_the_disk_is_not() {
        let read = |line| parse_cpu(line).map(|(core, ticks)| (core, [ticks.busy, ticks.stolen, ticks.all]));
        assert_eq!(read("cpu  10 1 5 100 20 3 4 7 7 7"), Some((None, [23, 7, 150])));
        assert_eq!(read("cpu11 10 1 5 100 20 3 4 0"), Some((Some(11), [23, 0, 143])));
        assert_eq!(read("intr 5 6"), None);
    }
}
