// A worker of the KCL 3, in a process of its own, with one endpoint for streams, leases and metrics. It tells what happens, and ends
// gracefully when it is told to (Told).
//
//     java Worker ENDPOINT STREAM APPLICATION NAME polling|fan-out

import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.KinesisClientUtil;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

final class Worker {
    public static void main(String[] arguments) throws Exception {
        String stream = arguments[1], application = arguments[2], name = arguments[3];
        URI endpoint = URI.create(arguments[0]);
        KinesisAsyncClient kinesis = KinesisClientUtil.createKinesisAsyncClient(at(KinesisAsyncClient.builder(), endpoint));
        var start = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        var configs = new ConfigsBuilder(
            new SingleStreamTracker(StreamIdentifier.singleStreamInstance(stream), start),
            application,
            kinesis,
            at(DynamoDbAsyncClient.builder(), endpoint).build(),
            at(CloudWatchAsyncClient.builder(), endpoint).build(),
            name,
            Processor::new);
        var leases = configs.leaseManagementConfig();
        // As short as they go: by default the first record comes after a minute and a half.
        leases.failoverTimeMillis(4_000).shardSyncIntervalMillis(2_000).leasesRecoveryAuditorExecutionFrequencyMillis(5_000);
        leases.workerUtilizationAwareAssignmentConfig()
            .inMemoryWorkerMetricsCaptureFrequencyMillis(500)
            .workerMetricsReporterFreqInMillis(1_000);
        var coordinator = configs.coordinatorConfig()
            .parentShardPollIntervalMillis(1_000)
            .shardConsumerDispatchPollIntervalMillis(200)
            .schedulerInitializationBackoffTimeMillis(200);
        var retrieval = configs.retrievalConfig();
        if (arguments[4].equals("polling")) {
            retrieval.retrievalSpecificConfig(new PollingConfig(stream, kinesis));
        }
        Scheduler scheduler = new Scheduler(
            configs.checkpointConfig(),
            coordinator,
            leases,
            configs.lifecycleConfig(),
            configs.metricsConfig().metricsLevel(MetricsLevel.DETAILED).metricsBufferTimeMillis(2_000),
            configs.processorConfig(),
            retrieval);
        Thread thread = new Thread(scheduler);
        thread.setDaemon(true);
        thread.start();
        Told.untilEnd();
        scheduler.startGracefulShutdown().get(60, TimeUnit.SECONDS);
        System.exit(0);
    }

    private static <B extends AwsClientBuilder<B, ?>> B at(B builder, URI endpoint) {
        return builder.endpointOverride(endpoint);
    }

    private static final class Processor implements ShardRecordProcessor {
        private String shard;

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            Told.say("begun " + shard);
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            for (var record : input.records()) {
                Told.say("got " + shard + " " + StandardCharsets.UTF_8.decode(record.data()));
            }
            if (!input.records().isEmpty() && checkpoint(input.checkpointer())) {
                Told.say("kept " + shard);
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            Told.say("lost " + shard);
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            Told.say("ending " + shard);
            if (checkpoint(input.checkpointer())) {
                Told.say("ended " + shard);
            }
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            if (checkpoint(input.checkpointer())) {
                Told.say("kept " + shard);
            }
        }

        /** Whether it was kept: it is not if the lease went to another meanwhile. */
        private static boolean checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
                return true;
            } catch (ShutdownException lost) {
                return false;
            } catch (InvalidStateException broken) {
                throw new IllegalStateException(broken);
            }
        }
    }
}
