// Goes through `operations.json` in CBOR over HTTP/1.1, as the synchronous client comes: each operation is called, and what it is to
// answer is compared.
//
//     java Operations ENDPOINT ADMIN       in the repository's root
//
// A step is an operation, its input, and what is expected: `told` this, or more; the same `until` it does, asked again; to be `refused`.

import java.lang.reflect.InvocationTargetException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.SdkField;
import software.amazon.awssdk.core.SdkPojo;
import software.amazon.awssdk.core.protocol.MarshallingType;
import software.amazon.awssdk.core.traits.ListTrait;
import software.amazon.awssdk.core.traits.MapTrait;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.utils.builder.Buildable;

final class Operations {
    private static final long PATIENCE_MS = 30_000;

    public static void main(String[] arguments) throws Exception {
        try (var client = KinesisClient.builder().endpointOverride(URI.create(arguments[0])).build()) {
            var file = Files.readString(Path.of("server/sdk/operations.json"));
            for (var behaviour : JsonNode.parser().parse(file).asArray()) {
                for (var step : behaviour.asArray().get(1).asArray()) {
                    var parts = step.asArray();
                    var expected = parts.size() > 2 ? parts.get(2).asObject() : Map.<String, JsonNode>of();
                    step(client, parts.get(0).text(), parts.get(1), expected);
                }
                System.out.println("java: " + behaviour.asArray().get(0).text());
            }
        }
    }

    private static void step(KinesisClient client, String operation, JsonNode given, Map<String, JsonNode> expected) throws Exception {
        var type = Class.forName("software.amazon.awssdk.services.kinesis.model." + operation + "Request");
        var request = built((SdkPojo) type.getMethod("builder").invoke(null), given);
        var call = KinesisClient.class.getMethod(Character.toLowerCase(operation.charAt(0)) + operation.substring(1), type);
        var refused = expected.get("refused");
        for (long begun = System.currentTimeMillis();; Thread.sleep(50)) {
            SdkPojo told;
            try {
                told = (SdkPojo) call.invoke(client, request);
            } catch (InvocationTargetException error) {
                var why = error.getCause() instanceof KinesisException refusal ? refusal.awsErrorDetails().errorCode() : null;
                if (refused != null && refused.text().equals(why)) {
                    return;
                }
                throw new AssertionError(operation + " " + given, error.getCause());
            }
            Check.need(refused == null, operation + " " + given + ": not refused, but " + told);
            var wanted = expected.containsKey("until") ? expected.get("until") : expected.get("told");
            if (wanted == null || has(told, wanted)) {
                return;
            }
            boolean goesOn = expected.containsKey("until") && System.currentTimeMillis() < begun + PATIENCE_MS;
            Check.need(goesOn, operation + " " + given + ": " + told + ", not " + expected);
        }
    }

    /** Whether an answer has what is expected, and maybe more; null is what must not be there. */
    private static boolean has(Object found, JsonNode expected) {
        if (expected.isNull()) {
            return found == null;
        }
        if (expected.isArray()) {
            var wanted = expected.asArray();
            return found instanceof List<?> list && list.size() == wanted.size()
                && IntStream.range(0, wanted.size()).allMatch(at -> has(list.get(at), wanted.get(at)));
        }
        if (expected.isObject()) {
            return found instanceof SdkPojo pojo && expected.asObject().entrySet().stream()
                .allMatch(member -> has(field(pojo, member.getKey()).getValueOrDefault(pojo), member.getValue()));
        }
        return found != null && found.toString().equals(expected.isBoolean() ? "" + expected.asBoolean() : expected.text());
    }

    private static SdkField<?> field(SdkPojo pojo, String member) {
        return pojo.sdkFields().stream().filter(field -> field.memberName().equals(member)).findFirst().orElseThrow();
    }

    private static Object built(SdkPojo builder, JsonNode given) {
        given.asObject().forEach((member, node) -> {
            var field = field(builder, member);
            field.set(builder, value(field, node));
        });
        return ((Buildable) builder).build();
    }

    /** What the SDK has for it; text is bytes where the API has bytes. */
    private static Object value(SdkField<?> field, JsonNode node) {
        if (node.isArray()) {
            var item = field.getTrait(ListTrait.class).memberFieldInfo();
            return node.asArray().stream().map(one -> value(item, one)).toList();
        }
        if (node.isObject() && field.marshallingType() == MarshallingType.MAP) {
            var item = field.getTrait(MapTrait.class).valueFieldInfo();
            var map = new LinkedHashMap<String, Object>();
            node.asObject().forEach((key, one) -> map.put(key, value(item, one)));
            return map;
        }
        if (node.isObject()) {
            return built(field.constructor().get(), node);
        }
        if (node.isBoolean()) {
            return node.asBoolean();
        }
        if (node.isNumber()) {
            return Integer.valueOf(node.asNumber());
        }
        return field.marshallingType() == MarshallingType.SDK_BYTES ? SdkBytes.fromUtf8String(node.text()) : node.text();
    }
}
