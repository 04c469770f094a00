//! Data directories to be damaged: each written by the engine itself, with what it holds and where.

use std::collections::{BTreeMap, HashSet};

use frame::batch::{self, Extent};
use frame::limits::BLOCK_BYTES;
use frame::proto::StreamDescription;
use frame::segment::{FIRST_BATCH, Header, Trailer};
use frame::superblock::{COPIES, Superblock};
use frame::{Frame, Position, Sequence, ShardId, StreamId};
use io::Pool;
use sim::{Death, Files, Surroundings, Trace, World};

use crate::Random;
use crate::talk::Talk;

/// Aligned memory of a reactor here.
const POOL_BYTES: usize = 16 << 20;

/// The header of a footer, as the format has it.
const FOOTER_HEADER_BYTES: usize = 96;

/// The name of the superblock's file.
pub(crate) const SUPERBLOCK: &str = "superblock";

/// A record's address.
pub(crate) type Address = (ShardId, Sequence);

/// What a place of a file holds. Edits aim at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Superblock,
    Header,
    Batch,
    /// The header of a batch, which is a part of it.
    BatchHead,
    /// The extent table of a batch, which is a part of it.
    BatchTable,
    Footer,
    /// The header of a footer, which is a part of it.
    FooterHead,
    Trailer,
}

/// A stretch of a file with one role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) role: Role,
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// A batch of the undamaged directory.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) place: Place,
    pub(crate) position: Position,
    pub(crate) durable: Position,
    pub(crate) has_commands: bool,
}

/// A record that the undamaged directory serves.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    /// Its batch, by index.
    pub(crate) batch: usize,
}

/// A data directory at rest.
pub(crate) struct Image {
    pub(crate) files: Files,
    pub(crate) pool: Pool,
    pub(crate) places: Vec<Place>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) records: BTreeMap<Address, Record>,
    /// Key and data of every record that was ever submitted, stored or not.
    pub(crate) submitted: HashSet<(Vec<u8>, Vec<u8>)>,
    pub(crate) streams: BTreeMap<ShardId, StreamId>,
    pub(crate) superblock: Superblock,
    /// Whether opening it cuts a torn tail.
    pub(crate) is_cut: bool,
}

/// How a directory came to rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Past {
    /// Three segments, then a clean shutdown.
    Clean,
    /// A little load, an idle moment, then a power cut.
    Idle,
    /// Power cut under load.
    Torn,
    /// Two lives, the second one cut under load; more than one segment.
    Lives,
}

/// All images, made anew: the same every time.
pub(crate) fn all() -> Vec<Image> {
    let pool = Pool::new(POOL_BYTES).expect("memory for the tests");
    let images = [Past::Clean, Past::Idle, Past::Torn, Past::Lives].map(|past| make_as_meant(past, &pool));
    let segments = |image: &Image| image.places.iter().filter(|place| place.role == Role::Footer).count();
    assert!(segments(&images[0]) >= 2 && segments(&images[3]) >= 1, "segments were sealed");
    images.into()
}

/// Under load, the step at which power is cut decides what is left: the first one that leaves a torn tail is taken.
fn make_as_meant(past: Past, pool: &Pool) -> Image {
    let wants_cut = matches!(past, Past::Torn | Past::Lives);
    let found = (1..40).map(|step| make(past, step, pool)).find(|image| image.is_cut == wants_cut);
    found.expect("some step tears the tail, or none is wanted")
}

/// A world around files.
pub(crate) fn world(files: Files, pool: &Pool) -> World {
    let world = World::new(1, pool.clone(), Surroundings::calm(), Trace::default());
    world.load(files);
    world
}

fn make(past: Past, step: u64, pool: &Pool) -> Image {
    let world = world(Files::default(), pool);
    let mut writer = Writer { random: Random::new(past as u64), submitted: HashSet::new() };
    let mut talk = Talk::open(&world).expect("an empty directory opens").0;
    let small = talk.create_stream("small", 1).expect("a new stream");
    let wide = talk.create_stream("wide", 3).expect("a new stream");
    let streams = [&small, &wide];
    match past {
        Past::Clean => {
            writer.load(&mut talk, &streams, 34, 4, 120_000);
            talk.shut_down();
        }
        Past::Idle => {
            writer.load(&mut talk, &streams, 12, 5, 3000);
            talk.idle(50_000_000);
            talk.die();
        }
        Past::Torn => {
            writer.load(&mut talk, &streams, 8, 4, 3000);
            writer.cut(&world, talk, &streams, step);
        }
        Past::Lives => {
            writer.load(&mut talk, &streams, 20, 4, 120_000);
            talk.die();
            world.next_life(Death::PowerCut, Surroundings::calm());
            let mut talk = Talk::open(&world).expect("nothing is damaged").0;
            writer.load(&mut talk, &streams, 8, 4, 5000);
            talk.idle(20_000_000);
            writer.load(&mut talk, &streams, 3, 4, 5000);
            writer.cut(&world, talk, &streams, step);
        }
    }
    world.next_life(Death::PowerCut, Surroundings::calm());
    survey(world.files(), pool, writer.submitted, &streams)
}

/// Makes records and remembers them.
struct Writer {
    random: Random,
    submitted: HashSet<(Vec<u8>, Vec<u8>)>,
}

impl Writer {
    /// Appends batches one after the other, each acknowledged before the next.
    fn load(&mut self, talk: &mut Talk, streams: &[&StreamDescription], batches: u32, records: u32, data_bytes: usize) {
        for number in 0..batches {
            let stream = streams[number as usize % streams.len()].stream;
            let (frames, count) = self.frames(records, data_bytes);
            let request = talk.append(stream, count, &frames);
            talk.acked(request).expect("nothing fails here");
        }
    }

    /// Appends without waiting, and cuts the power amid it.
    fn cut(&mut self, world: &World, mut talk: Talk, streams: &[&StreamDescription], step: u64) {
        for number in 0..12 {
            let (frames, count) = self.frames(4, 5000);
            talk.append(streams[number % streams.len()].stream, count, &frames);
        }
        world.cut_at_step(world.steps() + step);
        talk.turns(1000);
        world.die();
    }

    /// Frames of so many records, and how many that are.
    fn frames(&mut self, records: u32, data_bytes: usize) -> (Vec<u8>, u32) {
        let (mut frames, mut count) = (Vec::new(), 0);
        for _ in 0..records {
            let key = format!("key-{}", self.random.below(40)).into_bytes();
            let length = 8 + self.random.below(data_bytes);
            let mut data = vec![self.random.draw() as u8; length];
            data[..8].copy_from_slice(&self.random.draw().to_le_bytes());
            // Some are cut into parts, each of which is a record here: what is served must be what was sent.
            let each = if self.random.below(8) == 0 { length.div_ceil(3) } else { length };
            count += frame::parts::encode_cut(&mut frames, &key, None, [&data], each).expect("short records").frames;
            self.submitted.extend(data.chunks(each).map(|part| (key.clone(), part.to_vec())));
        }
        (frames, count)
    }
}

/// Finds out what a directory holds, and where.
fn survey(files: Files, pool: &Pool, submitted: HashSet<(Vec<u8>, Vec<u8>)>, streams: &[&StreamDescription]) -> Image {
    let shards = streams.iter().flat_map(|stream| stream.shards.iter().map(|shard| (shard.shard, stream.stream)));
    let superblock =
        Superblock::choose(&files.read(SUPERBLOCK, 0, COPIES * BLOCK_BYTES)).expect("an intact superblock");
    let mut image = Image {
        places: Vec::new(),
        batches: Vec::new(),
        records: BTreeMap::new(),
        submitted,
        streams: shards.collect(),
        superblock,
        is_cut: false,
        pool: pool.clone(),
        files,
    };
    let names: Vec<String> = image.files.names().map(str::to_owned).collect();
    for name in &names {
        image.survey_file(name);
    }
    image.keep_what_is_served();
    image
}

impl Image {
    /// The whole that a place is a part of, or the place itself: what one checksum covers.
    pub(crate) fn whole(&self, place: &Place) -> Place {
        let role = match place.role {
            Role::BatchHead | Role::BatchTable => Role::Batch,
            Role::FooterHead => Role::Footer,
            role => role,
        };
        let within = |whole: &&Place| {
            whole.role == role
                && whole.file == place.file
                && (whole.offset..whole.offset + whole.bytes as u64).contains(&place.offset)
        };
        self.places.iter().find(within).unwrap_or(place).clone()
    }

    /// Places that are no part of a batch.
    pub(crate) fn outside_batches(&self) -> impl Iterator<Item = &Place> + Clone {
        let in_batch = |role: Role| matches!(role, Role::Batch | Role::BatchHead | Role::BatchTable);
        self.places.iter().filter(move |place| !in_batch(place.role))
    }

    fn add(&mut self, role: Role, file: &str, offset: u64, bytes: usize) -> Place {
        let place = Place { role, file: file.to_owned(), offset, bytes };
        self.places.push(place.clone());
        place
    }

    fn survey_file(&mut self, name: &str) {
        let bytes = self.files.read(name, 0, self.files.length(name) as usize);
        if name == SUPERBLOCK {
            for copy in 0..COPIES {
                self.add(Role::Superblock, name, (copy * BLOCK_BYTES) as u64, BLOCK_BYTES);
            }
            return;
        }
        let Ok(header) = Header::parse(&bytes) else { return };
        self.add(Role::Header, name, 0, BLOCK_BYTES);
        let mut at = FIRST_BATCH as usize;
        let mut extents = Vec::new();
        while let Some(found) = batch::Header::parse(&bytes[at..]) {
            let place = Position::new(header.segment, at as u32);
            if found.head.position != place || found.extents(&bytes[at..], &mut extents).is_err() {
                break;
            }
            self.add_batch(name, &found, &extents, &bytes[at..at + found.length]);
            at += found.length;
        }
        let trailer_at = bytes.len() - BLOCK_BYTES;
        if let Some(trailer) = Trailer::parse(&bytes[trailer_at..]) {
            let footer_at = u64::from(trailer.footer.offset());
            self.add(Role::Footer, name, footer_at, trailer.footer_length as usize);
            self.add(Role::FooterHead, name, footer_at, FOOTER_HEADER_BYTES);
            self.add(Role::Trailer, name, trailer_at as u64, BLOCK_BYTES);
        }
    }

    fn add_batch(&mut self, name: &str, header: &batch::Header, extents: &[Extent], bytes: &[u8]) {
        let head = header.head;
        let start = u64::from(head.position.offset());
        let place = self.add(Role::Batch, name, start, header.length);
        self.add(Role::BatchHead, name, start, batch::HEADER_BYTES);
        if let Some(last) = extents.last() {
            let table = start + u64::from(last.offset + last.length);
            self.add(Role::BatchTable, name, table, extents.len() * batch::EXTENT_BYTES);
        }
        let has_commands = extents.iter().any(|extent| extent.shard == ShardId::CATALOG);
        let number = self.batches.len();
        self.batches.push(Batch { place, position: head.position, durable: head.durable, has_commands });
        for extent in extents.iter().filter(|extent| extent.shard != ShardId::CATALOG) {
            let mut rest = &bytes[extent.offset as usize..][..extent.length as usize];
            while let Ok(frame) = Frame::parse(rest) {
                let record = Record { bytes: rest[..frame.length()].to_vec(), batch: number };
                self.records.insert((extent.shard, frame.sequence()), record);
                rest = &rest[frame.length()..];
            }
        }
    }

    /// Opens the directory as it is. What a torn tail held is not served, and so not expected.
    fn keep_what_is_served(&mut self) {
        let world = world(self.files.clone(), &self.pool);
        let (mut talk, recovered) = Talk::open(&world).expect("it is not damaged");
        assert!(recovered.damage.is_empty(), "it is not damaged: {recovered:?}");
        let mut served = BTreeMap::new();
        for (&shard, &stream) in &self.streams {
            let mut from = Sequence(1);
            loop {
                let (result, frames) = talk.read(stream, shard, from).expect("it is not damaged");
                for bytes in frames {
                    let frame = Frame::parse(&bytes).expect("a record is a frame");
                    assert!(self.submitted.contains(&(frame.key().to_vec(), frame.data().to_vec())));
                    served.insert((shard, frame.sequence()), bytes);
                }
                if result.next == result.tip {
                    break;
                }
                from = result.next;
            }
        }
        talk.die();
        self.is_cut = !recovered.cuts.is_empty();
        self.records.retain(|address, record| served.get(address) == Some(&record.bytes));
        assert_eq!(self.records.len(), served.len(), "every record that is served lies in a batch that is known");
    }

    /// Everything before this is durable, as batches that `is_intact` says were not touched, and the superblock if that
    /// was not, tell.
    pub(crate) fn claimed(&self, superblock_holds: bool, is_intact: impl Fn(usize) -> bool) -> Position {
        let batches = self.batches.iter().enumerate().filter(|(number, _)| is_intact(*number));
        let by_batches = batches.map(|(_, batch)| batch.durable).max().unwrap_or_default();
        if superblock_holds { by_batches.max(self.superblock.durable) } else { by_batches }
    }
}
