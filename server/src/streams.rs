//! `millstream streams`: which streams there are, making and deleting them, and splitting, merging and moving their shards.

use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::str::FromStr;

use clap::{Args, Subcommand};
use frame::proto::{Children, ErrorCode, Failure, ShardDescription, StreamDescription};
use frame::{Period, Quotas, QuotasChange, Retention, Settings, ShardId};

use crate::client::{Client, ClientError};
use crate::config::Bytes;
use crate::connect::{Output, ServerArguments};

/// Arguments of `millstream streams`.
#[derive(Args, Debug)]
pub struct StreamsArguments {
    #[command(flatten)]
    server: ServerArguments,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List all streams with their shards (this is what happens without a word, too).
    List,
    /// Make a stream; one that exists with as many shards is left as it is.
    Create {
        /// 1 to 128 letters, digits, `_`, `.` or `-`
        name: String,
        /// How many shards share the hash keys evenly
        #[arg(long, value_name = "N", default_value_t = 1)]
        shards: u32,
        /// What each shard takes in and gives out a second: as the service does, `none`, or such as
        /// `service,write-bytes=4MiB,write-records=none,read-bytes=8MiB,reads=none,push-bytes=8MiB`
        #[arg(long, value_name = "QUOTAS", default_value = "service")]
        quotas: QuotasChange,
        /// How long its records are kept, such as `24h` or `90s`, or `none`: without end
        #[arg(long, value_name = "TIME", default_value = "none")]
        retention: Period,
        /// How many bytes of it are kept, the newest, such as `10GiB`, or `none`: any number
        #[arg(long, value_name = "BYTES", default_value = "none")]
        bytes: Limit,
    },
    /// Tell all of a stream: its shards with their hash keys, and what they were made of.
    Describe {
        /// Its name
        name: String,
    },
    /// Split a shard in two.
    Split {
        /// The stream's name
        name: String,
        /// Which shard, as `millstream streams` numbers them
        shard: u32,
        /// The first hash key of the second one, up to 2^128 - 1 [default: the middle]
        #[arg(long, value_name = "HASHKEY")]
        at: Option<u128>,
    },
    /// Merge two shards whose hash keys meet.
    Merge {
        /// The stream's name
        name: String,
        /// One shard, as `millstream streams` numbers them
        shard: u32,
        /// The other
        adjacent: u32,
    },
    /// Move a shard to another reactor, as it takes more than its own has time for.
    Move {
        /// The stream's name
        name: String,
        /// Which shard, as `millstream streams` numbers them
        shard: u32,
        /// The reactor's number, from 0
        reactor: u32,
    },
    /// Delete a stream, with all that is in it, at once and for good.
    Delete {
        /// Its name
        name: String,
    },
    /// Give a stream other quotas.
    Quotas {
        /// Its name
        name: String,
        /// `service`, `none`, or what changes, such as `write-bytes=4MiB,write-records=none`
        quotas: QuotasChange,
    },
    /// Keep more or less of a stream: what has expired stays gone.
    Retention {
        /// Its name
        name: String,
        /// How long its records are kept, such as `24h` or `90s`, or `none`: without end
        #[arg(value_name = "TIME")]
        period: Period,
        /// How many bytes of it are kept, the newest, such as `10GiB`, or `none`: any number [default: as it is]
        #[arg(long, value_name = "BYTES")]
        bytes: Option<Limit>,
    },
}

/// A number of bytes, or `none`.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<NonZeroU64>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        match text {
            "none" => Ok(Limit(None)),
            _ => {
                let Bytes(bytes) = text.parse()?;
                let limit = NonZeroU64::new(bytes);
                limit.map(|limit| Limit(Some(limit))).ok_or_else(|| {
                    "of 0 bytes nothing would be kept; give how much is to be kept, or `none` for no limit".to_owned()
                })
            }
        }
    }
}

/// Why the command failed.
#[derive(Debug)]
pub enum StreamsError {
    /// Between here and the server.
    Client(ClientError),
    /// Standard output takes no more.
    Output(io::Error),
}

impl fmt::Display for StreamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamsError::Client(error) => error.fmt(f),
            StreamsError::Output(error) => {
                write!(f, "standard output can't be written to: {error}; send it to another place")
            }
        }
    }
}

impl std::error::Error for StreamsError {}

/// Lists the streams, or makes or changes one.
///
/// # Errors
/// The server's refusal, or the connection's end.
pub fn run(arguments: StreamsArguments) -> Result<(), StreamsError> {
    let mut client = arguments.server.connect().map_err(StreamsError::Client)?;
    let mut output = Output::new();
    match arguments.action {
        None | Some(Action::List) => list(&mut client, &mut output)?,
        Some(Action::Create { name, shards, quotas, retention, bytes }) => {
            let retention = Retention { seconds: retention.0, bytes: bytes.0 };
            let settings = Settings { quotas: quotas.of(Quotas::SERVICE), retention };
            let stream = client.create_stream(&name, shards, settings).map_err(StreamsError::Client)?;
            print(&stream, &mut output)?;
        }
        Some(Action::Quotas { name, quotas }) => {
            let stream = client.describe_stream(&name).map_err(StreamsError::Client)?;
            let stream = client.set_quotas(&name, quotas.of(stream.quotas)).map_err(StreamsError::Client)?;
            print(&stream, &mut output)?;
        }
        Some(Action::Describe { name }) => {
            let stream = client.describe_stream(&name).map_err(StreamsError::Client)?;
            print_lineage(&stream, &mut output)?;
        }
        Some(Action::Split { name, shard, at }) => {
            let shard = ShardId(shard);
            let at = match at {
                Some(at) => at,
                None => middle(&client.describe_stream(&name).map_err(StreamsError::Client)?, shard)?,
            };
            let stream = client.split_shard(&name, shard, at).map_err(StreamsError::Client)?;
            print_lineage(&stream, &mut output)?;
        }
        Some(Action::Merge { name, shard, adjacent }) => {
            let merged = client.merge_shards(&name, ShardId(shard), ShardId(adjacent));
            print_lineage(&merged.map_err(StreamsError::Client)?, &mut output)?;
        }
        Some(Action::Move { name, shard, reactor }) => {
            let moved = client.move_shard(&name, ShardId(shard), reactor);
            print_lineage(&moved.map_err(StreamsError::Client)?, &mut output)?;
        }
        Some(Action::Delete { name }) => {
            client.delete_stream(&name).map_err(StreamsError::Client)?;
            output.write(|out| writeln!(out, "{name}: deleted")).map_err(StreamsError::Output)?;
        }
        Some(Action::Retention { name, period, bytes }) => {
            let stream = client.describe_stream(&name).map_err(StreamsError::Client)?;
            let bytes = bytes.map_or(stream.retention.bytes, |limit| limit.0);
            let retention = Retention { seconds: period.0, bytes };
            let stream = client.set_retention(&name, retention).map_err(StreamsError::Client)?;
            print(&stream, &mut output)?;
        }
    }
    output.flush().map_err(StreamsError::Output)
}

fn list(client: &mut Client, output: &mut Output) -> Result<(), StreamsError> {
    for name in client.list_streams().map_err(StreamsError::Client)? {
        let stream = client.describe_stream(&name).map_err(StreamsError::Client)?;
        print(&stream, output)?;
        if output.is_closed() {
            break;
        }
    }
    Ok(())
}

/// The hash key in the middle of a shard. One that is not there, or has no middle, is the server's to refuse.
fn middle(stream: &StreamDescription, shard: ShardId) -> Result<u128, StreamsError> {
    let Some(found) = stream.shards.iter().find(|found| found.shard == shard) else {
        let detail = format!("stream {} has no shard {shard}; describe it to see its shards", stream.name);
        return Err(StreamsError::Client(ClientError::Refused(Failure::new(ErrorCode::UnknownShard, detail))));
    };
    Ok(found.hash_start + (found.hash_end - found.hash_start).div_ceil(2))
}

/// A line for the stream and one for each shard: what may be read, and the number that comes next.
fn print(stream: &StreamDescription, output: &mut Output) -> Result<(), StreamsError> {
    let write = |out: &mut dyn io::Write| {
        write_header(out, stream)?;
        stream.shards.iter().try_for_each(|shard| write_shard(out, shard))
    };
    output.write(write).map_err(StreamsError::Output)
}

/// The same, with the hash keys of each shard and what it was made of.
fn print_lineage(stream: &StreamDescription, output: &mut Output) -> Result<(), StreamsError> {
    let write = |out: &mut dyn io::Write| {
        write_header(out, stream)?;
        for shard in &stream.shards {
            write_shard(out, shard)?;
            let made = match (shard.parent, shard.adjacent_parent) {
                (Some(parent), Some(adjacent)) => format!("merged from shards {parent} and {adjacent}"),
                (Some(parent), None) => format!("split off shard {parent}"),
                (None, _) => "made".to_owned(),
            };
            let (start, end, created) = (shard.hash_start, shard.hash_end, UtcTime(shard.created_ms));
            writeln!(out, "    at reactor {}, hash keys {start} to {end}, {made} {created}", shard.reactor)?;
        }
        Ok(())
    };
    output.write(write).map_err(StreamsError::Output)
}

fn write_header(out: &mut dyn io::Write, stream: &StreamDescription) -> io::Result<()> {
    let StreamDescription { stream: number, name, created_ms, quotas, retention, shards } = stream;
    let closed = shards.iter().filter(|shard| shard.children.is_some()).count();
    let open = shards.len() - closed;
    let noun = if open == 1 { "shard" } else { "shards" };
    let closed = if closed > 0 { format!(" open, {closed} closed") } else { String::new() };
    let created = UtcTime(*created_ms);
    let kept = if *retention == Retention::NONE { "for ever".to_owned() } else { retention.to_string() };
    writeln!(out, "{name}: stream {number}, {open} {noun}{closed}, created {created}, quotas {quotas}, kept {kept}")
}

fn write_shard(out: &mut dyn io::Write, shard: &ShardDescription) -> io::Result<()> {
    let ShardDescription { shard: id, trim, tip, children, .. } = shard;
    let held = if tip > trim { format!("{trim} to {}", tip.0 - 1) } else { "none".to_owned() };
    match children {
        None => writeln!(out, "  shard {id}: records {held}, next {tip}"),
        Some(children @ Children { .. }) => {
            let names: Vec<String> = children.shards().map(|child| child.to_string()).collect();
            writeln!(out, "  shard {id}: records {held}, closed, goes on in {}", names.join(" and "))
        }
    }
}

/// Milliseconds since 1970, as people write them.
pub(crate) struct UtcTime(pub(crate) u64);

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Past the year 9999 there is no such notation.
        let time = jiff::Timestamp::from_millisecond(self.0.cast_signed()).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        // Checked with `date -u -d @SECONDS`.
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_796_083_200_001, "2026-12-01T00:00:00.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(UtcTime(ms).to_string(), text);
        }
    }
}
