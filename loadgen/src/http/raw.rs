//! Text of an answer that is compared with other text, or read as digits.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// What stands there, of which nobody has looked whether it is text at all: who reads it refuses what is not what it should be.
#[derive(Debug)]
pub(super) struct Raw<'a>(pub(super) Cow<'a, [u8]>);

impl Raw<'_> {
    /// To be shown to a person.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl Deref for Raw<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_bytes<E: Error>(self, text: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Borrowed(text)))
            }

            fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Owned(text.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_where_it_stands_and_may_be_escaped() {
        let raw: Raw<'_> = serde_json::from_str(r#""4957""#).expect("it is text");
        assert!(matches!(raw.0, Cow::Borrowed(b"4957")));
        let raw: Raw<'_> = serde_json::from_str(r#""\/\u0034""#).expect("it is text");
        assert_eq!(&*raw, b"/4");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for text in ["7", "null", "{}", "[]", "true", "\"4"] {
            assert!(serde_json::from_str::<Raw<'_>>(text).is_err(), "{text}");
        }
    }
}
