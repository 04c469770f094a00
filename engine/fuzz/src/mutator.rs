//! Makes an input out of a corpus and a seed: the same seed makes the same input for as long as the corpus is the same.

/// A stream of numbers that follows from its seed alone, on every machine and for ever (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Numbers at which arithmetic and bounds go wrong.
const INTERESTING: [u64; 16] = [
    0,
    1,
    7,
    8,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    1 << 20,
    0x7fff_ffff,
    0xffff_fff8,
    0xffff_ffff,
    1 << 32,
    u64::MAX >> 1,
    u64::MAX,
];

/// An input grows to this at most.
const BYTES_MAX: usize = 1 << 16;

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.draw().checked_rem(bound as u64).unwrap_or(0) as usize
    }

    /// A number below `bound`, small ones more often.
    pub fn skewed(&mut self, bound: usize) -> usize {
        let bound = self.below(bound) + 1;
        self.below(bound)
    }
}

/// The input of `seed`: an entry of `corpus`, changed in one to eight ways.
pub fn mutate(seed: u64, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut input = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..=random.skewed(8) {
        change(&mut input, corpus, &mut random);
        input.truncate(BYTES_MAX);
    }
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(8) {
        0 => set(input, at, |byte| byte ^ 1 << random.below(8)),
        1 => {
            let value = random.draw() as u8;
            set(input, at, |_| value);
        }
        2 => input.truncate(at),
        3 => {
            let length = random.skewed(input.len() - at + 1);
            input.drain(at..at + length);
        }
        4 => {
            let piece = input[at..at + random.skewed(input.len() - at + 1)].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        5 => {
            let empty = Vec::new();
            let other = corpus.get(random.below(corpus.len())).unwrap_or(&empty);
            let from = random.below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        6 => {
            let mut number = INTERESTING[random.below(INTERESTING.len())].to_le_bytes();
            if random.below(4) == 0 {
                number.reverse();
            }
            let (at, width) = (at & !random.below(8), 1 << random.below(4));
            input.iter_mut().skip(at).zip(&number[..width]).for_each(|(byte, new)| *byte = *new);
        }
        _ => {
            let count = random.skewed(32);
            let random_bytes: Vec<u8> = (0..count).map(|_| random.draw() as u8).collect();
            input.splice(at..at, random_bytes);
        }
    }
}

fn set(input: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte);
    }
}
