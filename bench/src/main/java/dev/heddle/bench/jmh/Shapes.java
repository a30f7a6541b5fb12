// Sizes as JMH parameters show them: 1024x1024.
package dev.heddle.bench.jmh;

import java.util.Arrays;

/** Reads sizes. */
final class Shapes {
    private Shapes() {}

    /**
     * {@code "32x64x56"} as numbers.
     *
     * @throws IllegalArgumentException if it is something else
     */
    static long[] parse(String text) {
        if (!text.matches("\\d{1,9}(x\\d{1,9})*")) {
            throw new IllegalArgumentException("sizes: '" + text + "' is not of the form 32x64x56");
        }
        return Arrays.stream(text.split("x")).mapToLong(Long::parseLong).toArray();
    }
}
