//! What all clients together have not taken yet, counted as it changes; and what becomes of them where it is too much.

use frame::proto::ServerEvent;

use super::*;

/// Why nobody is told much now.
pub(super) fn too_many_answers() -> Failure {
    Failure::new(ErrorCode::Busy, "clients have too many answers to take; ask again in a moment")
}

impl<I: Io> Reactor<I> {
    /// Counts anew what a client has not taken yet.
    pub(super) fn count_backlog(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        let now = connection.outgoing.copied_bytes();
        let before = std::mem::replace(&mut connection.counted_bytes, now);
        // What a guest was told is its host's: that one knows how much its client takes.
        let backlog = if connection.host.is_none() { &mut self.backlog } else { &mut self.for_guests };
        backlog.change(before, now);
    }

    /// Closes the connections of those who take less than a least rate, the longest first, where all clients together have too much to
    /// take.
    pub(super) fn end_stalled(&mut self, now: u64) {
        let mut excess = self.backlog.excess();
        if excess == 0 {
            return;
        }
        let stalled = self.connections.iter_mut().filter(|(_, connection)| {
            connection.phase != Phase::Closing && connection.counted_bytes > 0 && connection.outgoing.is_stalled_at(now)
        });
        let mut stalled: Vec<(u64, usize, Peer)> = stalled
            .map(|(slot, connection)| {
                let peer = Peer { slot, life: connection.life };
                (connection.outgoing.sending_since_ns(), connection.counted_bytes, peer)
            })
            .collect();
        stalled.sort_unstable_by_key(|(since_ns, _, peer)| (*since_ns, peer.slot));
        let mut ended = 0;
        for (_, bytes, peer) in stalled {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(bytes);
            ended += 1;
            self.close(peer);
        }
        if ended > 0 {
            tracing::warn!(
                ended,
                "clients take nothing, and hold the memory for answers: their connections are closed"
            );
        }
    }

    /// Whether frames are sent from where they are. Slow readers may not keep the memory that appends need: past a share of
    /// it they get copies.
    pub(super) fn may_share_frames(&mut self) -> bool {
        let pool = self.io.pool();
        pool.used_bytes() - self.journal.cache.held_bytes() < pool.capacity_bytes() / 4
    }

    /// Refuses what may have a long answer, where nobody is told much.
    pub(super) fn refuses_long_answer(&mut self, peer: Peer, event: &ServerEvent) -> bool {
        let asked = match event {
            ServerEvent::DescribeStream(request, _)
            | ServerEvent::ListStreams(request, _)
            | ServerEvent::Read(request, _) => Some(*request),
            _ => None,
        };
        let refused = asked.filter(|_| self.backlog.is_over());
        if let Some(request) = refused {
            let Failure { code, detail, .. } = too_many_answers();
            self.fail(Asker::Peer(peer, request), code, &detail);
        }
        refused.is_some()
    }

    /// What a client that has gone had asked for need not be read any more.
    pub(super) fn abandon_reads(&mut self, peer: Peer) {
        if self.connections[peer.slot].reads > 0 {
            self.reads.abandon(peer);
        }
    }

    /// Whether subscriptions that are due may be pushed to.
    pub(super) fn may_push(&self) -> bool {
        self.subscriptions.may_push() && !self.backlog.is_over()
    }
}
