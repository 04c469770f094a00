// What a job does with each record, in the process of the check: it is written down, and at one record, once, the job fails.

import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.state.CheckpointListener;

final class Through implements MapFunction<String, String>, CheckpointListener {
    static final String FAILS_AT = "failing";

    /** How often each record came since the last clear(); under its own lock. */
    static final Map<String, Integer> CAME = new HashMap<>();
    static volatile long checkpoint;
    static volatile boolean hasFailed;

    static void clear() {
        synchronized (CAME) {
            CAME.clear();
            checkpoint = 0;
            hasFailed = false;
        }
    }

    @Override
    public String map(String record) {
        synchronized (CAME) {
            if (record.startsWith(FAILS_AT) && !hasFailed) {
                hasFailed = true;
                throw new IllegalStateException("as it should");
            }
            CAME.merge(record, 1, Integer::sum);
        }
        return record;
    }

    @Override
    public void notifyCheckpointComplete(long number) {
        synchronized (CAME) {
            checkpoint = Math.max(checkpoint, number);
        }
    }
}
