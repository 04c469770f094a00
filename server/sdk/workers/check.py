"""Workers in Python with one endpoint for streams, leases and metrics: two share the leases, follow a split and a merge while records
come, one is killed, and who goes on begins where it had kept its place. Once by polling, once by enhanced fan-out.

    check.py kcl-rs|kclpy ENDPOINT ADMIN

Every record comes at least once, none again that a worker has kept its place behind, those of a key in the order that they were put
in, and no child begins before its parents have ended.

Each check pins what the KCL for Java promises in its own documents: its README (Features), docs/lease-lifecycle.md and
docs/kcl-configurations.md. amazon_kclpy runs that KCL; kcl-rs is a port of its third version.
"""

import collections
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

SHARDS = 3
KEYS = 10
PATIENCE_S = 300


class Check:
    def __init__(self, library, endpoint, mode, folder):
        self.library, self.endpoint, self.mode = library, endpoint, mode
        self.name = f"{library}-{mode}"
        self.said = pathlib.Path(folder) / mode
        config = Config(retries={"max_attempts": 1}, connect_timeout=10, read_timeout=60)
        self.kinesis = boto3.client("kinesis", endpoint_url=endpoint, config=config)
        self.dynamo = boto3.client("dynamodb", endpoint_url=endpoint, config=config)
        self.workers = []
        self.putting = threading.Event()
        self.failure = None
        # What was put, and what workers said; all under the lock.
        self.lock = threading.Lock()
        self.put = set()
        self.turns = 0
        self.got = collections.defaultdict(list)  # when, by record; a moment is a line's number
        self.by_worker = collections.Counter()
        self.since = collections.defaultdict(list)
        self.kept = set()
        self.begun = {}
        self.ending = {}
        self.ended = set()

    def run(self):
        self.kinesis.create_stream(StreamName=self.name, ShardCount=SHARDS)
        os.mkfifo(self.said)
        threading.Thread(target=self.listen, daemon=True).start()
        putting = threading.Thread(target=self.put_all_along, daemon=True)
        putting.start()

        # docs/lease-lifecycle.md, Lease Lifecycle: there is a lease for each shard, and a worker takes those that nobody has.
        self.says("a worker takes all leases")
        first = self.begin("one")
        self.until(lambda: self.owners() == {"one"} and len(self.leases()) == SHARDS and self.by_worker["one"] > 0)

        # README, Load balancing: the work is spread over the workers that there are.
        self.says("a second one takes its share")
        second = self.begin("two")
        self.until(lambda: self.owners() == {"one", "two"} and self.by_worker["two"] > 0)

        # docs/lease-lifecycle.md, Lease Assignment: shards that come of a split have leases of their own; their parent's ends as SHARD_END.
        self.says("a shard is split: its children follow it")
        parent = self.open()[0]
        middle = sum(int(parent["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey")) // 2
        self.kinesis.split_shard(StreamName=self.name, ShardToSplit=parent["ShardId"], NewStartingHashKey=str(middle))
        self.until(lambda: {parent["ShardId"]} <= self.ended and len(self.leases()) == SHARDS + 1)

        # The same of a merge: one lease for the child, when both parents have ended.
        self.says("two are merged: their child follows them")
        parents = [shard["ShardId"] for shard in self.open()[-2:]]
        self.kinesis.merge_shards(StreamName=self.name, ShardToMerge=parents[0], AdjacentShardToMerge=parents[1])
        self.until(lambda: set(parents) <= self.ended and len(self.leases()) == SHARDS)

        # README, Fault tolerance; docs/kcl-configurations.md: a lease that is not renewed for failoverTimeMillis goes to another worker.
        self.says("one is killed: the other takes its leases")
        kill(first)
        self.until(lambda: self.owners() == {"two"})

        # README, Fault tolerance: at-least-once delivery.
        self.says("every record has come")
        self.putting.set()
        putting.join()
        self.until(self.has_all)
        self.end(second)

        # README, Checkpointing: an application goes on from where it last kept its place.
        self.says("who begins anew goes on where they were")
        self.put_lot()
        self.begin("three")
        self.until(self.has_all)

        # README, Handling stream-level changes: children are read when their parents have been read to the end and checkpointed there.
        self.says("a child begins when its parents have ended")
        self.check_parents()
        # The same, which keeps the order of what was put in sequence.
        self.says("records of a key come in the order that they were put in")
        self.check_order()
        assert self.failure is None, self.failure
        again = sum(len(times) > 1 for times in self.got.values())
        self.says(f"{len(self.put)} records, {again} of them more than once; by worker {dict(self.by_worker)}")

    def says(self, what):
        # In one piece: others print at the same time, and print() writes the end of a line by itself where nothing is buffered.
        sys.stdout.write(f"{self.name}: {what}\n")
        sys.stdout.flush()

    def put_all_along(self):
        """Records come at a steady rate, so that nothing happens beside them."""
        try:
            while not self.putting.wait(0.2):
                self.put_lot()
        except Exception as broken:
            self.fail(f"records can't be put: {broken}")

    def put_lot(self):
        """Puts a record of each key, again those that a shard that is split or merged does not take in just now."""
        left = [f"{key}-{self.turns}" for key in range(KEYS)]
        while left:
            entries = [{"PartitionKey": record.split("-")[0], "Data": record.encode()} for record in left]
            results = self.kinesis.put_records(StreamName=self.name, Records=entries)["Records"]
            with self.lock:
                self.put.update(record for record, result in zip(left, results) if "ErrorCode" not in result)
            left = [record for record, result in zip(left, results) if "ErrorCode" in result]
        self.turns += 1

    def begin(self, worker):
        program = pathlib.Path(__file__).parents[1] / self.library / "worker.py"
        command = [sys.executable, program, self.endpoint, self.name, self.name, worker, self.mode]
        set_here = {"PYTHONPATH": pathlib.Path(__file__).parent, "SAID": self.said, "TMPDIR": self.said.parent, "WORKER": worker}
        environment = os.environ | {name: str(value) for name, value in set_here.items()}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
        self.workers.append(process)
        return process

    def end(self, process):
        process.stdin.close()
        status = process.wait(PATIENCE_S)
        assert status == 0, f"a worker ended with status {status}"

    def listen(self):
        with os.fdopen(os.open(self.said, os.O_RDWR)) as lines:  # both, so that it has no end while nobody writes
            for moment, line in enumerate(lines):
                with self.lock:
                    self.hear(moment, *line.split())

    def hear(self, moment, worker, what, shard, record=None):
        since = self.since[worker, shard]
        if what == "begun":
            since.clear()
            self.begun.setdefault(shard, moment)
        elif what == "got":
            if record in self.kept:
                self.fail(f"{worker} got {record} of {shard} again, behind which its place was kept")
            self.got[record].append(moment)
            self.by_worker[worker] += 1
            since.append(record)
        elif what == "kept":
            self.kept.update(since)
        elif what == "ending":
            self.ending.setdefault(shard, moment)
        elif what == "ended":
            self.ended.add(shard)

    def fail(self, what):
        self.failure = self.failure or what

    def has_all(self):
        with self.lock:
            return self.put <= self.got.keys()

    def shards(self):
        return self.kinesis.list_shards(StreamName=self.name)["Shards"]

    def open(self):
        """Shards that take records in, by their hash keys."""
        shards = [shard for shard in self.shards() if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        return sorted(shards, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))

    def leases(self):
        """Leases of shards that have not ended."""
        items = self.dynamo.scan(TableName=self.name, ConsistentRead=True)["Items"]
        leases = [item for item in items if item.get("leaseKey", {}).get("S", "").startswith("shardId-")]
        return [lease for lease in leases if lease.get("checkpoint") != {"S": "SHARD_END"}]

    def owners(self):
        return {lease.get("leaseOwner", {}).get("S", "nobody") for lease in self.leases()}

    def until(self, holds):
        end = time.monotonic() + PATIENCE_S
        while True:
            assert self.failure is None, self.failure
            for worker in self.workers:
                assert worker.poll() in (None, 0, -9), f"a worker ended with status {worker.poll()}"
            try:
                if holds():
                    return
            except ClientError as early:
                if early.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
                # The table is not there yet.
            with self.lock:
                missing = len(self.put - self.got.keys())
            assert time.monotonic() < end, (
                f"not within {PATIENCE_S} s; leases {self.leases()}; by worker {self.by_worker}; ended {self.ended}; "
                f"missing {missing} of {len(self.put)}"
            )
            time.sleep(0.5)

    def check_parents(self):
        children = 0
        for shard in self.shards():
            for parent in (shard.get("ParentShardId"), shard.get("AdjacentParentShardId")):
                if parent is not None:
                    children += 1
                    child = shard["ShardId"]
                    assert self.begun[child] > self.ending[parent], f"{child} began before {parent} had ended"
        assert children == 4, children

    def check_order(self):
        for key in range(KEYS):
            first = [self.got[f"{key}-{turn}"][0] for turn in range(self.turns)]
            for turn, (one, next_one) in enumerate(zip(first, first[1:])):
                assert one < next_one, f"{key}-{turn + 1} came before {key}-{turn}"

    def metrics(self, admin):
        """What the workers measured is told where the server is watched."""
        # README, Monitoring: it reports to CloudWatch, here to this server.
        self.says("its metrics are told")
        told = urllib.request.urlopen(f"http://{admin}/metrics").read().decode()
        expected = f'millstream_client_metric_samples_total{{namespace="{self.name}",metric="RecordsProcessed"'
        assert expected in told, f"there is no {expected}"


def kill(worker):
    """With all that it began."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def main():
    library, endpoint, admin = sys.argv[1:]
    broken = []

    def run(check):
        try:
            check.run()
            check.metrics(admin)
        except BaseException as error:
            broken.append(f"{check.name}: {type(error).__name__}: {error}")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    with tempfile.TemporaryDirectory() as folder:
        # Side by side: most of the time is spent waiting for leases to expire.
        checks = [Check(library, endpoint, mode, folder) for mode in ("polling", "fan-out")]
        threads = [threading.Thread(target=run, args=(check,), daemon=True) for check in checks]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for check in checks:
                for worker in check.workers:
                    kill(worker)
    if broken:
        sys.exit("\n".join(broken))


main()
