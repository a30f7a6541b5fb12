// The engine over JCuda's natives, on the stand-in of CUDA: that it is JCuda that is called, and that it computes the same.
package dev.heddle.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.testing.NoLeaks;
import dev.heddle.testing.TensorAssertions;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class JCudaBindingTest {
    /** Functions that are called directly; {@code GetErrorString} and the like return C strings. */
    private static final String DIRECT = "cuGetErrorName|cuGetErrorString|cuDeviceGetUuid_v2|cuGraphExecUpdate_v2|cuGraphGetNodes|cuFuncGetParamInfo"
            + "|nvrtcGetErrorString|cublasLtGetStatusName|cublasLtGetStatusString|cublasLtGetVersion"
            + "|cudnnGet(ErrorString|LastErrorString|Version|CudartVersion|RNN.*)|cudnnDropoutGetStatesSize"
            + "|cudnnCreate(Activation|Dropout|Pooling|RNN|RNNData)Descriptor|cudnnSet(PoolingNd|RNNData)Descriptor";

    @BeforeAll
    static void needsTheDevice() {
        String reason = CudaBackend.unavailable(0);
        Assumptions.assumeTrue(reason == null, "cuda: " + reason);
    }

    @AfterEach
    void statusAgain() {
        JCudaDriver.setExceptionsEnabled(false);
    }

    @Test
    void functionsAreJCudas() throws ReflectiveOperationException {
        for (Class<?> binding : List.of(Driver.class, Nvrtc.class, CublasLt.class, Cudnn.class, CudnnConvolution.class,
                CudnnPooling.class, CudnnBatchNorm.class, CudnnRnn.class)) {
            Class.forName(binding.getName());
        }
        Set<String> missing = new TreeSet<>();
        Set<String> there = new TreeSet<>();
        Stream.of(CudaLibraries.DRIVER, CudaLibraries.NVRTC, CudaLibraries.CUBLAS_LT, CudaLibraries.CUDNN)
                .flatMap(library -> library.functions().entrySet().stream())
                .forEach(f -> (Bindings.CHOSEN.function(f.getKey(), f.getValue().type()) == null ? missing : there).add(f.getKey()));
        assertEquals(List.of(), missing.stream().filter(name -> !name.matches(DIRECT)).toList(), "not by JCuda");
        assertEquals(List.of(), there.stream().filter(name -> name.matches(DIRECT)).toList(), "by JCuda after all");
        assertTrue(there.size() > 80, there::toString);
    }

    @Test
    void computesThroughJCudasNatives() throws IOException {
        Function<Device, Tensor> step = device -> {
            Tensor x = Tensor.linspace(-1, 1, 2 * 3 * 6 * 5).reshape(2, 3, 6, 5).to(device);
            Tensor w = Tensor.linspace(1, -1, 4 * 3 * 3 * 3).reshape(4, 3, 3, 3).to(device);
            Tensor y = Functional.conv2d(x, w, null, 1, 1, 1, 1).tanh();
            Tensor product = y.reshape(2, 4, 30).matmul(y.reshape(2, 4, 30).transpose(1, 2));
            return Gradients.of(product.mul(product).sum(), x).getFirst().add(product.mean());
        };
        Tensor expected = step.apply(Device.cpu());
        for (int i = 0; i < 3; i++) { // launched, captured, replayed
            TensorAssertions.assertClose(expected.toDoubleArray(), step.apply(Device.current()).toDoubleArray(), 1e-4, 1e-4, "run " + i);
        }
        Set<String> natives = Files.readAllLines(Path.of("/proc/self/maps")).stream().filter(line -> line.contains("/libJ"))
                .map(line -> line.replaceAll(".*/lib(J\\w+)-.*", "$1")).collect(Collectors.toSet());
        assertTrue(natives.containsAll(Set.of("JCudaDriver", "JNvrtc", "JCublas2", "JCudnn")), natives::toString);
    }

    @Test
    void productsOfAllTypesAndLayouts() {
        for (DType dtype : List.of(DType.F32, DType.F64, DType.BF16, DType.F16)) {
            Tensor a = Tensor.linspace(-1, 1, 2 * 13 * 7).to(dtype).reshape(2, 13, 7);
            Tensor b = Tensor.linspace(1, -1, 2 * 5 * 7).to(dtype).reshape(2, 5, 7);
            double[] expected = a.to(Device.cpu()).matmul(b.to(Device.cpu()).transpose(1, 2)).toDoubleArray();
            double tolerance = dtype == DType.F64 ? 1e-13 : dtype == DType.F32 ? 1e-5 : 2e-2;
            TensorAssertions.assertClose(expected, a.matmul(b.transpose(1, 2)).toDoubleArray(), tolerance, tolerance, "batch " + dtype);
            double[] one = a.to(Device.cpu()).slice(0, 0, 1).transpose(1, 2).matmul(a.to(Device.cpu()).slice(0, 1, 2)).toDoubleArray();
            TensorAssertions.assertClose(one, a.slice(0, 0, 1).transpose(1, 2).matmul(a.slice(0, 1, 2)).toDoubleArray(), tolerance,
                    tolerance, "transposed " + dtype);
        }
    }

    @Test
    void variablesAreUpdatedByReplayedGraphs() {
        Variable sum = new Variable("sum", Tensor.zeros(3), false);
        for (int i = 1; i <= 5; i++) {
            sum.set(sum.value().add(i));
            sum.value().eval();
        }
        assertEquals(15, sum.value().toFloatArray()[2]);
    }

    /** JCuda's switch is the program's: the engine sees the same statuses with it and without. */
    @Test
    void exceptionsOfJCudaAreStatuses() {
        for (boolean exceptions : new boolean[] {false, true}) {
            JCudaDriver.setExceptionsEnabled(exceptions);
            CudaException e = assertThrows(CudaException.class, () -> Driver.memAlloc(1L << 50));
            assertEquals(CudaException.OUT_OF_MEMORY, e.status());
            assertEquals("CUDA_ERROR_OUT_OF_MEMORY", e.statusName());
            assertTrue(e.getMessage().startsWith("cuda:0: cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (2): "), e.getMessage());
        }
    }

    @Test
    void sourceErrorsHaveTheCompilersWords() {
        CudaException e = assertThrows(CudaException.class, () -> Nvrtc.compile("extern \"C\" __global__ void f() { nonsense; }", "f.cu",
                List.of("--gpu-architecture=sm_90")));
        assertTrue(e.getMessage().contains("nonsense"), e.getMessage());
    }

    /** With CUDA 13 alone, in a JVM of its own. */
    @Test
    void theVersionThatIsNeededIsNamed(@TempDir Path cuda13) throws IOException, InterruptedException {
        for (String library : List.of("libcuda.so.1", "libnvrtc.so.13", "libcublasLt.so.13")) {
            Files.copy(Path.of(System.getProperty("heddle.cuda.home"), library), cuda13.resolve(library));
        }
        ProcessBuilder child = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules=jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path"),
                "-Dheddle.cuda.binding=jcuda", "-Dheddle.cuda.home=" + cuda13, Unavailable.class.getName());
        child.environment().keySet().removeAll(Set.of("CUDA_HOME", "CUDA_PATH"));
        Process process = child.redirectError(ProcessBuilder.Redirect.DISCARD).start();
        String reason = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        assertEquals(0, process.waitFor(), reason);
        Assumptions.assumeFalse(reason.equals("null"), "CUDA 12 is installed on this machine");
        assertTrue(reason.startsWith("libnvrtc was not found: "), reason);
        assertTrue(reason.contains("libnvrtc.so.12: cannot open shared object file"), reason);
        assertTrue(reason.endsWith("the binding jcuda needs libnvrtc.so.12, no other version"), reason);
    }

    /** Prints why CUDA cannot be used. */
    static final class Unavailable {
        private Unavailable() {
        }

        /** The child's program. */
        public static void main(String[] arguments) {
            System.out.println(CudaBackend.unavailable(0));
        }
    }
}
