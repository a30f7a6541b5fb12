// What the benchmarks of the engine have in common: how long JMH measures, random inputs, and how a result is had.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** Average time of a call in microseconds; JMH inherits these settings, and its command line overrides them. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(value = 1, jvmArgsAppend = {"--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED"})
public abstract class EngineBenchmark {
    private final Generator generator = new Generator(1);

    /** For subclasses. */
    protected EngineBenchmark() {}

    /** Evaluated normal random numbers. */
    final Tensor random(long... shape) {
        return generator.randn(shape).eval();
    }

    /** Evaluated random integers in {@code [0, bound)}. */
    final Tensor integers(long bound, long... shape) {
        return generator.randint(0, bound, shape).eval();
    }

    /** A trainable variable of normal random numbers. */
    final Variable parameter(String name, long... shape) {
        return new Variable(name, random(shape), true);
    }

    /** Computes tensors, together, and gives their memory back. */
    static void run(List<Tensor> results) {
        Tensor[] all = results.toArray(Tensor[]::new);
        Tensor.eval(all);
        for (Tensor result : all) {
            result.close();
        }
    }

    /** Computes a tensor and gives its memory back. */
    static void run(Tensor result) {
        result.eval().close();
    }
}
