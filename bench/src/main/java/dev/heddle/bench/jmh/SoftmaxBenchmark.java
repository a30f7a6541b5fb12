// Softmax and what is built on it.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.training.Losses;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;

/** Over the rows of a matrix, and the cross-entropy of a classifier with as many classes. */
public class SoftmaxBenchmark extends EngineBenchmark {
    /** Rows by columns. */
    @Param({"8192x128", "1024x1024", "64x32768"})
    public String shape;

    private Tensor x;
    private Tensor labels;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        long[] sizes = Shapes.parse(shape);
        x = random(sizes);
        labels = integers(sizes[1], sizes[0]);
    }

    /** Softmax. */
    @Benchmark
    public void softmax() {
        run(Functional.softmax(x, 1));
    }

    /** Its logarithm. */
    @Benchmark
    public void logSoftmax() {
        run(Functional.logSoftmax(x, 1));
    }

    /** The loss and its gradient. */
    @Benchmark
    public void crossEntropyAndGradient() {
        Tensor loss = Losses.crossEntropy(x, labels);
        run(List.of(loss, Gradients.of(loss, x).getFirst()));
    }
}
