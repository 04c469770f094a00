//! The figures that people want to see beside a load's own, made of what the server tells.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::text::family;
use super::{Figures, Samples};
use crate::units::{show_bytes, show_count};

/// What the server said of itself while the run was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerFigures {
    /// How often it was asked.
    pub samples: u64,
    /// The figures that are known here, and their values.
    pub figures: Vec<Figure>,
    /// Why there are no more.
    pub fault: Option<String>,
}

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// How it is shown.
    pub unit: Unit,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// So many.
    Count,
    /// Cores.
    Cores,
    /// So many a second.
    PerSecond,
}

/// How a figure is made of what the server tells. Families are summed up over their labels.
enum Made {
    /// What one counter grew by, by what another did.
    Ratio(&'static str, &'static str),
    /// What a counter grew by a second.
    Rate(&'static str),
    /// The highest value of a gauge.
    Highest(&'static str),
}

const KNOWN: [(&str, Unit, Made); 7] = [
    ("a flush", Unit::Bytes, Made::Ratio("millstream_written_bytes_total", "millstream_flushes_total")),
    ("reactors busy", Unit::Cores, Made::Rate("millstream_reactor_cpu_seconds_total")),
    ("waiting for a commit at most", Unit::Bytes, Made::Highest("millstream_intake_bytes")),
    ("commits in flight at most", Unit::Count, Made::Highest("millstream_commits_in_flight")),
    ("reads waiting at most", Unit::Count, Made::Highest("millstream_reads_waiting")),
    ("resident at most", Unit::Bytes, Made::Highest("millstream_resident_bytes")),
    ("throttled", Unit::PerSecond, Made::Rate("millstream_throttles_total")),
];

impl ServerFigures {
    /// Of what was sampled while the load was measured; of a load that was over before that was seen, of all until then.
    pub fn new(samples: &Samples) -> Self {
        let (from_s, until_s) = samples.measured_s;
        let measured = from_s.unwrap_or(0.0)..=until_s.unwrap_or(f64::MAX);
        let points: Vec<&(f64, Figures)> = samples.points.iter().filter(|point| measured.contains(&point.0)).collect();
        let figures = KNOWN.iter().filter_map(|(name, unit, made)| {
            let value = made.of(&points)?;
            Some(Figure { name: (*name).to_owned(), value, unit: *unit })
        });
        Self { samples: points.len() as u64, figures: figures.collect(), fault: samples.fault.clone() }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for Figure { name, value, unit } in &self.figures {
            let shown = match unit {
                Unit::Bytes => show_bytes(*value as u64),
                Unit::Count => show_count(*value as u64),
                Unit::Cores => format!("{value:.2} cores"),
                Unit::PerSecond => format!("{value:.0}/s"),
            };
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{shown} {name}");
        }
        if text.is_empty() {
            text = format!("{} samples of its figures, none of them known here", self.samples);
        }
        match &self.fault {
            Some(fault) if self.samples == 0 => format!("nothing: {fault}"),
            Some(fault) => format!("{text}; then nothing: {fault}"),
            None => text,
        }
    }
}

impl Made {
    fn of(&self, points: &[&(f64, Figures)]) -> Option<f64> {
        let (first, last) = (points.first()?, points.last()?);
        let grew = |name: &str| Some(sum(&last.1, name)? - sum(&first.1, name)?);
        match self {
            Self::Ratio(above, below) => {
                let below = grew(below).filter(|&below| below > 0.0)?;
                Some(grew(above)? / below)
            }
            Self::Rate(name) => {
                let seconds = last.0 - first.0;
                (seconds > 0.0).then_some(grew(name)? / seconds)
            }
            Self::Highest(name) => points.iter().filter_map(|point| sum(&point.1, name)).reduce(f64::max),
        }
    }
}

/// The sum of a family over all labels, if there is one.
fn sum(figures: &Figures, name: &str) -> Option<f64> {
    figures.iter().filter(|(full, _)| family(full) == name).map(|(_, value)| *value).reduce(|sum, value| sum + value)
}
