// The closed list of what a graph node can be. Backends switch over it: leave a family out and they do not compile.
package dev.heddle.engine.op;

import java.util.List;

/**
 * An operation without its inputs: an immutable record, equal to another when it does the same. The sealed families are
 * those of the design; {@link Fused} is open.
 */
public sealed interface Op
        permits Source, Elementwise, Reduce, MatMul, Movement, Gather, Scatter, Convolution, Pooling, Random, Sort, Fused {

    /**
     * Checks the inputs and says what comes out.
     *
     * @param inputs the dtypes and shapes of the inputs
     * @return one entry an output
     * @throws dev.heddle.engine.ShapeException if the inputs do not fit, naming the operation and both shapes
     */
    List<Spec> infer(List<Spec> inputs);

    /** The name used in messages and printed plans, for example {@code matmul}. */
    String name();
}
