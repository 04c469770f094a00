//! `millstream streams`: which streams there are, and making one.

use std::fmt;
use std::io;

use clap::{Args, Subcommand};
use frame::proto::StreamDescription;
use frame::{Quotas, QuotasChange};

use crate::client::{Client, ClientError};
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
    },
    /// Give a stream other quotas.
    Quotas {
        /// Its name
        name: String,
        /// `service`, `none`, or what changes, such as `write-bytes=4MiB,write-records=none`
        quotas: QuotasChange,
    },
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

/// Lists the streams, or makes one.
///
/// # Errors
/// The server's refusal, or the connection's end.
pub fn run(arguments: StreamsArguments) -> Result<(), StreamsError> {
    let mut client = arguments.server.connect().map_err(StreamsError::Client)?;
    let mut output = Output::new();
    match arguments.action {
        None | Some(Action::List) => list(&mut client, &mut output)?,
        Some(Action::Create { name, shards, quotas }) => {
            let quotas = quotas.of(Quotas::SERVICE);
            let stream = client.create_stream(&name, shards, quotas).map_err(StreamsError::Client)?;
            print(&stream, &mut output)?;
        }
        Some(Action::Quotas { name, quotas }) => {
            let stream = client.describe_stream(&name).map_err(StreamsError::Client)?;
            let stream = client.set_quotas(&name, quotas.of(stream.quotas)).map_err(StreamsError::Client)?;
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

/// A line for the stream and one for each shard: what may be read, and the number that comes next.
fn print(stream: &StreamDescription, output: &mut Output) -> Result<(), StreamsError> {
    let StreamDescription { stream: number, name, created_ms, quotas, shards } = stream;
    let write = |out: &mut dyn io::Write| {
        let count = shards.len();
        let noun = if count == 1 { "shard" } else { "shards" };
        let created = UtcTime(*created_ms);
        writeln!(out, "{name}: stream {number}, {count} {noun}, created {created}, quotas {quotas}")?;
        for shard in shards {
            let (id, trim, tip) = (shard.shard, shard.trim, shard.tip);
            let held = if tip > trim { format!("{trim} to {}", tip.0 - 1) } else { "none".to_owned() };
            writeln!(out, "  shard {id}: records {held}, next {tip}")?;
        }
        Ok(())
    };
    output.write(write).map_err(StreamsError::Output)
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
