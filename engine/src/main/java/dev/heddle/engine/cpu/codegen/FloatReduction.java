// Reductions of f32, in vectors.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Reduce;
import java.lang.invoke.MethodHandles;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/** Sixteen lanes: one, two or four vectors. Only copies of this class are used, see {@link Reduction#of}. */
final class FloatReduction implements Reduction {
    private static final Reduce.Kind KIND = Copies.kind(MethodHandles.lookup());
    private static final boolean SUM = KIND == Reduce.Kind.SUM;
    private static final boolean PROD = KIND == Reduce.Kind.PROD;
    private static final boolean MAX = KIND == Reduce.Kind.MAX;
    private static final float IDENTITY = Reduction.identity(KIND);
    private static final VectorSpecies<Float> S = Lanes.S;
    private static final int W = S.length();
    static final int LANES = 16;
    private static final int VECTORS = LANES / W; // of a row at once
    private static final int TOGETHER = 4;
    private static final int NARROW = 256; // columns whose lanes fit the first-level cache

    FloatReduction() {}

    private static FloatVector identity() { // not a constant: loops would start from it as an object, and stay with objects
        return FloatVector.broadcast(S, IDENTITY);
    }

    private static FloatVector combine(FloatVector a, FloatVector b) {
        return SUM ? a.add(b) : PROD ? a.mul(b) : MAX ? a.max(b) : a.min(b);
    }

    /** The elements from {@code i} to {@code n}, as far as they fit, then the identity. */
    private static FloatVector rest(long address, int i, int n) {
        VectorMask<Float> lanes = S.indexInRange(i, n);
        return identity().blend(Lanes.loadF32(address + 4L * i, lanes), lanes);
    }

    @Override
    public int lanes() {
        return LANES;
    }

    @Override
    public void rows(long from, long rowStep, int rows, int n, long to) {
        for (int row = 0; row < rows; row++) {
            long at = from + row * rowStep;
            Memory.putFloat(to + 4L * row, SUM || PROD ? row(at, n) : extreme(at, n));
        }
    }

    /** Of an extreme the order does not matter; a loop as small as this is compiled without making objects of vectors. */
    private static float extreme(long at, int n) {
        FloatVector x = identity();
        FloatVector y = identity();
        int i = 0;
        for (int whole = n & -2 * W; i < whole; i += 2 * W) {
            x = combine(x, Lanes.loadF32(at + 4L * i));
            y = combine(y, Lanes.loadF32(at + 4L * i + 4L * W));
        }
        if (i < n) {
            x = combine(x, rest(at, i, n));
            y = combine(y, rest(at, Math.min(n, i + W), n));
        }
        return acrossLanes(combine(x, y));
    }

    private static float acrossLanes(FloatVector lanes) {
        FloatVector x = lanes;
        x = W > 8 ? combine(x, Lanes.by8(x)) : x;
        x = W > 4 ? combine(x, Lanes.by4(x)) : x;
        x = combine(x, Lanes.by2(x));
        x = combine(x, Lanes.by1(x));
        return x.lane(0);
    }

    private static float row(long at, int n) {
        FloatVector x = identity();
        FloatVector y = identity();
        FloatVector z = identity();
        FloatVector w = identity();
        for (int block = 0; block < n; block += BLOCK) {
            FloatVector bx = identity();
            FloatVector by = identity();
            FloatVector bz = identity();
            FloatVector bw = identity();
            int end = Math.min(n, block + BLOCK);
            int whole = end & -VECTORS * W;
            int i = block;
            for (; i < whole; i += VECTORS * W) {
                bx = combine(bx, Lanes.loadF32(at + 4L * i));
                if (VECTORS > 1) {
                    by = combine(by, Lanes.loadF32(at + 4L * i + 4L * W));
                }
                if (VECTORS > 2) {
                    bz = combine(bz, Lanes.loadF32(at + 4L * i + 8L * W));
                    bw = combine(bw, Lanes.loadF32(at + 4L * i + 12L * W));
                }
            }
            if (i < end) {
                bx = combine(bx, rest(at, i, end));
                if (VECTORS > 1) {
                    by = combine(by, rest(at, Math.min(end, i + W), end));
                }
                if (VECTORS > 2) {
                    bz = combine(bz, rest(at, Math.min(end, i + 2 * W), end));
                    bw = combine(bw, rest(at, Math.min(end, i + 3 * W), end));
                }
            }
            x = combine(x, bx);
            if (VECTORS > 1) {
                y = combine(y, by);
            }
            if (VECTORS > 2) {
                z = combine(z, bz);
                w = combine(w, bw);
            }
        }
        if (VECTORS > 2) {
            x = combine(x, z);
            y = combine(y, w);
        }
        if (VECTORS > 1) {
            x = combine(x, y);
        }
        return acrossLanes(x);
    }

    @Override
    public void accumulate(long from, long rowStep, int first, int rows, int n, long lanes) {
        for (int row = 0; row < rows;) {
            int inBlock = first + row & BLOCK - 1;
            if (inBlock == 0) {
                if (first + row > 0) {
                    endBlock(lanes, n, first + row == BLOCK);
                }
                fill(lanes, n * (first + row == 0 ? Math.min(LANES, rows) : LANES));
            }
            int end = Math.min(rows, row + BLOCK - inBlock);
            row = accumulateInBlock(from, rowStep, first, row, end, n, lanes);
        }
    }

    /** Adds the lanes of a block to those of the blocks before, which lie behind them. */
    private static void endBlock(long lanes, int n, boolean first) {
        long total = lanes + 4L * LANES * n;
        if (first) {
            fill(total, n * LANES);
        }
        combineOne(lanes, n * LANES, total);
    }

    private static int accumulateInBlock(long from, long rowStep, int first, int row, int rows, int n, long lanes) {
        boolean begins = (first + row & LANES - 1) == 0; // with the first lane
        if (begins && rowStep == 4L * n && n <= NARROW) { // a row for every lane, at once
            for (; row + LANES <= rows; row += LANES) {
                combineOne(from + row * rowStep, LANES * n, lanes);
            }
        } else if (begins) {
            int whole = n & -W;
            for (; row + TOGETHER * LANES <= rows; row += TOGETHER * LANES) {
                for (int lane = 0; lane < LANES; lane++) {
                    long at = from + (row + lane) * rowStep;
                    long to = lanes + lane * 4L * n;
                    combineFour(at, LANES * rowStep, whole, to);
                    for (int k = 0; k < TOGETHER && whole < n; k++) {
                        combineOne(at + k * LANES * rowStep + 4L * whole, n - whole, to + 4L * whole);
                    }
                }
            }
        }
        for (; row < rows; row++) {
            combineOne(from + row * rowStep, n, lanes + (first + row & LANES - 1) * 4L * n);
        }
        return row;
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
        long from = lanes;
        if (rows > BLOCK) {
            endBlock(lanes, n, false);
            from += 4L * LANES * n;
        }
        int live = Math.min(rows, LANES); // the others hold the identity
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int lane = 0; lane + half < live; lane++) {
                combineOne(from + (lane + half) * 4L * n, n, from + lane * 4L * n);
            }
            live = Math.min(live, half);
        }
        Memory.copy(from, to, 4L * n);
    }
}
