// The KPL 0, on the SDK's first version, for the check. Its daemon asks STS who it is before it begins.

import com.amazonaws.services.kinesis.producer.KinesisProducer;
import com.amazonaws.services.kinesis.producer.KinesisProducerConfiguration;
import com.amazonaws.services.kinesis.producer.UserRecordFailedException;
import com.amazonaws.services.kinesis.producer.UserRecordResult;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

final class Producer {
    /** Whether it asks how a stream places its records. */
    static final boolean HEEDS_SPREADING = false;
    /** What is said of a server that it does not believe: its daemon ends, as it can't ask STS. */
    static final String DISBELIEF = "EOF reached during read";
    private static final long PATIENCE_S = 120;

    /** Where a user record is, and how often it was stored in another shard than was thought. */
    record Stored(String shard, int elsewhere) { }

    private final KinesisProducer producer;

    /** Begins its daemon, which believes the certificates that lie beside one, named by the hashes of their subjects. */
    Producer(URI endpoint, Path certificate, String namespace) {
        producer = new KinesisProducer(at(endpoint)
            .setCaCertPath(certificate.getParent().toString())
            .setRequestTimeout(60_000) // what is sent again after a time-out may be there twice
            .setMetricsNamespace(namespace)
            .setMetricsUploadDelay(1_000));
    }

    /** Begins its daemon, which believes a certificate too, if one is given, and soon gives up. */
    Producer(URI endpoint, Optional<Path> certificate, boolean verifies) {
        var configuration = at(endpoint).setVerifyCertificate(verifies).setRecordTtl(5_000).setMetricsLevel("none");
        certificate.ifPresent(file -> configuration.setCaCertPath(file.getParent().toString()));
        producer = new KinesisProducer(configuration);
    }

    private static KinesisProducerConfiguration at(URI endpoint) {
        return new KinesisProducerConfiguration()
            .setRegion("us-east-1")
            .setKinesisEndpoint(endpoint.getHost())
            .setKinesisPort(endpoint.getPort())
            .setStsEndpoint(endpoint.getHost())
            .setStsPort(endpoint.getPort())
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
