//! The one form of a request that both ends hash, whatever way it came.

use sha2::{Digest, Sha256};

use super::{Head, hex};

/// The parameter that carries the signature, which can't sign itself.
const SIGNATURE: &[u8] = b"X-Amz-Signature";

pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The canonical request. The body is hashed as it is: the service takes no `UNSIGNED-PAYLOAD` and no signed chunks.
pub(super) fn request(head: &Head<'_>, signed: &[String], in_query: bool, body: &[u8]) -> Vec<u8> {
    let mut out = head.method.as_bytes().to_vec();
    out.push(b'\n');
    encode(&mut out, normal(head.path).as_bytes(), b"/");
    out.push(b'\n');
    query(&mut out, head.query, in_query);
    out.push(b'\n');
    for name in signed {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        let values = head.headers.iter().filter(|(other, _)| other == name);
        for (at, (_, value)) in values.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            trimmed(&mut out, value);
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signed.join(";").as_bytes());
    out.push(b'\n');
    out.extend_from_slice(hex(&hash(body)).as_bytes());
    out
}

/// A path without `.`, `..` and empty segments.
fn normal(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let is_folder = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let ends = if is_folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{ends}", kept.join("/"))
}

/// The query, each name and value encoded in one way, in order.
fn query(out: &mut Vec<u8>, text: &str, in_query: bool) {
    let encoded = |bytes: &[u8]| {
        let mut out = Vec::new();
        encode(&mut out, bytes, b"");
        out
    };
    let pairs = decoded_pairs(text).filter(|(name, _)| !(in_query && name == SIGNATURE));
    let mut pairs: Vec<_> = pairs.map(|(name, value)| (encoded(&name), encoded(&value))).collect();
    pairs.sort();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// A header's value without spaces around it, and with one where there are several.
fn trimmed(out: &mut Vec<u8>, value: &[u8]) {
    let mut before = b' ';
    for &byte in value.trim_ascii() {
        if byte != b' ' || before != b' ' {
            out.push(byte);
        }
        before = byte;
    }
}

/// The names and values of a query.
pub(super) fn decoded_pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name.as_bytes()), decode(value.as_bytes()))
    })
}

/// Takes percent-encoding off. What only looks like it stays as it is.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match after {
            &[high, low, ref more @ ..] if byte == b'%' => {
                digit(high).zip(digit(low)).map(|(high, low)| ((high << 4 | low) as u8, more))
            }
            _ => None,
        };
        match escaped {
            Some((escaped, more)) => {
                out.push(escaped);
                rest = more;
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    out
}

/// Percent-encodes all but what RFC 3986 has no need to, and these.
fn encode(out: &mut Vec<u8>, bytes: &[u8], kept: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//a//b/", "/a/b/"),
            ("/./a", "/a"),
            ("/a/../..", "/"),
            // A folder, as the signers of SDKs have it.
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    #[test]
    fn what_only_looks_encoded_stays() {
        for (text, expected) in [("%41%4a", "AJ"), ("%4", "%4"), ("%zz%", "%zz%"), ("a+b%2B", "a b+"), ("%25%2", "%%2")]
        {
            assert_eq!(decode(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }
}
