//! What the generator is told: by flag, else by environment, else by TOML file, else the default.
//!
//! Every setting is a flag. A file's entries are turned into flags for whatever was not given otherwise, so that one
//! parser reads and checks them all.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use frame::{Quotas, QuotasChange};

use crate::goal::Goal;
use crate::input::{Format, TimeFormat};
use crate::native::Io;
use crate::schedule::Arrivals;
use crate::units::{parse_bytes, parse_count, parse_duration};
use crate::workload::{Keys, Sizes};

/// Drives a Millstream server with records, reads every one of them back, and reports what it measured.
///
/// Without --target it starts a server of its own on a temporary directory. It exits with 0 when all is good, 1 when it
/// could not run, 2 when the run is void or data is wrong, 3 when a goal was missed, 4 when the generator was late.
#[derive(Clone, Debug, Parser)]
#[command(name = "millstream-load", version, max_term_width = 100)]
pub struct Options {
    /// A TOML file with these settings, by their long names; flags and environment go before it
    #[arg(long, env = "MILLSTREAM_LOAD_CONFIG", value_name = "FILE", help_heading = "Where")]
    pub config: Option<PathBuf>,
    /// The server's native address; without it a server is started
    #[arg(long, env = "MILLSTREAM_LOAD_TARGET", value_name = "ADDR", help_heading = "Where")]
    pub target: Option<SocketAddr>,
    /// Where the started server keeps its data, in a directory of its own that is removed afterwards; with --target, a
    /// directory on the disk that the server writes to [default: the build's target directory]
    #[arg(long, env = "MILLSTREAM_LOAD_DIR", value_name = "DIR", help_heading = "Where")]
    pub dir: Option<PathBuf>,
    /// The core of the started server [default: the first that is not the generator's]
    #[arg(long, env = "MILLSTREAM_LOAD_SERVER_CORE", value_name = "N", help_heading = "Where")]
    pub server_core: Option<usize>,
    /// One more argument for the started server, such as --server-arg=--segment-bytes=64MiB; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = "Where")]
    pub server_arg: Vec<String>,
    /// Let the started server use a file system that does not survive a power cut; the result is marked
    #[arg(long, env = "MILLSTREAM_LOAD_NOT_DURABLE", help_heading = "Where")]
    pub not_durable: bool,
    /// The generator's cores, a thread on each [default: the last one available]
    #[arg(long, env = "MILLSTREAM_LOAD_CORES", value_name = "N,..", value_delimiter = ',', help_heading = "Where")]
    pub cores: Vec<usize>,
    /// What connections run on: auto or ring
    #[arg(long, env = "MILLSTREAM_LOAD_IO", default_value = "auto", help_heading = "Where")]
    pub io: Io,

    /// Streams to write
    #[arg(long, env = "MILLSTREAM_LOAD_STREAMS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N", help_heading = "Load")]
    pub streams: u32,
    /// Shards of each stream
    #[arg(long, env = "MILLSTREAM_LOAD_SHARDS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N", help_heading = "Load")]
    pub shards: u32,
    /// The name of the one stream written, or what the names of several begin with [default: of this run alone]
    #[arg(long, env = "MILLSTREAM_LOAD_STREAM", value_name = "NAME", help_heading = "Load")]
    pub stream: Option<String>,
    /// Connections
    #[arg(long, env = "MILLSTREAM_LOAD_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N", help_heading = "Load")]
    pub connections: u32,
    /// Records a batch
    #[arg(long, env = "MILLSTREAM_LOAD_BATCH_RECORDS", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Load")]
    pub batch_records: u32,
    /// Batches in flight on each connection, in a closed loop
    #[arg(long, env = "MILLSTREAM_LOAD_INFLIGHT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Load")]
    pub inflight: u32,
    /// Size of a record's data, up to 10 MiB with the key: 1KiB, uniform:100..4KiB or lognormal:1KiB,0.8
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_RECORD_BYTES",
        default_value = "1KiB",
        value_name = "SIZES",
        help_heading = "Load"
    )]
    pub record_bytes: Sizes,
    /// Partition keys: distinct, uniform:1000, zipf:1000,1.1 or hot:0.5
    #[arg(long, env = "MILLSTREAM_LOAD_KEYS", default_value = "distinct", help_heading = "Load")]
    pub keys: Keys,
    /// Records a second of an open loop; without it the loop is closed
    #[arg(long, env = "MILLSTREAM_LOAD_RATE", value_parser = parse_rate, value_name = "N", help_heading = "Load")]
    pub rate: Option<f64>,
    /// How the batches of an open loop are spread: constant or poisson
    #[arg(long, env = "MILLSTREAM_LOAD_ARRIVALS", default_value = "constant", help_heading = "Load")]
    pub arrivals: Arrivals,
    /// Subscribers, each of whom has all shards pushed to it, over a connection of its own
    #[arg(long, env = "MILLSTREAM_LOAD_SUBSCRIBERS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N", help_heading = "Load")]
    pub subscribers: u32,
    /// Subscribers beside them that never take anything
    #[arg(long, env = "MILLSTREAM_LOAD_STALLED", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N", help_heading = "Load")]
    pub stalled: u32,
    /// How long after the start subscribers begin, with the first record
    #[arg(long, env = "MILLSTREAM_LOAD_SUBSCRIBE_AFTER", value_parser = parse_duration, default_value = "0s", value_name = "TIME", help_heading = "Load")]
    pub subscribe_after: Duration,
    /// What each shard takes in and gives out a second: none, service, or such as none,push-bytes=2MiB [default: none, or
    /// as they are of a stream that exists]
    #[arg(long, env = "MILLSTREAM_LOAD_QUOTAS", value_name = "QUOTAS", help_heading = "Load")]
    pub quotas: Option<QuotasChange>,
    /// How everything is read back: by requests (read) or as one subscriber (push)
    #[arg(long, env = "MILLSTREAM_LOAD_READ_BACK", default_value = "read", value_name = "HOW", help_heading = "Load")]
    pub read_back: ReadBackBy,
    /// The seed of everything random
    #[arg(long, env = "MILLSTREAM_LOAD_SEED", default_value_t = 1, value_name = "N", help_heading = "Load")]
    pub seed: u64,

    /// Your own data: a file, or - for standard input; each row becomes a record
    #[arg(long, env = "MILLSTREAM_LOAD_INPUT", value_name = "FILE|-", help_heading = "Your own data")]
    pub input: Option<String>,
    /// Its format, csv, jsonl or json [default: guessed]
    #[arg(long, env = "MILLSTREAM_LOAD_FORMAT", requires = "input", help_heading = "Your own data")]
    pub format: Option<Format>,
    /// The column that is the partition key [default: keys as --keys says]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_KEY",
        requires = "input",
        value_name = "COLUMN",
        help_heading = "Your own data"
    )]
    pub key: Option<String>,
    /// The column that says when a row happened: rows are replayed in their own rhythm
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_TIME",
        requires = "input",
        value_name = "COLUMN",
        help_heading = "Your own data"
    )]
    pub time: Option<String>,
    /// iso8601, unix-s, unix-ms or a strptime pattern such as '%Y/%m/%d %H:%M' [default: guessed]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_TIME_FORMAT",
        requires = "time",
        value_name = "FORMAT",
        help_heading = "Your own data"
    )]
    pub time_format: Option<TimeFormat>,
    /// The column that becomes the record's data [default: the row as it stands]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_DATA",
        requires = "input",
        value_name = "COLUMN",
        help_heading = "Your own data"
    )]
    pub data: Option<String>,
    /// How many times faster than their own rhythm rows are replayed, or max [default: 1 with --time]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_SPEED",
        requires = "input",
        value_name = "N|max",
        help_heading = "Your own data"
    )]
    pub speed: Option<Speed>,
    /// Begin again after the last row, until the time or the bytes are over
    #[arg(long = "loop", env = "MILLSTREAM_LOAD_LOOP", requires = "input", help_heading = "Your own data")]
    pub repeat_input: bool,

    /// Stop after this time [default: 15s, unless --bytes or --input is given]
    #[arg(long, env = "MILLSTREAM_LOAD_DURATION", value_parser = parse_duration, value_name = "TIME", help_heading = "How long")]
    pub duration: Option<Duration>,
    /// Stop after so many bytes of data and keys [default: 4GiB]
    #[arg(long, env = "MILLSTREAM_LOAD_BYTES", value_parser = parse_bytes, help_heading = "How long")]
    pub bytes: Option<u64>,
    /// Drop what happens before this time [default: 1s, or 0s with --input]
    #[arg(long, env = "MILLSTREAM_LOAD_WARMUP", value_parser = parse_duration, value_name = "TIME", help_heading = "How long")]
    pub warmup: Option<Duration>,
    /// Run so many times, each from the start
    #[arg(long, env = "MILLSTREAM_LOAD_REPEAT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N", help_heading = "How long")]
    pub repeat: u32,

    /// A goal, such as 'p99<5ms' or 'throughput>100MB/s'; may be repeated
    #[arg(long, env = "MILLSTREAM_LOAD_EXPECT", value_name = "GOAL", value_delimiter = ';', help_heading = "Result")]
    pub expect: Vec<Goal>,
    /// Keep the result in results/, to be committed, rather than in results/local/
    #[arg(long, env = "MILLSTREAM_LOAD_KEEP", help_heading = "Result")]
    pub keep: bool,
    /// Where results are kept [default: results/ of the source tree, or of the current directory]
    #[arg(long, env = "MILLSTREAM_LOAD_RESULTS", value_name = "DIR", help_heading = "Result")]
    pub results: Option<PathBuf>,
    /// What the result's folder is called at its end [default: made from the load]
    #[arg(long, env = "MILLSTREAM_LOAD_NAME", value_name = "TEXT", help_heading = "Result")]
    pub name: Option<String>,
    /// Print the result as JSON instead of a table
    #[arg(long, env = "MILLSTREAM_LOAD_JSON", help_heading = "Result")]
    pub json: bool,
}

/// How everything is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBackBy {
    /// By requests.
    Read,
    /// As one subscriber.
    Push,
}

impl FromStr for ReadBackBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "push" => Ok(Self::Push),
            _ => Err(format!("{text:?} is not a way to read; give read or push")),
        }
    }
}

/// How fast rows are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as they may.
    Max,
    /// So many times faster than their own rhythm.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("{text:?} is not a speed; give a number above 0, or max");
        if text == "max" {
            return Ok(Self::Max);
        }
        let times: f64 = text.replace('_', "").parse().map_err(|_| help())?;
        if times > 0.0 && times.is_finite() { Ok(Self::Times(times)) } else { Err(help()) }
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = parse_count(text).map_err(|error| error.to_string())?;
    if rate > 0.0 { Ok(rate) } else { Err("a rate is above 0".to_owned()) }
}

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

impl Options {
    /// What each shard takes in and gives out a second, if that is said.
    pub fn quotas(&self) -> Option<Quotas> {
        self.quotas.as_ref().map(|change| change.of(Quotas::NONE))
    }

    /// Reads flags, environment and file.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, OptionsError> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let given = Self::command().try_get_matches_from(&arguments).map_err(OptionsError::Arguments)?;
        if let Some(path) = given.get_one::<PathBuf>("config") {
            arguments.extend(flags_of_file(path, &given)?);
        }
        let matches = Self::command().try_get_matches_from(&arguments).map_err(OptionsError::Arguments)?;
        let options = Self::from_arg_matches(&matches).map_err(OptionsError::Arguments)?;
        options.check()
    }

    fn check(self) -> Result<Self, OptionsError> {
        let speed = matches!(self.speed, Some(Speed::Times(_)));
        if speed && self.time.is_none() {
            return Err(OptionsError::Contradiction(
                "--speed N replays rows by their times: name their column with --time, or give --speed max",
            ));
        }
        if self.rate.is_some() && (speed || (self.time.is_some() && self.speed.is_none())) {
            return Err(OptionsError::Contradiction(
                "--rate and a replay by --time are two rhythms: give --speed max beside --rate, or leave --rate out",
            ));
        }
        if self.target.is_some() && (self.server_core.is_some() || !self.server_arg.is_empty() || self.not_durable) {
            return Err(OptionsError::Contradiction(
                "--server-core, --server-arg and --not-durable are for a server started here: leave them or --target out",
            ));
        }
        Ok(self)
    }
}

/// A file's entries as flags, those left out that were given otherwise.
fn flags_of_file(path: &Path, given: &ArgMatches) -> Result<Vec<OsString>, OptionsError> {
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(arguments: &[&str]) -> Result<Options, OptionsError> {
        Options::read(["millstream-load"].iter().chain(arguments).map(OsString::from))
    }

    #[test]
    fn defaults_are_the_canonical_scenario() {
        let options = read(&[]).unwrap();
        assert_eq!((options.streams, options.rate, options.duration, options.bytes), (1, None, None, None));
        assert_eq!(options.record_bytes, Sizes::Fixed(1024));
    }

    #[test]
    fn a_file_stands_behind_flags() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "shards = 3\nrecord-bytes = \"2KiB\"\nkeep = true\njson = false\nexpect = [\"p99<5ms\", \"max<1s\"]\nrate = 1500.5\ncores = [0, 1]\n";
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let options = read(&["--config", path, "--shards", "5"]).unwrap();
        assert_eq!((options.shards, options.record_bytes), (5, Sizes::Fixed(2048)));
        assert_eq!((options.keep, options.json, options.expect.len()), (true, false, 2));
        assert_eq!((options.rate, options.cores), (Some(1500.5), vec![0, 1]));
    }

    #[test]
    fn a_file_is_checked_like_flags() {
        for (text, part) in [
            ("shard = 3", "sets \"shard\", which there is not; there are: target, dir"),
            ("shards = 0", "0 is not in 1..=10000"),
            ("keep = true\nshards = ", "line 2, is malformed: "),
            ("record-bytes = \"much\"", "is not a number of bytes"),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let error = read(&["--config", file.path().to_str().unwrap()]).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!text.contains('\n') || !error.contains('\n'), "not one line: {error}");
        }
        assert!(read(&["--config", "/nowhere.toml"]).unwrap_err().to_string().contains("can't be read"));
    }

    #[test]
    fn contradictions_are_refused() {
        for arguments in [
            &["--input", "x.csv", "--speed", "5"][..],
            &["--input", "x.csv", "--time", "t", "--rate", "5"],
            &["--target", "127.0.0.1:1", "--not-durable"],
            &["--key", "k"],
            &["--io", "epoll"],
            &["--rate", "0"],
            &["--speed", "-1", "--input", "x"],
        ] {
            assert!(read(arguments).is_err(), "{arguments:?}");
        }
        assert!(read(&["--input", "x", "--time", "t", "--speed", "max", "--rate", "5"]).is_ok());
    }
}
