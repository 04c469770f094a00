//! Limit (c): one run of `limit fanout`.

use std::collections::BTreeMap;

use crate::bench::Bench;
use crate::error::PairsError;
use crate::side::{MB_PER_S, Side, number};

/// Bytes of one send.
const SIZE: &str = "256k";

/// The same bytes to so many sockets, whose receivers verify them as our subscribers do.
pub(crate) fn run(bench: &Bench, sockets: u32) -> Result<Side, PairsError> {
    let arguments = [
        "fanout".to_owned(),
        format!("--sockets={sockets}"),
        format!("--size={SIZE}"),
        format!("--seconds={}", bench.seconds()),
        format!("--core={}", bench.cores().server),
        format!("--client-core={}", bench.cores().load),
        "--verify".to_owned(),
    ];
    let (command, detail) = bench.limit(&arguments)?;
    let missing = || PairsError::Result { command: command.clone(), missing: "mb_per_s".to_owned() };
    let found = number(&detail, "/mb_per_s").ok_or_else(missing)?;
    let figures = BTreeMap::from([(MB_PER_S, found)]);
    Ok(Side { command, figures, marks: Vec::new(), detail })
}
