//! A TOML file's settings, turned into flags.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};

use super::{Options, OptionsError};

/// A file's entries as flags, those left out that were given otherwise.
pub(super) fn flags_of_file(path: &Path, given: &ArgMatches) -> Result<Vec<OsString>, OptionsError> {
    let text = std::fs::read_to_string(path).map_err(|error| OptionsError::Unreadable(path.to_owned(), error))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        OptionsError::Malformed {
            path: path.to_owned(),
            line: 1 + before.matches('\n').count(),
            error: Box::new(error),
        }
    })?;
    let command = Options::command();
    let mut flags = Vec::new();
    for (name, value) in table {
        let settings = || command.get_arguments().filter(|argument| argument.get_id() != "config");
        let Some(argument) = settings().find(|argument| argument.get_long() == Some(name.as_str())) else {
            let known = settings().filter_map(|argument| argument.get_long().map(str::to_owned)).collect();
            return Err(OptionsError::Unknown(path.to_owned(), name, known));
        };
        let source = given.value_source(argument.get_id().as_str());
        if matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            continue;
        }
        let values = match value {
            toml::Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            match value {
                toml::Value::Boolean(true) => flags.push(format!("--{name}").into()),
                toml::Value::Boolean(false) => {}
                toml::Value::String(text) => flags.push(format!("--{name}={text}").into()),
                other => flags.push(format!("--{name}={other}").into()),
            }
        }
    }
    Ok(flags)
}
