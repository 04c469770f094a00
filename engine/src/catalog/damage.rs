//! A catalog of which damage took commands.

use super::{Catalog, Command};
use crate::limits::STREAM_NUMBERS_MAX;

impl Catalog {
    /// The command that made the newest stream may be damaged: then the number of the one that another command speaks of is used
    /// up all the same, and there is nothing that it changes. So may one that deleted a stream: whose name another has now, it is gone.
    pub(crate) fn allow_for_damage(&mut self, command: &Command) {
        let stream = match command {
            Command::Create(create) => {
                if let Some(&last) = self.by_name.get(&create.name).filter(|last| **last < create.stream) {
                    self.delete(last);
                }
                return;
            }
            Command::SetQuotas(stream, _) | Command::SetRetention(stream, _) | Command::Delete(stream) => *stream,
            // Stream 0 is the log, which is always there.
            Command::Annotate(stream, _) | Command::Encrypt(stream, _) | Command::Forget(stream, _) => *stream,
            Command::Intend(resharding) | Command::Reshard(resharding, _) => resharding.stream,
            _ => return,
        };
        let streams = (stream.0 as usize).min(STREAM_NUMBERS_MAX).max(self.streams.len());
        self.streams.resize(streams, None);
    }
}
