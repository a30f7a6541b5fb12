// Convolution and its gradients through oneDNN against one naive loop: each product x * w belongs to one y, whichever of
// the three is asked for.
package dev.heddle.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Convolution.Direction;
import dev.heddle.engine.op.Window;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class OneDnnConvolutionTest {
    @BeforeAll
    static void needsTheLibrary() {
        assumeTrue(OneDnn.available(), OneDnn.unavailableReason());
    }

    @Test
    void oneAxis() {
        check(shape(3, 5, 7, 1, List.of(20L), List.of(3L), window(List.of(1), 1, 1, 1)));
        check(shape(2, 8, 16, 2, List.of(31L), List.of(5L), window(List.of(2), 0, 3, 2)));
        check(shape(1, 1, 3, 1, List.of(9L), List.of(2L), window(List.of(1), 0, 0, 1)));
    }

    @Test
    void twoAxes() {
        check(shape(5, 1, 8, 1, List.of(12L, 11L), List.of(3L, 3L), window(List.of(1, 1), 0, 0, 1)));
        check(shape(3, 13, 17, 1, List.of(9L, 10L), List.of(5L, 3L), window(List.of(1, 1), 2, 1, 1)));
        check(shape(4, 16, 32, 1, List.of(14L, 14L), List.of(3L, 3L), window(List.of(2, 2), 1, 1, 1)));
        check(shape(2, 16, 16, 1, List.of(7L, 9L), List.of(1L, 1L), window(List.of(1, 1), 0, 0, 1)));
        check(shape(2, 3, 20, 1, List.of(23L, 21L), List.of(7L, 7L), window(List.of(2, 2), 3, 2, 1)));
        check(shape(1, 6, 1, 1, List.of(8L, 8L), List.of(3L, 3L), window(List.of(1, 1), 1, 1, 1)));
    }

    @Test
    void dilatedAndUnevenlyPadded() {
        check(shape(2, 4, 6, 1, List.of(15L, 13L), List.of(3L, 3L), window(List.of(1, 1), 2, 2, 2)));
        check(shape(3, 8, 8, 1, List.of(15L, 13L), List.of(2L, 3L), window(List.of(3, 2), 0, 2, 3)));
        check(shape(2, 16, 16, 1, List.of(6L, 6L), List.of(3L, 3L), window(List.of(1, 1), 2, 0, 1)));
    }

    @Test
    void groups() {
        check(shape(3, 8, 12, 4, List.of(9L, 9L), List.of(3L, 3L), window(List.of(1, 1), 1, 1, 1)));
        check(shape(2, 32, 64, 2, List.of(8L, 8L), List.of(3L, 3L), window(List.of(1, 1), 1, 1, 1)));
        check(shape(3, 32, 32, 32, List.of(9L, 8L), List.of(3L, 3L), window(List.of(2, 2), 1, 0, 1))); // depthwise
        check(shape(2, 5, 10, 5, List.of(9L, 8L), List.of(3L, 3L), window(List.of(1, 1), 1, 1, 1)));
    }

    @Test
    void threeAxes() {
        check(shape(2, 3, 4, 1, List.of(5L, 6L, 7L), List.of(2L, 3L, 3L), window(List.of(1, 2, 1), 1, 0, 1)));
    }

    @Test
    void biasSumAndRelu() {
        for (int flags = 1; flags < 8; flags++) {
            var plain = shape(3, 8, 16, 1, List.of(9L, 9L), List.of(3L, 3L), window(List.of(1, 1), 1, 1, 1));
            for (boolean channelsLast : new boolean[] {true, false}) {
                check(Direction.FORWARD, variant(plain, DType.F32, channelsLast, (flags & 1) != 0, (flags & 2) != 0,
                        (flags & 4) != 0));
                check(Direction.FORWARD, variant(plain, DType.BF16, channelsLast, (flags & 1) != 0, (flags & 2) != 0,
                        (flags & 4) != 0));
            }
        }
    }

    @Test
    void theSameGradientHasTheSameBits() {
        var shape = variant(shape(7, 16, 32, 1, List.of(20L, 20L), List.of(3L, 3L), window(List.of(1, 1), 1, 1, 1)), DType.F32,
                true, false, false, false);
        OneDnnConvolution convolution = OneDnnConvolution.of(Direction.BACKWARD_WEIGHTS, shape);
        long size = product(shape.weightDims());
        try (var x = NativeFloats.random(DType.F32, product(shape.xDims(7)), 1);
                var dy = NativeFloats.random(DType.F32, product(shape.yDims(7)), 2);
                var first = NativeFloats.nan(DType.F32, size);
                var again = NativeFloats.nan(DType.F32, size);
                var workspace = NativeFloats.nan(DType.F32, convolution.workspaceBytes() / 4)) {
            convolution.execute(x.address(), dy.address(), 0, first.address(), workspace.address());
            for (int round = 0; round < 20; round++) {
                convolution.execute(x.address(), dy.address(), 0, again.address(), workspace.address());
                for (long i = 0; i < size; i++) {
                    assertEquals(first.get(i), again.get(i));
                }
            }
        }
    }

    @Test
    void plansAreKeptAndRefusalsExplained() {
        var shape = variant(shape(4, 8, 8, 1, List.of(9L, 9L), List.of(3L, 3L), window(List.of(1, 1), 1, 1, 1)), DType.F32, true,
                false, false, false);
        assertSame(OneDnnConvolution.of(Direction.FORWARD, shape), OneDnnConvolution.of(Direction.FORWARD, shape));
        var mixed = new OneDnnConvolutionShape(DType.F32, 4, 8, 8, 1, List.of(9L, 9L), List.of(3L, 3L), shape.window(), true,
                false, false, false, false);
        assertNull(OneDnnConvolution.of(Direction.FORWARD, mixed));
        assertTrue(OneDnnConvolution.unsupported(Direction.FORWARD, mixed).contains("reference"));
        var empty = shape(0, 8, 8, 1, List.of(9L, 9L), List.of(3L, 3L), shape.window());
        assertEquals("empty", OneDnnConvolution.unsupported(Direction.FORWARD, empty));
    }

    private static Window window(List<Integer> stride, int before, int after, int dilation) {
        int axes = stride.size();
        return new Window(stride, Collections.nCopies(axes, before), Collections.nCopies(axes, after),
                Collections.nCopies(axes, dilation));
    }

    private static OneDnnConvolutionShape shape(long n, long c, long o, int groups, List<Long> input, List<Long> kernel,
            Window window) {
        return new OneDnnConvolutionShape(DType.F32, n, c, o, groups, input, kernel, window, true, true, false, false, false);
    }

    private static OneDnnConvolutionShape variant(OneDnnConvolutionShape s, DType dtype, boolean channelsLast, boolean bias,
            boolean sum, boolean relu) {
        return new OneDnnConvolutionShape(dtype, s.batch(), s.inChannels(), s.outChannels(), s.groups(), s.input(), s.kernel(),
                s.window(), channelsLast, channelsLast, bias, sum, relu);
    }

    private static void check(OneDnnConvolutionShape shape) {
        for (Direction direction : Direction.values()) {
            for (boolean channelsLast : new boolean[] {true, false}) {
                check(direction, variant(shape, DType.F32, channelsLast, false, false, false));
                check(direction, variant(shape, DType.BF16, channelsLast, false, false, false));
            }
        }
    }

    private static void check(Direction direction, OneDnnConvolutionShape shape) {
        OneDnnConvolution convolution = OneDnnConvolution.of(direction, shape);
        if (convolution == null) { // 16-bit floats need a processor that has them
            String reason = OneDnnConvolution.unsupported(direction, shape);
            assertNotNull(reason);
            assertTrue(shape.dtype() != DType.F32, direction + " " + shape + ": " + reason);
            return;
        }
        DType dtype = shape.dtype();
        try (var x = NativeFloats.random(dtype, product(shape.xDims(shape.batch())), 1);
                var w = NativeFloats.random(dtype, product(shape.weightDims()), 2);
                var y = NativeFloats.random(dtype, product(shape.yDims(shape.batch())), 3);
                var bias = NativeFloats.random(dtype, shape.outChannels(), 4);
                var workspace = NativeFloats.nan(DType.F32, convolution.workspaceBytes() / 4)) {
            NativeFloats target = switch (direction) {
                case FORWARD -> y;
                case BACKWARD_DATA -> x;
                case BACKWARD_WEIGHTS -> w;
            };
            double[] expected = naive(direction, shape, x, w, y, bias);
            if (!shape.sum()) {
                for (long i = 0; i < target.size(); i++) {
                    target.put(i, Float.NaN);
                }
            }
            switch (direction) {
                case FORWARD -> convolution.execute(x.address(), w.address(), bias.address(), y.address(), workspace.address());
                case BACKWARD_DATA -> convolution.execute(y.address(), w.address(), 0, x.address(), workspace.address());
                case BACKWARD_WEIGHTS -> convolution.execute(x.address(), y.address(), 0, w.address(), workspace.address());
            }
            for (int i = 0; i < expected.length; i++) {
                double tolerance = dtype == DType.F32 ? 1e-4 : 0.02 + Math.abs(expected[i]) / 128;
                int at = i;
                assertEquals(expected[i], target.get(i), tolerance, () -> direction + " " + shape + " at " + at);
            }
        }
    }

    /** The result of one direction, in the memory order of the shape. */
    private static double[] naive(Direction direction, OneDnnConvolutionShape shape, NativeFloats x, NativeFloats w,
            NativeFloats y, NativeFloats bias) {
        long[] xDims = shape.xDims(shape.batch());
        long[] yDims = shape.yDims(shape.batch());
        long[] xStrides = OneDnnConvolutionShape.strides(xDims, shape.xChannelsLast());
        long[] yStrides = OneDnnConvolutionShape.strides(yDims, shape.yChannelsLast());
        long perGroup = shape.inChannels() / shape.groups();
        long taps = shape.kernel().stream().reduce(1L, Math::multiplyExact);
        double[] result = new double[(int) (switch (direction) {
            case FORWARD -> y.size();
            case BACKWARD_DATA -> x.size();
            case BACKWARD_WEIGHTS -> w.size();
        })];
        for (List<Long> at : indices(yDims)) {
            long n = at.get(0);
            long o = at.get(1);
            int yi = (int) offset(at, yStrides);
            double sum = 0;
            for (long c = 0; c < perGroup; c++) {
                long channel = o / (shape.outChannels() / shape.groups()) * perGroup + c;
                for (long tap = 0; tap < taps; tap++) {
                    long rest = tap;
                    long xi = n * xStrides[0] + channel * xStrides[1];
                    boolean inside = true;
                    for (int axis = shape.kernel().size() - 1; axis >= 0; axis--) {
                        long k = rest % shape.kernel().get(axis);
                        rest /= shape.kernel().get(axis);
                        Window window = shape.window();
                        long position = at.get(axis + 2) * window.stride().get(axis) - window.before().get(axis)
                                + k * window.dilation().get(axis);
                        inside &= position >= 0 && position < shape.input().get(axis);
                        xi += position * xStrides[axis + 2];
                    }
                    int wi = (int) ((o * perGroup + c) * taps + tap);
                    if (inside) {
                        switch (direction) {
                            case FORWARD -> sum += (double) x.get(xi) * w.get(wi);
                            case BACKWARD_DATA -> result[(int) xi] += (double) y.get(yi) * w.get(wi);
                            case BACKWARD_WEIGHTS -> result[wi] += (double) x.get(xi) * y.get(yi);
                        }
                    }
                }
            }
            if (direction == Direction.FORWARD) {
                sum += (shape.bias() ? bias.get(o) : 0) + (shape.sum() ? y.get(yi) : 0);
                result[yi] = shape.relu() ? Math.max(sum, 0) : sum;
            }
        }
        return result;
    }

    private static List<List<Long>> indices(long[] dims) {
        List<List<Long>> all = List.of(List.of());
        for (long dim : dims) {
            List<List<Long>> longer = new ArrayList<>();
            for (List<Long> index : all) {
                for (long i = 0; i < dim; i++) {
                    var next = new ArrayList<>(index);
                    next.add(i);
                    longer.add(next);
                }
            }
            all = longer;
        }
        return all;
    }

    private static long offset(List<Long> index, long[] strides) {
        long offset = 0;
        for (int i = 0; i < strides.length; i++) {
            offset += index.get(i) * strides[i];
        }
        return offset;
    }

    private static long product(long[] dims) {
        long product = 1;
        for (long dim : dims) {
            product *= dim;
        }
        return product;
    }
}
