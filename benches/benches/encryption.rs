//! What encryption adds to a record: its way into a batch and out of it, beside the copy of one that is stored as it is.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use frame::encryption::{KeyUse, append_decrypted, copy_encrypted};
use frame::extension::ENCRYPTION_BYTES;
use frame::frame::{copy_stamped, encode};
use frame::{Frame, Sequence, ShardId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

const KEY: &[u8; 16] = b"0123456789abcdef";
const DATA_BYTES: [usize; 3] = [100, 1 << 10, 64 << 10];
const PLACE: (ShardId, Sequence, u64) = (ShardId(7), Sequence(42), 1_700_000_000_000);
const WITH: KeyUse = KeyUse { key: 1, salt: [2; 12] };

/// The key that frames are encrypted with, as the engine derives it.
fn data_key(secret: &[u8; 32]) -> LessSafeKey {
    let derived = Salt::new(HKDF_SHA256, &WITH.salt).extract(secret);
    let expanded = derived.expand(&[b"millstream frame 1"], &AES_256_GCM);
    LessSafeKey::new(UnboundKey::from(expanded.expect("it is short")))
}

fn encryption(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encryption");
    let secret = [9; 32];
    group.bench_function("derive a data key", |bencher| bencher.iter(|| data_key(black_box(&secret))));
    let cipher = data_key(&secret);
    for size in DATA_BYTES {
        let data: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();
        let mut frame = Vec::new();
        encode(&mut frame, KEY, None, &data).expect("within the limits");
        group.throughput(Throughput::Bytes(size as u64));

        let mut plain = vec![0; frame.len()];
        let (shard, sequence, arrival_ms) = PLACE;
        group.bench_function(BenchmarkId::new("verify and copy as it is", size), |bencher| {
            bencher.iter(|| copy_stamped(&mut plain, black_box(&frame), shard, sequence, arrival_ms));
        });
        let mut stored = vec![0; frame.len() + ENCRYPTION_BYTES];
        let encrypt = |stored: &mut [u8], frame: &[u8]| {
            copy_encrypted(stored, frame, PLACE, WITH, |text| {
                let nonce = Nonce::assume_unique_for_key(text.nonce);
                let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(text.bound), text.bytes);
                *tag.expect("it is short").as_ref().first_chunk().expect("a tag has its length")
            })
        };
        group.bench_function(BenchmarkId::new("verify and copy encrypted", size), |bencher| {
            bencher.iter(|| encrypt(&mut stored, black_box(&frame)));
        });
        encrypt(&mut stored, &frame).expect("it was just encoded");
        let mut out = Vec::with_capacity(frame.len());
        group.bench_function(BenchmarkId::new("decrypt", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                let frame = Frame::parse_stored(black_box(&stored)).expect("it was just made");
                append_decrypted(&mut out, &frame, shard, |_, text, tag| {
                    let nonce = Nonce::assume_unique_for_key(text.nonce);
                    let opened = cipher.open_in_place_separate_tag(
                        nonce,
                        Aad::from(text.bound),
                        Tag::from(tag),
                        text.bytes,
                        0..,
                    );
                    opened.map(drop)
                })
                .expect("nothing changed it");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encryption);
criterion_main!(benches);
