// Reductions against sums in double precision: every kind and dtype, many axes and layouts; then what bits must not depend on.
package dev.heddle.engine.cpu.codegen;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Reduce.Kind;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Layout;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class ReduceKernelTest {
    private static final View.Kind[] KINDS = View.Kind.values();
    private static final View.Kind[] OUTPUTS = {View.Kind.CONTIGUOUS, View.Kind.TRANSPOSED, View.Kind.STRIDED};

    private static Expr in(int index, DType dtype) {
        return new Expr.Input(index, dtype);
    }

    private static View reduce(Arena arena, Kind kind, Expr prologue, List<View> inputs, List<Integer> axes,
            View.Kind outputKind, int threads) {
        Shape shape = inputs.getFirst().layout().shape();
        Spec spec = new Reduce(kind, axes, true).infer(List.of(new Spec(prologue.dtype(), shape))).getFirst();
        View output = View.of(arena, spec.dtype(), spec.shape(), outputKind);
        List<Layout> layouts = inputs.stream().map(View::layout).toList();
        ReduceKernel kernel = ReduceKernel.of(kind, List.of(prologue), shape, layouts, axes, output.layout(), threads);
        ElementwiseKernelTest.run(kernel, arena, inputs, List.of(output));
        return output;
    }

    /** The places in row-major order that are reduced into each result. */
    private static List<List<Long>> members(Shape shape, List<Integer> axes) {
        Shape kept = new Reduce(Kind.SUM, axes, true).keptShape(shape);
        List<List<Long>> members = new ArrayList<>();
        for (long i = 0; i < kept.elements(); i++) {
            members.add(new ArrayList<>());
        }
        for (long i = 0; i < shape.elements(); i++) {
            long result = 0;
            long rest = i;
            long[] index = new long[shape.rank()];
            for (int k = shape.rank() - 1; k >= 0; k--) {
                index[k] = rest % shape.dim(k);
                rest /= shape.dim(k);
            }
            for (int k = 0; k < shape.rank(); k++) {
                result = result * kept.dim(k) + (axes.contains(k) ? 0 : index[k]);
            }
            members.get((int) result).add(i);
        }
        return members;
    }

    private static void check(Kind kind, Expr prologue, List<View> inputs, List<Integer> axes, View.Kind outputKind) {
        try (Arena arena = Arena.ofConfined()) {
            View output = reduce(arena, kind, prologue, inputs, axes, outputKind, 1);
            List<List<Long>> members = members(inputs.getFirst().layout().shape(), axes);
            for (int i = 0; i < members.size(); i++) {
                List<Object> values = members.get(i).stream().map(place -> Interpreter.round(Interpreter.evaluate(prologue,
                        inputs.stream().map(view -> view.get(place)).toArray()), prologue.dtype())).toList();
                int result = i;
                expect(kind, values, output.get(i), output.layout().dtype(),
                        () -> kind + " of " + prologue + " over " + axes + " at " + result + ": " + inputs + output);
            }
        }
    }

    private static void expect(Kind kind, List<Object> values, Object got, DType dtype, Supplier<String> message) {
        boolean integer = values.isEmpty() ? !dtype.isFloat() : values.getFirst() instanceof Long;
        if (kind == Kind.ARGMAX || kind == Kind.ARGMIN) {
            assertEquals(place(kind == Kind.ARGMAX, values), got, message);
        } else if (integer) {
            long result = kind == Kind.PROD ? 1 : kind == Kind.SUM ? 0 : (Long) values.getFirst();
            for (Object value : values) {
                long x = (Long) value;
                result = switch (kind) {
                    case SUM -> result + x;
                    case PROD -> result * x;
                    case MAX -> Math.max(result, x);
                    default -> Math.min(result, x);
                };
            }
            assertEquals(result, got, message);
        } else {
            double result = switch (kind) {
                case PROD -> 1;
                case MAX -> Double.NEGATIVE_INFINITY;
                case MIN -> Double.POSITIVE_INFINITY;
                default -> 0;
            };
            double size = 0;
            for (Object value : values) {
                double x = number(value);
                size += Math.abs(x);
                result = switch (kind) {
                    case PROD -> result * x;
                    case MAX -> Math.max(result, x);
                    case MIN -> Math.min(result, x);
                    default -> result + x;
                };
            }
            if (kind == Kind.MEAN) {
                result /= values.size();
                size /= values.size();
            }
            double epsilon = switch (dtype) {
                case F64 -> 1e-14;
                case F32 -> 4e-7;
                case F16 -> 1e-3;
                default -> 8e-3;
            };
            double smallest = dtype == DType.F16 ? 0x1p-24 : 1e-37;
            double bound = switch (kind) {
                case MAX, MIN -> 0;
                case PROD -> epsilon * (1 + values.size() / 4.0) * Math.abs(result) + smallest;
                default -> epsilon * (size + Math.abs(result));
            };
            double y = number(got);
            double want = result;
            boolean near = Double.isFinite(want) && Math.abs(want - y) <= bound;
            assertTrue(near || Double.compare(want, y) == 0 || (float) want == (float) y,
                    () -> "want " + want + ", got " + y + ": " + message.get());
        }
    }

    private static long place(boolean max, List<Object> values) {
        int place = 0;
        for (int i = 0; i < values.size(); i++) {
            double x = number(values.get(i));
            double best = number(values.get(place));
            if (x != x) {
                return i;
            }
            if (max ? x > best : x < best) {
                place = i;
            }
        }
        return place;
    }

    private static double number(Object value) {
        return ((Number) value).doubleValue();
    }

    private static View input(Arena arena, DType dtype, Shape shape, View.Kind kind, Random random) {
        View view = View.of(arena, dtype, shape, kind);
        for (long i = 0; i < shape.elements(); i++) {
            view.set(i, switch (dtype) {
                case BOOL -> (Object) (long) random.nextInt(2);
                case U8 -> (Object) (long) random.nextInt(256);
                case I64, I32 -> (Object) (long) random.nextInt(-50, 50);
                case F64 -> (Object) random.nextGaussian();
                default -> (Object) (float) random.nextGaussian();
            });
        }
        return view;
    }

    private static List<Integer> axes(int bits) {
        return IntStream.range(0, 8).filter(i -> (bits >> i & 1) != 0).boxed().toList();
    }

    @Test
    void everyKindOfEveryDtype() {
        Random random = new Random(1);
        int turn = 0;
        for (DType t : DType.values()) {
            for (Kind kind : Kind.values()) {
                if (kind == Kind.MEAN && !t.isFloat()) {
                    continue;
                }
                boolean arg = kind == Kind.ARGMAX || kind == Kind.ARGMIN;
                try (Arena arena = Arena.ofConfined()) {
                    for (int bits : arg ? new int[] {1, 2, 4} : new int[] {0, 1, 2, 4, 3, 5, 6, 7}) {
                        View x = input(arena, t, Shape.of(6, 9, 35), KINDS[turn++ % 4], random);
                        if (!(arg && bits == 0)) {
                            check(kind, in(0, t), List.of(x), axes(bits), OUTPUTS[turn % 3]);
                        }
                    }
                }
            }
        }
    }

    @Test
    void everySetOfAxesOfEveryLayout() {
        Random random = new Random(2);
        for (long[] dims : new long[][] {{}, {1}, {40}, {3, 5}, {1, 6, 1}, {5, 1, 7}, {3, 4, 2, 11}, {2, 3, 1, 4, 5}, {0, 3},
            {3, 0, 2}}) {
            Shape shape = Shape.of(dims);
            for (int bits = 0; bits < 1 << dims.length; bits++) {
                for (View.Kind kind : KINDS) {
                    try (Arena arena = Arena.ofConfined()) {
                        View x = input(arena, DType.F32, shape, kind, random);
                        check(Kind.SUM, in(0, DType.F32), List.of(x), axes(bits), OUTPUTS[bits % 3]);
                        check(Kind.MEAN, in(0, DType.F32), List.of(x), axes(bits), OUTPUTS[bits % 3]);
                    }
                }
            }
        }
    }

    @Test
    void longAndShortAxes() {
        Random random = new Random(3);
        for (long[] dims : new long[][] {{70, 1}, {1, 33}, {600, 10}, {10, 600}, {31, 65}, {33, 129}, {5000, 3}, {3, 5000},
            {5000, 33}, {8192, 2}, {2, 8192}, {13, 4097}}) {
            Shape shape = Shape.of(dims);
            try (Arena arena = Arena.ofConfined()) {
                View x = input(arena, DType.F32, shape, View.Kind.CONTIGUOUS, random);
                View y = input(arena, DType.F32, shape, View.Kind.BROADCAST, random);
                Expr square = in(0, DType.F32).sub(in(1, DType.F32)).mul(in(0, DType.F32));
                for (int bits = 1; bits < 4; bits++) {
                    check(Kind.SUM, in(0, DType.F32), List.of(x), axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.MAX, in(0, DType.F32).neg(), List.of(x), axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.SUM, square, List.of(x, y), axes(bits), View.Kind.CONTIGUOUS);
                }
                check(Kind.ARGMAX, in(0, DType.F32), List.of(x), List.of(0), View.Kind.CONTIGUOUS);
                check(Kind.ARGMIN, square, List.of(x, y), List.of(1), View.Kind.CONTIGUOUS);
            }
        }
    }

    @Test
    void prologues() {
        Random random = new Random(4);
        Shape shape = Shape.of(6, 7, 20);
        int turn = 0;
        for (int bits = 1; bits < 8; bits++) {
            for (View.Kind kind : KINDS) {
                try (Arena arena = Arena.ofConfined()) {
                    List<View> inputs = List.of(input(arena, DType.F32, shape, KINDS[turn++ % KINDS.length], random),
                            input(arena, DType.BF16, shape, kind, random), input(arena, DType.I64, shape, kind, random),
                            input(arena, DType.BOOL, shape, View.Kind.CONTIGUOUS, random));
                    Expr x = in(0, DType.F32);
                    Expr y = in(1, DType.BF16);
                    Expr z = in(2, DType.I64);
                    check(Kind.SUM, x.mul(y.cast(DType.F32)).add(1), inputs, axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.SUM, y.mul(y), inputs, axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.MEAN, x.mul(z.cast(DType.F32)), inputs, axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.SUM, x.compare(Expr.Comparison.GT, 0), inputs, axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.MAX, in(3, DType.BOOL), inputs, axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.SUM, Expr.constant(2, DType.F32), inputs, axes(bits), View.Kind.CONTIGUOUS);
                    check(Kind.PROD, in(3, DType.BOOL).select(x, x.literal(1)), inputs, axes(bits), View.Kind.CONTIGUOUS);
                }
            }
        }
    }

    @Test
    void specialValues() {
        float[][] rows = {{1, Float.NaN, 3, Float.NaN}, {-0f, -0f, -0f, -0f}, {Float.NEGATIVE_INFINITY, 1, 2, 3},
            {Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 0, 0}, {2, 7, 7, -1}};
        try (Arena arena = Arena.ofConfined()) {
            View x = View.of(arena, DType.F32, Shape.of(rows.length, 4), View.Kind.CONTIGUOUS);
            for (int i = 0; i < rows.length * 4; i++) {
                x.set(i, rows[i / 4][i % 4]);
            }
            View t = View.of(arena, DType.F32, Shape.of(rows.length, 4), View.Kind.TRANSPOSED);
            for (int i = 0; i < rows.length * 4; i++) {
                t.set(i, rows[i / 4][i % 4]);
            }
            for (View view : List.of(x, t)) {
                float infinity = Float.POSITIVE_INFINITY;
                assertArrayEquals(new Object[] {1L, 0L, 3L, 0L, 1L}, ofRows(arena, Kind.ARGMAX, view));
                assertArrayEquals(new Object[] {1L, 0L, 0L, 1L, 3L}, ofRows(arena, Kind.ARGMIN, view));
                assertArrayEquals(new Object[] {Float.NaN, -0f, 3f, infinity, 7f}, ofRows(arena, Kind.MAX, view));
                assertArrayEquals(new Object[] {Float.NaN, -0f, -infinity, -infinity, -1f}, ofRows(arena, Kind.MIN, view));
                assertArrayEquals(new Object[] {Float.NaN, 0f, -infinity, Float.NaN, 15f}, ofRows(arena, Kind.SUM, view));
            }
        }
    }

    /** The reduction of a matrix over its second axis. */
    private static Object[] ofRows(Arena arena, Kind kind, View view) {
        View output = reduce(arena, kind, in(0, DType.F32), List.of(view), List.of(1), View.Kind.CONTIGUOUS, 1);
        return IntStream.range(0, (int) view.layout().shape().dim(0)).mapToObj(output::get).toArray();
    }

    @Test
    void noElements() {
        try (Arena arena = Arena.ofConfined()) {
            View empty = View.of(arena, DType.F32, Shape.of(2, 0), View.Kind.CONTIGUOUS);
            assertArrayEquals(new Object[] {0f, 0f}, ofRows(arena, Kind.SUM, empty));
            assertArrayEquals(new Object[] {1f, 1f}, ofRows(arena, Kind.PROD, empty));
            assertArrayEquals(new Object[] {Float.NaN, Float.NaN}, ofRows(arena, Kind.MEAN, empty));
            Layout output = Layout.contiguous(new Spec(DType.F32, Shape.of(2, 1)));
            assertThrows(ShapeException.class, () -> ReduceKernel.of(Kind.MAX, List.of(in(0, DType.F32)), Shape.of(2, 0),
                    List.of(empty.layout()), List.of(1), output));
        }
    }

    @Test
    void manyElementsAreSummedAccurately() {
        try (Arena arena = Arena.ofShared()) {
            int n = 3_000_001;
            View x = View.of(arena, DType.F32, Shape.of(n, 1), View.Kind.CONTIGUOUS);
            for (int i = 0; i < n; i++) {
                x.set(i, 0.1f);
            }
            float sum = (Float) reduce(arena, Kind.SUM, in(0, DType.F32), List.of(x), List.of(0), View.Kind.CONTIGUOUS, 2).get(0);
            assertEquals(0.1f * (double) n, sum, 5e-7 * n / 10);
        }
    }

    /** Neither the layout, nor fusion, nor the number of threads, nor the compiler. */
    @Test
    void bitsDependOnValuesShapeAndAxesOnly() {
        Random random = new Random(5);
        for (long[] dims : new long[][] {{70_001}, {300, 257}, {5000, 37}, {40, 9000}, {6, 40, 30, 17}}) {
            Shape shape = Shape.of(dims);
            for (int bits = 1; bits < 1 << dims.length; bits++) {
                try (Arena arena = Arena.ofShared()) {
                    View x = input(arena, DType.F32, shape, View.Kind.CONTIGUOUS, random);
                    View y = input(arena, DType.F32, shape, View.Kind.BROADCAST, random);
                    Expr product = in(0, DType.F32).mul(in(1, DType.F32));
                    View made = View.of(arena, DType.F32, shape, View.Kind.CONTIGUOUS);
                    List<Layout> layouts = List.of(x.layout(), y.layout());
                    ElementwiseKernelTest.run(ElementwiseKernel.of(List.of(product), shape, layouts, List.of(made.layout()), 1),
                            arena, List.of(x, y), List.of(made));
                    long[] want = sum(arena, in(0, DType.F32), List.of(made), bits, 1);
                    String what = shape + " over " + axes(bits);
                    for (int threads : new int[] {1, 2, 5}) {
                        assertArrayEquals(want, sum(arena, in(0, DType.F32), List.of(made), bits, threads), what);
                        assertArrayEquals(want, sum(arena, product, List.of(x, y), bits, threads), what);
                    }
                    for (View.Kind kind : List.of(View.Kind.TRANSPOSED, View.Kind.FLIPPED, View.Kind.STRIDED)) {
                        View copy = View.of(arena, DType.F32, shape, kind);
                        for (long i = 0; i < shape.elements(); i++) {
                            copy.set(i, made.get(i));
                        }
                        assertArrayEquals(want, sum(arena, in(0, DType.F32), List.of(copy), bits, 2), what + kind);
                    }
                }
            }
        }
    }

    private static long[] sum(Arena arena, Expr prologue, List<View> inputs, int bits, int threads) {
        return reduce(arena, Kind.SUM, prologue, inputs, axes(bits), View.Kind.CONTIGUOUS, threads).bits();
    }

    /** Channels-last and channels-first statistics over (N, H, W). */
    @Test
    void channels() {
        try (Arena arena = Arena.ofConfined()) {
            Random random = new Random(6);
            View first = input(arena, DType.F32, Shape.of(4, 10, 9, 8), View.Kind.CONTIGUOUS, random);
            View last = input(arena, DType.F32, Shape.of(4, 9, 8, 10), View.Kind.CONTIGUOUS, random);
            last = new View(last.layout().permute(new int[] {0, 3, 1, 2}), last.start(), last.bytes());
            for (View x : List.of(first, last)) {
                for (Kind kind : List.of(Kind.SUM, Kind.MEAN, Kind.MAX)) {
                    check(kind, in(0, DType.F32), List.of(x), List.of(0, 2, 3), View.Kind.CONTIGUOUS);
                    check(kind, in(0, DType.F32).mul(in(0, DType.F32)), List.of(x), List.of(0, 2, 3), View.Kind.CONTIGUOUS);
                }
            }
        }
    }
}
