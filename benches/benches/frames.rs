//! One record's frame: made by a producer, checked by the server, stamped, checked by a reader.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use frame::frame::{encode, stamp};
use frame::{Frame, Sequence, ShardId};

const KEY: &[u8; 16] = b"0123456789abcdef";
const DATA_BYTES: [usize; 3] = [100, 1 << 10, 64 << 10];
const SHARD: ShardId = ShardId(7);

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for size in DATA_BYTES {
        let data: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
        let mut bytes = Vec::new();
        encode(&mut bytes, KEY, None, &data).expect("within the limits");
        group.throughput(Throughput::Bytes(size as u64));

        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function(BenchmarkId::new("encode", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode(&mut out, black_box(KEY), None, black_box(&data)).expect("within the limits");
            });
        });
        group.bench_function(BenchmarkId::new("decode and verify payload", size), |bencher| {
            bencher.iter(|| {
                let frame = Frame::parse(black_box(&bytes)).expect("it was just encoded");
                frame.verify_payload().expect("nothing changed it");
                frame.data().len()
            });
        });
        let mut stamped = bytes.clone();
        group.bench_function(BenchmarkId::new("stamp", size), |bencher| {
            bencher.iter(|| stamp(black_box(&mut stamped), SHARD, Sequence(42), 1_700_000_000_000));
        });
        group.bench_function(BenchmarkId::new("decode and verify all", size), |bencher| {
            bencher.iter(|| {
                let frame = Frame::parse(black_box(&stamped)).expect("it was just encoded");
                frame.verify_header(SHARD).expect("nothing changed it");
                frame.verify_payload().expect("nothing changed it");
                frame.data().len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
