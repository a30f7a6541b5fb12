// Random tensors: Philox blocks computed in place, each thread its own range of them.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Philox;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.plan.Kernel;

/** Fills a contiguous tensor as {@link Random} documents. Inputs: addresses of the seed and the offset, both {@code I64}. */
final class RandomKernel implements Kernel {
    private static final long GRAIN = 4096; // blocks a thread should get at least
    private static final double TO_UNIT = 0x1p-24;

    private final boolean normal;
    private final boolean wide;
    private final long elements;
    private final WorkerPool.RangeBody body = this::run;
    private long seed;
    private long offset;
    private long target;

    RandomKernel(Random op) {
        normal = op.distribution() == Random.Distribution.NORMAL;
        wide = op.dtype() == DType.F64;
        elements = op.shape().elements();
    }

    @Override
    public void run(long[] addresses) {
        seed = Memory.getLong(addresses[0]);
        offset = Memory.getLong(addresses[1]);
        target = addresses[2];
        WorkerPool.shared().parallelFor(Random.blocks(elements), GRAIN, body);
    }

    /** Two blocks at a time: each round of one waits for its products, and the other's fill the wait. */
    private void run(long from, long to) {
        for (long block = from; block < to; block += 2) {
            long counter = offset + block;
            int a0 = (int) counter;
            int a1 = (int) (counter >>> 32);
            int a2 = 0;
            int a3 = 0;
            int b0 = (int) (counter + 1);
            int b1 = (int) (counter + 1 >>> 32);
            int b2 = 0;
            int b3 = 0;
            int k0 = (int) seed;
            int k1 = (int) (seed >>> 32);
            for (int round = 0; round < Philox.ROUNDS; round++) {
                long p = (Philox.M0 & 0xffffffffL) * (a0 & 0xffffffffL);
                long q = (Philox.M1 & 0xffffffffL) * (a2 & 0xffffffffL);
                long r = (Philox.M0 & 0xffffffffL) * (b0 & 0xffffffffL);
                long s = (Philox.M1 & 0xffffffffL) * (b2 & 0xffffffffL);
                a0 = (int) (q >>> 32) ^ a1 ^ k0;
                a1 = (int) q;
                a2 = (int) (p >>> 32) ^ a3 ^ k1;
                a3 = (int) p;
                b0 = (int) (s >>> 32) ^ b1 ^ k0;
                b1 = (int) s;
                b2 = (int) (r >>> 32) ^ b3 ^ k1;
                b3 = (int) r;
                k0 += Philox.W0;
                k1 += Philox.W1;
            }
            store(block, a0, a1, a2, a3);
            if (block + 1 < to) {
                store(block + 1, b0, b1, b2, b3);
            }
        }
    }

    private void store(long block, int x0, int x1, int x2, int x3) {
        long first = 4 * block;
        if (normal) {
            pair(first, x0, x1);
            pair(first + 2, x2, x3);
        } else if (wide || first + 4 > elements) {
            put(first, (x0 >>> 8) * TO_UNIT);
            put(first + 1, (x1 >>> 8) * TO_UNIT);
            put(first + 2, (x2 >>> 8) * TO_UNIT);
            put(first + 3, (x3 >>> 8) * TO_UNIT);
        } else {
            long address = target + 4 * first;
            Memory.putFloat(address, (x0 >>> 8) * 0x1p-24f);
            Memory.putFloat(address + 4, (x1 >>> 8) * 0x1p-24f);
            Memory.putFloat(address + 8, (x2 >>> 8) * 0x1p-24f);
            Memory.putFloat(address + 12, (x3 >>> 8) * 0x1p-24f);
        }
    }

    /** Box and Muller's transform; StrictMath, whose bits do not depend on the compiler. */
    private void pair(long index, int u0, int u1) {
        double radius = Math.sqrt(-2 * StrictMath.log(((u0 >>> 8) + 1) * TO_UNIT));
        double angle = 2 * Math.PI * ((u1 >>> 8) * TO_UNIT);
        put(index, radius * StrictMath.cos(angle));
        put(index + 1, radius * StrictMath.sin(angle));
    }

    private void put(long index, double value) {
        if (index >= elements) {
            return;
        }
        if (wide) {
            Memory.putDouble(target + 8 * index, normal ? (float) value : value);
        } else {
            Memory.putFloat(target + 4 * index, (float) value);
        }
    }
}
