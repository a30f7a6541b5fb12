// What an operation costs the host when its kernel has nothing to do: recording it, and dispatching it in a plan.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * Chains of {@value #CHAIN} products of 2 x 2 matrices, which nothing fuses; times are for one operation of the chain: recording it alone,
 * differentiating it (which records its gradients), and all of recording, its part in the lookup of the plan, and its kernel call.
 * {@code single} is an evaluation of one operation, so mostly what an evaluation costs.
 */
public class DispatchBenchmark extends EngineBenchmark {
    private static final int CHAIN = 64;
    private Tensor x;
    private Tensor loss;

    /** Chains that were recorded and are to be forgotten. */
    @State(Scope.Thread)
    public static class Recorded {
        private Tensor end;

        /** Evaluates the chain: the engine would otherwise do so when very many operations wait. */
        @TearDown(Level.Invocation)
        public void settle() {
            run(end);
        }
    }

    /** Makes the inputs. */
    @Setup
    public void setup() {
        x = Tensor.of(new float[] {0.6f, -0.8f, 0.8f, 0.6f}, 2, 2).eval(); // a rotation: the numbers stay small
        Variable weight = new Variable("weight", x, true);
        loss = chain(weight.value()).sum().eval();
    }

    private Tensor chain(Tensor y) {
        Tensor end = y;
        for (int i = 0; i < CHAIN; i++) {
            end = end.matmul(x);
        }
        return end;
    }

    /** Records. */
    @Benchmark
    @OperationsPerInvocation(CHAIN)
    public Tensor record(Recorded recorded) {
        recorded.end = chain(x);
        return recorded.end;
    }

    /** Differentiates what was recorded and evaluated before. */
    @Benchmark
    @OperationsPerInvocation(CHAIN)
    public Gradients backward() {
        return loss.backward();
    }

    /** Records, looks up, runs. */
    @Benchmark
    @OperationsPerInvocation(CHAIN)
    public void recordAndRun() {
        run(chain(x));
    }

    /** An evaluation of one operation. */
    @Benchmark
    public void single() {
        run(x.matmul(x));
    }
}
