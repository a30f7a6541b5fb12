// A chain of elementwise operations, fused into one loop and not.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Debug;
import dev.heddle.engine.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;

/** SwiGLU's gate with a bias and a residual, 7 operations, and one operation alone. */
public class ElementwiseBenchmark extends EngineBenchmark {
    /** As {@code -Dheddle.fusion}. */
    @Param({"true", "false"})
    public boolean fusion;

    /** In a cache, and in memory. */
    @Param({"65536", "8388608"})
    public int elements;

    private Tensor x;
    private Tensor y;
    private Tensor bias;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        Debug.fusion(fusion);
        x = random(elements / 1024, 1024);
        y = random(elements / 1024, 1024);
        bias = random(1024);
    }

    /** Reads two tensors, writes one. */
    @Benchmark
    public void add() {
        run(x.add(y));
    }

    /** Fused it reads two tensors and writes one; unfused it reads and writes 20. */
    @Benchmark
    public void chain() {
        Tensor h = x.add(bias);
        run(h.mul(h.sigmoid()).mul(y).mul(0.5).add(x).clamp(-10, 10));
    }
}
