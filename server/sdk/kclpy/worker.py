"""A worker of amazon_kclpy: its MultiLangDaemon, with the settings of a file, and one endpoint for streams, leases and metrics. It ends
gracefully when its standard input ends.

    worker.py ENDPOINT STREAM APPLICATION NAME polling|fan-out
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile


def main():
    endpoint, stream, application, name, mode = sys.argv[1:]
    settings = {
        "executableName": f"{sys.executable} {pathlib.Path(__file__).with_name('processor.py')}",
        "streamName": stream,
        "applicationName": application,
        "workerId": name,
        "regionName": "us-east-1",
        "AwsCredentialsProvider": "DefaultCredentialsProvider",
        "initialPositionInStream": "TRIM_HORIZON",
        "retrievalMode": {"polling": "POLLING", "fan-out": "FANOUT"}[mode],
        # As short as they go: by default the first record comes after a minute and a half.
        "failoverTimeMillis": 4_000,
        "shardSyncIntervalMillis": 2_000,
        "parentShardPollIntervalMillis": 1_000,
        "schedulerInitializationBackoffTimeMillis": 200,
        "inMemoryWorkerMetricsCaptureFrequencyMillis": 500,
        "workerMetricsReporterFreqInMillis": 1_000,
        "metricsBufferTimeMillis": 2_000,
        "shutdownGraceMillis": 60_000,
    }
    with tempfile.TemporaryDirectory() as folder:
        properties = pathlib.Path(folder) / "worker.properties"
        properties.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        helper = pathlib.Path(sys.executable).with_name("amazon_kclpy_helper.py")
        told = [sys.executable, helper, "--print_command", "--java", "java", "--properties", properties]
        command = subprocess.run(told, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        environment = os.environ | {"AWS_ENDPOINT_URL": endpoint, "JAVA_TOOL_OPTIONS": "-Xmx256m -XX:TieredStopAtLevel=1"}
        silent = subprocess.DEVNULL
        daemon = subprocess.Popen(command, env=environment, stdin=silent, stdout=silent, stderr=silent)
        sys.stdin.read()
        daemon.terminate()  # gracefully
        assert daemon.wait() == 128 + signal.SIGTERM, daemon.returncode


main()
