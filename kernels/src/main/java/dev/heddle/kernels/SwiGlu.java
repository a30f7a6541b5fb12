// The gated unit of today's language models.
package dev.heddle.kernels;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.List;

/** {@code (gate (..., C), up (..., C)) -> y (..., C)}: {@code y = silu(gate) up} (Shazeer, 2020). */
public record SwiGlu() implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec gate = inputs.get(0);
        if (!gate.equals(inputs.get(1)) || !gate.dtype().isFloat()) {
            throw new ShapeException(name() + ": gate " + gate + " with " + inputs.get(1));
        }
        gate.shape().axis(name(), -1);
        return List.of(gate);
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        return List.of(inputs.get(0).map(Activations::silu).mul(inputs.get(1)));
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        return Tensor.recordAll(new Backward(), List.of(inputs.get(0), inputs.get(1), gradients.getFirst()));
    }

    @Override
    public String name() {
        return "swiglu";
    }

    /** {@code (gate, up, dy) -> (dgate, dup)}: {@code dy up silu'(gate)} and {@code dy silu(gate)}. */
    public record Backward() implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return inputs.subList(0, 2);
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            return Gradients.throughDecomposition(new SwiGlu(), inputs.subList(0, 2), inputs.subList(2, 3));
        }

        @Override
        public String name() {
            return "swiglu_backward";
        }
    }
}
