//! What the world keeps for each reactor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use io::{Completion, Op, Token};

use super::Surroundings;
use crate::dice::Dice;
use crate::network::Network;

/// One reactor, as the world sees it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) network: Network,
    pub(super) queue: Vec<(Op, Token)>,
    /// What has completed for it in the turn of another.
    pub(super) mail: Vec<Completion>,
    /// Whether it was woken by another since its last turn.
    pub(super) is_woken: Arc<AtomicBool>,
    /// Whether it sleeps, and until when at most.
    pub(super) asleep: Option<Option<u64>>,
    /// Turns in a row that did nothing and did not sleep either.
    pub(super) spins: u32,
}

impl Seat {
    pub(super) fn new(seed: u64, life: u64, number: usize, surroundings: &Surroundings) -> Seat {
        // The first one's dice are those of a world with one reactor.
        let name = if number == 0 { "network".to_owned() } else { format!("network {number}") };
        Seat {
            network: Network::new(number, Dice::new(seed, life, &name), surroundings.network),
            queue: Vec::new(),
            mail: Vec::new(),
            is_woken: Arc::default(),
            asleep: None,
            spins: 0,
        }
    }

    /// Whether its next turn may do something.
    pub(super) fn may_run(&self, now_ns: u64) -> bool {
        let is_due = self.asleep.is_none_or(|until| until.is_some_and(|until| until <= now_ns));
        is_due
            || !self.mail.is_empty()
            || self.is_woken.load(Ordering::Relaxed)
            || self.network.next_due_ns().is_some_and(|due_ns| due_ns <= now_ns)
    }
}
