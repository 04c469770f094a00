//! What the files of a data directory tell of its segments, of all journals: which are gone, which were compacted, and
//! whether one was just being.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::totals::Totals;

/// How long is waited for compaction to begin: longer than it rests, and than records are kept.
const COMPACTION_MAX: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(1);

/// What was seen of them, each time a server had gone.
#[derive(Default)]
pub(crate) struct Segments {
    /// Files that hold what lived of others, and their lengths: one that is compacted again gets shorter.
    compacted: HashSet<(String, u64)>,
    /// Ends that came amid compaction.
    amid: u64,
}

impl Segments {
    /// Looks at the files that a server left.
    pub(crate) fn look(&mut self, data: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let is_copying = is_copying(data)?;
        let inspected =
            Command::new(env!("CARGO_BIN_EXE_millstream")).args(["inspect", "--json"]).arg(data).output()?;
        let report: serde_json::Value = serde_json::from_slice(&inspected.stdout)?;
        if !inspected.status.success() {
            return Err(format!("damage was found: {}", report["damage"]).into());
        }
        let segments = report["segments"].as_array().ok_or("it tells segments")?;
        let of_state = |state: &'static str| segments.iter().filter(move |segment| segment["state"] == state);
        let named =
            |segment: &serde_json::Value| (segment["file"].to_string(), segment["file_bytes"].as_u64().unwrap_or(0));
        self.compacted.extend(of_state("compacted").map(named));
        self.amid += u64::from(is_copying || of_state("replaced").next().is_some());
        Ok(())
    }

    /// Adds what was seen, and what is gone by now.
    pub(crate) fn add_to(&self, totals: Totals, data: &Path) -> std::io::Result<Totals> {
        let dropped_segments = dropped(&names(data)?);
        let compacted_segments = self.compacted.len() as u64;
        Ok(Totals { dropped_segments, compacted_segments, amid_compaction: self.amid, ..totals })
    }
}

/// Waits until what lives of some segments is being copied. Nobody tells when, so it is looked at again and again, but not for
/// ever: it may be that nothing is worth it.
pub(crate) fn await_compaction(data: &Path) -> std::io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < COMPACTION_MAX && !is_copying(data)? {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether a file is being made that is to take the place of a segment that is there.
fn is_copying(data: &Path) -> std::io::Result<bool> {
    let names = names(data)?;
    Ok(names
        .iter()
        .any(|name| name.strip_suffix(".segment.new").is_some_and(|of| names.contains(&format!("{of}.segment")))))
}

/// How many segments are gone: of each journal those before the first one that is there.
fn dropped(names: &BTreeSet<String>) -> u64 {
    let mut firsts = BTreeMap::new();
    for name in names {
        let Some((journal, number)) = name.strip_suffix(".segment").and_then(|name| name.split_once('-')) else {
            continue;
        };
        // They come in their order.
        firsts.entry(journal).or_insert(number.parse::<u64>().expect("segments are numbered"));
    }
    firsts.values().map(|first| first - 1).sum()
}

fn names(data: &Path) -> std::io::Result<BTreeSet<String>> {
    std::fs::read_dir(data)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
