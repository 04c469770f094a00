"""What a worker in Python does with records, whichever library gives them: it says what happens, a line each, to a pipe that $SAID
names, where lines of all workers come in the order in which they were said:

    WORKER begun SHARD | got SHARD RECORD | kept SHARD (checkpoint behind all it got of it) | ending SHARD | ended SHARD | lost SHARD
"""

import os

pipe = os.open(os.environ["SAID"], os.O_WRONLY)


def say(*words):
    # A line this short is never mixed with others.
    os.write(pipe, " ".join([os.environ["WORKER"], *words, "\n"]).encode())


def checkpoint(checkpointer):
    """Whether the place was kept: it is not if the lease went to another meanwhile."""
    try:
        checkpointer.checkpoint()
        return True
    except Exception as error:
        if getattr(error, "value", None) == "ShutdownException":
            return False
        raise


class Speaking:
    """Comes before a library's own base of processors."""

    def initialize(self, initialize_input):
        self.shard = initialize_input.shard_id
        say("begun", self.shard)

    def process_records(self, process_records_input):
        for record in process_records_input.records:
            say("got", self.shard, record.binary_data.decode())
        if process_records_input.records and checkpoint(process_records_input.checkpointer):
            say("kept", self.shard)

    def lease_lost(self, lease_lost_input):
        say("lost", self.shard)

    def shard_ended(self, shard_ended_input):
        say("ending", self.shard)
        if checkpoint(shard_ended_input.checkpointer):
            say("ended", self.shard)

    def shutdown_requested(self, shutdown_requested_input):
        if checkpoint(shutdown_requested_input.checkpointer):
            say("kept", self.shard)
