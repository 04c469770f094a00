"""Goes through `operations.json`: each operation is called, and what it is to answer is compared.

A step is an operation, its input, and what is expected: `told` this, or more; the same `until` it does, asked again; to be `refused`.
The behaviour is what the API's reference says of the operations that its name has.
"""

import json
import re
import time
from pathlib import Path

from botocore.exceptions import ClientError

STEPS = Path(__file__).parent.parent / "operations.json"
PATIENCE_S = 30


def has(found, expected):
    """Whether an answer has what is expected, and maybe more; null is what must not be there."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(has(found.get(key), value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(found or []) == len(expected) and all(map(has, found or [], expected))
    return found == expected


def step(kinesis, operation, given, expected):
    call = getattr(kinesis, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower())
    begun = time.monotonic()
    while True:
        try:
            told = call(**given)
        except ClientError as refusal:
            told = refusal.response["Error"]["Code"]
            assert told == expected.get("refused"), f"{operation} {given}: {refusal}"
            return
        assert "refused" not in expected, f"{operation} {given}: not refused, but {told}"
        if has(told, expected.get("told", expected.get("until", {}))):
            return
        assert "until" in expected and time.monotonic() < begun + PATIENCE_S, f"{operation} {given}: {told}, not {expected}"
        time.sleep(0.05)


def operations(kinesis):
    for behaviour, steps in json.loads(STEPS.read_text()):
        for operation, given, *expected in steps:
            step(kinesis, operation, given, *expected or [{}])
        print(f"boto3: {behaviour}")
