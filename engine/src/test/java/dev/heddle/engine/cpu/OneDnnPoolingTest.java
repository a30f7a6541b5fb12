// Pooling through oneDNN against one naive loop, and what it must leave to the caller.
package dev.heddle.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Pooling.Direction;
import dev.heddle.engine.op.Pooling.Kind;
import dev.heddle.engine.op.Window;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class OneDnnPoolingTest {
    @BeforeAll
    static void needsTheLibrary() {
        assumeTrue(OneDnn.available(), OneDnn.unavailableReason());
    }

    @Test
    void oneToThreeAxes() {
        check(3, 5, List.of(20L), 3, 2, 1, 1);
        check(2, 16, List.of(31L), 2, 2, 0, 0);
        check(5, 13, List.of(12L, 11L), 2, 2, 0, 0);
        check(4, 20, List.of(7L, 9L), 3, 1, 1, 1);
        check(1, 3, List.of(9L, 8L), 3, 2, 0, 2);
        check(2, 1, List.of(9L, 8L), 3, 2, 1, 0);
        check(2, 17, List.of(5L, 5L), 5, 5, 0, 0);
        check(2, 4, List.of(5L, 6L, 7L), 2, 1, 1, 0);
    }

    @Test
    void imagesInBlocksThatDoNotDivideTheBatch() {
        check(7, 40, List.of(20L, 22L), 2, 2, 0, 0);
    }

    @Test
    void blocksThatAreNotOrdinaryAreLeftToTheCaller() {
        for (float odd : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, -Float.MAX_VALUE}) {
            for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                for (long place : new long[] {0, 3 * 37 - 1}) {
                    OneDnnPoolingShape shape = shape(Kind.MAX, Direction.FORWARD, dtype, 1, 3, List.of(37L), 2, 2, 0, 0, true, true);
                    OneDnnPooling pooling = OneDnnPooling.of(shape);
                    if (pooling == null) { // 16-bit floats need a processor that has them
                        assertTrue(dtype != DType.F32, OneDnnPooling.unsupported(shape));
                        continue;
                    }
                    try (var x = NativeFloats.random(dtype, 3 * 37, 1);
                            var y = NativeFloats.nan(dtype, 3 * 18);
                            var workspace = NativeFloats.nan(DType.F32, pooling.workspaceBytes() / 4)) {
                        x.put(place, odd);
                        AtomicLong images = new AtomicLong();
                        pooling.execute(x.address(), 0, y.address(), workspace.address(), (from, to) -> images.addAndGet(to - from));
                        assertEquals(1, images.get(), odd + " in " + dtype + " at " + place);
                        assertTrue(Float.isNaN(y.get(0)), "written by oneDNN");
                    }
                }
            }
        }
    }

    @Test
    void plansAreKeptAndRefusalsExplained() {
        OneDnnPoolingShape shape = shape(Kind.AVG, Direction.FORWARD, DType.F32, 2, 8, List.of(9L), 3, 2, 1, 1, true, true);
        assertSame(OneDnnPooling.of(shape), OneDnnPooling.of(shape));
        assertNull(OneDnnPooling.unsupported(shape));
        OneDnnPoolingShape empty = shape(Kind.AVG, Direction.FORWARD, DType.F32, 0, 8, List.of(9L), 3, 2, 1, 1, true, true);
        assertNull(OneDnnPooling.of(empty));
        assertEquals("empty", OneDnnPooling.unsupported(empty));
        Pooling dilated = new Pooling(Kind.MAX, Direction.FORWARD, List.of(2), new Window(List.of(1), List.of(0), List.of(0), List.of(2)),
                true, null);
        assertEquals("dilation", OneDnnPooling.unsupported(new OneDnnPoolingShape(dilated, DType.F32, 2, 8, List.of(9L), true)));
        OneDnnPoolingShape gather = shape(Kind.MAX, Direction.GATHER, DType.F32, 2, 8, List.of(9L), 3, 2, 1, 1, true, true);
        assertEquals("no such direction", OneDnnPooling.unsupported(gather));
    }

    private static OneDnnPoolingShape shape(Kind kind, Direction direction, DType dtype, long n, long c, List<Long> input, int kernel,
            int stride, int before, int after, boolean countPadding, boolean channelsLast) {
        int axes = input.size();
        Window window = new Window(Collections.nCopies(axes, stride), Collections.nCopies(axes, before), Collections.nCopies(axes, after),
                Collections.nCopies(axes, 1));
        return new OneDnnPoolingShape(new Pooling(kind, direction, Collections.nCopies(axes, kernel), window, countPadding, null), dtype, n, c,
                input, channelsLast);
    }

    private static void check(long n, long c, List<Long> input, int kernel, int stride, int before, int after) {
        for (Kind kind : Kind.values()) {
            for (Direction direction : new Direction[] {Direction.FORWARD, Direction.BACKWARD}) {
                for (int flags = 0; flags < 8; flags++) {
                    check(shape(kind, direction, (flags & 1) != 0 ? DType.BF16 : DType.F32, n, c, input, kernel, stride, before, after,
                            (flags & 2) != 0, (flags & 4) != 0));
                }
            }
        }
    }

    private static void check(OneDnnPoolingShape shape) {
        OneDnnPooling pooling = OneDnnPooling.of(shape);
        if (pooling == null) { // 16-bit floats need a processor that has them
            assertNotNull(OneDnnPooling.unsupported(shape));
            assertTrue(shape.dtype() != DType.F32, shape + ": " + OneDnnPooling.unsupported(shape));
            return;
        }
        boolean backward = shape.op().direction() == Direction.BACKWARD;
        long[] xDims = shape.xDims(shape.batch());
        long[] yDims = shape.yDims(shape.batch());
        try (var x = NativeFloats.random(shape.dtype(), product(xDims), 1);
                var dy = NativeFloats.random(shape.dtype(), product(yDims), 2);
                var result = NativeFloats.nan(shape.dtype(), product(backward ? xDims : yDims));
                var workspace = NativeFloats.nan(DType.F32, pooling.workspaceBytes() / 4)) {
            for (long i = 0; i < x.size(); i += 3) {
                x.put(i, 0.75f); // ties
            }
            double[] expected = naive(shape, x, dy);
            pooling.execute(x.address(), dy.address(), result.address(), workspace.address(), (from, to) -> fail("left to the caller"));
            for (int i = 0; i < expected.length; i++) {
                double tolerance = shape.dtype() == DType.F32 ? 1e-5 : 0.01 + Math.abs(expected[i]) / 128;
                int at = i;
                assertEquals(expected[i], result.get(i), tolerance, () -> shape + " at " + at);
            }
        }
    }

    private static double[] naive(OneDnnPoolingShape shape, NativeFloats x, NativeFloats dy) {
        boolean backward = shape.op().direction() == Direction.BACKWARD;
        long[] xDims = shape.xDims(shape.batch());
        long[] yDims = shape.yDims(shape.batch());
        long[] xStrides = OneDnnConvolutionShape.strides(xDims, shape.channelsLast());
        long[] yStrides = OneDnnConvolutionShape.strides(yDims, shape.channelsLast());
        long[] taps = shape.op().kernel().stream().mapToLong(k -> k).toArray();
        double[] result = new double[(int) product(backward ? xDims : yDims)];
        for (long i = 0; i < product(yDims); i++) {
            long[] at = index(i, yDims);
            int y = offset(at, yStrides);
            int[] places = new int[(int) product(taps)];
            int count = 0;
            for (long t = 0; t < places.length; t++) {
                long[] tap = index(t, taps);
                long[] source = at.clone();
                boolean inside = true;
                for (int a = 0; a < taps.length; a++) {
                    source[a + 2] = at[a + 2] * shape.op().window().stride().get(a) - shape.op().window().before().get(a) + tap[a];
                    inside &= source[a + 2] >= 0 && source[a + 2] < xDims[a + 2];
                }
                if (inside) {
                    places[count++] = offset(source, xStrides);
                }
            }
            int best = places[0];
            double share = dy.get(y) / (shape.op().countPadding() ? places.length : count);
            for (int place : Arrays.copyOf(places, count)) {
                best = x.get(place) > x.get(best) ? place : best;
                if (shape.op().kind() == Kind.AVG && backward) {
                    result[place] += share;
                } else if (shape.op().kind() == Kind.AVG) {
                    result[y] += x.get(place) / (double) (shape.op().countPadding() ? places.length : count);
                }
            }
            if (shape.op().kind() == Kind.MAX && backward) {
                result[best] += dy.get(y);
            } else if (shape.op().kind() == Kind.MAX) {
                result[y] = x.get(best);
            }
        }
        return result;
    }

    private static long[] index(long flat, long[] dims) {
        long[] index = new long[dims.length];
        for (int i = dims.length - 1; i >= 0; i--) {
            index[i] = flat % dims[i];
            flat /= dims[i];
        }
        return index;
    }

    private static int offset(long[] index, long[] strides) {
        long offset = 0;
        for (int i = 0; i < index.length; i++) {
            offset += index[i] * strides[i];
        }
        return (int) offset;
    }

    private static long product(long[] dims) {
        return Arrays.stream(dims).reduce(1, Math::multiplyExact);
    }
}
