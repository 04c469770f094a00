//! What is known of producers where there is not room for all of it.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use engine::{Answer, Call, Outcome};
use frame::extension::Extensions;
use frame::proto::ErrorCode;
use frame::{Numbered, ProducerId, RecordNumber, Retention, Sequence, ShardId};
use io::Pool;
use life::Life;
use sim::{Death, Surroundings, Trace, World};

/// With segments as small as here, about 7,000 results are known, 256 of one producer in one shard at most.
const PRODUCERS: u64 = 30;
const RESULTS: u64 = 256;

/// Appends records of these numbers. Where they are.
fn append(life: &mut Life<'_>, name: &str, producer: u64, numbers: impl Iterator<Item = u64>) -> Vec<Outcome> {
    let mut frames = Vec::new();
    for number in numbers {
        let numbered = Some(Numbered { producer: ProducerId(producer), number: RecordNumber(number) });
        let extensions = Extensions { numbered, ..Extensions::default() };
        frame::frame::encode_extended(&mut frames, b"key", &extensions, [b"data"]).expect("it is legal");
    }
    let answer = life.call(Call::Append { name: name.to_owned(), frames });
    let Some(Answer::Appended(_, outcomes)) = answer else { panic!("{answer:?}") };
    outcomes
}

fn places(outcomes: &[Outcome]) -> Vec<(ShardId, Sequence)> {
    let place = |outcome: &Outcome| match *outcome {
        Outcome::Durable { shard, sequence, .. } => (shard, sequence),
        _ => panic!("{outcome:?}"),
    };
    outcomes.iter().map(place).collect()
}

fn split(life: &mut Life<'_>, name: &str) {
    let open = life.describe(name).expect("nothing ends it").1[0];
    let call = Call::SplitShard { name: name.to_owned(), shard: open.shard, at: 1 << 127 };
    let answer = life.call(call);
    assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
}

/// Bug: a record that was stored just before its shard was split heard after a restart that it was stored, and not where. Mechanism: what
/// closed shards knew was forgotten in the order in which they had been made. Fix: in the order in which they were closed.
#[test]
fn what_was_closed_last_is_forgotten_last() {
    let world =
        World::new(62, Pool::new(64 << 20).expect("memory for the test"), Surroundings::calm(), Trace::default());
    let mut life = Life::open(&world).expect("nothing ends it");
    life.create("made-first", Retention::NONE);
    life.create("closed-first", Retention::NONE);
    // Between two numbers there is a gap, so each is a result of its own.
    for producer in 1..=PRODUCERS {
        let outcomes = append(&mut life, "closed-first", producer, (1..=RESULTS).map(|number| 2 * number));
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Durable { .. })));
    }
    split(&mut life, "closed-first");
    let stored = append(&mut life, "made-first", 1, 1001..=1001);
    split(&mut life, "made-first");
    life.end(Death::Killed);

    let mut life = Life::open(&world).expect("nothing ends it");
    let again = append(&mut life, "made-first", 1, 1001..=1001);
    assert_eq!(places(&again), places(&stored), "it is known where it is");
    let again = append(&mut life, "closed-first", 1, 2..=2);
    assert!(
        matches!(again[..], [Outcome::Throttled(ErrorCode::StoredBefore, _)]),
        "there was not room for all: {again:?}"
    );
    life.end(Death::Killed);
}
