// Batch normalisation by the statistics of the batch.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * {@code (x (N, C, ...), weight (C), bias (C)) -> (y (N, C, ...), mean (C), variance (C), rstd (C))}:
 * {@code y = (x - mean) rstd weight + bias}, {@code rstd = 1 / sqrt(variance + eps)}, the variance biased (Ioffe and Szegedy,
 * 2015). All but {@code x} and {@code y} are {@code F32} if those have 16 bits, else of the same dtype.
 *
 * <p>The decompositions read {@code x} less a number a channel from a different view of the numbers each time: were it one value with several
 * readers, the planner would keep it in memory, where each reader can as well compute it from {@code x}.
 */
public record BatchNorm(double eps) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec x = inputs.getFirst();
        requireChannels(name(), x, inputs.subList(1, 3));
        Spec channels = inputs.get(1);
        return List.of(x, channels, channels, channels);
    }

    private static void requireChannels(String operation, Spec x, List<Spec> parameters) {
        if (x.shape().rank() < 2 || !x.dtype().isFloat()) {
            throw new ShapeException(operation + ": input " + x + " is no float tensor (N, C, ...)");
        }
        Spec expected = new Spec(x.dtype().computeType(), Shape.of(x.shape().dim(1)));
        for (Spec parameter : parameters) {
            if (!parameter.equals(expected)) {
                throw new ShapeException(operation + ": parameter " + parameter + " for input " + x + ", expected " + expected);
            }
        }
    }

    private static int[] axes(Tensor x) {
        return IntStream.range(0, x.rank()).filter(axis -> axis != 1).toArray();
    }

    /** {@code (C)} as {@code (C, 1, ...)}, or with a leading axis as {@code (1, C, 1, ...)}, for as many axes as {@code x} has. */
    private static Tensor along(Tensor x, Tensor channels, boolean leading) {
        long[] dims = new long[leading ? x.rank() : x.rank() - 1];
        Arrays.fill(dims, 1);
        dims[leading ? 1 : 0] = channels.elements();
        return channels.reshape(dims);
    }

    /**
     * About the mean {@code (C)}: that of the first sample, or 0 if that is not finite. The sums of {@code x - shift} and of its square come from
     * one reading of {@code x} and lose few digits if the shift is within some standard deviations of the mean; of {@code x} itself they could
     * lose all.
     */
    private static Tensor shift(Tensor x) {
        Tensor first = x.dim(0) == 0 ? x : x.slice(0, 0, 1);
        Tensor mean = first.to(x.dtype().computeType()).mean(axes(x)).detach();
        return mean.abs().lt(Double.POSITIVE_INFINITY).where(mean, Tensor.scalar(0, mean.dtype()));
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.getFirst();
        Tensor shift = shift(x); // (C)
        Tensor difference = x.sub(along(x, shift, true)).mean(axes(x)); // (C)
        Tensor square = x.sub(along(x, shift, false)).square().mean(axes(x)); // (C)
        Tensor mean = shift.add(difference); // (C)
        Tensor variance = square.sub(difference.square()).clamp(0, Double.POSITIVE_INFINITY); // (C)
        Tensor y = Functional.normalize(x, mean, variance, inputs.get(1), inputs.get(2), eps).to(x.dtype());
        return List.of(y, mean, variance, variance.add(eps).rsqrt());
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        if (gradients.get(0) == null || gradients.get(1) != null || gradients.get(2) != null || gradients.get(3) != null) {
            return Fused.super.gradient(inputs, outputs, gradients);
        }
        return Tensor.recordAll(new Backward(eps),
                List.of(inputs.get(0), inputs.get(1), outputs.get(1), outputs.get(3), gradients.get(0)));
    }

    @Override
    public String name() {
        return "batch_norm";
    }

    /** {@code (x, weight, mean, rstd, dy) -> (dx, dweight, dbias)}. */
    public record Backward(double eps) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec x = inputs.getFirst();
            requireChannels(name(), x, inputs.subList(1, 4));
            if (!inputs.get(4).equals(x)) {
                throw new ShapeException(name() + ": gradient " + inputs.get(4) + " for input " + x);
            }
            return List.of(x, inputs.get(1), inputs.get(1));
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Tensor x = inputs.get(0);
            Tensor mean = inputs.get(2);
            Tensor rstd = inputs.get(3);
            Tensor dy = inputs.get(4);
            double n = (double) x.elements() / x.dim(1);
            Tensor dbias = dy.to(rstd.dtype()).sum(axes(x)); // (C)
            Tensor dweight = x.sub(along(x, mean, true)).mul(dy).sum(axes(x)).mul(rstd); // (C)
            Tensor slope = rstd.mul(dweight).mul(1 / n); // (C)
            Tensor dx = dy.sub(along(x, dbias.mul(1 / n), false)).add(along(x, mean, false).sub(x).mul(along(x, slope, false)))
                    .mul(along(x, rstd.mul(inputs.get(1)), false));
            return List.of(dx.to(x.dtype()), dweight, dbias);
        }

        @Override
        public String name() {
            return "batch_norm_backward";
        }
    }
}
