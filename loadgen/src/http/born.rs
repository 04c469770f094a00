//! Shards that come to be while a run goes on: by a split, by a merge, or because the server scales a stream by itself. What is
//! acknowledged in them is accounted for like the rest, under numbers that follow those of the shards that were there before.
//!
//! All cores share them, and ask for one only where a record went to no shard that was there before.

use std::collections::BTreeMap;
use std::sync::RwLock;

use frame::ShardId;

use super::streams::Shard;
use crate::verify::SHARDS_MAX;

const WHOLE: &str = "no core panics while it adds one";

/// Those of all streams of a run.
#[derive(Debug, Default)]
pub(super) struct Born(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// In the order of their numbers.
    shards: Vec<Shard>,
    /// Their numbers, by stream and name.
    numbers: BTreeMap<usize, BTreeMap<String, ShardId>>,
}

impl Born {
    /// The number of a stream's shard, which it has from now on if it had none; `before` is how many were there before the run. Of
    /// an endpoint that names ever other shards those beyond the most that are kept have the same one, and are no shards of the run.
    pub(super) fn number(&self, before: usize, (stream, name): (usize, &str)) -> ShardId {
        let known = |known: &Known| known.numbers.get(&stream)?.get(name).copied();
        if let Some(number) = known(&self.0.read().expect(WHOLE)) {
            return number;
        }
        let mut all = self.0.write().expect(WHOLE);
        // Another core may have been first.
        if let Some(number) = known(&all) {
            return number;
        }
        let number = ShardId(SHARDS_MAX.min((before + all.shards.len()) as u32));
        if number.0 < SHARDS_MAX {
            all.numbers.entry(stream).or_default().insert(name.to_owned(), number);
            all.shards.push(Shard { stream, name: name.to_owned() });
        }
        number
    }

    /// All of them, in the order of their numbers.
    pub(super) fn all(&self) -> Vec<Shard> {
        self.0.read().expect(WHOLE).shards.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_number_and_they_follow_those_before() {
        let born = Born::default();
        let told = [(0, "shardId-2"), (1, "shardId-2"), (0, "shardId-3"), (0, "shardId-2")];
        assert_eq!(told.map(|shard| born.number(4, shard).0), [4, 5, 6, 4]);
        let all: Vec<(usize, String)> = born.all().into_iter().map(|shard| (shard.stream, shard.name)).collect();
        assert_eq!(all, [(0, "shardId-2"), (1, "shardId-2"), (0, "shardId-3")].map(|(at, name)| (at, name.to_owned())));
        let full = SHARDS_MAX as usize - 1;
        let beyond = ["a", "b", "c", "a"].map(|name| Born::number(&born, full - 3, (2, name)).0);
        assert_eq!(beyond, [SHARDS_MAX - 1, SHARDS_MAX, SHARDS_MAX, SHARDS_MAX - 1]);
        assert_eq!(born.all().len(), 4, "no memory is spent on what is told beyond");
    }
}
