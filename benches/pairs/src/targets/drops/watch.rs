//! Looks at the server's segments while a load runs, and deletes a stream in its midst.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::PairsError;
use crate::kinesis::delete_stream;
use crate::wire::Metrics;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// One look.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    /// Since the stream was deleted, or since the beginning where none was.
    at_s: f64,
    /// Segments that hold something, the open one among them.
    taken: f64,
    /// Bytes of all segments: of those that are dropped until they are freed.
    bytes: f64,
}

/// What it saw.
#[derive(Debug)]
pub(super) struct Watched {
    looks: Vec<Look>,
    /// Segments whose names went: one that is begun meanwhile hides none.
    pub(super) dropped: usize,
    /// Seconds until the server had let go of the last of them, by its metrics.
    pub(super) dropped_s: f64,
    /// Bytes that the disk got back, and seconds until it had.
    pub(super) freed_bytes: f64,
    pub(super) freed_s: f64,
}

/// Segments that hold something.
pub(super) fn taken(metrics: &Metrics) -> Result<f64, PairsError> {
    Ok(metrics.sum("millstream_segments")? - metrics.sum("millstream_segments_ready")?)
}

/// Watches for a while, and deletes a stream over HTTP at some time in it, if it is told to.
pub(super) fn watch(
    (admin, data): (&str, &Path),
    during: Range<Instant>,
    deletion: Option<(Instant, &str, &str)>,
) -> Result<Watched, PairsError> {
    let mut looks = Vec::new();
    let mut seen = segments(data)?;
    let from = deletion.map_or(during.start, |(at, ..)| at);
    let mut deletion = deletion;
    let mut next = during.start;
    while next < during.end {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if let Some((at, http, stream)) = deletion.take_if(|(at, ..)| *at <= next) {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            delete_stream(http, stream)?;
        }
        seen.append(&mut segments(data)?);
        let metrics = Metrics::of(admin)?;
        let now = Instant::now();
        let at_s =
            now.saturating_duration_since(from).as_secs_f64() - from.saturating_duration_since(now).as_secs_f64();
        looks.push(Look { at_s, taken: taken(&metrics)?, bytes: metrics.sum("millstream_segments_bytes")? });
        next += LOOK;
    }
    let left = segments(data)?;
    Ok(Watched::new(looks, seen.difference(&left).count()))
}

impl Watched {
    fn new(looks: Vec<Look>, dropped: usize) -> Self {
        let (_, dropped_s) = fallen(&looks, |look| look.taken);
        let (freed_bytes, freed_s) = fallen(&looks, |look| look.bytes);
        Self { looks, dropped, dropped_s, freed_bytes, freed_s }
    }

    /// The looks in which something had changed, for the result.
    pub(super) fn rows(&self) -> Vec<[f64; 3]> {
        let mut changed: Vec<Look> = self.looks.clone();
        changed.dedup_by(|new, old| (new.taken, new.bytes) == (old.taken, old.bytes));
        changed.iter().map(|look| [(look.at_s * 10.0).round() / 10.0, look.taken, (look.bytes / 1e6).round()]).collect()
    }
}

/// The names of the segments that are there.
fn segments(data: &Path) -> Result<BTreeSet<OsString>, PairsError> {
    let failed = |source| PairsError::File { path: data.to_owned(), source };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(data).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if Path::new(&name).extension().is_some_and(|kind| kind == "segment") {
            names.insert(name);
        }
    }
    Ok(names)
}

/// By how much something fell, all steps down together, and when the last one was seen. New segments come meanwhile.
fn fallen(looks: &[Look], of: fn(&Look) -> f64) -> (f64, f64) {
    let steps = looks.windows(2).map(|pair| (of(&pair[0]) - of(&pair[1]), pair[1].at_s));
    steps.filter(|(step, _)| *step > 0.0).fold((0.0, f64::NAN), |(sum, _), (step, at_s)| (sum + step, at_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_is_told_although_more_comes() {
        let looks = [
            (-1.0, 12.0, 14e9),
            (0.1, 12.0, 14e9),
            (0.5, 6.0, 14e9),
            (0.6, 7.0, 15e9),
            (0.9, 3.0, 15e9),
            (2.0, 3.0, 5e9),
        ];
        let watched = Watched::new(looks.map(|(at_s, taken, bytes)| Look { at_s, taken, bytes }).to_vec(), 10);
        assert_eq!((watched.dropped_s, watched.freed_bytes, watched.freed_s), (0.9, 10e9, 2.0));
        assert_eq!(watched.rows().len(), 5, "{:?}", watched.rows());
    }

    #[test]
    fn segments_are_told_by_their_names() {
        let data = tempfile::tempdir().expect("there is room for it");
        for name in ["0000-0000000007.segment", "0000-0000000008.segment.new", "superblock"] {
            fs::write(data.path().join(name), "").expect("it was just made");
        }
        let names = segments(data.path()).expect("it can be read");
        assert_eq!(names, BTreeSet::from(["0000-0000000007.segment".into()]));
    }
}
