// Normalisations, forward, and forward with all gradients.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Setup;

/** Layer norm and RMS norm of 4096 rows of 768, as in GPT-2; batch norm of 32 images of 64 channels of 56 x 56, as in ResNet. */
public class NormBenchmark extends EngineBenchmark {
    private static final double EPS = 1e-5;

    private Tensor rows;
    private Tensor rowsWeight;
    private Tensor rowsBias;
    private Tensor images;
    private Tensor channelsWeight;
    private Tensor channelsBias;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        rows = random(4096, 768);
        rowsWeight = random(768);
        rowsBias = random(768);
        images = random(32, 64, 56, 56);
        channelsWeight = random(64);
        channelsBias = random(64);
    }

    private static void runWithGradients(Tensor y, Tensor... inputs) {
        List<Tensor> results = new ArrayList<>(Gradients.of(y.square().sum(), inputs));
        results.add(y);
        run(results);
    }

    private Tensor layer() {
        return Functional.layerNorm(rows, rowsWeight, rowsBias, EPS);
    }

    private Tensor rms() {
        return Functional.rmsNorm(rows, rowsWeight, EPS);
    }

    private Tensor batch() {
        return Functional.batchNorm(images, channelsWeight, channelsBias, EPS).getFirst();
    }

    /** Layer norm. */
    @Benchmark
    public void layerNorm() {
        run(layer());
    }

    /** With the gradients of a sum of squares. */
    @Benchmark
    public void layerNormAndGradients() {
        runWithGradients(layer(), rows, rowsWeight, rowsBias);
    }

    /** RMS norm. */
    @Benchmark
    public void rmsNorm() {
        run(rms());
    }

    /** With the gradients of a sum of squares. */
    @Benchmark
    public void rmsNormAndGradients() {
        runWithGradients(rms(), rows, rowsWeight);
    }

    /** Batch norm, with the statistics of the batch. */
    @Benchmark
    public void batchNorm() {
        run(batch());
    }

    /** With the gradients of a sum of squares. */
    @Benchmark
    public void batchNormAndGradients() {
        runWithGradients(batch(), images, channelsWeight, channelsBias);
    }
}
