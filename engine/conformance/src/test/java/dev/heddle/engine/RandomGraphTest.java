// Random graphs, to find what no hand-written row of the op table thinks of: fusion, grouping and memory reuse across ops.
package dev.heddle.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.testing.TensorAssertions;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class RandomGraphTest {
    private static final int GRAPHS = Integer.getInteger("heddle.test.graphs", 120);
    private static final int OPS = 14;

    static IntStream seeds() {
        return IntStream.range(0, GRAPHS);
    }

    @BeforeAll
    static void needsTheDevice() {
        OpTableTest.needsTheDevice();
    }

    static IntStream fewSeeds() {
        return IntStream.range(0, GRAPHS / 4);
    }

    @AfterEach
    void switchesBack() {
        Debug.fusion(true);
    }

    @ParameterizedTest
    @MethodSource("seeds")
    void fusedUnfusedAndReferenceAgree(int seed) {
        List<Tensor> outputs = record(seed);
        List<Object> expected = ReferenceEvaluation.evaluate(outputs.toArray(new Tensor[0]));
        Debug.fusion(false);
        Tensor.eval(outputs.toArray(new Tensor[0]));
        List<double[]> unfused = outputs.stream().map(Tensor::toDoubleArray).toList();
        Debug.fusion(true);
        List<Tensor> again = record(seed);
        Tensor.eval(again.toArray(new Tensor[0]));
        for (int i = 0; i < again.size(); i++) {
            String what = "graph " + seed + ", output " + i;
            double[] fused = again.get(i).toDoubleArray();
            double[] exact = (double[]) expected.get(i);
            double scale = java.util.Arrays.stream(exact).map(Math::abs).max().orElse(0);
            TensorAssertions.assertClose(exact, fused, 1e-3, 1e-3 * Math.max(1, scale), what + ", fused");
            if (seed % 2 == 0 && again.get(i).device().equals(Device.cpu())) { // elsewhere a sum's order follows the layouts
                assertArrayEquals(unfused.get(i), fused, what + ": fused and unfused differ in bits");
            } else {
                TensorAssertions.assertClose(exact, unfused.get(i), 1e-3, 1e-3 * Math.max(1, scale), what + ", unfused");
            }
        }
    }

    @ParameterizedTest
    @MethodSource("fewSeeds")
    void batchesOfProductsAndSoftmaxAgree(int seed) {
        Random random = new Random(seed);
        long[] dims = {1 + random.nextInt(5), seed % 3 == 0 ? 40 : 2 + random.nextInt(8), 1 + random.nextInt(40), 1 + random.nextInt(20)}; // B, T, H, D
        List<Tensor> leaves = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            leaves.add(new Generator(seed + 1000L * i).randn(dims));
        }
        Tensor.eval(leaves.toArray(new Tensor[0]));
        List<Object> expected = ReferenceEvaluation.evaluate(attention(leaves, seed % 2 == 0).toArray(new Tensor[0]));
        for (boolean fusion : new boolean[] {true, false}) {
            Debug.fusion(fusion);
            List<Tensor> outputs = attention(leaves, seed % 2 == 0);
            Tensor.eval(outputs.toArray(new Tensor[0]));
            for (int i = 0; i < outputs.size(); i++) {
                TensorAssertions.assertClose((double[]) expected.get(i), outputs.get(i).toDoubleArray(), 1e-4, 1e-4,
                        "graph " + seed + ", output " + i + ", fusion " + fusion);
            }
            if (fusion && dims[1] == 40 && dims[0] * dims[2] >= 16) {
                assertTrue(Debug.lastPlan().toString().contains(" rows)"), "not grouped:\n" + Debug.lastPlan());
            }
        }
    }

    /** Softmax of products of heads that lie side by side, and its gradients. */
    private static List<Tensor> attention(List<Tensor> leaves, boolean masked) {
        Tensor q = leaves.get(0).permute(0, 2, 1, 3); // (B, H, T, D)
        Tensor k = leaves.get(1).permute(0, 2, 3, 1); // (B, H, D, T)
        Tensor v = leaves.get(2).permute(0, 2, 1, 3);
        Tensor s = q.matmul(k).mul(0.3); // (B, H, T, T)
        Tensor t = Tensor.arange(s.dim(3));
        s = masked ? t.unsqueeze(1).ge(t).where(s, Tensor.scalar(-1e9)) : s;
        Tensor y = Functional.softmax(s, -1).matmul(v).permute(0, 2, 1, 3).tanh(); // (B, T, H, D)
        List<Tensor> outputs = new ArrayList<>(List.of(y));
        outputs.addAll(Gradients.of(y.square().sum(), leaves.toArray(new Tensor[0])));
        return outputs;
    }

    /** A few outputs of a random graph, and gradients of one; even seeds have no products, whose bits depend on the layout. */
    private static List<Tensor> record(int seed) {
        Random random = new Random(seed);
        List<Tensor> values = new ArrayList<>();
        long rows = new long[] {3, 16, 33, 207, 207}[random.nextInt(5)];
        long columns = new long[] {1, 5, 40, 129, rows, rows}[random.nextInt(6)];
        for (int i = 0; i < 3; i++) {
            long[] dims = random.nextBoolean() ? new long[] {rows, columns}
                    : random.nextBoolean() ? new long[] {1, columns} : new long[] {rows, 1};
            values.add(new Generator(100L * seed + i).randn(dims));
        }
        Tensor.eval(values.toArray(new Tensor[0]));
        List<Tensor> leaves = List.copyOf(values);
        for (int i = 0; i < OPS; i++) {
            values.add(next(random, values, seed % 2 == 1));
        }
        List<Tensor> outputs = new ArrayList<>(List.of(values.getLast()));
        for (int i = 0; i < 3; i++) {
            outputs.add(values.get(3 + random.nextInt(OPS)));
        }
        outputs.addAll(Gradients.of(values.getLast().tanh().sum(), leaves.toArray(new Tensor[0])));
        return outputs;
    }

    private static Tensor pick(Random random, List<Tensor> values) {
        int n = values.size();
        return values.get(random.nextInt(3) > 0 ? n - 1 - random.nextInt(Math.min(4, n)) : random.nextInt(n));
    }

    private static Tensor next(Random random, List<Tensor> values, boolean products) {
        Tensor x = pick(random, values);
        return switch (random.nextInt(products ? 17 : 16)) {
            case 0 -> x.tanh();
            case 1 -> x.mul(0.5).exp().add(1).log();
            case 2 -> x.abs().add(0.1).sqrt();
            case 3 -> x.sub(x.mean(true, -1));
            case 4 -> x.sub(x.max(true, -1));
            case 5 -> Functional.softmax(x, -1);
            case 6 -> Functional.layerNorm(x, ones(x), ones(x), 1e-3);
            case 7 -> x.transpose(0, 1);
            case 8 -> x.sum(true, random.nextInt(2)).mul(0.1);
            case 9 -> x.reshape(x.elements() % 3 == 0 ? new long[] {x.elements() / 3, 3} : new long[] {x.elements(), 1})
                    .slice(0, 0, Math.max(1, x.elements() / 6));
            case 10, 11, 12 -> {
                Tensor y = pick(random, values);
                yield compatible(x, y) ? x.mul(y).tanh() : compatible(x, y.transpose(0, 1)) ? x.add(y.transpose(0, 1)).mul(0.5) : x.neg();
            }
            case 13 -> x.relu().add(x.mul(0.1));
            case 14 -> {
                Tensor index = new Generator(random.nextLong()).randint(0, x.dim(0), 1 + random.nextInt((int) Math.min(x.dim(0), 40)));
                yield x.indexAdd(0, index, x.slice(0, 0, index.dim(0)).mul(0.5));
            }
            case 15 -> x.map(e -> e); // a copy
            default -> x.matmul(x.transpose(0, 1)).mul(1.0 / x.dim(1)).tanh().matmul(x);
        };
    }

    private static Tensor ones(Tensor x) {
        return Tensor.ones(x.dim(1));
    }

    private static boolean compatible(Tensor x, Tensor y) {
        for (int i = 0; i < 2; i++) {
            if (x.dim(i) != y.dim(i) && x.dim(i) != 1 && y.dim(i) != 1) {
                return false;
            }
        }
        return x.dim(0) * x.dim(1) * y.dim(0) * y.dim(1) < 1 << 26 && Math.max(x.dim(0), y.dim(0)) * Math.max(x.dim(1), y.dim(1)) < 1 << 16;
    }
}
