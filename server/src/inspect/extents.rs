//! Extents and frames: each record against its checksums, and a footer against the batches that it lists.

use std::collections::BTreeMap;

use frame::segment::{Footer, PlacedExtent};
use frame::{Frame, FrameError, Sequence, ShardId};

use super::report::{Damage, LostRecords};

/// Extents found in the batches of one segment, by shard, in the order of their places.
pub(super) type Found = BTreeMap<ShardId, Vec<PlacedExtent>>;

/// Checks an extent's frames in `bytes`, which are all of it; adds runs of bad ones to `damage`, and tells how many of the good are
/// encrypted.
pub(super) fn check_frames(
    file: &str,
    shard: ShardId,
    extent: &PlacedExtent,
    bytes: &[u8],
    damage: &mut Vec<Damage>,
) -> u64 {
    let (mut at, mut number, mut encrypted) = (0, extent.first_sequence, 0);
    while number <= extent.last_sequence() {
        let place = u64::from(extent.offset) + at as u64;
        let rest = bytes.get(at..).unwrap_or_default();
        match check_frame(rest, shard, number) {
            Ok(frame) => {
                encrypted += u64::from(frame.is_encrypted());
                (at, number) = (at + frame.length(), number.next());
            }
            Err(why) => {
                let (next_at, next) = next_intact(bytes, at, shard, number, extent.last_sequence());
                let last = Sequence(next.0 - 1);
                let to = u64::from(extent.offset) + next_at as u64;
                damage.push(Damage {
                    file: file.to_owned(),
                    from: place,
                    to,
                    what: why,
                    records: Some(LostRecords { shard: shard.0, first: number.0, last: last.0 }),
                });
                (at, number) = (next_at, next);
            }
        }
    }
    if at < bytes.len() && number > extent.last_sequence() && at != bytes.len() {
        let from = u64::from(extent.offset) + at as u64;
        let to = u64::from(extent.offset) + bytes.len() as u64;
        damage.push(Damage::plain(file, from, to, "an extent is longer than its records"));
    }
    encrypted
}

/// The frame that should carry `number`; or why it is not that one.
fn check_frame(bytes: &[u8], shard: ShardId, number: Sequence) -> Result<Frame<'_>, String> {
    let frame = Frame::parse_stored(bytes).map_err(|error| error.to_string())?;
    frame.verify_header(shard).map_err(|error: FrameError| error.to_string())?;
    frame.verify_payload().map_err(|error| error.to_string())?;
    if frame.sequence() != number {
        return Err(format!("sequence number {} stands where {number} should", frame.sequence()));
    }
    Ok(frame)
}

/// The next frame after `at` whose checksums are right, and its number; or the end, and the number after the last.
fn next_intact(bytes: &[u8], at: usize, shard: ShardId, bad: Sequence, last: Sequence) -> (usize, Sequence) {
    for place in (at + 8..bytes.len()).step_by(8) {
        let frame = Frame::parse_stored(&bytes[place..]).ok();
        let intact = frame.filter(|frame| frame.verify_header(shard).is_ok() && frame.verify_payload().is_ok());
        if let Some(frame) = intact.filter(|frame| (bad.next()..=last).contains(&frame.sequence())) {
            return (place, frame.sequence());
        }
    }
    (bytes.len(), last.next())
}

/// Compares a footer with what the batches hold. Extents that touch a damaged stretch are left out.
pub(super) fn compare(file: &str, footer: &Footer, found: &Found, damaged: &[(u64, u64)], damage: &mut Vec<Damage>) {
    let touches = |extent: &PlacedExtent| {
        let (from, to) = (u64::from(extent.offset), u64::from(extent.offset) + u64::from(extent.length));
        damaged.iter().any(|(start, end)| from < *end && *start < to)
    };
    let at = u64::from(footer.head.position.offset());
    let mut listed = 0;
    for row in footer.shards() {
        let held = found.get(&row.shard).map(Vec::as_slice).unwrap_or_default();
        listed += usize::from(row.extents > 0 && !held.is_empty());
        let said: Vec<PlacedExtent> = footer.extents(&row).collect();
        if said.len() != row.extents as usize {
            let what = format!("the footer's extents of shard {} end too soon", row.shard);
            damage.push(Damage::plain(file, at, at, &what));
        }
        let mut held = held.iter();
        for extent in said.iter().filter(|extent| !touches(extent)) {
            if held.next() != Some(extent) {
                let what = format!(
                    "the footer lists records {} to {} of shard {} where the batches hold others",
                    extent.first_sequence,
                    extent.last_sequence(),
                    row.shard
                );
                damage.push(Damage::plain(
                    file,
                    u64::from(extent.offset),
                    u64::from(extent.offset + extent.length),
                    &what,
                ));
                break;
            }
        }
        if held.next().is_some() && said.iter().all(|extent| !touches(extent)) {
            let what = format!("the footer lacks extents of shard {}", row.shard);
            damage.push(Damage::plain(file, at, at, &what));
        }
    }
    if listed < found.len() {
        damage.push(Damage::plain(file, at, at, "the footer lacks shards that the batches hold records of"));
    }
}

impl Damage {
    pub(super) fn plain(file: &str, from: u64, to: u64, what: &str) -> Damage {
        Damage { file: file.to_owned(), from, to, what: what.to_owned(), records: None }
    }
}
