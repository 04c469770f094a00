//! What the server is told: by flag, else by environment, else by TOML file, else the default.

mod access;
mod doors;
mod error;
mod limits;
mod rates;
mod tls;
mod value;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use frame::proto::Secret;
use frame::{Quotas, QuotasChange};
use io::IoChoice;
use serde::Deserialize;
use wire::name::{Place, is_account, is_region};

use self::access::access;
pub use self::error::ConfigError;
pub use self::limits::ApiLimits;
pub(crate) use self::limits::{A_DAY_MAX, GET_RECORDS_BYTES_MAX, GET_RECORDS_MAX, PUT_RECORDS_BYTES_MAX};
pub use self::rates::ApiRates;
pub use self::tls::{TlsConfig, TlsSettingsError};
pub use self::value::{Bytes, Door, Reactors};
use self::value::{from_number_or_text, from_text, one_or_more};
use crate::credentials::CredentialsFile;
use crate::door::gateway_threads;
use crate::keys::KeyDirectory;
use crate::secret;

/// The default port of the Kinesis API, the one that its emulators use.
const HTTP_PORT: u16 = 4567;

/// Cores that this process may run on, no more than its CPU quota (cgroup) pays for: a reactor that is put to sleep for
/// having used it up answers nobody.
pub(crate) fn usable_cores() -> usize {
    let quota = std::thread::available_parallelism().map_or(1, usize::from);
    io::available_cores().len().min(quota)
}

/// The region and account that are named, or the usual ones.
fn place(region: Option<String>, account: Option<String>) -> Result<Place, ConfigError> {
    let usual = Place::default();
    let place = Place { region: region.unwrap_or(usual.region), account: account.unwrap_or(usual.account) };
    let out_of_range = |name, value: &String, range| Err(ConfigError::OutOfRange { name, value: value.clone(), range });
    if !is_region(&place.region) {
        return out_of_range("region", &place.region, "1 to 32 small letters, digits and hyphens");
    }
    if !is_account(&place.account) {
        return out_of_range("account", &place.account, "12 digits");
    }
    Ok(place)
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One word a field, without colours.
    Plain,
}

/// Settings that may come from flag, environment and file alike.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// The data directory; made if it is missing. Given more than once the log lies in several, one a disk, and each reactor
    /// writes to one of them; their order doesn't matter, and more can be added later. In the environment they are separated
    /// by `:`
    #[arg(long, env = "MILLSTREAM_DATA", value_name = "DIR", value_delimiter = ':')]
    #[serde(deserialize_with = "one_or_more")]
    pub data: Vec<PathBuf>,
    /// Where native clients connect; port 0 takes any free one [default: 127.0.0.1:4570]
    #[arg(long, env = "MILLSTREAM_NATIVE", value_name = "ADDR")]
    pub native: Option<SocketAddr>,
    /// The file with a secret of 16 bytes or more, which native clients must know; only its owner may read it. Needed beyond
    /// loopback
    #[arg(long, env = "MILLSTREAM_NATIVE_SECRET_FILE", value_name = "FILE")]
    pub native_secret_file: Option<PathBuf>,
    /// Whether `--native` takes clear text, in which records travel between this machine and others. Without TLS that has to be
    /// said beyond loopback [default: on loopback only]
    #[arg(long, env = "MILLSTREAM_NATIVE_PLAINTEXT", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub native_plaintext: Option<bool>,
    /// Where the Kinesis API is served over HTTP; `off` for nowhere. Beyond loopback requests must be signed
    /// [default: 127.0.0.1:4567]
    #[arg(long, env = "MILLSTREAM_HTTP", value_name = "ADDR")]
    pub http: Option<Door>,
    /// A certificate as PEM, and behind it those that signed it: with it `--native` and `--http` speak TLS too. Read again when it
    /// changes
    #[arg(long, env = "MILLSTREAM_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key as PEM, not encrypted
    #[arg(long, env = "MILLSTREAM_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Make key and certificate, in the data directory, for this machine's names: clients that are given it trust it
    #[arg(long, env = "MILLSTREAM_TLS_SELF_SIGNED", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub tls_self_signed: Option<bool>,
    /// Whether `--http` takes clear text beside TLS [default: on loopback only]
    #[arg(long, env = "MILLSTREAM_HTTP_PLAINTEXT", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub http_plaintext: Option<bool>,
    /// The file of keys that requests of the Kinesis API must be signed with; only its owner may read it, and it is read again
    /// when it changes. Needed beyond loopback; without it any credentials are taken
    #[arg(long, env = "MILLSTREAM_CREDENTIALS_FILE", value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
    /// The directory of keys that streams can be encrypted with, each 32 bytes in a file of its name; of `NAME.1`, `NAME.2` the
    /// last encrypts. Read again when it changes
    #[arg(long, env = "MILLSTREAM_KEY_DIRECTORY", value_name = "DIR")]
    pub key_directory: Option<PathBuf>,
    /// Where metrics and health are served over HTTP; port 0 takes any free one; `off` for nowhere [default: 127.0.0.1:4569]
    #[arg(long, env = "MILLSTREAM_ADMIN", value_name = "ADDR")]
    pub admin: Option<Door>,
    /// The region that ARNs name [default: us-east-1]
    #[arg(long, env = "MILLSTREAM_REGION", value_name = "NAME")]
    pub region: Option<String>,
    /// The account that ARNs name, 12 digits [default: 000000000000]
    #[arg(long, env = "MILLSTREAM_ACCOUNT", value_name = "DIGITS")]
    pub account: Option<String>,
    /// What shards of streams made over the Kinesis API take in and give out a second: `service`, `none`, or such as
    /// `service,write-bytes=4MiB,reads=none` [default: service]
    #[arg(long, env = "MILLSTREAM_QUOTAS", value_name = "QUOTAS")]
    #[serde(deserialize_with = "from_text")]
    pub quotas: Option<QuotasChange>,
    /// How often actions of the Kinesis API may be asked for a second: `service`, `none`, or such as
    /// `service,CreateStream=50,ListShards=none` [default: service, or none where `quotas` are none]
    #[arg(long, env = "MILLSTREAM_API_RATES", value_name = "RATES")]
    #[serde(deserialize_with = "from_text")]
    pub api_rates: Option<ApiRates>,
    /// Counts and sizes of the Kinesis API: `service`, `none`, or such as `service,put-records=5000,tags=none`. What takes memory has
    /// a bound that stays: put-records [500, up to 10000], put-records-bytes [10MiB, up to 20MiB, as is a body], get-records [10000,
    /// up to 100000], get-records-bytes [10MiB, up to 32MiB], consumers of a stream [20, or 50 where the account has committed itself;
    /// up to 1000], tags [50, up to 200], shards and on-demand-streams of an account [as many as there is room for], shard-count-factor
    /// of UpdateShardCount [2], shard-counts-a-day [10], modes-a-day [2] [default: service]
    #[arg(long, env = "MILLSTREAM_API_LIMITS", value_name = "LIMITS")]
    #[serde(deserialize_with = "from_text")]
    pub api_limits: Option<ApiLimits>,
    /// Have readers of the Kinesis API go on behind damaged records, warned of and counted: else they are refused there. Readers of
    /// the native protocol are told which are lost, and decide for themselves
    #[arg(long, env = "MILLSTREAM_PAST_DAMAGE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub past_damage: Option<bool>,
    /// Threads that serve the Kinesis API, and with TLS as many that serve `--native`. With one, big requests cost least of a
    /// machine's time, and small ones wait for big ones [default: all cores but one, two at least]
    #[arg(long, env = "MILLSTREAM_GATEWAY_THREADS", value_name = "N")]
    pub gateway_threads: Option<usize>,
    /// How many reactors there are, each on a core of its own; `auto` takes all cores but one, within the
    /// process's CPU quota. Each takes its share of the
    /// memory budget, at least 128MiB, and the port after the one before [default: 1]
    #[arg(long, env = "MILLSTREAM_REACTORS", value_name = "N")]
    #[serde(deserialize_with = "from_number_or_text")]
    pub reactors: Option<Reactors>,
    /// The core that the first reactor is pinned to; the others follow [default: the first one available]
    #[arg(long, env = "MILLSTREAM_CORE", value_name = "N")]
    pub core: Option<usize>,
    /// Bytes of a segment file, for a new data directory, 4MiB to 1GiB [default: 256MiB]
    #[arg(long, env = "MILLSTREAM_SEGMENT_BYTES", value_name = "BYTES")]
    pub segment_bytes: Option<Bytes>,
    /// The memory budget, at least 128MiB [default: 512MiB]
    #[arg(long, env = "MILLSTREAM_MEMORY_BYTES", value_name = "BYTES")]
    pub memory_bytes: Option<Bytes>,
    /// The disk budget; past it appends are refused [default: none]
    #[arg(long, env = "MILLSTREAM_DISK_BYTES", value_name = "BYTES")]
    pub disk_bytes: Option<Bytes>,
    /// What files and connections are reached by: `ring` (io_uring), `threads`, or `auto`, the ring where it is permitted
    /// [default: auto]
    #[arg(long, env = "MILLSTREAM_IO", value_name = "KIND")]
    #[serde(deserialize_with = "from_text")]
    pub io: Option<IoChoice>,
    /// Believe the wall clock, however far it is from what it should be: else such a start removes nothing that has expired
    #[arg(long, env = "MILLSTREAM_ACCEPT_CLOCK", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub accept_clock: Option<bool>,
    /// Segments to keep ready ahead of the one that is written to [default: 2]
    #[arg(long, env = "MILLSTREAM_SEGMENTS_READY", value_name = "N")]
    pub segments_ready: Option<usize>,
    /// Fill the ready segments with zeros before accepting anybody: slower to start, faster to write
    #[arg(long, env = "MILLSTREAM_PREWRITE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub prewrite: Option<bool>,
    /// Writes in flight at once, 1 to 32 [default: 32]
    #[arg(long, env = "MILLSTREAM_WRITES_IN_FLIGHT", value_name = "N")]
    pub writes_in_flight: Option<usize>,
    /// A commit batch closes at this size, 4KiB to 1MiB [default: 1MiB]
    #[arg(long, env = "MILLSTREAM_BATCH_BYTES", value_name = "BYTES")]
    pub batch_bytes: Option<Bytes>,
    /// Accept a file system that does not keep what it acknowledges (tmpfs, network, FUSE); results are marked
    #[arg(long, env = "MILLSTREAM_NOT_DURABLE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub not_durable: Option<bool>,
    /// What to log, as `error`, `warn`, `info`, `debug`, `trace`, or per module [default: info]
    #[arg(long, env = "MILLSTREAM_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, env = "MILLSTREAM_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Arguments of `millstream serve`.
#[derive(Args, Debug)]
pub struct ServeArguments {
    /// A TOML file with these settings, by their long names; flags and environment go before it
    #[arg(long, env = "MILLSTREAM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Shut down cleanly when standard input ends: it goes when whoever holds the other end goes, however that ends
    #[arg(long)]
    until_stdin_ends: bool,
    #[command(flatten)]
    settings: Settings,
}

/// The server's settings, whole and checked.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where the data lies: in one directory or more.
    pub data: Vec<PathBuf>,
    /// Where native clients connect.
    pub native: SocketAddr,
    /// What they must know, if anything.
    pub secret: Option<Secret>,
    /// Where the Kinesis API is served, if it is.
    pub http: Option<SocketAddr>,
    /// TLS, if it is spoken.
    pub tls: Option<TlsConfig>,
    /// Who may call it; whoever can, without.
    pub credentials: Option<CredentialsFile>,
    /// Keys that streams can be encrypted with, if there are any.
    pub keys: Option<KeyDirectory>,
    /// Where metrics and health are served, if they are.
    pub admin: Option<SocketAddr>,
    /// What ARNs name.
    pub place: Place,
    /// What shards of streams that are made over it take in and give out a second.
    pub quotas: Quotas,
    /// How often its actions may be asked for.
    pub api_rates: ApiRates,
    /// How much there may be in its requests and answers, and beside its streams.
    pub api_limits: ApiLimits,
    /// Whether its readers go on behind damaged records.
    pub past_damage: bool,
    /// Threads that serve it, and with TLS as many for native clients.
    pub gateway_threads: usize,
    /// How many reactors there are.
    pub reactors: usize,
    /// The core of the first.
    pub core: Option<usize>,
    /// What they reach files and connections by.
    pub io: IoChoice,
    /// How the data directory is run.
    pub engine: engine::Config,
    /// Whether the length of segments was chosen.
    pub chooses_segment_bytes: bool,
    /// Whether a file system that keeps nothing is accepted.
    pub not_durable: bool,
    /// Whether the end of standard input asks for a clean shutdown.
    pub until_stdin_ends: bool,
    /// What to log.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl ServeArguments {
    /// Merges flags, environment, file and defaults.
    pub fn resolve(self) -> Result<ServeConfig, ConfigError> {
        let file = self.config.as_deref().map_or(Ok(Settings::default()), read_file)?;
        let config = self.settings.or(file).check()?;
        Ok(ServeConfig { until_stdin_ends: self.until_stdin_ends, ..config })
    }
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable(path.to_owned(), error))?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| 1 + before.matches('\n').count());
        ConfigError::Malformed { path: path.to_owned(), line, error: Box::new(error) }
    })
}

impl Settings {
    /// What is not set here is taken from `other`.
    fn or(self, other: Settings) -> Settings {
        Settings {
            data: if self.data.is_empty() { other.data } else { self.data },
            native: self.native.or(other.native),
            native_secret_file: self.native_secret_file.or(other.native_secret_file),
            native_plaintext: self.native_plaintext.or(other.native_plaintext),
            http: self.http.or(other.http),
            tls_certificate: self.tls_certificate.or(other.tls_certificate),
            tls_key: self.tls_key.or(other.tls_key),
            tls_self_signed: self.tls_self_signed.or(other.tls_self_signed),
            http_plaintext: self.http_plaintext.or(other.http_plaintext),
            credentials_file: self.credentials_file.or(other.credentials_file),
            key_directory: self.key_directory.or(other.key_directory),
            admin: self.admin.or(other.admin),
            region: self.region.or(other.region),
            account: self.account.or(other.account),
            quotas: self.quotas.or(other.quotas),
            api_rates: self.api_rates.or(other.api_rates),
            api_limits: self.api_limits.or(other.api_limits),
            past_damage: self.past_damage.or(other.past_damage),
            gateway_threads: self.gateway_threads.or(other.gateway_threads),
            reactors: self.reactors.or(other.reactors),
            core: self.core.or(other.core),
            io: self.io.or(other.io),
            segment_bytes: self.segment_bytes.or(other.segment_bytes),
            memory_bytes: self.memory_bytes.or(other.memory_bytes),
            disk_bytes: self.disk_bytes.or(other.disk_bytes),
            accept_clock: self.accept_clock.or(other.accept_clock),
            segments_ready: self.segments_ready.or(other.segments_ready),
            prewrite: self.prewrite.or(other.prewrite),
            writes_in_flight: self.writes_in_flight.or(other.writes_in_flight),
            batch_bytes: self.batch_bytes.or(other.batch_bytes),
            not_durable: self.not_durable.or(other.not_durable),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
        }
    }

    fn check(self) -> Result<ServeConfig, ConfigError> {
        let usual = engine::Config::default();
        let within = |name, bytes: Option<Bytes>, usual: u64, least: u64, most: u64, range| match bytes {
            None => Ok(usual),
            Some(bytes) if (least..=most).contains(&bytes.0) => Ok(bytes.0),
            Some(bytes) => Err(ConfigError::OutOfRange { name, value: bytes.to_string(), range }),
        };
        let count = |name, count: Option<usize>, usual: usize, least: usize, most: usize, range| match count {
            None => Ok(usual),
            Some(count) if (least..=most).contains(&count) => Ok(count),
            Some(count) => Err(ConfigError::OutOfRange { name, value: count.to_string(), range }),
        };
        let segment_bytes = u64::from(usual.segment_bytes);
        let memory_bytes = usual.memory_bytes as u64;
        let least_memory = engine::limits::MEMORY_BYTES_MIN as u64;
        let engine = engine::Config {
            segment_bytes: u32::try_from(within(
                "segment-bytes",
                self.segment_bytes,
                segment_bytes,
                4 << 20,
                1 << 30,
                "4MiB to 1GiB",
            )?)
            .map_or(usual.segment_bytes, |bytes| bytes / 4096 * 4096),
            memory_bytes: within(
                "memory-bytes",
                self.memory_bytes,
                memory_bytes,
                least_memory,
                1 << 40,
                "at least 128MiB",
            )? as usize,
            disk_bytes: self.disk_bytes.map_or(usual.disk_bytes, |bytes| bytes.0),
            files_max: usual.files_max,
            segments_ready: count("segments-ready", self.segments_ready, usual.segments_ready, 1, 1024, "1 to 1024")?,
            accept_clock: self.accept_clock.unwrap_or(usual.accept_clock),
            prewrite: self.prewrite.unwrap_or(usual.prewrite),
            writes_in_flight: count(
                "writes-in-flight",
                self.writes_in_flight,
                usual.writes_in_flight,
                1,
                32,
                "1 to 32",
            )?,
            batch_bytes: within(
                "batch-bytes",
                self.batch_bytes,
                usual.batch_bytes as u64,
                4096,
                1 << 20,
                "4KiB to 1MiB",
            )? as usize,
        };
        let native = self.native.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], frame::proto::PORT)));
        let secret = self.native_secret_file.as_deref().map(secret::read).transpose().map_err(ConfigError::Secret)?;
        if self.data.is_empty() {
            return Err(ConfigError::NoData);
        }
        let place = place(self.region.clone(), self.account.clone())?;
        let quotas = self.quotas.as_ref().map_or(Quotas::SERVICE, |change| change.of(Quotas::SERVICE));
        // Who wants no limits says so once.
        let usual_rates = || if quotas == Quotas::NONE { ApiRates::none() } else { ApiRates::service() };
        let api_rates = self.api_rates.clone().unwrap_or_else(usual_rates);
        let (http, credentials) = access(self.http, self.credentials_file.clone(), &place)?;
        let tls = TlsConfig::of(&self, http, native).map_err(ConfigError::Tls)?;
        let is_answered_for = tls.is_some() || self.native_plaintext == Some(true);
        if !native.ip().is_loopback() && (secret.is_none() || !is_answered_for) {
            return Err(ConfigError::Open(native));
        }
        let admin = self.admin.unwrap_or(Door::local(doors::ADMIN_PORT)).address();
        let reactors = self.reactors.unwrap_or(Reactors::Count(1)).count(usable_cores(), engine.memory_bytes)?;
        doors::apart(native, reactors, [("http", http), ("admin", admin)])?;
        Ok(ServeConfig {
            data: self.data,
            native,
            secret,
            http,
            tls,
            credentials,
            keys: self.key_directory.map(KeyDirectory::read).transpose().map_err(ConfigError::Keys)?,
            admin,
            place,
            quotas,
            api_rates,
            api_limits: self.api_limits.unwrap_or_else(ApiLimits::service),
            past_damage: self.past_damage.unwrap_or(false),
            gateway_threads: count("gateway-threads", self.gateway_threads, gateway_threads(), 1, 1024, "1 to 1024")?,
            reactors,
            core: self.core,
            io: self.io.unwrap_or_default(),
            engine,
            chooses_segment_bytes: self.segment_bytes.is_some(),
            not_durable: self.not_durable.unwrap_or(false),
            until_stdin_ends: false,
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 64 << 10), ("2 m", 2 << 20), ("3g", 3 << 30)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "x", "4.5g", "-1", "1zb", "99999999999t"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
        assert_eq!(Bytes(4097).to_string(), "4097");
    }

    #[test]
    fn flags_go_before_the_file() {
        let file: Settings = toml::from_str(
            "data = \"/a\"\nsegment-bytes = \"8MiB\"\ncore = 3\nio = \"threads\"\nreactors = 2\nquotas = \"none\"",
        )
        .unwrap();
        let flags = Settings { core: Some(1), ..Settings::default() };
        let config = flags.or(file).check().unwrap();
        assert_eq!((config.core, config.engine.segment_bytes), (Some(1), 8 << 20));
        assert_eq!((config.quotas, config.reactors), (Quotas::NONE, 2));
        assert_eq!(config.api_rates, ApiRates::none());
        assert_eq!(config.io, IoChoice::Only(io::IoKind::Threads));
    }

    #[test]
    fn reactors_leave_a_core_and_have_their_memory() {
        let count =
            |reactors: &str, cores, memory_bytes| reactors.parse::<Reactors>().unwrap().count(cores, memory_bytes);
        assert_eq!(count("auto", 1, 512 << 20).unwrap(), 1);
        assert_eq!(count("auto", 4, 512 << 20).unwrap(), 3);
        assert_eq!(count("auto", 64, 512 << 20).unwrap(), 4);
        assert_eq!(count("4", 2, 512 << 20).unwrap(), 4);
        for too_many in ["0", "5"] {
            let error = count(too_many, 64, 512 << 20).unwrap_err().to_string();
            assert!(error.contains("--reactors") && error.contains("128MiB each"), "{error}");
        }
        assert!("many".parse::<Reactors>().unwrap_err().contains("or auto"));
    }

    /// Bug: two reactors did not start without more, as the second's port was that of metrics.
    #[test]
    fn reactors_have_ports_where_no_other_door_is() {
        let settings = |admin| Settings {
            data: vec!["x".into()],
            reactors: Some(Reactors::Count(4)),
            admin,
            ..Settings::default()
        };
        assert_eq!(settings(None).check().unwrap().reactors, 4);
        let error = settings(Some(Door::local(frame::proto::PORT + 3))).check().unwrap_err().to_string();
        assert!(error.contains("--admin 127.0.0.1:4573 is the address of reactor 3"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        let outcome = Settings { data: vec!["x".into()], segment_bytes: Some(Bytes(1)), ..Settings::default() }.check();
        assert!(outcome.unwrap_err().to_string().contains("--segment-bytes 1 is out of range"));
        assert!(Settings::default().check().unwrap_err().to_string().contains("--data"));
        assert!(toml::from_str::<Settings>("sgement-bytes = 1").is_err());
        let error = toml::from_str::<Settings>("io = \"epoll\"").unwrap_err().to_string();
        assert!(error.contains("write auto, ring or threads"), "{error}");
    }
}
