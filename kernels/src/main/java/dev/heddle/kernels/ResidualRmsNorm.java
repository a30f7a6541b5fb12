// RMS norm of a sum that is needed again: the end of a transformer's block and the start of the next.
package dev.heddle.kernels;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.fused.RmsNorm;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * {@code (x (..., D), residual (..., D), weight (D)) -> (y (..., D), sum (..., D), rstd (..., 1))}: {@code sum = x + residual},
 * the rest as {@link RmsNorm} of it.
 */
public record ResidualRmsNorm(double eps) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        ResidualLayerNorm.requireResidual(name(), inputs);
        List<Spec> outputs = new ArrayList<>(new RmsNorm(eps).infer(inputs.subList(1, inputs.size())));
        outputs.add(1, inputs.getFirst());
        return outputs;
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor sum = inputs.get(0).add(inputs.get(1));
        List<Tensor> outputs = new ArrayList<>(Tensor.recordAll(new RmsNorm(eps), List.of(sum, inputs.get(2))));
        outputs.add(1, sum);
        return outputs;
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        Tensor dy = gradients.get(0);
        Tensor dsum = gradients.get(1);
        if (dy == null || gradients.get(2) != null) {
            return Fused.super.gradient(inputs, outputs, gradients);
        }
        List<Tensor> operands = new ArrayList<>(List.of(outputs.get(1), inputs.get(2), outputs.get(2), dy));
        if (dsum != null) {
            operands.add(dsum);
        }
        List<Tensor> flows = Tensor.recordAll(dsum == null ? new RmsNorm.Backward() : new Backward(), operands);
        return Arrays.asList(flows.get(0), flows.get(0), flows.get(1));
    }

    @Override
    public String name() {
        return "residual_rms_norm";
    }

    /** {@code (sum, weight, rstd, dy, dsum) -> (dx, dweight)}; {@code dx} is the residual's gradient too. */
    public record Backward() implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return List.of(inputs.get(0), inputs.get(1));
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            List<Tensor> flows = Tensor.recordAll(new RmsNorm.Backward(), inputs.subList(0, 4));
            return List.of(flows.get(0).add(inputs.get(4)), flows.get(1));
        }

        @Override
        public String name() {
            return "residual_rms_norm_backward";
        }
    }
}
