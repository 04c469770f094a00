//! What all clients together have not taken yet: answers, and copies of records, in memory of its own. Frames that are sent from where
//! they were read, or written, are none of it: [`crate::limits`] has their bound.
//!
//! Each client that takes its time may leave its share. Where all of them are over what there is, nobody is given more, whoever asks is
//! told to ask again, and after a while those end that take less than a least rate: else who never takes anything could keep all others
//! waiting.

use crate::limits::{BACKLOG_SHARE_MIN, OUTGOING_BYTES_MAX};

/// Of all clients of a reactor.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: usize,
    bytes_max: usize,
    /// How many have left anything.
    clients: usize,
}

impl Backlog {
    /// Of up to so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Backlog {
        Backlog { bytes: 0, bytes_max, clients: 0 }
    }

    /// What one of them has not taken was so much, and is so much now.
    pub(crate) fn change(&mut self, before: usize, now: usize) {
        self.bytes = self.bytes - before + now;
        self.clients = self.clients - usize::from(before > 0) + usize::from(now > 0);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nobody is given more.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Whether even what others have made already finds no room.
    pub(crate) fn is_far_over(&self) -> bool {
        self.bytes > 2 * self.bytes_max
    }

    /// How much less it must become until there is room again.
    pub(crate) fn excess(&self) -> usize {
        self.bytes.saturating_sub(self.bytes_max)
    }

    /// What a client may have left and be given more.
    pub(crate) fn share(&self) -> usize {
        (self.bytes_max / self.clients.max(1)).clamp(BACKLOG_SHARE_MIN, OUTGOING_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_share_what_few_have_alone() {
        let mut backlog = Backlog::new(8 << 20);
        assert_eq!(backlog.share(), OUTGOING_BYTES_MAX);
        (0..32).for_each(|_| backlog.change(0, 256 << 10));
        assert_eq!((backlog.share(), backlog.is_over(), backlog.excess()), (256 << 10, false, 0));
        backlog.change(0, 1);
        assert!(backlog.is_over() && !backlog.is_far_over() && backlog.excess() == 1);
        (0..1000).for_each(|_| backlog.change(0, 16 << 10));
        assert!(backlog.is_far_over());
        assert_eq!(backlog.share(), BACKLOG_SHARE_MIN);
        (0..1000).for_each(|_| backlog.change(16 << 10, 0));
        backlog.change(256 << 10, 0);
        assert_eq!((backlog.is_over(), backlog.bytes()), (false, (31 * (256 << 10)) + 1));
    }
}
