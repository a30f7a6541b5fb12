package dev.heddle.bench.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cuda.CudaKernel;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

class KernelBenchTest {
    private final ByteArrayOutputStream printed = new ByteArrayOutputStream();

    private ObjectNode run(KernelCase... cases) throws IOException {
        return new KernelBench(Device.cpu()).quick(true).print(new PrintStream(printed, true)).run(List.of(cases));
    }

    private static KernelCase triple(double factor) {
        return KernelCase.of("triple", seed -> List.of(KernelCase.randn(seed, DType.F32, 5, 7)), in -> List.of(in.get(0).mul(factor)))
                .reference(in -> List.of(in.get(0).mul(3)));
    }

    @Test
    void aWrongKernelFailsAndDoesNotStopTheOthers() throws IOException {
        KernelCase broken = KernelCase.of("broken", triple(3).inputs(), in -> List.of(in.get(0).reshape(6, 6)));
        ObjectNode results = run(triple(3.01), broken, StandardCases.of("softmax f32 3x5"));
        JsonNode cases = results.get("cases");
        assertTrue(cases.get("triple").get("failure").asText().contains("wrong result"), printed.toString());
        assertEquals(0.01 / 3, cases.get("triple").get("error").asDouble(), 1e-5);
        assertTrue(cases.get("broken").get("failure").asText().contains("reshape"), printed.toString());
        assertTrue(cases.get("softmax f32 3x5").get("us").asDouble() > 0, printed.toString());
        assertTrue(KernelTable.anyFailed(results));
        assertTrue(printed.toString().contains("FAILED"));
        assertFalse(KernelTable.anyFailed(run(triple(3))));
    }

    @Test
    void aKernelThatIsWrongInItsLastRowFails() throws IOException {
        KernelCase kernel = KernelCase.of("last", seed -> List.of(KernelCase.randn(seed, DType.F32, 6, 4)),
                in -> List.of(Tensor.concat(0, in.get(0).slice(0, 0, 5), in.get(0).slice(0, 5, 6).neg()))).reference(in -> List.of(in.get(0).mul(1)));
        assertTrue(KernelTable.anyFailed(run(kernel.rows(1))));
        assertTrue(KernelTable.anyFailed(run(kernel)));
    }

    @Test
    void aNaNOrAnotherLengthIsAnError() {
        assertTrue(Double.isNaN(KernelCheck.error(new double[] {1, 2}, new double[] {1, Double.NaN})));
        assertEquals(Double.POSITIVE_INFINITY, KernelCheck.error(new double[] {1, 2}, new double[] {1}));
        assertEquals(0.5, KernelCheck.error(new double[] {0, 2}, new double[] {0, 3}));
    }

    @ParameterizedTest
    @CsvSource({
        "add f32 6x10, 720, 60", // two read, one written
        "sum bf16 6x10, 132, 60", // a number a row
        "softmax f32 6x10, 480, 0",
        "layernorm f32 6x10, 560, 0", // weight and bias too
        "layernorm_backward f32 6x10, 888, 0", // x, dy, dx; a mean and rstd a row; weight and the gradients of both
        "layernorm_backward f32 6x6, 552, 0", // the weight's gradient is as long as there are rows, but none of them
        "crossentropy f32 6x10, 552, 0", // a label of 8 bytes and a loss a row
        "matmul f32 2x3x5, 124, 60", // M x N x K
        "linear_relu bf16 2x3x5, 68, 60",
        "conv f32 2x3x4x4, 1092, 5184", // 3x3, as many channels out
        "conv_1x1 f32 2x3x4x4, 2064, 2304", // four times as many
        "conv_stride2 f32 2x3x4x4, 1224, 2592", // twice as many on a quarter of the positions
        "maxpool f32 2x3x4x4, 480, 0",
        "attention f32 1x2x4x8, 1024, 1024", // two products of 2 T T D flops a head
        "attention_causal f32 1x2x4x8, 1024, 512",
        "adamw f32 768, 21504, 0"})
    void bytesAndFlops(String name, double bytes, double flops) throws IOException {
        JsonNode row = run(StandardCases.of(name)).get("cases").get(name);
        assertFalse(row.has("failure"), printed.toString());
        assertEquals(bytes, row.get("bytes").asDouble());
        assertEquals(flops, row.get("flops").asDouble());
        assertEquals(row.get("bytes").asDouble() / row.get("us").asDouble() / 1e3, row.get("gb_per_s").asDouble(), 1e-9);
        assertEquals(flops / row.get("us").asDouble() / 1e3, row.get("gflop_per_s").asDouble(), 1e-9);
    }

    @Test
    void theFileHasTheSharedShape(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("kernels.json");
        assertEquals(0, command("--device", "cpu", "--quick", "--forks", "2", "--filter", "^(gelu|matmul)", "--json", file.toString()), errors.toString());
        JsonNode json = new ObjectMapper().readTree(Files.readAllBytes(file));
        assertEquals("kernels", json.get("what").asText());
        assertEquals("cpu", json.get("machine").get("device").asText());
        assertTrue(json.get("ceilings").get("copy_gb_per_s").asDouble() > 0);
        assertTrue(json.get("ceilings").get("matmul_bf16_gflop_per_s").asDouble() > 0);
        List<String> names = new ArrayList<>();
        json.get("cases").fieldNames().forEachRemaining(names::add);
        assertEquals(List.of("gelu bf16 16x64", "matmul bf16 32x32x32"), names);
        JsonNode row = json.get("cases").get("gelu bf16 16x64");
        List<String> fields = new ArrayList<>();
        row.fieldNames().forEachRemaining(fields::add);
        assertTrue(fields.containsAll(List.of("us", "us_min", "us_max", "bytes", "flops", "gb_per_s", "gflop_per_s", "percent_of_ceiling", "ceiling", "error",
                "ordinary_copy_gb_per_s", "percent_of_copy")), fields.toString());
        assertEquals(2, row.get("fork_us").size(), row.toString());
        assertTrue(row.get("percent_of_copy").asDouble() > 0, row.toString());
        assertTrue(Set.of("copy", "matmul").contains(row.get("ceiling").asText()));
        assertTrue(row.get("us_min").asDouble() <= row.get("us").asDouble() && row.get("us").asDouble() <= row.get("us_max").asDouble());
        try (var files = Files.list(folder)) {
            assertEquals(List.of(file), files.toList());
        }
    }

    @Test
    void allStandardCasesAreKnown() {
        for (Device.Type type : Device.Type.values()) {
            StandardCases.names(new Device(type, 0), false).forEach(StandardCases::of);
        }
    }

    private final StringWriter errors = new StringWriter();

    private int command(String... arguments) {
        return new CommandLine(new KernelsCommand()).setErr(new PrintWriter(errors)).execute(arguments);
    }

    @ParameterizedTest
    @ValueSource(strings = {"--filter=nothing-like-this", "--filter=(", "--device=tpu", "--peer=jax", "--forks=0", "--forks=101", "--forks=two", "soft f32 3x3", "softmax f64 3x3", "softmax f32 3x3x3",
        "softmax f32 0x3", "softmax"})
    void badArgumentsAreNamed(String argument) {
        assertEquals(2, command(argument));
        String shown = argument.replaceAll("--\\w+=", "").split(" ")[0];
        assertTrue(errors.toString().contains(shown), errors.toString());
    }

    @Test
    void processesMustComputeTheSame() {
        KernelBench bench = new KernelBench(Device.cpu()).quick(true).forks(2);
        try (Ceilings ceilings = new Ceilings(Device.cpu(), true)) {
            ObjectNode first = bench.measure(triple(3), ceilings, null);
            Digest digest = Digest.parse(first.get("digest").asText());
            assertEquals(35, digest.count());
            ObjectNode second = bench.measure(triple(3), ceilings, digest);
            assertFalse(second.has("failure") || second.has("error"), second.toString());
            assertEquals(3, second.get("us").size());
            assertTrue(bench.measure(triple(3.01), ceilings, digest).get("failure").asText().contains("in another process 35,"));
        }
    }

    @Test
    void batchesWithTheLeastDisturbedCoresCount() {
        List<KernelBench.Batch> batches = List.of(new KernelBench.Batch(1, 1.3), new KernelBench.Batch(4, 1.1), new KernelBench.Batch(2, 1.2),
                new KernelBench.Batch(3, 1));
        assertEquals(List.of(batches.get(1), batches.get(3)), KernelBench.best(batches, 2), "in their order, however fast");
        assertEquals(batches, KernelBench.best(batches, 5));
    }

    @Test
    void theLoopIsAtMostAsFastAsEver() {
        for (int i = 0; i < 100; i++) {
            double slowdown = CoreProbe.shared().slowdown();
            assertTrue(slowdown >= 1 && slowdown < 1e6, "slowdown " + slowdown);
        }
    }

    @Test
    void twoCasesOfOneNameAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> run(triple(3), triple(3)));
    }

    /** What README.md says of one's own kernels. */
    @Test
    void ownKernels() throws IOException {
        CudaKernel saxpy = CudaKernel.of("""
                extern "C" __global__ void saxpy(float* out, const float* x, const float* y, float a, int n) {
                    int i = blockIdx.x * blockDim.x + threadIdx.x;
                    if (i < n) { out[i] = a * x[i] + y[i]; }
                }""", "saxpy")
                .output(DType.F32, in -> in.get(0).shape())
                .launch((k, in) -> k.output(0).input(0).input(1).value(2f).value((int) in.get(0).shape().elements()).threads(in.get(0).shape().elements()))
                .meaning(in -> List.of(in.get(0).mul(2).add(in.get(1))))
                .build();
        KernelCase kernel = KernelCase.of("saxpy f32 4096",
                seed -> List.of(KernelCase.randn(seed, DType.F32, 4096), KernelCase.randn(-seed, DType.F32, 4096)),
                in -> saxpy.apply(in.get(0), in.get(1))).flops(2 * 4096);
        KernelCase swish = KernelCase.of("swish f32 64x32",
                seed -> List.of(KernelCase.randn(seed, DType.F32, 64, 32)),
                in -> List.of(in.get(0).map(e -> e.mul(e.sigmoid())))).rows(1);
        ObjectNode results = run(kernel, swish);
        assertFalse(KernelTable.anyFailed(results), printed.toString());
        assertEquals(3 * 4 * 4096, results.get("cases").get("saxpy f32 4096").get("bytes").asDouble());
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64", disabledReason = "libtorch is fetched for Linux on x86-64 only")
    void libtorchComputesTheSame() throws IOException {
        List<KernelCase> cases = StandardCases.names(Device.cpu(), true).stream().map(StandardCases::of).toList();
        try (KernelPeer peer = new KernelPeer(true)) {
            ObjectNode results = new KernelBench(Device.cpu()).quick(true).print(new PrintStream(printed, true)).beside(peer).run(cases);
            assertFalse(KernelTable.anyFailed(results), printed.toString());
            assertTrue(results.get("cases").get("conv f32 4x4x8x8").get("libtorch_layout").asText().matches("NCHW|channels-last"));
            assertTrue(results.get("cases").get("matmul bf16 32x32x32").get("ratio").asDouble() > 0);
            assertThrows(IllegalStateException.class, () -> peer.prepare("softmax f32 3x5", 1, new Digest(15, 3.1, 0.9), 1e-4));
        }
    }
}
