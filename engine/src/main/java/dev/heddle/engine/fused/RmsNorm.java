// Root-mean-square normalisation over the last axis.
package dev.heddle.engine.fused;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.List;
import java.util.stream.IntStream;

/**
 * {@code (x (..., D), weight (D)) -> (y (..., D), rstd (..., 1))}: {@code y = x rstd weight},
 * {@code rstd = 1 / sqrt(mean(x^2) + eps)} (Zhang and Sennrich, 2019). {@code rstd} is {@code F32} if {@code x} has 16 bits, else of its dtype.
 */
public record RmsNorm(double eps) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        LayerNorm.requireParameters(name(), inputs);
        Spec x = inputs.getFirst();
        return List.of(x, LayerNorm.statistic(x));
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.get(0);
        Tensor rstd = x.to(x.dtype().computeType()).square().mean(true, -1).add(eps).rsqrt(); // (..., 1)
        return List.of(x.mul(rstd).mul(inputs.get(1)).to(x.dtype()), rstd);
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        if (gradients.get(0) == null || gradients.get(1) != null) {
            return Fused.super.gradient(inputs, outputs, gradients);
        }
        return Tensor.recordAll(new Backward(), List.of(inputs.get(0), inputs.get(1), outputs.get(1), gradients.get(0)));
    }

    @Override
    public String name() {
        return "rms_norm";
    }

    /** {@code (x, weight, rstd, dy) -> (dx, dweight)}. */
    public record Backward() implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            LayerNorm.requireStatistics(name(), inputs, 2, 2);
            return List.of(inputs.get(0), inputs.get(1));
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Tensor x = inputs.get(0);
            Tensor dy = inputs.get(3).to(x.dtype().computeType());
            Tensor normal = x.mul(inputs.get(2)); // (..., D)
            Tensor g = dy.mul(inputs.get(1));
            Tensor dx = g.sub(normal.mul(g.mul(normal).mean(true, -1))).mul(inputs.get(2));
            Tensor dweight = LayerNorm.sumLeading(dy.mul(normal), IntStream.range(0, dy.rank() - 1).toArray());
            return List.of(dx.to(x.dtype()), dweight.to(x.dtype()));
        }

        @Override
        public String name() {
            return "rms_norm_backward";
        }
    }
}
