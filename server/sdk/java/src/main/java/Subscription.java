import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardRequest;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

/** What a subscription is pushed, in order, and how it ends. */
final class Subscription {
    /** An event is longest in coming when there are no records: five seconds. */
    private static final int SECONDS_MAX = 15;

    /** An event, or why it ended: a Throwable, or this where it ended well. */
    private final BlockingQueue<Object> told = new LinkedBlockingQueue<>();

    Subscription(KinesisAsyncClient client, Consumer<SubscribeToShardRequest.Builder> request) {
        var handler = SubscribeToShardResponseHandler.builder()
            .subscriber(SubscribeToShardResponseHandler.Visitor.builder().onSubscribeToShardEvent(told::add).build())
            .onError(error -> {})
            .build();
        client.subscribeToShard(request, handler).whenComplete((nothing, error) -> told.add(error == null ? this : error));
    }

    /** The next event, or null at the end. */
    SubscribeToShardEvent next() {
        var next = take();
        if (next == this) {
            return null;
        }
        if (next instanceof Throwable error) {
            throw new AssertionError("the subscription failed", error);
        }
        return (SubscribeToShardEvent) next;
    }

    /** That it fails with this, after whatever it was pushed before. */
    void failsWith(Class<? extends KinesisException> type) {
        for (;;) {
            var next = take();
            Check.need(next != this, "the subscription ended well");
            if (next instanceof Throwable error) {
                var why = error instanceof CompletionException ? error.getCause() : error;
                if (!type.isInstance(why)) {
                    throw new AssertionError("not a " + type, why);
                }
                return;
            }
        }
    }

    private Object take() {
        try {
            var next = told.poll(SECONDS_MAX, TimeUnit.SECONDS);
            Check.need(next != null, "nothing was said for " + SECONDS_MAX + " s");
            return next;
        } catch (InterruptedException why) {
            throw new AssertionError(why);
        }
    }
}
