"""Puts 10,000 records with boto3, reads them back and compares; asks for what is not there.

    check.py ENDPOINT all|again|limits|operations

`again` reads what an earlier `all` put, after the server was started again. `limits` meets the quotas of a new stream. `operations` goes
through the steps that all of the API's operations have.

Each behaviour is printed once it was shown, by what the API's reference says of the operations that its name has. Beside them: of keys,
PutRecords (MD5 decides on the shard); of errors, each operation's list of them, the words as the service was seen to say them; of limits,
"Quotas and limits" in the developer guide. After `kill -9`: PutRecord, whose records can be read for a day.
"""

import base64
import hashlib
import sys
import time

import boto3
from botocore.config import Config
from operations import operations
from subscribing import subscribe

STREAM = "boto3-records"
SHARDS = 4
RECORDS = 10_000


def data_of(number):
    """Bytes of every length up to 1,000, every value among them."""
    seed = hashlib.sha256(str(number).encode()).digest()
    return (seed * 32)[: 1 + number % 1000]


def key_of(number):
    return f"ключ-{number}" if number % 7 == 0 else f"key-{number}"


def client(endpoint):
    # No retries: they would hide refusals, those of the limits above all.
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60)
    return boto3.client("kinesis", endpoint_url=endpoint, config=config)


def shard_of(shards, key):
    hash_key = int.from_bytes(hashlib.md5(key.encode()).digest(), "big")
    for shard in shards:
        span = shard["HashKeyRange"]
        if int(span["StartingHashKey"]) <= hash_key <= int(span["EndingHashKey"]):
            return shard["ShardId"]
    raise AssertionError(f"no shard has hash key {hash_key}")


def list_shards(kinesis):
    pages = kinesis.get_paginator("list_shards").paginate(StreamName=STREAM, MaxResults=3)
    shards = [shard for page in pages for shard in page["Shards"]]
    assert [shard["ShardId"] for shard in shards] == [f"shardId-{n:012d}" for n in range(SHARDS)], shards
    return shards


def put(kinesis, shards):
    places = {}
    for first in range(0, RECORDS - 100, 300):
        numbers = range(first, min(first + 300, RECORDS - 100))
        entries = [{"Data": data_of(n), "PartitionKey": key_of(n)} for n in numbers]
        answer = kinesis.put_records(StreamName=STREAM, Records=entries)
        assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == len(entries), answer
        for n, record in zip(numbers, answer["Records"]):
            places[n] = (record["ShardId"], record["SequenceNumber"])
    arn = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamARN"]
    for n in range(RECORDS - 100, RECORDS):
        answer = kinesis.put_record(StreamARN=arn, Data=data_of(n), PartitionKey=key_of(n))
        places[n] = (answer["ShardId"], answer["SequenceNumber"])
    for n, (shard, sequence) in places.items():
        assert shard == shard_of(shards, key_of(n)), (n, shard)
        assert len(sequence) == 56 and sequence.isdigit(), sequence
    print("boto3: PutRecords answers entry for entry, PutRecord with where the record is")
    return places


def read(kinesis, shard, **start):
    start = start or {"ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=shard, **start)["ShardIterator"]
    while True:
        answer = kinesis.get_records(ShardIterator=iterator, Limit=777)
        yield from answer["Records"]
        assert answer["NextShardIterator"] != iterator
        iterator = answer["NextShardIterator"]
        if answer["MillisBehindLatest"] == 0:
            return


def read_all(kinesis, shards, places=None):
    """Every record once, unchanged, in the order of its number, where it was said to be."""
    missing = set(range(RECORDS))
    numbers = {key_of(n): n for n in range(RECORDS)}
    for shard in shards:
        last = int(shard["SequenceNumberRange"]["StartingSequenceNumber"])
        arrived = None
        for record in read(kinesis, shard["ShardId"]):
            n = numbers[record["PartitionKey"]]
            assert record["Data"] == data_of(n), f"record {n} differs"
            assert int(record["SequenceNumber"]) > last, f"record {n} is out of order"
            last = int(record["SequenceNumber"])
            assert places is None or places[n] == (shard["ShardId"], record["SequenceNumber"]), f"record {n} moved"
            assert arrived is None or record["ApproximateArrivalTimestamp"] >= arrived
            arrived = record["ApproximateArrivalTimestamp"]
            assert abs(arrived.timestamp() - time.time()) < 600, arrived
            missing.remove(n)
    assert not missing, f"{len(missing)} records are missing: {sorted(missing)[:10]}"
    print("boto3: GetRecords gives each record once, unchanged, in order; an open shard's iterator goes on")


def read_from_numbers(kinesis, shards):
    """At a number, after it, and after the shard's own beginning."""
    for shard in shards:
        name = shard["ShardId"]
        everything = [record["SequenceNumber"] for record in read(kinesis, name)]
        for at in (0, 1, len(everything) // 2, len(everything) - 1):
            for kind, skip in (("AT_SEQUENCE_NUMBER", 0), ("AFTER_SEQUENCE_NUMBER", 1)):
                found = read(kinesis, name, ShardIteratorType=kind, StartingSequenceNumber=everything[at])
                found = [record["SequenceNumber"] for record in found]
                assert found == everything[at + skip :], (name, kind, at)
        beginning = shard["SequenceNumberRange"]["StartingSequenceNumber"]
        for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            found = read(kinesis, name, ShardIteratorType=kind, StartingSequenceNumber=beginning)
            assert [record["SequenceNumber"] for record in found] == everything, (name, kind)
    print("boto3: GetShardIterator begins at or after a sequence number, that of the shard's beginning too")


def refused(error, call, **arguments):
    try:
        call(**arguments)
    except error as refusal:
        return refusal.response["Error"]["Message"]
    raise AssertionError(f"{call} {arguments} was not refused")


def ask_for_what_is_not_there(kinesis, shards, places):
    errors = kinesis.exceptions
    not_found = errors.ResourceNotFoundException
    message = refused(not_found, kinesis.describe_stream_summary, StreamName="nowhere")
    assert message == "Stream nowhere under account 000000000000 not found.", message
    refused(not_found, kinesis.put_record, StreamName="nowhere", Data=b"x", PartitionKey="k")
    refused(not_found, kinesis.delete_stream, StreamName="nowhere")
    iterator = {"StreamName": STREAM, "ShardId": "shardId-000000000099", "ShardIteratorType": "TRIM_HORIZON"}
    refused(not_found, kinesis.get_shard_iterator, **iterator)
    message = refused(errors.ResourceInUseException, kinesis.create_stream, StreamName=STREAM, ShardCount=SHARDS)
    assert message == f"Stream {STREAM} under account 000000000000 already exists.", message
    invalid = errors.InvalidArgumentException
    refused(invalid, kinesis.get_records, ShardIterator=base64.b64encode(b"x" * 60).decode())
    key = {"StreamName": STREAM, "Data": b"x", "PartitionKey": "k", "ExplicitHashKey": str(2**128)}
    refused(invalid, kinesis.put_record, **key)
    foreign = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": places[0][1]}
    other = next(shard["ShardId"] for shard in shards if shard["ShardId"] != places[0][0])
    message = refused(invalid, kinesis.get_shard_iterator, StreamName=STREAM, ShardId=other, **foreign)
    assert places[0][0] in message and other in message, message
    refused(kinesis.exceptions.ClientError, kinesis.list_queues)
    print("boto3: errors come by type: what is not there, what is not allowed, what is no iterator")


def make_and_delete(kinesis):
    """Names come back after a deletion; what was read before is gone."""
    for _ in range(3):
        kinesis.create_stream(StreamName="short-lived", ShardCount=2)
        kinesis.put_record(StreamName="short-lived", Data=b"x", PartitionKey="k", ExplicitHashKey="0")
        start = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName="short-lived", **start)["ShardIterator"]
        assert len(kinesis.get_records(ShardIterator=iterator)["Records"]) == 1
        kinesis.delete_stream(StreamName="short-lived")
        refused(kinesis.exceptions.ResourceNotFoundException, kinesis.get_records, ShardIterator=iterator)
    for n in range(5):
        kinesis.create_stream(StreamName=f"many-{n}", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    names = [name for page in kinesis.get_paginator("list_streams").paginate(Limit=2) for name in page["StreamNames"]]
    assert names == sorted(names) and {f"many-{n}" for n in range(5)} <= set(names), names
    assert "short-lived" not in names
    for n in range(5):
        assert kinesis.describe_stream_summary(StreamName=f"many-{n}")["StreamDescriptionSummary"]["OpenShardCount"] == 4
        kinesis.delete_stream(StreamName=f"many-{n}")
    print("boto3: DeleteStream gives a name back, and what was read before is gone; ListStreams tells the others in pages")


def meet_limits(kinesis):
    """A shard takes 1,000 records and answers 5 reads at once; the refusals are those that the service documents."""
    kinesis.create_stream(StreamName="limited", ShardCount=1)
    entries = [{"Data": b"x", "PartitionKey": "k"} for _ in range(500)]
    for _ in range(100):
        answer = kinesis.put_records(StreamName="limited", Records=entries)
        if answer["FailedRecordCount"]:
            break
    failed = [record for record in answer["Records"] if "ErrorCode" in record]
    assert len(failed) == answer["FailedRecordCount"], answer
    message = "Rate exceeded for shard shardId-000000000000 in stream limited under account 000000000000."
    assert failed[0] == {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": message}, failed[0]
    start = {"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName="limited", **start)["ShardIterator"]
    exceeded = kinesis.exceptions.ProvisionedThroughputExceededException
    for reads in range(100):
        try:
            kinesis.get_records(ShardIterator=iterator, Limit=1)
        except exceeded as refusal:
            assert refusal.response["Error"]["Message"] == message, refusal
            assert reads >= 5, reads
            break
    else:
        raise AssertionError("a hundred reads at once were answered")
    print("boto3: a shard takes 1,000 records a second and answers five reads, then ProvisionedThroughputExceededException")


def main():
    endpoint, what = sys.argv[1:]
    kinesis = client(endpoint)
    if what == "limits":
        return meet_limits(kinesis)
    if what == "operations":
        return operations(kinesis)
    if what == "again":
        read_all(kinesis, list_shards(kinesis))
        return print("boto3: after kill -9 every record is there")
    kinesis.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
    assert (summary["StreamStatus"], summary["OpenShardCount"]) == ("ACTIVE", SHARDS), summary
    assert "StreamId" not in summary, summary
    shards = list_shards(kinesis)
    places = put(kinesis, shards)
    read_all(kinesis, shards, places)
    read_from_numbers(kinesis, shards)
    ask_for_what_is_not_there(kinesis, shards, places)
    make_and_delete(kinesis)
    subscribe(kinesis)


main()
