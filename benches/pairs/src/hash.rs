//! What one MD5 of a partition key costs on this machine, now: the yardstick of small records.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::thread;

use md5::{Digest, Md5};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::error::PairsError;
use crate::side::Side;

/// Processor time of one hash.
pub(crate) const HASH_NS: &str = "md5 ns";

/// Keys as long as the load generator's, all different; so many that none is in a branch predictor, few enough for the cache.
const KEYS: u64 = 1024;

/// Hashes keys on `core` for `seconds` of processor time.
pub(crate) fn run(core: usize, seconds: f64) -> Result<Side, PairsError> {
    let hashing = thread::spawn(move || {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            return Err(PairsError::Core(core));
        }
        let keys: Vec<[u8; 16]> = (0..KEYS).map(key).collect();
        let (mut hashes, start_s) = (0_u64, thread_cpu_s());
        loop {
            for key in &keys {
                black_box(Md5::digest(black_box(key)));
            }
            hashes += KEYS;
            let spent_s = thread_cpu_s() - start_s;
            if spent_s >= seconds {
                return Ok((hashes, spent_s));
            }
        }
    });
    let (hashes, spent_s) = hashing.join().expect("hashing does not panic")?;
    let figures = BTreeMap::from([(HASH_NS, spent_s / hashes as f64 * 1e9)]);
    Ok(Side {
        command: format!("md5 of 16-byte keys on core {core} for {seconds} s, in this process"),
        figures,
        marks: Vec::new(),
        detail: json!({"hashes": hashes, "cpu_s": spent_s}),
    })
}

fn key(number: u64) -> [u8; 16] {
    let digits = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    digits.into_bytes().try_into().expect("sixteen digits")
}

fn thread_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_takes_time() {
        let core = core_affinity::get_core_ids().expect("Linux tells")[0].id;
        let side = run(core, 0.005).expect("the core is ours");
        let ns = side.figure(HASH_NS);
        assert!((20.0..20_000.0).contains(&ns), "{ns} ns");
    }
}
