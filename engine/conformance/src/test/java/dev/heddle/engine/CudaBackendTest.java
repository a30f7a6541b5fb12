// What the CUDA backend does besides computing: graphs, memory, streams, errors. Runs on a GPU, or on the stand-in of its libraries.
package dev.heddle.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.cuda.CudaBackend;
import dev.heddle.engine.cuda.CudaException;
import dev.heddle.engine.cuda.CudaKernel;
import dev.heddle.engine.fused.RecurrentCell;
import dev.heddle.testing.NoLeaks;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@NoLeaks
class CudaBackendTest {
    private static final Device CUDA = new Device(Device.Type.CUDA, 0);
    private static final String SAXPY = """
            extern "C" __global__ void saxpy(float* out, const float* x, const float* y, float a, int n) {
                int i = blockIdx.x * blockDim.x + threadIdx.x;
                if (i < n) { out[i] = a * x[i] + y[i]; }
            }
            """;

    private Device before;

    @BeforeEach
    void useCuda() {
        String reason = CudaBackend.unavailable(0);
        Assumptions.assumeTrue(reason == null, "cuda: " + reason);
        before = Device.current();
        Device.use(CUDA);
    }

    @AfterEach
    void switchesBack() {
        Debug.checkNaN(false);
        Debug.trace(false);
        Debug.profile(false);
        if (before != null) { // other tests of this JVM run where they were told to
            Device.use(before);
        }
    }

    /** One step of a small regression; returns the loss. */
    private static double step(Variable w, Tensor x, Tensor y, double rate) {
        Tensor loss = x.matmul(w.value()).sub(y).square().mean();
        w.set(w.value().sub(loss.backward().get(w).mul(rate)));
        double value = loss.item();
        loss.close();
        return value;
    }

    @Test
    void aSteadyStepCompilesNothingAllocatesNothingAndLearns() {
        Variable w = new Variable("w", Tensor.zeros(3, 1), true);
        Tensor y = Tensor.of(new float[] {1, -1, 2, 0}, 4, 1);
        List<Double> losses = new ArrayList<>();
        long plans = 0;
        long allocations = 0;
        for (int i = 0; i < 40; i++) {
            try (Tensor x = Tensor.of(new float[] {1, 2, 0, 0, 1, 3, 1, 1, 1, 2, 0, 1}, 4, 3)) { // another place each time
                losses.add(step(w, x, y, 0.05 + 0.001 * i)); // another number each time
            }
            if (i == 20) {
                plans = Debug.plansCompiled();
                allocations = Debug.memory(CUDA).allocations();
            }
        }
        assertEquals(plans, Debug.plansCompiled());
        assertEquals(allocations, Debug.memory(CUDA).allocations());
        assertTrue(losses.getLast() < 0.5 * losses.getFirst(), losses.toString());
    }

    @Test
    void aRecurrentLayerIsOneCallOfCudnnForwardAndOneBackward() {
        List<Double> losses = new ArrayList<>();
        for (Device device : List.of(CUDA, Device.parse("cpu"))) {
            Device.use(device);
            Variable u = new Variable("u", new Generator(1).rand(12, 4).sub(0.5), true);
            for (int i = 0; i < 4; i++) { // the last ones as a graph
                try (Tensor x = new Generator(2 + i).randn(3, 5, 2).eval()) {
                    Tensor y = Functional.recurrent(RecurrentCell.GRU, true, x, Tensor.full(0.3, DType.F32, 12, 2), u.value(), Tensor.zeros(12),
                            Tensor.ones(12), List.of(Tensor.ones(3, 4)), null).getFirst();
                    Tensor loss = y.square().mean();
                    u.set(u.value().sub(loss.backward().get(u).mul(0.5)));
                    losses.add(loss.item());
                    loss.close();
                    String plan = Debug.lastPlan().toString();
                    assertEquals(device.equals(CUDA), plan.contains("gru_reverse_backward ") && plan.contains("gru_reverse "), plan);
                }
            }
        }
        for (int i = 0; i < 4; i++) {
            assertEquals(losses.get(4 + i), losses.get(i), 1e-5, losses.toString());
        }
    }

    @Test
    void replayedGraphsFollowDataThatMoves() {
        List<Tensor> kept = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            Tensor x = Tensor.of(new float[] {i, 2 * i, 3 * i}, 3);
            kept.add(x); // so that no place is used twice
            Tensor y = x.mul(2).sum();
            assertEquals(12.0 * i, y.item());
            kept.add(y);
        }
        for (int i = 0; i < 12; i++) {
            assertEquals(12.0 * i, kept.get(2 * i + 1).item(), "a later run overwrote a result");
        }
    }

    @Test
    void numbersBelongToTheStepTheyWereGivenFor() {
        Tensor x = Tensor.ones(1000).eval();
        List<Tensor> results = new ArrayList<>();
        for (int i = 0; i < 300; i++) { // nothing is read in between, so all are under way at once
            results.add(x.mul(i).sum().eval());
        }
        for (int i = 0; i < 300; i++) {
            assertEquals(1000.0 * i, results.get(i).item());
        }
    }

    @Test
    void uploadsOnOtherThreadsDoNotDisturbWhatRuns() {
        Variable sum = new Variable("sum", Tensor.zeros(4096), false);
        CompletableFuture<Tensor> next = CompletableFuture.supplyAsync(() -> filled(0));
        double expected = 0;
        for (int i = 0; i < 30; i++) {
            int following = i + 1;
            try (Tensor batch = next.join()) {
                next = CompletableFuture.supplyAsync(() -> filled(following));
                sum.set(sum.value().add(batch));
                Variable.settle(List.of(sum));
            }
            expected += i;
        }
        next.join().close();
        double[] values = sum.value().toDoubleArray();
        for (double value : values) {
            assertEquals(expected, value);
        }
    }

    private static Tensor filled(int value) {
        float[] values = new float[4096];
        java.util.Arrays.fill(values, value);
        return Tensor.of(values, 4096);
    }

    @Test
    void tensorsMoveBetweenDevicesAndDoNotMix() {
        Tensor there = Tensor.of(1f, 2f, 3f);
        Tensor here = there.to(Device.cpu());
        assertEquals(Device.cpu(), here.device());
        assertEquals(CUDA, there.device());
        assertArrayEquals(new double[] {1, 2, 3}, here.toDoubleArray());
        DeviceMismatchException e = assertThrows(DeviceMismatchException.class, () -> here.add(there));
        assertTrue(e.getMessage().contains("cpu") && e.getMessage().contains("cuda:0"), e.getMessage());
        assertArrayEquals(new double[] {2, 4, 6}, here.to(CUDA).add(there).toDoubleArray());
        assertEquals(CUDA, there.mul(3).device(), "numbers go where they are needed");
        Variable v = new Variable("v", here, true);
        assertEquals(Device.cpu(), v.device());
        v.to(CUDA);
        assertArrayEquals(new double[] {1, 4, 9}, v.value().mul(there).toDoubleArray());
    }

    @Test
    void anIndexOutOfRangeIsReported() {
        Tensor x = Tensor.of(1f, 2f, 3f);
        Tensor bad = x.indexSelect(0, Tensor.of(new long[] {0, 7}, 2));
        IndexOutOfBoundsException e = assertThrows(IndexOutOfBoundsException.class, bad::toDoubleArray);
        assertTrue(e.getMessage().contains("7"), e.getMessage());
        assertArrayEquals(new double[] {3}, x.indexSelect(0, Tensor.of(new long[] {2}, 1)).toDoubleArray(), "and forgotten then");
        for (long wrong : new long[] {-2, 5}) {
            Tensor added = x.indexAdd(0, Tensor.of(new long[] {1, wrong}, 2), Tensor.of(1f, 1f));
            e = assertThrows(IndexOutOfBoundsException.class, added::toDoubleArray);
            assertTrue(e.getMessage().contains("" + wrong), e.getMessage());
        }
    }

    @Test
    void memoryRunsOutWithAListOfOwnersAndCanBeUsedAgain() {
        long before = Debug.memory(CUDA).inUse();
        Debug.trace(true);
        Tensor small = Tensor.ones(1000).mul(2).eval();
        DeviceOutOfMemoryException e = assertThrows(DeviceOutOfMemoryException.class, () -> Tensor.zeros(1L << 40).add(1).eval());
        assertTrue(e.getMessage().contains("cuda:0") && e.getMessage().contains("in use"), e.getMessage());
        assertTrue(e.getMessage().contains("recorded at"), "the line that made it: " + e.getMessage());
        assertEquals(2.0, small.max().item());
        small.close();
        assertTrue(Debug.memory(CUDA).inUse() <= before + (1 << 20));
        assertTrue(Debug.memorySnapshot(CUDA).contains("cuda:0"));
    }

    @Test
    void theNaNCheckNamesTheOperation() {
        Debug.checkNaN(true);
        Tensor x = Tensor.of(1f, 0f);
        NonFiniteException e = assertThrows(NonFiniteException.class, () -> x.log().add(1).toDoubleArray());
        assertTrue(e.getMessage().contains("log f32(2) recorded at"), e.getMessage());
    }

    @Test
    void profiledPlansComputeTheSame() {
        Debug.profile(true);
        Tensor x = Tensor.of(1f, 2f, 3f);
        for (int i = 0; i < 3; i++) {
            assertEquals(14.0, x.mul(x).sum().item());
        }
        assertTrue(Debug.lastPlan().toString().contains(" us "));
    }

    @Test
    void equalUpdatesOfManyVariablesAreFewLaunches() {
        List<Variable> variables = new ArrayList<>();
        List<Variable> moments = new ArrayList<>();
        List<double[]> expected = new ArrayList<>();
        for (int i = 0; i < 150; i++) {
            Tensor initial = new Generator(i).randn(1 + i * 37);
            variables.add(new Variable("v" + i, initial, false));
            moments.add(new Variable("m" + i, Tensor.zeros(1 + i * 37), false));
            double[] values = initial.toDoubleArray();
            for (int k = 0; k < values.length; k++) {
                values[k] -= 0.5 * (0.1 * values[k]) + 0.5 * (0.9 * 0.1 * values[k] + 0.1 * (values[k] - 0.05 * values[k]));
            }
            expected.add(values);
        }
        for (int step = 0; step < 2; step++) {
            for (int i = 0; i < 150; i++) {
                Tensor m = moments.get(i).value().mul(0.9).add(variables.get(i).value().mul(0.1));
                moments.get(i).set(m);
                variables.get(i).set(variables.get(i).value().sub(m.mul(Tensor.scalar(0.5))));
            }
            List<Variable> all = new ArrayList<>(variables);
            all.addAll(moments);
            Variable.settle(all);
        }
        for (int i = 0; i < 150; i++) {
            assertArrayEquals(expected.get(i), variables.get(i).value().toDoubleArray(), 1e-5, "variable " + i);
        }
    }

    // ---- what the libraries do besides products and convolutions

    @Test
    void aBiasAndAReluAreTheProductsEpilogueWhereverTheBiasLies() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, -4, 5, -6}, 2, 3);
        Tensor w = Tensor.eye(3).eval();
        List<Tensor> kept = new ArrayList<>();
        for (int i = 0; i < 8; i++) { // launched, captured, captured again, replayed
            Tensor bias = Tensor.of(i, 0f, -i);
            kept.add(bias); // so that no place is used twice
            Tensor y = x.matmul(w).add(bias).relu();
            assertArrayEquals(new double[] {1 + i, 2, Math.max(0, 3 - i), Math.max(0, i - 4), 5, 0}, y.toDoubleArray());
            assertTrue(Debug.lastPlan().toString().contains("matmul+bias+relu"), Debug.lastPlan()::toString);
            kept.add(y);
        }
        Tensor nan = Tensor.of(Float.NaN, 1f, 1f).unsqueeze(0).matmul(w).relu();
        assertTrue(Double.isNaN(nan.toDoubleArray()[0]), "relu keeps NaN");
        assertTrue(Debug.lastPlan().toString().contains("matmul+relu"), Debug.lastPlan()::toString);
    }

    @Test
    void aBiasIsTheConvolutionsEpilogueButNoRelu() {
        Tensor x = new Generator(1).randn(2, 3, 5, 5).eval();
        Tensor w = new Generator(2).randn(4, 3, 3, 3).eval();
        Tensor b = new Generator(3).randn(4).eval();
        Tensor plain = Functional.conv2d(x, w, null, 1, 1, 1, 1).eval();
        double[] expected = plain.add(b.reshape(4, 1, 1)).toDoubleArray();
        assertArrayEquals(expected, Functional.conv2d(x, w, b, 1, 1, 1, 1).toDoubleArray(), 1e-5);
        assertTrue(Debug.lastPlan().toString().contains("conv2d+bias "), Debug.lastPlan()::toString);
        assertArrayEquals(plain.add(b.reshape(4, 1, 1)).relu().toDoubleArray(), Functional.conv2d(x, w, b, 1, 1, 1, 1).relu().toDoubleArray(), 1e-5);
        assertTrue(Debug.lastPlan().toString().contains("conv2d "), Debug.lastPlan()::toString);
    }

    @Test
    void batchNormIsOneStepAndItsTrainingAllocatesNothing() {
        Variable weight = new Variable("weight", Tensor.ones(3), true);
        Variable bias = new Variable("bias", Tensor.zeros(3), true);
        Tensor x = new Generator(1).randn(4, 5, 5, 3).permute(0, 3, 1, 2).eval();
        Tensor target = new Generator(2).randn(4, 3, 2, 2).eval();
        List<Double> losses = new ArrayList<>();
        long allocations = 0;
        for (int i = 0; i < 20; i++) {
            Tensor y = Functional.batchNorm(x, weight.value(), bias.value(), 1e-5).getFirst();
            Tensor loss = Functional.avgPool2d(Functional.maxPool2d(y, 2, 1, 0), 2, 2, 0, true).sub(target).square().mean();
            Gradients gradients = loss.backward();
            weight.set(weight.value().sub(gradients.get(weight).mul(0.1)));
            bias.set(bias.value().sub(gradients.get(bias).mul(0.1)));
            losses.add(loss.item());
            loss.close();
            allocations = i == 10 ? Debug.memory(CUDA).allocations() : allocations;
        }
        String plan = Debug.lastPlan().toString();
        assertTrue(plan.contains("batch_norm ") && plan.contains("batch_norm_backward"), plan);
        assertEquals(allocations, Debug.memory(CUDA).allocations());
        assertTrue(losses.getLast() < losses.getFirst(), losses.toString());
    }

    // ---- kernels of users

    private static CudaKernel saxpy() {
        return CudaKernel.of(SAXPY, "saxpy").output(DType.F32, in -> in.getFirst().shape())
                .launch((k, in) -> k.output(0).input(0).input(1).value(2f).value((int) in.getFirst().shape().elements())
                        .threads(in.getFirst().shape().elements()))
                .meaning(in -> List.of(in.get(0).mul(2).add(in.get(1))))
                .backward((inputs, outputs, gradients) -> List.of(gradients.getFirst().mul(2), gradients.getFirst())).build();
    }

    @Test
    void aUsersKernelIsAnOperation() {
        CudaKernel saxpy = saxpy();
        Tensor x = new Generator(1).randn(3, 207).eval();
        Tensor y = new Generator(2).randn(3, 207).eval();
        for (int i = 0; i < 3; i++) { // launched, captured, replayed
            Tensor z = saxpy.apply(x, y.mul(i).eval()).getFirst();
            assertArrayEquals(x.mul(2).add(y.mul(i)).toDoubleArray(), z.toDoubleArray(), 1e-6);
            assertTrue(Debug.lastPlan().toString().contains("saxpy"));
        }
        Variable v = new Variable("v", x, true);
        Tensor loss = saxpy.apply(v.value(), y).getFirst().square().sum();
        double[] gradient = loss.backward().get(v).toDoubleArray();
        assertArrayEquals(x.mul(2).add(y).mul(4).toDoubleArray(), gradient, 1e-4);
    }

    @Test
    void aUsersKernelWithAMeaningRunsAnywhere() {
        Device.use(Device.cpu());
        Tensor x = Tensor.of(1f, 2f);
        assertArrayEquals(new double[] {3, 6}, saxpy().apply(x, x).getFirst().toDoubleArray());
        CudaKernel only = CudaKernel.of(SAXPY, "saxpy").output(DType.F32, in -> in.getFirst().shape()).launch((k, in) -> { }).build();
        IllegalStateException e = assertThrows(IllegalStateException.class, () -> only.apply(x, x).getFirst().eval());
        assertTrue(e.getMessage().contains("saxpy"), e.getMessage());
    }

    @Test
    void mistakesInAUsersKernelAreShown() {
        Tensor x = Tensor.of(1f, 2f);
        CudaKernel broken = CudaKernel.of("extern \"C\" __global__ void broken(float* y) { y[0] = undeclared; }", "broken")
                .output(DType.F32, in -> in.getFirst().shape()).launch((k, in) -> k.output(0).threads(1)).build();
        CudaException e = assertThrows(CudaException.class, () -> broken.apply(x).getFirst().eval());
        assertTrue(e.getMessage().contains("undeclared"), e.getMessage());
        CudaKernel misnamed = CudaKernel.of(SAXPY, "daxpy").output(DType.F32, in -> in.getFirst().shape())
                .launch((k, in) -> k.output(0).threads(1)).build();
        CudaKernel oneArgument = CudaKernel.of(SAXPY, "saxpy").output(DType.F32, in -> in.getFirst().shape())
                .launch((k, in) -> k.output(0).threads(1)).build();
        CudaException g = assertThrows(CudaException.class, () -> oneArgument.apply(x).getFirst().eval());
        assertTrue(g.getMessage().contains("parameters of [8, 8, 8, 4, 4] bytes"), g.getMessage());
        CudaException f = assertThrows(CudaException.class, () -> misnamed.apply(x).getFirst().eval());
        assertTrue(f.getMessage().contains("daxpy"), f.getMessage());
    }
}
