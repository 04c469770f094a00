//! Bodies of the Kinesis API: PutRecords as it is read, GetRecords as it is written, in both ways that they are.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wire::codec::{Blob, Text, Timestamp};
use wire::sequence::SequenceNumber;
use wire::shape::{PutRecords, Record, RecordsPlace};
use wire::{Codec, Pieces};

const CODECS: [(&str, Codec); 2] = [("JSON", Codec::Json), ("CBOR", Codec::Cbor)];
const DATA_BYTES: usize = 1 << 10;

fn number(number: u64) -> SequenceNumber {
    SequenceNumber { shard_made_s: 1_700_000_000, shard: 7, number, arrival_s: 1_700_000_100 }
}

fn records(count: u64) -> Vec<Record> {
    let record = |at: u64| Record {
        sequence_number: number(at),
        approximate_arrival_timestamp: Timestamp { ms: 1_700_000_100_123 },
        data: Blob((0..DATA_BYTES).map(|byte| (byte as u64 * 31 + at) as u8).collect()),
        partition_key: Text(format!("{at:016x}").into()),
        encryption_type: None,
    };
    (0..count).map(record).collect()
}

/// An answer with records, as it is sent.
fn pieces(codec: Codec, records: Vec<Record>) -> impl Iterator<Item = Vec<u8>> {
    let place = RecordsPlace { next_shard_iterator: None, millis_behind_latest: 0, child_shards: None };
    let pieces = Pieces::new(codec, &place, "Records", records).expect("its members are a map");
    pieces.map(|piece| piece.expect("it can be written"))
}

/// What is answered is nearly what is asked: members that a request has not are passed over.
fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bodies");
    for (name, codec) in CODECS {
        let asked = 500;
        let body = pieces(codec, records(500)).collect::<Vec<_>>().concat();
        group.throughput(Throughput::Bytes((asked * DATA_BYTES) as u64));
        group.bench_function(BenchmarkId::new("read PutRecords of 500", name), |bencher| {
            bencher.iter(|| codec.parse::<PutRecords>(black_box(&body)).expect("it can be read"));
        });
        let answer = records(1000);
        group.throughput(Throughput::Bytes((1000 * DATA_BYTES) as u64));
        group.bench_function(BenchmarkId::new("write GetRecords of 1000", name), |bencher| {
            let write = |answer| pieces(codec, answer).for_each(|piece| drop(black_box(piece)));
            bencher.iter_batched(|| answer.clone(), write, BatchSize::SmallInput);
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("write a sequence number", |bencher| bencher.iter(|| black_box(number(42)).to_string()));
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
