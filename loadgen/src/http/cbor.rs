//! Records in CBOR, as the sibling of the API's JSON has them: data as it is, and times in whole milliseconds.
//!
//! What is taken from an answer stays where it was read, unless it comes in pieces. What is not known is passed over.

mod head;

use std::borrow::Cow;
use std::fmt;

use self::head::{BREAK, BYTES, Head, LIST_TO_BREAK, MAP, NULL, POSITIVE, TEXT};
use super::api::{Data, PutOutcome, Record, Records, Text};
use super::raw::Raw;

/// Lists and maps within each other in what is passed over.
const DEPTH_MAX: usize = 16;

/// Writes requests.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// Begins a map of so many members.
    pub(super) fn map(&mut self, members: usize) -> &mut Self {
        self.head(MAP, members as u64)
    }

    /// Begins a list, to be ended by [`Writer::end`].
    pub(super) fn list(&mut self) -> &mut Self {
        self.0.push(LIST_TO_BREAK);
        self
    }

    pub(super) fn end(&mut self) {
        self.0.push(BREAK);
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64).0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, bytes.len() as u64).0.extend_from_slice(bytes);
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.head(POSITIVE, number)
    }

    fn head(&mut self, kind: u8, argument: u64) -> &mut Self {
        head::write(kind, argument, self.0);
        self
    }
}

/// Why an answer is none.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct CborError(&'static str);

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for CborError {}

const TOO_SHORT: CborError = CborError("it ends too early");
const NO_TEXT: CborError = CborError("something else than text");
const NOTHING: CborError = CborError("nothing where text is due");

/// What became of one record.
pub(super) fn put_outcome(answer: &[u8]) -> Result<PutOutcome<'_>, CborError> {
    whole(answer, Reader::put_outcome)
}

/// What became of several.
pub(super) fn put_outcomes(answer: &[u8]) -> Result<Vec<PutOutcome<'_>>, CborError> {
    whole(answer, |reader| {
        let mut records = None;
        reader.map(|reader, name| match name {
            b"Records" => reader.list(Reader::put_outcome).map(|all| records = Some(all)),
            _ => reader.pass_over_member(name),
        })?;
        records.ok_or(CborError("it has no records"))
    })
}

/// Records that were read.
pub(super) fn records(answer: &[u8]) -> Result<Records<'_>, CborError> {
    whole(answer, |reader| {
        let (mut records, mut next_shard_iterator, mut millis_behind_latest) = (None, None, 0);
        reader.map(|reader, name| {
            match name {
                b"Records" => records = Some(reader.list(Reader::record)?),
                b"NextShardIterator" => next_shard_iterator = reader.text_if_any()?.map(|Text(text)| text.into_owned()),
                b"MillisBehindLatest" => millis_behind_latest = reader.number()?,
                _ => reader.pass_over_member(name)?,
            }
            Ok(())
        })?;
        let records = records.ok_or(CborError("it has no records"))?;
        Ok(Records { records, next_shard_iterator, millis_behind_latest })
    })
}

/// The name and the message of an error.
pub(super) fn failure(answer: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let read = whole(answer, |reader| {
        let (mut error, mut message) = (None, None);
        let text = |reader: &mut Reader<'_>| Ok(reader.text_if_any()?.map(|Text(text)| text.into_owned()));
        reader.map(|reader, name| {
            match name {
                b"__type" => error = text(reader)?,
                b"message" | b"Message" => message = text(reader)?,
                _ => reader.pass_over_member(name)?,
            }
            Ok(())
        })?;
        Ok((error, message))
    });
    read.ok()
}

fn whole<'a, T>(answer: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Result<T, CborError>) -> Result<T, CborError> {
    let mut reader = Reader { rest: answer };
    let value = read(&mut reader)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(CborError("something follows its end")) }
}

/// What is left to be read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next head. Tags tell nothing that the member's name does not.
    #[inline]
    fn head(&mut self) -> Result<Head, CborError> {
        loop {
            match Head::read(&mut self.rest)? {
                Head::Tag => {}
                head => return Ok(head),
            }
        }
    }

    fn piece(&mut self, bytes: usize) -> Result<&'a [u8], CborError> {
        let (piece, rest) = self.rest.split_at_checked(bytes).ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(piece)
    }

    /// Whether a list or a map ends here that did not say how long it is.
    fn ends(&mut self) -> bool {
        let rest = self.rest.strip_prefix(&[BREAK]);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Takes as many things as a head says, or all up to their end.
    fn each(
        &mut self,
        count: Option<usize>,
        mut take: impl FnMut(&mut Self) -> Result<(), CborError>,
    ) -> Result<(), CborError> {
        let mut left = count;
        while left.map_or_else(|| !self.ends(), |left| left > 0) {
            take(self)?;
            left = left.map(|left| left - 1);
        }
        Ok(())
    }

    fn map(&mut self, mut member: impl FnMut(&mut Self, &[u8]) -> Result<(), CborError>) -> Result<(), CborError> {
        let Head::Map(count) = self.head()? else { return Err(CborError("something else than a map")) };
        self.each(count, |reader| {
            let name = reader.raw()?;
            member(reader, &name)
        })
    }

    fn list<T>(&mut self, take: impl Fn(&mut Self) -> Result<T, CborError>) -> Result<Vec<T>, CborError> {
        let Head::List(count) = self.head()? else { return Err(CborError("something else than a list")) };
        let mut all = Vec::new();
        self.each(count, |reader| take(reader).map(|one| all.push(one)))?;
        Ok(all)
    }

    /// All of what has this head, and may come in pieces of the same kind.
    #[inline]
    fn string(&mut self, head: Head) -> Result<Cow<'a, [u8]>, CborError> {
        match head {
            Head::Text(Some(bytes)) | Head::Bytes(Some(bytes)) => self.piece(bytes).map(Cow::Borrowed),
            _ => self.pieces(head).map(Cow::Owned),
        }
    }

    #[cold]
    fn pieces(&mut self, head: Head) -> Result<Vec<u8>, CborError> {
        let mut whole = Vec::new();
        while !self.ends() {
            match (head, self.head()?) {
                (Head::Text(_), Head::Text(Some(bytes))) | (Head::Bytes(_), Head::Bytes(Some(bytes))) => {
                    whole.extend_from_slice(self.piece(bytes)?);
                }
                _ => return Err(CborError("pieces of something else")),
            }
        }
        Ok(whole)
    }

    fn text(&mut self) -> Result<Text<'a>, CborError> {
        self.text_if_any()?.ok_or(NOTHING)
    }

    fn text_if_any(&mut self) -> Result<Option<Text<'a>>, CborError> {
        let Some(text) = self.string_if_any()? else { return Ok(None) };
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(std::str::from_utf8(text).map_err(|_| NO_TEXT)?),
            Cow::Owned(text) => Cow::Owned(String::from_utf8(text).map_err(|_| NO_TEXT)?),
        };
        Ok(Some(Text(text)))
    }

    /// Text that is compared with other text, or read as digits: nobody looks whether it is any.
    #[inline]
    fn string_if_any(&mut self) -> Result<Option<Cow<'a, [u8]>>, CborError> {
        match self.head()? {
            head @ Head::Text(_) => self.string(head).map(Some),
            Head::Simple(NULL) => Ok(None),
            _ => Err(NO_TEXT),
        }
    }

    fn raw(&mut self) -> Result<Raw<'a>, CborError> {
        self.raw_if_any()?.ok_or(NOTHING)
    }

    #[inline]
    fn raw_if_any(&mut self) -> Result<Option<Raw<'a>>, CborError> {
        Ok(self.string_if_any()?.map(Raw))
    }

    fn bytes(&mut self) -> Result<Cow<'a, [u8]>, CborError> {
        match self.head()? {
            head @ Head::Bytes(_) => self.string(head),
            _ => Err(CborError("something else than bytes")),
        }
    }

    fn number(&mut self) -> Result<u64, CborError> {
        match self.head()? {
            Head::Positive(number) => Ok(number),
            Head::Negative => Ok(0),
            Head::Float(number) => Ok(number as u64),
            _ => Err(CborError("something else than a number")),
        }
    }

    /// What no name that is known stands for.
    fn pass_over_member(&mut self, name: &[u8]) -> Result<(), CborError> {
        std::str::from_utf8(name).map_err(|_| NO_TEXT)?;
        self.pass_over(DEPTH_MAX)
    }

    fn pass_over(&mut self, depth: usize) -> Result<(), CborError> {
        let deeper = depth.checked_sub(1).ok_or(CborError("it is nested too deeply"));
        match self.head()? {
            head @ (Head::Text(_) | Head::Bytes(_)) => self.string(head).map(drop),
            Head::List(count) => deeper.and_then(|depth| self.each(count, |reader| reader.pass_over(depth))),
            Head::Map(count) => deeper.and_then(|depth| {
                self.each(count, |reader| {
                    reader.pass_over(depth)?;
                    reader.pass_over(depth)
                })
            }),
            Head::Break => Err(CborError("an end of nothing")),
            _ => Ok(()),
        }
    }

    fn put_outcome(&mut self) -> Result<PutOutcome<'a>, CborError> {
        let mut outcome = PutOutcome { shard_id: None, sequence_number: None, error_code: None };
        self.map(|reader, name| {
            match name {
                b"ShardId" => outcome.shard_id = reader.text_if_any()?,
                b"SequenceNumber" => outcome.sequence_number = reader.raw_if_any()?,
                b"ErrorCode" => outcome.error_code = reader.text_if_any()?,
                _ => reader.pass_over_member(name)?,
            }
            Ok(())
        })?;
        Ok(outcome)
    }

    fn record(&mut self) -> Result<Record<'a>, CborError> {
        let (mut number, mut data, mut partition_key, mut arrival_ms) = (None, None, Cow::default(), 0);
        self.map(|reader, name| {
            match name {
                b"SequenceNumber" => number = Some(reader.raw()?),
                b"Data" => data = Some(Data::Bytes(reader.bytes()?)),
                b"PartitionKey" => partition_key = reader.text()?.0,
                b"ApproximateArrivalTimestamp" => arrival_ms = reader.number()?,
                _ => reader.pass_over_member(name)?,
            }
            Ok(())
        })?;
        let sequence_number = number.ok_or(CborError("a record without a number"))?;
        let data = data.ok_or(CborError("a record without data"))?;
        let approximate_arrival_timestamp = arrival_ms as f64 / 1000.0;
        Ok(Record { sequence_number, data, partition_key, approximate_arrival_timestamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record whose answer says so much beside it, and in pieces, as the service writes.
    fn answer() -> Vec<u8> {
        let mut out = vec![0xbf];
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        put(b"\x67Records\x9f\xbf");
        put(b"\x6eSequenceNumber\x7f\x61\x34\x62\x39\x35\xff");
        put(b"\x78\x1bApproximateArrivalTimestamp\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x00");
        put(b"\x64Data\x43\x00\xff\x7b\x6cPartitionKey\x62\xc3\xbc");
        put(b"\x6eEncryptionType\xf6\xff\xff");
        put(b"\x6bChildShards\x81\xa1\x67ShardId\x80");
        put(b"\x72MillisBehindLatest\x19\x03\xe8\x71NextShardIterator\x63abc\xff");
        out
    }

    #[test]
    fn records_are_read_as_the_service_writes_them() {
        let answer = answer();
        let Records { records, next_shard_iterator, millis_behind_latest } = records(&answer).unwrap();
        assert_eq!((next_shard_iterator.as_deref(), millis_behind_latest, records.len()), (Some("abc"), 1000, 1));
        let record = &records[0];
        assert_eq!((&*record.sequence_number, &*record.partition_key), (&b"495"[..], "ü"));
        assert_eq!(record.data.decode(&mut Vec::new()), Some(&[0, 255, 123][..]));
        assert_eq!(record.approximate_arrival_timestamp, 1_700_000_000.0);
    }

    #[test]
    fn outcomes_and_errors_are_read() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.map(2).text("FailedRecordCount").number(1).text("Records").list();
        writer.map(2).text("ShardId").text("shardId-0").text("SequenceNumber").text("7");
        writer.map(2).text("ErrorCode").text("XException").text("ErrorMessage").text("m").end();
        let outcomes = put_outcomes(&out).unwrap();
        let told =
            outcomes.iter().map(|one| (one.sequence_number.as_deref(), one.error_code.as_ref().map(|text| &*text.0)));
        assert_eq!(told.collect::<Vec<_>>(), [(Some(&b"7"[..]), None), (None, Some("XException"))]);
        let mut out = Vec::new();
        Writer::new(&mut out).map(2).text("__type").text("XException").text("message").text("m");
        assert_eq!(failure(&out), Some((Some("XException".to_owned()), Some("m".to_owned()))));
        assert_eq!((failure(b"{}"), failure(b"<html>")), (None, None));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let good = answer();
        for cut in 0..good.len() {
            assert!(records(&good[..cut]).is_err(), "cut at {cut}");
        }
        assert!(records(&[&good[..], b"\x00"].concat()).is_err(), "something follows");
        let error = |bytes: &[u8]| put_outcomes(bytes).unwrap_err();
        assert_eq!(error(b"\xa0").0, "it has no records");
        assert_eq!(error(b"\xa1\x67Records\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), TOO_SHORT);
        assert_eq!(error(b"\xa1\x67Records\x81\xa1\x67ShardId\x07").0, "something else than text");
        assert_eq!(error(b"\xa1\x67Records\x81\xa1\x67ShardId\x62\xff\xff").0, "something else than text");
        assert_eq!(
            error(b"\xa1\x67Records\x81\xa1\x67ShardId\x5b\x7f\xff\xff\xff\xff\xff\xff\xff").0,
            "something else than text"
        );
        assert_eq!(error(b"\xa1\x67Records\x81\xa1\x67ShardId\x7b\xff\xff\xff\xff\xff\xff\xff\xff"), TOO_SHORT);
        assert_eq!(error(b"\xa1\x67Records\x81\xa1\x67ShardId\x63ab"), TOO_SHORT);
        assert_eq!(error(b"\xa1\x67Records\x81\xa1\x67ShardId\x7f\x61a\x41b\xff").0, "pieces of something else");
        assert_eq!(error(b"\xa1\x67Records\x81\xa1\x62\xff\xff\x07").0, "something else than text");
        assert_eq!(error(b"\xa1\xf6\x07").0, "nothing where text is due");
        assert_eq!(error(b"\xa1\x07\x07").0, "something else than text");
        assert_eq!(error(b"\xa1\x61x\x1c").0, "it is not CBOR");
        assert_eq!(error(b"\xa1\x61x\xff").0, "an end of nothing");
        assert_eq!(error(&[b"\xa1\x61x", &[0x81; 100_000][..]].concat()).0, "it is nested too deeply");
    }
}
