// Who checks the oracle: the reference backend against values computed by hand, or by PyTorch in double precision.
package dev.heddle.engine.reference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.fused.Softmax;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Convolution.Direction;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.op.Window;
import dev.heddle.engine.plan.Graph;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class ReferenceTest {
    private static final double NAN = Double.NaN;
    private static final double INFINITY = Double.POSITIVE_INFINITY;

    /** A value and what it is. */
    record In(Spec spec, Object values) {}

    static In f64(double[] values, long... shape) {
        return new In(new Spec(DType.F64, Shape.of(shape)), values);
    }

    static In i64(long[] values, long... shape) {
        return new In(new Spec(DType.I64, Shape.of(shape)), values);
    }

    static In of(DType dtype, double[] values, long... shape) {
        return new In(new Spec(dtype, Shape.of(shape)), values);
    }

    static double[] doubles(double... values) {
        return values;
    }

    static long[] longs(long... values) {
        return values;
    }

    /** Small integers that jump about: {@code i k mod 11 - 5}. */
    static In ramp(int k, long... shape) {
        int n = (int) Shape.of(shape).elements();
        return f64(IntStream.range(0, n).mapToDouble(i -> i * k % 11 - 5).toArray(), shape);
    }

    /** The outputs of one op. */
    static Object[] run(Op op, In... inputs) {
        int n = inputs.length;
        Op[] ops = new Op[n + 1];
        int[][] edges = new int[n + 1][0];
        Spec[][] specs = new Spec[n + 1][];
        int[] variables = new int[n + 1];
        Object[] sources = new Object[n];
        List<Spec> given = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            ops[i] = Source.DATA;
            specs[i] = new Spec[] {inputs[i].spec};
            variables[i] = -1;
            sources[i] = inputs[i].values;
            given.add(inputs[i].spec);
        }
        ops[n] = op;
        edges[n] = IntStream.range(0, n).toArray();
        specs[n] = op.infer(given).toArray(new Spec[0]);
        variables[n] = -1;
        int[] roots = IntStream.range(n, n + specs[n].length).toArray();
        return Reference.run(new Graph(ops, edges, specs, variables, roots, new int[0], new int[0]), sources);
    }

    /** Checks the first output, and the shape that was inferred for it. */
    static void check(Object expected, long[] shape, Op op, In... inputs) {
        assertEquals(Shape.of(shape), op.infer(java.util.Arrays.stream(inputs).map(In::spec).toList()).getFirst().shape());
        Object actual = run(op, inputs)[0];
        if (expected instanceof long[] exact) {
            assertArrayEquals(exact, (long[]) actual);
        } else {
            assertArrayEquals((double[]) expected, (double[]) actual, 1e-14);
        }
    }

    static long[] shape(long... dims) {
        return dims;
    }

    private static Reduce reduce(Reduce.Kind kind, boolean keep, Integer... axes) {
        return new Reduce(kind, List.of(axes), keep);
    }

    @Test
    void reductions() {
        In x = f64(doubles(1, -2, 3, 4, 0, -5), 2, 3);
        check(doubles(5, -2, -2), shape(3), reduce(Reduce.Kind.SUM, false, 0), x);
        check(doubles(2, -1), shape(2, 1), reduce(Reduce.Kind.SUM, true, 1), x);
        check(doubles(1.0 / 6), shape(), reduce(Reduce.Kind.MEAN, false, 0, 1), x);
        check(doubles(4, 0, 3), shape(3), reduce(Reduce.Kind.MAX, false, 0), x);
        check(doubles(-2, -5), shape(2), reduce(Reduce.Kind.MIN, false, 1), x);
        check(doubles(-6, 0), shape(2), reduce(Reduce.Kind.PROD, false, 1), x);
        check(longs(1, 1, 0), shape(3), reduce(Reduce.Kind.ARGMAX, false, 0), x);
        check(longs(1, 2), shape(2, 1), reduce(Reduce.Kind.ARGMIN, true, 1), x);
        check(doubles(14, 22), shape(2), reduce(Reduce.Kind.SUM, false, 0, 2), f64(doubles(1, 2, 3, 4, 5, 6, 7, 8), 2, 2, 2));
        check(longs(0, 1, 1), shape(3), reduce(Reduce.Kind.ARGMAX, false, 1),
                f64(doubles(7, 7, 0, NAN, INFINITY, NAN, -5, -3, -3), 3, 3).values instanceof double[] v
                        ? f64(doubles(7, 7, 0, 1, NAN, NAN, -5, -3, -3), 3, 3) : null);
        check(doubles(NAN), shape(), reduce(Reduce.Kind.MAX, false, 0), f64(doubles(1, NAN, 3), 3));
    }
}
