//! Retention, as numbers and as text.

use super::*;

#[test]
fn what_is_encoded_is_decoded() {
    let both = Retention { seconds: NonZeroU32::new(u32::MAX), bytes: NonZeroU64::new(u64::MAX - 1) };
    for retention in [Retention::NONE, Retention::of_seconds(60), both, Retention { seconds: None, ..both }] {
        assert_eq!(Retention::decode(&retention.encode()), retention);
    }
    assert_eq!(Retention::NONE.encode(), [0; RETENTION_BYTES]);
    assert_eq!(Retention::of_seconds(0), Retention::NONE);
}

#[test]
fn periods_are_read_and_written() {
    for (text, seconds, written) in
        [("90s", 90, "90s"), ("60s", 60, "1m"), ("15m", 900, "15m"), ("24h", 86_400, "24h"), ("7d", 604_800, "168h")]
    {
        let period: Period = text.parse().expect(text);
        assert_eq!((period.0.map(NonZeroU32::get), period.to_string().as_str()), (Some(seconds), written));
    }
    assert_eq!("none".parse(), Ok(Period(None)));
    for text in ["", "0s", "s", "5", "-5s", "1w", "4294967296s", "49711d"] {
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
}

#[test]
fn retention_says_all_its_limits() {
    let bytes = NonZeroU64::new(4096);
    assert_eq!(Retention::NONE.to_string(), "none");
    assert_eq!(Retention { bytes, ..Retention::of_seconds(3600) }.to_string(), "1h, 4096 bytes at most");
    assert_eq!(Retention { bytes, ..Retention::NONE }.to_string(), "4096 bytes at most");
}
