// The KPL 1, for the check.

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordFailedException;
import software.amazon.kinesis.producer.UserRecordResult;

final class Producer {
    /** Whether it asks how a stream places its records. */
    static final boolean HEEDS_SPREADING = true;
    /** What it says of a server that it does not believe. */
    static final String DISBELIEF = "SSL peer certificate or SSH remote key was not OK";
    private static final long PATIENCE_S = 120;

    /** Where a user record is, and how often it was stored in another shard than was thought. */
    record Stored(String shard, int elsewhere) { }

    private final KinesisProducer producer;

    /** Begins its daemon, which believes a certificate. */
    Producer(URI endpoint, Path certificate, String namespace) {
        producer = new KinesisProducer(at(endpoint)
            .setCaCertFile(certificate.toString())
            .setRequestTimeout(60_000) // what is sent again after a time-out may be there twice
            .setMetricsNamespace(namespace)
            .setMetricsUploadDelay(1_000));
    }

    /** Begins its daemon, which believes a certificate too, if one is given, and soon gives up. */
    Producer(URI endpoint, Optional<Path> certificate, boolean verifies) {
        var configuration = at(endpoint).setVerifyCertificate(verifies).setRecordTtl(5_000).setMetricsLevel("none");
        certificate.ifPresent(file -> configuration.setCaCertFile(file.toString()));
        producer = new KinesisProducer(configuration);
    }

    private static KinesisProducerConfiguration at(URI endpoint) {
        return new KinesisProducerConfiguration()
            .setRegion("us-east-1")
            .setKinesisEndpoint(endpoint.getHost())
            .setKinesisPort(endpoint.getPort())
            .setCloudwatchEndpoint(endpoint.getHost())
            .setCloudwatchPort(endpoint.getPort());
    }

    /** Sends a user record, to a hash key if it is not its own, and tells where it is once that is known. */
    Callable<Stored> add(String stream, String key, String place, ByteBuffer data) {
        var result = producer.addUserRecord(stream, key, place, data);
        return () -> {
            try {
                return stored(result.get(PATIENCE_S, TimeUnit.SECONDS));
            } catch (ExecutionException failed) {
                if (failed.getCause() instanceof UserRecordFailedException refused) {
                    var error = refused.getResult().getAttempts().get(0);
                    throw new AssertionError(key + " was refused: " + error.getErrorCode() + " " + error.getErrorMessage());
                }
                throw failed;
            }
        };
    }

    private static Stored stored(UserRecordResult result) {
        long elsewhere = result.getAttempts().stream().filter(attempt -> "Wrong Shard".equals(attempt.getErrorCode())).count();
        return new Stored(result.getShardId(), (int) elsewhere);
    }

    void flush(String stream) {
        producer.flush(stream);
    }

    void end() {
        producer.destroy();
    }
}
