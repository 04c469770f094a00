//! The members of requests and answers, by the names that the service model gives them.
//!
//! Every member of a request may be missing; what must be there is for the action to check. Members that are not known are
//! passed over, as the service does. A member that is not given is never written as null.

use serde::de::{DeserializeOwned, IgnoredAny};

/// What a request names.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the members are the service model's")]
pub struct Names<'a> {
    pub stream_name: Option<&'a str>,
    pub consumer_name: Option<&'a str>,
    pub stream_arn: Option<&'a str>,
    pub consumer_arn: Option<&'a str>,
    pub resource_arn: Option<&'a str>,
    pub shard_iterator: Option<&'a str>,
    pub next_token: Option<&'a str>,
}

/// A request.
pub trait Request: DeserializeOwned {
    /// Those of its members that name something.
    fn names(&self) -> Names<'_>;
}

/// One in which there is nothing to be read.
impl Request for IgnoredAny {
    fn names(&self) -> Names<'_> {
        Names::default()
    }
}

/// A member among the names, if it is one.
macro_rules! name {
    ($request:ident, $names:ident, stream_name) => {
        $crate::shape::Names { stream_name: $request.stream_name.as_deref(), ..$names }
    };
    ($request:ident, $names:ident, consumer_name) => {
        $crate::shape::Names { consumer_name: $request.consumer_name.as_deref(), ..$names }
    };
    ($request:ident, $names:ident, stream_arn) => {
        $crate::shape::Names { stream_arn: $request.stream_arn.as_deref(), ..$names }
    };
    ($request:ident, $names:ident, consumer_arn) => {
        $crate::shape::Names { consumer_arn: $request.consumer_arn.as_deref(), ..$names }
    };
    ($request:ident, $names:ident, resource_arn) => {
        $crate::shape::Names { resource_arn: $request.resource_arn.as_deref(), ..$names }
    };
    ($request:ident, $names:ident, shard_iterator) => {
        $crate::shape::Names { shard_iterator: $request.shard_iterator.as_deref(), ..$names }
    };
    ($request:ident, $names:ident, next_token) => {
        $crate::shape::Names { next_token: $request.next_token.as_deref(), ..$names }
    };
    ($request:ident, $names:ident, $other:ident) => {
        $names
    };
}

/// A request: all members optional.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident { $($(#[$rename:meta])* $member:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        #[expect(missing_docs, reason = "the members are the service model's")]
        pub struct $name { $($(#[$rename])* pub $member: Option<$type>,)* }

        impl $crate::shape::Request for $name {
            fn names(&self) -> $crate::shape::Names<'_> {
                let names = $crate::shape::Names::default();
                $(let names = name!(self, names, $member);)*
                names
            }
        }
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
mod entries;
mod few;
mod policy;
mod record;
mod setting;
mod shard;
mod stream;
mod structure;
mod tag;

pub use self::account::*;
pub use self::consumer::*;
pub use self::entries::*;
pub use self::policy::*;
pub use self::record::*;
pub use self::setting::*;
pub use self::shard::*;
pub use self::stream::*;
pub use self::tag::*;
