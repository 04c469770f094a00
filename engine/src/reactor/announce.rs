//! The catalog's way from the reactor that keeps it to the others, which hold a copy.
//!
//! ```text
//!   command durable -> applied here, hidden -> every other reactor applies it -> shown, and answered
//! ```
//!
//! Names are asked of the first reactor alone, wherever a client is connected. So whoever learns of a stream may use it
//! anywhere at once.

use super::*;

/// A durable command that not all reactors have applied.
#[derive(Debug)]
pub(super) struct Announced {
    command: Command,
    waiters: Vec<Asker>,
    /// Its number among all that were announced.
    serial: u64,
}

impl<I: Io> Reactor<I> {
    /// A command is durable and applied here: the others are told, then whoever asked for it.
    pub(super) fn announce(&mut self, command: Command, waiters: Vec<Asker>) {
        self.announced += 1;
        self.note_news(self.announced, &command);
        for other in self.peers.numbers() {
            self.peers.links[other].parcel.commands.push(command.clone());
        }
        self.announcing.push_back(Announced { command, waiters, serial: self.announced });
        self.answer_announced();
    }

    /// Answers the commands that all have applied.
    pub(super) fn answer_announced(&mut self) {
        let applied = self.peers.numbers().map(|other| self.peers.links[other].applied).min().unwrap_or(u64::MAX);
        while let Some(Announced { command, waiters, serial }) =
            self.announcing.pop_front_if(|announced| announced.serial <= applied)
        {
            if let Command::Reshard(..) = command {
                self.show_up_to(serial);
                self.peers.numbers().for_each(|other| self.peers.links[other].parcel.shown = serial);
            }
            for asker in waiters {
                self.settle_command(asker);
                self.answer_command(asker, &command);
            }
        }
    }

    /// Whether a stream was made and some reactor may not know it yet.
    pub(super) fn is_hidden(&self, stream: StreamId) -> bool {
        self.announcing.iter().any(|announced| makes(&announced.command, stream))
    }

    /// Who waits for a stream that was planned, or made and not shown yet.
    pub(super) fn waiters_of(&mut self, stream: StreamId) -> Option<&mut Vec<Asker>> {
        let announced = self.announcing.iter_mut().map(|announced| (&announced.command, &mut announced.waiters));
        let pending = self.pending.iter_mut().map(|pending| (&pending.command, &mut pending.waiters));
        announced.chain(pending).find(|(command, _)| makes(command, stream)).map(|(_, waiters)| waiters)
    }

    /// Applies a command that another reactor has made durable.
    pub(super) fn learn(&mut self, from: usize, command: Command) {
        self.apply(&command);
        self.announced += 1;
        self.note_news(self.announced, &command);
        self.peers.links[from].parcel.applied += 1;
    }

    /// A command is true from here on.
    pub(super) fn apply(&mut self, command: &Command) {
        if matches!(command, Command::Delete(_)) {
            // Records that wait for their keys to be hashed were taken in for a stream that was there.
            self.route();
        }
        if let Command::Delete(stream) = *command
            && let Some(stream) = self.catalog.stream(stream)
        {
            let number = stream.stream;
            stream.shards().for_each(|shard| {
                self.buckets.forget(shard.shard);
                self.shards.forget_trim(shard.shard);
                self.journal.producers.forget(shard.shard);
            });
            self.forget_arrivals(number);
        }
        if let Command::Forget(stream, shards) = command {
            self.leave_behind(*stream, shards);
        }
        let applied = self.catalog.apply(command);
        assert!(applied.is_some(), "commands are planned against the catalog that they will find");
        self.shards.grow(self.catalog.shard_count());
        self.intake.grow(self.catalog.shard_count());
        self.journal.index.grow(self.catalog.shard_count());
        match command {
            Command::Delete(stream) => {
                self.space.look_once_more();
                self.drop_reshardings(*stream);
                self.end_orphaned();
            }
            Command::SetRetention(..) => {
                self.space.look_at_all();
                self.look_for_closed_soon();
            }
            Command::SetQuotas(stream, _) => self.look_at_quotas_again(*stream),
            Command::Intend(resharding) => self.fence(resharding),
            Command::Reshard(resharding, completion) => {
                self.close_parents(resharding, completion);
                self.look_for_closed_soon();
            }
            Command::Forget(..) => self.reshardings.forgetting.told(),
            Command::Create(_) | Command::Annotate(..) | Command::Encrypt(..) => {}
            Command::Reserve { .. }
            | Command::GoOn(_)
            | Command::Trim(_)
            | Command::Producers(_)
            | Command::Shards(..) => {}
        }
    }
}

fn makes(command: &Command, stream: StreamId) -> bool {
    matches!(command, Command::Create(created) if created.stream == stream)
}
