//! Every subcommand run tiny through the real binary: the figures must add up, and what cannot be measured is refused.

mod chain;
mod fanout;
mod http;
mod mixed;
mod program;
mod read;
mod refusals;
mod write;
