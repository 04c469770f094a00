//! What the `millstream` binary is made of: arguments, configuration, the server, and the tools around it.

mod admin;
mod changes;
pub mod client;
pub mod config;
pub mod connect;
mod credentials;
pub mod doctor;
mod door;
mod gateway;
mod http_server;
pub mod inspect;
mod keys;
pub mod leases;
mod native_tls;
mod private;
pub mod put;
mod reactors;
mod room;
mod secret;
mod seldom;
pub mod serve;
pub mod streams;
pub mod tail;
mod tls;
