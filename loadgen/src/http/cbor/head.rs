//! What each thing in CBOR begins with: what it is, and a number in as few bytes as hold it (RFC 8949, section 3).

use super::{CborError, TOO_SHORT};

const NOT_CBOR: CborError = CborError("it is not CBOR");

/// What it is, by the first three bits; the other five are the argument, or tell in how many bytes it follows.
pub(super) const POSITIVE: u8 = 0;
const NEGATIVE: u8 = 1;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
const LIST: u8 = 4;
pub(super) const MAP: u8 = 5;
const TAG: u8 = 6;

/// Nothing, among the values that have no bytes of their own.
pub(super) const NULL: u8 = 22;

/// Begins a list that does not say how long it is.
pub(super) const LIST_TO_BREAK: u8 = LIST << 5 | 31;

/// Ends what did not say how long it is.
pub(super) const BREAK: u8 = 0xff;

/// What a thing is. Those with a length say it here, unless an end is to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    Positive(u64),
    Negative,
    Bytes(Option<usize>),
    Text(Option<usize>),
    List(Option<usize>),
    Map(Option<usize>),
    /// It says something of the thing that follows it.
    Tag,
    Simple(u8),
    Float(f64),
    Break,
}

impl Head {
    /// Takes the next one off what is left.
    #[inline]
    pub(super) fn read(rest: &mut &[u8]) -> Result<Self, CborError> {
        // All that the longest one may have; near the end what is not there is found out below.
        let [first, ahead @ ..] = rest.first_chunk().copied().unwrap_or_else(|| padded(rest));
        let (kind, argument) = (first >> 5, first & 0x1f);
        let (number, bytes) = match argument {
            0..24 => (Some(u64::from(argument)), 0),
            24..28 => {
                let bytes = 1 << (argument - 24);
                (Some(u64::from_be_bytes(ahead) >> (64 - 8 * bytes)), bytes)
            }
            31 => (None, 0),
            _ => return Err(NOT_CBOR),
        };
        *rest = rest.get(1 + bytes..).ok_or(TOO_SHORT)?;
        let length = || number.map(usize::try_from).transpose().map_err(|_| NOT_CBOR);
        Ok(match (kind, number) {
            (BYTES, _) => Self::Bytes(length()?),
            (TEXT, _) => Self::Text(length()?),
            (LIST, _) => Self::List(length()?),
            (MAP, _) => Self::Map(length()?),
            (POSITIVE, Some(number)) => Self::Positive(number),
            (NEGATIVE, Some(_)) => Self::Negative,
            (TAG, Some(_)) => Self::Tag,
            (POSITIVE | NEGATIVE | TAG, None) => return Err(NOT_CBOR),
            (_, None) => Self::Break,
            (_, Some(bits)) => match argument {
                25 => Self::Float(half(bits as u16)),
                26 => Self::Float(f32::from_bits(bits as u32).into()),
                27 => Self::Float(f64::from_bits(bits)),
                _ => Self::Simple(bits as u8),
            },
        })
    }
}

/// Appends the head of such a thing, its argument in as few bytes as hold it.
pub(super) fn write(kind: u8, argument: u64, out: &mut Vec<u8>) {
    let first = kind << 5;
    match argument {
        0..24 => out.push(first | argument as u8),
        24..=0xff => out.extend_from_slice(&[first | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(first | 25);
            out.extend_from_slice(&(argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(first | 26);
            out.extend_from_slice(&(argument as u32).to_be_bytes());
        }
        _ => {
            out.push(first | 27);
            out.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

#[cold]
fn padded(rest: &[u8]) -> [u8; 9] {
    let mut padded = [0; 9];
    padded.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    padded
}

/// A number of 16 bits: a sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 0x1f, f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first head, and how many bytes are left behind it.
    fn read(mut bytes: &[u8]) -> Result<(Head, usize), CborError> {
        Head::read(&mut bytes).map(|head| (head, bytes.len()))
    }

    #[test]
    fn arguments_of_every_width_are_read() {
        for (bytes, number) in [
            (&b"\x00"[..], 0),
            (b"\x17", 23),
            (b"\x18\x18", 24),
            (b"\x18\xff", 255),
            (b"\x19\x01\x00", 256),
            (b"\x19\xff\xff", 65_535),
            (b"\x1a\x00\x01\x00\x00", 65_536),
            (b"\x1a\xff\xff\xff\xff", u64::from(u32::MAX)),
            (b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00", 1 << 32),
            (b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX),
        ] {
            let of_kind = |kind: u8| [&[bytes[0] | kind << 5], &bytes[1..], b"next"].concat();
            let length = number as usize;
            assert_eq!(read(&of_kind(POSITIVE)), Ok((Head::Positive(number), 4)));
            assert_eq!(read(&of_kind(NEGATIVE)), Ok((Head::Negative, 4)));
            assert_eq!(read(&of_kind(BYTES)), Ok((Head::Bytes(Some(length)), 4)));
            assert_eq!(read(&of_kind(TEXT)), Ok((Head::Text(Some(length)), 4)));
            assert_eq!(read(&of_kind(LIST)), Ok((Head::List(Some(length)), 4)));
            assert_eq!(read(&of_kind(MAP)), Ok((Head::Map(Some(length)), 4)));
            assert_eq!(read(&of_kind(TAG)), Ok((Head::Tag, 4)));
            for kind in [POSITIVE, BYTES, TEXT, LIST, MAP] {
                let mut written = Vec::new();
                write(kind, number, &mut written);
                assert_eq!(written, of_kind(kind)[..bytes.len()], "as few bytes as hold it");
            }
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Err(TOO_SHORT), "{bytes:x?} cut at {cut}");
            }
        }
        assert_eq!(read(b"\x1b\x00\x00\x00\x00\x00\x00\x00\x07"), Ok((Head::Positive(7), 0)), "more than it needs");
    }

    #[test]
    fn what_has_no_length_is_told_from_what_must_have_a_number() {
        let kinds = [Head::Bytes(None), Head::Text(None), Head::List(None), Head::Map(None)];
        for (kind, head) in (BYTES..).zip(kinds) {
            assert_eq!(read(&[kind << 5 | 31]), Ok((head, 0)));
        }
        assert_eq!(read(&[BREAK]), Ok((Head::Break, 0)));
        for kind in [POSITIVE, NEGATIVE, TAG] {
            assert_eq!(read(&[kind << 5 | 31]), Err(NOT_CBOR));
        }
    }

    #[test]
    fn reserved_arguments_are_refused() {
        for kind in 0..8 {
            for argument in 28..31 {
                assert_eq!(read(&[kind << 5 | argument, 0, 0, 0, 0, 0, 0, 0, 0]), Err(NOT_CBOR), "{kind} {argument}");
            }
        }
    }

    /// The examples of the standard's appendix A.
    #[test]
    fn values_without_bytes_and_fractions_are_read() {
        let simple = [(&b"\xf4"[..], 20), (b"\xf6", NULL), (b"\xf0", 16), (b"\xf8\xff", 255)];
        simple.iter().for_each(|(bytes, value)| assert_eq!(read(bytes), Ok((Head::Simple(*value), 0))));
        let float = |bytes: &[u8]| match read(bytes) {
            Ok((Head::Float(number), 0)) => number,
            other => panic!("{other:?}"),
        };
        for (bytes, number) in [
            (&b"\xf9\x00\x00"[..], 0.0),
            (b"\xf9\x3c\x00", 1.0),
            (b"\xf9\x3e\x00", 1.5),
            (b"\xf9\x7b\xff", 65_504.0),
            (b"\xf9\x00\x01", 5.960_464_477_539_063e-8),
            (b"\xf9\x04\x00", 0.000_061_035_156_25),
            (b"\xf9\xc4\x00", -4.0),
            (b"\xf9\x7c\x00", f64::INFINITY),
            (b"\xf9\xfc\x00", f64::NEG_INFINITY),
            (b"\xfa\x47\xc3\x50\x00", 100_000.0),
            (b"\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a", 1.1),
        ] {
            assert_eq!(float(bytes), number);
        }
        assert!(float(b"\xf9\x80\x00").is_sign_negative() && float(b"\xf9\x7e\x00").is_nan());
        for cut in [&b"\xf8"[..], b"\xf9\x00", b"\xfa\x00\x00\x00", b"\xfb\x00\x00\x00\x00\x00\x00\x00"] {
            assert_eq!(read(cut), Err(TOO_SHORT));
        }
    }
}
