package dev.heddle.bench.guard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class GuardTest {
    private final StringWriter text = new StringWriter();
    private final PrintWriter out = new PrintWriter(text);

    /** A check whose measurements give these ratios, one after the other. */
    private static Check check(double bound, Double... ratios) {
        Deque<Double> next = Arrays.stream(ratios).collect(Collectors.toCollection(ArrayDeque::new));
        return new Check("speed", bound, next::remove);
    }

    @Test
    void whatIsFastEnoughHoldsAtOnce() throws IOException {
        assertTrue(check(0.5, 0.5).holds(out));
        assertEquals("ok: speed: 0.50, at least 0.50\n", text.toString());
    }

    @Test
    void whatIsTooSlowIsMeasuredOnceMore() throws IOException {
        assertTrue(check(1.2, 0.4, 1.3).holds(out));
        assertEquals("speed: 0.40 is below 1.20, measuring again\nok: speed: 1.30, at least 1.20\n", text.toString());
    }

    @Test
    void whatIsTooSlowTwiceFails() throws IOException {
        assertFalse(check(1.2, 0.4, 1.1, 9.0).holds(out));
        assertTrue(text.toString().endsWith("FAILED: speed: 1.10, at least 1.20\n"), text.toString());
        assertFalse(check(1.2, Double.NaN, Double.NaN).holds(out));
    }

    @Test
    void oneFailureFailsTheCommandAndAllAreRun() throws IOException {
        assertEquals(1, GuardCommand.run(List.of(check(1, 0.5, 0.5), check(1, 2.0), check(1, 0.1, 0.1)), out));
        assertTrue(text.toString().endsWith("guard: 2 of 3 ratios are too low\n"), text.toString());
        assertEquals(0, GuardCommand.run(List.of(check(1, 1.0)), out));
        assertThrows(IOException.class, () -> GuardCommand.run(List.of(new Check("broken", 1, () -> {
            throw new IOException("no peer");
        })), out));
    }

    /** One thing takes 60 ns and the other 20; every third run of either is disturbed and takes ten times as long. */
    @Test
    void theRatioIsThatOfTheTimes() {
        long[] now = {0};
        int[] runs = {0};
        double ratio = Check.ratioOfTimes(() -> now[0] += runs[0]++ % 3 == 0 ? 600 : 60, () -> now[0] += runs[0]++ % 3 == 0 ? 200 : 20, 5, 1e-6,
                () -> now[0]);
        assertEquals(3, ratio);
        assertTrue(runs[0] > 5 * (4 + 8), runs[0] + " runs"); // a microsecond each
    }
}
