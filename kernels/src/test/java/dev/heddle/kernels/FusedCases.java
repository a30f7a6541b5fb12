// The table of fused ops that every device must pass: which op, on inputs of which shapes.
package dev.heddle.kernels;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cpu.OneDnn;
import dev.heddle.engine.fused.CrossEntropy;
import dev.heddle.engine.fused.Dropout;
import dev.heddle.engine.fused.LayerNorm;
import dev.heddle.engine.fused.RmsNorm;
import dev.heddle.engine.fused.ScaledDotProductAttention;
import dev.heddle.engine.fused.Softmax;
import dev.heddle.engine.op.Fused;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/** Rows of the table. */
final class FusedCases {
    static final long IGNORED = -100;

    private FusedCases() {}

    /** An input: floats of either sign between 0.5 and 2, or, with a dtype of its own, integers in {@code [0, bound)}, some of them replaced. */
    record Arg(DType dtype, long bound, List<Long> also, long... shape) {
        boolean floating() {
            return dtype == null;
        }

        /** The input, evaluated, with values that depend on the seed alone. */
        Tensor leaf(DType floats, long seed) {
            Random random = new Random(seed);
            double[] values = new double[(int) Shape.of(shape).elements()];
            for (int i = 0; i < values.length; i++) {
                values[i] = floating() ? (random.nextDouble() * 1.5 + 0.5) * (random.nextBoolean() ? 1 : -1)
                        : i % 3 == 2 && !also.isEmpty() ? also.get(i / 3 % also.size()) : random.nextInt((int) bound);
            }
            return Tensor.of(values, shape).to(floating() ? floats : dtype).eval();
        }
    }

    /**
     * A row.
     *
     * @param differentiated how many of the outputs, from the first, the loss is made of; the rest serves the backward pass
     */
    record Case(Fused op, int differentiated, List<Arg> args) {
        List<Tensor> leaves(DType dtype) {
            List<Tensor> leaves = new ArrayList<>();
            for (Arg arg : args) {
                leaves.add(arg.leaf(dtype, 31L * toString().hashCode() + leaves.size()));
            }
            return leaves;
        }

        /** The dtypes of the kernels, and, where it is cheap, the one that is always decomposed. */
        List<DType> dtypes() {
            boolean small = Shape.of(args.getFirst().shape).elements() < 100;
            return small ? List.of(DType.F32, DType.BF16, DType.F16, DType.F64) : List.of(DType.F32, DType.BF16, DType.F16);
        }

        /** Multiplies the tolerance: the gradient of a norm of one number is nothing but cancellation. */
        double slack() {
            long[] x = args.getFirst().shape;
            return x.length > 0 && x[x.length - 1] == 1 ? 10 : 1;
        }

        /** Whether a kernel of the device must run it: on the CPU there is one for attention. */
        boolean hasKernel() {
            boolean any = Devices.CUDA;
            if (op instanceof ScaledDotProductAttention a) {
                any = Devices.CUDA ? args.getFirst().shape[3] <= 256 && !a.biased() && a.dropout() == 0 : OneDnn.available();
            }
            return any && args.stream().allMatch(a -> Shape.of(a.shape).elements() > 0);
        }

        @Override
        public String toString() {
            List<Shape> shapes = args.stream().map(a -> Shape.of(a.shape)).toList();
            return op + " " + shapes;
        }
    }

    static Arg floats(long... shape) {
        return new Arg(null, 0, List.of(), shape);
    }

    static Arg labels(long classes, long rows) {
        return new Arg(DType.I64, classes, List.of(IGNORED), rows);
    }

    private static final long[][] SHAPES = {{1, 1}, {33, 1}, {5, 7}, {13, 13}, {33, 129}, {5, 1000}, {1, 5000}, {3, 5000}, {207, 16}};

    /** All rows but attention's. */
    static List<Case> rows() {
        List<Case> cases = new ArrayList<>();
        for (long[] shape : SHAPES) {
            add(cases, shape);
        }
        add(cases, 0, 7);
        add(cases, 2, 0, 7);
        add(cases, 5);
        add(cases, 2, 3, 1, 40);
        Arg number = new Arg(DType.I64, 1 << 20, List.of());
        for (long[] shape : new long[][] {{}, {1}, {13, 207}, {3, 5, 8}, {300, 1000}, {0, 5}}) {
            cases.add(new Case(new Dropout(0.3), 1, List.of(floats(shape), number, number)));
        }
        cases.add(new Case(new GlobalNorm(), 1, List.of(floats())));
        cases.add(new Case(new GlobalNorm(), 1, List.of(floats(3, 5), floats(16384), floats(7), floats(16385), floats(2, 2, 2))));
        cases.add(new Case(new GlobalNorm(), 1, Collections.nCopies(300, floats(3, 11)))); // more than a launch takes
        cases.add(new Case(new GlobalNorm(), 1, List.of(floats(3), floats(0, 2))));
        return cases;
    }

    private static void add(List<Case> cases, long... shape) {
        Arg x = floats(shape);
        long columns = shape[shape.length - 1];
        Arg parameter = floats(columns);
        cases.add(new Case(new Softmax(false), 1, List.of(x)));
        cases.add(new Case(new Softmax(true), 1, List.of(x)));
        cases.add(new Case(new LayerNorm(1e-5), 1, List.of(x, parameter, parameter)));
        cases.add(new Case(new RmsNorm(1e-6), 1, List.of(x, parameter)));
        for (int outputs = 1; outputs <= 2; outputs++) { // with and without a gradient of the sum
            cases.add(new Case(new ResidualLayerNorm(1e-5 * outputs), outputs, List.of(x, x, parameter, parameter)));
            cases.add(new Case(new ResidualRmsNorm(1e-5 * outputs), outputs, List.of(x, x, parameter)));
        }
        for (BiasActivation.Function function : BiasActivation.Function.values()) {
            cases.add(new Case(new BiasActivation(function), 1, List.of(x, parameter)));
        }
        cases.add(new Case(new SwiGlu(), 1, List.of(x, x)));
        if (shape.length == 2) {
            cases.add(new Case(new CrossEntropy(IGNORED, 0), 1, List.of(x, labels(columns, shape[0]))));
            cases.add(new Case(new CrossEntropy(IGNORED, 0.1), 1, List.of(x, labels(columns, shape[0]))));
        }
    }

    /** Rows of attention. */
    static List<Case> attention() {
        List<Case> cases = new ArrayList<>();
        for (long d : new long[] {1, 32, 64, 80, 96, 128, 256, 300}) {
            attention(cases, d % 3 == 2, 1, 2, 1, 13, 17, d);
        }
        attention(cases, true, 2, 2, 1, 13, 17, 8); // with lengths too, as all of two sequences
        attention(cases, false, 2, 2, 1, 17, 13, 32);
        attention(cases, true, 2, 1, 1, 1, 1, 64);
        attention(cases, false, 1, 1, 1, 65, 130, 32); // several tiles
        attention(cases, true, 1, 2, 1, 130, 70, 64);
        attention(cases, true, 1, 1, 1, 70, 130, 128);
        attention(cases, false, 0, 2, 2, 5, 5, 64);
        attention(cases, false, 2, 2, 1, 0, 5, 64);
        attention(cases, false, 2, 2, 1, 5, 0, 64);
        biased(cases, false, 0, 2, 4, 21, 40);
        biased(cases, true, 0, 1, 4, 21, 40);
        biased(cases, false, 0, 2, 1, 1, 40);
        biased(cases, true, 0.3, 1, 1, 21, 1);
        biased(cases, false, 0.3, 1, 1, 1, 1);
        biased(cases, true, 0.5, 2, 4, 1, 40);
        cases.add(new Case(new ScaledDotProductAttention(0.5, false, false, 0.4), 1,
                List.of(floats(1, 3, 70, 8), floats(1, 3, 33, 8), floats(1, 3, 33, 8), NUMBER, NUMBER)));
        return cases;
    }

    private static final Arg NUMBER = new Arg(DType.I64, 1 << 20, List.of());

    /** With a bias of a shape, with and without lengths, and with dropout if its probability is not 0. */
    private static void biased(List<Case> cases, boolean causal, double dropout, long... shape) {
        for (boolean lengths : new boolean[] {false, true}) {
            List<Arg> args = new ArrayList<>(List.of(floats(2, 4, 21, 16), floats(2, 2, 40, 16), floats(2, 2, 40, 16)));
            if (lengths) {
                args.add(new Arg(DType.I32, 41, List.of(), 2));
            }
            args.add(floats(shape));
            if (dropout > 0) {
                args.addAll(List.of(NUMBER, NUMBER));
            }
            cases.add(new Case(new ScaledDotProductAttention(0.3, causal, true, dropout), 1, args));
        }
    }

    private static void attention(List<Case> cases, boolean causal, long b, long h, long g, long t, long s, long d) {
        Arg q = floats(b, h, t, d);
        Arg k = floats(b, g, s, d);
        Fused op = new ScaledDotProductAttention(1 / Math.sqrt(d), causal);
        cases.add(new Case(op, 1, List.of(q, k, k)));
        if (b > 1) {
            cases.add(new Case(op, 1, List.of(q, k, k, new Arg(DType.I32, s + 1, List.of(0L, s + 5), b))));
        }
    }
}
