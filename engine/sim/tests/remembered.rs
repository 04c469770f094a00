//! What is known of producers where there is not room for all of it.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use engine::{Answer, Call, Outcome};
use frame::proto::ErrorCode;
use frame::{Retention, Sequence, ShardId};
use io::Pool;
use life::Life;
use sim::{Death, Surroundings, Trace, World};

/// With segments as small as here, about 7,000 results are known, 256 of one producer in one shard at most.
const PRODUCERS: u64 = 30;
const RESULTS: u64 = 256;

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
        let outcomes = life.append_all_numbered("closed-first", producer, (1..=RESULTS).map(|number| 2 * number));
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Durable { .. })));
    }
    split(&mut life, "closed-first");
    let stored = life.append_all_numbered("made-first", 1, 1001..=1001);
    split(&mut life, "made-first");
    life.end(Death::Killed);

    let mut life = Life::open(&world).expect("nothing ends it");
    let again = life.append_all_numbered("made-first", 1, 1001..=1001);
    assert_eq!(places(&again), places(&stored), "it is known where it is");
    let again = life.append_all_numbered("closed-first", 1, 2..=2);
    assert!(
        matches!(again[..], [Outcome::Throttled(ErrorCode::StoredBefore, _)]),
        "there was not room for all: {again:?}"
    );
    life.end(Death::Killed);
}
