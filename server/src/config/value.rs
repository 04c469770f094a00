//! Values of settings, as people write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use engine::limits::{MEMORY_BYTES_MIN, REACTORS_MAX};
use serde::Deserialize;

use super::{ConfigError, HTTP_PORT};

/// A number of bytes, as people write it: `64MiB`, `4g`, `1000000`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(
    /// That many.
    pub u64,
);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kib" => 10,
            "m" | "mib" => 20,
            "g" | "gib" => 30,
            "t" | "tib" => 40,
            _ => return Err(format!("`{text}` is not a size; write for example 512MiB or 4GiB")),
        };
        let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a size; write for example 512MiB"))?;
        let bytes = number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is more than 64 bits hold"))?;
        Ok(Bytes(bytes))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| self.0 >= 1 << shift && self.0.trailing_zeros() >= *shift) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => self.0.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number of bytes, or text such as \"64MiB\"")]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Bytes(number)),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Where something is served over HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl Door {
    pub(super) const fn local(port: u16) -> Door {
        Door::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    pub(super) fn address(self) -> Option<SocketAddr> {
        match self {
            Door::Off => None,
            Door::At(address) => Some(address),
        }
    }
}

impl FromStr for Door {
    type Err = String;

    fn from_str(text: &str) -> Result<Door, String> {
        let wrong = |_| format!("`{text}` is not an address; write for example 127.0.0.1:{HTTP_PORT}, or off");
        if text == "off" { Ok(Door::Off) } else { text.parse().map(Door::At).map_err(wrong) }
    }
}

impl<'de> Deserialize<'de> for Door {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Door, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How many reactors there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reactors {
    /// One for each core but one.
    Auto,
    /// That many.
    Count(usize),
}

impl Reactors {
    /// How many that are on so many cores, with so much memory.
    pub(crate) fn count(self, cores: usize, memory_bytes: usize) -> Result<usize, ConfigError> {
        let bounds = (REACTORS_MAX).min(memory_bytes / MEMORY_BYTES_MIN);
        match self {
            Reactors::Auto => Ok(cores.saturating_sub(1).clamp(1, bounds.max(1))),
            Reactors::Count(count) if (1..=bounds).contains(&count) => Ok(count),
            Reactors::Count(count) => Err(ConfigError::OutOfRange {
                name: "reactors",
                value: count.to_string(),
                range: "1 to 64, and no more than the memory budget has room for: 128MiB each",
            }),
        }
    }
}

impl FromStr for Reactors {
    type Err = String;

    fn from_str(text: &str) -> Result<Reactors, String> {
        match text {
            "auto" => Ok(Reactors::Auto),
            _ => text.parse().map(Reactors::Count).map_err(|_| format!("`{text}` is not a number; write one, or auto")),
        }
    }
}

/// How many reactors there are, in a file.
pub(super) fn from_number_or_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Reactors>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number of reactors, or \"auto\"")]
    enum Either {
        Number(usize),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(count) => Ok(Some(Reactors::Count(count))),
        Either::Text(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// A path, or several.
pub(super) fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a path, or a list of paths")]
    enum Either {
        One(PathBuf),
        More(Vec<PathBuf>),
    }
    Either::deserialize(deserializer).map(|either| match either {
        Either::One(path) => vec![path],
        Either::More(paths) => paths,
    })
}

/// A setting that is given as text.
pub(super) fn from_text<'de, D: serde::Deserializer<'de>, T: FromStr<Err = String>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// What people write of many settings at once: `service`, which need not be said, or `none`, and what is to be other than that.
pub(super) fn changed<T>(
    text: &str,
    service: fn() -> T,
    none: fn() -> T,
    change: fn(&mut T, &str) -> Result<(), String>,
) -> Result<T, String> {
    let mut settings = service();
    for (at, word) in text.split(',').map(str::trim).enumerate() {
        match (at, word) {
            (0, "service") => {}
            (0, "none") => settings = none(),
            _ => change(&mut settings, word)?,
        }
    }
    Ok(settings)
}
