//! What clients measure of themselves: PutMetricData of CloudWatch, in the three ways that it is written.

mod form;

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::{Codec, Error, ErrorKind};

/// Data in one request.
const DATA_MAX: usize = 1000;

/// Entities of one request, each of which may have so many: they are all read before they are counted.
const ENTITIES_MAX: usize = 20;

/// Dimensions of one datum.
const DIMENSIONS_MAX: usize = 30;

/// Values of one datum.
const VALUES_MAX: usize = 150;

/// Characters of a name, and of a dimension's value.
const NAME_CHARS_MAX: usize = 255;
const VALUE_CHARS_MAX: usize = 1024;

/// How a request is written, and its answer will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// A form, answered in XML: the query protocol.
    Form,
    /// JSON.
    Json,
    /// CBOR: smithy's rpc-v2-cbor.
    Cbor,
}

/// What tells measurements of one kind from all others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Series {
    /// Whose they are.
    pub namespace: String,
    /// What is measured.
    pub name: String,
    /// In what unit, `None` by name if none is said.
    pub unit: String,
    /// Of what, by name.
    pub dimensions: Vec<(String, String)>,
}

/// Some measurements together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Statistics {
    /// How many; past 0.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The least of them.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// Reads a request.
///
/// # Errors
/// The caller's: it can't be read, or is out of the bounds that the service's reference gives it.
pub fn parse(writing: Writing, body: &[u8]) -> Result<Vec<(Series, Statistics)>, Error> {
    let unreadable = |error: serde_json::Error| Error::new(ErrorKind::Serialization, error.to_string());
    let request: Request = match writing {
        Writing::Json => Codec::Json.parse(body)?,
        Writing::Cbor => Codec::Cbor.parse(body)?,
        Writing::Form => serde_json::from_value(form::tree(body)?).map_err(unreadable)?,
    };
    let entities = request.entity_metric_data.0.into_iter().flat_map(|entity| entity.metric_data.0);
    let data: Vec<Datum> = request.metric_data.0.into_iter().chain(entities).collect();
    if data.is_empty() {
        return Err(invalid("MetricData has at least one datum."));
    }
    if data.len() > DATA_MAX {
        return Err(invalid(format!("A request has at most {DATA_MAX} data.")));
    }
    named("Namespace", &request.namespace, NAME_CHARS_MAX)?;
    data.into_iter().map(|datum| datum.check(&request.namespace)).collect()
}

/// Whether a form is a request of this name.
pub fn is_form_of(body: &[u8], operation: &str) -> bool {
    let pairs = body.split(|&byte| byte == b'&').filter_map(|pair| pair.strip_prefix(b"Action="));
    pairs.into_iter().eq([operation.as_bytes()])
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

fn named(what: &str, name: &str, chars_max: usize) -> Result<(), Error> {
    match name.chars().count() {
        0 => Err(invalid(format!("{what} is missing."))),
        chars if chars > chars_max => Err(invalid(format!("{what} has at most {chars_max} characters."))),
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    metric_data: AtMost<Datum, DATA_MAX>,
    #[serde(default)]
    entity_metric_data: AtMost<Entity, ENTITIES_MAX>,
}

/// Data of something that has a name of its own; that is not kept.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entity {
    #[serde(default)]
    metric_data: AtMost<Datum, DATA_MAX>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datum {
    #[serde(default)]
    metric_name: String,
    #[serde(default)]
    dimensions: AtMost<Dimension, DIMENSIONS_MAX>,
    value: Option<Real>,
    statistic_values: Option<StatisticSet>,
    #[serde(default)]
    values: AtMost<Real, VALUES_MAX>,
    #[serde(default)]
    counts: AtMost<Real, VALUES_MAX>,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticSet {
    sample_count: Real,
    sum: Real,
    minimum: Real,
    maximum: Real,
}

impl Datum {
    fn check(self, namespace: &str) -> Result<(Series, Statistics), Error> {
        named("MetricName", &self.metric_name, NAME_CHARS_MAX)?;
        let statistics = self.statistics()?;
        let unit = self.unit.unwrap_or_else(|| "None".to_owned());
        named("Unit", &unit, NAME_CHARS_MAX)?;
        let mut dimensions = Vec::new();
        for Dimension { name, value } in self.dimensions.0 {
            named("A dimension's name", &name, NAME_CHARS_MAX)?;
            named("A dimension's value", &value, VALUE_CHARS_MAX)?;
            dimensions.push((name, value));
        }
        dimensions.sort();
        if dimensions.windows(2).any(|two| matches!(two, [(one, _), (other, _)] if one == other)) {
            return Err(invalid(format!("{} has a dimension twice.", self.metric_name)));
        }
        Ok((Series { namespace: namespace.to_owned(), name: self.metric_name, unit, dimensions }, statistics))
    }

    fn statistics(&self) -> Result<Statistics, Error> {
        let one_way = || invalid(format!("{} has one of Value, StatisticValues and Values.", self.metric_name));
        match (&self.value, &self.statistic_values, self.values.0.as_slice()) {
            (Some(Real(value)), None, []) => Ok(Statistics { count: 1.0, sum: *value, min: *value, max: *value }),
            (None, Some(set), []) => {
                let all =
                    Statistics { count: set.sample_count.0, sum: set.sum.0, min: set.minimum.0, max: set.maximum.0 };
                let is_sound = all.count > 0.0 && all.min <= all.max;
                is_sound.then_some(all).ok_or_else(|| invalid(format!("{} has no sound statistics.", self.metric_name)))
            }
            (None, None, values @ [_, ..]) => self.of_values(values),
            _ => Err(one_way()),
        }
    }

    fn of_values(&self, values: &[Real]) -> Result<Statistics, Error> {
        let counts = &self.counts.0;
        if !counts.is_empty() && counts.len() != values.len() {
            return Err(invalid(format!("{} has as many Counts as Values, or none.", self.metric_name)));
        }
        let counts = counts.iter().map(|count| count.0).chain(std::iter::repeat(1.0));
        let mut all = Statistics { count: 0.0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        for (Real(value), count) in values.iter().zip(counts) {
            if count < 0.0 {
                return Err(invalid(format!("{} has a count below 0.", self.metric_name)));
            }
            all.count += count;
            all.sum += value * count;
            (all.min, all.max) = (all.min.min(*value), all.max.max(*value));
        }
        if all.count <= 0.0 {
            return Err(invalid(format!("{} counts nothing.", self.metric_name)));
        }
        Ok(all)
    }
}

/// A list that is read no further than it may be long: a short body can be a long list.
struct AtMost<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Default for AtMost<T, MAX> {
    fn default() -> AtMost<T, MAX> {
        AtMost(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AtMost<T, MAX>, D::Error> {
        struct List<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = AtMost<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AtMost<T, MAX>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = list.next_element()? {
                    if all.len() == MAX {
                        return Err(A::Error::custom(format!("a list has more than {MAX} members")));
                    }
                    all.push(one);
                }
                Ok(AtMost(all))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A number, whichever way it is written; a form has words for them. None that no sum can be made of.
#[derive(Clone, Copy)]
struct Real(f64);

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Real, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<f64, E> {
                Ok(number as f64)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<f64, E> {
                Ok(number as f64)
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<f64, E> {
                Ok(number)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
                text.parse().map_err(|_| E::custom(format!("{text:?} is no number")))
            }
        }
        let number = deserializer.deserialize_any(Any)?;
        // What the service takes: no more than 2^360, so that sums stay numbers.
        if number.is_finite() && number.abs() <= 2_f64.powi(360) {
            Ok(Real(number))
        } else {
            Err(D::Error::custom(format!("{number} is no number that can be kept")))
        }
    }
}

#[cfg(test)]
#[path = "metric_data/tests.rs"]
mod tests;
