// What a worker says to the check, and hears from it, whichever the KCL: it says a line each of what happens, with the time in front,
// and is to end when nothing more can come.
//
//     MILLIS begun SHARD | got SHARD RECORD | kept SHARD (checkpoint behind all it got of it) | ending SHARD | ended SHARD | lost SHARD

import java.io.IOException;

final class Told {
    private Told() { }

    static void say(String line) {
        synchronized (System.out) {
            System.out.println(System.currentTimeMillis() + " " + line);
            System.out.flush();
        }
    }

    static void untilEnd() throws IOException {
        while (System.in.read() >= 0) {
            // Whatever it says: its end counts.
        }
    }
}
