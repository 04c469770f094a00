//! Bug: a stream that was split and merged for some days could be so no more, as all shards counted that it ever had. Mechanism: closed
//! shards stayed in the catalog for good. Fix: they are forgotten once all of their records have expired, the oldest first.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::mpsc::channel;

use engine::limits::CLOSED_KEPT_MS_MIN;
use engine::{Answer, Call, Counts, Follower, Hear, Outcome};
use frame::limits::SHARDS_KEPT_PER_STREAM_MAX;
use frame::proto::{Client, ClientEvent, ErrorCode, Failure, Read, ShardDescription, Start, Subscribe};
use frame::{Frame, Quotas, Retention, Sequence, Settings, ShardId, StreamId};
use io::Pool;
use life::Life;
use sim::{Death, Surroundings, Trace, World};

const NAME: &str = "scaled";

/// Records, and so closed shards, are kept for so long.
const KEPT_S: u32 = 700;
const KEPT_NS: u64 = KEPT_S as u64 * 1_000_000_000;
const _: () = assert!(KEPT_S as u64 * 1000 > CLOSED_KEPT_MS_MIN);

/// After this long nothing is left of what was closed before.
const FORGOTTEN_NS: u64 = KEPT_NS + 60_000_000_000;

fn world(seed: u64) -> World {
    World::new(seed, Pool::new(64 << 20).expect("memory for the test"), Surroundings::calm(), Trace::default())
}

fn create(life: &mut Life<'_>, shards: u32) {
    let settings = Settings { quotas: Quotas::NONE, retention: Retention::of_seconds(KEPT_S) };
    let (name, annotation) = (NAME.to_owned(), Arc::default());
    let answer = life.call(Call::CreateStream { name, shards, settings, annotation });
    assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
}

/// All of the stream's shards, by number. `None` if the life ends meanwhile.
fn describe(life: &mut Life<'_>) -> Option<(StreamId, Vec<ShardDescription>)> {
    let describe = Call::DescribeStream { name: NAME.to_owned(), from: 0, limit: u32::MAX };
    let answer = life.call(describe)?;
    let Answer::Stream(stream, shards) = answer else { panic!("{answer:?}") };
    Some((stream.stream, shards))
}

/// What is open, by its hash keys.
fn open(life: &mut Life<'_>) -> Option<Vec<ShardDescription>> {
    let (_, shards) = describe(life)?;
    let mut open: Vec<ShardDescription> = shards.into_iter().filter(|shard| shard.children.is_none()).collect();
    open.sort_by_key(|shard| shard.hash_start);
    let starts = open.iter().map(|shard| Some(shard.hash_start)).chain([None]);
    assert!(starts.eq([Some(0)].into_iter().chain(open.iter().map(|shard| shard.hash_end.checked_add(1)))), "{open:?}");
    Some(open)
}

/// Splits each open shard, and merges what becomes of it. `None` if the life ends meanwhile.
fn reshard(life: &mut Life<'_>) -> Option<()> {
    for shard in open(life)? {
        let at = shard.hash_start + (shard.hash_end - shard.hash_start) / 2 + 1;
        let answer = life.call(Call::SplitShard { name: NAME.to_owned(), shard: shard.shard, at })?;
        assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
    }
    for pair in open(life)?.chunks(2) {
        let (shard, adjacent) = (pair[0].shard, pair[1].shard);
        let answer = life.call(Call::MergeShards { name: NAME.to_owned(), shard, adjacent })?;
        assert!(matches!(answer, Answer::Stream(..)), "{answer:?}");
    }
    Some(())
}

/// What was stored, and when.
#[derive(Default)]
struct Stored {
    records: Vec<(String, u64)>,
}

impl Stored {
    /// Appends records of keys that no other has, to shards all over.
    fn append(&mut self, life: &mut Life<'_>, world: &World, count: usize) {
        for _ in 0..count {
            let key = format!("record {}", self.records.len());
            let mut frames = Vec::new();
            frame::frame::encode(&mut frames, key.as_bytes(), None, key.as_bytes())
                .expect("a record of that size is legal");
            let answer = life.call(Call::Append { name: NAME.to_owned(), frames });
            let Some(Answer::Appended(_, outcomes)) = answer else { panic!("{answer:?}") };
            assert!(matches!(outcomes[..], [Outcome::Durable { .. }]), "{outcomes:?}");
            self.records.push((key, world.wall_ms()));
        }
    }

    /// All that has not expired is there once, whatever was split, merged and forgotten; and what else there is was stored.
    fn check(&self, life: &mut Life<'_>, world: &World) {
        let (stream, shards) = describe(life).expect("nothing ends it");
        let mut found = BTreeSet::new();
        for shard in &shards {
            for data in read(life, stream, shard) {
                assert!(found.insert(data.clone()), "{data} is there twice");
            }
        }
        // It took a while to read.
        let since_ms = world.wall_ms() - u64::from(KEPT_S) * 1000;
        let kept = self.records.iter().filter(|(_, at_ms)| *at_ms >= since_ms);
        kept.for_each(|(key, _)| assert!(found.remove(key), "{key} is lost"));
        let all: BTreeSet<&str> = self.records.iter().map(|(key, _)| key.as_str()).collect();
        assert!(found.iter().all(|key| all.contains(key.as_str())), "{found:?}");
    }
}

/// Lets so much time pass.
fn wait(life: &mut Life<'_>, world: &World, ns: u64) {
    let until_ns = world.now_ns() + ns;
    while world.now_ns() < until_ns && !world.is_dead() {
        world.wake_at(until_ns);
        life.settle();
    }
}

/// Reads on in a shard.
fn read_from(life: &mut Life<'_>, stream: StreamId, shard: &ShardDescription, from: Sequence) -> Answer {
    let read = Read { stream, shard: shard.shard, start: Start::At(from), bytes_max: 1 << 20 };
    let call = Call::Read { read, frames_max: u32::MAX, counts: Counts::Nothing };
    life.call_at(shard.reactor as usize, call).expect("nothing ends it")
}

/// What a shard has, as far as it is not forgotten meanwhile.
fn read(life: &mut Life<'_>, stream: StreamId, shard: &ShardDescription) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), shard.trim);
    while next < shard.tip {
        let (result, frames) = match read_from(life, stream, shard, next) {
            Answer::Records(result, frames) => (result, frames),
            answer if shard.children.is_some() && is_unknown(&answer) => return found,
            answer => panic!("{answer:?}"),
        };
        let mut rest = &frames[..];
        while let Ok(frame) = Frame::parse(rest) {
            found.push(String::from_utf8(frame.data().to_vec()).expect("as it was stored"));
            rest = &rest[frame.length()..];
        }
        assert!(result.next > next);
        next = result.next;
    }
    found
}

fn is_unknown(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed(Failure { code: ErrorCode::UnknownShard, .. }))
}

fn goes_past_the_bound(reactors: usize) {
    const SHARDS: u32 = 256;
    let world = world(70);
    let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
    create(&mut life, SHARDS);
    let mut stored = Stored::default();
    let (mut newest, mut most, mut cycle) = (ShardId(0), 0, 0);
    while (newest.0 as usize) < SHARDS_KEPT_PER_STREAM_MAX + 1000 {
        stored.append(&mut life, &world, 20);
        reshard(&mut life).expect("nothing ends it");
        stored.append(&mut life, &world, 20);
        let (_, before) = describe(&mut life).expect("nothing ends it");
        (newest, most) = (before.last().expect("it has shards").shard, most.max(before.len()));
        // Now in the midst of forgetting, now with much to be forgotten, now with nothing.
        wait(&mut life, &world, [KEPT_NS, 30_000_000_000, FORGOTTEN_NS][cycle % 3]);
        stored.check(&mut life, &world);
        life.end(if cycle % 2 == 0 { Death::PowerCut } else { Death::Killed });
        // The number of reactors is of no matter to it.
        life = Life::open_on(&world, 1 + (reactors + cycle) % reactors.max(2)).expect("nothing ends it");
        stored.check(&mut life, &world);
        cycle += 1;
    }
    assert!(most < SHARDS_KEPT_PER_STREAM_MAX / 2, "{most} shards were kept at once");
    wait(&mut life, &world, FORGOTTEN_NS);
    let (stream, left) = describe(&mut life).expect("nothing ends it");
    assert_eq!(left.len(), SHARDS as usize, "nothing but what is open");
    assert!(
        left.iter().all(|shard| shard.children.is_none() && shard.parent.is_some()),
        "they say what they are made of"
    );
    let parent = ShardDescription { shard: left[0].parent.expect("it has one"), ..left[0] };
    let answer = read_from(&mut life, stream, &parent, Sequence(1));
    assert!(is_unknown(&answer), "{answer:?}");
    // What comes is stored, and numbers go on.
    stored.append(&mut life, &world, 20);
    reshard(&mut life).expect("nothing ends it");
    assert!(open(&mut life).expect("nothing ends it").iter().all(|shard| shard.shard > newest));
    stored.check(&mut life, &world);
    life.end(Death::PowerCut);
}

#[test]
fn a_stream_is_split_and_merged_past_all_bounds() {
    goes_past_the_bound(1);
}

#[test]
fn a_stream_of_several_reactors_is_split_and_merged_past_all_bounds() {
    goes_past_the_bound(3);
}

/// The power is cut at each step of the disk while shards are forgotten. Whatever was forgotten before stays so, and the next life goes
/// on with the others.
fn ends_as_if_nothing_had_been(reactors: usize) {
    let before = world(71);
    let mut life = Life::open_on(&before, reactors).expect("nothing ends it");
    create(&mut life, 4);
    let mut stored = Stored::default();
    stored.append(&mut life, &before, 20);
    reshard(&mut life).expect("nothing ends it");
    stored.append(&mut life, &before, 20);
    wait(&mut life, &before, 1_000_000_000);
    life.end(Death::Killed);
    let files = before.files();
    let mut ended = (0, 0);
    for step in (1..).step_by(3) {
        let world = world(72);
        world.load(files.clone());
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        world.cut_at_step(world.steps() + step);
        wait(&mut life, &world, FORGOTTEN_NS);
        let (is_over, left) = match describe(&mut life) {
            Some((_, shards)) if !world.is_dead() => (true, shards.len()),
            _ => (false, 0),
        };
        life.end(Death::PowerCut);
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        let (_, shards) = describe(&mut life).expect("nothing ends it");
        ended = (ended.0.max(shards.len()), ended.1 + usize::from(shards.len() == 12));
        if is_over {
            assert!(shards.len() <= left, "what is forgotten stays so");
        }
        wait(&mut life, &world, FORGOTTEN_NS);
        let open = open(&mut life).expect("nothing ends it");
        let (_, shards) = describe(&mut life).expect("nothing ends it");
        assert_eq!((shards.len(), open.len()), (4, 4), "step {step}");
        stored.append(&mut life, &world, 10);
        stored.check(&mut life, &world);
        life.end(Death::PowerCut);
        stored.records.truncate(40);
        if is_over {
            assert!(step > 6, "it took steps to forget them");
            assert!(
                ended.0 == 16 && ended.1 > 0,
                "some died before anything was forgotten, and some amid it: {ended:?}"
            );
            return;
        }
    }
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_undoes_nothing() {
    for reactors in [1, 2] {
        ends_as_if_nothing_had_been(reactors);
    }
}

#[test]
fn who_has_a_forgotten_shard_pushed_is_told_of_its_children() {
    for reactors in [1, 2] {
        let world = world(73);
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        create(&mut life, 1);
        let mut stored = Stored::default();
        stored.append(&mut life, &world, 10);
        let (stream, shards) = describe(&mut life).expect("nothing ends it");
        let (shard, owner) = (shards[0].shard, shards[0].reactor as usize);
        let (sender, lots) = channel();
        let hear = Hear::new(move |lot| sender.send(lot).is_ok());
        let subscribe = Subscribe { stream, shard, start: Start::At(Sequence(1)), granted: 0 };
        let answer = life.call_at(owner, Call::Follow { subscribe, hear });
        let Some(Answer::Following(follower)) = answer else { panic!("there is room") };
        let split = Call::SplitShard { name: NAME.to_owned(), shard, at: 1 << 127 };
        assert!(matches!(life.call(split), Some(Answer::Stream(..))));
        let mut client = Client::inside();
        let mut told = Vec::new();
        let mut hear = |life: &mut Life<'_>| {
            wait(life, &world, KEPT_NS / 2);
            for lot in lots.try_iter() {
                let mut at = 0;
                while let Some(event) = client.step(&lot, &mut at).expect("it is whole") {
                    if let ClientEvent::ReadBegin(request, result) = event {
                        assert_eq!((request, result.records), (Follower::REQUEST, 0), "nothing without credit");
                        told.push((result.next, result.children));
                    }
                }
                _ = life.call_at(owner, Call::Took { follower, granted: 0 });
            }
            told.clone()
        };
        let (begins, end) = ((Sequence(1), None), shards[0].tip);
        assert_eq!(hear(&mut life), [begins]);
        let children = describe(&mut life).expect("nothing ends it").1[0].children;
        (0..2).for_each(|_| _ = hear(&mut life));
        assert!(children.is_some() && hear(&mut life) == [begins, (end, children)], "it is told of its end");
        assert_eq!(describe(&mut life).expect("nothing ends it").1.len(), 2);
        life.end(Death::Killed);
    }
}

#[test]
fn shards_of_a_stream_with_a_limit_go_once_all_are_trimmed() {
    const RECORDS: usize = 200;
    let limit = NonZeroU64::new(u64::from(life::SEGMENT_BYTES));
    for reactors in [1, 3] {
        let world = world(74);
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        create(&mut life, 3);
        let retention = Retention { seconds: None, bytes: limit };
        let answer = life.call(Call::SetRetention { name: NAME.to_owned(), retention });
        assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
        let append = |life: &mut Life<'_>| {
            for record in 0..RECORDS {
                life.append(NAME, &format!("key {record}"), &[7; 100_000]);
            }
        };
        life.append(NAME, "key", &[1]);
        reshard(&mut life).expect("nothing ends it");
        wait(&mut life, &world, 3 * KEPT_NS);
        let (_, shards) = describe(&mut life).expect("nothing ends it");
        let is_left = |shard: &ShardDescription| shard.children.is_some() && shard.tip > Sequence(1);
        assert_eq!(shards.iter().filter(|shard| is_left(shard)).count(), 1, "nothing is trimmed: {shards:?}");
        // Several segments of each.
        append(&mut life);
        wait(&mut life, &world, FORGOTTEN_NS);
        append(&mut life);
        wait(&mut life, &world, FORGOTTEN_NS);
        let (_, shards) = describe(&mut life).expect("nothing ends it");
        assert!(shards.iter().all(|shard| shard.children.is_none()), "{shards:?}");
        life.end(Death::PowerCut);
        let mut life = Life::open_on(&world, reactors % 3 + 1).expect("nothing ends it");
        assert_eq!(describe(&mut life).expect("nothing ends it").1.len(), 3);
        life.append(NAME, "key", &[1]);
        life.end(Death::PowerCut);
    }
}

/// Bug: of a stream that has a limit in bytes alone, shards that were closed after recovery had skipped numbers stayed for good, and so did
/// all that were made of them. Mechanism: a shard was trimmed past its records, not to its end, up to which there are none. Fix: its
/// owner trims it to its end once nothing of the stream is as old as it.
#[test]
fn shards_of_a_stream_with_a_limit_go_whatever_numbers_were_skipped() {
    const RECORDS: usize = 150;
    let limit = NonZeroU64::new(u64::from(life::SEGMENT_BYTES));
    for reactors in [1, 3] {
        let world = world(75);
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        create(&mut life, 6);
        let retention = Retention { seconds: None, bytes: limit };
        let answer = life.call(Call::SetRetention { name: NAME.to_owned(), retention });
        assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
        life.append(NAME, "key", &[1; 1000]);
        life.append(NAME, "key", &[9; 1000]);
        life.end(Death::PowerCut);
        // The last record is torn, so that all shards skip numbers.
        let mut files = world.files();
        let find = |name: &str| {
            let bytes = files.read(name, 0, files.length(name) as usize);
            Some((name.to_owned(), bytes.windows(900).position(|some| some.iter().all(|&of| of == 9))?))
        };
        let (name, at) = files.names().find_map(find).expect("it is there");
        files.write(&name, at as u64, &[0; 8]);
        world.load(files);
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        assert!(describe(&mut life).expect("nothing ends it").1.iter().all(|shard| shard.tip > Sequence(1 << 20)));
        // Closed at once, or after the segment was left in which numbers were skipped.
        reshard(&mut life).expect("nothing ends it");
        let append = |life: &mut Life<'_>| {
            for record in 0..RECORDS {
                life.append(NAME, &format!("key {record}"), &[7; 100_000]);
            }
        };
        let (_, before) = describe(&mut life).expect("nothing ends it");
        wait(&mut life, &world, 3 * KEPT_NS);
        let (_, shards) = describe(&mut life).expect("nothing ends it");
        let is_old = |shard: &&ShardDescription| shard.parent.is_none();
        let count = |shards: &[ShardDescription]| shards.iter().filter(is_old).count();
        assert_eq!(count(&before), 6);
        assert!(count(&shards) > 0, "there is something of the stream that is as old: {shards:?}");
        append(&mut life);
        life.end(Death::PowerCut);
        let mut life = Life::open_on(&world, reactors % 3 + 1).expect("nothing ends it");
        append(&mut life);
        wait(&mut life, &world, FORGOTTEN_NS);
        append(&mut life);
        wait(&mut life, &world, FORGOTTEN_NS);
        let (_, shards) = describe(&mut life).expect("nothing ends it");
        assert!(shards.iter().all(|shard| shard.children.is_none()), "{reactors} reactors: {shards:?}");
        life.end(Death::PowerCut);
        let mut life = Life::open_on(&world, reactors).expect("nothing ends it");
        assert_eq!(describe(&mut life).expect("nothing ends it").1.len(), 6);
        life.end(Death::PowerCut);
    }
}
