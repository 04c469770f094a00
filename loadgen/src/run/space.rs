//! What a run takes on the disk of our own server, and what it may take where nobody bounds it.

use super::RunError;
use super::place::existing;
use super::settle::Settled;
use crate::input::Rows;
use crate::machine::Disk;
use crate::options::Options;
use crate::units::parse_bytes;
use crate::workload::{KEY_BYTES, Sizes};

/// Bytes of a segment, unless the server is told otherwise, and how many there are beyond the records: the one in use and those
/// kept ready.
const SEGMENT_BYTES: u64 = 256 << 20;
const SEGMENTS_READY: u64 = 2;

/// How many times a person's own rows may grow on disk, and how large they are, where they can't be looked at before: short ones
/// grow more.
const ROW_GROWTH: f64 = 1.8;
const ROW_BYTES: f64 = 100.0;

/// What a batch is padded to on disk, where it is written alone.
const BLOCK_BYTES: f64 = 4096.0;

/// The share of the free disk that a run without a bound leaves free.
const LEFT_FREE: f64 = 0.1;

/// A disk with less room than this for a load without a bound is too small for it.
const LOAD_BYTES_MIN: u64 = 64 << 20;

/// Bytes that one load sends at most, and how many times larger they are on disk.
type Bounded<'a> = (&'a mut u64, f64);

impl Settled {
    /// The same on the disk of our own server, where a load that nobody bounds is bounded by the room that there is. Refuses where
    /// there is less than the run may take.
    pub(super) fn within_space(&self, options: &Options, rows: Option<&Rows>) -> Result<Self, RunError> {
        let directory = existing(&self.parent);
        let free =
            Disk::free_bytes(&directory).map_err(|error| RunError::System("see how much disk is free", error))?;
        let mut settled = self.clone();
        let Some(free) = free else { return Ok(settled) };
        let segments = segment_room_bytes(&options.server_arg);
        let own = rows.map_or_else(|| Growth::of(options.record_bytes), Growth::of_rows);
        let beside = self.beside.as_ref().map(|(beside, _)| (Growth::of(beside.record_bytes), beside.batch_records));
        let room = (free as f64 * (1.0 - LEFT_FREE)) as u64;
        let beside_padded = beside.map_or(0.0, |(growth, records)| growth.padded(records));
        // A file that is to be sent to its end has that bound: all of it has to have room.
        let whole = self.whole_bytes(own).filter(|_| self.duration.is_none());
        let mut own_bytes = self.bytes_max.min(whole.unwrap_or(u64::MAX));
        let mut loads =
            [(&mut own_bytes, own.padded(options.batch_records)), (&mut settled.beside_bytes_max, beside_padded)];
        bound(room.saturating_sub(segments), &mut loads);
        settled.bytes_max = if whole.is_some() { self.bytes_max } else { own_bytes };
        let need = settled.disk_bytes(own, beside.map_or(0.0, |(growth, _)| growth.times));
        let need = need.saturating_add(segments);
        if free < need {
            return Err(RunError::Space { directory: self.parent.clone(), need, free });
        }
        Ok(settled)
    }

    /// Data and keys of a file whose rows are sent once.
    fn whole_bytes(&self, own: Growth) -> Option<u64> {
        let once = self.input.as_ref().filter(|input| !input.repeat).and_then(|input| input.path.as_ref());
        let file_bytes = once.and_then(|path| Some(path.metadata().ok().filter(std::fs::Metadata::is_file)?.len()));
        file_bytes.map(|bytes| (bytes as f64 * own.of_line).max(1.0) as u64)
    }

    /// Bytes that the records may take on disk.
    fn disk_bytes(&self, own: Growth, beside: f64) -> u64 {
        let bytes = self.bytes_max.min(self.whole_bytes(own).unwrap_or(u64::MAX));
        (bytes as f64 * own.times + self.beside_bytes_max as f64 * beside) as u64
    }
}

/// Shares out what is left of the room by those that have a bound among those that have none.
fn bound(room: u64, loads: &mut [Bounded<'_>]) {
    let taken: f64 = loads.iter().filter(|load| *load.0 < u64::MAX).map(|load| *load.0 as f64 * load.1).sum();
    let left = (room as f64 - taken).max(0.0);
    let unbounded = loads.iter_mut().filter(|load| *load.0 == u64::MAX);
    let unbounded: Vec<_> = unbounded.collect();
    let each = left / unbounded.len().max(1) as f64;
    for (bytes, growth) in unbounded {
        **bytes = ((each / *growth) as u64).max(LOAD_BYTES_MIN);
    }
}

/// How many times larger than their data and keys records are on disk, and how large these are.
#[derive(Clone, Copy, Debug)]
struct Growth {
    times: f64,
    record_bytes: f64,
    /// How many times larger they are than the lines of a file that they come from, which may have no keys.
    of_line: f64,
}

impl Growth {
    fn of(sizes: Sizes) -> Self {
        let mean = sizes.mean();
        let frame = frame::frame::frame_bytes(0, KEY_BYTES, mean as usize);
        let record_bytes = mean + KEY_BYTES as f64;
        Self { times: frame as f64 / record_bytes, record_bytes, of_line: 1.0 }
    }

    /// The same of a person's own rows.
    fn of_rows(rows: &Rows) -> Self {
        let (mut count, mut bytes, mut line_bytes, mut frames_bytes) = (0, 0, 0, 0);
        for [key, data] in rows.sizes() {
            count += 1;
            bytes += key + data;
            line_bytes += data + 1;
            frames_bytes += frame::frame::frame_bytes(0, key, data);
        }
        match bytes {
            0 => Self { times: ROW_GROWTH, record_bytes: ROW_BYTES, of_line: 1.0 },
            _ => Self {
                times: frames_bytes as f64 / bytes as f64,
                record_bytes: bytes as f64 / f64::from(count),
                of_line: bytes as f64 / line_bytes as f64,
            },
        }
    }

    /// The same where each batch of so many records is written alone.
    fn padded(self, records: u32) -> f64 {
        self.times + BLOCK_BYTES / (self.record_bytes * f64::from(records))
    }
}

/// Room on the disk beyond the records, by what the server is told.
fn segment_room_bytes(arguments: &[String]) -> u64 {
    let told = |name: &str| arguments.iter().rev().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    let segment_bytes = told("--segment-bytes").and_then(|text| parse_bytes(text).ok()).unwrap_or(SEGMENT_BYTES);
    let ready = told("--segments-ready").and_then(|text| text.parse().ok()).unwrap_or(SEGMENTS_READY);
    segment_bytes.saturating_mul(ready.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn settled(arguments: &[&str]) -> Settled {
        let all = ["millstream-load"].iter().chain(arguments).map(std::ffi::OsString::from);
        Settled::new(&Options::read(all).unwrap()).unwrap()
    }

    /// Bug: a run of 30 s ended after two, without a word. Mechanism: what a run sends at most unless told, which is meant for one
    /// without any bound, held beside the duration. Fix: where a duration is given nothing else bounds it, but the disk.
    #[test]
    fn a_duration_has_no_other_bound() {
        assert_eq!(settled(&[]).bytes_max, 4 * GIB);
        assert_eq!(settled(&["--duration", "30s", "--bytes", "1GiB"]).bytes_max, GIB);
        let timed = settled(&["--duration", "30s", "--beside", "shards=2"]);
        assert_eq!((timed.bytes_max, timed.beside_bytes_max), (u64::MAX, u64::MAX));
        let sent = settled(&["--bytes", "1GiB", "--beside", "shards=2,bytes=2GiB"]);
        assert_eq!((sent.bytes_max, sent.beside_bytes_max), (GIB, 2 * GIB));
    }

    /// Bug, found on reading: of a large file the first 4 GiB were sent, without a word. Mechanism: what a run sends at most unless told,
    /// which is meant for one without any bound, held beside the end of the rows. Fix: only rows that begin again have it.
    #[test]
    fn rows_that_end_have_no_other_bound() {
        assert_eq!(settled(&["--input", "rows.csv"]).bytes_max, u64::MAX);
        assert_eq!(settled(&["--input", "rows.csv", "--bytes", "1GiB"]).bytes_max, GIB);
        assert_eq!(settled(&["--input", "rows.csv", "--loop"]).bytes_max, 4 * GIB);
    }

    #[test]
    fn a_file_has_to_have_room_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.csv");
        let file = std::fs::File::create(&path).unwrap();
        let of = |bytes: u64| {
            file.set_len(bytes).unwrap();
            let directory = directory.path().to_str().unwrap();
            let arguments =
                ["--dir", directory, "--server-arg=--segment-bytes=8MiB", "--input", path.to_str().unwrap()];
            let all = ["millstream-load"].iter().chain(&arguments).map(std::ffi::OsString::from);
            settled(&arguments).within_space(&Options::read(all).unwrap(), None).map(|bounded| bounded.bytes_max)
        };
        let free = Disk::free_bytes(directory.path()).unwrap().unwrap();
        assert!(matches!(of(free), Err(RunError::Space { .. })));
        assert!(free < 2 * GIB || of(GIB).is_ok_and(|bytes| bytes == u64::MAX));
    }

    /// Rows of 20 bytes that are given keys of 16.
    #[test]
    fn a_file_has_to_have_room_for_the_keys_that_it_is_given() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.txt");
        std::fs::write(&path, "twenty bytes of data\n".repeat(10_000)).unwrap();
        let arguments = ["--input", path.to_str().unwrap()];
        let settled = settled(&arguments);
        let rows = Rows::open(settled.input.clone().unwrap()).unwrap();
        let sent = settled.whole_bytes(Growth::of_rows(&rows)).unwrap();
        assert_eq!(sent, 36 * 10_000);
    }

    #[test]
    fn loads_without_a_bound_share_what_the_others_leave() {
        let bounds = |room: u64, bounds: [u64; 2]| {
            let [mut main, mut beside] = bounds;
            bound(room, &mut [(&mut main, 1.25), (&mut beside, 1.0)]);
            [main, beside]
        };
        assert_eq!(bounds(10 * GIB, [u64::MAX, 0]), [8 * GIB, 0]);
        assert_eq!(bounds(10 * GIB, [u64::MAX; 2]), [4 * GIB, 5 * GIB]);
        assert_eq!(bounds(10 * GIB, [4 * GIB, u64::MAX]), [4 * GIB, 5 * GIB]);
        assert_eq!(bounds(GIB, [u64::MAX, 2 * GIB]), [LOAD_BYTES_MIN, 2 * GIB]);
    }

    #[test]
    fn small_batches_may_take_a_block_each() {
        let growth = Growth::of(Sizes::Fixed(1008));
        assert_eq!(growth.padded(1) - growth.times, 4.0);
        assert!(growth.padded(250) < 1.2, "{growth:?}");
    }

    #[test]
    fn the_disk_bounds_what_nobody_does() {
        let directory = tempfile::tempdir().unwrap();
        let free = Disk::free_bytes(directory.path()).unwrap().unwrap();
        let arguments = ["--duration=1h", "--server-arg=--segment-bytes=8MiB", "--dir"];
        let arguments = [&arguments[..], &[directory.path().to_str().unwrap()]].concat();
        let all = ["millstream-load"].iter().chain(&arguments).map(std::ffi::OsString::from);
        let options = Options::read(all).unwrap();
        if let Ok(bounded) = settled(&arguments).within_space(&options, None) {
            assert!((LOAD_BYTES_MIN..free).contains(&bounded.bytes_max), "{} of {free}", bounded.bytes_max);
        }
    }
}
