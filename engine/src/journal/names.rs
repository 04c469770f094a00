//! What the files of segments are called.

use frame::{JournalNumber, SegmentNumber};

/// The name of a segment's file.
pub(crate) fn file_name(journal: JournalNumber, segment: SegmentNumber) -> String {
    format!("{:04}-{:010}.segment", journal.0, segment.0)
}

/// The suffix of a file that is not yet what it is to be. Leftovers are removed at start.
pub(crate) const UNFINISHED: &str = ".new";

/// The journal and segment that a file's name says, if it is a segment's.
pub(crate) fn parse_name(name: &str) -> Option<(JournalNumber, SegmentNumber)> {
    let (journal, segment) = name.strip_suffix(".segment")?.split_once('-')?;
    Some((JournalNumber(journal.parse().ok()?), SegmentNumber(segment.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let name = file_name(JournalNumber(3), SegmentNumber(12));
        assert_eq!(name, "0003-0000000012.segment");
        assert_eq!(parse_name(&name), Some((JournalNumber(3), SegmentNumber(12))));
        assert_eq!(parse_name(&(name + UNFINISHED)), None);
        assert_eq!(parse_name("superblock"), None);
    }
}
