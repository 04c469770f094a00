//! Streams on demand before a reactor, in time that passes when a test says so.

use serde_json::json;
use tokio::time::advance;

use super::past::{LOOKS_KEPT, LOOKS_MEANT};
use super::*;
use crate::gateway::rig::Rig;

/// A stream on demand that is looked at.
struct Looked {
    rig: Rig,
    pasts: BTreeMap<StreamId, Past>,
}

impl Looked {
    /// One of so many shards, which was looked at once.
    async fn new(shards: u64) -> Looked {
        let mut rig = Rig::new();
        let mode = json!({ "StreamMode": "ON_DEMAND" });
        rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": shards, "StreamModeDetails": mode }));
        let mut looked = Looked { rig, pasts: BTreeMap::new() };
        assert_eq!(looked.open_after_a_look().await, shards);
        looked
    }

    /// How many shards are open after the next look.
    async fn open_after_a_look(&mut self) -> u64 {
        advance(LOOK).await;
        let common = Arc::clone(&self.rig.common);
        self.rig.wait(look_at_all(&common, &mut self.pasts));
        let described = self.rig.good("DescribeStreamSummary", &json!({ "StreamName": "s" }));
        described["StreamDescriptionSummary"]["OpenShardCount"].as_u64().unwrap()
    }

    /// Asks for more than half of what a shard takes in between two looks, under hash keys from `start` on.
    fn ask(&mut self, start: u128, width: u128) {
        for part in 0..4 {
            let (key, data) = ((start + width / 4 * part).to_string(), "A".repeat(1_000_000));
            let put = json!({ "StreamName": "s", "PartitionKey": key, "ExplicitHashKey": key, "Data": data });
            // What its quotas refuse was asked for all the same.
            let _ = self.rig.ask("PutRecord", &put);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_nothing_comes_to_for_five_minutes_is_merged_down_to_four_shards() {
    let mut looked = Looked::new(6).await;
    for seen in 1..LOOKS_KEPT {
        assert_eq!(looked.open_after_a_look().await, 6, "after {seen} looks");
    }
    assert_eq!(LOOK * LOOKS_KEPT as u32, Duration::from_secs(300));
    assert_eq!([looked.open_after_a_look().await, looked.open_after_a_look().await], [5, 4], "a pair at a time");
    for _ in 0..2 * LOOKS_KEPT {
        assert_eq!(looked.open_after_a_look().await, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_hot_is_split_up_to_two_hundred_shards() {
    const SHARDS: u64 = 198;
    let mut looked = Looked::new(SHARDS).await;
    let width = u128::MAX / u128::from(SHARDS);
    for seen in 1..4 * LOOKS_MEANT {
        // More of them than there may be new ones.
        (0..5).for_each(|shard| looked.ask(width * 10 * shard + (1 << 100), width / 2));
        let expected = if seen < LOOKS_MEANT { SHARDS } else { 200 };
        assert_eq!(looked.open_after_a_look().await, expected, "after {seen} looks");
    }
}
