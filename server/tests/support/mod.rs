//! What the crash tests share: records that say who they are, clients that load a server, and the ledger that compares
//! what was acknowledged with what is read back.

pub(crate) mod changes;
pub(crate) mod expiry;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod numbering;
pub(crate) mod record;
pub(crate) mod segments;
pub(crate) mod totals;
pub(crate) mod wrong;

use std::time::SystemTime;

/// Reactors that a life may have.
pub(crate) const REACTORS_MAX: u32 = 3;

/// How often a test repeats itself: what the variable says, else more where `CI` is set than elsewhere.
pub(crate) fn repetitions(variable: &str, in_ci: u64, elsewhere: u64) -> u64 {
    told(variable).unwrap_or(if std::env::var_os("CI").is_some() { in_ci } else { elsewhere })
}

/// The seed of a run: what `MILLSTREAM_SEED` says, else the clock's word. Printed, so that a run can be repeated.
pub(crate) fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let seed = told("MILLSTREAM_SEED").unwrap_or_else(now);
    println!("MILLSTREAM_SEED={seed} repeats this run");
    seed
}

pub(crate) fn told(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, which is not a number")))
}
