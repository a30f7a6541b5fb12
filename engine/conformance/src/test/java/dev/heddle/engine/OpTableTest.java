// Runs the table of operations: fused, unfused and eager against the reference.
package dev.heddle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.cuda.CudaBackend;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Source;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@NoLeaks
class OpTableTest {
    static List<OpCases.Case> cases() {
        return OpCases.all();
    }

    /** Skips the tests, with the reason, where the device they were asked to run on is not there. */
    @BeforeAll
    static void needsTheDevice() {
        if ("cuda".equals(System.getProperty("heddle.device"))) {
            String reason = CudaBackend.unavailable(0);
            Assumptions.assumeTrue(reason == null, "cuda: " + reason);
            assertEquals(Device.Type.CUDA, Device.current().type(), "another test has changed the device");
        }
    }

    @AfterEach
    void switchesBack() {
        Debug.eager(false);
        Debug.fusion(true);
    }

    static double tolerance(DType dtype) {
        return switch (dtype) {
            case F64 -> 1e-13;
            case F32 -> 2e-6;
            case F16 -> 3e-3;
            case BF16 -> 2.5e-2;
            default -> 0;
        };
    }

    static List<Tensor> leaves(OpCases.Case row, DType dtype) {
        List<Tensor> leaves = new ArrayList<>();
        for (OpCases.Arg arg : row.args()) {
            leaves.add(arg.leaf(dtype, row.name().hashCode() + leaves.size()));
        }
        return leaves;
    }

    static List<Tensor> apply(OpCases.Case row, List<Tensor> leaves) {
        List<Tensor> inputs = new ArrayList<>();
        for (int i = 0; i < leaves.size(); i++) {
            inputs.add(row.args().get(i).view().apply(leaves.get(i)));
        }
        return row.function().apply(inputs);
    }

    static double[] doubles(Object values) {
        return values instanceof long[] longs ? java.util.Arrays.stream(longs).asDoubleStream().toArray() : (double[]) values;
    }

    private static void compare(OpCases.Case row, DType dtype, String how, List<Object> expected, List<Tensor> actual) {
        for (int i = 0; i < actual.size(); i++) {
            DType own = actual.get(i).dtype();
            // a cast inside a row may lower the precision of a wider result
            double tolerance = own.isFloat() ? Math.max(tolerance(own), tolerance(dtype)) * row.slack() : 0;
            TensorAssertions.assertClose(doubles(expected.get(i)), actual.get(i).toDoubleArray(), tolerance, tolerance,
                    row + " output " + i + " in " + dtype + ", " + how);
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void agreesWithTheReference(OpCases.Case row) {
        boolean floats = row.args().stream().anyMatch(OpCases.Arg::floating);
        for (DType dtype : row.onlyF32() || !floats ? List.of(DType.F32) : List.of(DType.F32, DType.F64, DType.BF16, DType.F16)) {
            List<Tensor> leaves = leaves(row, dtype);
            List<Object> expected = ReferenceEvaluation.evaluate(apply(row, leaves).toArray(new Tensor[0]));
            compare(row, dtype, "fused", expected, apply(row, leaves));
            if (dtype == DType.F32) {
                Debug.fusion(false);
                compare(row, dtype, "unfused", expected, apply(row, leaves));
                Debug.eager(true);
                compare(row, dtype, "eager", expected, apply(row, leaves));
                switchesBack();
            }
        }
    }

    /** All float outputs, weighted by fixed random numbers and summed. */
    static Tensor weighted(List<Tensor> outputs) {
        Tensor sum = null;
        for (Tensor output : outputs) {
            if (output.dtype().isFloat()) {
                double[] weights = new Random(99).doubles(output.elements(), -1, 1).toArray();
                Tensor part = output.mul(Tensor.of(weights, output.shape().dims()).to(output.dtype())).sum();
                sum = sum == null ? part : sum.add(part);
            }
        }
        return sum;
    }

    @Test
    void everyOpHasARow() throws Exception {
        Set<Class<?>> seen = new HashSet<>();
        Set<Object> functions = new HashSet<>();
        for (OpCases.Case row : OpCases.all()) {
            List<Tensor> outputs = new ArrayList<>(apply(row, leaves(row, DType.F32)));
            Tensor y = row.differentiable() ? weighted(outputs) : null;
            if (y != null) {
                outputs.addAll(Gradients.of(y, outputs.stream().filter(x -> x.dtype().isFloat()).toArray(Tensor[]::new)));
            }
            outputs.removeIf(x -> x.node.isSource());
            var graph = new GraphBuilder(outputs, List.of()).graph();
            for (int i = 0; i < graph.nodes(); i++) {
                seen.add(graph.op(i).getClass());
                if (graph.op(i) instanceof Elementwise e) {
                    e.outputs().forEach(x -> functions(x, functions));
                }
            }
        }
        List<Class<?>> missing = new ArrayList<>(opClasses(Op.class));
        missing.addAll(fusedClasses());
        missing.removeAll(seen);
        assertTrue(missing.isEmpty(), "ops without a row in OpCases: " + missing);
        Set<Object> all = new HashSet<>(List.of(Expr.UnaryOp.values()));
        all.addAll(List.of(Expr.BinaryOp.values()));
        all.addAll(List.of(Expr.Comparison.values()));
        all.removeAll(functions);
        assertTrue(all.isEmpty(), "elementwise functions without a row in OpCases: " + all);
    }

    private static List<Class<?>> opClasses(Class<?> type) {
        if (type == Source.class || type == dev.heddle.engine.op.Fused.class) {
            return List.of();
        }
        if (!type.isSealed()) {
            return List.of(type);
        }
        return Stream.of(type.getPermittedSubclasses()).flatMap(c -> opClasses(c).stream()).toList();
    }

    private static List<Class<?>> fusedClasses() throws Exception {
        var root = dev.heddle.engine.fused.Softmax.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        List<String> names = new ArrayList<>();
        try (var system = root.getPath().endsWith(".jar") ? java.nio.file.FileSystems.newFileSystem(Path.of(root)) : null) {
            Path folder = (system == null ? Path.of(root) : system.getPath("/")).resolve("dev/heddle/engine/fused");
            try (Stream<Path> files = Files.list(folder)) {
                files.forEach(f -> names.add(f.getFileName().toString().replace(".class", "")));
            }
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        List<Class<?>> classes = new ArrayList<>();
        for (String name : names) {
            Class<?> type = Class.forName("dev.heddle.engine.fused." + name);
            if (dev.heddle.engine.op.Fused.class.isAssignableFrom(type)) {
                classes.add(type);
            }
        }
        assertTrue(classes.size() >= 8, classes.toString());
        return classes;
    }

    private static void functions(Expr e, Set<Object> seen) {
        switch (e) {
            case Expr.Input in -> { }
            case Expr.Constant c -> { }
            case Expr.Unary u -> {
                seen.add(u.op());
                functions(u.a(), seen);
            }
            case Expr.Binary b -> {
                seen.add(b.op());
                functions(b.a(), seen);
                functions(b.b(), seen);
            }
            case Expr.Compare c -> {
                seen.add(c.op());
                functions(c.a(), seen);
                functions(c.b(), seen);
            }
            case Expr.Select s -> {
                functions(s.condition(), seen);
                functions(s.a(), seen);
                functions(s.b(), seen);
            }
            case Expr.Cast c -> functions(c.a(), seen);
        }
    }
}
