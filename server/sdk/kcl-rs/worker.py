"""A worker of kcl-rs, in a process of its own, with one endpoint for streams, leases and metrics. It ends gracefully when its standard
input ends.

    worker.py ENDPOINT STREAM APPLICATION NAME polling|fan-out
"""

import sys

from kcl_rs import RecordProcessorBase, Scheduler
from speaking import Speaking


class Processor(Speaking, RecordProcessorBase):
    pass


def main():
    endpoint, stream, application, name, mode = sys.argv[1:]
    scheduler = Scheduler(
        stream_name=stream,
        application_name=application,
        record_processor_factory=Processor,
        worker_identifier=name,
        region="us-east-1",
        endpoint_url=endpoint,
        initial_position="TRIM_HORIZON",
        retrieval_mode={"polling": "POLLING", "fan-out": "FANOUT"}[mode],
        shard_sync_interval_millis=2_000,
    )
    scheduler.start()
    sys.stdin.read()
    scheduler.shutdown()


main()
