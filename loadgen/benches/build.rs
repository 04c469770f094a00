//! What it costs to make records and encode them into a batch: it must be little beside sending them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use frame::frame::encode_pieces;
use frame::limits::APPEND_BYTES_MAX;
use loadgen::workload::{KEY_BYTES, Recipe};

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build_batch");
    for (name, bytes, records) in [("1KiB", 1024, 250), ("100B", 100, 1000)] {
        let recipe = Recipe::new(loadgen::workload::Sizes::Fixed(bytes), loadgen::workload::Keys::Distinct, 1);
        let mut lane = recipe.lane(0);
        let mut batch = Vec::with_capacity(APPEND_BYTES_MAX);
        group.throughput(Throughput::Bytes(((bytes + KEY_BYTES) * records) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                batch.clear();
                for _ in 0..records {
                    let record = lane.record();
                    encode_pieces(&mut batch, &record.key, None, record.data()).expect("within the limits");
                }
                black_box(batch.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, build);
criterion_main!(benches);
