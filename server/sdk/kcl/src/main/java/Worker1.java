// A worker of the KCL 1, on the SDK's first version, as Worker is one of the KCL 3.
//
//     java Worker1 ENDPOINT STREAM APPLICATION NAME

import com.amazonaws.auth.DefaultAWSCredentialsProviderChain;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.cloudwatch.AmazonCloudWatchClientBuilder;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.InvalidStateException;
import com.amazonaws.services.kinesis.clientlibrary.exceptions.ShutdownException;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.IRecordProcessorCheckpointer;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IRecordProcessor;
import com.amazonaws.services.kinesis.clientlibrary.interfaces.v2.IShutdownNotificationAware;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.InitialPositionInStream;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.KinesisClientLibConfiguration;
import com.amazonaws.services.kinesis.clientlibrary.lib.worker.ShutdownReason;
import com.amazonaws.services.kinesis.clientlibrary.types.InitializationInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ProcessRecordsInput;
import com.amazonaws.services.kinesis.clientlibrary.types.ShutdownInput;
import com.amazonaws.services.kinesis.metrics.interfaces.MetricsLevel;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

final class Worker1 {
    public static void main(String[] arguments) throws Exception {
        String endpoint = arguments[0], stream = arguments[1], application = arguments[2], name = arguments[3];
        String region = System.getenv("AWS_REGION");
        var configuration = new KinesisClientLibConfiguration(application, stream, new DefaultAWSCredentialsProviderChain(), name)
            .withRegionName(region)
            .withKinesisEndpoint(endpoint)
            .withDynamoDBEndpoint(endpoint)
            .withInitialPositionInStream(InitialPositionInStream.TRIM_HORIZON)
            .withFailoverTimeMillis(4_000)
            .withShardSyncIntervalMillis(2_000)
            .withParentShardPollIntervalMillis(1_000)
            .withIdleTimeBetweenReadsInMillis(500)
            .withMetricsLevel(MetricsLevel.DETAILED)
            .withMetricsBufferTimeMillis(2_000);
        var worker = new com.amazonaws.services.kinesis.clientlibrary.lib.worker.Worker.Builder()
            .recordProcessorFactory(Processor::new)
            .config(configuration)
            .cloudWatchClient(AmazonCloudWatchClientBuilder.standard()
                .withEndpointConfiguration(new EndpointConfiguration(endpoint, region)).build())
            .build();
        Thread thread = new Thread(worker);
        thread.setDaemon(true);
        thread.start();
        Told.untilEnd();
        worker.startGracefulShutdown().get(60, TimeUnit.SECONDS);
        System.exit(0);
    }

    private static final class Processor implements IRecordProcessor, IShutdownNotificationAware {
        private String shard;

        @Override
        public void initialize(InitializationInput input) {
            shard = input.getShardId();
            Told.say("begun " + shard);
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            for (var record : input.getRecords()) {
                Told.say("got " + shard + " " + StandardCharsets.UTF_8.decode(record.getData()));
            }
            if (!input.getRecords().isEmpty() && checkpoint(input.getCheckpointer())) {
                Told.say("kept " + shard);
            }
        }

        @Override
        public void shutdown(ShutdownInput input) {
            if (input.getShutdownReason() != ShutdownReason.TERMINATE) {
                Told.say("lost " + shard);
                return;
            }
            Told.say("ending " + shard);
            if (checkpoint(input.getCheckpointer())) {
                Told.say("ended " + shard);
            }
        }

        @Override
        public void shutdownRequested(IRecordProcessorCheckpointer checkpointer) {
            if (checkpoint(checkpointer)) {
                Told.say("kept " + shard);
            }
        }

        /** Whether it was kept: it is not if the lease went to another meanwhile. */
        private static boolean checkpoint(IRecordProcessorCheckpointer checkpointer) {
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
