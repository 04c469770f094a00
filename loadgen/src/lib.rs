//! The load generator: drives a stream with records at a known schedule, verifies every one of them afterwards, and
//! reports what it measured in a way that can be trusted.
//!
//! It never links the engine or the server: what it knows of them is the bytes of the native protocol, and of the Kinesis API.

mod certificates;
pub mod goal;
pub mod http;
pub mod input;
pub mod machine;
pub mod metrics;
pub mod native;
pub mod options;
pub mod output;
pub mod recorder;
pub mod report;
pub mod results;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod server;
pub mod sweep;
pub mod units;
pub mod verify;
pub mod workload;
