"""What amazon_kclpy's daemon begins for each shard: it speaks with it on standard input and output."""

from amazon_kclpy.kcl import KCLProcess
from amazon_kclpy.v3.processor import RecordProcessorBase
from speaking import Speaking


class Processor(Speaking, RecordProcessorBase):
    pass


KCLProcess(Processor()).run()
