// Batch normalisation (Ioffe and Szegedy, 2015).
package dev.heddle.layers;

import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.List;

/**
 * Normalises each channel of {@code (N, C, ...)}: in training mode by the statistics of the batch, which also move the
 * running ones, in evaluation mode by those. Conventions are PyTorch's: {@code eps = 1e-5}, momentum 0.1, the running
 * variance unbiased. Statistics and arithmetic are {@code F32} for 16-bit inputs and parameters too.
 */
abstract class BatchNorm extends Layer {
    private static final double EPS = 1e-5;
    private static final double MOMENTUM = 0.1;

    private final Variable weight;
    private final Variable bias;
    private final Variable runningMean;
    private final Variable runningVar;

    BatchNorm(int channels) {
        weight = parameter("weight", Init.ones(channels));
        bias = parameter("bias", Init.zeros(channels));
        runningMean = buffer("running_mean", Init.zeros(channels));
        runningVar = buffer("running_var", Init.ones(channels));
    }

    /** The running mean of each channel, {@code (C)}. */
    public final Variable runningMean() {
        return runningMean;
    }

    /** The running variance of each channel, {@code (C)}. */
    public final Variable runningVar() {
        return runningVar;
    }

    abstract void requireRank(Tensor x);

    @Override
    public final Tensor forward(Tensor x) {
        requireRank(x);
        if (x.dim(1) != weight.shape().dim(0)) {
            throw new ShapeException(this + ": input " + x.shape() + " for " + weight.shape().dim(0) + " channels");
        }
        if (!training()) { // one elementwise kernel, which no library would better
            DType wide = x.dtype().computeType();
            return Functional.normalize(x.to(wide), runningMean.value(), runningVar.value(), weight.value().to(wide), bias.value().to(wide), EPS)
                    .to(x.dtype());
        }
        long n = x.elements() / x.dim(1);
        if (n < 2) {
            throw new ShapeException(this + ": input " + x.shape() + " has one value a channel; training needs more");
        }
        List<Tensor> normalized = Functional.batchNorm(x, weight.value(), bias.value(), EPS); // y, mean (C), variance (C)
        Tensor mean = normalized.get(1).detach();
        Tensor variance = normalized.get(2).detach();
        runningMean.set(runningMean.value().mul(1 - MOMENTUM).add(mean.mul(MOMENTUM)));
        runningVar.set(runningVar.value().mul(1 - MOMENTUM).add(variance.mul(MOMENTUM * n / (n - 1))));
        return normalized.getFirst();
    }

    @Override
    public final String toString() {
        return getClass().getSimpleName() + "(" + weight.shape().dim(0) + ")";
    }
}
