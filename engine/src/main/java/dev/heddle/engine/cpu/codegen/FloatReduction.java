// Reductions of f32, in vectors.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Reduce;
import java.lang.invoke.MethodHandles;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/** Two vectors of lanes. Only copies of this class are used, see {@link Reduction#of}. */
final class FloatReduction implements Reduction {
    private static final Reduce.Kind KIND = Copies.kind(MethodHandles.lookup());
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final int W = S.length();
    private static final float IDENTITY = switch (KIND) {
        case MAX -> Float.NEGATIVE_INFINITY;
        case MIN -> Float.POSITIVE_INFINITY;
        case PROD -> 1;
        default -> 0;
    };
    // Shuffles that bring lane l + h to lane l, for every half h below a vector.
    private static final VectorShuffle<Float> BY_8 = by(8);
    private static final VectorShuffle<Float> BY_4 = by(4);
    private static final VectorShuffle<Float> BY_2 = by(2);
    private static final VectorShuffle<Float> BY_1 = by(1);

    FloatReduction() {}

    private static VectorShuffle<Float> by(int lanes) {
        return VectorShuffle.iota(S, lanes, 1, true);
    }

    /** Made anew in every method: a vector that began as a constant object would be kept as an object through the loop. */
    private static FloatVector identity() {
        return FloatVector.broadcast(S, IDENTITY);
    }

    private static FloatVector combine(FloatVector a, FloatVector b) {
        return switch (KIND) {
            case MAX -> a.max(b);
            case MIN -> a.min(b);
            case PROD -> a.mul(b);
            default -> a.add(b);
        };
    }

    private static FloatVector rest(long address, int n) {
        VectorMask<Float> lanes = S.indexInRange(0, n);
        return identity().blend(Lanes.loadF32(address, lanes), lanes);
    }

    @Override
    public int lanes() {
        return 2 * W;
    }

    @Override
    public void rows(long from, long rowStep, int rows, int n, long to) {
        for (int row = 0; row < rows; row++) {
            Memory.putFloat(to + 4L * row, row(from + row * rowStep, n));
        }
    }

    private static float row(long from, int n) {
        FloatVector even = identity();
        FloatVector odd = identity();
        int i = 0;
        for (int limit = n & -2 * W; i < limit; i += 2 * W) {
            even = combine(even, Lanes.loadF32(from + 4L * i));
            odd = combine(odd, Lanes.loadF32(from + 4L * i + 4L * W));
        }
        if (n - i > W) {
            even = combine(even, Lanes.loadF32(from + 4L * i));
            odd = combine(odd, rest(from + 4L * i + 4L * W, n - i - W));
        } else if (i < n) {
            even = combine(even, rest(from + 4L * i, n - i));
        }
        FloatVector v = combine(even, odd);
        if (W > 16) {
            for (int half = W / 2; half > 8; half /= 2) {
                v = combine(v, v.rearrange(by(half)));
            }
        }
        v = W > 8 ? combine(v, v.rearrange(BY_8)) : v;
        v = W > 4 ? combine(v, v.rearrange(BY_4)) : v;
        v = W > 2 ? combine(v, v.rearrange(BY_2)) : v;
        v = combine(v, v.rearrange(BY_1));
        return v.lane(0);
    }

    @Override
    public void accumulate(long from, long rowStep, int first, int rows, int n, long lanes) {
        for (int row = 0; row < rows; row++) {
            long source = from + row * rowStep;
            long lane = lanes + (first + row & 2 * W - 1) * 4L * n;
            if (first + row < 2 * W) {
                Memory.copy(source, lane, 4L * n);
                continue;
            }
            combineRows(lane, source, lane, n);
        }
    }

    /** {@code to = combine(a, b)}. */
    private static void combineRows(long a, long b, long to, int n) {
        int i = 0;
        for (int limit = n & -W; i < limit; i += W) {
            Lanes.storeF32(combine(Lanes.loadF32(a + 4L * i), Lanes.loadF32(b + 4L * i)), to + 4L * i);
        }
        if (i < n) {
            VectorMask<Float> rest = S.indexInRange(i, n);
            FloatVector both = combine(Lanes.loadF32(a + 4L * i, rest), Lanes.loadF32(b + 4L * i, rest));
            Lanes.storeF32(both, to + 4L * i, rest);
        }
    }

    @Override
    public void fold(long lanes, int rows, int n, long to) {
        int live = Math.min(rows, 2 * W);
        for (int half = W; half > 0; half /= 2) {
            for (int lane = 0; lane + half < live; lane++) {
                combineRows(lanes + lane * 4L * n, lanes + (lane + half) * 4L * n, lanes + lane * 4L * n, n);
            }
            live = Math.min(live, half);
        }
        for (int i = 0; i < n; i += W) { // the other way round begins with the identity, which turns -0 into 0
            VectorMask<Float> rest = S.indexInRange(i, n);
            Lanes.storeF32(combine(identity(), Lanes.loadF32(lanes + 4L * i, rest)), to + 4L * i, rest);
        }
    }
}
