// Reductions of f64, one element after the other.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Reduce;
import java.lang.invoke.MethodHandles;

/** One lane. Only copies of this class are used, see {@link Reduction#of}. */
final class DoubleReduction implements Reduction {
    private static final Reduce.Kind KIND = Copies.kind(MethodHandles.lookup());
    private static final double IDENTITY = switch (KIND) {
        case MAX -> Double.NEGATIVE_INFINITY;
        case MIN -> Double.POSITIVE_INFINITY;
        case PROD -> 1;
        default -> 0;
    };

    DoubleReduction() {}

    private static double combine(double a, double b) {
        return switch (KIND) {
            case MAX -> Math.max(a, b);
            case MIN -> Math.min(a, b);
            case PROD -> a * b;
            default -> a + b;
        };
    }

    @Override
    public int lanes() {
        return 1;
    }

    @Override
    public void rows(long from, long rowStep, int rows, int n, long to) {
        for (int row = 0; row < rows; row++) {
            long source = from + row * rowStep;
            double result = IDENTITY;
            for (int i = 0; i < n; i++) {
                result = combine(result, Memory.getDouble(source + 8L * i));
            }
            Memory.putDouble(to + 8L * row, result);
        }
    }

    @Override
    public void accumulate(long from, long rowStep, int first, int rows, int n, long lanes) {
        for (int row = 0; row < rows; row++) {
            long source = from + row * rowStep;
            for (int i = 0; i < n; i++) {
                double before = first + row == 0 ? IDENTITY : Memory.getDouble(lanes + 8L * i);
                Memory.putDouble(lanes + 8L * i, combine(before, Memory.getDouble(source + 8L * i)));
            }
        }
    }

    @Override
    public void fold(long lanes, int rows, int n, long to) {
        Memory.copy(lanes, to, 8L * n);
    }
}
