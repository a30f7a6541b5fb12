// The loops of attention over rows of scores that are not products: softmax, its gradient, dropout, bias.
package dev.heddle.engine.cpu;

import static jdk.incubator.vector.VectorOperators.GT;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.MAX;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Philox;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * Rows of {@code F32} at addresses, whose memory is a whole number of vectors: loops run to the end of the last vector, and callers
 * see to it that what lies behind the row does no harm. Sums have an order that depends on nothing but the row's length.
 */
final class AttentionRows {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    private static final long BYTES = S.vectorByteSize();
    /** Numbers in a vector, or 16 if that is more: what the memory of a row is a multiple of. */
    static final int UNIT = Math.max(16, S.length());

    // e^x = 2^n e^r with |r| <= ln(2) / 2: adding and subtracting ROUND leaves the nearest integer, in its low bits as well
    private static final float ROUND = 0x1.8p23f;
    private static final float LOG2E = 1.44269504f;
    private static final float LN2_HIGH = 0.693359375f;
    private static final float LN2_LOW = -2.12194440e-4f;
    private static final float SMALLEST = -87; // e^x is 0 below

    private AttentionRows() {}

    private static FloatVector load(long address) {
        return FloatVector.fromMemorySegment(S, Memory.ALL, address & Memory.ADDRESS, ORDER);
    }

    private static void store(FloatVector x, long address) {
        x.intoMemorySegment(Memory.ALL, address & Memory.ADDRESS, ORDER);
    }

    /** The end of the last vector of a row of {@code n}. */
    private static long end(long row, long n) {
        return row + (n * Float.BYTES + BYTES - 1) / BYTES * BYTES;
    }

    /** Sets elements {@code from} to the end of the last vector of {@code to}. */
    static void fill(long row, long from, long to, float value) {
        long end = end(row, to);
        long address = row + from * Float.BYTES;
        for (; address < end && (address - row) % BYTES != 0; address += Float.BYTES) {
            Memory.putFloat(address, value);
        }
        FloatVector all = FloatVector.broadcast(S, value);
        for (; address < end; address += BYTES) {
            store(all, address);
        }
    }

    /** {@code row[j] += bias[j stride]} for {@code j < n}. */
    static void add(long row, long n, long bias, long stride) {
        for (long j = 0; j < n; j++) {
            long address = row + j * Float.BYTES;
            Memory.putFloat(address, Memory.getFloat(address) + Memory.getFloat(bias + j * stride * Float.BYTES));
        }
    }

    /** {@code target[j stride] += row[j]} for {@code j < n}. */
    static void addTo(long target, long stride, long row, long n) {
        for (long j = 0; j < n; j++) {
            long address = target + j * stride * Float.BYTES;
            Memory.putFloat(address, Memory.getFloat(address) + Memory.getFloat(row + j * Float.BYTES));
        }
    }

    /** The largest, or NaN if there is one. */
    static float max(long row, long n) {
        FloatVector max = FloatVector.broadcast(S, Float.NEGATIVE_INFINITY);
        for (long address = row, end = end(row, n); address < end; address += BYTES) {
            max = max.max(load(address));
        }
        return max.reduceLanes(MAX);
    }

    /** {@code row = e^(row - shift)}, and the sum of that, by way of a vector's scratch memory. */
    static double exp(long row, long n, float shift, long scratch) {
        FloatVector sum = FloatVector.zero(S);
        for (long address = row, end = end(row, n); address < end; address += BYTES) {
            FloatVector x = load(address).sub(shift);
            FloatVector shifted = x.fma(FloatVector.broadcast(S, LOG2E), FloatVector.broadcast(S, ROUND));
            FloatVector whole = shifted.sub(ROUND);
            FloatVector r = whole.fma(FloatVector.broadcast(S, -LN2_HIGH), x);
            r = whole.fma(FloatVector.broadcast(S, -LN2_LOW), r);
            FloatVector y = FloatVector.broadcast(S, 1.9875691500e-4f); // Cephes, expf
            y = y.fma(r, FloatVector.broadcast(S, 1.3981999507e-3f));
            y = y.fma(r, FloatVector.broadcast(S, 8.3334519073e-3f));
            y = y.fma(r, FloatVector.broadcast(S, 4.1665795894e-2f));
            y = y.fma(r, FloatVector.broadcast(S, 1.6666665459e-1f));
            y = y.fma(r, FloatVector.broadcast(S, 5.0000001201e-1f));
            y = y.fma(r.mul(r), r).add(1);
            FloatVector power = shifted.reinterpretAsInts().lanewise(LSHL, 23).add(Float.floatToRawIntBits(1)).reinterpretAsFloats();
            VectorMask<Float> none = x.compare(LT, SMALLEST);
            y = y.mul(power).blend(0f, none).blend(Float.POSITIVE_INFINITY, x.compare(GT, -SMALLEST));
            store(y, address);
            sum = sum.add(y);
        }
        return sum(sum, scratch);
    }

    private static double sum(FloatVector x, long scratch) {
        store(x, scratch);
        double sum = 0;
        for (int i = 0; i < S.length(); i++) {
            sum += Memory.getFloat(scratch + i * Float.BYTES);
        }
        return sum;
    }

    /** {@code sum a b}; of rows of any memory. */
    static float dot(long a, long b, long n, long scratch) {
        FloatVector sums = FloatVector.zero(S);
        long whole = n * Float.BYTES / BYTES * BYTES;
        for (long offset = 0; offset < whole; offset += BYTES) {
            sums = load(a + offset).fma(load(b + offset), sums);
        }
        double sum = sum(sums, scratch);
        for (long offset = whole; offset < n * Float.BYTES; offset += Float.BYTES) {
            sum += (double) Memory.getFloat(a + offset) * Memory.getFloat(b + offset);
        }
        return (float) sum;
    }

    /** {@code row = row factor}; of a row of any memory. */
    static void scale(long row, long n, float factor) {
        long whole = n * Float.BYTES / BYTES * BYTES;
        for (long offset = 0; offset < whole; offset += BYTES) {
            store(load(row + offset).mul(factor), row + offset);
        }
        for (long offset = whole; offset < n * Float.BYTES; offset += Float.BYTES) {
            Memory.putFloat(row + offset, Memory.getFloat(row + offset) * factor);
        }
    }

    /** {@code row = row mask}. */
    static void mul(long row, long mask, long n) {
        for (long offset = 0, end = end(0, n); offset < end; offset += BYTES) {
            store(load(row + offset).mul(load(mask + offset)), row + offset);
        }
    }

    /** {@code dp = p (dp - delta)}. */
    static void gradient(long dp, long p, long n, float delta) {
        for (long offset = 0, end = end(0, n); offset < end; offset += BYTES) {
            store(load(dp + offset).sub(delta).mul(load(p + offset)), dp + offset);
        }
    }

    /** {@code dp = p (dp mask - delta)} and {@code p = p mask}. */
    static void gradient(long dp, long p, long mask, long n, float delta) {
        for (long offset = 0, end = end(0, n); offset < end; offset += BYTES) {
            FloatVector m = load(mask + offset);
            FloatVector y = load(p + offset);
            store(load(dp + offset).mul(m).sub(delta).mul(y), dp + offset);
            store(y.mul(m), p + offset);
        }
    }

    /**
     * What dropout multiplies elements {@code first} to {@code first + n} of a tensor with: 0 where the random number is less than
     * {@code p}, {@code 1 / (1 - p)} elsewhere; see {@link dev.heddle.engine.op.Random}.
     */
    static void mask(long row, long n, long seed, long offset, long first, double p) {
        float kept = (float) (1 / (1 - p));
        float least = (float) p;
        for (long block = first / 4; 4 * block < first + n; block++) {
            long counter = offset + block;
            int x0 = (int) counter;
            int x1 = (int) (counter >>> 32);
            int x2 = 0;
            int x3 = 0;
            int k0 = (int) seed;
            int k1 = (int) (seed >>> 32);
            for (int round = 0; round < Philox.ROUNDS; round++) {
                long a = (Philox.M0 & 0xffffffffL) * (x0 & 0xffffffffL);
                long b = (Philox.M1 & 0xffffffffL) * (x2 & 0xffffffffL);
                x0 = (int) (b >>> 32) ^ x1 ^ k0;
                x1 = (int) b;
                x2 = (int) (a >>> 32) ^ x3 ^ k1;
                x3 = (int) a;
                k0 += Philox.W0;
                k1 += Philox.W1;
            }
            for (int i = 0; i < 4; i++) {
                long j = 4 * block + i - first;
                int word = i == 0 ? x0 : i == 1 ? x1 : i == 2 ? x2 : x3;
                if (j >= 0 && j < n) {
                    Memory.putFloat(row + j * Float.BYTES, (word >>> 8) * 0x1p-24f >= least ? kept : 0);
                }
            }
        }
    }
}
