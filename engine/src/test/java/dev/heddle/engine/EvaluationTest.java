// Record, plan, run: what is evaluated when, what is settled with it, and what stays recipe.
package dev.heddle.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.fused.LayerNorm;
import dev.heddle.engine.memory.NativeMemory;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class EvaluationTest {
    private static final float[] NONE = {};

    @Test
    void computesWhatWasRecorded() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4}, 2, 2);
        assertArrayEquals(new float[] {3, 5, 7, 9}, x.mul(2).add(1).toFloatArray());
        assertArrayEquals(new float[] {7, 10, 15, 22}, x.matmul(x).toFloatArray());
        assertEquals(10, x.sum().item());
        assertArrayEquals(new float[] {1, 3, 2, 4}, x.t().toFloatArray());
        assertArrayEquals(new float[] {4, 6}, x.sum(0).toFloatArray());
    }

    /** Graphs that share nodes, but not the nodes' numbers. */
    @Test
    void theReferenceServesSeveralThreads() {
        Tensor x = Tensor.of(1f, 2f);
        Tensor sum = x;
        Tensor difference = Tensor.of(5f, 7f).mul(100);
        for (int i = 0; i < 100; i++) {
            sum = sum.add(x);
            difference = difference.sub(x);
        }
        List<Tensor> both = List.of(sum, difference);
        List<double[]> expected = List.of(new double[] {101, 202}, new double[] {400, 500});
        IntStream.range(0, 400).parallel().forEach(i ->
                assertArrayEquals(expected.get(i % 2), (double[]) ReferenceEvaluation.evaluate(both.get(i % 2)).getFirst()));
    }

    @Test
    void emptyAndScalarTensors() {
        assertArrayEquals(NONE, Tensor.zeros(0, 3).add(1).toFloatArray());
        assertEquals(0, Tensor.zeros(0, 3).sum().item());
        assertEquals(5, Tensor.scalar(2).add(Tensor.scalar(3)).item());
        assertArrayEquals(new float[] {0, 0}, Tensor.zeros(2, 0).matmul(Tensor.zeros(0, 1)).toFloatArray());
    }

    @Test
    void shapesAreCheckedWhereTheyAreRecorded() {
        Tensor a = Tensor.zeros(2, 3);
        String message = assertThrows(ShapeException.class, () -> a.add(Tensor.zeros(4))).getMessage();
        assertTrue(message.contains("add") && message.contains("(2, 3)") && message.contains("(4)"), message);
        assertThrows(ShapeException.class, () -> a.matmul(a));
        assertThrows(ShapeException.class, () -> a.reshape(4));
        assertThrows(ShapeException.class, () -> a.sum(2));
        assertThrows(ShapeException.class, () -> a.backward());
    }

    @Test
    void aVariableIsUpdatedInPlaceAndItsOldValueBecomesStale() {
        Variable w = new Variable("w", Tensor.of(1f, 2f), true);
        Tensor before = w.value();
        Tensor doubled = before.mul(2);
        Tensor kept = before.mul(3).keep();
        kept.add(1); // consumed, so that only keep() saves it
        doubled.add(1).add(Tensor.scalar(0)); // likewise
        w.set(w.value().add(10));
        assertArrayEquals(new float[] {11, 12}, w.value().toFloatArray());
        assertArrayEquals(new float[] {3, 6}, kept.toFloatArray());
        String message = assertThrows(StaleTensorException.class, doubled::toFloatArray).getMessage();
        assertTrue(message.contains("'w'") && message.contains("keep()"), message);
        assertThrows(StaleTensorException.class, before::toFloatArray);
    }

    @Test
    void unreadResultsAreComputedBeforeWhatTheyNeedIsOverwritten() {
        Variable w = new Variable("w", Tensor.of(1f, 2f), true);
        Tensor metric = w.value().sum();
        Tensor loss = w.value().square().sum();
        Gradients gradients = loss.backward();
        w.set(w.value().sub(gradients.get(w).mul(0.5)));
        Variable.settle(List.of(w));
        assertEquals(3, metric.item());
        assertEquals(5, loss.item());
        assertArrayEquals(new float[] {0, 0}, w.value().toFloatArray());
    }

    @Test
    void anOutputCanBeClosedBeforeItsSiblings() {
        Tensor x = Tensor.of(1f, 3f);
        List<Tensor> outputs = Tensor.recordAll(new LayerNorm(0), List.of(x, Tensor.of(1f, 1f), Tensor.of(0f, 0f))); // y, mean, 1 / std
        Tensor.eval(outputs.toArray(new Tensor[0]));
        outputs.get(0).close();
        assertEquals(3, outputs.get(1).add(outputs.get(2)).sum().item());
        assertThrows(IllegalStateException.class, () -> outputs.get(0).add(1).toFloatArray());
    }

    @Test
    void setsChainWithoutEvaluation() {
        Variable n = new Variable("n", Tensor.scalar(0), false);
        for (int i = 0; i < 5; i++) {
            n.set(n.value().add(1));
        }
        assertEquals(5, n.value().item());
        n.set(n.value().add(1));
        Variable.settle(List.of(n));
        assertEquals(6, n.value().item());
    }

    @Test
    void variablesMaySwapValues() {
        Variable a = new Variable("a", Tensor.of(1f, 2f, 3f), false);
        Variable b = new Variable("b", Tensor.of(4f, 5f, 6f), false);
        Tensor oldA = a.value();
        a.set(b.value().flip(0));
        b.set(oldA);
        Variable.settle(List.of(a, b));
        assertArrayEquals(new float[] {6, 5, 4}, a.value().toFloatArray());
        assertArrayEquals(new float[] {1, 2, 3}, b.value().toFloatArray());
    }

    @Test
    void anUpdateThatReadsTheOldValueOutOfStepIsNotDoneInPlace() {
        Variable a = new Variable("a", Tensor.of(new float[] {1, 2, 3, 4}, 2, 2), false);
        a.set(a.value().t().mul(10).add(a.value()));
        assertArrayEquals(new float[] {11, 32, 23, 44}, a.value().toFloatArray());
        Variable c = new Variable("c", Tensor.of(new float[] {1, 2, 3, 4}, 2, 2), false);
        c.set(c.value().matmul(c.value()));
        assertArrayEquals(new float[] {7, 10, 15, 22}, c.value().toFloatArray());
    }

    @Test
    void closeEvaluatesUnreadResultsFirst() {
        Tensor x = Tensor.of(1f, 2f);
        Tensor sum = x.sum();
        x.close();
        assertEquals(3, sum.item());
        assertThrows(IllegalStateException.class, () -> x.add(1).toFloatArray());
    }

    @Test
    void closeSettlesPendingSetsFirst() {
        Variable sum = new Variable("sum", Tensor.scalar(0), false);
        Tensor x = Tensor.of(1f, 2f);
        sum.set(sum.value().add(x.sum()));
        x.close();
        assertEquals(3, sum.value().item());
    }

    @Test
    void setsWorkEagerly() {
        Debug.eager(true);
        try {
            Variable w = new Variable("w", Tensor.of(3f), true);
            for (int i = 0; i < 2; i++) {
                Gradients gradients = w.value().square().sum().backward();
                w.set(w.value().sub(gradients.get(w).mul(0.25)));
                Variable.settle(List.of(w));
            }
            assertEquals(0.75, w.value().item());
        } finally {
            Debug.eager(false);
        }
    }

    @Test
    void gradientsOfGradients() {
        Tensor x = Tensor.of(2f, 3f);
        Tensor first = Gradients.of(x.pow(3).sum(), x).getFirst();
        Tensor second = Gradients.of(first.sum(), x).getFirst();
        assertArrayEquals(new float[] {12, 27}, first.toFloatArray(), 1e-4f);
        assertArrayEquals(new float[] {12, 18}, second.toFloatArray(), 1e-4f);
    }

    @Test
    void noGradientFlowsThroughDetach() {
        Variable w = new Variable("w", Tensor.of(3f), true);
        Gradients gradients = w.value().mul(w.value().detach()).sum().backward();
        assertArrayEquals(new float[] {3}, gradients.get(w).toFloatArray());
        Variable frozen = new Variable("frozen", Tensor.of(3f), true);
        frozen.trainable(false);
        assertTrue(frozen.value().mul(w.value()).sum().backward().variables().equals(java.util.Set.of(w)));
    }

    @Test
    void aSteadyStepCompilesNoPlanAndAllocatesNothing() {
        Variable w = new Variable("w", new Generator(1).randn(64, 32), true);
        Variable m = new Variable("m", Tensor.zeros(64, 32), false);
        float[] data = new float[16 * 64];
        long plans = 0;
        long allocations = 0;
        double first = 0;
        double last = 0;
        for (int step = 0; step < 60; step++) {
            if (step == 20) {
                plans = Debug.plansCompiled();
                allocations = NativeMemory.nativeAllocations();
            }
            java.util.Arrays.fill(data, step % 7);
            Tensor x = Tensor.of(data, 16, 64);
            Tensor loss = x.matmul(w.value()).square().mean();
            Gradients gradients = loss.backward();
            m.set(m.value().mul(0.9).add(gradients.get(w)));
            w.set(w.value().sub(m.value().mul(1e-4 / (step + 1)))); // a number that changes each step
            Variable.settle(List.of(w, m));
            last = loss.item();
            first = step == 1 ? last : first;
            loss.close();
            x.close();
        }
        assertEquals(plans, Debug.plansCompiled());
        assertEquals(allocations, NativeMemory.nativeAllocations());
        assertTrue(Double.isFinite(last));
    }

    @Test
    void theNanCheckNamesOperationAndLine() {
        Debug.checkNaN(true);
        try {
            Tensor x = Tensor.of(1f, 0f);
            Tensor y = x.log().mul(2).sum();
            String message = assertThrows(NonFiniteException.class, y::item).getMessage();
            assertTrue(message.startsWith("log") && message.contains("made -Infinity at element 1"), message);
            Tensor softmax = Functional.softmax(Tensor.of(0f, Float.POSITIVE_INFINITY), 0).mul(2).sum();
            message = assertThrows(NonFiniteException.class, softmax::item).getMessage();
            assertTrue(message.startsWith("softmax"), message); // a part of what it was decomposed into
        } finally {
            Debug.checkNaN(false);
        }
    }

    @Test
    void eagerAndUnfusedGiveTheSameBits() {
        float[] expected = program();
        Debug.fusion(false);
        assertArrayEquals(expected, program());
        Debug.fusion(true);
        Debug.eager(true);
        assertArrayEquals(expected, program());
        Debug.eager(false);
    }

    private static float[] program() {
        Tensor x = new Generator(7).randn(33, 17);
        Tensor y = x.map(Activations::gelu).add(x.tanh()).mul(0.3).sub(x.mean(true, 1));
        return Functional.softmax(y, 1).matmul(x.t()).toFloatArray();
    }

    @Test
    void aPlanSaysWhatItRuns() {
        Tensor x = Tensor.of(1f, 2f);
        x.mul(2).add(1).map(Activations::relu).sum().item();
        String text = Debug.lastPlan().toString();
        assertTrue(text.contains("fused_sum") && text.contains("peak"), text);
        assertEquals(1, Debug.lastPlan().size());
    }

    @Test
    void aConvertedVariableLeavesRecordedGraphsTheirValue() {
        Variable v = new Variable("v", Tensor.of(1.001f, 2f), true);
        Tensor before = v.value().mul(2);
        v.set(v.value().add(1)); // pending when it is converted
        v.to(DType.BF16);
        assertEquals(DType.BF16, v.value().dtype());
        assertArrayEquals(new float[] {2, 3}, v.value().toFloatArray());
        assertArrayEquals(new float[] {2.002f, 4}, before.toFloatArray());
        v.set(v.value().mul(2));
        assertArrayEquals(new float[] {4, 6}, v.value().toFloatArray());
        Tensor between = v.value().add(1);
        v.to(DType.F32);
        assertArrayEquals(new float[] {5, 7}, between.toFloatArray());
        assertThrows(ShapeException.class, () -> v.to(DType.I64));
    }

    @Test
    void tensorsMayBeUsedFromSeveralThreads() throws InterruptedException {
        Variable n = new Variable("n", Tensor.of(1f), false);
        Tensor shared = n.value().add(1);
        float[][] results = new float[8][];
        Thread[] threads = new Thread[results.length];
        for (int i = 0; i < threads.length; i++) {
            int id = i;
            threads[i] = new Thread(() -> results[id] = shared.mul(id).toFloatArray());
            threads[i].start();
        }
        for (int i = 0; i < threads.length; i++) {
            threads[i].join();
            assertArrayEquals(new float[] {2 * i}, results[i]);
        }
    }

    @Test
    void aViewedResultIsComputedInPlaceIfItIsInOrder() {
        Tensor x = Tensor.of(new float[] {0, 1, 2, 3, 4, 5}, 2, 3);
        Tensor sum = x.mul(2).eval(); // (2, 3)
        Tensor y = x.matmul(sum.permute(1, 0)); // (2, 2)
        Tensor flat = y.reshape(4);
        flat.eval();
        assertEquals(1, Debug.lastPlan().size(), Debug.lastPlan()::toString);
        assertArrayEquals(new float[] {10, 28, 28, 100}, flat.toFloatArray());

        Tensor z = x.matmul(sum.permute(1, 0));
        Tensor turned = z.permute(1, 0); // in another order
        Tensor first = z.slice(0, 0, 1); // in order, but a part
        Tensor again = z.reshape(4); // the second in its order has to be copied
        Tensor.eval(turned, first, again, z);
        assertArrayEquals(new float[] {10, 28, 28, 100}, turned.toFloatArray());
        assertArrayEquals(new float[] {10, 28}, first.toFloatArray());
        assertArrayEquals(new float[] {10, 28, 28, 100}, again.toFloatArray());
        assertArrayEquals(new float[] {10, 28, 28, 100}, z.toFloatArray());
    }

    @Test
    void anEmbeddingsGradientIsWrittenWhereItIsRead() {
        Tensor table = new Generator(1).randn(50, 8).eval();
        Tensor tokens = Tensor.of(new long[] {3, 3, 49}, 3);
        Tensor y = Functional.embedding(tokens, table);
        float[] gradient = Gradients.of(y.sum(), table).getFirst().toFloatArray(); // (50, 8)
        assertEquals(0, Debug.lastPlan().peakBytes() / (50 * 8 * 4), Debug.lastPlan()::toString); // zeros lie in the result
        for (int i = 0; i < gradient.length; i++) {
            assertEquals(i / 8 == 3 ? 2 : i / 8 == 49 ? 1 : 0, gradient[i]);
        }
    }

    @Test
    void aScatterLeavesWhatItAddsTo() {
        Tensor index = Tensor.of(new long[] {1, 1}, 2);
        Tensor leaf = Tensor.of(new float[] {1, 2, 3}, 3, 1).eval();
        Tensor x = leaf.mul(10); // 10 20 30
        Tensor ones = Tensor.ones(2, 1);
        Tensor first = x.indexAdd(0, index, ones); // 10 22 30
        Tensor second = x.indexAdd(0, index, ones.neg()); // 10 18 30
        Tensor chained = first.add(0.5).indexAdd(0, index, x.slice(0, 0, 2)); // 10.5 52.5 30.5
        Tensor after = x.add(1); // 11 21 31
        Tensor.eval(chained, second, after, first);
        assertArrayEquals(new float[] {10, 22, 30}, first.toFloatArray());
        assertArrayEquals(new float[] {10, 18, 30}, second.toFloatArray());
        assertArrayEquals(new float[] {10.5f, 52.5f, 30.5f}, chained.toFloatArray());
        assertArrayEquals(new float[] {11, 21, 31}, after.toFloatArray());

        Tensor small = Tensor.of(new float[] {1, 2, 3}, 3, 1).mul(10).eval().mul(2); // 20 40 60, read by rows and then added to
        Tensor rows = Tensor.ones(64, 3).eval().mul(3).mul(small.reshape(3)); // (64, 3)
        Tensor sums = rows.sum(-1); // 360 each
        Tensor added = small.indexAdd(0, index, ones);
        Tensor.eval(added, sums);
        assertArrayEquals(new float[] {20, 42, 60}, added.toFloatArray());
        assertEquals(360, sums.toFloatArray()[63]);
    }

    @Test
    void aScatterLeavesACopyOfWhatItAddsTo() {
        Tensor index = Tensor.of(new long[] {1, 1}, 2);
        Tensor leaf = Tensor.of(1f, 2f, 3f).eval();
        for (boolean returned : new boolean[] {true, false}) {
            Tensor x = leaf.mul(10);
            Tensor copy = x.map(e -> e);
            Tensor added = x.indexAdd(0, index, Tensor.ones(2)); // 10 22 30
            Tensor product = added.mul(copy);
            Tensor.eval(returned ? new Tensor[] {copy, product} : new Tensor[] {product});
            assertArrayEquals(new float[] {100, 440, 900}, product.toFloatArray());
            assertArrayEquals(new float[] {10, 20, 30}, copy.toFloatArray());
        }
    }

    @Test
    void aWrongIndexLeavesAVariableAsItWas() {
        Variable w = new Variable("w", Tensor.of(1f, 2f), false);
        Variable other = new Variable("other", Tensor.of(5f, 6f), false);
        w.set(w.value().mul(3));
        Variable.settle(List.of(w));
        Tensor before = w.value();
        w.set(other.value().indexAdd(0, Tensor.of(new long[] {2}, 1), Tensor.of(1f)));
        assertThrows(IndexOutOfBoundsException.class, () -> Variable.settle(List.of(w)));
        assertArrayEquals(new float[] {3, 6}, before.toFloatArray());
    }
}
