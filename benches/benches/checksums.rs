//! XXH3 over what it is taken over: a frame's header, small and large payloads, a commit batch.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const SIZES: [usize; 5] = [40, 100, 1 << 10, 64 << 10, 256 << 10];

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for size in SIZES {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("xxh3", size), |bencher| {
            bencher.iter(|| xxh3_64(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("xxh3 with a seed", size), |bencher| {
            bencher.iter(|| xxh3_64_with_seed(black_box(&bytes), 7));
        });
    }
    group.finish();
}

criterion_group!(benches, checksums);
criterion_main!(benches);
