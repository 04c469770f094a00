// The KPL and a server whose certificate is wrong: one that it was not given, or one of another host. It sends nothing, until it is given
// the certificate, or told not to verify any.
//
//     java Certificates NAME unknown|elsewhere CERTIFICATE ENDPOINT
//
// Pins what the KPL's KinesisProducerConfiguration says of setVerifyCertificate (that it is on unless told otherwise), setCaCertFile and
// setCaCertPath. The server's part is that it offers TLS to who speaks it, and stores nothing of a client that left in the handshake.

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;

final class Certificates {
    private final URI endpoint;
    private final String stream;
    private final KinesisClient kinesis;

    private Certificates(String name, URI endpoint) {
        this.endpoint = endpoint;
        stream = name + "-certificates";
        kinesis = KinesisClient.builder().endpointOverride(endpoint).build();
    }

    public static void main(String[] arguments) throws Exception {
        String name = arguments[0];
        var certificate = Optional.of(Path.of(arguments[2]));
        Certificates check = new Certificates(name, URI.create(arguments[3]));
        check.kinesis.createStream(create -> create.streamName(check.stream).shardCount(1));
        if (arguments[1].equals("unknown")) {
            check.refuses(Optional.empty());
            System.out.println(name + ": a server whose certificate it was not given is sent nothing");
            check.sends("given", certificate, true);
            System.out.println(name + ": a server whose certificate it was given is sent what is put");
        } else {
            check.refuses(certificate);
            System.out.println(name + ": a server whose certificate is of another host is sent nothing");
        }
        check.sends("unverified", Optional.empty(), false);
        System.out.println(name + ": a server whose certificate it is not to verify is sent what is put");
        System.exit(0);
    }

    private void refuses(Optional<Path> certificate) throws Exception {
        var before = stored();
        try {
            put("never", certificate, true);
        } catch (Exception | AssertionError why) {
            if (!String.valueOf(why.getMessage()).contains(Producer.DISBELIEF)) {
                throw why;
            }
            expect(before, stored());
            return;
        }
        throw new AssertionError("it was sent to a server that shows a wrong certificate");
    }

    private void sends(String data, Optional<Path> certificate, boolean verifies) throws Exception {
        put(data, certificate, verifies);
        expect(data, stored().get(stored().size() - 1));
    }

    private static void expect(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("there is " + found + ", not " + expected);
        }
    }

    private void put(String data, Optional<Path> certificate, boolean verifies) throws Exception {
        var producer = new Producer(endpoint, certificate, verifies);
        try {
            producer.add(stream, "key", null, ByteBuffer.wrap(data.getBytes(StandardCharsets.UTF_8))).call();
        } finally {
            producer.end();
        }
    }

    private List<String> stored() {
        var begin = kinesis.getShardIterator(get -> get.streamName(stream).shardId("shardId-000000000000")
            .shardIteratorType(ShardIteratorType.TRIM_HORIZON)).shardIterator();
        return kinesis.getRecords(get -> get.shardIterator(begin)).records().stream().map(record -> record.data().asUtf8String()).toList();
    }
}
