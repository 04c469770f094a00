//! Recovery: a data directory that the engine wrote, changed in arbitrary places, opened again and read.
//!
//! ```text
//!   0 image | 1 bit 0: checksums repaired | edits of 12 bytes:
//!   0 kind | 1 role of the place | 2 which of them, 2 bytes | 4 offset | 8 value
//! ```
//!
//! Promises, for damage that leaves checksums as they are:
//!
//! * What is served is what was written, byte by byte, under its own number.
//! * A record before a durable mark that still stands is served, or its loss is told: by the read, or by what opening found.
//! * A record in a batch that was not touched is served while nothing but batches of records was touched.
//! * A number that was given and known to be durable is not given again.
//! * What was served once is served in the next life.
//!
//! With repaired checksums the directory lies, and nothing can be promised but to go on: no panic, no endless loop.

use std::collections::{BTreeMap, BTreeSet};

use engine::{OpenError, Recovered};
use frame::proto::{AckResult, ErrorCode, Failure};
use frame::{Frame, Sequence, ShardId};
use sim::{Death, Files, Surroundings, World};

use crate::checksum::{repair_batch, repair_footer, repair_header, repair_superblock, repair_trailer};
use crate::image::{self, Address, Image, Place, Role, SUPERBLOCK};
use crate::program::Program;
use crate::talk::Talk;

const EDITS_MAX: usize = 6;
const SECTOR: u64 = 512;
const REPAIRED: u8 = 1;
const ROLES: [Role; 12] = [
    Role::Batch,
    Role::Batch,
    Role::Batch,
    Role::Batch,
    Role::BatchHead,
    Role::BatchHead,
    Role::BatchTable,
    Role::Superblock,
    Role::Header,
    Role::Footer,
    Role::FooterHead,
    Role::Trailer,
];

/// What an input came to. Tests count them: a run that never sees one of these is blind there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// The directory was refused.
    Refused,
    /// It opened, and said that what was durable is damaged.
    Damaged,
    /// It opened, and cut a torn tail.
    Cut,
    /// It opened, and a read said that records are damaged.
    ReadRefused,
    /// It opened, and everything was served.
    Whole,
    /// Files were gone, shorter or exchanged: it went on.
    NotWhole,
    /// Checksums were repaired: it went on.
    Lied,
}

thread_local! {
    static IMAGES: Vec<Image> = image::all();
}

/// Judges one input.
pub fn run(input: &[u8]) {
    outcome(input);
}

/// Judges one input, and says what it came to.
pub fn outcome(input: &[u8]) -> Outcome {
    IMAGES.with(|images| {
        let mut program = Program(input);
        let image = &images[usize::from(program.byte()) % images.len()];
        let is_repaired = program.byte() & REPAIRED != 0;
        let mut files = image.files.clone();
        for _ in 0..EDITS_MAX {
            if program.is_over() {
                break;
            }
            edit(image, &mut files, &mut program, is_repaired);
        }
        let world = image::world(files.clone(), &image.pool);
        match Damaged::assess(image, &files) {
            _ if is_repaired => {
                go_on(image, &world);
                Outcome::Lied
            }
            Some(damage) => judge(image, &world, &damage),
            None => {
                go_on(image, &world);
                Outcome::NotWhole
            }
        }
    })
}

/// Changes one place.
fn edit(image: &Image, files: &mut Files, program: &mut Program<'_>, is_repaired: bool) {
    let kind = program.byte() % 11;
    let place = choose(image, program.byte(), program.short());
    let (offset, value) = (program.word(), program.word());
    let Place { file, offset: start, bytes: length, .. } = &place;
    let at = start + u64::from(offset) % *length as u64;
    let sector = at / SECTOR * SECTOR;
    match kind {
        0 => flip(files, file, at, 1 << (value % 8)),
        1 => files.write(file, at, &[value as u8]),
        2 => files.write(file, at, &value.to_le_bytes()),
        3 => files.write(file, sector, &vec![0; (SECTOR as usize) << (value % 8)]),
        4 => files.write(file, *start, &vec![0; *length]),
        5 => {
            let kept = sector.saturating_sub(*start) as usize;
            files.write(file, start + kept as u64, &vec![0; length - kept]);
        }
        6 => {
            let other = choose(image, value as u8, (value >> 8) as u16);
            let bytes = files.read(&other.file, other.offset, other.bytes);
            files.write(file, *start, &bytes);
        }
        7 => {
            let garbage = vec![value as u8 | 1; SECTOR as usize];
            files.write(file, sector, &garbage);
        }
        8 => files.set_length(file, at),
        9 => files.write(file, at / 8 * 8, &i64::from(value.cast_signed()).to_le_bytes()),
        _ => {
            let names: Vec<String> = files.names().map(str::to_owned).collect();
            let other = &names[value as usize % names.len().max(1)];
            if other == file || value & 1 << 31 != 0 { files.remove(file) } else { files.copy(other, file) }
        }
    }
    if is_repaired {
        repair(files, &image.whole(&place));
    }
}

fn choose(image: &Image, role: u8, which: u16) -> Place {
    let role = ROLES[usize::from(role) % ROLES.len()];
    let of_role = || image.places.iter().filter(|place| place.role == role);
    let count = of_role().count();
    let found = of_role().nth(usize::from(which).checked_rem(count).unwrap_or(0));
    found.unwrap_or(&image.places[usize::from(which) % image.places.len()]).clone()
}

fn flip(files: &mut Files, file: &str, at: u64, bit: u8) {
    let byte = files.read(file, at, 1);
    let flipped: Vec<u8> = byte.iter().map(|byte| byte ^ bit).collect();
    files.write(file, at, &flipped);
}

fn repair(files: &mut Files, place: &Place) {
    let mut bytes = files.read(&place.file, place.offset, place.bytes);
    match place.role {
        Role::Superblock => repair_superblock(&mut bytes),
        Role::Header => repair_header(&mut bytes),
        Role::Batch | Role::BatchHead | Role::BatchTable => repair_batch(&mut bytes),
        Role::Footer | Role::FooterHead => repair_footer(&mut bytes),
        Role::Trailer => repair_trailer(&mut bytes),
    }
    files.write(&place.file, place.offset, &bytes);
}

/// What the changes came to.
struct Damaged {
    /// Batches as they were.
    intact: Vec<bool>,
    /// Whether nothing was touched but batches that hold records alone.
    records_alone: bool,
    /// Everything before this was durable, and that is still to be seen.
    claimed: frame::Position,
}

impl Damaged {
    /// Compares with the undamaged directory. `None` if files are gone whole: nothing can be promised of those.
    fn assess(image: &Image, files: &Files) -> Option<Damaged> {
        let same_files = image.files.names().eq(files.names());
        let same_length = |name: &str| image.files.length(name) == files.length(name);
        if !same_files || !image.files.names().all(same_length) {
            return None;
        }
        let same = |place: &Place| {
            let read = |files: &Files| files.read(&place.file, place.offset, place.bytes);
            read(&image.files) == read(files)
        };
        let intact: Vec<bool> = image.batches.iter().map(|batch| same(&batch.place)).collect();
        let others = image.outside_batches();
        let commands = image.batches.iter().filter(|batch| batch.has_commands);
        let records_alone = others.clone().chain(commands.map(|batch| &batch.place)).all(same);
        let copies = others.filter(|place| place.file == SUPERBLOCK && same(place)).count();
        let claimed = image.claimed(copies >= 2, |number| intact[number]);
        Some(Damaged { intact, records_alone, claimed })
    }
}

/// What one life served.
#[derive(Default)]
struct Served {
    records: BTreeMap<Address, Vec<u8>>,
    /// Numbers at which a read was refused, and why.
    refused: BTreeMap<Address, Failure>,
    /// Shards whose stream is not known any more.
    unknown: BTreeSet<ShardId>,
}

fn judge(image: &Image, world: &World, damage: &Damaged) -> Outcome {
    let (mut talk, recovered) = match Talk::open(world) {
        Ok(opened) => opened,
        Err(error) => {
            refusal(damage, &error);
            return Outcome::Refused;
        }
    };
    let served = read_all(image, &mut talk, &BTreeMap::new());
    for (address, bytes) in &served.records {
        is_as_written(image, *address, bytes);
    }
    nothing_is_missing(image, damage, &recovered, &served);
    let appended = append(image, damage, &mut talk);
    talk.die();
    world.next_life(Death::PowerCut, Surroundings::calm());
    let (mut talk, then) = Talk::open(world).unwrap_or_else(|error| panic!("opened once, and then no more: {error}"));
    let again = read_all(image, &mut talk, &appended);
    for (address, bytes) in served.records.iter().chain(&appended) {
        let now = again.records.get(address);
        let how = if again.refused.contains_key(address) { "refused" } else { "passed over" };
        assert!(
            now == Some(bytes),
            "record {address:?} was served, and is {how} in the next life: {recovered:?}, {then:?}"
        );
    }
    talk.shut_down();
    match recovered {
        Recovered { damage, .. } if !damage.is_empty() => Outcome::Damaged,
        _ if !served.refused.is_empty() => Outcome::ReadRefused,
        Recovered { cuts, .. } if !cuts.is_empty() => Outcome::Cut,
        _ => Outcome::Whole,
    }
}

/// An error is an answer, but not to damage that leaves the rest readable.
fn refusal(damage: &Damaged, error: &OpenError) {
    assert!(!error.to_string().is_empty());
    assert!(!damage.records_alone, "records alone were damaged, and nothing is readable: {error}");
    let is_fault = matches!(error, OpenError::Contradiction { .. } | OpenError::Memory { .. });
    assert!(!is_fault, "damage is taken for a fault: {error}");
}

fn is_as_written(image: &Image, address: Address, bytes: &[u8]) {
    let (shard, _) = address;
    let frame = Frame::parse(bytes).expect("a record that is served is a frame");
    let verified = frame.verify_header(shard).and_then(|()| frame.verify_payload());
    assert!(verified.is_ok(), "record {address:?} was served with {verified:?}");
    match image.records.get(&address) {
        Some(record) => assert!(record.bytes == bytes, "record {address:?} was altered, and served"),
        None => {
            let known = image.submitted.contains(&(frame.key().to_vec(), frame.data().to_vec()));
            assert!(known, "record {address:?} was served, and nobody wrote it");
        }
    }
}

fn nothing_is_missing(image: &Image, damage: &Damaged, recovered: &Recovered, served: &Served) {
    let was_told = !recovered.damage.is_empty();
    for (address, record) in &image.records {
        if served.records.contains_key(address) || image.batches[record.batch].position >= damage.claimed {
            continue;
        }
        let refused = served.refused.contains_key(address) || served.unknown.contains(&address.0);
        assert!(
            refused || was_told,
            "record {address:?} is gone, and nobody was told: {recovered:?}, {:?}",
            served.refused
        );
        let passed_over = served.records.range(address..).next().is_some_and(|((shard, _), _)| *shard == address.0);
        assert!(refused || !passed_over, "record {address:?} is passed over in silence: {recovered:?}");
        let must_be_served = damage.records_alone && damage.intact[record.batch];
        assert!(!must_be_served, "record {address:?} is intact, and not served: {recovered:?}");
    }
}

/// Reads every shard from its first number on. After a refusal it goes on at the next number that was ever given: one that was
/// called damaged with others must be refused again.
fn read_all(image: &Image, talk: &mut Talk, appended: &BTreeMap<Address, Vec<u8>>) -> Served {
    let mut served = Served::default();
    for (&shard, &stream) in &image.streams {
        let (mut from, mut damaged_to) = (Sequence(1), Sequence(1));
        loop {
            match talk.read(stream, shard, from) {
                Ok((result, frames)) => {
                    for bytes in frames {
                        let sequence = Frame::parse(&bytes).map_or(from, |frame| frame.sequence());
                        assert!(sequence >= damaged_to, "shard {shard} gives {sequence}, and called it damaged");
                        assert!(sequence >= from, "shard {shard} gives {sequence} where {from} is due");
                        served.records.insert((shard, sequence), bytes);
                    }
                    assert!(result.next > from || result.next == result.tip, "shard {shard} stands still at {from}");
                    if result.next >= result.tip {
                        break;
                    }
                    from = result.next;
                }
                Err(failure) => {
                    assert!(failure.code != ErrorCode::Busy, "nobody else reads: {failure}");
                    if matches!(failure.code, ErrorCode::UnknownStream | ErrorCode::UnknownShard) {
                        served.unknown.insert(shard);
                        break;
                    }
                    served.refused.insert((shard, from), failure.clone());
                    assert_eq!(failure.damaged.is_some(), failure.code == ErrorCode::Damaged, "{failure:?}");
                    if let Some(told) = &failure.damaged {
                        assert!(told.start >= from, "shard {shard} from {from}: {failure:?}");
                        damaged_to = damaged_to.max(told.end);
                    }
                    let later = (shard, from.next())..=(shard, Sequence(u64::MAX));
                    let known = image.records.range(later.clone()).next().map(|(address, _)| *address);
                    let known = known.or(appended.range(later).next().map(|(address, _)| *address));
                    // Damage may also say of a record that it is encrypted.
                    let goes_on = matches!(failure.code, ErrorCode::Damaged | ErrorCode::KeyMissing);
                    let Some((_, next)) = known.filter(|_| goes_on) else { break };
                    from = next;
                }
            }
        }
    }
    served
}

/// Appends to every stream that is known. Numbers known to be durable are not given again.
fn append(image: &Image, damage: &Damaged, talk: &mut Talk) -> BTreeMap<Address, Vec<u8>> {
    let mut appended = BTreeMap::new();
    let streams: BTreeSet<_> = image.streams.values().copied().collect();
    for stream in streams {
        let mut frame_bytes = Vec::new();
        frame::frame::encode(&mut frame_bytes, b"key-new", None, b"appended after the damage").expect("a short record");
        let request = talk.append(stream, 1, &frame_bytes);
        let Ok(results) = talk.acked(request) else { continue };
        for (_, result) in results {
            let AckResult::Durable(shard, sequence) = result else { continue };
            let given = image.records.range((shard, sequence)..=(shard, Sequence(u64::MAX)));
            let durable = |record: &image::Record| image.batches[record.batch].position < damage.claimed;
            let again = given.filter(|(_, record)| durable(record)).map(|(address, _)| address).next();
            assert!(again.is_none(), "{sequence} of shard {shard} is given again: {again:?} was durable");
            let (_, frames) = talk.read(stream, shard, sequence).expect("what was just stored is read");
            let stored = frames.into_iter().next().expect("what was just stored is there");
            let frame = Frame::parse(&stored).expect("a record that is served is a frame");
            assert!(frame.sequence() == sequence && frame.data() == b"appended after the damage", "another record");
            appended.insert((shard, sequence), stored);
        }
    }
    appended
}

/// A directory that lies, or is not whole: it opens or is refused, answers or refuses, and opens again or is refused.
fn go_on(image: &Image, world: &World) {
    for _ in 0..2 {
        match Talk::open(world) {
            Ok((mut talk, _)) => {
                read_all_leniently(image, &mut talk);
                talk.die();
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                world.die();
            }
        }
        world.next_life(Death::PowerCut, Surroundings::calm());
    }
}

fn read_all_leniently(image: &Image, talk: &mut Talk) {
    for (&shard, &stream) in &image.streams {
        let mut from = Sequence(1);
        for _ in 0..20 {
            match talk.read(stream, shard, from) {
                Ok((result, _)) if result.next > from => from = result.next,
                _ => break,
            }
        }
        let mut frame_bytes = Vec::new();
        frame::frame::encode(&mut frame_bytes, b"key", None, b"data").expect("a short record");
        let request = talk.append(stream, 1, &frame_bytes);
        drop(talk.acked(request));
    }
}

/// Edits of each kind, on each image.
pub fn starts() -> Vec<(&'static str, Vec<u8>)> {
    // Places by role: 0 batch, 4 head, 6 table, 7 superblock, 8 header, 9 footer, 10 footer's head, 11 trailer.
    let edit = |image: u8, how: u8, kind: u8, role: u8, which: u8, offset: u16, value: i32| {
        let head = [image, how, kind, role, which, 0];
        [&head[..], &u32::from(offset).to_le_bytes(), &value.to_le_bytes()].concat()
    };
    vec![
        ("untouched-clean", vec![0, 0]),
        ("untouched-torn", vec![2, 0]),
        ("untouched-lives", vec![3, 0]),
        ("flip-data", edit(0, 0, 0, 0, 5, 200, 3)),
        ("set-count", edit(1, 0, 1, 4, 3, 92, 9)),
        ("word-length", edit(2, 0, 2, 4, 4, 12, 4096)),
        ("zero-sectors", edit(3, 0, 3, 0, 9, 512, 2)),
        ("zero-batch", edit(1, 0, 4, 0, 2, 0, 0)),
        ("tear-batch", edit(2, 0, 5, 0, 7, 1024, 0)),
        ("damage-amid-shard", edit(1, 0, 4, 0, 4, 0, 0)),
        ("tear-last", edit(3, 0, 5, 0, 30, 512, 0)),
        ("copy-place", edit(3, 0, 6, 0, 6, 0, 4 << 8)),
        ("garbage-footer", edit(0, 0, 7, 9, 0, 100, 85)),
        ("cut-file", edit(1, 0, 8, 0, 1, 1, 0)),
        ("copy-file", edit(3, 0, 10, 8, 0, 0, 1)),
        ("zero-superblock", edit(0, 0, 4, 7, 0, 0, 0)),
        ("zero-trailer", edit(0, 0, 4, 11, 0, 0, 0)),
        ("zero-header", edit(3, 0, 4, 8, 1, 0, 0)),
        ("lie-sequence", edit(1, 1, 9, 6, 3, 16, -1)),
        ("lie-arrival", [edit(0, 1, 4, 11, 0, 0, 0), edit(0, 1, 9, 6, 3, 24, 0)[2..].to_vec()].concat()),
        ("lie-shard", edit(2, 1, 2, 6, 3, 0, -2)),
        ("lie-skip", edit(1, 1, 9, 4, 0, 80, -1)),
        ("lie-epoch", edit(3, 1, 9, 4, 1, 48, -1)),
        ("lie-position", edit(0, 1, 2, 4, 2, 36, 7)),
        ("lie-footer", edit(0, 1, 2, 10, 0, 36, 65535)),
        ("lie-trailer", edit(0, 1, 2, 11, 0, 52, -1)),
        ("lie-durable", edit(1, 1, 9, 7, 0, 48, -1)),
        (
            "lie-life",
            [&[1, 1], &[0, 1, 2, 3].map(|copy| edit(1, 1, 9, 7, copy, 40, -1)[2..].to_vec()).concat()[..]].concat(),
        ),
    ]
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
