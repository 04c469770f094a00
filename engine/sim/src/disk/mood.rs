//! How a power cut treats what was not flushed: one mood a cut, so that extremes are as common as the middle.

use std::ops::Range;

use super::image::SECTOR_BYTES;
use crate::dice::Dice;
use crate::trace::Trace;

/// What a power cut does to a write that was not flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Everything is lost.
    Lose,
    /// Everything is kept: only what comes after the cut is missing.
    Keep,
    /// Each write is lost, kept or torn.
    Each,
    /// Most writes are torn.
    Tear,
}

impl Mood {
    pub(crate) fn draw(dice: &mut Dice) -> Mood {
        *dice.pick(&[Mood::Lose, Mood::Keep, Mood::Each, Mood::Each, Mood::Tear])
    }

    /// Whether a change of metadata is kept.
    pub(crate) fn keeps(self, dice: &mut Dice) -> bool {
        match self {
            Mood::Lose => false,
            Mood::Keep => true,
            Mood::Each | Mood::Tear => dice.chance(0.5),
        }
    }

    /// Which bytes of a write of `bytes` are kept.
    pub(crate) fn kept(self, bytes: usize, dice: &mut Dice, trace: &mut Trace) -> Vec<Range<usize>> {
        let torn = match self {
            Mood::Lose => 0.0,
            Mood::Keep => 0.0,
            Mood::Each => 0.4,
            Mood::Tear => 0.9,
        };
        if dice.chance(torn) {
            trace.count("disk: torn");
            return torn_sectors(bytes / SECTOR_BYTES, dice);
        }
        if self.keeps(dice) {
            trace.count("disk: kept");
            std::iter::once(0..bytes).collect()
        } else {
            trace.count("disk: lost");
            Vec::new()
        }
    }
}

/// Runs of the sectors that are kept of a torn write.
fn torn_sectors(sectors: usize, dice: &mut Dice) -> Vec<Range<usize>> {
    let at = dice.index(sectors);
    let range = |sectors: Range<usize>| sectors.start * SECTOR_BYTES..sectors.end * SECTOR_BYTES;
    let runs: Box<dyn Iterator<Item = Range<usize>>> = match dice.index(5) {
        0 => Box::new(std::iter::once(0..at)),
        1 => Box::new(std::iter::once(at..sectors)),
        2 => Box::new([0..at, at + 1..sectors].into_iter()),
        3 => Box::new(std::iter::once(at..at + 1)),
        _ => {
            let density = *dice.pick(&[0.1, 0.5, 0.9]);
            Box::new((0..sectors).filter(move |_| dice.chance(density)).map(|sector| sector..sector + 1))
        }
    };
    runs.filter(|run| !run.is_empty()).map(range).collect()
}

/// Some of the sectors of a write of `bytes` that failed: it may have left anything behind.
pub(crate) fn remains(bytes: usize, dice: &mut Dice, trace: &mut Trace) -> Vec<Range<usize>> {
    Mood::draw(dice).kept(bytes, dice, trace)
}
