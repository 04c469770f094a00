// The KCL with one endpoint for streams, leases and metrics: two workers share the leases, follow a split and a merge while records
// come, one is killed, and who goes on begins where it had kept its place. The KCL 3 by polling and by enhanced fan-out, and the KCL 1.
//
//     java Check polling,fan-out|1 ENDPOINT ADMIN
//
// Every record comes at least once, and none again that a worker has kept its place behind.
//
// Each check pins what the KCL's own documents promise: its README (Features), docs/lease-lifecycle.md, docs/kcl_3x_deep-dive.md and
// docs/kcl-configurations.md, and the comments of ShardRecordProcessor.

import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;
import software.amazon.awssdk.services.kinesis.model.Shard;

final class Check {
    private static final int SHARDS = 3;
    private static final long PATIENCE_S = 180;

    private final String endpoint;
    private final String mode;
    private final String name;
    private final KinesisAsyncClient kinesis;
    private final DynamoDbAsyncClient dynamo;
    private final Set<String> put = new HashSet<>();
    private final List<Process> workers = new ArrayList<>();

    /** What workers said; all under its lock. */
    private final Map<String, Integer> got = new HashMap<>();
    private final Map<String, List<String>> since = new HashMap<>();
    private final Set<String> kept = new HashSet<>();
    private final Set<String> ended = new HashSet<>();
    private final Map<String, Integer> gotBy = new HashMap<>();
    /** When the first record of a shard came, and when a shard was about to end. */
    private final Map<String, Long> firstAt = new HashMap<>();
    private final Map<String, Long> endingAt = new HashMap<>();
    private String failure;

    private volatile boolean isPutting = true;

    private Check(String endpoint, String mode) {
        this.endpoint = endpoint;
        this.mode = mode;
        name = "kcl-" + mode;
        URI at = URI.create(endpoint);
        kinesis = KinesisAsyncClient.builder().endpointOverride(at).build();
        dynamo = DynamoDbAsyncClient.builder().endpointOverride(at).build();
    }

    public static void main(String[] arguments) throws Exception {
        // Side by side: most of the time is spent waiting for leases to expire.
        List<Future<Void>> checks = new ArrayList<>();
        ExecutorService threads = Executors.newCachedThreadPool();
        for (String mode : arguments[0].split(",")) {
            Check check = new Check(arguments[1], mode);
            checks.add(threads.submit(() -> {
                try {
                    check.run();
                    check.metrics(arguments[2]);
                } finally {
                    check.workers.forEach(Process::destroyForcibly);
                }
                return null;
            }));
        }
        for (Future<Void> check : checks) {
            check.get();
        }
        System.exit(0);
    }

    private void run() throws Exception {
        kinesis.createStream(stream -> stream.streamName(name).shardCount(SHARDS)).get();
        Thread putting = new Thread(this::putAllAlong);
        putting.setDaemon(true);
        putting.start();

        // docs/lease-lifecycle.md, Lease Lifecycle: there is a lease for each shard, and a worker takes those that nobody has.
        says("a worker takes all leases");
        Process first = begin("one");
        until(() -> owners().equals(Set.of("one")) && openLeases() == SHARDS && countOf("one") > 0);

        // README, Load balancing: the work is spread over the workers that there are. In the KCL 3 a leader does it
        // (docs/kcl_3x_deep-dive.md, Lease rebalancing), in the KCL 1 who has fewer leases steals some (docs/lease-lifecycle.md, Lease Balancing).
        says("a second one takes its share");
        Process second = begin("two");
        until(() -> owners().equals(Set.of("one", "two")) && countOf("two") > 0);

        // docs/lease-lifecycle.md, Lease Assignment: shards that come of a split have leases of their own; their parent's ends as SHARD_END.
        says("a shard is split: its children follow it");
        Shard parent = open().get(0);
        BigInteger from = new BigInteger(parent.hashKeyRange().startingHashKey());
        BigInteger to = new BigInteger(parent.hashKeyRange().endingHashKey());
        String middle = from.add(to).shiftRight(1).toString();
        kinesis.splitShard(split -> split.streamName(name).shardToSplit(parent.shardId()).newStartingHashKey(middle)).get();
        until(() -> hasEnded(List.of(parent)) && openLeases() == SHARDS + 1);

        // The same of a merge: one lease for the child, when both parents have ended.
        says("two are merged: their child follows them");
        List<Shard> open = open();
        List<Shard> parents = List.of(open.get(open.size() - 2), open.get(open.size() - 1));
        kinesis.mergeShards(merge -> merge.streamName(name)
            .shardToMerge(parents.get(0).shardId()).adjacentShardToMerge(parents.get(1).shardId())).get();
        until(() -> hasEnded(parents) && openLeases() == SHARDS);

        // README, Fault tolerance; docs/kcl-configurations.md: a lease that is not renewed for failoverTimeMillis goes to another worker.
        says("one is killed: the other takes its leases");
        first.destroyForcibly().waitFor();
        until(() -> owners().equals(Set.of("two")));

        // README, Fault tolerance: at-least-once delivery.
        says("every record has come");
        isPutting = false;
        putting.join();
        until(this::hasAll);
        second.getOutputStream().close();
        if (!second.waitFor(PATIENCE_S, TimeUnit.SECONDS)) {
            throw new AssertionError("the worker does not end");
        }

        // README, Handling stream-level changes: children are read when their parents have been read to the end and checkpointed there.
        says("parents ended before records of their children came");
        parentsFirst();

        // README, Checkpointing; ShardRecordProcessor.processRecords: after a failover the records behind the checkpoint come.
        says("who begins anew goes on where they were");
        put("late", 20);
        Process third = begin("three");
        until(this::hasAll);
        third.getOutputStream().close();
        third.waitFor(PATIENCE_S, TimeUnit.SECONDS);
        synchronized (got) {
            long again = got.values().stream().filter(times -> times > 1).count();
            System.out.println(name + ": " + put.size() + " records, " + again + " of them more than once; by worker " + gotBy);
        }
    }

    private void says(String what) {
        System.out.println(name + ": " + what);
    }

    /** Records come at a steady rate, so that nothing happens beside them. */
    private void putAllAlong() {
        for (int turn = 0; isPutting; turn++) {
            try {
                put("r" + turn, 10);
                Thread.sleep(200);
            } catch (Exception broken) {
                fail("records can't be put: " + broken);
                return;
            }
        }
    }

    /** Puts records, again those that a shard that is split or merged does not take in just now. */
    private void put(String lot, int count) throws Exception {
        List<PutRecordsRequestEntry> left = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            String record = lot + "-" + number;
            left.add(PutRecordsRequestEntry.builder().partitionKey(record).data(SdkBytes.fromUtf8String(record)).build());
        }
        while (!left.isEmpty()) {
            List<PutRecordsRequestEntry> lotNow = List.copyOf(left);
            var results = kinesis.putRecords(request -> request.streamName(name).records(lotNow)).get().records();
            left.clear();
            for (int at = 0; at < lotNow.size(); at++) {
                if (results.get(at).errorCode() != null) {
                    left.add(lotNow.get(at));
                } else {
                    synchronized (got) {
                        put.add(lotNow.get(at).partitionKey());
                    }
                }
            }
        }
    }

    private Process begin(String worker) throws Exception {
        Process process = new ProcessBuilder(
                "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"),
                mode.equals("1") ? "Worker1" : "Worker", endpoint, name, name, worker, mode)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
        workers.add(process);
        Thread listening = new Thread(() -> process.inputReader().lines().forEach(line -> hear(worker, line)));
        listening.setDaemon(true);
        listening.start();
        return process;
    }

    private void hear(String worker, String line) {
        String[] words = line.split(" ");
        synchronized (got) {
            String shard = words[2];
            List<String> open = since.computeIfAbsent(worker + " " + shard, key -> new ArrayList<>());
            switch (words[1]) {
                case "begun" -> open.clear();
                case "got" -> {
                    String record = words[3];
                    if (kept.contains(record)) {
                        fail(worker + " got " + record + " of " + shard + " again, behind which its place was kept");
                    }
                    got.merge(record, 1, Integer::sum);
                    gotBy.merge(worker, 1, Integer::sum);
                    open.add(record);
                    firstAt.merge(shard, Long.valueOf(words[0]), Math::min);
                }
                case "kept" -> kept.addAll(open);
                case "ending" -> endingAt.merge(shard, Long.valueOf(words[0]), Math::min);
                case "ended" -> ended.add(shard);
                default -> { }
            }
        }
    }

    private void fail(String what) {
        synchronized (got) {
            failure = failure == null ? what : failure;
        }
    }

    private int countOf(String worker) {
        synchronized (got) {
            return gotBy.getOrDefault(worker, 0);
        }
    }

    private boolean hasAll() {
        synchronized (got) {
            return got.keySet().containsAll(put);
        }
    }

    private boolean hasEnded(Collection<Shard> shards) {
        synchronized (got) {
            return shards.stream().allMatch(shard -> ended.contains(shard.shardId()));
        }
    }

    private void parentsFirst() throws Exception {
        var shards = kinesis.listShards(list -> list.streamName(name)).get().shards();
        synchronized (got) {
            for (Shard shard : shards) {
                for (String parent : new String[] {shard.parentShardId(), shard.adjacentParentShardId()}) {
                    if (parent != null && firstAt.get(shard.shardId()) < endingAt.get(parent)) {
                        throw new AssertionError("records of " + shard.shardId() + " came before " + parent + " ended");
                    }
                }
            }
        }
    }

    /** Shards that take records in, by their hash keys. */
    private List<Shard> open() throws Exception {
        return kinesis.listShards(list -> list.streamName(name)).get().shards().stream()
            .filter(shard -> shard.sequenceNumberRange().endingSequenceNumber() == null)
            .sorted((one, other) -> new BigInteger(one.hashKeyRange().startingHashKey())
                .compareTo(new BigInteger(other.hashKeyRange().startingHashKey())))
            .toList();
    }

    /** Leases of shards that have not ended. */
    private List<Map<String, AttributeValue>> leases() {
        return dynamo.scan(scan -> scan.tableName(name).consistentRead(true)).join().items().stream()
            .filter(item -> item.containsKey("leaseKey") && item.get("leaseKey").s().startsWith("shardId-"))
            .filter(item -> !item.containsKey("checkpoint") || !"SHARD_END".equals(item.get("checkpoint").s()))
            .toList();
    }

    private int openLeases() {
        return leases().size();
    }

    private Set<String> owners() {
        Set<String> owners = new TreeSet<>();
        for (var lease : leases()) {
            owners.add(lease.containsKey("leaseOwner") ? lease.get("leaseOwner").s() : "nobody");
        }
        return owners;
    }

    private void until(BooleanSupplier holds) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        for (;;) {
            synchronized (got) {
                if (failure != null) {
                    throw new AssertionError(failure);
                }
            }
            boolean held;
            try {
                held = holds.getAsBoolean();
            } catch (java.util.concurrent.CompletionException early) {
                // The table is not there yet.
                held = false;
            }
            if (held) {
                return;
            }
            if (System.nanoTime() > end) {
                synchronized (got) {
                    Set<String> missing = new TreeSet<>(put);
                    missing.removeAll(got.keySet());
                    throw new AssertionError("not within " + PATIENCE_S + " s; leases " + leases() + "; by worker " + gotBy
                        + "; ended " + ended + "; missing " + missing.size() + " of " + put.size());
                }
            }
            Thread.sleep(500);
        }
    }

    /** What the workers measured is told where the server is watched. */
    private void metrics(String admin) throws Exception {
        // README, Monitoring: it reports to CloudWatch, here to this server.
        says("its metrics are told");
        var request = HttpRequest.newBuilder(URI.create("http://" + admin + "/metrics")).build();
        String told = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        String expected = "millstream_client_metric_samples_total{namespace=\"" + name + "\",metric=\"RecordsProcessed\"";
        if (!told.contains(expected)) {
            throw new AssertionError("there is no " + expected);
        }
    }
}
