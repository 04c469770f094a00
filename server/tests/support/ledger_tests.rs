//! The ledger tested by itself: each thing that must not happen is staged, and seen.

use std::error::Error;
use std::time::Duration;

use crate::process::Engine;
use crate::support::ledger::{Book, Extent, Ledger, Wrong};
use crate::support::load;
use crate::support::record::{self, Identity, Sizes};
use engine::Config;
use frame::proto::{AckResult, StreamDescription};
use frame::{Retention, Sequence, ShardId};
use server::client::{Batch, Client};
use tempfile::TempDir;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with the streams of the load and a client of it.
struct Stage {
    engine: Engine,
    client: Client,
    ledger: Ledger,
    stream: StreamDescription,
    connection: u32,
    _scratch: TempDir,
}

impl Stage {
    fn start() -> Outcome<Stage> {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let config = Config { segment_bytes: 4 << 20, memory_bytes: 128 << 20, ..Config::default() };
        let mut engine = Engine::begin(&scratch.path().join("data"), (config, 1), |io: io::Ring| io);
        let mut client = load::connect(engine.opened(PATIENCE)?.address)?;
        let mut ledger = Ledger::default();
        ledger.begin_life();
        // Of one shard, so that the order is that of the appends.
        let stream = load::streams(&mut client, &mut ledger)?.swap_remove(0);
        let connection = ledger.connection();
        Ok(Stage { engine, client, ledger, stream, connection, _scratch: scratch })
    }

    fn identity(&self, number: u64) -> Identity {
        Identity { connection: self.connection, number }
    }

    /// Appends a record. What the ledger should hear of it is returned.
    fn append(&mut self, number: u64) -> Outcome<(ShardId, Sequence, Identity)> {
        let (mut key, mut data) = (Vec::new(), Vec::new());
        record::write(self.identity(number), Sizes::Usual, &mut key, &mut data);
        let (shard, sequence) = self.append_raw(&key, &data)?;
        Ok((shard, sequence, self.identity(number)))
    }

    fn append_raw(&mut self, key: &[u8], data: &[u8]) -> Outcome<(ShardId, Sequence)> {
        let mut batch = Batch::new();
        batch.push(key, data)?;
        match self.client.append(self.stream.stream, &batch)?[..] {
            [AckResult::Durable(shard, sequence)] => Ok((shard, sequence)),
            ref other => Err(format!("{other:?}").into()),
        }
    }

    fn compare(&mut self, book: Book) -> Result<(), Wrong> {
        self.ledger.add(book)?;
        self.ledger.compare(&mut self.client, Extent::All)
    }

    fn end(self) {
        drop(self.client);
        self.engine.shut_down();
        self.engine.end(PATIENCE);
    }
}

/// Stages a book for some appends and returns what the ledger says.
fn verdict(stage: impl FnOnce(&mut Stage) -> Outcome<Book>) -> Outcome<Result<(), Wrong>> {
    let mut on = Stage::start()?;
    let book = stage(&mut on)?;
    let verdict = on.compare(book);
    on.end();
    Ok(verdict)
}

macro_rules! sees {
    ($name:ident, $wrong:pat, $stage:expr) => {
        #[test]
        fn $name() -> Outcome {
            let verdict = verdict($stage)?;
            assert!(matches!(verdict, $wrong), "{verdict:?}");
            Ok(())
        }
    };
}

sees!(what_is_as_it_should_be, Ok(()), |on| {
    let acked = vec![on.append(0)?, on.append(1)?];
    on.append(2)?;
    Ok(Book { acked, unknown: vec![on.identity(2), on.identity(3)], refused: vec![on.identity(4)], ..Book::default() })
});

sees!(a_lost_record, Err(Wrong::Lost { .. }), |on| {
    let (shard, sequence, _) = on.append(0)?;
    let lost = (shard, sequence.next(), on.identity(1));
    Ok(Book { acked: vec![(shard, sequence, on.identity(0)), lost], ..Book::default() })
});

sees!(another_record_in_its_place, Err(Wrong::Lost { .. }), |on| {
    let (shard, sequence, _) = on.append(0)?;
    Ok(Book { acked: vec![(shard, sequence, on.identity(1))], unknown: vec![on.identity(0)], ..Book::default() })
});

sees!(a_number_given_twice, Err(Wrong::GivenAgain { .. }), |on| {
    let (shard, sequence, first) = on.append(0)?;
    Ok(Book { acked: vec![(shard, sequence, first), (shard, sequence, on.identity(1))], ..Book::default() })
});

sees!(a_record_that_a_reader_had, Err(Wrong::Vanished { .. }), |on| {
    let acked = on.append(0)?;
    Ok(Book { seen: vec![(acked.0, acked.1.next(), 7)], acked: vec![acked], ..Book::default() })
});

sees!(a_record_that_changed_since_a_reader_had_it, Err(Wrong::Vanished { .. }), |on| {
    let acked = on.append(0)?;
    Ok(Book { seen: vec![(acked.0, acked.1, 7)], acked: vec![acked], ..Book::default() })
});

sees!(a_refused_record, Err(Wrong::Unexpected { why: "which was refused", .. }), |on| {
    on.append(0)?;
    Ok(Book { refused: vec![on.identity(0)], ..Book::default() })
});

sees!(an_unknown_record_twice, Err(Wrong::Unexpected { .. } | Wrong::Disorder { .. }), |on| {
    on.append(0)?;
    on.append(0)?;
    Ok(Book { unknown: vec![on.identity(0)], ..Book::default() })
});

sees!(a_record_that_nobody_sent, Err(Wrong::Unexpected { .. }), |on| {
    on.append(0)?;
    Ok(Book::default())
});

sees!(a_broken_order, Err(Wrong::Disorder { .. }), |on| {
    Ok(Book { acked: vec![on.append(1)?, on.append(0)?], ..Book::default() })
});

sees!(other_bytes, Err(Wrong::Garbled { .. }), |on| {
    let (mut key, mut data) = (Vec::new(), Vec::new());
    record::write(on.identity(0), Sizes::Usual, &mut key, &mut data);
    *data.last_mut().ok_or("it has bytes")? ^= 1;
    let (shard, sequence) = on.append_raw(&key, &data)?;
    Ok(Book { acked: vec![(shard, sequence, on.identity(0))], ..Book::default() })
});

/// What was compared before is compared with what another data directory has in its place.
#[test]
fn records_that_changed_later() -> Outcome {
    let (mut one, mut other) = (Stage::start()?, Stage::start()?);
    let acked = vec![one.append(0)?];
    one.compare(Book { acked, ..Book::default() })?;
    other.append(1)?;
    let verdict = one.ledger.compare(&mut other.client, Extent::All);
    assert!(matches!(verdict, Err(Wrong::Rewritten { .. })), "{verdict:?}");
    let verdict = one.ledger.stream(&other.stream, Retention::NONE);
    assert!(matches!(verdict, Err(Wrong::Stream { .. })), "{verdict:?}");
    one.end();
    other.end();
    Ok(())
}
