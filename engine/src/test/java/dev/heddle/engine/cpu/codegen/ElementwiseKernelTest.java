// Generated loops against the interpreter: every node, dtype, length and layout; then what loops must not depend on.
package dev.heddle.engine.cpu.codegen;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Expr.UnaryOp;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class ElementwiseKernelTest {
    private static final Set<UnaryOp> EXACT = Set.of(UnaryOp.NEG, UnaryOp.ABS, UnaryOp.SIGN, UnaryOp.FLOOR, UnaryOp.CEIL,
            UnaryOp.ROUND, UnaryOp.SQRT, UnaryOp.RSQRT, UnaryOp.NOT);
    private static final View.Kind[] KINDS = View.Kind.values();
    private static final View.Kind[] OUTPUTS = {View.Kind.CONTIGUOUS, View.Kind.TRANSPOSED, View.Kind.FLIPPED, View.Kind.STRIDED};

    private static Expr in(int index, DType dtype) {
        return new Expr.Input(index, dtype);
    }

    private static Expr gelu(Expr x) {
        return x.mul(0.5).mul(x.mul(x).mul(x).mul(0.044715).add(x).mul(0.7978845608028654).tanh().add(1));
    }

    // ---- running

    static void run(Kernel kernel, Arena arena, List<View> inputs, List<View> outputs) {
        long[] addresses = new long[inputs.size() + outputs.size() + 1];
        for (int i = 0; i < inputs.size(); i++) {
            addresses[i] = inputs.get(i).address();
        }
        for (int i = 0; i < outputs.size(); i++) {
            addresses[inputs.size() + i] = outputs.get(i).address();
        }
        if (kernel.workspaceBytes() > 0) {
            addresses[addresses.length - 1] = arena.allocate(kernel.workspaceBytes(), 64).address();
        }
        kernel.run(addresses);
        inputs.forEach(view -> assertTrue(view.guarded(), "wrote behind an input"));
        outputs.forEach(view -> assertTrue(view.guarded(), "wrote behind an output"));
    }

    private static ElementwiseKernel kernel(List<Expr> expressions, List<View> inputs, List<View> outputs, int threads) {
        return ElementwiseKernel.of(expressions, outputs.getFirst().layout().shape(), layouts(inputs), layouts(outputs), threads);
    }

    private static List<Layout> layouts(List<View> views) {
        return views.stream().map(View::layout).toList();
    }

    private static View compute(Arena arena, Expr e, List<View> inputs, View.Kind kind) {
        View output = View.of(arena, e.dtype(), inputs.getFirst().layout().shape(), kind);
        run(kernel(List.of(e), inputs, List.of(output), 1), arena, inputs, List.of(output));
        return output;
    }

    private static void check(Expr e, Shape shape, View.Kind[] inputKinds, View.Kind outputKind, List<DType> dtypes,
            Random random) {
        try (Arena arena = Arena.ofConfined()) {
            List<View> inputs = new ArrayList<>();
            for (int i = 0; i < dtypes.size(); i++) {
                inputs.add(View.random(arena, dtypes.get(i), shape, inputKinds[i % inputKinds.length], random));
            }
            View output = compute(arena, e, inputs, outputKind);
            boolean exact = Program.uses(List.of(e)).keySet().stream().allMatch(node -> switch (node) {
                case Expr.Unary u -> EXACT.contains(u.op());
                case Expr.Binary b -> b.op() != Expr.BinaryOp.POW || b.dtype().isInteger();
                default -> true;
            });
            double tolerance = exact ? 0 : switch (e.dtype()) {
                case F64 -> 1e-14;
                case BF16 -> 1e-2;
                case F16 -> 1.5e-3;
                default -> 5e-7;
            };
            for (long i = 0; i < shape.elements(); i++) {
                long index = i;
                Object[] values = inputs.stream().map(view -> view.get(index)).toArray();
                Object want = Interpreter.round(Interpreter.evaluate(e, values), e.dtype());
                assertSame(want, output.get(i), tolerance,
                        () -> e + " of " + List.of(values) + ", " + shape + " at " + index + ", " + inputs + output);
            }
        }
    }

    private static void assertSame(Object want, Object got, double tolerance, Supplier<String> message) {
        if (want instanceof Long || tolerance == 0) {
            assertEquals(want, got, message);
            return;
        }
        double x = ((Number) want).doubleValue();
        double y = ((Number) got).doubleValue();
        double denormal = want instanceof Double ? Double.MIN_VALUE : tolerance > 1e-6 ? 0x1p-24 : Float.MIN_VALUE;
        boolean near = Double.compare(x, y) == 0 || Math.abs(x - y) <= tolerance * Math.abs(x) + 2 * denormal;
        assertTrue(near, () -> "want " + want + ", got " + got + ": " + message.get());
    }

    // ---- the table

    private static List<Expr> everyNode() {
        List<Expr> nodes = new ArrayList<>();
        for (DType t : DType.values()) {
            Expr x = in(0, t);
            Expr y = in(1, t);
            for (UnaryOp op : UnaryOp.values()) {
                boolean signed = op == UnaryOp.NEG || op == UnaryOp.ABS || op == UnaryOp.SIGN;
                if (op == UnaryOp.NOT ? !t.isFloat() : t.isFloat() || t != DType.BOOL && signed) {
                    nodes.add(new Expr.Unary(op, x));
                }
            }
            for (Expr.BinaryOp op : Expr.BinaryOp.values()) {
                boolean logical = op == Expr.BinaryOp.AND || op == Expr.BinaryOp.OR || op == Expr.BinaryOp.XOR;
                if (logical ? !t.isFloat() : t != DType.BOOL || op == Expr.BinaryOp.MIN || op == Expr.BinaryOp.MAX) {
                    nodes.add(new Expr.Binary(op, x, y));
                }
            }
            for (Expr.Comparison op : Expr.Comparison.values()) {
                nodes.add(new Expr.Compare(op, x, y));
            }
            nodes.add(new Expr.Select(in(2, DType.BOOL), x, y));
            nodes.add(x);
            nodes.add(Expr.constant(t == DType.BOOL ? 1 : 3, t));
            for (DType to : DType.values()) {
                nodes.add(new Expr.Cast(x, to));
            }
            if (t.isFloat()) { // digits that are lost when a 16-bit result is converted
                nodes.add(new Expr.Cast(new Expr.Binary(Expr.BinaryOp.MUL, x, y), DType.F64));
                nodes.add(new Expr.Cast(new Expr.Binary(Expr.BinaryOp.MUL, x, y), DType.F32));
            }
        }
        return nodes;
    }

    private static List<DType> inputs(Expr e) {
        DType t = Program.uses(List.of(e)).keySet().stream().filter(Expr.Input.class::isInstance)
                .filter(in -> ((Expr.Input) in).index() == 0).map(Expr::dtype).findFirst().orElse(DType.F32);
        return List.of(t, t, DType.BOOL);
    }

    @Test
    void everyNodeAtEveryLength() {
        Random random = new Random(1);
        View.Kind[] contiguous = {View.Kind.CONTIGUOUS};
        for (Expr e : everyNode()) {
            for (long n : new long[] {0, 1, 13, 16, 207, 1000}) {
                check(e, Shape.of(n), contiguous, View.Kind.CONTIGUOUS, inputs(e), random);
            }
        }
    }

    @Test
    void everyNodeInManyLayouts() {
        Random random = new Random(2);
        int turn = 0;
        for (Expr e : everyNode()) {
            for (int i = 0; i < 3; i++, turn++) {
                View.Kind[] kinds = {KINDS[turn % KINDS.length], KINDS[turn / KINDS.length % KINDS.length], KINDS[turn % 4]};
                check(e, Shape.of(19, 35), kinds, OUTPUTS[turn % OUTPUTS.length], inputs(e), random);
            }
        }
    }

    @Test
    void shapesAndLayouts() {
        Random random = new Random(3);
        Expr e = in(0, DType.F32).mul(in(1, DType.F32)).add(in(2, DType.F32));
        List<DType> dtypes = List.of(DType.F32, DType.F32, DType.F32);
        long[][] shapes = {{}, {1}, {5}, {1, 7}, {7, 1}, {40, 3}, {3, 40}, {2, 3, 4}, {4, 1, 33}, {17, 2, 18}, {2, 3, 2, 5},
            {0, 4}, {3, 0}};
        for (long[] dims : shapes) {
            for (int i = 0; i < KINDS.length * OUTPUTS.length; i++) {
                View.Kind[] kinds = {KINDS[i % KINDS.length], KINDS[i / 2 % KINDS.length], KINDS[i / 3 % KINDS.length]};
                check(e, Shape.of(dims), kinds, OUTPUTS[i % OUTPUTS.length], dtypes, random);
                check(in(0, DType.F32), Shape.of(dims), kinds, OUTPUTS[i % OUTPUTS.length], dtypes, random);
            }
        }
    }

    @Test
    void copiesOfEveryWidth() {
        Random random = new Random(4);
        for (DType t : DType.values()) {
            for (View.Kind kind : KINDS) {
                for (View.Kind output : OUTPUTS) {
                    check(in(0, t), Shape.of(37, 21), new View.Kind[] {kind}, output, List.of(t), random);
                }
            }
        }
    }

    /** (N, C, H, W) read as (N, H, W, C) and back: no plane of the copy is the innermost two axes. */
    @Test
    void permutations() {
        try (Arena arena = Arena.ofConfined()) {
            View x = View.random(arena, DType.F32, Shape.of(3, 5, 20, 18), View.Kind.CONTIGUOUS, new Random(5));
            for (int[] order : new int[][] {{0, 2, 3, 1}, {0, 3, 1, 2}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}}) {
                View permuted = new View(x.layout().permute(order), x.start(), x.bytes());
                for (Expr e : List.of(in(0, DType.F32), in(0, DType.F32).neg())) {
                    View y = compute(arena, e, List.of(permuted), View.Kind.CONTIGUOUS);
                    for (long i = 0; i < x.layout().shape().elements(); i++) {
                        assertEquals(Interpreter.evaluate(e, new Object[] {permuted.get(i)}), y.get(i));
                    }
                }
            }
        }
    }

    // ---- several outputs, outputs over inputs, mixed dtypes

    @Test
    void updatesInPlace() {
        Expr gradient = in(0, DType.F32);
        Expr moment = in(1, DType.F32).mul(0.9).add(gradient.mul(0.1));
        Expr square = in(2, DType.F32).mul(0.99).add(gradient.mul(gradient).mul(0.01));
        Expr parameter = in(3, DType.F32).sub(moment.div(square.unary(UnaryOp.SQRT).add(1e-8)).mul(in(4, DType.F32)));
        List<Expr> update = List.of(moment, square, parameter);
        for (View.Kind kind : OUTPUTS) {
            try (Arena arena = Arena.ofConfined()) {
                Random random = new Random(6);
                Shape shape = Shape.of(21, 33);
                List<View> inputs = new ArrayList<>();
                for (int i = 0; i < 4; i++) {
                    inputs.add(View.random(arena, DType.F32, shape, kind, random));
                }
                inputs.add(View.random(arena, DType.F32, shape, View.Kind.SCALAR, random));
                int n = (int) shape.elements();
                Object[][] want = new Object[n][3];
                for (int i = 0; i < n; i++) {
                    int index = i;
                    Object[] values = inputs.stream().map(view -> view.get(index)).toArray();
                    for (int k = 0; k < 3; k++) {
                        want[i][k] = Interpreter.evaluate(update.get(k), values);
                    }
                }
                List<View> outputs = inputs.subList(1, 4);
                run(kernel(update, inputs, outputs, 1), arena, inputs, outputs);
                for (int i = 0; i < n; i++) {
                    for (int k = 0; k < 3; k++) {
                        assertEquals(want[i][k], outputs.get(k).get(i), kind + " " + k + " at " + i);
                    }
                }
            }
        }
    }

    /** An i64 path through an f32 kernel and back, with an output over an input that a later stage reads. */
    @Test
    void mixedDtypesInPlace() {
        Expr x = in(0, DType.F32);
        Expr label = in(1, DType.I64);
        Expr step = in(2, DType.I64);
        Expr hit = label.compare(Expr.Comparison.EQ, x.mul(2).cast(DType.I64));
        Expr first = hit.select(x.exp(), x.mul(step.cast(DType.F32)));
        Expr second = first.mul(3).cast(DType.I64).add(label);
        Expr third = x.add(label.cast(DType.F64).mul(0.5).cast(DType.F32));
        try (Arena arena = Arena.ofConfined()) {
            Random random = new Random(7);
            Shape shape = Shape.of(11, 30);
            View a = View.random(arena, DType.F32, shape, View.Kind.CONTIGUOUS, random);
            View b = View.random(arena, DType.I64, shape, View.Kind.BROADCAST, random);
            View c = View.random(arena, DType.I64, shape, View.Kind.SCALAR, random);
            View d = View.of(arena, DType.I64, shape, View.Kind.CONTIGUOUS);
            View e = View.of(arena, DType.F32, shape, View.Kind.TRANSPOSED);
            List<Expr> expressions = List.of(first, second, third);
            Object[][] want = new Object[330][3];
            for (int i = 0; i < want.length; i++) {
                for (int k = 0; k < 3; k++) {
                    want[i][k] = Interpreter.evaluate(expressions.get(k), new Object[] {a.get(i), b.get(i), c.get(i)});
                }
            }
            List<View> inputs = List.of(a, b, c);
            List<View> outputs = List.of(a, d, e);
            run(kernel(expressions, inputs, outputs, 1), arena, inputs, outputs);
            for (int i = 0; i < want.length; i++) {
                int index = i;
                assertSame(want[i][0], a.get(i), 5e-7, () -> "first at " + index);
                assertSame(third, want[i][2], e.get(i), index);
            }
            for (int i = 0; i < want.length; i++) { // casts of rounded values may be off by one: compare to the stored first
                Expr sum = in(0, DType.F32).mul(3).cast(DType.I64).add(in(1, DType.I64));
                assertEquals(Interpreter.evaluate(sum, new Object[] {a.get(i), b.get(i)}), d.get(i), "second at " + i);
            }
        }
    }

    private static void assertSame(Expr e, Object want, Object got, int index) {
        assertEquals(want, got, () -> e + " at " + index);
    }

    // ---- what results must not depend on

    @Test
    void fusedAndUnfusedAgree() {
        try (Arena arena = Arena.ofConfined()) {
            Random random = new Random(8);
            Shape shape = Shape.of(1003);
            List<View> inputs = List.of(View.random(arena, DType.F32, shape, View.Kind.CONTIGUOUS, random),
                    View.random(arena, DType.F32, shape, View.Kind.CONTIGUOUS, random),
                    View.random(arena, DType.I64, shape, View.Kind.CONTIGUOUS, random));
            Expr x = in(0, DType.F32);
            Expr y = in(1, DType.F32);
            Expr z = in(2, DType.I64).cast(DType.F32);
            for (Expr e : List.of(gelu(x), x.mul(y).add(x.mul(x)).sub(y.div(x)), x.pow(y).add(y.pow(y.literal(2))),
                    x.sigmoid().mul(y.tanh()).add(z.exp()).unary(UnaryOp.LOG),
                    x.unary(UnaryOp.SIN).mul(z.unary(UnaryOp.COS)).unary(UnaryOp.ERF))) {
                long[] want = unfused(arena, e, inputs).bits();
                assertArrayEquals(want, compute(arena, e, inputs, View.Kind.CONTIGUOUS).bits(), e.toString());
            }
        }
    }

    /** One kernel a node. */
    private static View unfused(Arena arena, Expr e, List<View> inputs) {
        if (e instanceof Expr.Input in) {
            return inputs.get(in.index());
        }
        List<View> operands = new ArrayList<>();
        List<Expr> nodes = new ArrayList<>();
        for (Expr operand : Program.operands(e)) {
            if (operand instanceof Expr.Constant) {
                nodes.add(operand);
            } else {
                nodes.add(in(operands.size(), operand.dtype()));
                operands.add(unfused(arena, operand, inputs));
            }
        }
        return compute(arena, Program.with(e, nodes), operands, View.Kind.CONTIGUOUS);
    }

    @Test
    void programsTooLargeForOneLoop() {
        try (Arena arena = Arena.ofConfined()) {
            List<View> inputs = List.of(View.random(arena, DType.F32, Shape.of(77), View.Kind.CONTIGUOUS, new Random(9)));
            Expr e = in(0, DType.F32);
            Expr sum = e;
            for (int i = 0; i < 60; i++) {
                sum = sum.add(e.mul(1 + i * 0.1).exp());
            }
            assertArrayEquals(unfused(arena, sum, inputs).bits(), compute(arena, sum, inputs, View.Kind.CONTIGUOUS).bits());
        }
    }

    @Test
    void splittingChangesNothing() {
        Expr e = gelu(in(0, DType.F32)).add(in(1, DType.F32));
        for (long[] dims : new long[][] {{30_001}, {101, 300}, {3, 10, 1000}, {10_000, 3}}) {
            for (View.Kind kind : List.of(View.Kind.CONTIGUOUS, View.Kind.TRANSPOSED, View.Kind.BROADCAST)) {
                try (Arena arena = Arena.ofShared()) {
                    Random random = new Random(10);
                    Shape shape = Shape.of(dims);
                    List<View> inputs = List.of(View.random(arena, DType.F32, shape, View.Kind.CONTIGUOUS, random),
                            View.random(arena, DType.F32, shape, kind, random));
                    long[] want = compute(arena, e, inputs, View.Kind.CONTIGUOUS).bits();
                    for (int threads : new int[] {2, 5}) {
                        View output = View.of(arena, DType.F32, shape, View.Kind.CONTIGUOUS);
                        run(kernel(List.of(e), inputs, List.of(output), threads), arena, inputs, List.of(output));
                        assertArrayEquals(want, output.bits(), shape + " " + kind + " " + threads);
                    }
                }
            }
        }
    }

    /** Interpreted, and after the compiler has had its say. */
    @Test
    void compilationChangesNothing() {
        try (Arena arena = Arena.ofConfined()) {
            Random random = new Random(11);
            List<View> inputs = IntStream.range(0, 2)
                    .mapToObj(i -> View.random(arena, DType.F32, Shape.of(77), View.Kind.CONTIGUOUS, random)).toList();
            Expr x = in(0, DType.F32);
            Expr y = in(1, DType.F32);
            Expr all = x.pow(y).add(x.unary(UnaryOp.ERF)).add(y.unary(UnaryOp.SIN).mul(y.unary(UnaryOp.LOG1P)));
            for (Expr e : List.of(all, gelu(x).max(y), x.unary(UnaryOp.EXPM1).div(y.unary(UnaryOp.RSQRT)),
                    x.cast(DType.F16).cast(DType.BF16).cast(DType.F32).add(y.unary(UnaryOp.FLOOR)))) {
                View output = View.of(arena, DType.F32, Shape.of(77), View.Kind.CONTIGUOUS);
                ElementwiseKernel kernel = kernel(List.of(e), inputs, List.of(output), 1);
                run(kernel, arena, inputs, List.of(output));
                long[] cold = output.bits();
                long[] addresses = {inputs.get(0).address(), inputs.get(1).address(), output.address()};
                for (int i = 0; i < 20_000; i++) {
                    kernel.run(addresses);
                }
                assertArrayEquals(cold, output.bits(), e.toString());
            }
        }
    }
}
