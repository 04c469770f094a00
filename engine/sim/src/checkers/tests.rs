//! Each checker must find what it is for: a reading that is right but for one thing.

use std::collections::BTreeMap;

use frame::parts::Record;
use frame::proto::{Children, ErrorCode, ShardDescription, StreamDescription};
use frame::{Sequence, ShardId, StreamId};

use super::{check, check_all};
use crate::model::{Found, Model, Reading, frame_of};
use crate::record::Recipe;

const SHARD: ShardId = ShardId(1);

/// A stream of one shard, which nothing was stored in.
fn one_shard() -> StreamDescription {
    let shard = ShardDescription {
        shard: SHARD,
        reactor: 0,
        hash_start: 0,
        hash_end: u128::MAX,
        trim: Sequence(1),
        tip: Sequence(1),
        parent: None,
        adjacent_parent: None,
        created_ms: 0,
        children: None,
    };
    StreamDescription {
        stream: StreamId(1),
        name: "s".to_owned(),
        created_ms: 0,
        quotas: frame::Quotas::NONE,
        retention: frame::Retention::NONE,
        shards: vec![shard],
    }
}

/// Six attempts of one connection: 0 to 3 acknowledged at 1 to 4, 4 unknown, 5 refused; and what a good engine would read.
fn good() -> (Model, Reading) {
    let stream = one_shard();
    let mut model = Model::default();
    model.described(&stream).unwrap();
    for _ in 0..6 {
        model.submit(
            &stream,
            0,
            |attempt| Recipe { attempt, key: 0, explicit_hash: None, data_bytes: 8, parts: 1 },
            false,
        );
    }
    for number in 0..4 {
        model.acked(number, SHARD, Sequence(number + 1)).unwrap();
    }
    model.refused(5, ErrorCode::DiskFull).unwrap();
    let found = (0..4).map(|attempt| found(attempt + 1, attempt)).collect();
    (model, Reading { found, parts: Vec::new(), damaged: Vec::new(), tip: Sequence(5), passed: Vec::new() })
}

/// The rule that a spoiled reading breaks.
fn broken(spoil: impl FnOnce(&mut Model, &mut Reading)) -> &'static str {
    let (mut model, mut reading) = good();
    assert_eq!(check(&model, SHARD, &reading, false), Ok(()));
    spoil(&mut model, &mut reading);
    check(&model, SHARD, &reading, false).expect_err("something is wrong").rule
}

fn found(sequence: u64, attempt: u64) -> Found {
    Found { first: Sequence(sequence), sequence: Sequence(sequence), attempt, arrival_ms: 10 }
}

#[test]
fn an_unknown_record_may_be_there() {
    let (model, mut reading) = good();
    reading.found.push(found(5, 4));
    reading.tip = Sequence(6);
    assert_eq!(check(&model, SHARD, &reading, false), Ok(()));
}

#[test]
fn what_is_wrong_is_found() {
    assert_eq!(broken(|_, reading| reading.found.truncate(3)), "acked");
    assert_eq!(broken(|_, reading| reading.found[3].attempt = 4), "acked");
    assert_eq!(broken(|_, reading| reading.found[1] = found(1, 1)), "rising");
    assert_eq!(broken(|_, reading| reading.found[2].arrival_ms = 9), "rising");
    assert_eq!(broken(|_, reading| reading.tip = Sequence(4)), "rising");
    assert_eq!(broken(|_, reading| reading.found.retain(|found| found.attempt != 1)), "rising");
    assert_eq!(broken(|_, reading| reading.damaged.push(Sequence(2)..Sequence(3))), "readable");
    let add = |reading: &mut Reading, attempt| {
        reading.found.push(found(5, attempt));
        reading.tip = Sequence(6);
    };
    assert_eq!(broken(|_, reading| add(reading, 5)), "refused");
    assert_eq!(broken(|_, reading| add(reading, 2)), "at most once");
}

#[test]
fn disorder_and_holes_are_found() {
    let swap = |model: &mut Model, reading: &mut Reading| {
        *model = good_but_unknown();
        reading.found.swap(1, 2);
        reading.found[1] = found(2, 2);
        reading.found[2] = found(3, 1);
    };
    assert_eq!(broken(swap), "order");
    let hole = |model: &mut Model, reading: &mut Reading| {
        *model = good_but_unknown();
        reading.found.remove(1);
        reading.found[1] = found(2, 2);
        reading.found[2] = found(3, 3);
    };
    assert_eq!(broken(hole), "no holes");
}

/// While a shard moves it refuses what comes: once for each move a stretch of records may be missing, if nobody was told.
#[test]
fn a_move_leaves_one_hole() {
    for (stored, holes) in [(vec![0, 1, 2, 3, 4, 5], 0), (vec![0, 3, 4, 5], 1), (vec![0, 2, 4, 5], 2)] {
        let found: Vec<Found> = stored.iter().zip(1..).map(|(&attempt, sequence)| found(sequence, attempt)).collect();
        let tip = Sequence(found.len() as u64 + 1);
        let reading = Reading { found, parts: Vec::new(), damaged: Vec::new(), tip, passed: Vec::new() };
        let mut model = good_but_unknown();
        for moves in 0..3 {
            let rule = check(&model, SHARD, &reading, false).map_err(|breach| breach.rule);
            assert_eq!(rule, if moves < holes { Err("no holes") } else { Ok(()) }, "{stored:?} after {moves} moves");
            model.moving(SHARD);
        }
    }
}

/// The same attempts, of which nobody has heard.
fn good_but_unknown() -> Model {
    let (model, _) = good();
    let mut unknown = Model::default();
    let stream = one_shard();
    unknown.described(&stream).unwrap();
    for attempt in model.attempts() {
        unknown.submit(&stream, 0, |_| attempt.recipe, false);
    }
    unknown
}

#[test]
fn a_record_once_read_must_stay() {
    let (mut model, mut reading) = good();
    let mut bytes = Vec::new();
    model.attempt(4).recipe.encode(&mut bytes);
    frame::frame::stamp(&mut bytes, SHARD, Sequence(5), 10);
    let record = model.read(SHARD, &Record::of(&frame_of(SHARD, &bytes).unwrap())).unwrap();
    assert_eq!(check(&model, SHARD, &reading, false).expect_err("it is gone").rule, "stable");
    reading.found.push(record);
    reading.tip = Sequence(6);
    assert_eq!(check(&model, SHARD, &reading, false), Ok(()));
}

#[test]
fn the_model_knows_what_is_not_its_own() {
    let (mut model, _) = good();
    let record = |recipe: Recipe, sequence| {
        let mut bytes = Vec::new();
        recipe.encode(&mut bytes);
        frame::frame::stamp(&mut bytes, SHARD, Sequence(sequence), 10);
        bytes
    };
    let recipe = model.attempt(4).recipe;
    let mut rule = |bytes: &[u8]| {
        let read = frame_of(SHARD, bytes).and_then(|frame| model.read(SHARD, &Record::of(&frame)));
        read.expect_err("it is not right").rule
    };
    assert_eq!(rule(&record(recipe, 4)), "numbers are given once");
    assert_eq!(rule(&record(Recipe { attempt: 99, ..recipe }, 5)), "nothing else");
    assert_eq!(rule(&record(Recipe { key: 7, ..recipe }, 5)), "nothing else");
    let mut torn = record(recipe, 5);
    *torn.last_mut().unwrap() ^= 1;
    assert_eq!(rule(&torn), "nothing else");
    let mut other = one_shard();
    (other.stream, other.name, other.shards[0].shard) = (StreamId(2), "t".to_owned(), ShardId(2));
    model.described(&other).unwrap();
    assert_eq!(model.acked(4, ShardId(2), Sequence(5)).expect_err("another shard").rule, "routing");
    assert_eq!(model.acked(0, SHARD, Sequence(9)).expect_err("again").rule, "one answer");
    assert_eq!(model.refused(5, ErrorCode::DiskFull).expect_err("again").rule, "one answer");
}

/// The stream after its shard was split in the middle, having ended at 3.
fn split() -> StreamDescription {
    let mut stream = one_shard();
    let (first, middle) = (ShardId(2), u128::MAX / 2 + 1);
    let parent = stream.shards[0];
    let low = ShardDescription { shard: first, hash_end: middle - 1, parent: Some(SHARD), created_ms: 1000, ..parent };
    let high = ShardDescription { shard: ShardId(3), hash_start: middle, hash_end: u128::MAX, ..low };
    (stream.shards[0].children, stream.shards[0].tip) = (Some(Children { first, count: 2 }), Sequence(3));
    stream.shards.extend([low, high]);
    stream
}

#[test]
fn descriptions_follow_from_each_other() {
    let rule = |spoil: fn(&mut StreamDescription)| {
        let mut model = Model::default();
        model.described(&one_shard()).unwrap();
        model.described(&split()).unwrap();
        model.described(&one_shard()).expect("one that comes late says nothing new");
        let mut spoiled = split();
        spoil(&mut spoiled);
        model.described(&spoiled).map_err(|breach| breach.rule)
    };
    assert_eq!(rule(|_| {}), Ok(()));
    assert_eq!(rule(|stream| stream.shards[0].tip = Sequence(4)), Err("streams stay"));
    assert_eq!(rule(|stream| stream.shards[1].hash_end -= 1), Err("lineage"));
    assert_eq!(rule(|stream| stream.shards.truncate(2)), Err("lineage"));
    assert_eq!(rule(|stream| stream.shards[0].children = None), Err("lineage"));
    assert_eq!(rule(|stream| stream.shards[2].parent = Some(ShardId(9))), Err("lineage"));
    assert_eq!(rule(|stream| stream.shards[2].created_ms = 0), Err("lineage"));
    assert_eq!(rule(|stream| stream.quotas = frame::Quotas::SERVICE), Err("streams stay"));
}

/// Two attempts of one connection in the shard, which is split, and two in the child that their keys belong to.
#[test]
fn what_is_wrong_between_parent_and_child_is_found() {
    let rule = |spoil: fn(&mut BTreeMap<ShardId, Reading>)| {
        let mut model = Model::default();
        let stream = split();
        model.described(&stream).unwrap();
        for _ in 0..4 {
            let recipe = |attempt| Recipe { attempt, key: 0, explicit_hash: Some(7), data_bytes: 8, parts: 1 };
            model.submit(&stream, 0, recipe, false);
        }
        let child = |sequence, attempt| Found { arrival_ms: 1000, ..found(sequence, attempt) };
        let reading = |found: Vec<Found>, tip| Reading { found, tip: Sequence(tip), ..Reading::default() };
        let mut readings = BTreeMap::from([
            (SHARD, reading(vec![found(1, 0), found(2, 1)], 3)),
            (ShardId(2), reading(vec![child(1, 2), child(2, 3)], 3)),
            (ShardId(3), reading(Vec::new(), 1)),
        ]);
        spoil(&mut readings);
        check_all(&model, &readings, false).map_err(|breach| breach.rule)
    };
    assert_eq!(rule(|_| {}), Ok(()));
    let longer = |readings: &mut BTreeMap<ShardId, Reading>| readings.get_mut(&SHARD).unwrap().tip = Sequence(9);
    assert_eq!(rule(longer), Err("lineage"));
    let early = |readings: &mut BTreeMap<ShardId, Reading>| {
        let child = readings.get_mut(&ShardId(2)).unwrap();
        child.found.iter_mut().for_each(|found| found.arrival_ms = 999);
    };
    assert_eq!(rule(early), Err("lineage"));
    let late = |readings: &mut BTreeMap<ShardId, Reading>| {
        readings.get_mut(&SHARD).unwrap().found[1].arrival_ms = 1001;
    };
    assert_eq!(rule(late), Err("lineage"));
    let swapped = |readings: &mut BTreeMap<ShardId, Reading>| {
        readings.get_mut(&SHARD).unwrap().found[1].attempt = 3;
        let child = readings.get_mut(&ShardId(2)).unwrap();
        child.found.truncate(1);
        child.found[0].attempt = 1;
    };
    assert_eq!(rule(swapped), Err("no holes"));
}

/// A child of a child, with what was sent before its parent's.
#[test]
fn disorder_over_generations_is_found() {
    let mut stream = split();
    let (first, high) = (ShardId(4), stream.shards[1]);
    let low = ShardDescription { shard: first, hash_end: 99, parent: Some(ShardId(2)), created_ms: 2000, ..high };
    let high = ShardDescription { shard: ShardId(5), hash_start: 100, hash_end: high.hash_end, ..low };
    (stream.shards[1].children, stream.shards[1].tip) = (Some(Children { first, count: 2 }), Sequence(2));
    stream.shards.extend([low, high]);
    let mut model = Model::default();
    model.described(&stream).unwrap();
    for _ in 0..2 {
        let recipe = |attempt| Recipe { attempt, key: 0, explicit_hash: Some(7), data_bytes: 8, parts: 1 };
        model.submit(&stream, 0, recipe, false);
    }
    let holds = |parent: u64, child: u64| {
        let found = |attempt, arrival_ms| vec![Found { arrival_ms, ..found(1, attempt) }];
        let with = |found: Vec<Found>, tip| Reading { found, tip: Sequence(tip), ..Reading::default() };
        let mut readings: BTreeMap<ShardId, Reading> =
            (1..=5).map(|shard| (ShardId(shard), with(Vec::new(), if shard == 1 { 3 } else { 1 }))).collect();
        readings.insert(ShardId(2), with(found(parent, 1500), 2));
        readings.insert(ShardId(4), with(found(child, 2000), 2));
        check_all(&model, &readings, false).map_err(|breach| breach.rule)
    };
    assert_eq!(holds(0, 1), Ok(()));
    assert_eq!(holds(1, 0), Err("lineage"));
}
