//! Tests of the text form of quotas.

use super::*;

#[test]
fn changes_are_read_and_shown() {
    for (text, from, shown) in [
        ("service", Quotas::NONE, "service"),
        ("none", Quotas::SERVICE, "none"),
        ("write-bytes=none", Quotas { write_bytes: None, ..Quotas::NONE }, "none"),
        (
            "none, reads=7",
            Quotas::SERVICE,
            "write-bytes=none,write-records=none,read-bytes=none,reads=7,push-bytes=none",
        ),
        (
            "push-bytes=3MiB",
            Quotas::SERVICE,
            "write-bytes=1MiB,write-records=1000,read-bytes=2MiB,reads=5,push-bytes=3MiB",
        ),
    ] {
        let change: QuotasChange = text.parse().unwrap();
        let quotas = change.of(from);
        assert_eq!(quotas.to_string(), shown);
        assert_eq!(quotas.to_string().parse::<QuotasChange>().unwrap().of(Quotas::NONE), quotas);
    }
}

#[test]
fn mistakes_are_named() {
    for (text, told) in [
        ("", "is no quota"),
        ("reads", "is no quota"),
        ("writes=1", "write-bytes"),
        ("reads=0", "from 1 to"),
        ("reads=x", "not a number"),
        ("write-bytes=5GiB", "from 1 to 4294967295"),
        ("reads=1,none", "is no quota"),
    ] {
        let error = text.parse::<QuotasChange>().unwrap_err();
        assert!(error.contains(told), "{text}: {error}");
    }
}
