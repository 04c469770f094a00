"""Violates every constraint of the service model once: each gets the service's error, and nothing is stored.

    violations.py ENDPOINT

The constraints are those of the model that boto3 brings, so what a new model adds is tried without a change here. boto3 checks
some of them itself: requests are made by hand, each in JSON and in CBOR.
"""

import base64
import copy
import json
import re
import sys
import urllib.error
import urllib.request

import botocore.session
import cbor2

STREAM = "violated"
CONSUMER = "reader"

# Their operations are unknown, as the table of differences says.
UNKNOWN = re.compile("Queue|Channel")

# Differences that stand in the table, by operation and member; None is any of them.
LEFT = {(None, "StreamId")}


class Time:
    """A time, which each way of writing has its own form for."""

    def __init__(self, seconds):
        self.seconds = seconds


def for_json(value):
    """What JSON has no form for: blobs and times."""
    return value.seconds if isinstance(value, Time) else base64.b64encode(value).decode()


def for_cbor(encoder, value):
    """What CBOR has no form for: times, in whole milliseconds."""
    encoder.encode(cbor2.CBORTag(1, value.seconds * 1000))


# How bodies are written, and how they are read.
JSON = ("json", lambda body: json.dumps(body, default=for_json).encode(), json.loads)
CBOR = ("cbor", lambda body: cbor2.dumps(body, default=for_cbor), cbor2.loads)


def ask(endpoint, operation, body, form=JSON):
    """Status, type and message of an answer."""
    name, write, read = form
    headers = {
        "Content-Type": f"application/x-amz-{name}-1.1",
        "X-Amz-Target": f"Kinesis_20131202.{operation}",
        "Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/kinesis/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=00",
        "X-Amz-Date": "20260101T000000Z",
    }
    request = urllib.request.Request(endpoint, write(body), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, None, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as refusal:
        told = refusal.read()
        told = read(told) if told else {}
        return refusal.code, told.get("__type", "").rsplit("#")[-1], told.get("message", "")


# Values that are what the model asks for, by member.
VALID = {
    "StreamName": STREAM,
    "ConsumerName": CONSUMER,
    "ShardId": "shardId-000000000000",
    "ShardToSplit": "shardId-000000000000",
    "ShardToMerge": "shardId-000000000000",
    "AdjacentShardToMerge": "shardId-000000000001",
    "NewStartingHashKey": "1",
    "KeyId": "alias/aws/kinesis",
    "Policy": "{}",
    "PartitionKey": "key",
    "RetentionPeriodHours": 24,
    "TagKeys": ["tag"],
    "Tags": {"tag": "value"},
    "ShardIterator": "x",
    "StartingSequenceNumber": "0",
    "Timestamp": Time(1),
}


def valid(shape, name, arns):
    """A value of a shape that has what it must have and nothing else."""
    if name in arns:
        return arns[name]
    if name in VALID:
        return VALID[name]
    if shape.type_name == "structure":
        return {member: valid(shape.members[member], member, arns) for member in shape.required_members}
    if shape.type_name == "list":
        return [valid(shape.member, name, arns)]
    if shape.type_name == "map":
        return {"k": "v"}
    if shape.type_name == "blob":
        return b"data"
    if shape.type_name == "string":
        return shape.enum[0] if getattr(shape, "enum", None) else "x" * max(1, shape.metadata.get("min", 1))
    if shape.type_name in ("integer", "long"):
        return shape.metadata.get("min", 1)
    return shape.type_name == "boolean" or 1


def changed(base, path, value):
    """The input with one member changed; what the way there lacks is made."""
    made = copy.deepcopy(base)
    place = made
    for step in path[:-1]:
        if isinstance(place, dict):
            place = place.setdefault(step, {})
        else:
            place = place[0]
    if path[-1] == "[]":
        place[0] = value
    elif value is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = value
    return made


def violations(shape, path, arns):
    """What is wrong, where, and what the message says of it."""
    bounds = shape.metadata
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            here = [*path, name]
            if name in shape.required_members:
                yield here, None, "must not be null"
            yield from violations(member, here, arns)
    elif shape.type_name == "list":
        item = valid(shape.member, path[-1], arns)
        item = item[0] if isinstance(item, list) else item
        if bounds.get("min"):
            yield path, [], "greater than or equal to"
        if "max" in bounds:
            yield path, [item] * (bounds["max"] + 1), "less than or equal to"
        for where, value, says in violations(shape.member, [*path, "[]"], arns):
            yield where, value, says
    elif shape.type_name == "map":
        if bounds.get("min"):
            yield path, {}, "greater than or equal to"
        if "max" in bounds:
            yield path, {f"key-{number}": "v" for number in range(bounds["max"] + 1)}, "less than or equal to"
        key, value = shape.key.metadata, shape.value.metadata
        if key.get("min"):
            yield path, {"": "v"}, "greater than or equal to"
        if "max" in key:
            yield path, {"k" * (key["max"] + 1): "v"}, "less than or equal to"
        if "max" in value:
            yield path, {"k": "v" * (value["max"] + 1)}, "less than or equal to"
    elif shape.type_name == "string":
        enum = getattr(shape, "enum", None)
        if enum:
            yield path, "NO_SUCH_WORD", "enum value set"
        if bounds.get("min"):
            yield path, "x" * (bounds["min"] - 1), "greater than or equal to"
        if "max" in bounds:
            yield path, "x" * (bounds["max"] + 1), "less than or equal to"
        if "pattern" in bounds:
            yield path, "§ §", "regular expression pattern"
    elif shape.type_name in ("integer", "long"):
        if "min" in bounds:
            yield path, bounds["min"] - 1, "greater than or equal to"
        if "max" in bounds:
            yield path, bounds["max"] + 1, "less than or equal to"
    elif shape.type_name == "blob" and "max" in bounds:
        yield path, bytes(bounds["max"] + 1), "less than or equal to"


def mistyped(shape, path):
    """A value of another type, and where."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield [*path, name], [] if member.type_name in ("structure", "map", "string") else {}
            yield from mistyped(member, [*path, name])
    elif shape.type_name == "list":
        yield [*path, "[]"], [] if shape.member.type_name in ("structure", "map", "string") else {}
        yield from mistyped(shape.member, [*path, "[]"])


def stored(endpoint, arns):
    """All that may have been stored: streams with what is kept beside them, metrics of shards too, shards, records, consumers."""
    told = {}
    for operation, body in [
        ("ListStreams", {}),
        ("DescribeStreamSummary", {"StreamName": STREAM}),
        ("ListShards", {"StreamName": STREAM}),
        ("ListTagsForStream", {"StreamName": STREAM}),
        ("DescribeAccountSettings", {}),
        ("ListStreamConsumers", {"StreamARN": arns["StreamARN"]}),
        ("GetResourcePolicy", {"ResourceARN": arns["StreamARN"]}),
        ("ListTagsForResource", {"ResourceARN": arns["ConsumerARN"]}),
    ]:
        status, _, told[operation] = ask(endpoint, operation, body)
        assert status == 200, (operation, told)
    for shard in json.loads(told["ListShards"])["Shards"]:
        start = {"StreamName": STREAM, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = json.loads(ask(endpoint, "GetShardIterator", start)[2])
        records = json.loads(ask(endpoint, "GetRecords", iterator)[2])["Records"]
        told[shard["ShardId"]] = json.dumps(records)
    return told


def main(endpoint):
    status, _, told = ask(endpoint, "CreateStream", {"StreamName": STREAM, "ShardCount": 2})
    assert status == 200, told
    stream_arn = json.loads(ask(endpoint, "DescribeStreamSummary", {"StreamName": STREAM})[2])
    stream_arn = stream_arn["StreamDescriptionSummary"]["StreamARN"]
    _, _, told = ask(endpoint, "RegisterStreamConsumer", {"StreamARN": stream_arn, "ConsumerName": CONSUMER})
    arns = {"StreamARN": stream_arn, "ResourceARN": stream_arn, "ConsumerARN": json.loads(told)["Consumer"]["ConsumerARN"]}
    before = stored(endpoint, arns)
    model = botocore.session.get_session().get_service_model("kinesis")
    tried, wrong, used = 0, [], set()
    for operation in model.operation_names:
        shape = model.operation_model(operation).input_shape
        if UNKNOWN.search(operation):
            status, kind, told = ask(endpoint, operation, {})
            if (status, kind) != (400, "UnknownOperationException"):
                wrong.append(f"{operation}: {status} {kind} {told}")
            continue
        if shape is None:
            continue
        base = valid(shape, "", arns)
        if operation.startswith("PutRecord"):
            for record in base.get("Records", [base]):
                record["PartitionKey"] = "key"  # which need not be there where records are spread
        # What need not be there and says which stream it is.
        if "StreamName" in shape.members and "StreamARN" not in shape.required_members:
            base["StreamName"] = STREAM
        elif "StreamARN" in shape.members:
            base["StreamARN"] = stream_arn
        for path, value, says in violations(shape, [], arns):
            where = ".".join(path)
            if (operation, where) in LEFT or (None, where) in LEFT:
                used.add((operation, where) if (operation, where) in LEFT else (None, where))
                continue
            names = [step for step in path if step != "[]"]
            member = names[-1][0].lower() + names[-1][1:]
            for form in (JSON, CBOR):
                tried += 1
                status, kind, told = ask(endpoint, operation, changed(base, path, value), form)
                is_right = (status, kind) == (400, "ValidationException") and member in told and says in told
                if not is_right:
                    what = f"{form[0]} {operation} {where} = {str(value)[:40]!r} ({says})"
                    wrong.append(f"{what}: {status} {kind} {told[:160]}")
        for path, value in mistyped(shape, []):
            where = ".".join(path)
            if (operation, where) in LEFT or (None, where) in LEFT:
                continue
            for form in (JSON, CBOR):
                tried += 1
                status, kind, told = ask(endpoint, operation, changed(base, path, value), form)
                if (status, kind) != (400, "SerializationException"):
                    wrong.append(f"{form[0]} {operation} {where} = {value}: {status} {kind} {told[:160]}")
    after = stored(endpoint, arns)
    changes = [what for what in before if before[what] != after[what]]
    for line in wrong:
        print(line, file=sys.stderr)
    assert not changes, f"stored in spite of all: {changes}"
    assert not wrong, f"{len(wrong)} of {tried} violations were not told as the service tells them"
    assert used == set(LEFT), f"told as the service does by now: {set(LEFT) - used}"
    assert tried > 400, f"the model has only {tried} constraints: it was not read"
    print(f"{tried} violations of the model, half of them in CBOR, each told as the service does, and nothing stored")


main(sys.argv[1])
