//! The `millstream` binary as it is: started, asked, stopped, killed and fed what is wrong.

mod lifecycle;
mod rig;
mod tools;
