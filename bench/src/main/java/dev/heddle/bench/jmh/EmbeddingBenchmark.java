// Rows of a table by index, and the gradient, which adds rows up.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Setup;

/** GPT-2's table of 50,257 tokens and 768 features, 4096 tokens. */
public class EmbeddingBenchmark extends EngineBenchmark {
    private Tensor tokens;
    private Tensor table;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        tokens = integers(50_257, 4, 1024);
        table = random(50_257, 768);
    }

    /** Lookup. */
    @Benchmark
    public void forward() {
        run(Functional.embedding(tokens, table)); // (4, 1024, 768)
    }

    /** The gradient of the table, dense, for a sum of squares. */
    @Benchmark
    public void forwardAndGradient() {
        run(Gradients.of(Functional.embedding(tokens, table).square().sum(), table).getFirst()); // (50257, 768)
    }
}
