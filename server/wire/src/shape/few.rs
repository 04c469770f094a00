//! Lists and maps in requests, kept no further than it takes to tell that they are too long: a short body can be a long list.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// No list or map that is read by these has more members, by the model: tags are the most.
const MOST: usize = 200;

/// Texts, one more than [`MOST`] of them where there are more.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Option::<Texts>::deserialize(deserializer)?.map(|texts| texts.0))
}

/// The same of pairs.
pub(super) fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    Ok(Option::<Pairs>::deserialize(deserializer)?.map(|pairs| pairs.0))
}

struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_seq(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
        let mut kept = Vec::new();
        while kept.len() <= MOST {
            let Some(text) = list.next_element()? else { return Ok(Texts(kept)) };
            kept.push(text);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Texts(kept))
    }
}

struct Pairs(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut kept = BTreeMap::new();
        while kept.len() <= MOST {
            let Some((key, value)) = map.next_entry()? else { return Ok(Pairs(kept)) };
            kept.insert(key, value);
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Pairs(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Lists {
        #[serde(deserialize_with = "texts")]
        texts: Option<Vec<String>>,
        #[serde(deserialize_with = "pairs")]
        pairs: Option<BTreeMap<String, String>>,
    }

    #[test]
    fn no_more_is_kept_than_tells_that_it_is_too_much() {
        for count in [0, 1, MOST, MOST + 1, 5000] {
            let texts: Vec<String> = (0..count).map(|at| at.to_string()).collect();
            let pairs: BTreeMap<&str, &str> = texts.iter().map(|text| (text.as_str(), "v")).collect();
            for codec in [Codec::Json, Codec::Cbor] {
                let body =
                    codec.write(&serde_json::json!({ "texts": texts, "pairs": pairs })).expect("it can be written");
                let read: Lists = codec.parse(&body).expect("it can be read");
                let counts = (read.texts.map(|texts| texts.len()), read.pairs.map(|pairs| pairs.len()));
                assert_eq!(counts, (Some(count.min(MOST + 1)), Some(count.min(MOST + 1))), "{codec:?}");
            }
        }
        for body in [&b"{}"[..], br#"{"texts": null, "pairs": null}"#] {
            let read: Lists = Codec::Json.parse(body).expect("it can be read");
            assert!(read.texts.is_none() && read.pairs.is_none());
        }
        for body in [&br#"{"texts": {}}"#[..], br#"{"texts": [1]}"#, br#"{"pairs": []}"#] {
            assert!(Codec::Json.parse::<Lists>(body).is_err());
        }
    }
}
