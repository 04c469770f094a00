//! Why settings make no run.

use std::fmt;
use std::path::PathBuf;

/// Why settings make no run.
#[derive(Debug)]
pub enum OptionsError {
    /// A flag or variable, or what the file says; the text is for people. It may be the help that was asked for.
    Arguments(clap::Error),
    /// The file can't be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file isn't TOML.
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line that is wrong, counted from 1.
        line: usize,
        /// What is wrong with it.
        error: Box<toml::de::Error>,
    },
    /// The file names a setting there is not.
    Unknown(PathBuf, String, Vec<String>),
    /// Two settings contradict each other.
    Contradiction(&'static str),
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => error.fmt(f),
            Self::Unreadable(path, error) => {
                write!(
                    f,
                    "the configuration file {} can't be read: {error}; check its name and its permissions",
                    path.display()
                )
            }
            // The error's own text draws the line, over several.
            Self::Malformed { path, line, error } => write!(
                f,
                "the configuration file {}, line {line}, is malformed: {}; mend or remove that",
                path.display(),
                error.message().replace('\n', ", ")
            ),
            Self::Unknown(path, name, known) => {
                write!(f, "{} sets {name:?}, which there is not; there are: {}", path.display(), known.join(", "))
            }
            Self::Contradiction(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OptionsError {}
