//! From partition key to shard: the MD5, and the search among the shards' ranges as the catalog makes it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use frame::route::{even_range, hash_key};

/// Keys that follow each other, so that neither hash nor search is predicted.
const KEYS: usize = 1024;

fn routing(criterion: &mut Criterion) {
    let keys: Vec<[u8; 16]> =
        (0..KEYS).map(|number| format!("{number:016x}").into_bytes().try_into().expect("sixteen digits")).collect();
    let mut group = criterion.benchmark_group("route");
    let mut at = 0;
    let mut next = move || {
        at = (at + 1) % KEYS;
        at
    };
    group.bench_function("md5 of a 16-byte key", |bencher| {
        bencher.iter(|| hash_key(black_box(&keys[next()])));
    });
    for shards in [8, 1000] {
        let ends: Vec<u128> = (0..shards).map(|index| even_range(index, shards).1).collect();
        let lookup = |key: u128| ends.partition_point(|&end| end < key);
        let hashes: Vec<u128> = keys.iter().map(|key| hash_key(key)).collect();
        assert!(hashes.iter().all(|&hash| {
            let (start, end) = even_range(lookup(hash), shards);
            (start..=end).contains(&hash)
        }));
        group.bench_function(BenchmarkId::new("range lookup", shards), |bencher| {
            bencher.iter(|| lookup(black_box(hashes[next()])));
        });
        group.bench_function(BenchmarkId::new("md5 and range lookup", shards), |bencher| {
            bencher.iter(|| lookup(hash_key(black_box(&keys[next()]))));
        });
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
