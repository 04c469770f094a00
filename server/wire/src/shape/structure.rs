//! Structures within requests: the library takes a list for one too, as its members in their order, and the service does not.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

/// A structure, which is a map of its members.
pub(super) fn structure<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<Members<T>>::deserialize(deserializer)?.map(|members| members.0))
}

struct Members<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<T>, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of members")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Members<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use crate::Codec;
    use crate::shape::UpdateStreamMode;

    #[test]
    fn a_list_of_its_members_is_none() {
        let read = |details: &str| {
            Codec::Json.parse::<UpdateStreamMode>(format!("{{\"StreamModeDetails\": {details}}}").as_bytes())
        };
        let mode = read(r#"{"StreamMode": "ON_DEMAND"}"#).expect("it can be read").stream_mode_details;
        assert_eq!(mode.and_then(|details| details.stream_mode).as_deref(), Some("ON_DEMAND"));
        assert!(read("null").expect("it can be read").stream_mode_details.is_none());
        assert!(read(r#"["ON_DEMAND"]"#).is_err() && read("[]").is_err());
    }
}
