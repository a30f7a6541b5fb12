// The convolutions of ResNet-50, forward, and with both gradients.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;

/** 8 images, {@code NCHW} as users have them (He et al., "Deep residual learning for image recognition", 2016, table 1). */
public class ConvolutionBenchmark extends EngineBenchmark {
    private static final int BATCH = 8;

    /** Input channels x height and width x output channels x kernel x stride; the padding keeps the size. */
    @Param({"3x224x64x7x2", "64x56x64x1x1", "64x56x64x3x1", "64x56x256x1x1", "128x28x128x3x1", "256x14x256x3x1", "256x14x1024x1x1",
            "512x7x512x3x1", "1024x14x2048x1x2"})
    public String shape;

    private Tensor x;
    private Tensor weight;
    private int stride;
    private int padding;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        long[] sizes = Shapes.parse(shape);
        x = random(BATCH, sizes[0], sizes[1], sizes[1]);
        weight = random(sizes[2], sizes[0], sizes[3], sizes[3]);
        stride = (int) sizes[4];
        padding = (int) sizes[3] / 2;
    }

    private Tensor convolve() {
        return Functional.conv2d(x, weight, null, stride, padding, 1, 1);
    }

    /** Forward. */
    @Benchmark
    public void forward() {
        run(convolve());
    }

    /** With the gradients of a sum of squares for input and weight. */
    @Benchmark
    public void forwardAndGradients() {
        Tensor y = convolve();
        List<Tensor> results = new ArrayList<>(Gradients.of(y.square().sum(), x, weight));
        results.add(y);
        run(results);
    }
}
