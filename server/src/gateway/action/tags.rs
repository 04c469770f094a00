//! Tags as the actions on them check, add and tell them.

use wire::shape::Tag;
use wire::{Error, ErrorKind};

use crate::gateway::Shared;
use crate::gateway::extras::Tags;

/// Begins keys that are the service's own.
const RESERVED: &str = "aws:";

/// Adds tags to those of a stream or consumer, or changes some.
pub(super) fn add(shared: &Shared, resource: &str, tags: &mut Tags, more: Tags) -> Result<(), Error> {
    check_characters(more.iter().flat_map(|(key, value)| [key.as_str(), value]))?;
    let refused = |because: &str| {
        let account = &shared.place.account;
        let message = format!("Failed to add tags to {resource} under account {account} because {because}.");
        Error::new(ErrorKind::InvalidArgument, message)
    };
    if more.keys().any(|key| key.to_ascii_lowercase().starts_with(RESERVED)) {
        return Err(refused("keys that begin with aws: are reserved"));
    }
    tags.extend(more);
    let tags_max = shared.limits.tags;
    if tags.len() > tags_max {
        return Err(refused(&format!("it cannot have more than {tags_max} tags associated with it")));
    }
    Ok(())
}

/// Removes tags; those that are not there are passed over.
pub(super) fn remove(tags: &mut Tags, keys: &[String]) -> Result<(), Error> {
    check_characters(keys.iter().map(String::as_str))?;
    tags.retain(|key, _| !keys.contains(key));
    Ok(())
}

/// As they are told.
pub(super) fn told(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag { key, value }).collect()
}

fn check_characters<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    let is_legal = |letter: char| letter.is_alphanumeric() || letter == ' ' || "_.:/=+-@%".contains(letter);
    if texts.into_iter().flat_map(str::chars).all(is_legal) {
        return Ok(());
    }
    let message = "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, \
                   _ . : / = + - % @.";
    Err(Error::new(ErrorKind::InvalidArgument, message))
}
