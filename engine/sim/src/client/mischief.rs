//! What a client does that no good one does.

use frame::{Sequence, ShardId, StreamId};

use super::{Asked, Batch, LoadClient, frame_starts};
use crate::link::Intruder;
use crate::model::Model;
use crate::record::Recipe;
use crate::world::World;

impl LoadClient {
    /// Does something that no good client does. `false` if it came to nothing.
    pub(super) fn misbehave(&mut self, world: &World, model: &mut Model, shard: &ShardId) -> bool {
        match self.dice.index(if world.secret().is_some() { 11 } else { 8 }) {
            8.. => self.intrude(world, model),
            6 => {
                world.count("client: parts that are no record's");
                self.send_parts_of_nothing(world, model);
                self.batches_left = 0;
            }
            0 => {
                world.count("client: gone in mid-batch");
                self.send_part_of_a_batch(world, model);
                if self.dice.chance(0.5) {
                    self.link.reset(world);
                } else {
                    world.finish(self.link.id);
                    self.batches_left = 0;
                }
            }
            1 => {
                world.count("client: reset");
                self.link.reset(world);
            }
            2 => {
                world.count("client: half-closed");
                world.finish(self.link.id);
                self.batches_left = 0;
            }
            3 => {
                world.count("client: deaf");
                self.deaf_until_ns = world.now_ns() + self.dice.skewed(1_000_000..=1_000_000_000);
                world.set_reading(self.link.id, false);
                world.wake_at(self.deaf_until_ns);
            }
            4 => {
                world.count("client: garbage");
                world.send(self.link.id, &self.dice.bytes());
                self.batches_left = 0;
            }
            5 => {
                let request = self.link.say(world, |client, out| client.ping(out));
                self.asked.insert(request, Asked::Ping);
            }
            _ => {
                let unknown = StreamId(model.stream_ids().map(|id| id.0).max().unwrap_or(0) + 1000);
                self.read(world, model, unknown, *shard, Sequence(1));
            }
        }
        true
    }

    /// Somebody who does not know the secret has a record stored; or so they think.
    fn intrude(&mut self, world: &World, model: &mut Model) {
        let known = self.intent.streams.iter().find_map(|wish| model.stream(&wish.name)).cloned();
        let Some(stream) = known else { return };
        let recipe = |attempt| Recipe { attempt, key: 1, explicit_hash: None, data_bytes: 100, parts: 1 };
        let mut frames = Vec::new();
        // It must never be stored, like what differs from its checksum.
        model.submit(&stream, self.number, recipe, true).encode(&mut frames);
        let message = self.message(&stream, 1, &frames);
        self.intruders.extend(Intruder::open(world, &mut self.dice, &self.link, &message));
    }

    fn send_part_of_a_batch(&mut self, world: &World, model: &mut Model) {
        let known = self.intent.streams.iter().find_map(|wish| model.stream(&wish.name)).cloned();
        let Some(stream) = known else { return };
        let Batch { frames_count, frames, .. } = self.make_batch(world, model, &stream);
        let message = self.message(&stream, frames_count, &frames);
        let length = self.dice.index(message.len());
        world.send(self.link.id, &message[..length]);
    }

    /// Sends the parts of a record and leaves one out, or gives one twice, or puts a record between.
    fn send_parts_of_nothing(&mut self, world: &World, model: &mut Model) {
        let known = self.intent.streams.iter().find_map(|wish| model.stream(&wish.name)).cloned();
        let Some(stream) = known else { return };
        let parts = self.dice.within(2..=5) as usize;
        let recipe = |attempt| Recipe { attempt, key: 1, explicit_hash: None, data_bytes: 100, parts };
        let mut frames = Vec::new();
        // It must never be stored, like what differs from its checksum.
        model.submit(&stream, self.number, recipe, true).encode(&mut frames);
        let starts = frame_starts(&frames);
        let kind = self.dice.index(3);
        // The last part once more would come after a record that is whole.
        let at = self.dice.index(if kind == 0 { starts.len() } else { starts.len() - 1 });
        let end = starts.get(at + 1).copied().unwrap_or(frames.len());
        let part = frames[starts[at]..end].to_vec();
        let mut count = starts.len() as u32;
        match kind {
            0 => {
                frames.drain(starts[at]..end);
                count -= 1;
            }
            1 => {
                frames.splice(end..end, part);
                count += 1;
            }
            _ => {
                let mut between = Vec::new();
                let recipe = |attempt| Recipe { attempt, key: 1, explicit_hash: None, data_bytes: 8, parts: 1 };
                model.submit(&stream, self.number, recipe, true).encode(&mut between);
                frames.splice(end..end, between);
                count += 1;
            }
        }
        let message = self.message(&stream, count, &frames);
        if self.link.client.may_append(message.len()) {
            world.send(self.link.id, &message);
        }
    }
}
