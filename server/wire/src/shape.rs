//! The members of requests and answers, by the names that the service model gives them.
//!
//! Every member of a request may be missing; what must be there is for the action to check. Members that are not known are
//! passed over, as the service does. A member that is not given is never written as null.

/// A request: all members optional.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident { $($(#[$rename:meta])* $member:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        #[expect(missing_docs, reason = "the members are the service model's")]
        pub struct $name { $($(#[$rename])* pub $member: Option<$type>,)* }
    };
}

/// An answer, or a part of one.
macro_rules! answer {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $member:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        #[expect(missing_docs, reason = "the members are the service model's")]
        pub struct $name { $($(#[$attribute])* pub $member: $type,)* }
    };
}

mod account;
mod consumer;
mod policy;
mod record;
mod setting;
mod shard;
mod stream;
mod tag;

pub use self::account::*;
pub use self::consumer::*;
pub use self::policy::*;
pub use self::record::*;
pub use self::setting::*;
pub use self::shard::*;
pub use self::stream::*;
pub use self::tag::*;
