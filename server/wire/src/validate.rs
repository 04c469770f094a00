//! Checks of a request's members against the model's bounds, told all at once in the service's words.

use std::fmt::Display;

use crate::error::{Error, ErrorKind};

/// As many as the service tells at once.
const TOLD_MAX: usize = 10;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub struct Checks {
    found: Vec<String>,
}

impl Checks {
    /// Nothing is wrong yet.
    pub fn new() -> Checks {
        Checks::default()
    }

    /// A member that must be given.
    pub fn required<T>(&mut self, member: &str, value: Option<&T>) -> &mut Checks {
        if value.is_none() {
            self.found.push(format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
        }
        self
    }

    /// A text of so many characters.
    pub fn length(&mut self, member: &str, value: Option<&str>, least: usize, most: usize) -> &mut Checks {
        if let Some(value) = value {
            let length = value.chars().count();
            if length < least {
                self.note(value, member, format_args!("Member must have length greater than or equal to {least}"));
            }
            if length > most {
                self.note(value, member, format_args!("Member must have length less than or equal to {most}"));
            }
        }
        self
    }

    /// A number within bounds.
    pub fn range(&mut self, member: &str, value: Option<i64>, least: i64, most: i64) -> &mut Checks {
        if let Some(value) = value {
            if value < least {
                self.note(value, member, format_args!("Member must have value greater than or equal to {least}"));
            }
            if value > most {
                self.note(value, member, format_args!("Member must have value less than or equal to {most}"));
            }
        }
        self
    }

    /// A number that is not below a bound, for members that the model leaves open above.
    pub fn at_least(&mut self, member: &str, value: Option<i64>, least: i64) -> &mut Checks {
        self.range(member, value, least, i64::MAX)
    }

    /// A stream's name.
    pub fn stream_name(&mut self, value: Option<&str>) -> &mut Checks {
        self.name("streamName", value)
    }

    /// A name as streams and consumers have them.
    pub fn name(&mut self, member: &str, value: Option<&str>) -> &mut Checks {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if let Some(value) = value.filter(|value| value.is_empty() || !value.bytes().all(legal)) {
            let pattern = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
            self.note(value, member, format_args!("{pattern}"));
        }
        self.length(member, value, 1, 128)
    }

    /// One of these words.
    pub fn one_of(&mut self, member: &str, value: Option<&str>, words: &[&str]) -> &mut Checks {
        if let Some(value) = value.filter(|value| !words.contains(value)) {
            let words = words.join(", ");
            self.note(value, member, format_args!("Member must satisfy enum value set: [{words}]"));
        }
        self
    }

    /// A list of so many items.
    pub fn count(&mut self, member: &str, count: Option<usize>, least: usize, most: usize) -> &mut Checks {
        if let Some(count) = count {
            if count < least {
                self.note("[]", member, format_args!("Member must have length greater than or equal to {least}"));
            }
            if count > most {
                self.note("[...]", member, format_args!("Member must have length less than or equal to {most}"));
            }
        }
        self
    }

    fn note(&mut self, value: impl Display, member: &str, rule: std::fmt::Arguments<'_>) {
        self.found.push(format!("Value '{value}' at '{member}' failed to satisfy constraint: {rule}"));
    }

    /// All is well, or what is not.
    ///
    /// # Errors
    /// At least one check failed.
    pub fn done(&self) -> Result<(), Error> {
        let count = self.found.len();
        if count == 0 {
            return Ok(());
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let told = self.found[..count.min(TOLD_MAX)].join("; ");
        Err(Error::new(ErrorKind::Validation, format!("{count} validation {errors} detected: {told}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told_at_once() {
        let mut checks = Checks::new();
        checks.stream_name(Some("a b")).range("limit", Some(0), 1, 10_000).required::<u8>("shardId", None);
        let error = checks.done().expect_err("three are wrong");
        assert_eq!(error.kind, ErrorKind::Validation);
        assert_eq!(
            error.message,
            "3 validation errors detected: \
             Value 'a b' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; \
             Value '0' at 'limit' failed to satisfy constraint: \
             Member must have value greater than or equal to 1; \
             Value null at 'shardId' failed to satisfy constraint: Member must not be null"
        );
        assert_eq!(Checks::new().stream_name(Some("a.b-c_D9")).done(), Ok(()));
    }
}
