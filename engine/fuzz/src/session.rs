//! Runs a target over its corpus and over seeds, and writes down what broke it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::{Target, mutate};

/// A target, its corpus, and where inputs go that break it.
#[derive(Debug)]
pub struct Session {
    target: Target,
    corpus: Vec<(String, Vec<u8>)>,
    inputs: Vec<Vec<u8>>,
    failures: PathBuf,
}

/// An input that broke a promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The target.
    pub target: &'static str,
    /// The seed, or the corpus entry.
    pub origin: String,
    /// The file that holds the input in hex.
    pub file: PathBuf,
    /// The input.
    pub input: Vec<u8>,
    /// What the target said.
    pub message: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { target, origin, file, message, .. } = self;
        write!(
            f,
            "target {target}, {origin}: {message}\n  replay: MILLSTREAM_FUZZ_TARGET={target} MILLSTREAM_FUZZ_INPUT={} \
             cargo test -p fuzz --test one_seed -- --nocapture",
            file.display()
        )
    }
}

impl Session {
    /// Reads the corpus of `target` under `corpus`, in the order of its names. What breaks it goes to `failures`.
    ///
    /// # Errors
    /// The corpus can't be read.
    pub fn open(target: Target, corpus: &Path, failures: &Path) -> std::io::Result<Session> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(corpus.join(target.name))? {
            let entry = entry?;
            entries.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
        }
        entries.sort();
        let inputs = entries.iter().map(|(_, input)| input.clone()).collect();
        Ok(Session { target, corpus: entries, inputs, failures: failures.to_owned() })
    }

    /// Runs every entry of the corpus. How many there are.
    ///
    /// # Errors
    /// The first one that breaks a promise.
    pub fn replay(&self) -> Result<usize, Box<Found>> {
        for (name, input) in &self.corpus {
            self.run(input, name, || format!("corpus entry {name}"))?;
        }
        Ok(self.corpus.len())
    }

    /// The input of one seed.
    pub fn input(&self, seed: u64) -> Vec<u8> {
        mutate(seed, &self.inputs)
    }

    /// Runs the input of one seed.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn seed(&self, seed: u64) -> Result<(), Box<Found>> {
        self.run(&self.input(seed), &seed.to_string(), || format!("seed {seed}"))
    }

    /// Runs one input.
    ///
    /// # Errors
    /// It breaks a promise.
    pub fn run(&self, input: &[u8], name: &str, origin: impl FnOnce() -> String) -> Result<(), Box<Found>> {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.target.run)(input))) else { return Ok(()) };
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let file = self.failures.join(format!("{}-{name}.hex", self.target.name));
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        let written = std::fs::create_dir_all(&self.failures).and_then(|()| std::fs::write(&file, hex));
        let origin = match written {
            Ok(()) => origin(),
            Err(error) => format!("{} (the input could not be kept: {error})", origin()),
        };
        let message = message.unwrap_or_else(|| "a panic without words".to_owned());
        Err(Box::new(Found { target: self.target.name, origin, file, input: input.to_vec(), message }))
    }
}

/// The bytes of a file of hex digits; `None` if it is something else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.trim().chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect())
}
