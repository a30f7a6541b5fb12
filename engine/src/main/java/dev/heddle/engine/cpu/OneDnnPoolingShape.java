// Everything a pooling is planned by, apart from addresses: the key under which a planned one is found again.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Pooling;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Sizes of {@code x (N, C, *X)} and {@code y (N, C, *Y)}, with 1 to 3 spatial axes. Both are dense in that order, or as
 * {@code (N, *X, C)}.
 *
 * @param dtype of {@code x} and {@code y}: {@code F32}, {@code BF16} or {@code F16}
 * @param channelsLast whether {@code x} and {@code y}, or their gradients, lie as {@code (N, *X, C)}
 */
record OneDnnPoolingShape(Pooling op, DType dtype, long batch, long channels, List<Long> input, boolean channelsLast) {
    /** Copies the list. */
    OneDnnPoolingShape {
        input = List.copyOf(input);
    }

    /** {@code (n, C, *X)}. */
    long[] xDims(long n) {
        return dims(n, input.stream().mapToLong(Long::longValue));
    }

    /** {@code (n, C, *Y)}. */
    long[] yDims(long n) {
        return dims(n, IntStream.range(0, input.size())
                .mapToLong(i -> op.window().outputs(op.name(), i, input.get(i), op.kernel().get(i))));
    }

    private long[] dims(long n, LongStream spatial) {
        return LongStream.concat(LongStream.of(n, channels), spatial).toArray();
    }
}
