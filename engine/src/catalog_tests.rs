//! Tests of the catalog.

use frame::Sequence;

use super::*;

fn with_streams() -> Catalog {
    let mut catalog = Catalog::new();
    for (name, shards) in [("orders", 4), ("clicks", 1), ("a.b-c_d", 1000)] {
        let command = catalog.plan_create(name, shards, Quotas::NONE.into(), Annotation::default(), 7).expect("legal");
        assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
        catalog.apply(&command).expect("follows");
    }
    catalog
}

#[test]
fn a_snapshot_restores_the_state() {
    let catalog = with_streams();
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.len(), catalog.snapshot_bytes());
    assert_eq!(Catalog::restore(&snapshot), Some(catalog));
    assert_eq!(Catalog::restore(&snapshot[..snapshot.len() - 1]), None);
    assert_eq!(Catalog::restore(&[]), Some(Catalog::new()));
}

#[test]
fn every_hash_key_has_its_shard() {
    let mut catalog = with_streams();
    for at in [1, 2, u128::MAX / 2, u128::MAX - 1, u128::MAX] {
        let shard = catalog.by_name("clicks").expect("made").route(at);
        let Ok(Command::Intend(resharding)) = catalog.plan_reshard("clicks", Change::Split { shard, at }) else {
            panic!("{at} is within the range")
        };
        let completion = Completion { created_ms: 8, ends: [Sequence(1); 2] };
        catalog.apply(&Command::Reshard(resharding, completion)).expect("follows");
    }
    for name in ["orders", "clicks", "a.b-c_d"] {
        let stream = catalog.by_name(name).expect("made");
        for StreamShard { shard, hash_start, hash_end, closed, .. } in stream.shards() {
            let is_routed = stream.route(hash_start) == shard && stream.route(hash_end) == shard;
            assert_eq!((is_routed, stream.has(shard)), (closed.is_none(), true), "shard {shard}");
        }
        assert_eq!(stream.shards().last().map(|last| last.hash_end), Some(u128::MAX));
    }
    let stream = catalog.by_name("orders").expect("made");
    assert!(!stream.has(ShardId::CATALOG) && !stream.has(ShardId(5)));
}

#[test]
fn bad_requests_are_told_apart() {
    let catalog = with_streams();
    let plan = |name: &str, shards| {
        catalog.plan_create(name, shards, Quotas::NONE.into(), Annotation::default(), 0).map(|_| ())
    };
    assert_eq!(plan("", 1), Err(CreateError::Name));
    assert_eq!(plan("a/b", 1), Err(CreateError::Name));
    assert_eq!(plan(&"x".repeat(129), 1), Err(CreateError::Name));
    // Names in parts, as who serves several owners gives them.
    let (whole, part) = (format!("+a/b/{}", "x".repeat(128)), format!("+a/{}", "x".repeat(129)));
    let longest = format!("+{}/{}", "x".repeat(95), "x".repeat(95));
    for (name, is_legal) in [
        (whole.as_str(), true),
        (&longest, true),
        (&format!("{longest}x"), false),
        (&part, false),
        ("+", false),
        ("+/a", false),
        ("+a/", false),
        ("+a//b", false),
        ("a+b", false),
        ("+a/b c", false),
    ] {
        assert_eq!(plan(name, 1).is_ok(), is_legal, "{name}");
    }
    assert_eq!(plan("x", 0), Err(CreateError::Shards));
    assert_eq!(plan("x", 10_001), Err(CreateError::Shards));
    assert_eq!(plan("orders", 1), Err(CreateError::Exists(4)));
}

#[test]
fn a_command_that_does_not_follow_is_refused() {
    let mut catalog = with_streams();
    let command = catalog.plan_create("next", 2, Quotas::NONE.into(), Annotation::default(), 0).expect("legal");
    catalog.apply(&command).expect("follows");
    assert_eq!(catalog.apply(&command), None);
}

#[test]
fn names_are_listed_in_order() {
    let catalog = with_streams();
    assert_eq!(catalog.names_after("").collect::<Vec<_>>(), ["a.b-c_d", "clicks", "orders"]);
    assert_eq!(catalog.names_after("clicks").collect::<Vec<_>>(), ["orders"]);
}

/// The newest stream's making is damaged, and what was said of it afterwards is not.
#[test]
fn what_is_said_of_a_stream_that_damage_took_changes_nothing() {
    let mut catalog = Catalog::new();
    let stream = StreamId(3);
    let change = Change::Split { shard: ShardId(1), at: 7 };
    let resharding = Resharding { stream, first_child: ShardId(5), change };
    let completion = Completion { created_ms: 0, ends: [Sequence(1); 2] };
    let commands = [
        Command::SetQuotas(stream, Quotas::NONE),
        Command::SetRetention(stream, Retention::NONE),
        Command::Intend(resharding),
        Command::Reshard(resharding, completion),
        Command::Delete(stream),
    ];
    for command in commands {
        assert_eq!(catalog.clone().apply(&command), None, "without damage {command:?} contradicts what is known");
        let mut after_damage = catalog.clone();
        after_damage.allow_for_damage(&command);
        assert_eq!(after_damage.apply(&command), Some(()), "{command:?}");
        assert_eq!((after_damage.streams().count(), after_damage.streams.len()), (0, 3), "{command:?}");
    }
    catalog.allow_for_damage(&Command::Delete(StreamId(u32::MAX)));
    assert_eq!(catalog.streams.len(), STREAM_NUMBERS_MAX, "bounded");
}

/// Bug, found on reading: a log could not be opened whose stream was deleted and made again, once the command that deleted it was
/// damaged. Mechanism: a name that is taken contradicts. Fix: the second one tells that the first is gone.
#[test]
fn a_stream_whose_deletion_damage_took_is_gone_when_its_name_is_given_again() {
    let mut catalog = with_streams();
    let first = catalog.streams().next().expect("there are some").clone();
    let settings = Settings { quotas: Quotas::NONE, retention: Retention::NONE };
    let mut elsewhere = catalog.clone();
    elsewhere.apply(&Command::Delete(first.stream)).expect("it is there");
    let again = elsewhere.plan_create(&first.name, 2, settings, Arc::default(), 0).expect("the name is free");
    assert_eq!(catalog.clone().apply(&again), None, "without damage it contradicts what is known");
    catalog.allow_for_damage(&again);
    assert_eq!(catalog.apply(&again), Some(()));
    elsewhere.apply(&again).expect("follows");
    assert_eq!(catalog.snapshot(), elsewhere.snapshot());
}

/// Numbers of deleted streams are not given again, also after a restart that knows nothing but the snapshot.
#[test]
fn what_is_deleted_leaves_its_numbers_used() {
    let mut catalog = with_streams();
    let largest = catalog.by_name("a.b-c_d").expect("made").stream;
    let next_shard = catalog.shard_count();
    for name in ["a.b-c_d", "clicks"] {
        let command = catalog.plan_delete(name).expect("it is there");
        assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
        catalog.apply(&command).expect("follows");
        assert_eq!((catalog.by_name(name), catalog.plan_delete(name)), (None, None));
        catalog.apply(&command).expect("once more does nothing");
    }
    assert_eq!(catalog.apply(&Command::Delete(StreamId(99))), None, "it was never made");
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.len(), catalog.snapshot_bytes());
    let mut restored = Catalog::restore(&snapshot).expect("whole");
    assert_eq!(restored, catalog);
    let Ok(Command::Create(again)) = restored.plan_create("a.b-c_d", 1, Quotas::NONE.into(), Annotation::default(), 8)
    else {
        panic!("the name is free")
    };
    assert!(again.stream > largest && again.first_shard.0 as usize == next_shard, "{again:?}");
    restored.apply(&Command::Create(again)).expect("follows");
    assert_eq!(restored.names_after("").collect::<Vec<_>>(), ["a.b-c_d", "orders"]);
}

/// Bug: an old stream could be resharded no more, and what was said named three bounds, of which merging helps with none. Fix: that all
/// numbers were given is an error of its own.
#[test]
fn once_all_numbers_are_given_that_is_said() {
    let mut catalog = Catalog::new();
    let create = |catalog: &Catalog, shards: u32| {
        catalog.plan_create(
            &format!("of {shards}").replace(' ', "-"),
            shards,
            Quotas::NONE.into(),
            Annotation::default(),
            7,
        )
    };
    let command = create(&catalog, 2).expect("legal");
    catalog.apply(&command).expect("follows");
    catalog.reserve_shards(SHARDS_MAX - 1);
    let split = |shard| Change::Split { shard: ShardId(shard), at: 1 << 126 };
    assert_eq!(catalog.plan_reshard("of-2", split(1)), Err(ReshardError::AllGiven));
    assert_eq!(create(&catalog, 3), Err(CreateError::AllGiven));
    let merge = Change::Merge { shard: ShardId(1), adjacent: ShardId(2) };
    assert!(catalog.plan_reshard("of-2", merge).is_ok() && create(&catalog, 1).is_ok(), "one is left");
}

/// Of numbers that no known command gave nothing tells whose they are: what was found of them is kept, whatever is deleted.
/// Bug: after so many streams none could be made any more, however many were deleted. Mechanism: they were counted by their
/// numbers, which are never given twice. Fix: those that there are count.
#[test]
fn streams_that_were_deleted_leave_room() {
    let mut catalog = Catalog::new();
    let create =
        |catalog: &Catalog, name: &str| catalog.plan_create(name, 1, Quotas::NONE.into(), Annotation::default(), 7);
    for number in 0..STREAMS_MAX {
        let command = create(&catalog, &format!("kept-{number}")).expect("there is room");
        catalog.apply(&command).expect("follows");
    }
    assert_eq!(create(&catalog, "next"), Err(CreateError::Full));
    for number in 0..3 {
        let delete = catalog.plan_delete(&format!("kept-{number}")).expect("it is there");
        catalog.apply(&delete).expect("follows");
        let command = create(&catalog, &format!("new-{number}")).expect("there is room again");
        let Command::Create(create_of) = &command else { panic!("{command:?}") };
        assert_eq!(create_of.stream.0 as usize, STREAMS_MAX + number + 1, "no number is given twice");
        for stream in [StreamId(1), StreamId(STREAM_NUMBERS_MAX as u32 + 1)] {
            let other = Command::Create(Create { stream, ..create_of.clone() });
            assert_eq!(catalog.apply(&other), None, "a number that is used, or past all");
        }
        catalog.apply(&command).expect("follows");
        assert_eq!(create(&catalog, "more"), Err(CreateError::Full));
    }
    let snapshot = catalog.snapshot();
    assert_eq!((snapshot.len(), Catalog::restore(&snapshot)), (catalog.snapshot_bytes(), Some(catalog)));
}

#[test]
fn what_nobody_is_known_to_have_made_is_kept() {
    let mut whole = with_streams();
    let mut catalog = whole.clone();
    let (lost, change) = (whole.shard_count() as u32, Change::Split { shard: ShardId(1), at: 7 });
    let create = |whole: &mut Catalog, name| {
        let command = whole.plan_create(name, 2, Quotas::NONE.into(), Annotation::default(), 7).expect("legal");
        whole.apply(&command).expect("follows");
        command
    };
    // Damage takes two commands, of which one made a stream, and the other began to split a shard.
    create(&mut whole, "lost");
    let name = whole.stream_of(ShardId(1)).expect("it has a stream").name.clone();
    let Ok(Command::Intend(split)) = whole.plan_reshard(&name, change) else { panic!("it may be split") };
    whole.apply(&Command::Intend(split)).expect("follows");
    let found = create(&mut whole, "found");
    catalog.apply(&found).expect("it says which numbers it gives");
    let kept = |catalog: &Catalog| {
        assert_eq!(catalog.snapshot().len(), catalog.snapshot_bytes());
        assert_eq!(Catalog::restore(&catalog.snapshot()).as_ref(), Some(catalog));
        (lost..lost + 6).filter(|&shard| catalog.keeps(ShardId(shard))).collect::<Vec<_>>()
    };
    assert_eq!(kept(&catalog), [0, 1, 2, 3, 4, 5].map(|at| lost + at));
    // What comes later tells whose the children are.
    let completion = Completion { created_ms: 8, ends: [Sequence(5), Sequence(0)] };
    catalog.apply(&Command::Reshard(split, completion)).expect("it says all");
    for name in ["found", &name] {
        let delete = catalog.plan_delete(name).expect("it is there");
        catalog.apply(&delete).expect("follows");
    }
    assert_eq!(kept(&catalog), [lost, lost + 1]);
    assert!(!catalog.keeps(ShardId(1)));
    // Records that were found tell of numbers as well.
    catalog.reserve_shards(lost as usize + 7);
    assert_eq!(kept(&catalog), [lost, lost + 1]);
    assert!(catalog.keeps(ShardId(lost + 6)));
}

/// Children that are to come are kept as well: what opened them may be lost while they have records. They go with their stream.
#[test]
fn children_that_are_to_come_are_kept() {
    let mut catalog = with_streams();
    let stream = catalog.stream_of(ShardId(1)).expect("it has a stream");
    let (name, bytes) = (stream.name.clone(), stream.snapshot_bytes());
    let before = catalog.snapshot_bytes();
    let intend = catalog.plan_reshard(&name, Change::Split { shard: ShardId(1), at: 7 }).expect("legal");
    catalog.apply(&intend).expect("follows");
    let Command::Intend(split) = intend else { panic!("{intend:?}") };
    assert!(split.children().shards().all(|child| catalog.keeps(child)));
    assert_eq!(catalog.snapshot().len(), catalog.snapshot_bytes());
    assert_eq!(Catalog::restore(&catalog.snapshot()).as_ref(), Some(&catalog));
    let delete = catalog.plan_delete(&name).expect("it is there");
    catalog.apply(&delete).expect("follows");
    assert!(!split.children().shards().any(|child| catalog.keeps(child)));
    assert_eq!(catalog.snapshot_bytes(), before - bytes, "nothing is left of them");
}

#[test]
fn quotas_are_kept_and_changed() {
    let mut catalog = with_streams();
    let odd = Quotas { reads: std::num::NonZeroU32::new(7), ..Quotas::NONE };
    let create = catalog.plan_create("limited", 2, Quotas::SERVICE.into(), Annotation::default(), 7).expect("legal");
    let before = catalog.clone();
    let mut bytes = Vec::new();
    for command in [Some(create), catalog.plan_quotas("orders", odd)] {
        let command = command.expect("it is there");
        bytes = command.encode();
        assert_eq!(Command::decode(&bytes), Some(command.clone()));
        catalog.apply(&command).expect("follows");
        assert_eq!(catalog.snapshot().len(), catalog.snapshot_bytes());
        assert_eq!(Catalog::restore(&catalog.snapshot()), Some(catalog.clone()));
    }
    assert_eq!(catalog.by_name("orders").expect("made").quotas, odd);
    assert_eq!(catalog.by_name("limited").expect("made").quotas, Quotas::SERVICE);
    for length in 0..bytes.len() {
        assert_eq!(Command::decode(&bytes[..length]), None, "{length} bytes of {}", bytes.len());
    }
    // Back to none, it is as it was.
    let none = catalog.plan_quotas("orders", Quotas::NONE).expect("it is there");
    let gone = catalog.plan_delete("limited").expect("it is there");
    catalog.apply(&none).expect("follows");
    catalog.apply(&gone).expect("follows");
    assert_eq!(catalog.snapshot_bytes(), before.snapshot_bytes());
    assert_eq!(catalog.by_name("orders"), before.by_name("orders"));
    assert_eq!(catalog.plan_quotas("nowhere", odd), None);
}

#[test]
fn shards_that_go_on_are_told_whole_or_not_at_all() {
    let row = |shard, shards| GoOn { shard: ShardId(shard), shards, next: Sequence(1 << 40), arrival_ms: 9 };
    let command = Command::GoOn(vec![row(1, 1), row(3, 1000)]);
    let bytes = command.encode();
    assert_eq!(Command::decode(&bytes), Some(command.clone()));
    assert_eq!(Command::decode(&bytes[..bytes.len() - 24]), None, "a row is missing");
    assert_eq!(Command::decode(&bytes[..bytes.len() - 1]), None, "a row is cut");
    assert_eq!(row(3, 3).numbers().collect::<Vec<_>>(), [3, 4, 5].map(ShardId));
    // What the catalog knows does not change by it.
    let mut catalog = with_streams();
    assert_eq!(catalog.apply(&command), Some(()));
    assert_eq!(catalog, with_streams());
    let most = Command::GoOn(vec![row(1, 1); GO_ON_ROWS_MAX]);
    assert!(frame::frame::encode(&mut Vec::new(), b"catalog", None, &most.encode()).is_ok(), "it fits a record");
}

#[test]
fn retention_is_kept_and_changed() {
    let mut catalog = with_streams();
    let hour = Retention::of_seconds(3600);
    let both = Retention { bytes: std::num::NonZeroU64::new(1 << 40), ..hour };
    let settings = Settings { quotas: Quotas::NONE, retention: both };
    let create = catalog.plan_create("short", 2, settings, Annotation::default(), 7).expect("legal");
    let before = catalog.clone();
    for command in [Some(create), catalog.plan_retention("orders", |_| hour)] {
        let command = command.expect("it is there");
        let bytes = command.encode();
        assert_eq!(Command::decode(&bytes), Some(command.clone()));
        for length in 0..bytes.len() {
            assert_eq!(Command::decode(&bytes[..length]), None, "{length} bytes of {}", bytes.len());
        }
        catalog.apply(&command).expect("follows");
        assert_eq!(catalog.snapshot().len(), catalog.snapshot_bytes());
        assert_eq!(Catalog::restore(&catalog.snapshot()), Some(catalog.clone()));
    }
    let short = catalog.by_name("short").expect("made");
    let shard = short.shards().next().expect("it has two").shard;
    assert_eq!((short.retention, catalog.stream_of(shard)), (both, Some(short)));
    // Without end again, it is as it was; and nobody's shard is a deleted stream's.
    for command in [catalog.plan_retention("orders", |_| Retention::NONE), catalog.plan_delete("short")] {
        catalog.apply(&command.expect("it is there")).expect("follows");
    }
    assert_eq!(catalog.snapshot_bytes(), before.snapshot_bytes());
    assert_eq!(catalog.by_name("orders"), before.by_name("orders"));
    assert_eq!(catalog.stream_of(shard), None);
    assert_eq!(catalog.plan_retention("nowhere", |_| hour), None);
}

/// An annotation of a stream goes with it; that of the log stays. Both are bounded, each and together.
#[test]
fn annotations_are_kept_and_changed() {
    let mut catalog = with_streams();
    let bytes = |length| Annotation::from(vec![7; length]);
    let long = Retention::of_seconds(7);
    let settings = Settings { quotas: Quotas::SERVICE, retention: long };
    let create = catalog.plan_create("tagged", 2, settings, bytes(9), 7).expect("legal");
    let before = catalog.clone();
    let annotate =
        |catalog: &Catalog, name, length| catalog.plan_annotation(name, bytes(length)).expect("there is room");
    for command in [Some(create), annotate(&catalog, Some("orders"), 1000), annotate(&catalog, None, 3)] {
        let command = command.expect("it is there");
        let encoded = command.encode();
        assert_eq!(Command::decode(&encoded), Some(command.clone()));
        for length in 0..FIXED_BYTES {
            assert_eq!(Command::decode(&encoded[..length]), None, "{length} bytes of {}", encoded.len());
        }
        catalog.apply(&command).expect("follows");
        assert_eq!(catalog.snapshot().len(), catalog.snapshot_bytes());
        assert_eq!(Catalog::restore(&catalog.snapshot()), Some(catalog.clone()));
    }
    let tagged = catalog.by_name("tagged").expect("made");
    assert_eq!((tagged.quotas, tagged.retention, &tagged.annotation), (settings.quotas, long, &bytes(9)));
    assert_eq!((catalog.by_name("orders").expect("made").annotation.len(), catalog.annotation()), (1000, &bytes(3)));
    assert_eq!(catalog.plan_annotation(Some("nowhere"), bytes(1)), Ok(None));
    // What is removed is as if it had never been there.
    let gone = catalog.plan_delete("tagged");
    for command in [gone, annotate(&catalog, Some("orders"), 0), annotate(&catalog, None, 0)] {
        catalog.apply(&command.expect("it is there")).expect("follows");
    }
    assert_eq!((catalog.snapshot_bytes(), catalog.totals.annotation_bytes), (before.snapshot_bytes(), 0));
    assert_eq!(catalog.by_name("orders"), before.by_name("orders"));
    // A cut one is none: a name of other bytes than it says.
    let cut = Command::Create(Create { annotation: bytes(9), ..create_of(&before, "orders") }).encode();
    for length in 0..cut.len() {
        assert_eq!(Command::decode(&cut[..length]), None, "{length} bytes of {}", cut.len());
    }
}

#[test]
fn annotations_have_bounds() {
    let mut catalog = with_streams();
    let bytes = |length| Annotation::from(vec![7; length]);
    assert_eq!(catalog.plan_annotation(None, bytes(ANNOTATION_BYTES_MAX + 1)), Err(AnnotationError::Long));
    let most = ANNOTATIONS_BYTES_MAX / ANNOTATION_BYTES_MAX;
    for at in 0..most {
        let made = catalog.plan_create(&format!("s{at}"), 1, Quotas::NONE.into(), bytes(ANNOTATION_BYTES_MAX), 0);
        catalog.apply(&made.expect("there is room")).expect("follows");
    }
    let one_more = catalog.plan_create("more", 1, Quotas::NONE.into(), bytes(1), 0);
    assert_eq!(one_more, Err(CreateError::Annotation(AnnotationError::Full)));
    assert_eq!(catalog.plan_annotation(Some("orders"), bytes(1)), Err(AnnotationError::Full));
    let smaller =
        catalog.plan_annotation(Some("s0"), bytes(ANNOTATION_BYTES_MAX - 1)).expect("smaller is always taken");
    catalog.apply(&smaller.expect("it is there")).expect("follows");
    assert!(catalog.plan_annotation(Some("orders"), bytes(1)).is_ok(), "now there is room");
}

#[test]
fn how_streams_are_encrypted_is_kept_and_changed() {
    let mut catalog = with_streams();
    let before = catalog.clone();
    let key = |name: &str| Some(Arc::from(name));
    let encrypt = |catalog: &Catalog, name, key| catalog.plan_encryption(name, key).expect("there is room");
    for (stream, name) in [("orders", "alias/one"), ("clicks", "two"), ("orders", "three")] {
        let command = encrypt(&catalog, stream, key(name)).expect("it is there");
        assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
        catalog.apply(&command).expect("follows");
        let snapshot = catalog.snapshot();
        assert_eq!(snapshot.len(), catalog.snapshot_bytes());
        assert_eq!(Catalog::restore(&snapshot).as_ref(), Some(&catalog));
    }
    assert!(catalog.has_encryption() && !before.has_encryption());
    assert_eq!(catalog.by_name("orders").and_then(|stream| stream.encryption.as_deref()), Some("three"));
    assert_eq!(catalog.by_name("a.b-c_d").and_then(|stream| stream.encryption.as_deref()), None);
    assert_eq!(catalog.totals.annotation_bytes, 8);

    // Names of keys are bounded, each and with all that is kept beside streams.
    assert_eq!(catalog.plan_encryption("nowhere", key("one")), Ok(None));
    let long = key(&"k".repeat(KEY_NAME_BYTES_MAX + 1));
    assert_eq!(catalog.plan_encryption("orders", long), Err(AnnotationError::Long));
    let mut full = catalog.clone();
    full.totals.annotation_bytes = ANNOTATIONS_BYTES_MAX;
    assert_eq!(full.plan_encryption("orders", key("longer")), Err(AnnotationError::Full));
    assert!(full.plan_encryption("orders", key("short")).is_ok());

    let stopped = encrypt(&catalog, "orders", None).expect("it is there");
    assert_eq!(Command::decode(&stopped.encode()), Some(stopped.clone()));
    let deleted = catalog.plan_delete("clicks").expect("it is there");
    for command in [stopped, deleted] {
        catalog.apply(&command).expect("follows");
    }
    assert_eq!((catalog.has_encryption(), catalog.totals.annotation_bytes), (false, 0));
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.len(), catalog.snapshot_bytes());
    assert_eq!(Catalog::restore(&snapshot), Some(catalog));
}

fn create_of(catalog: &Catalog, name: &str) -> Create {
    catalog.by_name(name).expect("made").create()
}

#[test]
fn a_snapshot_that_does_not_tell_orphans_has_all_gaps() {
    let mut catalog = with_streams();
    let gap = ShardId(catalog.shard_count() as u32);
    catalog.reserve_shards(catalog.shard_count() + 2);
    let next_shard = ShardId(catalog.shard_count() as u32);
    let command = Command::Reserve { next_stream: StreamId(4), next_shard, orphans: None };
    assert_eq!(Command::decode(&command.encode()), Some(command.clone()));
    catalog.apply(&command).expect("follows");
    assert!(catalog.keeps(gap) && catalog.keeps(ShardId(1)));
}
