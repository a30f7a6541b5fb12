// Pooling of channels-last F32 images: every tap of a window is a run of channels.
package dev.heddle.engine.cpu;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Pooling;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** The vectorised body of {@link PoolingKernel}. */
final class VectorPooling {
    private static final VectorSpecies<Float> LANES = FloatVector.SPECIES_PREFERRED;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    private final PoolingKernel p;
    private final ThreadLocal<long[]> taps; // offsets in bytes of the taps of a window, relative to the image

    VectorPooling(PoolingKernel pooling) {
        p = pooling;
        int count = p.kernel[0] * p.kernel[1] * p.kernel[2];
        taps = ThreadLocal.withInitial(() -> new long[count]);
    }

    /** Images {@code from} to {@code to}. */
    void run(long from, long to) {
        long[] offsets = taps.get();
        long pixel = p.channels * Float.BYTES;
        long inImage = (long) p.in[0] * p.in[1] * p.in[2] * pixel;
        long outImage = (long) p.out[0] * p.out[1] * p.out[2] * pixel;
        for (long n = from; n < to; n++) {
            for (int z = 0; z < p.out[0]; z++) {
                for (int y = 0; y < p.out[1]; y++) {
                    for (int x = 0; x < p.out[2]; x++) {
                        int count = window(offsets, z, y, x, pixel);
                        long at = n * outImage + (((long) z * p.out[1] + y) * p.out[2] + x) * pixel;
                        float scale = p.op.kind() == Pooling.Kind.MAX ? 0 : (float) (1 / p.divisor(z, y, x));
                        channels(offsets, count, n * inImage, at, scale);
                    }
                }
            }
        }
    }

    private int window(long[] offsets, int z, int y, int x, long pixel) {
        int count = 0;
        for (int i = 0; i < p.kernel[0]; i++) {
            int iz = z * p.stride[0] - p.before[0] + i * p.dilation[0];
            for (int j = 0; j < p.kernel[1]; j++) {
                int iy = y * p.stride[1] - p.before[1] + j * p.dilation[1];
                for (int k = 0; k < p.kernel[2]; k++) {
                    int ix = x * p.stride[2] - p.before[2] + k * p.dilation[2];
                    if (iz >= 0 && iz < p.in[0] && iy >= 0 && iy < p.in[1] && ix >= 0 && ix < p.in[2]) {
                        offsets[count++] = (((long) iz * p.in[1] + iy) * p.in[2] + ix) * pixel;
                    }
                }
            }
        }
        return count;
    }

    private void channels(long[] offsets, int count, long image, long at, float scale) {
        int n = Math.toIntExact(p.channels);
        boolean backward = p.op.direction() == Pooling.Direction.BACKWARD;
        for (int c = 0; c < n; c += LANES.length()) {
            VectorMask<Float> live = LANES.indexInRange(c, n);
            long byteC = (long) c * Float.BYTES;
            if (p.op.kind() == Pooling.Kind.AVG) {
                if (backward) {
                    FloatVector share = load(p.first + at + byteC, live).mul(scale);
                    for (int t = 0; t < count; t++) {
                        long target = p.result + image + offsets[t] + byteC;
                        (p.tiles ? share : load(target, live).add(share)).intoMemorySegment(Memory.ALL, target, ORDER, live);
                    }
                } else {
                    FloatVector sum = FloatVector.zero(LANES);
                    for (int t = 0; t < count; t++) {
                        sum = sum.add(load(p.first + image + offsets[t] + byteC, live));
                    }
                    sum.mul(scale).intoMemorySegment(Memory.ALL, p.result + at + byteC, ORDER, live);
                }
                continue;
            }
            FloatVector max = FloatVector.broadcast(LANES, Float.NEGATIVE_INFINITY);
            for (int t = 0; t < count; t++) {
                max = max.max(load(p.first + image + offsets[t] + byteC, live));
            }
            if (p.op.direction() == Pooling.Direction.FORWARD) {
                max.intoMemorySegment(Memory.ALL, p.result + at + byteC, ORDER, live);
                continue;
            }
            FloatVector gradient = backward ? load(p.second + at + byteC, live) : FloatVector.zero(LANES);
            VectorMask<Float> open = live; // lanes whose maximum has not been met
            for (int t = 0; t < count; t++) {
                FloatVector value = load(p.first + image + offsets[t] + byteC, live);
                VectorMask<Float> found = open.and(value.eq(max).or(value.compare(VectorOperators.NE, value)));
                open = open.andNot(found);
                if (backward) {
                    long target = p.result + image + offsets[t] + byteC;
                    FloatVector before = p.tiles ? FloatVector.zero(LANES) : load(target, live);
                    before.add(gradient, found).intoMemorySegment(Memory.ALL, target, ORDER, live);
                } else {
                    gradient = gradient.blend(load(p.second + image + offsets[t] + byteC, live), found);
                }
            }
            if (!backward) {
                gradient.intoMemorySegment(Memory.ALL, p.result + at + byteC, ORDER, live);
            }
        }
    }

    private static FloatVector load(long address, VectorMask<Float> live) {
        return FloatVector.fromMemorySegment(LANES, Memory.ALL, address, ORDER, live);
    }
}
