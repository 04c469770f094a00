//! Flushes of the device below a directory, and what was written to it, whoever asked for them.

use std::fs;
use std::path::{Path, PathBuf};

use devices::Device;

/// Where a device tells what it has done.
#[derive(Debug)]
pub(crate) struct Flushes {
    counters: Option<PathBuf>,
}

impl Flushes {
    pub(crate) fn below(directory: &Path) -> Self {
        Self { counters: Device::of(directory).map(|device| device.folder.join("stat")) }
    }

    /// How many it has completed so far, the 16th of its counters; none where it counts none.
    pub(crate) fn now(&self) -> Option<u64> {
        self.counter(15)
    }

    /// Sectors that it has written so far, the 7th: one without a volatile cache is sent no flushes.
    pub(crate) fn sectors_written(&self) -> Option<u64> {
        self.counter(6)
    }

    fn counter(&self, index: usize) -> Option<u64> {
        let counters = fs::read_to_string(self.counters.as_ref()?).ok()?;
        counters.split_ascii_whitespace().nth(index)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn a_flush_is_counted_where_the_device_counts_them() {
        let program = std::env::current_exe().expect("it is there");
        let beside = program.parent().expect("it lies in a directory");
        let directory = tempfile::tempdir_in(beside).expect("target/ can be written to");
        let flushes = Flushes::below(directory.path());
        let Some((before, written)) = flushes.now().zip(flushes.sectors_written()) else { return };
        let mut file = File::create(directory.path().join("file")).expect("it can be made");
        file.write_all(b"what is new").expect("it can be written");
        file.sync_all().expect("the disk is there");
        // A device without a volatile cache is sent none, and counts none at all.
        let after = flushes.now().expect("it was there before");
        assert!(after > before || before == 0, "{before} and {after}");
        assert!(flushes.sectors_written().is_some_and(|after| after > written), "more than {written}");
    }
}
