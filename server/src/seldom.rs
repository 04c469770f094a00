//! When to warn of what clients can bring about as often as they like: once in a while, with how often it came.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// No two warnings are closer.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts what is warned of seldom.
#[derive(Default)]
pub(crate) struct Seldom(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    warned: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// Counts one more. If it is time for a warning: how many came since the last, this one among them.
    pub(crate) fn count(&self) -> Option<u64> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.since += 1;
        let now = Instant::now();
        if counted.warned.is_some_and(|warned| now < warned + INTERVAL) {
            return None;
        }
        counted.warned = Some(now);
        Some(std::mem::take(&mut counted.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_at_once_and_the_next_together() {
        let seldom = Seldom::default();
        assert_eq!([(); 4].map(|()| seldom.count()), [Some(1), None, None, None]);
        tokio::time::advance(INTERVAL).await;
        assert_eq!([(); 2].map(|()| seldom.count()), [Some(4), None]);
    }
}
