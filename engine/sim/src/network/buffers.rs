//! The receive buffers that the engine's receives share: few and small, so that running out is common.

use io::Received;

/// Provided buffers. What holds received bytes is the engine's until it is recycled.
#[derive(Debug)]
pub(crate) struct Buffers {
    bytes: Vec<Vec<u8>>,
    /// Free ones; the longest free is used first.
    free: std::collections::VecDeque<u16>,
    buffer_bytes: usize,
}

impl Buffers {
    pub(crate) fn new(count: u16, buffer_bytes: usize) -> Buffers {
        Buffers { bytes: vec![Vec::new(); usize::from(count)], free: (0..count).collect(), buffer_bytes }
    }

    pub(crate) fn count(&self) -> usize {
        self.bytes.len()
    }

    /// Lets `take` fill a free buffer with at most so many bytes; `None` if no buffer is free.
    pub(crate) fn fill(&mut self, take: impl FnOnce(usize, &mut Vec<u8>) -> usize) -> Option<Received> {
        let buffer = self.free.pop_front()?;
        let bytes = &mut self.bytes[usize::from(buffer)];
        bytes.clear();
        let length = take(self.buffer_bytes, bytes);
        assert!(length > 0, "a receive brings bytes");
        Some(Received { buffer, length: length as u32 })
    }

    pub(crate) fn bytes(&self, received: Received) -> &[u8] {
        assert!(!self.free.contains(&received.buffer), "buffer {} was given back", received.buffer);
        &self.bytes[usize::from(received.buffer)][..received.length as usize]
    }

    pub(crate) fn recycle(&mut self, received: Received) {
        assert!(!self.free.contains(&received.buffer), "buffer {} was given back twice", received.buffer);
        // What is read after this was not the engine's any more.
        self.bytes[usize::from(received.buffer)].fill(0xa5);
        self.free.push_back(received.buffer);
    }
}
