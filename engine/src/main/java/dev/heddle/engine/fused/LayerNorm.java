// Layer normalisation over the last axis.
package dev.heddle.engine.fused;

import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.List;
import java.util.stream.IntStream;

/**
 * {@code (x (..., D), weight (D), bias (D)) -> (y (..., D), mean (..., 1), rstd (..., 1))}:
 * {@code y = (x - mean) rstd weight + bias}, {@code rstd = 1 / sqrt(var + eps)} (Ba et al., 2016). Mean and {@code rstd} are
 * {@code F32} if {@code x} has 16 bits, else of its dtype.
 */
public record LayerNorm(double eps) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec x = inputs.getFirst();
        requireParameters(name(), inputs);
        return List.of(x, statistic(x), statistic(x));
    }

    /** One number a row. */
    static Spec statistic(Spec x) {
        return new Spec(x.dtype().computeType(), x.shape().with(x.shape().rank() - 1, 1));
    }

    /** Checks that all but the first input are {@code (D)} of the first's dtype. */
    static void requireParameters(String operation, List<Spec> inputs) {
        Spec x = inputs.getFirst();
        Spec expected = new Spec(x.dtype(), Shape.of(x.shape().dim(x.shape().axis(operation, -1))));
        for (Spec parameter : inputs.subList(1, inputs.size())) {
            if (!parameter.equals(expected) || !x.dtype().isFloat()) {
                throw new ShapeException(operation + ": parameter " + parameter + " for input " + x);
            }
        }
    }

    /** Checks the statistics, inputs {@code from} to {@code to}, and the gradient behind them. */
    static void requireStatistics(String operation, List<Spec> inputs, int from, int to) {
        for (Spec statistic : inputs.subList(from, to + 1)) {
            if (!statistic.equals(statistic(inputs.getFirst()))) {
                throw new ShapeException(operation + ": statistic " + statistic + " for input " + inputs.getFirst());
            }
        }
        if (!inputs.get(to + 1).equals(inputs.getFirst())) {
            throw new ShapeException(operation + ": gradient " + inputs.get(to + 1) + " for input " + inputs.getFirst());
        }
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.get(0);
        Tensor mean = x.to(x.dtype().computeType()).mean(true, -1); // (..., 1)
        Tensor centred = x.sub(mean);
        Tensor rstd = centred.square().mean(true, -1).add(eps).rsqrt(); // (..., 1)
        return List.of(centred.mul(rstd).mul(inputs.get(1)).add(inputs.get(2)).to(x.dtype()), mean, rstd);
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        if (gradients.get(0) == null || gradients.get(1) != null || gradients.get(2) != null) {
            return Fused.super.gradient(inputs, outputs, gradients);
        }
        return Tensor.recordAll(new Backward(),
                List.of(inputs.get(0), inputs.get(1), outputs.get(1), outputs.get(2), gradients.get(0)));
    }

    @Override
    public String name() {
        return "layer_norm";
    }

    /** {@code (x, weight, mean, rstd, dy) -> (dx, dweight, dbias)}. */
    public record Backward() implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            requireStatistics(name(), inputs, 2, 3);
            return List.of(inputs.get(0), inputs.get(1), inputs.get(1));
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Tensor x = inputs.get(0);
            Tensor dy = inputs.get(4).to(x.dtype().computeType());
            Tensor normal = x.sub(inputs.get(2)).mul(inputs.get(3)); // (..., D)
            Tensor g = dy.mul(inputs.get(1));
            Tensor dx = g.sub(g.mean(true, -1)).sub(normal.mul(g.mul(normal).mean(true, -1))).mul(inputs.get(3));
            int[] leading = IntStream.range(0, dy.rank() - 1).toArray();
            return List.of(dx.to(x.dtype()), sumLeading(dy.mul(normal), leading).to(x.dtype()), sumLeading(dy, leading).to(x.dtype()));
        }

        @Override
        public String name() {
            return "layer_norm_backward";
        }
    }

    /** Sum over the leading axes, if there are any. */
    static Tensor sumLeading(Tensor x, int[] leading) {
        return leading.length == 0 ? x : x.sum(leading);
    }
}
