// Kernels on a GPU, with the bytes and operations each must cost; gpu/peers/kernels.py times the same in PyTorch.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * {@code GpuBench OUT.json full|quick|CASE...}: each case is first checked against the CPU backend on its first and last rows, then
 * timed: batches of runs of about 50 ms, the clock read behind a synchronisation. A case is a name, a dtype and
 * extents ({@code "softmax bf16 131072x1024"}); {@link GpuCase} says what they mean. Operands are larger than a GPU's cache
 * wherever memory is the limit.
 */
public final class GpuBench {
    private static final List<String> FULL = List.of("add f32 8192x8192", "add bf16 16384x8192", "gelu f32 8192x8192", "gelu bf16 16384x8192",
            "chain bf16 16384x8192", "sum f32 65536x1024", "softmax f32 65536x1024", "softmax bf16 131072x1024", "layernorm f32 65536x1024",
            "layernorm bf16 131072x1024", "layernorm_backward bf16 131072x1024", "rmsnorm bf16 131072x1024", "crossentropy bf16 8192x50304",
            "matmul bf16 8192x8192x8192", "matmul f16 8192x8192x8192", "matmul f32 4096x4096x4096", "matmul bf16 8192x3072x768",
            "linear bf16 8192x3072x768", "linear_relu bf16 8192x3072x768", "linear_gelu bf16 8192x3072x768", "conv f32 32x64x56x56",
            "conv bf16 32x64x56x56", "conv_bias bf16 32x64x56x56", "maxpool bf16 64x64x112x112", "avgpool bf16 64x64x112x112",
            "batchnorm bf16 64x64x56x56", "batchnorm f32 64x64x56x56", "batchnorm_backward bf16 64x64x56x56", "attention bf16 8x16x1024x64",
            "attention_causal bf16 8x16x1024x64", "attention_causal bf16 2x16x4096x128", "attention_backward bf16 8x16x1024x64", "adamw f32 124439808");
    private static final List<String> QUICK = List.of("add f32 16x64", "gelu bf16 16x64", "chain bf16 16x64", "sum f32 16x64", "softmax f32 16x64",
            "layernorm bf16 16x64", "layernorm_backward bf16 16x64", "rmsnorm bf16 16x64", "crossentropy bf16 16x40", "matmul bf16 32x32x32",
            "linear bf16 16x32x32", "linear_relu bf16 16x32x32", "linear_gelu bf16 16x32x32", "conv f32 4x4x8x8", "conv_bias bf16 4x8x8x8",
            "maxpool bf16 4x8x8x8", "avgpool bf16 4x8x8x8", "batchnorm bf16 4x8x8x8", "batchnorm f32 4x8x8x8", "batchnorm_backward bf16 4x8x8x8", "attention bf16 2x2x16x32", "attention_causal bf16 2x2x16x32",
            "attention_backward bf16 2x2x16x32", "adamw f32 10000");

    private final boolean quick;
    private final Tensor probe;

    private GpuBench(boolean quick) {
        this.quick = quick;
        probe = new Generator(0).rand(1).eval();
    }

    /** Runs the cases; one that fails is reported and does not stop the others, but the exit status is then 1. */
    public static void main(String[] arguments) throws IOException {
        Device.use(Device.parse("cuda"));
        boolean quick = arguments[1].equals("quick");
        List<String> cases = quick ? QUICK : arguments[1].equals("full") ? FULL : List.of(arguments).subList(1, arguments.length);
        GpuBench bench = new GpuBench(quick);
        ObjectNode json = new ObjectMapper().createObjectNode();
        ObjectNode results = json.putObject("cases");
        boolean failed = false;
        for (String name : cases) {
            ObjectNode result = results.putObject(name);
            try (GpuCase kernel = GpuCase.of(name)) {
                double error = kernel.check();
                result.put("error", error);
                if (!(error <= kernel.tolerance())) {
                    throw new IllegalStateException("differs from the CPU: relative error " + error);
                }
                bench.time(kernel, result);
                System.out.printf(Locale.ROOT, "%-40s %10.1f us %8.0f GB/s %8.1f TFLOP/s   host %.1f us%n", name, result.get("us").asDouble(),
                        result.get("gb_per_s").asDouble(), result.get("tflop_per_s").asDouble(), result.get("host_us").asDouble());
            } catch (RuntimeException | OutOfMemoryError e) {
                failed = true;
                result.put("failure", e.toString());
                System.out.println(name + ": FAILED: " + e);
                e.printStackTrace(System.out);
            }
            Files.writeString(Path.of(arguments[0]), json.toPrettyString() + "\n"); // what was measured so far is kept
        }
        System.exit(failed ? 1 : 0);
    }

    private void time(GpuCase kernel, ObjectNode result) {
        long warm = System.nanoTime() + (quick ? 0 : 300_000_000);
        do { // compiles, captures, replays; lets the JIT finish
            for (int i = 0; i < 4; i++) {
                kernel.run();
            }
            probe.toFloatArray();
        } while (System.nanoTime() < warm);
        long start = System.nanoTime();
        kernel.run();
        probe.toFloatArray();
        double target = quick ? 1e6 : 50e6;
        int runs = (int) Math.clamp(target / (System.nanoTime() - start), 1, 2000);
        int batches = quick ? 3 : 9;
        double[] us = new double[batches];
        double[] host = new double[batches];
        for (int i = 0; i < batches; i++) {
            start = System.nanoTime();
            for (int k = 0; k < runs; k++) {
                kernel.run();
            }
            host[i] = (System.nanoTime() - start) / 1e3 / runs;
            probe.toFloatArray(); // all work goes through one stream: this waits for it
            us[i] = (System.nanoTime() - start) / 1e3 / runs;
        }
        Arrays.sort(us);
        Arrays.sort(host);
        double median = us[batches / 2];
        result.put("us", median).put("us_min", us[0]).put("us_max", us[batches - 1]).put("host_us", host[batches / 2]).put("runs", runs * batches)
                .put("bytes", kernel.bytes()).put("flops", kernel.flops()).put("gb_per_s", kernel.bytes() / median / 1e3)
                .put("tflop_per_s", kernel.flops() / median / 1e6);
    }

    /** Random numbers of a normal distribution. */
    static Tensor randn(long seed, DType dtype, long... shape) {
        return new Generator(seed).randn(shape).to(dtype).eval();
    }

    /** {@code 16x64} as extents. */
    static long[] extents(String text) {
        return Arrays.stream(text.split("x")).mapToLong(Long::parseLong).toArray();
    }

    /** Root of the sum of squares of a difference, relative to that of {@code expected}; NaN if anything is. */
    static double error(double[] expected, double[] actual) {
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.length; i++) {
            difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            norm += expected[i] * expected[i];
        }
        return Math.sqrt(difference / Math.max(norm, Double.MIN_NORMAL));
    }
}
