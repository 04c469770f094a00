import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.ProtocolNegotiation;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.ChildShard;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ResourceInUseException;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardRequest;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

/** Puts, reads and subscribes with the SDK for Java as it comes: in CBOR, but for SubscribeToShard, and over HTTP/2 as KCL sets it. */
public final class Check {
    private static final String STREAM = "java-records";
    private static final String SHARD = "shardId-000000000000";
    private static final int RECORDS = 2_000;
    private static final int LIVE = 20;

    private final KinesisClient kinesis;
    private final KinesisAsyncClient async;
    private final List<String> numbers = new ArrayList<>();
    private int told;
    private final CountDownLatch begun = new CountDownLatch(1);
    private boolean silent;
    private List<ChildShard> children;

    private Check(URI endpoint) {
        var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("any", "any"));
        // What goes over the wire is what the SDK chooses; this only looks.
        var looks = new ExecutionInterceptor() {
            @Override
            public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
                String type = context.httpRequest().firstMatchingHeader("Content-Type").orElse("none");
                boolean subscribes = context.request() instanceof SubscribeToShardRequest;
                String expected = subscribes ? "application/x-amz-json-1.1" : "application/x-amz-cbor-1.1";
                check(type.equals(expected), "sent as " + type);
            }
        };
        kinesis = KinesisClient.builder().endpointOverride(endpoint).region(Region.US_EAST_1)
            .credentialsProvider(credentials).overrideConfiguration(c -> c.addExecutionInterceptor(looks))
            .httpClientBuilder(UrlConnectionHttpClient.builder()).build();
        async = KinesisAsyncClient.builder().endpointOverride(endpoint).region(Region.US_EAST_1)
            .credentialsProvider(credentials).overrideConfiguration(c -> c.addExecutionInterceptor(looks))
            .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP2)
                .protocolNegotiation(ProtocolNegotiation.ASSUME_PROTOCOL)).build();
    }

    private static void check(boolean is, String what) {
        if (!is) {
            throw new AssertionError(what);
        }
    }

    /** Bytes of every value and of every length up to 1,000. */
    private static byte[] dataOf(int number) {
        byte[] data = new byte[1 + number % 1000];
        for (int at = 0; at < data.length; at++) {
            data[at] = (byte) (number * 31 + at * 7);
        }
        return data;
    }

    private static String keyOf(int number) {
        return (number % 7 == 0 ? "ключ-" : "key-") + number;
    }

    private void put() {
        for (int first = 0; first < RECORDS; first += 500) {
            List<PutRecordsRequestEntry> entries = new ArrayList<>();
            for (int number = first; number < first + 500; number++) {
                entries.add(PutRecordsRequestEntry.builder().data(SdkBytes.fromByteArray(dataOf(number)))
                    .partitionKey(keyOf(number)).build());
            }
            var answer = kinesis.putRecords(r -> r.streamName(STREAM).records(entries));
            check(answer.failedRecordCount() == 0, "records failed");
            answer.records().forEach(record -> numbers.add(record.sequenceNumber()));
        }
    }

    private void same(Record record, int at) {
        check(at < numbers.size() && record.sequenceNumber().equals(numbers.get(at)), "record " + at + " is out of order");
        check(record.partitionKey().equals(keyOf(at)), "the key of record " + at);
        check(Arrays.equals(record.data().asByteArray(), dataOf(at)), "record " + at + " differs");
        Duration age = Duration.between(record.approximateArrivalTimestamp(), Instant.now()).abs();
        check(age.toMinutes() < 10, "record " + at + " arrived at " + record.approximateArrivalTimestamp());
    }

    private String begin(ShardIteratorType type, Instant time) {
        return kinesis.getShardIterator(r -> r.streamName(STREAM).shardId(SHARD).shardIteratorType(type).timestamp(time))
            .shardIterator();
    }

    /** Each record once, unchanged, in order. Behind the end of a closed shard there is no iterator, but its children. */
    private GetRecordsResponse read() {
        String iterator = begin(ShardIteratorType.TRIM_HORIZON, null);
        int at = 0;
        while (true) {
            String from = iterator;
            var answer = kinesis.getRecords(r -> r.shardIterator(from).limit(777));
            for (Record record : answer.records()) {
                same(record, at++);
            }
            iterator = answer.nextShardIterator();
            if (iterator == null || (answer.millisBehindLatest() == 0 && at == numbers.size())) {
                check(at == numbers.size(), at + " of " + numbers.size() + " records");
                return answer;
            }
        }
    }

    /** A time names the first record that arrived then: to the millisecond, as CBOR carries it. */
    private void readFromTime() {
        String all = begin(ShardIteratorType.TRIM_HORIZON, null);
        var records = kinesis.getRecords(r -> r.shardIterator(all)).records();
        Instant last = records.get(records.size() - 1).approximateArrivalTimestamp();
        Record first = records.stream().filter(r -> !r.approximateArrivalTimestamp().isBefore(last)).findFirst().orElseThrow();
        String since = begin(ShardIteratorType.AT_TIMESTAMP, last);
        var found = kinesis.getRecords(r -> r.shardIterator(since)).records();
        check(found.get(0).sequenceNumber().equals(first.sequenceNumber()), "another record is the first since " + last);
    }

    private CompletableFuture<Void> subscribe(String consumer) {
        var request = SubscribeToShardRequest.builder().consumerARN(consumer).shardId(SHARD)
            .startingPosition(p -> p.type(ShardIteratorType.TRIM_HORIZON)).build();
        var visitor = SubscribeToShardResponseHandler.Visitor.builder().onSubscribeToShardEvent(this::heard).build();
        return async.subscribeToShard(request, SubscribeToShardResponseHandler.builder().subscriber(visitor).build());
    }

    /** What there is, then what comes, then the end where the shard was split. */
    private void heard(SubscribeToShardEvent event) {
        check(children == null, "something follows the end");
        begun.countDown();
        for (Record record : event.records()) {
            same(record, told++);
        }
        if (event.hasChildShards() && !event.childShards().isEmpty()) {
            children = event.childShards();
        }
        check((event.continuationSequenceNumber() == null) == (children != null), "a number to go on from");
        if (told == RECORDS && numbers.size() == RECORDS) {
            for (int number = RECORDS; number < RECORDS + LIVE; number++) {
                var data = SdkBytes.fromByteArray(dataOf(number));
                String key = keyOf(number);
                numbers.add(kinesis.putRecord(r -> r.streamName(STREAM).data(data).partitionKey(key)).sequenceNumber());
            }
        }
        // A sign of life, after which the shard is split.
        if (told == RECORDS + LIVE && event.records().isEmpty() && !silent) {
            silent = true;
            kinesis.splitShard(r -> r.streamName(STREAM).shardToSplit(SHARD).newStartingHashKey("7"));
        }
    }

    private void run() throws Exception {
        kinesis.createStream(r -> r.streamName(STREAM).shardCount(1));
        put();
        check(read().nextShardIterator() != null, "an open shard goes on");
        readFromTime();
        var summary = kinesis.describeStreamSummary(r -> r.streamName(STREAM)).streamDescriptionSummary();
        check(Duration.between(summary.streamCreationTimestamp(), Instant.now()).abs().toMinutes() < 10, "made now");
        String consumer = kinesis.registerStreamConsumer(r -> r.streamARN(summary.streamARN()).consumerName("java"))
            .consumer().consumerARN();
        var subscription = subscribe(consumer);
        check(begun.await(30, TimeUnit.SECONDS), "something is pushed");
        try {
            subscribe(consumer).get(30, TimeUnit.SECONDS);
            throw new AssertionError("a second subscription within five seconds");
        } catch (ExecutionException error) {
            check(error.getCause() instanceof ResourceInUseException, "refused by " + error.getCause());
        }
        subscription.get(90, TimeUnit.SECONDS);
        check(told == RECORDS + LIVE, "pushed " + told);
        check(children != null && children.size() == 2, "children " + children);
        children.forEach(child -> check(child.parentShards().equals(List.of(SHARD)), "parents of " + child));
        var end = read();
        check(end.nextShardIterator() == null && end.childShards().size() == 2, "the end " + end.childShards());
        try {
            kinesis.deleteStream(r -> r.streamName("nowhere"));
            throw new AssertionError("nothing was deleted");
        } catch (ResourceNotFoundException error) {
            check(error.awsErrorDetails().errorMessage().contains("nowhere"), error.getMessage());
        }
        System.out.println("java: put " + told + " records, read and was pushed each once, in order, unchanged, in CBOR");
    }

    public static void main(String[] arguments) throws Exception {
        new Check(URI.create(arguments[0])).run();
        System.exit(0);
    }
}
