//! `limit fanout`.

use serde::Serialize;

use super::Record;
use crate::args::FanoutArgs;
use crate::error::LimitError;
use crate::fanout;
use crate::report::Output;
use crate::units::show_bytes;

#[derive(Serialize)]
struct FanoutParameters {
    sockets: u16,
    size_bytes: u64,
    verify: bool,
    seconds: f64,
    core: usize,
    client_core: usize,
}

/// `limit fanout`: limit (c).
pub(crate) fn fanout(args: &FanoutArgs, output: Output) -> Result<(), LimitError> {
    if args.size == 0 || args.size > 64 << 20 {
        return Err(LimitError::argument(format!("--size {} cannot be sent", args.size), "give 1 byte to 64m"));
    }
    let run = fanout::run(fanout::Fanout {
        sockets: usize::from(args.sockets),
        size_bytes: args.size,
        verify: args.verify,
        seconds: args.seconds,
        send_core: args.core,
        receive_core: args.client_core,
    })?;
    output.line(&format!(
        "{} to {} sockets: {:.1} MB/s in all, {:.0} sends/s; of {:.2} s the sender was busy {:.2}, the receiver {:.2}",
        show_bytes(args.size),
        args.sockets,
        run.mb_per_s,
        run.ops_per_s,
        run.seconds,
        run.send_cpu_s,
        run.receive_cpu_s,
    ));
    let parameters = FanoutParameters {
        sockets: args.sockets,
        size_bytes: args.size,
        verify: args.verify,
        seconds: args.seconds,
        core: args.core,
        client_core: args.client_core,
    };
    output.result(&Record::new("fanout", parameters, None, run));
    Ok(())
}
