//! Bodies of the Kinesis API: PutRecords as it is read, GetRecords as it is written, in both ways that they are.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wire::Codec;
use wire::codec::{Blob, Timestamp};
use wire::sequence::SequenceNumber;
use wire::shape::{PutRecords, Record, Records};

const CODECS: [(&str, Codec); 2] = [("JSON", Codec::Json), ("CBOR", Codec::Cbor)];
const DATA_BYTES: usize = 1 << 10;

fn number(number: u64) -> SequenceNumber {
    SequenceNumber { shard_made_s: 1_700_000_000, shard: 7, number, arrival_s: 1_700_000_100 }
}

fn records(count: u64) -> Records {
    let record = |at: u64| Record {
        sequence_number: number(at),
        approximate_arrival_timestamp: Timestamp { ms: 1_700_000_100_123 },
        data: Blob((0..DATA_BYTES).map(|byte| (byte as u64 * 31 + at) as u8).collect()),
        partition_key: format!("{at:016x}"),
        encryption_type: None,
    };
    let records = (0..count).map(record).collect();
    Records { records, next_shard_iterator: None, millis_behind_latest: 0, child_shards: None }
}

/// What is answered is nearly what is asked: members that a request has not are passed over.
fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bodies");
    for (name, codec) in CODECS {
        let (stored, asked) = (records(500), 500);
        let body = codec.write(&stored).expect("it can be written");
        group.throughput(Throughput::Bytes((asked * DATA_BYTES) as u64));
        group.bench_function(BenchmarkId::new("read PutRecords of 500", name), |bencher| {
            bencher.iter(|| codec.parse::<PutRecords>(black_box(&body)).expect("it can be read"));
        });
        let answer = records(1000);
        group.throughput(Throughput::Bytes((1000 * DATA_BYTES) as u64));
        group.bench_function(BenchmarkId::new("write GetRecords of 1000", name), |bencher| {
            bencher.iter(|| codec.write(black_box(&answer)).expect("it can be written"));
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("write a sequence number", |bencher| bencher.iter(|| black_box(number(42)).to_string()));
    group.finish();
}

criterion_group!(benches, bodies);
criterion_main!(benches);
