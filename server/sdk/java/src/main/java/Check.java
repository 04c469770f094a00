// The SDK for Java 2: the synchronous client in CBOR over HTTP/1.1, as it comes, and in JSON; the asynchronous one over HTTP/2 without
// TLS, as the KCL sets it, with SubscribeToShard.
//
//     java Check ENDPOINT
//
// Each check is named after what the API's reference says of the operations that it names, or the SDK expects. Those of SubscribeToShard
// wait five seconds for a sign of life: that there are some is documented (ContinuationSequenceNumber), how often is not. By hash key:
// ExplicitHashKey of PutRecord.

import java.math.BigInteger;
import java.net.URI;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.SdkSystemSetting;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.Http2Configuration;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.ChildShard;
import software.amazon.awssdk.services.kinesis.model.ConsumerStatus;
import software.amazon.awssdk.services.kinesis.model.GetRecordsResponse;
import software.amazon.awssdk.services.kinesis.model.InvalidArgumentException;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ResourceInUseException;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardFilterType;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StartingPosition;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.ValidationException;

final class Check {
    private static final String STREAM = "java-records";
    private static final String SHARD = "shardId-000000000000";
    private static final int RECORDS = 2_000;
    private static final int LIVE = 20;
    private static final BigInteger MIDDLE = BigInteger.ONE.shiftLeft(127);

    /** What the clients said they speak: the content types of requests. */
    private static final Set<String> SPOKEN = Collections.synchronizedSet(new HashSet<>());

    private final KinesisClient cbor;
    private final KinesisClient json;
    private final KinesisAsyncClient http2;
    /** The sequence numbers of what was put, in the order of its number: all in the shard that is split later. */
    private final List<String> numbers = new ArrayList<>();
    private String arn;
    private String consumer;
    private Subscription first;
    private Subscription second;
    private String continued;
    private List<ChildShard> children;

    private Check(String endpoint) {
        cbor = with(KinesisClient.builder(), endpoint).build();
        http2 = with(KinesisAsyncClient.builder(), endpoint)
            .httpClientBuilder(NettyNioAsyncHttpClient.builder()
                .protocol(Protocol.HTTP2)
                .maxConcurrency(Integer.MAX_VALUE)
                .http2Configuration(Http2Configuration.builder().initialWindowSize(512 * 1024).build()))
            .build();
        System.setProperty(SdkSystemSetting.CBOR_ENABLED.property(), "false");
        json = with(KinesisClient.builder(), endpoint).build();
    }

    private static <B extends AwsClientBuilder<B, ?>> B with(B builder, String endpoint) {
        var configuration = ClientOverrideConfiguration.builder()
            .retryStrategy(DefaultRetryStrategy.doNotRetry())
            .addExecutionInterceptor(new ExecutionInterceptor() {
                @Override
                public void beforeTransmission(Context.BeforeTransmission sent, ExecutionAttributes attributes) {
                    SPOKEN.addAll(sent.httpRequest().matchingHeaders("Content-Type"));
                }
            });
        return builder.endpointOverride(URI.create(endpoint)).region(Region.US_EAST_1)
            .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("any", "any")))
            .overrideConfiguration(configuration.build());
    }

    public static void main(String[] arguments) {
        var check = new Check(arguments[0]);
        check("CreateStream makes a stream, which DescribeStreamSummary tells ACTIVE, and has no second of its name", check::create);
        check("PutRecords answers entry for entry, PutRecord with where the record is", check::put);
        check("GetRecords gives each record once, unchanged, in order; an open shard's iterator goes on", check::readOpen);
        check("the synchronous client speaks CBOR, and times are the same to the millisecond in JSON", check::encodings);
        check("RegisterStreamConsumer's consumer becomes ACTIVE, and there is no second of its name", check::register);
        check("SubscribeToShard pushes what there is, then what is put meanwhile, in order", check::pushed);
        check("SubscribeToShard within five seconds of another of the consumer is a ResourceInUseException", check::subscribeAgain);
        check("SubscribeToShard says something every five seconds, where to go on among it", check::heartbeat);
        check("SubscribeToShard after five seconds takes over; the one before fails with ResourceInUseException", check::takeOver);
        check("SubscribeToShard ends where the shard was split: ChildShards, and no ContinuationSequenceNumber", check::split);
        check("GetRecords behind a closed shard's last record gives ChildShards and no iterator", check::readClosed);
        check("ListShards tells both children and their parent, whose sequence numbers have an end now", check::list);
        check("records put after the split are in the children, by hash key", check::readChildren);
        check("errors come by type: what is not there, what is not allowed, what is no iterator", check::errors);
        check("DeregisterStreamConsumer: the consumer is gone", check::deregister);
        System.exit(0); // Threads of the clients would go on.
    }

    private static void check(String behaviour, Runnable run) {
        try {
            run.run();
        } catch (RuntimeException | AssertionError why) {
            System.err.println("java: FAILED: " + behaviour);
            why.printStackTrace();
            System.exit(1);
        }
        System.out.println("java: " + behaviour);
    }

    static void need(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void same(Object expected, Object found) {
        need(expected.equals(found), "expected " + expected + ", found " + found);
    }

    private static <E extends KinesisException> void refused(Class<E> type, Callable<?> call) {
        try {
            call.call();
        } catch (Exception error) {
            var why = error instanceof ExecutionException ? error.getCause() : error;
            if (!type.isInstance(why)) {
                throw new AssertionError("not a " + type, error);
            }
            var refusal = type.cast(why);
            same(400, refusal.statusCode());
            need(refusal.requestId() != null && !refusal.awsErrorDetails().errorMessage().isEmpty(), refusal);
            return;
        }
        throw new AssertionError("no " + type);
    }

    /** Bytes of every value and of every length up to 1,000. */
    private static SdkBytes dataOf(int number) {
        var data = new byte[1 + number % 1000];
        for (int at = 0; at < data.length; at++) {
            data[at] = (byte) (number * 31 + at * 7);
        }
        return SdkBytes.fromByteArray(data);
    }

    private static String keyOf(int number) {
        return (number % 7 == 0 ? "ключ-" : "key-") + number;
    }

    private void putMore(int count) {
        for (; count > 0; count--) {
            int number = numbers.size();
            var put = cbor.putRecord(it -> it.streamName(STREAM).data(dataOf(number)).partitionKey(keyOf(number)));
            same(SHARD, put.shardId());
            numbers.add(put.sequenceNumber());
        }
    }

    /** That these are the records from {@code at} on; the number after them. */
    private int same(List<Record> records, int at) {
        for (var record : records) {
            same(numbers.get(at), record.sequenceNumber());
            same(keyOf(at), record.partitionKey());
            need(record.data().equals(dataOf(at)), "record " + at + " differs");
            long arrived = record.approximateArrivalTimestamp().toEpochMilli();
            need(Math.abs(arrived - System.currentTimeMillis()) < 600_000, record.approximateArrivalTimestamp());
            at++;
        }
        return at;
    }

    private record Found(List<Record> records, GetRecordsResponse last) {}

    /** All records of a shard up to its tip or its end, and the last answer. */
    private static Found read(KinesisClient client, String shard) {
        var begin = client.getShardIterator(it -> it.streamName(STREAM).shardId(shard).shardIteratorType(ShardIteratorType.TRIM_HORIZON));
        var found = new ArrayList<Record>();
        for (var iterator = begin.shardIterator();;) {
            var from = iterator;
            var answer = client.getRecords(it -> it.shardIterator(from).limit(777));
            found.addAll(answer.records());
            iterator = answer.nextShardIterator();
            if (iterator == null || answer.millisBehindLatest() == 0) {
                return new Found(found, answer);
            }
        }
    }

    private static void childrenAreTold(List<ChildShard> children) {
        var ends = List.of("0", MIDDLE.subtract(BigInteger.ONE).toString(), MIDDLE.toString(),
            MIDDLE.shiftLeft(1).subtract(BigInteger.ONE).toString());
        var found = new ArrayList<String>();
        for (var child : children) {
            found.add(child.hashKeyRange().startingHashKey());
            found.add(child.hashKeyRange().endingHashKey());
            same(List.of(SHARD), child.parentShards());
        }
        same(ends, found);
    }

    private void create() {
        cbor.createStream(it -> it.streamName(STREAM).shardCount(1));
        var summary = cbor.describeStreamSummary(it -> it.streamName(STREAM)).streamDescriptionSummary();
        same(StreamStatus.ACTIVE, summary.streamStatus());
        same(1, summary.openShardCount());
        long made = summary.streamCreationTimestamp().toEpochMilli();
        need(Math.abs(made - System.currentTimeMillis()) < 600_000, summary.streamCreationTimestamp());
        arn = summary.streamARN();
        refused(ResourceInUseException.class, () -> cbor.createStream(it -> it.streamName(STREAM).shardCount(1)));
    }

    private void put() {
        for (int begin = 0; begin < RECORDS; begin += 500) {
            var entries = new ArrayList<PutRecordsRequestEntry>();
            for (int number = begin; number < begin + 500; number++) {
                entries.add(PutRecordsRequestEntry.builder().data(dataOf(number)).partitionKey(keyOf(number)).build());
            }
            var answer = cbor.putRecords(it -> it.streamName(STREAM).records(entries));
            same(0, answer.failedRecordCount());
            same(500, answer.records().size());
            answer.records().forEach(record -> numbers.add(record.sequenceNumber()));
        }
        putMore(1);
    }

    private void readOpen() {
        var found = read(cbor, SHARD);
        same(numbers.size(), same(found.records, 0));
        need(found.last.nextShardIterator() != null && !found.last.hasChildShards(), "an open shard has no end");
    }

    private void encodings() {
        same(Set.of("application/x-amz-cbor-1.1"), SPOKEN);
        var found = read(json, SHARD).records;
        need(SPOKEN.contains("application/x-amz-json-1.1"), SPOKEN);
        same(read(cbor, SHARD).records, found);
        // A time of whole seconds would be the same too: not all of so many are.
        need(found.stream().anyMatch(record -> record.approximateArrivalTimestamp().toEpochMilli() % 1000 != 0), "all in whole seconds");
        var middle = found.get(RECORDS / 2).approximateArrivalTimestamp();
        for (var client : List.of(cbor, json)) {
            var begin = client.getShardIterator(it -> it.streamName(STREAM).shardId(SHARD)
                .shardIteratorType(ShardIteratorType.AT_TIMESTAMP).timestamp(middle));
            var from = client.getRecords(it -> it.shardIterator(begin.shardIterator()).limit(1)).records().get(0);
            same(found.stream().filter(record -> !record.approximateArrivalTimestamp().isBefore(middle)).findFirst().get(), from);
        }
    }

    private void register() {
        consumer = cbor.registerStreamConsumer(it -> it.streamARN(arn).consumerName("java")).consumer().consumerARN();
        need(consumer.matches("\\Q" + arn + "\\E/consumer/java:\\d+"), consumer);
        var described = cbor.describeStreamConsumer(it -> it.consumerARN(consumer)).consumerDescription();
        same(ConsumerStatus.ACTIVE, described.consumerStatus());
        refused(ResourceInUseException.class, () -> cbor.registerStreamConsumer(it -> it.streamARN(arn).consumerName("java")));
    }

    private Subscription subscribe(StartingPosition from) {
        return new Subscription(http2, it -> it.consumerARN(consumer).shardId(SHARD).startingPosition(from));
    }

    private void pushed() {
        first = subscribe(StartingPosition.builder().type(ShardIteratorType.TRIM_HORIZON).build());
        boolean put = false;
        for (int at = 0; at < RECORDS + 1 + LIVE;) {
            var event = first.next();
            need(event.continuationSequenceNumber() != null && !event.hasChildShards(), event);
            at = same(event.records(), at);
            if (at == numbers.size() && !put) {
                put = true;
                putMore(LIVE);
            }
        }
    }

    private void subscribeAgain() {
        var again = subscribe(StartingPosition.builder().type(ShardIteratorType.LATEST).build());
        again.failsWith(ResourceInUseException.class);
    }

    private void heartbeat() {
        var event = first.next();
        need(event.records().isEmpty() && event.millisBehindLatest() == 0, event);
        continued = event.continuationSequenceNumber();
    }

    private void takeOver() {
        second = subscribe(StartingPosition.builder().type(ShardIteratorType.AFTER_SEQUENCE_NUMBER).sequenceNumber(continued).build());
        first.failsWith(ResourceInUseException.class);
    }

    private void split() {
        int at = numbers.size();
        putMore(LIVE);
        cbor.splitShard(it -> it.streamName(STREAM).shardToSplit(SHARD).newStartingHashKey(MIDDLE.toString()));
        for (SubscribeToShardEvent event = second.next(); event != null; event = second.next()) {
            need(children == null, "something follows the end");
            at = same(event.records(), at);
            children = event.hasChildShards() ? event.childShards() : null;
            same(children != null, event.continuationSequenceNumber() == null);
        }
        same(numbers.size(), at);
        childrenAreTold(children);
    }

    private void readClosed() {
        for (var client : List.of(cbor, json)) {
            var found = read(client, SHARD);
            same(numbers.size(), same(found.records, 0));
            need(found.last.nextShardIterator() == null, "a closed shard ends");
            childrenAreTold(found.last.childShards());
        }
    }

    private void list() {
        var open = cbor.listShards(it -> it.streamARN(arn).shardFilter(filter -> filter.type(ShardFilterType.AT_LATEST))).shards();
        same(children.stream().map(ChildShard::shardId).toList(), open.stream().map(Shard::shardId).toList());
        same(List.of(SHARD, SHARD), open.stream().map(Shard::parentShardId).toList());
        var all = cbor.listShards(it -> it.streamName(STREAM)).shards();
        same(List.of(true, false, false), all.stream().map(one -> one.sequenceNumberRange().endingSequenceNumber() != null).toList());
    }

    private void readChildren() {
        var keys = List.of(BigInteger.ZERO, MIDDLE);
        for (int at = 0; at < 2; at++) {
            var key = keys.get(at).toString();
            var put = http2.putRecord(it -> it.streamName(STREAM).data(dataOf(1)).partitionKey("k").explicitHashKey(key)).join();
            same(children.get(at).shardId(), put.shardId());
            var found = read(cbor, put.shardId()).records;
            same(List.of(put.sequenceNumber()), found.stream().map(Record::sequenceNumber).toList());
        }
    }

    private void errors() {
        for (var client : List.of(cbor, json)) {
            refused(ResourceNotFoundException.class,
                () -> client.putRecord(it -> it.streamName("nowhere").data(dataOf(1)).partitionKey("k")));
            refused(ValidationException.class, () -> client.putRecord(it -> it.streamName(STREAM).data(dataOf(1)).partitionKey("")));
            refused(InvalidArgumentException.class,
                () -> client.putRecord(it -> it.streamName(STREAM).data(dataOf(1)).partitionKey("k").explicitHashKey("444444444444444444444444444444444444444")));
            refused(InvalidArgumentException.class, () -> client.getRecords(it -> it.shardIterator("AAAAAAAAAAE=")));
            refused(InvalidArgumentException.class,
                () -> client.splitShard(it -> it.streamName(STREAM).shardToSplit(SHARD).newStartingHashKey(MIDDLE.toString())));
        }
        refused(ResourceNotFoundException.class,
            () -> http2.describeStreamConsumer(it -> it.consumerARN(arn + "/consumer/nobody:1")).get());
        var nobody = new Subscription(http2, it -> it.consumerARN(arn + "/consumer/nobody:1").shardId(SHARD)
            .startingPosition(from -> from.type(ShardIteratorType.LATEST)));
        nobody.failsWith(ResourceNotFoundException.class);
    }

    private void deregister() {
        cbor.deregisterStreamConsumer(it -> it.consumerARN(consumer));
        refused(ResourceNotFoundException.class, () -> cbor.describeStreamConsumer(it -> it.consumerARN(consumer)));
    }
}
