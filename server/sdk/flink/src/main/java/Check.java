// Flink's sources and sink for Kinesis, in a cluster of this process: a job reads a stream that is written all along, through a split and
// a merge, fails once, and writes all to another stream. Once by the source of FLIP-27, which polls, and twice by the consumer before it,
// which polls or has enhanced fan-out.
//
//     java Check ENDPOINT ADMIN
//
// Every record goes through at least once, and none again that came before a checkpoint; those of a key in the order that they were put in.
//
// Pins what Flink's page "Amazon Kinesis Data Streams Connector" says: a key's records are read in the order of their writing, even through
// resharding (Record ordering: of the source; that of the consumer before it is looked at within a shard), new shards are found while the
// job runs (Shard Discovery), a consumer is registered as the job starts and gone as it stops (EFO Stream Consumer Lifecycle Management),
// and each record is read exactly once, so that of what was before the last checkpoint nothing comes again.

import java.math.BigInteger;
import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.connector.kinesis.sink.KinesisStreamsSink;
import org.apache.flink.connector.kinesis.source.KinesisStreamsSource;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.connectors.kinesis.FlinkKinesisConsumer;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.Consumer;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;

final class Check {
    private static final int SHARDS = 2;
    private static final int KEYS = 10;
    private static final String CONSUMER = "the-job";
    private static final long PATIENCE_S = 120;

    private enum Reader { SOURCE, POLLING, FAN_OUT }

    private final String endpoint;
    private final Reader reader;
    private final String name;
    private final String from;
    private final String to;
    private final KinesisClient kinesis;

    /** What was put, and in which shard; under its lock. */
    private final Map<String, String> put = new HashMap<>();
    private int turns;

    /** What was found in the other stream, and where to look on. */
    private final Set<String> found = new HashSet<>();
    private final Map<String, String> iterators = new HashMap<>();

    private JobClient job;
    private CompletableFuture<JobExecutionResult> result;
    private volatile boolean isPutting = true;
    private volatile Exception failure;

    private Check(String endpoint, Reader reader) {
        this.endpoint = endpoint;
        this.reader = reader;
        name = "flink-" + reader.name().toLowerCase().replace('_', '-');
        from = name + "-from";
        to = name + "-to";
        kinesis = KinesisClient.builder().endpointOverride(URI.create(endpoint)).build();
    }

    public static void main(String[] arguments) throws Exception {
        for (Reader reader : Reader.values()) {
            new Check(arguments[0], reader).run();
        }
        System.exit(0);
    }

    private void run() throws Exception {
        Through.clear();
        for (String stream : List.of(from, to)) {
            kinesis.createStream(create -> create.streamName(stream).shardCount(SHARDS));
        }
        job = begin();
        result = job.getJobExecutionResult();
        Thread putting = new Thread(this::putAllAlong);
        putting.setDaemon(true);
        putting.start();

        says("records of all shards go through to another stream");
        goesOn();
        if (reader == Reader.FAN_OUT) {
            says("its consumer is registered while it runs");
            until(() -> consumers().equals(Set.of(CONSUMER)));
        }

        says("a shard is split: its children follow it");
        Shard parent = open().get(0);
        BigInteger start = new BigInteger(parent.hashKeyRange().startingHashKey());
        String middle = start.add(new BigInteger(parent.hashKeyRange().endingHashKey())).shiftRight(1).toString();
        kinesis.splitShard(split -> split.streamName(from).shardToSplit(parent.shardId()).newStartingHashKey(middle));
        goesOn();

        says("two are merged: their child follows them");
        List<Shard> parents = open().subList(SHARDS - 1, SHARDS + 1);
        kinesis.mergeShards(merge -> merge.streamName(from)
            .shardToMerge(parents.get(0).shardId()).adjacentShardToMerge(parents.get(1).shardId()));
        goesOn();

        says("it fails: it goes on behind its last checkpoint");
        Set<String> before = came().keySet();
        long checkpoint = Through.checkpoint;
        // The next may have begun already; the one behind it has all of these.
        until(() -> Through.checkpoint >= checkpoint + 2);
        put(List.of(Through.FAILS_AT + "-0"));
        until(() -> Through.hasFailed);
        goesOn();
        Map<String, Integer> after = came();
        before.forEach(record -> holds(after.get(record) == 1, record + " came again, though it was before a checkpoint"));

        says("every record has come");
        isPutting = false;
        putting.join();
        until(this::hasAll);

        says(reader == Reader.SOURCE
            ? "records of a key come in the order that they were put in"
            : "records of a key come in the order that they were put in, within a shard");
        inOrder();

        job.cancel().get(PATIENCE_S, TimeUnit.SECONDS);
        if (reader == Reader.FAN_OUT) {
            says("its consumer goes when it ends");
            until(() -> consumers().isEmpty());
        }
        System.out.println(name + ": " + put.size() + " records");
    }

    private void says(String what) {
        System.out.println(name + ": " + what);
    }

    private static void holds(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private JobClient begin() throws Exception {
        Configuration cluster = new Configuration();
        cluster.set(RestartStrategyOptions.RESTART_STRATEGY, "fixed-delay");
        cluster.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_ATTEMPTS, 1);
        cluster.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_DELAY, Duration.ofSeconds(1));
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(SHARDS, cluster);
        environment.enableCheckpointing(1_000);
        var sink = KinesisStreamsSink.<String>builder()
            .setStreamArn(arn(to))
            .setKinesisClientProperties(client())
            .setSerializationSchema(new SimpleStringSchema())
            .setPartitionKeyGenerator(record -> record)
            .setMaxTimeInBufferMS(200)
            .build();
        read(environment).map(new Through()).sinkTo(sink);
        return environment.executeAsync(name);
    }

    private DataStream<String> read(StreamExecutionEnvironment environment) {
        if (reader == Reader.SOURCE) {
            Configuration reading = Configuration.fromMap(Map.of(
                "flink.stream.initpos", "TRIM_HORIZON",
                "flink.shard.discovery.intervalmillis", "1000"));
            client().forEach((property, value) -> reading.setString((String) property, (String) value));
            var source = KinesisStreamsSource.<String>builder()
                .setStreamArn(arn(from))
                .setSourceConfig(reading)
                .setDeserializationSchema(new SimpleStringSchema())
                .build();
            return environment.fromSource(source, WatermarkStrategy.noWatermarks(), from, Types.STRING);
        }
        Properties reading = client();
        reading.setProperty("flink.stream.initpos", "TRIM_HORIZON");
        reading.setProperty("flink.shard.discovery.intervalmillis", "1000");
        reading.setProperty("flink.shard.getrecords.intervalmillis", "200");
        if (reader == Reader.FAN_OUT) {
            reading.setProperty("flink.stream.recordpublisher", "EFO");
            reading.setProperty("flink.stream.efo.consumername", CONSUMER);
        }
        return environment.addSource(new FlinkKinesisConsumer<>(from, new SimpleStringSchema(), reading));
    }

    private Properties client() {
        Properties client = new Properties();
        client.setProperty("aws.endpoint", endpoint);
        client.setProperty("aws.region", "us-east-1");
        client.setProperty("aws.credentials.provider", "BASIC");
        client.setProperty("aws.credentials.provider.basic.accesskeyid", "any");
        client.setProperty("aws.credentials.provider.basic.secretkey", "any");
        return client;
    }

    private String arn(String stream) {
        return kinesis.describeStreamSummary(describe -> describe.streamName(stream)).streamDescriptionSummary().streamARN();
    }

    private Set<String> consumers() {
        Set<String> names = new HashSet<>();
        for (Consumer consumer : kinesis.listStreamConsumers(list -> list.streamARN(arn(from))).consumers()) {
            names.add(consumer.consumerName());
        }
        return names;
    }

    /** Shards that take records in, by their hash keys. */
    private List<Shard> open() {
        return kinesis.listShards(list -> list.streamName(from)).shards().stream()
            .filter(shard -> shard.sequenceNumberRange().endingSequenceNumber() == null)
            .sorted(Comparator.comparing(shard -> new BigInteger(shard.hashKeyRange().startingHashKey())))
            .toList();
    }

    /** Waits until all is found that is put a second from now, of every shard. */
    private void goesOn() throws Exception {
        int turn;
        synchronized (put) {
            turn = turns + 10;
        }
        until(() -> {
            look();
            for (int key = 0; key < KEYS; key++) {
                if (!found.contains(key + "-" + turn)) {
                    return false;
                }
            }
            return true;
        });
    }

    private boolean hasAll() {
        look();
        return found.containsAll(put.keySet());
    }

    /** Reads what has come to the other stream meanwhile. */
    private void look() {
        for (Shard shard : kinesis.listShards(list -> list.streamName(to)).shards()) {
            String iterator = iterators.computeIfAbsent(shard.shardId(), id -> kinesis.getShardIterator(get -> get
                .streamName(to).shardId(id).shardIteratorType(ShardIteratorType.TRIM_HORIZON)).shardIterator());
            var records = kinesis.getRecords(get -> get.shardIterator(iterator));
            records.records().forEach(record -> found.add(record.data().asUtf8String()));
            iterators.put(shard.shardId(), records.nextShardIterator());
        }
    }

    /** How often each record came. */
    private static Map<String, Integer> came() {
        Map<String, Integer> came = new HashMap<>();
        synchronized (Through.CAME) {
            Through.CAME.forEach(attempt -> attempt.forEach(record -> came.merge(record, 1, Integer::sum)));
        }
        return came;
    }

    /** Each follows the one before it; behind a failure they begin no later than where they had come to. */
    private void inOrder() {
        Map<String, Integer> before = new HashMap<>();
        synchronized (Through.CAME) {
            for (List<String> attempt : Through.CAME) {
                Map<String, Integer> now = new HashMap<>();
                for (String record : attempt) {
                    String[] parts = record.split("-");
                    String of = reader == Reader.SOURCE ? parts[0] : parts[0] + " in " + put.get(record);
                    int number = Integer.parseInt(parts[1]);
                    Integer last = now.put(of, number);
                    if (last != null) {
                        holds(number == last + 1, record + " came behind number " + last + " of " + of);
                    } else if (before.containsKey(of)) {
                        holds(number <= before.get(of) + 1, record + " came first again, behind number " + before.get(of));
                    }
                }
                before.putAll(now);
            }
        }
    }

    /** Records come at a steady rate, so that nothing happens beside them. */
    private void putAllAlong() {
        try {
            while (isPutting) {
                List<String> records = new ArrayList<>();
                for (int key = 0; key < KEYS; key++) {
                    records.add(key + "-" + turns);
                }
                put(records);
                synchronized (put) {
                    turns++;
                }
                Thread.sleep(100);
            }
        } catch (Exception broken) {
            failure = broken;
        }
    }

    /** Puts records, again those that a shard that is split or merged does not take in just now. */
    private void put(List<String> records) {
        List<String> left = new ArrayList<>(records);
        while (!left.isEmpty()) {
            List<String> now = List.copyOf(left);
            var entries = now.stream()
                .map(record -> PutRecordsRequestEntry.builder()
                    .partitionKey(record.split("-")[0]).data(SdkBytes.fromUtf8String(record)).build())
                .toList();
            var results = kinesis.putRecords(request -> request.streamName(from).records(entries)).records();
            for (int at = 0; at < now.size(); at++) {
                if (results.get(at).errorCode() == null) {
                    left.remove(now.get(at));
                    synchronized (put) {
                        put.put(now.get(at), results.get(at).shardId());
                    }
                }
            }
        }
    }

    private void until(Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        while (!holds.call()) {
            if (failure != null) {
                throw failure;
            }
            if (result.isDone()) {
                throw new AssertionError("the job ended: " + result.get());
            }
            if (System.nanoTime() > end) {
                synchronized (put) {
                    Set<String> missing = new TreeSet<>(put.keySet());
                    missing.removeAll(found);
                    throw new AssertionError("not within " + PATIENCE_S + " s; missing " + missing.size() + " of " + put.size());
                }
            }
            Thread.sleep(200);
        }
    }
}
