// The open family: operations with a kernel of their own whose meaning is given by a decomposition into other ops.
package dev.heddle.engine.op;

import dev.heddle.engine.Tensor;
import java.util.List;

/**
 * An operation defined in terms of others. The decomposition is its meaning, its test oracle, its default gradient, and
 * what a backend without a kernel runs. Implementations are records; a fused gradient is just another fused op.
 */
public non-sealed interface Fused extends Op {
    /** The outputs recorded from the inputs with other ops; must agree with {@link #infer}. */
    List<Tensor> decompose(List<Tensor> inputs);

    /**
     * An op that does the work of this one and of another, which takes the same inputs first, in one pass: it takes the other's inputs,
     * and its outputs are this one's, then the other's. Null if there is none. The planner joins them where there is a kernel for it.
     */
    default Fused joined(Fused other) {
        return null;
    }

    /**
     * The gradients for the inputs, recorded; null entries for inputs without one. The default differentiates the
     * decomposition.
     *
     * @param inputs the inputs of the op
     * @param outputs its outputs
     * @param gradients the gradient for each output, null where none flows
     */
    default List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        return dev.heddle.engine.Gradients.throughDecomposition(this, inputs, gradients);
    }
}
