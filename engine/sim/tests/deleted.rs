//! Bug: a client could end the server. Mechanism: what it sent behind questions to another reactor was heard once they were answered, in
//! the middle of taking what that reactor had sent; and if that went on to say that the stream was deleted, the records that
//! waited for their keys to be hashed were routed to a stream that was not there any more. Fix: they are routed before it goes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod several;

use engine::Config;
use engine::limits::MEMORY_BYTES_MIN;
use frame::proto::{Client, ClientEvent, ErrorCode, StreamDescription};
use frame::{Quotas, StreamId};
use io::Pool;
use sim::{ConnectionId, LISTENER, Surroundings, Trace, World};

/// More turns than any step takes.
const TURNS_MAX: u32 = 10_000;

/// So many questions of one connection are answered before more of it is heard.
const QUESTIONS: usize = 3;

/// Less than are hashed together.
const RECORDS: u32 = 10;

struct Peer {
    id: ConnectionId,
    proto: Client,
    stream: Option<StreamDescription>,
    acked: usize,
}

impl Peer {
    fn new(world: &World, reactor: usize) -> Peer {
        let mut out = Vec::new();
        let proto = Client::new(&mut out);
        let id = world.connect_to(reactor);
        world.send(id, &out);
        Peer { id, proto, stream: None, acked: 0 }
    }

    fn hear(&mut self, world: &World) {
        let (mut said, mut at) = (Vec::new(), 0);
        assert_eq!(world.take(self.id, &mut said), None, "no connection ends here");
        while let Some(event) = self.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Stream(_, stream) => self.stream = Some(stream),
                ClientEvent::Ack(span) => self.acked += self.proto.acks(&span, &said).count(),
                // It may be gone before it is asked about.
                ClientEvent::Error(_, failure) => assert_eq!(failure.code, ErrorCode::UnknownStream, "{failure}"),
                _ => {}
            }
        }
    }

    fn say(&mut self, world: &World, write: impl FnOnce(&mut Client, &mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut self.proto, &mut out);
        world.send(self.id, &out);
    }
}

fn append(proto: &mut Client, out: &mut Vec<u8>, stream: StreamId) {
    let mut frames = Vec::new();
    (0..RECORDS).for_each(|_| frame::frame::encode(&mut frames, b"key", None, b"data").unwrap());
    proto.append(out, stream, RECORDS, &frames);
}

#[test]
fn records_that_wait_while_their_stream_is_deleted_are_answered() {
    let world = World::new(1, Pool::new(32 << 20).unwrap(), Surroundings::calm(), Trace::new(false));
    let config = Config { segment_bytes: 4 << 20, memory_bytes: 2 * MEMORY_BYTES_MIN, ..Config::default() };
    let mut reactors = several::open(&world, &config, 2).unwrap();
    reactors.iter_mut().for_each(|reactor| reactor.listen(LISTENER));
    let (mut deleter, mut writer) = (Peer::new(&world, 0), Peer::new(&world, 1));
    // The turns that each takes before the other does, as the second reactor is at something else.
    for (asked, answered) in (1..12).flat_map(|asked| (1..12).map(move |answered| (asked, answered))) {
        deleter.say(&world, |proto, out| _ = proto.create_stream(out, "s", 1, Quotas::NONE));
        deleter.stream = None;
        for _ in 0..TURNS_MAX {
            reactors.iter_mut().for_each(|reactor| _ = reactor.turn());
            deleter.hear(&world);
            if deleter.stream.is_some() {
                break;
            }
        }
        let stream = deleter.stream.as_ref().unwrap().stream;
        writer.say(&world, |proto, out| {
            (0..QUESTIONS).for_each(|_| _ = proto.describe_stream(out, "s"));
            append(proto, out, stream);
        });
        (0..asked).for_each(|_| _ = reactors[1].turn());
        (0..answered).for_each(|_| _ = reactors[0].turn());
        deleter.say(&world, |proto, out| _ = proto.delete_stream(out, "s"));
        (0..300).for_each(|_| _ = reactors[0].turn());
        let before = writer.acked;
        for _ in 0..TURNS_MAX {
            reactors[1].turn();
            reactors[0].turn();
            writer.hear(&world);
            deleter.hear(&world);
            if writer.acked > before {
                break;
            }
        }
        assert_eq!(writer.acked, before + 1, "asked {asked}, answered {answered}");
    }
}
