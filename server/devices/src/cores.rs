//! Sets of cores, as the kernel writes them.

use std::collections::BTreeSet;
use std::fmt;

/// No machine has more; what claims to is no list of cores.
const CORES_MAX: usize = 1 << 16;

/// A set of cores, by their numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cores(BTreeSet<usize>);

impl Cores {
    /// Reads a list such as `0-3,8`, or `0, 1`.
    pub fn parse(text: &str) -> Option<Cores> {
        let mut cores = BTreeSet::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            if last >= CORES_MAX {
                return None;
            }
            cores.extend(first..=last);
        }
        Some(Cores(cores))
    }

    /// `core 1`, `cores 0-3,8`.
    pub fn named(&self) -> String {
        format!("{} {self}", if self.only().is_some() { "core" } else { "cores" })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The one, if there is no other.
    pub fn only(&self) -> Option<usize> {
        self.0.first().copied().filter(|_| self.0.len() == 1)
    }

    /// Those that are not among the others.
    pub fn without(&self, others: &Cores) -> Cores {
        Cores(self.0.difference(&others.0).copied().collect())
    }

    /// Those that both have.
    pub fn and(&self, others: &Cores) -> Cores {
        Cores(self.0.intersection(&others.0).copied().collect())
    }
}

impl FromIterator<usize> for Cores {
    fn from_iter<T: IntoIterator<Item = usize>>(cores: T) -> Cores {
        Cores(cores.into_iter().collect())
    }
}

impl<'a> FromIterator<&'a Cores> for Cores {
    fn from_iter<T: IntoIterator<Item = &'a Cores>>(sets: T) -> Cores {
        sets.into_iter().flat_map(|set| set.0.iter().copied()).collect()
    }
}

/// As the kernel reads it: `0-3,8`.
impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if_eq(&(last + 1)) {
                last = next;
            }
            match last {
                _ if last == first => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}
