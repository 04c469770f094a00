// The KPL with its native daemon, over TLS: user records are gathered in aggregates, the stream is split and merged while they come, and
// the KCL 3, which takes aggregates apart, finds every one.
//
//     java Check NAME CERTIFICATE READER_CLASSPATH ENDPOINT ADMIN
//
// An aggregate that was under way to a shard that is split or merged comes into a child. The KPL, which hears which, sends its user
// records again, and the KCL passes over those whose hash keys the child does not have. So a user record comes as often as it was stored
// where it belongs: once, or again after such a turn.
//
// Each check names what it pins: a page of the service's developer guide, a file of the KPL's or a comment of its classes.

import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.RecordDistributionStrategy;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StreamMode;

final class Check {
    private static final int SHARDS = 2;
    private static final int KEYS = 200;
    private static final int TURNS = 10;
    private static final long PATIENCE_S = 120;
    /** What an aggregate begins with. */
    private static final byte[] MAGIC = {(byte) 0xf3, (byte) 0x89, (byte) 0x9a, (byte) 0xc2};

    /** A user record: the key and turn that it is of, where it belongs, and how often it may come. */
    private record Sent(String key, int turn, BigInteger hash, int times) { }

    private record Got(String shard, String data) { }

    private final String name;
    private final URI endpoint;
    private final KinesisAsyncClient kinesis;
    private final Producer producer;
    private final Map<String, Sent> sent = new HashMap<>();
    private int turn;

    /**
     * The turns that a split or a merge may tear: from that in which it begins to the first after its end, by which the KPL hears of
     * it. Of an aggregate that is under way then the KPL takes what belongs in the child that has it for stored, if it knows the
     * child by then (its Retrier), and the KCL passes over all of it, as some belongs elsewhere (its AggregatorUtil). Which they are
     * is looked up where they are stored.
     */
    private final Set<Integer> torn = new TreeSet<>();

    /** What came, in order; under its lock. */
    private final List<Got> got = new ArrayList<>();

    private Check(String name, Path certificate, URI endpoint) {
        this.name = name;
        this.endpoint = endpoint;
        kinesis = KinesisAsyncClient.builder().endpointOverride(endpoint).build();
        producer = new Producer(endpoint, certificate, name);
    }

    public static void main(String[] arguments) throws Exception {
        Check check = new Check(arguments[0], Path.of(arguments[1]), URI.create(arguments[3]));
        Process reader = null;
        try {
            check.kinesis.createStream(stream -> stream.streamName(check.name).shardCount(SHARDS)).get();
            reader = check.read(arguments[2]);
            check.write();
            if (Producer.HEEDS_SPREADING) {
                check.spread();
            }
            check.compare();
            check.metrics(arguments[4]);
        } finally {
            check.producer.end();
            if (reader != null) {
                reader.destroyForcibly();
            }
        }
        System.exit(0);
    }

    private void says(String what) {
        System.out.println(name + ": " + what);
    }

    private static void expect(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    /** Begins a worker of the KCL, which tells what comes. */
    private Process read(String classpath) throws Exception {
        List<String> command = new ArrayList<>(List.of("java", "-Xmx256m", "-XX:TieredStopAtLevel=1"));
        for (String trusted : List.of("javax.net.ssl.trustStore", "javax.net.ssl.trustStorePassword")) {
            command.add("-D" + trusted + "=" + System.getProperty(trusted));
        }
        command.addAll(List.of("-cp", classpath, "Worker", endpoint.toString(), name, name + "-reader", "one", "polling"));
        Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        Thread listening = new Thread(() -> process.inputReader().lines().forEach(line -> {
            String[] words = line.split(" ");
            if (words[1].equals("got")) {
                synchronized (got) {
                    got.add(new Got(words[2], words[3]));
                }
            }
        }));
        listening.setDaemon(true);
        listening.start();
        return process;
    }

    private void write() throws Exception {
        // Developer guide, KPL Key Concepts, Aggregation; aggregation-format.md for what an aggregate begins with.
        says("user records are gathered in aggregates");
        int before;
        do { // before the daemon knows the shards it gathers nothing
            expect(turn < 100, "it gathers nothing");
            all().settle();
            before = raw(name).size();
        } while (raw(name).stream().noneMatch(Check::isAggregate));
        turns(() -> null);
        int aggregates = raw(name).size() - before;
        says(KEYS * TURNS + " user records in " + aggregates + " records");
        expect(aggregates * 20 <= KEYS * TURNS, "those are too many");

        // KinesisProducerConfiguration.setAggregationMaxSize: a record that is larger by itself bypasses the aggregator.
        says("one that is too large to be gathered comes as it is");
        new Lot().add("large", null, 60_000).settle();
        List<Record> large = raw(name).stream().filter(record -> record.partitionKey().equals("large")).toList();
        expect(large.size() == 1 && sent.containsKey(large.get(0).data().asUtf8String()), "it came as " + large);

        // KinesisProducer.addUserRecord and PutRecords in the API's reference: it takes the place of the key's hash.
        says("an explicit hash key decides on the shard");
        for (Shard shard : open(name)) {
            var result = new Lot().add("explicit-" + shard.shardId(), end(shard), 10).settle();
            expect(result.shard().equals(shard.shardId()), "that of " + shard + " was put in " + result.shard());
        }

        // SplitShard in the API's reference: reading and writing go on meanwhile.
        says("a shard is split while records come");
        Shard parent = open(name).get(0);
        String middle = start(parent).add(end(parent)).shiftRight(1).toString();
        turns(() -> kinesis.splitShard(split -> split
            .streamName(name).shardToSplit(parent.shardId()).newStartingHashKey(middle)));
        expect(sent.values().stream().anyMatch(record -> record.times > 1), "no aggregate was under way to the shard that was split");

        // MergeShards in the API's reference: the same, and the child takes what both parents did.
        says("two are merged while records come");
        List<Shard> open = open(name);
        turns(() -> kinesis.mergeShards(merge -> merge
            .streamName(name).shardToMerge(open.get(1).shardId()).adjacentShardToMerge(open.get(2).shardId())));
        expect(open(name).size() == SHARDS, "there are shards " + open(name));
    }

    /** A record of each key, again and again, each time after all before were stored; something happens beside some of them. */
    private void turns(Supplier<Future<?>> beside) throws Exception {
        Future<?> begun = null;
        boolean isOver = false;
        for (int count = 0; count < TURNS; count++) {
            boolean wasDone = begun != null && begun.isDone();
            Lot lot = all();
            if (count == 2) {
                begun = beside.get();
            }
            if (begun != null && !isOver) {
                torn.add(turn);
                isOver = wasDone;
            }
            lot.settle();
            if (count == TURNS - 3 && begun != null) {
                begun.get();
            }
        }
    }

    private Lot all() throws Exception {
        Lot lot = new Lot();
        for (int key = 0; key < KEYS; key++) {
            lot.add("key-" + key, null, key);
        }
        return lot;
    }

    /** Records of one turn, which are sent together. */
    private final class Lot {
        private record Waiting(String key, BigInteger hash, Callable<Producer.Stored> result) { }

        private final Map<String, Waiting> waiting = new LinkedHashMap<>();

        /** Adds a record of a key, with its place if it is not the key's. */
        Lot add(String key, BigInteger place, int bytes) throws Exception {
            String data = key + "/" + turn + "/" + "x".repeat(bytes);
            ByteBuffer buffer = ByteBuffer.wrap(data.getBytes(StandardCharsets.UTF_8));
            var result = producer.add(name, key, place == null ? null : place.toString(), buffer);
            waiting.put(data, new Waiting(key, place == null ? hash(key) : place, result));
            return this;
        }

        /** Waits until all are stored, and tells where the last one was. */
        Producer.Stored settle() throws Exception {
            producer.flush(name);
            Producer.Stored last = null;
            for (var entry : waiting.entrySet()) {
                Waiting record = entry.getValue();
                last = record.result.call();
                sent.put(entry.getKey(), new Sent(record.key, turn, record.hash, 1 + last.elsewhere()));
            }
            turn++;
            return last;
        }
    }

    private void spread() throws Exception {
        // CreateStream in the API's reference, RecordDistributionStrategy: AUTO passes over keys and explicit hash keys. That the KPL
        // gathers nothing then is seen, not documented.
        says("nothing is gathered for a stream that spreads its records, and keys may be left out");
        String stream = name + "-spread";
        kinesis.createStream(create -> create.streamName(stream).streamModeDetails(mode -> mode.streamMode(StreamMode.ON_DEMAND))
            .recordDistributionStrategy(RecordDistributionStrategy.AUTO)).get();
        List<Callable<Producer.Stored>> waiting = new ArrayList<>();
        Set<String> expected = new TreeSet<>();
        for (int number = 0; number < KEYS; number++) {
            String data = "spread-" + number;
            expected.add(data);
            waiting.add(producer.add(stream, number % 2 == 0 ? data : null, null, ByteBuffer.wrap(data.getBytes(StandardCharsets.UTF_8))));
        }
        producer.flush(stream);
        for (var result : waiting) {
            expect(result.call().elsewhere() == 0, "one was sent again, as it was not where it was thought");
        }
        List<String> found = raw(stream).stream().map(record -> record.data().asUtf8String()).sorted().toList();
        expect(found.equals(List.copyOf(expected)), "there are " + found);
    }

    private void compare() throws Exception {
        // Developer guide, Consumer De-aggregation: all that were successfully stored can be retrieved by the KCL, which takes them apart.
        says("every user record is read back");
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        List<Got> all = List.of();
        Set<String> missing = new TreeSet<>(sent.keySet());
        Set<String> whole = new TreeSet<>(missing);
        whole.removeIf(data -> torn.contains(sent.get(data).turn));
        while (!missing.isEmpty() && (missing.stream().anyMatch(whole::contains) || System.nanoTime() < end)) {
            expect(System.nanoTime() < end, "not within " + PATIENCE_S + " s: " + all.size() + " came of " + sent.size()
                + ", none of " + missing.stream().filter(whole::contains).map(sent::get).toList());
            Thread.sleep(500);
            synchronized (got) {
                all = List.copyOf(got);
            }
            all.forEach(record -> missing.remove(record.data));
            if (missing.stream().noneMatch(whole::contains)) { // all that came after them did
                end = Math.min(end, System.nanoTime() + TimeUnit.SECONDS.toNanos(5));
            }
        }
        if (!missing.isEmpty()) {
            says(missing.size() + " are in aggregates that a split or merge tore, which the KCL passes over");
            Set<String> passedOver = passedOver();
            expect(passedOver.containsAll(missing), "neither came nor are in one that was torn: " + missing.stream()
                .filter(data -> !passedOver.contains(data)).map(sent::get).toList());
        }

        // Developer guide, Consumer De-aggregation: those whose hash key the shard does not have are discarded.
        says("each comes by the shard that has its hash key, as often as it was stored there");
        Map<String, Shard> shards = new HashMap<>();
        kinesis.listShards(list -> list.streamName(name)).get().shards().forEach(shard -> shards.put(shard.shardId(), shard));
        Map<String, Integer> came = new HashMap<>();
        for (Got record : all) {
            Sent of = sent.get(record.data);
            expect(of != null, record + " was not put");
            Shard shard = shards.get(record.shard);
            expect(start(shard).compareTo(of.hash) <= 0 && end(shard).compareTo(of.hash) >= 0, record + " is not of " + shard);
            expect(came.merge(record.data, 1, Integer::sum) <= of.times, record + " came too often: " + of);
        }
        int stored = sent.values().stream().mapToInt(Sent::times).sum();
        expect(all.size() < stored, "nothing was passed over, though some were stored where they do not belong");
        says(sent.size() + " user records, stored " + stored + " times, came " + all.size() + " times");

        // PutRecord in the API's reference, for who puts in sequence, as the turns are; README of the KCL, Handling stream-level changes.
        says("those of a key come in the order in which they were put");
        Map<String, Integer> newest = new HashMap<>();
        for (Got record : all) {
            Sent of = sent.get(record.data);
            Integer before = newest.put(of.key, of.turn);
            expect(before == null || before <= of.turn, record + " came after that of turn " + before);
        }
    }

    /** What lies in aggregates of which something belongs to another shard than theirs: the KCL passes over the whole of them. */
    private Set<String> passedOver() throws Exception {
        Set<String> found = new TreeSet<>();
        for (Shard shard : kinesis.listShards(list -> list.streamName(name)).get().shards()) {
            for (Record record : raw(name, List.of(shard))) {
                String bytes = record.data().asString(StandardCharsets.ISO_8859_1);
                List<String> within = sent.keySet().stream().filter(bytes::contains).toList();
                if (isAggregate(record) && within.stream().map(sent::get).anyMatch(of ->
                        start(shard).compareTo(of.hash) > 0 || end(shard).compareTo(of.hash) < 0)) {
                    found.addAll(within);
                }
            }
        }
        return found;
    }

    /** What lies in the open shards, as it was put. */
    private List<Record> raw(String stream) throws Exception {
        return raw(stream, open(stream));
    }

    private List<Record> raw(String stream, List<Shard> shards) throws Exception {
        List<Record> records = new ArrayList<>();
        for (Shard shard : shards) {
            String iterator = kinesis.getShardIterator(at -> at.streamName(stream).shardId(shard.shardId())
                .shardIteratorType(ShardIteratorType.TRIM_HORIZON)).get().shardIterator();
            long behind;
            do {
                String from = iterator;
                var answer = kinesis.getRecords(read -> read.shardIterator(from)).get();
                records.addAll(answer.records());
                iterator = answer.nextShardIterator();
                behind = answer.millisBehindLatest();
            } while (behind > 0 && iterator != null);
        }
        return records;
    }

    private static boolean isAggregate(Record record) {
        byte[] data = record.data().asByteArrayUnsafe();
        return data.length > MAGIC.length && Arrays.equals(MAGIC, Arrays.copyOf(data, MAGIC.length));
    }

    /** Shards that take records in, by their hash keys. */
    private List<Shard> open(String stream) throws Exception {
        return kinesis.listShards(list -> list.streamName(stream)).get().shards().stream()
            .filter(shard -> shard.sequenceNumberRange().endingSequenceNumber() == null)
            .sorted(Comparator.comparing(Check::start))
            .toList();
    }

    private static BigInteger start(Shard shard) {
        return new BigInteger(shard.hashKeyRange().startingHashKey());
    }

    private static BigInteger end(Shard shard) {
        return new BigInteger(shard.hashKeyRange().endingHashKey());
    }

    private static BigInteger hash(String key) throws Exception {
        return new BigInteger(1, MessageDigest.getInstance("MD5").digest(key.getBytes(StandardCharsets.UTF_8)));
    }

    /** What the daemon measured is told where the server is watched. */
    private void metrics(String admin) throws Exception {
        // metrics.md: they are uploaded to CloudWatch, here to this server.
        says("its metrics are told");
        var request = HttpRequest.newBuilder(URI.create("http://" + admin + "/metrics")).build();
        String told = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        String expected = "millstream_client_metric_samples_total{namespace=\"" + name + "\",metric=\"UserRecordsPut\"";
        expect(told.contains(expected), "there is no " + expected);
    }
}
