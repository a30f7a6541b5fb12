// Matrix products by size and dtype.
package dev.heddle.bench.jmh;

import dev.heddle.engine.DType;
import dev.heddle.engine.Tensor;
import java.util.Locale;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;

/** {@code (M, K)} times {@code (K, N)}: {@code 2 M K N} floating-point operations. */
public class MatMulBenchmark extends EngineBenchmark {
    /** M x K x N. */
    @Param({"64x64x64", "256x256x256", "1024x1024x1024", "2048x2048x2048", "512x768x3072", "1x4096x4096"})
    public String shape;

    /** Of the operands. */
    @Param({"f32", "bf16"})
    public String dtype;

    private Tensor a;
    private Tensor b;
    private Tensor bTransposed;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        long[] sizes = Shapes.parse(shape);
        DType type = DType.valueOf(dtype.toUpperCase(Locale.ROOT));
        a = random(sizes[0], sizes[1]).to(type).eval();
        b = random(sizes[1], sizes[2]).to(type).eval();
        bTransposed = random(sizes[2], sizes[1]).to(type).eval();
    }

    /** Both as they lie. */
    @Benchmark
    public void product() {
        run(a.matmul(b));
    }

    /** The second transposed, as a linear layer's weight is. */
    @Benchmark
    public void productWithTransposed() {
        run(a.matmul(bTransposed.t()));
    }
}
