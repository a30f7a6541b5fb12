// What looking a plan up costs, and what compiling one does when it is not there.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Debug;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;

/**
 * A small network of {@code layers} linear layers, each with a norm and an activation, recorded anew for each call, as in a training
 * loop. {@code hit} finds its plan; {@code newShape} has a batch size never seen before, as a last, shorter batch has once;
 * {@code newExpression} has elementwise operations never seen together, so that a loop is generated as well.
 */
public class PlanCacheBenchmark extends EngineBenchmark {
    private static final int WIDTH = 8;

    /** Size of the graph: 3 operations a layer. */
    @Param({"4", "32"})
    public int layers;

    private Tensor x;
    private Tensor weight;
    private Tensor bias;
    private long batch = 1;
    private long expression;

    /** Makes the inputs. */
    @Setup
    public void setup() {
        x = random(1, WIDTH);
        weight = random(WIDTH, WIDTH);
        bias = random(WIDTH);
    }

    private Tensor network(Tensor input) {
        Tensor h = input;
        for (int i = 0; i < layers; i++) {
            h = Functional.layerNorm(Functional.linear(h, weight, bias), bias, bias, 1e-5).relu();
        }
        return h;
    }

    private static void requireCompiled(long before, long expected) {
        if (Debug.plansCompiled() - before != expected) {
            throw new IllegalStateException("plan_cache: " + (Debug.plansCompiled() - before) + " plans compiled, expected " + expected);
        }
    }

    /** The plan is there. */
    @Benchmark
    public void hit() {
        run(network(x));
    }

    /** A shape that is new. */
    @Benchmark
    public void newShape() {
        long compiled = Debug.plansCompiled();
        run(List.of(network(Tensor.zeros(++batch, WIDTH))));
        requireCompiled(compiled, 1);
    }

    /** An expression that is new: each bit of a counter chooses an operation. */
    @Benchmark
    public void newExpression() {
        long compiled = Debug.plansCompiled();
        expression++;
        Tensor h = network(x);
        for (int bit = 0; bit < 16; bit++) {
            h = (expression >> bit & 1) == 0 ? h.sin() : h.abs();
        }
        run(h);
        requireCompiled(compiled, 1);
    }
}
