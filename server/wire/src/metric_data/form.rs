//! A form as the query protocol writes it: `MetricData.member.1.MetricName=Time` is a list in a structure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{DATA_MAX, DIMENSIONS_MAX};
use crate::{Error, ErrorKind};

/// What the names of a request begin with.
const NAMES: [&str; 6] = ["Action", "EntityMetricData", "MetricData", "Namespace", "StrictEntityValidation", "Version"];

/// Pairs of a name and a value: what the largest request has.
const PAIRS_MAX: usize = 100_000;

/// Structures and lists. Of a datum there are its dimensions and eight more: itself, the list of dimensions, which is two as it is
/// written, that of values and that of counts, and its statistics. What entities add is less than two for each datum.
const GROUPS_MAX: usize = DATA_MAX * (DIMENSIONS_MAX + 10);

/// Parts of a name: that of a dimension of an entity's datum has most.
const DEPTH_MAX: usize = 10;

/// What one name stands for.
enum Node {
    Text(String),
    Members(BTreeMap<String, Node>),
}

/// The form's contents: structures as objects, lists as arrays, all else as texts.
pub(super) fn tree(body: &[u8]) -> Result<Value, Error> {
    let unreadable = |message: &str| Error::new(ErrorKind::Serialization, message);
    let (mut root, mut groups) = (BTreeMap::new(), 0);
    for (count, pair) in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).enumerate() {
        if count == PAIRS_MAX {
            return Err(unreadable("The form has too many values."));
        }
        let mut halves = pair.splitn(2, |&byte| byte == b'=').map(decoded);
        let name = halves.next().flatten().ok_or_else(|| unreadable("A name is not written as forms write it."))?;
        let text = halves.next().unwrap_or_else(|| Some(String::new()));
        let text = text.ok_or_else(|| unreadable("A value is not written as forms write it."))?;
        if name.split('.').next().is_none_or(|first| !NAMES.contains(&first)) {
            return Err(unreadable("A name is none that PutMetricData has."));
        }
        put(&mut root, &mut groups, &name, text)
            .ok_or_else(|| unreadable("A name stands for two things, or is too deep."))?;
        if groups > GROUPS_MAX {
            return Err(unreadable("The form has too many structures and lists."));
        }
    }
    Ok(value(Node::Members(root)))
}

/// Puts a text where its name says, and counts the structures and lists that this makes. Nothing if something else is there.
fn put(root: &mut BTreeMap<String, Node>, groups: &mut usize, name: &str, text: String) -> Option<()> {
    let mut parts = name.split('.');
    let last = parts.next_back()?;
    let mut members = root;
    for (depth, part) in parts.enumerate() {
        let node = members.entry(part.to_owned()).or_insert_with(|| {
            *groups += 1;
            Node::Members(BTreeMap::new())
        });
        members = match node {
            Node::Members(members) if depth + 1 < DEPTH_MAX => members,
            _ => return None,
        };
    }
    match members.insert(last.to_owned(), Node::Text(text)) {
        None => Some(()),
        Some(_) => None,
    }
}

fn value(node: Node) -> Value {
    let mut members = match node {
        Node::Text(text) => return Value::String(text),
        Node::Members(members) => members,
    };
    match members.remove("member") {
        Some(Node::Members(list)) if members.is_empty() => {
            let mut list: Vec<(Option<u32>, Node)> =
                list.into_iter().map(|(number, node)| (number.parse().ok(), node)).collect();
            list.sort_by_key(|(number, _)| *number);
            Value::Array(list.into_iter().map(|(_, node)| value(node)).collect())
        }
        _ => Value::Object(members.into_iter().map(|(name, node)| (name, value(node))).collect::<Map<_, _>>()),
    }
}

/// The text of a name or value. Nothing if it is none.
fn decoded(part: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
