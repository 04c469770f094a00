//! Reads an input as a program: numbers and bytes off its front, zeros once it has ended, so that any input is one.

/// What is left of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a>(pub(crate) &'a [u8]);

impl<'a> Program<'a> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(crate) fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Up to `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.bytes(N);
        std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0))
    }
}

/// Changes of some bytes: each an offset of two bytes, taken modulo what there is, how many bytes, up to eight, whether
/// they are a field at a multiple of their number, and what to fill them with.
pub(crate) fn edit(bytes: &mut [u8], edits: Program<'_>) {
    let mut edits = edits;
    while !edits.is_over() && !bytes.is_empty() {
        let (at, how, byte) = (usize::from(edits.short()) % bytes.len(), edits.byte(), edits.byte());
        let length = 1 << (how % 4);
        let at = if how & 4 != 0 { at & !(length - 1) } else { at };
        bytes.iter_mut().skip(at).take(length).for_each(|place| *place = byte);
    }
}
