//! Building a commit batch of 250 records of 1 KiB: copied, stamped, grouped by shard, checksummed.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use frame::batch::{Head, Header, Writer};
use frame::frame::encode;
use frame::{Epoch, JournalNumber, LogId, Position, SegmentNumber, Sequence, ShardId};

const RECORDS: u32 = 250;
const DATA_BYTES: usize = 1 << 10;
const BUFFER_BYTES: usize = 512 << 10;

fn head() -> Head {
    let position = Position::new(SegmentNumber(1), 4096);
    Head {
        log_id: LogId([7; 16]),
        journal: JournalNumber(0),
        position,
        epoch: Epoch(1),
        flags: 0,
        previous_checksum: 0,
        durable: position,
        written_ms: 1_700_000_000_000,
        skip: 0,
    }
}

/// How many records each of so many shards has: evenly spread, those without any left out.
fn spread(shards: u32) -> impl Iterator<Item = (ShardId, u32)> {
    let each = RECORDS / shards;
    let rest = RECORDS % shards;
    (0..shards).map(move |shard| (ShardId(shard), each + u32::from(shard < rest))).filter(|(_, count)| *count > 0)
}

fn batches(criterion: &mut Criterion) {
    let mut record = Vec::new();
    encode(&mut record, b"0123456789abcdef", None, &[0x5a; DATA_BYTES]).expect("within the limits");
    // Each record has its own bytes, as in the receive buffers, so that the copy is no copy out of the nearest cache.
    let frames: Vec<Vec<u8>> = (0..RECORDS).map(|_| record.clone()).collect();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut extents = Vec::with_capacity(RECORDS as usize);
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Bytes(u64::from(RECORDS) * DATA_BYTES as u64));
    for shards in [8, 1000] {
        let mut build = || {
            let mut records = frames.iter();
            let mut writer = Writer::new(black_box(&mut buffer), &mut extents);
            for (shard, count) in spread(shards) {
                writer.begin_extent(shard, Sequence(1));
                for frame in records.by_ref().take(count as usize) {
                    writer.push(frame, 1_700_000_000_000).expect("it is intact");
                }
            }
            writer.finish(&head())
        };
        group.bench_function(BenchmarkId::new("250 x 1 KiB over shards", shards), |bencher| bencher.iter(&mut build));
        let (length, checksum) = build();
        let header = Header::parse(&buffer[..length]).expect("it was just written");
        assert_eq!(header.checksum, checksum);
        let mut table = Vec::with_capacity(RECORDS as usize);
        group.bench_function(BenchmarkId::new("verify and read its table", shards), |bencher| {
            bencher.iter(|| {
                let header = Header::parse(black_box(&buffer)).expect("nothing changed it");
                header.extents(&buffer, &mut table).expect("nothing changed it");
                table.len()
            });
        });
        assert_eq!(table.iter().map(|extent| extent.count).sum::<u32>(), RECORDS);
    }
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
