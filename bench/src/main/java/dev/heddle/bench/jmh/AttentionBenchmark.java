// Attention, forward, and with its gradients.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;

/** Scaled dot-product attention, causal or not. */
public class AttentionBenchmark extends EngineBenchmark {
    /** Batch x heads x positions x features of a head. */
    @Param({"16x8x128x32", "4x12x512x64", "1x12x2048x64"})
    public String shape;

    /** Whether a position sees only those before it. */
    @Param({"true", "false"})
    public boolean causal;

    private Tensor q;
    private Tensor k;
    private Tensor v;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        long[] sizes = Shapes.parse(shape);
        q = random(sizes);
        k = random(sizes);
        v = random(sizes);
    }

    private Tensor attend() {
        return Functional.scaledDotProductAttention(q, k, v, causal); // (B, H, T, D)
    }

    /** Forward. */
    @Benchmark
    public void forward() {
        run(attend());
    }

    /** With the gradients of a sum of squares. */
    @Benchmark
    public void forwardAndGradients() {
        Tensor y = attend();
        List<Tensor> results = new ArrayList<>(Gradients.of(y.square().sum(), q, k, v));
        results.add(y);
        run(results);
    }
}
