//! Finding a sequence number in a sealed segment: the shard's row, then its extents, as a read from the disk does.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use frame::segment::{Footer, FooterHead, FooterWriter, PlacedExtent};
use frame::{Epoch, JournalNumber, LogId, Position, SegmentNumber, Sequence, ShardId};

/// Extents in the segment, whatever the number of shards: 256 MiB in commit batches of 256 KiB to 8 shards each.
const EXTENTS: u32 = 8192;
const RECORDS_EACH: u32 = 30;
const EXTENT_BYTES: u32 = 32 << 10;

/// A footer whose extents take turns among the shards, as commit batches lay them.
fn footer(shards: u32) -> Footer {
    let mut writer = FooterWriter::default();
    let each = EXTENTS / shards;
    for shard in 0..shards {
        let extents = (0..each).map(|round| PlacedExtent {
            offset: 4096 + (round * shards + shard) * EXTENT_BYTES,
            length: EXTENT_BYTES,
            count: RECORDS_EACH,
            first_sequence: Sequence(u64::from(round * RECORDS_EACH) + 1),
            arrival_ms: 1_700_000_000_000 + u64::from(round),
        });
        let next = Sequence(u64::from(each * RECORDS_EACH) + 1);
        writer.shard(ShardId(shard), Sequence(1), next, 1_700_000_000_000 + u64::from(each), extents);
    }
    let head = FooterHead {
        log_id: LogId([7; 16]),
        journal: JournalNumber(0),
        position: Position::new(SegmentNumber(1), 4096 + EXTENTS * EXTENT_BYTES),
        epoch: Epoch(1),
        last_checksum: 7,
        stands_for: 0,
        moves: 0,
    };
    let (bytes, _) = writer.finish(&head, &[]);
    Footer::parse(bytes).expect("it was just written")
}

fn extents(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("extent");
    for shards in [8, 1024] {
        let footer = footer(shards);
        let shard = ShardId(shards / 2);
        // The runs are delta-coded and read from the row's start, so the last number is the dearest.
        let last = Sequence(u64::from(EXTENTS / shards * RECORDS_EACH));
        let find = |number: Sequence| {
            let row = footer.shard(shard)?;
            footer.extents(&row).find(|extent| extent.last_sequence() >= number)
        };
        assert!(find(last).is_some_and(|extent| extent.last_sequence() == last));
        assert!(find(Sequence(last.0 + 1)).is_none());
        group.bench_function(BenchmarkId::new("row of a shard", shards), |bencher| {
            bencher.iter(|| footer.shard(black_box(shard)));
        });
        for (name, number) in [("first number", Sequence(1)), ("last number", last)] {
            group.bench_function(BenchmarkId::new(name, shards), |bencher| bencher.iter(|| find(black_box(number))));
        }
    }
    group.finish();
}

criterion_group!(benches, extents);
criterion_main!(benches);
