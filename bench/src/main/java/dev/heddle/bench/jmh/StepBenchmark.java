// What a training step costs the host: recording, looking the plan up, dispatching the kernels.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Debug;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.layers.Conv2d;
import dev.heddle.layers.Dropout;
import dev.heddle.layers.Flatten;
import dev.heddle.layers.Init;
import dev.heddle.layers.Linear;
import dev.heddle.layers.MaxPool2d;
import dev.heddle.layers.ReLU;
import dev.heddle.layers.Sequential;
import dev.heddle.training.Adam;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.TearDown;

/**
 * The MNIST CNN's graph, op for op, on one 6 x 6 image and with a narrow first linear layer, so that the kernels take little: a
 * step is the host's work plus what {@code kernels} prints at the end, measured by the plan itself in a second phase.
 */
public class StepBenchmark extends EngineBenchmark {
    private static final Pattern TIME = Pattern.compile("(?m)^ *\\d+ +([0-9.]+) us");

    private Sequential model;
    private Optimizer optimizer;
    private Tensor x;
    private Tensor y;

    /** Builds the model. */
    @Setup
    public void setup() {
        Init.seed(1);
        model = new Sequential(new Conv2d(1, 4, 3), new ReLU(), new Conv2d(4, 8, 3), new ReLU(), new MaxPool2d(2), new Dropout(0.25),
                new Flatten(), new Linear(8, 16), new ReLU(), new Dropout(0.5), new Linear(16, 10));
        optimizer = Adam.of(model.parameters()).build();
        x = random(1, 1, 6, 6);
        y = Tensor.of(new long[] {3}, 1);
    }

    /** Records and runs a training step. */
    @Benchmark
    public double step() {
        try (Tensor loss = Losses.crossEntropy(model.forward(x), y)) {
            optimizer.step(loss.backward());
            return loss.item();
        }
    }

    /** Says what the kernels took. */
    @TearDown
    public void kernels() {
        Debug.profile(true);
        for (int i = 0; i < 2000; i++) {
            step();
        }
        Matcher times = TIME.matcher(Debug.lastPlan().toString());
        double sum = 0;
        while (times.find()) {
            sum += Double.parseDouble(times.group(1));
        }
        System.out.printf("%nkernels: %.1f us of a step, in %d calls%n", sum, Debug.lastPlan().size());
        Variable.settle(List.copyOf(model.parameters()));
    }
}
