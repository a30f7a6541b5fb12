// Softmax and log-softmax over the last axis.
package dev.heddle.engine.fused;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.List;

/**
 * {@code x (..., C) -> y (..., C)}: {@code e^x / sum e^x} over the last axis, or its logarithm.
 *
 * @param log whether the logarithm is given
 */
public record Softmax(boolean log) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        inputs.getFirst().shape().axis(name(), -1);
        return List.of(inputs.getFirst());
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.getFirst();
        if (x.elements() == 0) {
            return List.of(x.exp());
        }
        Tensor wide = x.to(x.dtype().computeType());
        Tensor shifted = wide.sub(wide.max(true, -1).detach());
        Tensor sum = shifted.exp().sum(true, -1); // (..., 1)
        return List.of((log ? shifted.sub(sum.log()) : shifted.exp().mul(sum.reciprocal())).to(x.dtype()));
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        return Tensor.recordAll(new Backward(log), List.of(outputs.getFirst(), gradients.getFirst()));
    }

    @Override
    public String name() {
        return log ? "log_softmax" : "softmax";
    }

    /** {@code (y, dy) -> dx}: {@code y (dy - sum dy y)}, or for the logarithm {@code dy - e^y sum dy}. */
    public record Backward(boolean log) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return List.of(inputs.getFirst());
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Tensor y = inputs.get(0);
            Tensor dy = inputs.get(1);
            return List.of(log ? dy.sub(y.exp().mul(dy.sum(true, -1))) : y.mul(dy.sub(dy.mul(y).sum(true, -1))));
        }

        @Override
        public String name() {
            return log ? "log_softmax_backward" : "softmax_backward";
        }
    }

}
