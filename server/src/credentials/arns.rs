//! ARNs in policies. Those that they are held against have the partition `aws` in every region; those that they say may have another.

use std::borrow::Cow;

/// The ARNs of streams and of their consumers: `R` is a region, `A` a digit of an account, `N` a name, `T` a time.
const STREAM: &str = "arn:aws:kinesis:R:AAAAAAAAAAAA:stream/N";
const CONSUMER: &str = "arn:aws:kinesis:R:AAAAAAAAAAAA:stream/N/consumer/N:T";

/// An ARN, or a pattern of some, with the partition `aws`. A partition with a wildcard stays as it is.
pub(crate) fn of_own_partition(pattern: &str) -> Cow<'_, str> {
    match pattern.strip_prefix("arn:").and_then(|rest| rest.split_once(':')) {
        Some((partition, rest)) if partition.starts_with("aws") && !partition.contains(['*', '?']) => {
            Cow::Owned(format!("arn:aws:{rest}"))
        }
        _ => Cow::Borrowed(pattern),
    }
}

/// Whether a pattern, in which `*` is any characters and `?` any one, can be the ARN of a stream, or of a consumer of one.
pub(crate) fn may_be_of_stream(pattern: &str) -> bool {
    may_be(pattern, STREAM) || may_be(pattern, CONSUMER)
}

/// Whether a pattern and a form have a text in common.
fn may_be(pattern: &str, form: &str) -> bool {
    let form = form.as_bytes();
    // The places of the form that what was looked at of the pattern may reach up to.
    let mut reached = vec![false; form.len() + 1];
    reached[0] = true;
    for &letter in pattern.as_bytes() {
        if letter == b'*' {
            let first = reached.iter().position(|is_reached| *is_reached).unwrap_or(reached.len());
            reached[first..].fill(true);
            continue;
        }
        let mut next = vec![false; reached.len()];
        for (at, &place) in form.iter().enumerate() {
            if reached[at] && (letter == b'?' || is_of(letter, place)) {
                next[at + 1] = true;
                next[at] |= matches!(place, b'R' | b'N' | b'T');
            }
        }
        reached = next;
    }
    reached.ends_with(&[true])
}

fn is_of(letter: u8, place: u8) -> bool {
    match place {
        b'R' => letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-',
        b'A' | b'T' => letter.is_ascii_digit(),
        b'N' => letter.is_ascii_alphanumeric() || b"_.-".contains(&letter),
        _ => letter == place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_one() {
        let rest = "kinesis:cn-north-1:111122223333:stream/s*";
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            assert_eq!(of_own_partition(&format!("arn:{partition}:{rest}")), format!("arn:aws:{rest}"));
        }
        for other in ["*", "arn:*:kinesis:*", "arn:aws-*:kinesis:*", "arn:aws*", "arn:aws-c?:x", "arn:azure:x", "s"] {
            assert_eq!(of_own_partition(other), other);
        }
    }

    #[test]
    fn a_pattern_that_no_stream_can_have_is_told_from_others() {
        for pattern in [
            "*",
            "arn:*",
            "arn:*:stream/orders",
            "arn:aws*:kinesis:*:*:stream/*",
            "arn:aws:kinesis:*:*:stream/orders",
            "arn:aws:kinesis:eu-*:111122223333:stream/o?ders*",
            "arn:aws:kinesis:us-east-1:11112222????:stream/a.b_c-d",
            "arn:aws:kinesis:us-east-1:111122223333:*/orders",
            "arn:???:kinesis:*",
            "arn:aws:kinesis:*:*:stream/orders/consumer/*",
            "arn:aws:kinesis:*:*:stream/orders/consumer/reader:1700000000",
            "arn:aws:kinesis:*:*:stream/orders/*:1?",
        ] {
            assert!(may_be_of_stream(pattern), "{pattern}");
        }
        for pattern in [
            "",
            "orders",
            "arn:aws-*:kinesis:*:*:stream/orders",
            "arn:aws:kinesys:*:*:stream/orders",
            "arn:aws:s3:::orders*",
            "arn:aws:kinesis:*:*:streams/orders",
            "arn:aws:kinesis:us-east-1:1111:stream/orders",
            "arn:aws:kinesis:US-EAST-1:*:stream/orders",
            "arn:aws:kinesis:us-east-1:1111222233334:stream/*",
            "arn:aws:kinesis::111122223333:stream/orders",
            "arn:aws:kinesis:*:*:stream/",
            "arn:aws:kinesis:*:*:stream/orders, arn:aws:kinesis:*:*:stream/others",
            "arn:aws:kinesis:*:*:stream/orders/shard/*",
            "arn:aws:kinesis:*:*:stream/orders/consumer/reader:now",
        ] {
            assert!(!may_be_of_stream(pattern), "{pattern}");
        }
    }
}
