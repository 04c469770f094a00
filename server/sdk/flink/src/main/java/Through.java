// What a job does with each record, in the process of the check: it is written down, in the order in which records come, and at one record,
// once, the job fails.

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.CheckpointListener;

final class Through extends RichMapFunction<String, String> implements CheckpointListener {
    static final String FAILS_AT = "failing";

    /** The records that came since the last clear(), those to the first attempt of a task and those to the second; under its own lock. */
    static final List<List<String>> CAME = List.of(new ArrayList<>(), new ArrayList<>());
    static volatile long checkpoint;
    static volatile boolean hasFailed;

    static void clear() {
        synchronized (CAME) {
            CAME.forEach(List::clear);
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
            CAME.get(getRuntimeContext().getTaskInfo().getAttemptNumber()).add(record);
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
