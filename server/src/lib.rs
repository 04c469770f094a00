//! What the `millstream` binary is made of: arguments, configuration, the server, and the tools around it.

pub mod client;
pub mod config;
pub mod serve;
