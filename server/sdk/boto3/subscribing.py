"""SubscribeToShard: what there is, what comes meanwhile, a sign of life, a takeover, the end where a shard was split.

Over HTTP/1.1. The SDK takes no stream of events that does not begin with an initial-response. The rest is what the API's reference says
of SubscribeToShard and SubscribeToShardEvent, but for the five seconds between signs of life, which are not documented: that there are
some is, as ContinuationSequenceNumber tells how far a consumer is when no data comes.
"""

from botocore.exceptions import EventStreamError

STREAM = "boto3-pushed"
BEFORE = 200
MEANWHILE = 20
MIDDLE = 2**127


def record_of(number):
    return {"Data": bytes([number % 256]) * (1 + number), "PartitionKey": f"ключ-{number}"}


def put(kinesis, numbers, count):
    for _ in range(count):
        answer = kinesis.put_record(StreamName=STREAM, **record_of(len(numbers)))
        numbers.append(answer["SequenceNumber"])


def same(event, numbers, at):
    """That the event's records are those from `at` on; the number after them."""
    for record in event["Records"]:
        assert record["SequenceNumber"] == numbers[at], f"record {at}: {record}"
        assert {"Data": record["Data"], "PartitionKey": record["PartitionKey"]} == record_of(at), f"record {at} differs"
        at += 1
    return at


def in_use(kinesis, **arguments):
    try:
        kinesis.subscribe_to_shard(**arguments)
    except kinesis.exceptions.ResourceInUseException:
        return
    raise AssertionError("a second subscription at once was not refused")


def told(behaviour):
    print(f"boto3: {behaviour}")


def subscribe(kinesis):
    kinesis.create_stream(StreamName=STREAM, ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamARN"]
    shard = kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="boto3")["Consumer"]["ConsumerARN"]
    place = {"ConsumerARN": consumer, "ShardId": shard}
    numbers = []
    put(kinesis, numbers, BEFORE)
    answer = kinesis.subscribe_to_shard(**place, StartingPosition={"Type": "TRIM_HORIZON"})
    first = (event["SubscribeToShardEvent"] for event in answer["EventStream"])
    at = 0
    while at < BEFORE + MEANWHILE:
        at = same(next(first), numbers, at)
        if at == len(numbers) == BEFORE:
            put(kinesis, numbers, MEANWHILE)
    told("SubscribeToShard pushes what there is, then what is put meanwhile, in order")
    in_use(kinesis, **place, StartingPosition={"Type": "LATEST"})
    told("SubscribeToShard within five seconds of another of the consumer is a ResourceInUseException")
    event = next(first)
    assert (event["Records"], event["MillisBehindLatest"]) == ([], 0), event
    told("SubscribeToShard says something every five seconds, where to go on among it")
    start = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": event["ContinuationSequenceNumber"]}
    second = kinesis.subscribe_to_shard(**place, StartingPosition=start)
    try:
        for event in first:
            assert not event["Records"], event
    except EventStreamError as error:
        assert error.response["Error"]["Code"] == "ResourceInUseException", error
    else:
        raise AssertionError("the subscription that was taken over ended without an error")
    told("SubscribeToShard after five seconds takes over; the one before fails with ResourceInUseException")
    put(kinesis, numbers, MEANWHILE)
    kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard, NewStartingHashKey=str(MIDDLE))
    children = None
    for event in second["EventStream"]:
        event = event["SubscribeToShardEvent"]
        assert children is None, "something follows the end"
        at = same(event, numbers, at)
        children = event.get("ChildShards")
        assert (children is None) == ("ContinuationSequenceNumber" in event), event
    assert at == len(numbers), at
    spans = [{"StartingHashKey": "0", "EndingHashKey": str(MIDDLE - 1)}]
    spans.append({"StartingHashKey": str(MIDDLE), "EndingHashKey": str(2**128 - 1)})
    assert [(child["HashKeyRange"], child["ParentShards"]) for child in children] == [(span, [shard]) for span in spans]
    told("SubscribeToShard ends where the shard was split: ChildShards, and no ContinuationSequenceNumber")
