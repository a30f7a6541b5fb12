// Reductions of f32, in vectors.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Reduce;
import java.lang.invoke.MethodHandles;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/** As many lanes as a vector has. Only copies of this class are used, see {@link Reduction#of}. */
final class FloatReduction implements Reduction {
    private static final Reduce.Kind KIND = Copies.kind(MethodHandles.lookup());
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final int W = S.length();
    private static final int TOGETHER = 4;
    private static final int NARROW = 256; // columns whose lanes fit the first-level cache
    private static final boolean SUM = KIND == Reduce.Kind.SUM;
    private static final boolean PROD = KIND == Reduce.Kind.PROD;
    private static final boolean MAX = KIND == Reduce.Kind.MAX;
    private static final float IDENTITY = SUM ? 0 : PROD ? 1 : MAX ? Float.NEGATIVE_INFINITY : Float.POSITIVE_INFINITY;
    // Shuffles that bring lane l + h to lane l, for every half h below a vector.
    private static final VectorShuffle<Float> BY_8 = by(8);
    private static final VectorShuffle<Float> BY_4 = by(4);
    private static final VectorShuffle<Float> BY_2 = by(2);
    private static final VectorShuffle<Float> BY_1 = by(1);

    FloatReduction() {}

    private static VectorShuffle<Float> by(int lanes) {
        return VectorShuffle.iota(S, lanes, 1, true);
    }

    private static FloatVector identity() { // not a constant: loops would start from it as an object, and stay with objects
        return FloatVector.broadcast(S, IDENTITY);
    }

    private static FloatVector combine(FloatVector a, FloatVector b) {
        return SUM ? a.add(b) : PROD ? a.mul(b) : MAX ? a.max(b) : a.min(b);
    }

    private static FloatVector rest(long address, int n) {
        VectorMask<Float> lanes = S.indexInRange(0, n);
        return identity().blend(Lanes.loadF32(address, lanes), lanes);
    }

    @Override
    public int lanes() {
        return W;
    }

    @Override
    public void rows(long from, long rowStep, int rows, int n, long to) {
        for (int row = 0; row < rows; row++) {
            long at = from + row * rowStep;
            FloatVector x = identity();
            int i = 0;
            if (!SUM && !PROD) { // the order does not matter, and one comparison need not wait for the other
                FloatVector y = identity();
                for (int limit = n & -2 * W; i < limit; i += 2 * W) {
                    x = combine(x, Lanes.loadF32(at + 4L * i));
                    y = combine(y, Lanes.loadF32(at + 4L * i + 4L * W));
                }
                x = combine(x, y);
            }
            for (int limit = n & -W; i < limit; i += W) {
                x = combine(x, Lanes.loadF32(at + 4L * i));
            }
            if (i < n) {
                x = combine(x, rest(at + 4L * i, n - i));
            }
            Memory.putFloat(to + 4L * row, acrossLanes(x));
        }
    }

    private static float acrossLanes(FloatVector v) {
        for (int half = W / 2; half > 8; half /= 2) {
            v = combine(v, v.rearrange(by(half)));
        }
        v = W > 8 ? combine(v, v.rearrange(BY_8)) : v;
        v = W > 4 ? combine(v, v.rearrange(BY_4)) : v;
        v = W > 2 ? combine(v, v.rearrange(BY_2)) : v;
        return combine(v, v.rearrange(BY_1)).lane(0);
    }

    @Override
    public void accumulate(long from, long rowStep, int first, int rows, int n, long lanes) {
        if (first == 0) {
            fill(lanes, n * Math.min(rows, W));
        }
        int row = 0;
        boolean begins = (first & W - 1) == 0; // with the first lane
        if (begins && rowStep == 4L * n && n <= NARROW) { // a row for every lane, at once
            for (; row + W <= rows; row += W) {
                combineOne(from + row * rowStep, W * n, lanes);
            }
        } else if (begins) {
            int whole = n & -W;
            for (; row + TOGETHER * W <= rows; row += TOGETHER * W) {
                for (int lane = 0; lane < W; lane++) {
                    long at = from + (row + lane) * rowStep;
                    long to = lanes + lane * 4L * n;
                    combineFour(at, W * rowStep, whole, to);
                    for (int k = 0; k < TOGETHER && whole < n; k++) {
                        combineOne(at + k * W * rowStep + 4L * whole, n - whole, to + 4L * whole);
                    }
                }
            }
        }
        for (; row < rows; row++) {
            combineOne(from + row * rowStep, n, lanes + (first + row & W - 1) * 4L * n);
        }
    }

    private static void fill(long to, int n) {
        for (int i = 0; i < n; i += W) {
            Lanes.storeF32(identity(), to + 4L * i, S.indexInRange(i, n));
        }
    }

    /** {@code to = combine(to, a)}. */
    private static void combineOne(long a, int n, long to) {
        int i = 0;
        for (int limit = n & -W; i < limit; i += W) {
            Lanes.storeF32(combine(Lanes.loadF32(to + 4L * i), Lanes.loadF32(a + 4L * i)), to + 4L * i);
        }
        if (i < n) {
            VectorMask<Float> rest = S.indexInRange(i, n);
            FloatVector both = combine(Lanes.loadF32(to + 4L * i, rest), Lanes.loadF32(a + 4L * i, rest));
            Lanes.storeF32(both, to + 4L * i, rest);
        }
    }

    /** The same for {@link #TOGETHER} rows in turn and whole vectors: fewer loads and stores of {@code to} than one by one. */
    private static void combineFour(long a, long step, int n, long to) {
        for (int i = 0; i < n; i += W) {
            long at = a + 4L * i;
            FloatVector x = combine(Lanes.loadF32(to + 4L * i), Lanes.loadF32(at));
            x = combine(x, Lanes.loadF32(at + step));
            x = combine(x, Lanes.loadF32(at + 2 * step));
            Lanes.storeF32(combine(x, Lanes.loadF32(at + 3 * step)), to + 4L * i);
        }
    }

    @Override
    public void fold(long lanes, int rows, int n, long to) {
        int live = Math.min(rows, W);
        for (int half = W / 2; half > 0; half /= 2) {
            for (int lane = 0; lane + half < live; lane++) {
                combineOne(lanes + (lane + half) * 4L * n, n, lanes + lane * 4L * n);
            }
            live = Math.min(live, half);
        }
        Memory.copy(lanes, to, 4L * n);
    }
}
