// An optimizer's step alone: the gradients are there.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.training.AdamW;
import dev.heddle.training.Optimizer;
import dev.heddle.training.SGD;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;

/** The parameters of a GPT of 4 blocks and 256 features: 52 tensors, 3.4 million numbers. */
public class OptimizerBenchmark extends EngineBenchmark {
    /** AdamW also with the gradients' norm clipped. */
    @Param({"sgd", "sgd-momentum", "adamw", "adamw-clipped"})
    public String kind;

    private Optimizer optimizer;
    private Gradients gradients;

    /** Makes parameters and gradients. */
    @Setup
    public void setup() {
        List<Variable> parameters = new ArrayList<>();
        int d = 256;
        parameters.add(parameter("tokens", 256, d));
        parameters.add(parameter("positions", 128, d));
        for (int block = 0; block < 4; block++) {
            for (long[] shape : List.of(new long[] {d}, new long[] {d}, new long[] {3 * d, d}, new long[] {3 * d}, new long[] {d, d},
                    new long[] {d}, new long[] {d}, new long[] {d}, new long[] {4 * d, d}, new long[] {4 * d}, new long[] {d, 4 * d},
                    new long[] {d})) {
                parameters.add(parameter("block" + block + "." + parameters.size(), shape));
            }
        }
        parameters.add(parameter("norm.weight", d));
        parameters.add(parameter("norm.bias", d));
        optimizer = switch (kind) {
            case "sgd" -> SGD.of(parameters).learningRate(1e-6).build();
            case "sgd-momentum" -> SGD.of(parameters).learningRate(1e-6).momentum(0.9).build();
            case "adamw" -> AdamW.of(parameters).learningRate(1e-6).build();
            case "adamw-clipped" -> AdamW.of(parameters).learningRate(1e-6).clipNorm(1).build();
            default -> throw new IllegalArgumentException("optimizer: '" + kind + "' is not sgd, sgd-momentum, adamw or adamw-clipped");
        };
        Map<Variable, Tensor> byVariable = new LinkedHashMap<>();
        parameters.forEach(p -> byVariable.put(p, random(p.shape().dims())));
        gradients = Gradients.of(Tensor.scalar(0), byVariable);
    }

    /** A step. */
    @Benchmark
    public void step() {
        optimizer.step(gradients);
    }
}
